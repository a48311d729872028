//! What a server accepts as a request head: its lines, its target, its Host and its framing. Rows HS-03, HS-06, HS-07,
//! HS-24 to HS-29 and HS-40.

mod heads;

use heads::server::{
    Outcome, decided_at, fault, is_accepted, is_handed_over, new, outcome, refused, with_request,
};
use heads::upgrade;
use ws_core::{Instant, Rejection};

/// HS-03: the request line follows its grammar; one space, no tab, no NUL.
#[test]
fn hs_03_request_line() {
    use Rejection::{Head, RequestLine, Target};
    let bare = Head(ws_core::handshake::HeadFault::BareCr);
    let lf = Head(ws_core::handshake::HeadFault::BareLf);
    // Each with the bytes it takes to decide.
    for (line, at, why) in [
        ("GET  / HTTP/1.1\r\n", 5, RequestLine),
        (" GET / HTTP/1.1\r\n", 1, RequestLine),
        ("GET /  HTTP/1.1\r\n", 7, RequestLine),
        ("GET\t/ HTTP/1.1\r\n", 4, RequestLine),
        ("GET /\tHTTP/1.1\r\n", 6, RequestLine),
        ("GET / HTTP/1.1 \r\n", 15, RequestLine),
        ("GET /\0 HTTP/1.1\r\n", 6, RequestLine),
        ("G\0ET / HTTP/1.1\r\n", 2, RequestLine),
        ("GET /\x7F HTTP/1.1\r\n", 6, RequestLine),
        ("GET /#a HTTP/1.1\r\n", 6, RequestLine),
        ("GET / http/1.1\r\n", 7, RequestLine),
        ("GET / HTTP/11\r\n", 13, RequestLine),
        ("GET / HTTP/1.11\r\n", 15, RequestLine),
        ("GET / HTTP/1.x\r\n", 14, RequestLine),
        ("GET / HTTP/1.1\rX", 16, bare),
        ("GET / HTTP/1.1\n", 15, lf),
        ("GET /\r\n", 6, RequestLine),
        ("GET\r\n", 4, RequestLine),
        ("\x16\x03\x01\x02", 1, RequestLine),
        ("GET x HTTP/1.1\r\n", 6, Target),
        ("GET * HTTP/1.1\r\n", 6, Target),
        ("GET http:///x HTTP/1.1\r\n", 14, Target),
        ("GET http://u@h/ HTTP/1.1\r\n", 16, Target),
        ("GET h:1 HTTP/1.1\r\n", 8, Target),
        ("CONNECT h HTTP/1.1\r\n", 10, Target),
    ] {
        assert_eq!(decided_at(line.as_bytes()), (at, why), "{line:?}");
        assert_eq!(why.status(), 400);
    }
    assert!(is_handed_over("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(is_handed_over("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"));
}

/// HS-06: an absolute target wins over Host.
#[test]
fn hs_06_absolute_target() {
    for (target, host, path, query) in [
        ("http://h/p", "h", "/p", None),
        ("http://h:81/p?q?r", "h:81", "/p", Some("q?r")),
        ("https://h", "h", "/", None),
        ("ws://[::1]:8?x", "[::1]:8", "/", Some("x")),
        ("/p?", "a", "/p", Some("")),
        ("//p", "a", "//p", None),
    ] {
        let head = upgrade().target(target).to_string();
        assert!(is_accepted(&head), "{target}");
        with_request(head.as_bytes(), |_, request| {
            assert_eq!(request.host().unwrap().as_str(), host);
            assert_eq!(request.path(), path.as_bytes());
            assert_eq!(request.query(), query.map(str::as_bytes));
            assert_eq!(request.target(), target.as_bytes());
        });
    }
    // Ignored is not absent.
    let head = upgrade().target("http://h/p").without("Host").to_string();
    assert_eq!(refused(head), Rejection::HostMissing);
}

/// HS-07: one Host, and a valid one.
#[test]
fn hs_07_host() {
    assert_eq!(refused(upgrade().without("Host").to_string()), Rejection::HostMissing);
    assert_eq!(refused(upgrade().with("Host", "a").to_string()), Rejection::HostRepeated);
    for host in [
        "a b",
        "a/b",
        "a@b",
        "u@h:1",
        "[::1",
        "::1",
        "[::g]",
        "[]",
        "[fe80::1%25eth0]",
        "a:b",
        "a:65536",
        "a:1:2",
        "a%zz",
        "a%2",
        "\u{e9}",
        "a\\b",
        "a,b",
        "[v1.]",
        "[::1]x",
        "a:-1",
        "a:+1",
        "http://a",
        "a?b",
        "a\tb",
    ] {
        // "a,b" is a reg-name: a comma is a sub-delim.
        let expected = host != "a,b";
        let head = upgrade().replace("Host", host).to_string();
        assert_eq!(matches!(outcome(true, head.as_bytes()), Outcome::Refused(_)), expected, "{host:?}");
        if expected {
            assert_eq!(refused(&head), Rejection::HostInvalid, "{host:?}");
            assert_eq!(
                refused(head.replace("Upgrade: websocket\r\n", "")),
                Rejection::HostInvalid,
                "{host:?}"
            );
        }
    }
    for host in [
        "a",
        "a_b.example",
        "A-1.b:80",
        "127.0.0.1:65535",
        "[::1]",
        "[::ffff:1.2.3.4]:1",
        "[v1.a:b]",
        "a%20b",
        "a:",
        "~!$&'()*+;=",
    ] {
        assert!(is_accepted(upgrade().replace("Host", host).to_string()), "{host:?}");
    }
    // An empty one is valid in HTTP, and names no server for an upgrade.
    assert_eq!(refused(upgrade().replace("Host", "").to_string()), Rejection::HostInvalid);
    assert_eq!(refused(upgrade().replace("Host", ":80").to_string()), Rejection::HostInvalid);
    assert!(is_handed_over("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"));
    for rule in [Rejection::HostMissing, Rejection::HostRepeated, Rejection::HostInvalid] {
        assert_eq!(rule.status(), 400);
    }
}

/// HS-24: framing that two parsers may read differently.
#[test]
fn hs_24_framing() {
    let te = "Transfer-Encoding";
    let cl = "Content-Length";
    for fields in [
        &[(cl, "5"), (te, "chunked")][..],
        &[(cl, "0"), (te, "chunked")],
        &[(cl, "5"), (cl, "6")],
        &[(cl, "0"), (cl, "6")],
        &[(cl, "+5")],
        &[(cl, "5,6")],
        &[(cl, "0, 0")],
        &[(cl, "0x5")],
        &[(cl, "")],
        &[(cl, "-0")],
        &[(cl, "18446744073709551616")],
        &[(te, "gzip")],
        &[(te, "chunked, gzip")],
        &[(te, "chunked"), (te, "identity")],
        &[(te, "")],
        &[(te, "xchunked")],
        &[(te, "\"chunked\"")],
    ] {
        let head = fields.iter().fold(upgrade(), |head, (name, value)| head.with(name, value));
        assert_eq!(refused(head.to_string()), Rejection::Framing, "{fields:?}");
    }
    assert_eq!(refused(upgrade().version("HTTP/1.0").with(te, "chunked").to_string()), Rejection::Framing);
    assert_eq!(Rejection::Framing.status(), 400);
}

/// HS-25, HS-26, HS-27, HS-28: lines that two parsers may read differently, refused at the byte that shows it.
#[test]
fn hs_25_to_28_strict_lines() {
    use ws_core::handshake::HeadFault::{BareCr, BareLf, Control, FieldName, ObsFold, SpaceBeforeColon};
    let start = "GET / HTTP/1.1\r\n";
    for (lines, at, why) in [
        // HS-25: space before the colon.
        ("Host : x\r\n", 5, SpaceBeforeColon),
        ("Host\t: x\r\n", 5, SpaceBeforeColon),
        // HS-26: obs-fold.
        ("A: b\r\n c\r\n", 7, ObsFold),
        ("A: b\r\n\tc\r\n", 7, ObsFold),
        // HS-27: bare CR; NUL or CR in a value; whitespace before the first field.
        (" Host: x\r\n", 1, ObsFold),
        ("\tHost: x\r\n", 1, ObsFold),
        ("A: b\rc\r\n", 6, BareCr),
        ("A: b\r\r\n", 6, BareCr),
        ("A: b\0c\r\n", 5, Control),
        ("A: \x01\r\n", 4, Control),
        ("A: \x7F\r\n", 4, Control),
        ("\rA: b\r\n", 2, BareCr),
        // HS-28: bare LF.
        ("A: b\nB: c\r\n", 5, BareLf),
        ("\n", 1, BareLf),
        // Names are tokens.
        (": x\r\n", 1, FieldName),
        ("A\r\n", 2, FieldName),
        ("A(b): c\r\n", 2, FieldName),
        ("\u{e9}: x\r\n", 1, FieldName),
        ("A\0: x\r\n", 2, FieldName),
    ] {
        let head = format!("{start}{lines}\r\n");
        let (end, rejection) = decided_at(head.as_bytes());
        assert_eq!((end - start.len(), fault(rejection)), (at, why), "{lines:?}");
        assert_eq!(rejection.status(), 400);
        assert_eq!(outcome(false, head.as_bytes()), Outcome::Refused(rejection), "{lines:?}");
    }
    // HS-28: one empty line before the request is forgiven, and belongs to the head.
    let head = format!("\r\n{}", upgrade());
    assert!(is_accepted(&head));
    with_request(head.as_bytes(), |_, request| {
        assert_eq!((request.head_len(), request.method(), request.path()), (head.len(), "GET", &b"/"[..]));
    });
    assert_eq!(decided_at(b"\r\n\r\nGET / HTTP/1.1"), (3, Rejection::RequestLine));
    assert_eq!(decided_at(b"\nGET / HTTP/1.1"), (1, Rejection::RequestLine));
    assert_eq!(fault(decided_at(b"\rG").1), BareCr);
    // The end of the head is CRLF, too.
    assert_eq!(fault(decided_at(format!("{start}Host: a\r\n\n").as_bytes()).1), BareLf);
}

/// HS-29: bytes above ASCII are kept unchanged.
#[test]
fn hs_29_obs_text() {
    let mut head = b"GET /\xff%zz\xfe HTTP/1.1\r\nHost: a\r\nX: \x80\xff\tz\r\n\r\n".to_vec();
    assert!(is_handed_over(&head));
    let mut handshake = new(false);
    let request = handshake.recv(Instant::ZERO, &head).unwrap().unwrap();
    assert_eq!(request.field("x"), Some(&b"\x80\xff\tz"[..]));
    let at = head.iter().position(|&byte| byte == 0x80).unwrap();
    for byte in 0x80..=0xFF {
        head[at] = byte;
        assert!(is_handed_over(&head), "{byte:#x}");
    }
}

/// HS-40: broken escapes and bytes that are no UTF-8 reach the application as they are.
#[test]
fn hs_40_raw_targets() {
    let head = b"GET /%zz%e9\xff/%?a=%\xc0\x80&b=|{}[]\"<>^`\\ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(is_handed_over(head));
    let mut handshake = new(false);
    let request = handshake.recv(Instant::ZERO, head).unwrap().unwrap();
    assert_eq!(request.path(), b"/%zz%e9\xff/%");
    assert_eq!(request.query(), Some(&b"a=%\xc0\x80&b=|{}[]\"<>^`\\"[..]));
}
