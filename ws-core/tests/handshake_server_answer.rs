//! A server's answers, acceptances and refusals: rows HS-16, HS-17, HS-20 to HS-22, HS-32 and HS-35 to HS-38.

mod heads;

use heads::server::{answer, new, refusal, with_request};
use heads::upgrade;
use ws_core::{Accept, AnswerError, Instant, Rejection, Transport};

/// HS-16: only what was offered can be chosen, and no choice leaves the field out.
#[test]
fn hs_16_protocol_choice() {
    let head = upgrade().with("Sec-WebSocket-Protocol", "chat, v2").to_string();
    for (choice, expected) in [
        ("v2", Ok("v2")),
        ("Chat", Err(AnswerError::ProtocolNotOffered)),
        ("", Err(AnswerError::ProtocolNotOffered)),
        ("v2\r\nX: y", Err(AnswerError::ProtocolNotOffered)),
    ] {
        let answer = answer(head.as_bytes(), Accept { protocol: Some(choice), ..Accept::default() });
        match expected {
            Ok(choice) => {
                assert!(answer.unwrap().contains(&format!("\r\nSec-WebSocket-Protocol: {choice}\r\n")));
            }
            Err(error) => assert_eq!(answer, Err(error), "{choice:?}"),
        }
    }
    assert!(!answer(head.as_bytes(), Accept::default()).unwrap().contains("Protocol:"));
    // Nothing is on the wire after a refused call, and another answer may follow.
    with_request(head.as_bytes(), |handshake, request| {
        let mut out = [7; 512];
        let wrong = Accept { protocol: Some("x"), ..Accept::default() };
        assert_eq!(handshake.accept(&request, wrong, &mut out), Err(AnswerError::ProtocolNotOffered));
        assert_eq!(out, [7; 512]);
        assert!(handshake.accept(&request, Accept::default(), &mut out).is_ok());
    });
}

/// HS-17: one Accept line, at most one protocol line; nothing can be answered twice.
#[test]
fn hs_17_one_of_each() {
    let head = upgrade().with("Sec-WebSocket-Protocol", "a").to_string();
    let text = answer(head.as_bytes(), Accept { protocol: Some("a"), ..Accept::default() }).unwrap();
    assert_eq!(text.matches("Sec-WebSocket-Accept: ").count(), 1);
    assert_eq!(text.matches("Sec-WebSocket-Protocol: ").count(), 1);
    with_request(head.as_bytes(), |handshake, request| {
        let mut out = [0; 512];
        handshake.accept(&request, Accept::default(), &mut out).unwrap();
        assert_eq!(handshake.accept(&request, Accept::default(), &mut out), Err(AnswerError::NotWaiting));
        assert_eq!(handshake.reject(Instant::ZERO, 403, &[], b"", &mut out), Err(AnswerError::NotWaiting));
    });
}

/// HS-20: the answer to the key as it came, trimmed.
#[test]
fn hs_20_success() {
    for (key, accept) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        (" \tdGhlIHNhbXBsZSBub25jZQ==\t ", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ] {
        let head = upgrade().replace("Sec-WebSocket-Key", key).to_string();
        let text = answer(head.as_bytes(), Accept::default()).unwrap();
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade",
                &format!("Sec-WebSocket-Accept: {accept}"),
                "",
                ""
            ]
        );
    }
    // As it came: other pad bits, another answer.
    let accept = |key: &str| ws_core::accept_key(key.as_bytes());
    assert_ne!(accept("AQIDBAUGBwgJCgsMDQ4PEC=="), accept("AQIDBAUGBwgJCgsMDQ4PEA=="));
}

/// HS-21: a 101 has no body, and no field about one.
#[test]
fn hs_21_no_body_fields() {
    let headers: &[(&str, &[u8])] = &[("Set-Cookie", b"a=b")];
    let text = answer(upgrade().to_string().as_bytes(), Accept { headers, ..Accept::default() }).unwrap();
    assert!(text.ends_with("\r\nSet-Cookie: a=b\r\n\r\n"), "{text}");
    let lower = text.to_ascii_lowercase();
    assert!(!lower.contains("content-length") && !lower.contains("transfer-encoding"));
}

/// HS-22: 100 before 101 where the client waits for it.
#[test]
fn hs_22_expect_continue() {
    for value in ["100-continue", "100-Continue"] {
        let head = upgrade().with("Expect", value).to_string();
        let text = answer(head.as_bytes(), Accept::default()).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n"),
            "{text}"
        );
    }
    let head = upgrade().with("Expect", "else").to_string();
    assert!(answer(head.as_bytes(), Accept::default()).unwrap().starts_with("HTTP/1.1 101 "));
}

/// HS-32, HS-38: what follows the head stays the caller's, and nothing but the 101 comes before frames.
#[test]
fn hs_32_38_bytes_behind_the_head() {
    let head = upgrade().to_string();
    let mut input = head.clone().into_bytes();
    input.extend_from_slice(&[0x81, 0x80, 1, 2, 3, 4]);
    let mut handshake = new(true);
    let request = handshake.recv(Instant::ZERO, &input).unwrap().unwrap();
    assert_eq!(request.head_len(), head.len());
    // No connection exists before the answer is committed.
    assert_eq!(handshake.consumed(), None);
    let mut out = [0; 512];
    let needed = handshake.accept(&request, Accept::default(), &mut []).unwrap_err();
    assert_eq!(handshake.consumed(), None);
    let len = handshake.accept(&request, Accept::default(), &mut out).unwrap();
    assert_eq!(needed, AnswerError::NoSpace { needed: len });
    assert_eq!(handshake.consumed(), Some(head.len()));
    assert_eq!(&input[handshake.consumed().unwrap()..], [0x81, 0x80, 1, 2, 3, 4]);
    assert_eq!(handshake.transport(), Transport::Open);
}

