//! How a client reads a response head: rows HC-05 to HC-18, and the rest of HC-03.

use ws_core::handshake::{Body, BodyReader, HeadFault, MAX_BODY};
use ws_core::{ClientHandshake, ClientRequest, Config, HandshakeError, Instant, Transport, Uri};

static CONFIG: Config = Config::client();
/// Its key is that of RFC 6455, section 1.3.
const NONCE: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn request() -> ClientRequest<'static> {
    ClientRequest::new(Uri::parse("ws://a/").unwrap())
}

fn new(request: ClientRequest<'_>) -> ClientHandshake<'_> {
    ClientHandshake::new(Instant::ZERO, &CONFIG, request, NONCE).expect("a request that may be sent")
}

/// The outcome of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    More,
    /// Status, protocol, head length.
    Open(Option<String>, usize),
    Refused(u16, Body, usize),
    Failed(HandshakeError),
}

fn show(handshake: &mut ClientHandshake<'_>, input: &[u8]) -> Outcome {
    match handshake.recv(Instant::ZERO, input) {
        Ok(None) => Outcome::More,
        Ok(Some(response)) if response.is_open() => {
            Outcome::Open(response.protocol().map(str::to_owned), response.end())
        }
        Ok(Some(response)) => Outcome::Refused(response.status(), response.body(), response.end()),
        Err(error) => Outcome::Failed(error),
    }
}

/// The outcome of a head shown at once, cut in two at every byte, and byte by byte.
fn outcome(request: ClientRequest<'_>, head: &[u8]) -> Outcome {
    let at_once = show(&mut new(request), head);
    #[cfg(feature = "alloc")]
    assert_eq!(show(&mut new(request).into_owned(), head), at_once, "{:?}", String::from_utf8_lossy(head));
    let mut bytewise = new(request);
    let mut last = Outcome::More;
    for end in 0..=head.len() {
        last = show(&mut bytewise, &head[..end]);
        if last != Outcome::More {
            break;
        }
        let mut cut = new(request);
        assert_eq!(show(&mut cut, &head[..end]), Outcome::More);
        assert_eq!(show(&mut cut, head), at_once, "cut at {end}: {:?}", String::from_utf8_lossy(head));
    }
    assert_eq!(last, at_once, "byte by byte: {:?}", String::from_utf8_lossy(head));
    at_once
}

/// A 101 of these fields.
fn switch(fields: &[(&str, &str)]) -> String {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n")
}

const GOOD: [(&str, &str); 3] =
    [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)];

/// The outcome of a valid 101 in which the field at `at` is replaced by others.
fn with(at: usize, fields: &[(&str, &str)]) -> Outcome {
    let mut all = GOOD.to_vec();
    all.splice(at..at + 1, fields.iter().copied());
    outcome(request(), switch(&all).as_bytes())
}

fn is_open(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Open(..))
}

/// HC-05: there is no connection to write to before the response is validated.
#[test]
fn hc_05_nothing_before_the_response() {
    let head = switch(&GOOD);
    let mut handshake = new(request());
    assert!(handshake.recv(Instant::ZERO, &head.as_bytes()[..head.len() - 1]).unwrap().is_none());
    assert_eq!(handshake.consumed(), None);
    assert!(handshake.recv(Instant::ZERO, head.as_bytes()).unwrap().is_some());
    assert_eq!(handshake.consumed(), Some(head.len()));
    let mut handshake = new(request());
    assert!(handshake.recv(Instant::ZERO, b"HTTP/1.1 200 OK\r\n\r\n").unwrap().is_some());
    assert_eq!(handshake.consumed(), None);
}