/// HS-35, HS-36: the application refuses as it likes, but cannot split the response.
#[test]
fn hs_35_36_reject() {
    let head = upgrade().to_string();
    let reject = |status: u16, headers: &[(&str, &[u8])], body: &[u8]| {
        with_request(head.as_bytes(), |handshake, _| {
            let mut out = [0; 512];
            let len = handshake.reject(Instant::ZERO, status, headers, body, &mut out)?;
            Ok(String::from_utf8(out[..len].to_vec()).unwrap())
        })
    };
    assert_eq!(
        reject(404, &[], b"no such path\n").unwrap(),
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 13\r\n\r\nno such path\n"
    );
    assert!(reject(302, &[("Location", b"/login")], b"").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
    assert_eq!(
        reject(401, &[("WWW-Authenticate", b"Basic realm=\"x\"")], b"").unwrap(),
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
    );
    assert!(reject(599, &[], b"").unwrap().starts_with("HTTP/1.1 599 \r\n"));
    assert_eq!(reject(204, &[], b"").unwrap(), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    for (status, headers, body, error) in [
        (101, &[][..], &b""[..], AnswerError::InvalidStatus),
        (199, &[], b"", AnswerError::InvalidStatus),
        (600, &[], b"", AnswerError::InvalidStatus),
        (0, &[], b"", AnswerError::InvalidStatus),
        (204, &[], b"x", AnswerError::BodyNotAllowed),
        (304, &[], b"x", AnswerError::BodyNotAllowed),
        (403, &[("X", &b"a\r\nY: b"[..])], b"", AnswerError::InvalidHeader),
        (403, &[("X", b"a\nb")], b"", AnswerError::InvalidHeader),
        (403, &[("X", b"a\0")], b"", AnswerError::InvalidHeader),
        (403, &[("X\r\nY", b"a")], b"", AnswerError::InvalidHeader),
        (403, &[("X y", b"a")], b"", AnswerError::InvalidHeader),
        (403, &[("", b"a")], b"", AnswerError::InvalidHeader),
        (403, &[("connection", b"keep-alive")], b"", AnswerError::ReservedHeader),
        (403, &[("Content-length", b"9")], b"", AnswerError::ReservedHeader),
        (403, &[("transfer-encoding", b"chunked")], b"", AnswerError::ReservedHeader),
    ] {
        assert_eq!(reject(status, headers, body), Err(error), "{status} {headers:?}");
    }
    // Nothing is written for want of room, and the answer to HEAD has no body.
    let mut handshake = new(true);
    let head = upgrade().method("HEAD").to_string();
    let rejection = handshake.recv(Instant::ZERO, head.as_bytes()).unwrap_err();
    let mut out = [7; 512];
    let Err(AnswerError::NoSpace { needed }) = handshake.reject_as(Instant::ZERO, rejection, &mut out[..9])
    else {
        panic!("room for an answer in 9 bytes");
    };
    assert_eq!(out, [7; 512]);
    assert_eq!(handshake.reject_as(Instant::ZERO, rejection, &mut out[..needed]), Ok(needed));
    assert!(out[..needed].ends_with(b"\r\n\r\n"));
}

/// HS-37: fields that the handshake writes cannot be written again.
#[test]
fn hs_37_reserved_headers() {
    for name in [
        "Sec-WebSocket-Accept",
        "sec-websocket-protocol",
        "SEC-WEBSOCKET-EXTENSIONS",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Whatever",
        "upgrade",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
    ] {
        let headers: &[(&str, &[u8])] = &[("X", b"y"), (name, b"x")];
        let answer = answer(upgrade().to_string().as_bytes(), Accept { headers, ..Accept::default() });
        assert_eq!(answer, Err(AnswerError::ReservedHeader), "{name}");
    }
    let headers: &[(&str, &[u8])] = &[("X", b"y\r\n\r\n\x81\x00")];
    let answer = answer(upgrade().to_string().as_bytes(), Accept { headers, ..Accept::default() });
    assert_eq!(answer, Err(AnswerError::InvalidHeader));
}

#[test]
fn every_rejection_can_be_written() {
    let head_faults = ws_core::handshake::HeadFault::ALL.iter().map(|&fault| Rejection::Head(fault));
    for rejection in Rejection::ALL.iter().copied().chain(head_faults) {
        let answer = refusal(rejection);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", rejection.status())), "{answer}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{answer}");
        assert_eq!(body, format!("{rejection}\n"));
        assert!(rejection.section().starts_with("RFC "), "{rejection:?}");
        // What we say is what we take: an independent parser reads it.
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Response::new(&mut fields);
        assert!(parsed.parse(answer.as_bytes()).unwrap().is_complete());
        assert_eq!(parsed.code, Some(rejection.status()));
        let connection = parsed.headers.iter().filter(|field| field.name == "Connection").count();
        assert_eq!(connection, 1);
    }
}