/// HC-06: interim responses are skipped, eight of them.
#[test]
fn hc_06_interim() {
    let interim = [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 \r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 102 \r\n\r\n",
        "HTTP/1.0 199 \r\n\r\n",
    ];
    for count in 0..=9 {
        let heads: String = (0..count).map(|at| interim[at % interim.len()]).collect();
        let all = heads + &switch(&GOOD);
        let expected = if count > 8 {
            Outcome::Failed(HandshakeError::TooManyInterim)
        } else {
            Outcome::Open(None, all.len())
        };
        assert_eq!(outcome(request(), all.as_bytes()), expected, "{count}");
    }
    let input = format!("{}HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc", interim[1]);
    assert_eq!(outcome(request(), input.as_bytes()), Outcome::Refused(404, Body::Bytes(3), input.len() - 3));
    let mut handshake = new(request());
    let response = handshake.recv(Instant::ZERO, input.as_bytes()).unwrap().unwrap();
    assert_eq!(response.head(), b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(response.field("link"), None);
}

/// HC-07: a refusal has a status, headers and a body whose end is known.
#[test]
fn hc_07_refusals() {
    for (start, fields, body) in [
        ("200 OK", "", Body::UntilEof),
        ("301 Moved", "Location: /x\r\nContent-Length: 0\r\n", Body::Empty),
        ("401 ", "Content-Length: 65537\r\n", Body::Bytes(65_537)),
        ("404 Not Found", "Transfer-Encoding: chunked\r\n", Body::Chunked),
        ("404 Not Found", "Transfer-Encoding: gzip, chunked\r\nContent-Length: 9\r\n", Body::Chunked),
        ("404 Not Found", "Transfer-Encoding: gzip\r\n", Body::UntilEof),
        ("204 ", "Content-Length: 5\r\n", Body::Empty),
        ("304 ", "", Body::Empty),
        ("999 ", "", Body::UntilEof),
    ] {
        let head = format!("HTTP/1.1 {start}\r\n{fields}\r\n");
        let status = start[..3].parse().unwrap();
        assert_eq!(
            outcome(request(), head.as_bytes()),
            Outcome::Refused(status, body, head.len()),
            "{start}"
        );
    }
    for length in ["x", "+5", "5, 5", "", "18446744073709551616"] {
        let head = format!("HTTP/1.1 404 \r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(
            outcome(request(), head.as_bytes()),
            Outcome::Failed(HandshakeError::Framing),
            "{length:?}"
        );
    }
    let head = b"HTTP/1.0 302 Found \xe9\r\nLocation: /login\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nbody";
    let mut handshake = new(request());
    for _ in 0..2 {
        let response = handshake.recv(Instant::ZERO, head).unwrap().unwrap();
        assert_eq!((response.status(), response.phrase()), (302, &b"Found \xe9"[..]));
        assert_eq!(response.field("location"), Some(&b"/login"[..]));
        assert_eq!(response.fields().count(), 3);
        assert_eq!(&head[response.end()..], b"body");
    }
    assert_eq!((handshake.transport(), handshake.deadline()), (Transport::Open, None));
}

/// HC-07: a body is read as its framing says, whatever pieces it comes in, and not beyond its end.
#[test]
fn hc_07_bodies() {
    for (body, input, content, complete) in [
        (Body::Empty, "abc", "", true),
        (Body::Bytes(3), "ab", "ab", false),
        (Body::Bytes(3), "abcd", "abc", true),
        (Body::UntilEof, "abcd", "abcd", false),
        (Body::Chunked, "0\r\n\r\n", "", true),
        (Body::Chunked, "3\r\nabc\r\n0\r\n\r\n", "abc", true),
        (Body::Chunked, "3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", "abc0123456789", true),
        (Body::Chunked, "3\r\nab", "ab", false),
        (Body::Chunked, "3\r\nabc\r\n", "abc", false),
        (Body::Chunked, "3\r\nabcd\r\n", "abc", true),
        (Body::Chunked, "x\r\nabc", "", true),
        (Body::Chunked, "fffffffffffffffff\r\nabc", "", true),
    ] {
        for by in [1, 2, 3, input.len()] {
            let (mut reader, mut out) = (BodyReader::new(body), Vec::new());
            for piece in input.as_bytes().chunks(by) {
                reader.recv(piece, |piece| out.extend_from_slice(piece));
            }
            assert_eq!(String::from_utf8_lossy(&out), content, "{body:?} {input:?}");
            assert_eq!(reader.is_complete(), complete, "{body:?} {input:?}");
        }
    }
}

/// HC-07: 64 KiB of a body are read, whatever its length is announced as and however it is framed.
#[test]
fn hc_07_a_body_is_bounded() {
    let wrapped = "1;".to_owned() + &"x".repeat(98) + "\r\na\r\n";
    for (body, input, most) in [
        (Body::Bytes(u64::MAX), "abcdefgh", MAX_BODY),
        (Body::UntilEof, "abcdefgh", MAX_BODY),
        (Body::Chunked, "ffffffffff\r\n", MAX_BODY),
        (Body::Chunked, &wrapped, 4 * MAX_BODY / 100),
    ] {
        let (mut reader, mut out, mut shown) = (BodyReader::new(body), 0, 0);
        while !reader.is_complete() {
            assert!(shown <= 4 * MAX_BODY, "{body:?}");
            reader.recv(input.as_bytes(), |piece| out += piece.len());
            shown += input.len();
        }
        assert!(out <= most && out > 0, "{out} bytes of {body:?}");
    }
}

/// HC-03: a handshake that was cut loose can no longer be written; its key has left, or never will.
#[test]
#[cfg(feature = "alloc")]
fn hc_03_cut_loose() {
    let mut handshake = {
        let protocols = [String::from("chat")];
        let protocols = [&*protocols[0]];
        let mut all = request();
        all.protocols = &protocols;
        let mut handshake = new(all);
        handshake.write(&mut [0; 512]).unwrap();
        handshake.into_owned()
    };
    assert_eq!(handshake.write(&mut [0; 512]), Err(ws_core::RequestError::Written));
    assert_eq!(new(request()).into_owned().write(&mut [0; 512]), Err(ws_core::RequestError::Written));
    let mut fields = GOOD.to_vec();
    fields.push(("Sec-WebSocket-Protocol", "chat"));
    assert!(is_open(&show(&mut handshake.clone(), switch(&fields).as_bytes())));
    fields[3].1 = "other";
    assert_eq!(show(&mut handshake, switch(&fields).as_bytes()), Outcome::Failed(HandshakeError::Protocol));
}

/// HC-09: Upgrade is `websocket` in any case, and nothing else.
#[test]
fn hc_09_upgrade() {
    for value in ["websocket", "WebSocket", "WEBSOCKET", " websocket\t"] {
        assert!(is_open(&with(0, &[("upgrade", value)])), "{value}");
    }
    let failed = Outcome::Failed(HandshakeError::Upgrade);
    for value in ["websocket2", "", "h2c, websocket", "websocket, h2c", "websocket,", "web socket"] {
        assert_eq!(with(0, &[("Upgrade", value)]), failed, "{value:?}");
    }
    assert_eq!(with(0, &[]), failed);
    assert_eq!(with(0, &[("Upgrade", "websocket"), ("Upgrade", "websocket")]), failed);
}

/// HC-10: Connection is a list that names Upgrade.
#[test]
fn hc_10_connection() {
    for value in ["upgrade", "keep-alive, Upgrade", "UPGRADE,close", ",,Upgrade"] {
        assert!(is_open(&with(1, &[("Connection", value)])), "{value}");
    }
    assert!(is_open(&with(1, &[("Connection", "keep-alive"), ("connection", "Upgrade")])));
    for value in ["", "keep-alive", "Upgradex", "Up grade"] {
        assert_eq!(
            with(1, &[("Connection", value)]),
            Outcome::Failed(HandshakeError::Connection),
            "{value:?}"
        );
    }
    assert_eq!(with(1, &[]), Outcome::Failed(HandshakeError::Connection));
}

/// HC-11: Accept answers the key, once, to the letter.
#[test]
fn hc_11_accept() {
    let name = "Sec-WebSocket-Accept";
    assert!(is_open(&with(2, &[("sec-websocket-accept", &format!(" \t{ACCEPT} \t"))])));
    let failed = Outcome::Failed(HandshakeError::Accept);
    for value in
        ["", "x", "S3PPLMBITXAQ9KYGZZHZRBK+XOO=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo", "dGhlIHNhbXBsZSBub25jZQ=="]
    {
        assert_eq!(with(2, &[(name, value)]), failed, "{value:?}");
    }
    assert_eq!(with(2, &[]), failed);
    assert_eq!(with(2, &[(name, ACCEPT), (name, ACCEPT)]), failed);
}

/// HC-12, HC-13: the subprotocol is one that was offered; none is fine unless it is required.
#[test]
fn hc_12_13_protocol() {
    let name = "Sec-WebSocket-Protocol";
    let ask = |protocols: &[&str], require: bool, fields: &[(&str, &str)]| {
        let request = {
            let mut all = request();
            all.protocols = protocols;
            all.require_protocol = require;
            all
        };
        outcome(request, switch(&[&GOOD, fields].concat()).as_bytes())
    };
    let failed = Outcome::Failed(HandshakeError::Protocol);
    let open = |protocol: Option<&str>, outcome: Outcome| {
        assert!(matches!(&outcome, Outcome::Open(seen, _) if seen.as_deref() == protocol), "{outcome:?}");
    };
    open(Some("b"), ask(&["a", "b"], false, &[(name, "b")]));
    open(Some("b"), ask(&["a", "b"], true, &[(name, " b ")]));
    open(None, ask(&["a"], false, &[]));
    open(None, ask(&[], false, &[]));
    for value in ["c", "A", "", "a, b", "a,"] {
        assert_eq!(ask(&["a", "b"], false, &[(name, value)]), failed, "{value:?}");
    }
    assert_eq!(ask(&["a"], false, &[(name, "a"), (name, "a")]), failed);
    assert_eq!(ask(&[], false, &[(name, "a")]), failed);
    assert_eq!(ask(&["a"], true, &[]), Outcome::Failed(HandshakeError::ProtocolMissing));
}

/// HC-14: extensions that were offered, in any number of lines; no others.
#[test]
fn hc_14_extensions() {
    let name = "Sec-WebSocket-Extensions";
    let ask = |offer: &str, fields: &[(&str, &str)]| {
        let request = {
            let mut all = request();
            all.extensions = offer;
            all
        };
        outcome(request, switch(&[&GOOD, fields].concat()).as_bytes())
    };
    assert!(is_open(&ask("x-a; p, x-b", &[(name, "x-b; q=1")])));
    assert!(is_open(&ask("x-a; p, x-b", &[(name, "x-b"), ("sec-websocket-extensions", "x-a")])));
    assert!(is_open(&ask("", &[(name, "")])));
    for (offer, value) in [
        ("", "x-a"),
        ("x-a", "x-b"),
        ("x-a", "x-a, x-b"),
        ("x-a", "X-A"),
        ("x-a; x-b", "x-b"),
        ("", "permessage-deflate"),
    ] {
        assert_eq!(
            ask(offer, &[(name, value)]),
            Outcome::Failed(HandshakeError::ExtensionNotOffered),
            "{value:?}"
        );
    }
    assert_eq!(
        ask("x-a", &[(name, "x-a"), (name, "x-b")]),
        Outcome::Failed(HandshakeError::ExtensionNotOffered)
    );
    for value in ["x-a;", "x-a; b=\"", "x-a; b=\" 9\"", "x-a x-a", "x-a;;b"] {
        assert_eq!(ask("x-a", &[(name, value)]), Outcome::Failed(HandshakeError::Extensions), "{value:?}");
    }
}

/// HC-15: the status line follows its grammar, and a switch is HTTP/1.1.
#[test]
fn hc_15_status_line() {
    let rest = switch(&GOOD).split_once("\r\n").unwrap().1.to_owned();
    for (line, error) in [
        ("HTTP/1.0 101 Switching Protocols\r\n", HandshakeError::HttpVersion),
        ("HTTP/2.0 101 Switching Protocols\r\n", HandshakeError::HttpVersion),
        ("HTTP/1.1 101\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1 1O1 x\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1  101 x\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1 1010 x\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1 010 x\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1\t101 x\r\n", HandshakeError::StatusLine),
        ("http/1.1 101 x\r\n", HandshakeError::StatusLine),
        ("HTTP/11 101 x\r\n", HandshakeError::StatusLine),
        (" HTTP/1.1 101 x\r\n", HandshakeError::StatusLine),
        ("\r\nHTTP/1.1 101 x\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1 101 x\0\r\n", HandshakeError::StatusLine),
        ("HTTP/1.1 101 x\n", HandshakeError::Head(HeadFault::BareLf)),
        ("HTTP/1.1 101 x\rx\r\n", HandshakeError::Head(HeadFault::BareCr)),
        ("SSH-2.0-x\r\n", HandshakeError::StatusLine),
    ] {
        assert_eq!(
            outcome(request(), format!("{line}{rest}").as_bytes()),
            Outcome::Failed(error),
            "{line:?}"
        );
    }
    for line in ["HTTP/1.1 101 \r\n", "HTTP/1.1 101 any \t thing\r\n", "HTTP/1.2 101 x\r\n"] {
        assert!(is_open(&outcome(request(), format!("{line}{rest}").as_bytes())), "{line:?}");
    }
    // The lines of a response are as strict as those of a request.
    for (field, fault) in [
        ("A : b", HeadFault::SpaceBeforeColon),
        ("A: b\r\n c", HeadFault::ObsFold),
        ("A: \0", HeadFault::Control),
    ] {
        let head = format!("HTTP/1.1 101 x\r\n{field}\r\n{rest}");
        assert_eq!(outcome(request(), head.as_bytes()), Outcome::Failed(HandshakeError::Head(fault)));
    }
}

/// HC-16: a body's fields in a 101 mean nothing.
#[test]
fn hc_16_no_body() {
    for field in [("Content-Length", "5"), ("Content-Length", "x"), ("Transfer-Encoding", "chunked")] {
        let head = switch(&[&GOOD[..], &[field]].concat());
        let input = format!("{head}\u{1}\u{0}");
        assert_eq!(show(&mut new(request()), input.as_bytes()), Outcome::Open(None, head.len()), "{field:?}");
    }
}

/// HC-17: what follows the 101 in the same read is not lost, wherever the reads are cut.
#[test]
fn hc_17_frames_behind_the_head() {
    let head = switch(&GOOD);
    let mut input = head.clone().into_bytes();
    input.extend_from_slice(&[0x81, 2, b'h', b'i']);
    for cut in 0..=input.len() {
        let mut handshake = new(request());
        let early = show(&mut handshake, &input[..cut]);
        assert_eq!(early == Outcome::More, cut < head.len());
        assert_eq!(show(&mut handshake, &input), Outcome::Open(None, head.len()));
        assert_eq!(&input[handshake.consumed().unwrap()..], [0x81, 2, b'h', b'i']);
    }
}

/// HC-18: a response has the limits of a request, and the same deadline; all heads together fit one buffer.
#[test]
fn hc_18_limits() {
    let head = |fields: &str| format!("HTTP/1.1 200 \r\n{fields}");
    let fault = |input: String| match show(&mut new(request()), input.as_bytes()) {
        Outcome::Failed(HandshakeError::Head(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(head(&"A: b\r\n".repeat(101))), HeadFault::TooManyFields);
    assert_eq!(fault(head(&format!("A: {}", "b".repeat(8190)))), HeadFault::LineTooLong);
    assert_eq!(fault(head(&format!("A: {}\r\n", "b".repeat(4000)).repeat(5))), HeadFault::HeadTooLong);
    assert_eq!(fault(format!("HTTP/1.1 200 {}", "b".repeat(8192))), HeadFault::LineTooLong);
    let interim = format!("HTTP/1.1 103 \r\nA: {}\r\n\r\n", "b".repeat(4000)).repeat(5);
    assert_eq!(fault(interim), HeadFault::HeadTooLong);

    // A dribble: bytes do not move the deadline.
    let all = switch(&GOOD);
    let mut handshake = new(request());
    let ten = Instant::from_secs(10);
    assert_eq!(handshake.deadline(), Some(ten));
    for (second, end) in (0..10).zip(1..) {
        assert!(handshake.recv(Instant::from_secs(second), &all.as_bytes()[..end]).unwrap().is_none());
        assert_eq!(handshake.tick(Instant::from_secs(second)), Ok(()));
        assert_eq!(handshake.deadline(), Some(ten));
    }
    let mut read_late = handshake.clone();
    assert_eq!(read_late.recv(ten, &all.as_bytes()[..11]).err(), Some(HandshakeError::Timeout));
    assert_eq!(handshake.tick(ten), Err(HandshakeError::Timeout));
    assert_eq!((handshake.transport(), handshake.deadline()), (Transport::Close, None));
    assert_eq!(handshake.recv(ten, all.as_bytes()).err(), Some(HandshakeError::Timeout));

    // The transport ends inside the head.
    let mut handshake = new(request());
    assert!(handshake.recv(Instant::ZERO, &all.as_bytes()[..9]).unwrap().is_none());
    assert_eq!(handshake.recv_eof(Instant::ZERO), Err(HandshakeError::Eof));
    assert_eq!(handshake.transport(), Transport::Close);
    assert_eq!(handshake.recv(Instant::ZERO, all.as_bytes()).err(), Some(HandshakeError::Eof));
}
