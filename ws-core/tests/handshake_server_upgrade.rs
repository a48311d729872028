//! What a server accepts as an upgrade: rows HS-01, HS-02, HS-08 to HS-15, HS-23 and HS-34.

mod heads;

use heads::server::{
    Outcome, answer, is_accepted, is_handed_over, new, outcome, refusal, refused, with_request,
};
use heads::{KEY, browser, upgrade};
use ws_core::handshake::MAX_PROTOCOLS;
use ws_core::{Accept, AnswerError, Instant, Rejection, same_host};

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let head = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert!(is_accepted(head));
    let accept = Accept { protocol: Some("chat"), ..Accept::default() };
    assert_eq!(
        answer(head.as_bytes(), accept).expect("an answer"),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    assert!(is_accepted(browser()));
}

/// HS-01: the method of an upgrade is GET, and 405 names it.
#[test]
fn hs_01_method() {
    for method in ["POST", "get", "HEAD", "OPTIONS", "PUT", "Get"] {
        let head = upgrade().method(method).to_string();
        assert_eq!(refused(&head), Rejection::MethodNotGet, "{method}");
        assert_eq!(outcome(false, head.as_bytes()), Outcome::Refused(Rejection::MethodNotGet));
    }
    let answer = refusal(Rejection::MethodNotGet);
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET\r\n"), "{answer}");
    // A request that is not an upgrade may have any method.
    assert!(is_handed_over("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"));
}

/// HS-02: HTTP/1.0 has no upgrade: never 101, the hand-off or 505.
#[test]
fn hs_02_http_1_0() {
    let head = upgrade().version("HTTP/1.0").to_string();
    assert_eq!(refused(&head), Rejection::Http10);
    assert_eq!(Rejection::Http10.status(), 505);
    assert!(is_handed_over(&head));
    let mut handshake = new(false);
    let request = handshake.recv(Instant::ZERO, head.as_bytes()).unwrap().unwrap();
    assert_eq!(request.rejection(), Some(Rejection::Http10));
    let mut out = [0; 512];
    assert_eq!(handshake.accept(&request, Accept::default(), &mut out), Err(AnswerError::NotAnUpgrade));
    // Without a Host, too: HTTP/1.0 has none.
    assert!(is_handed_over("GET / HTTP/1.0\r\n\r\n"));
    assert!(is_accepted(upgrade().version("HTTP/1.2").to_string()));
    assert_eq!(refused(upgrade().version("HTTP/2.0").to_string()), Rejection::HttpVersion);
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Rejection::Target);
}

/// HS-08: a request that is not an upgrade is handed over, or refused with 426.
#[test]
fn hs_08_no_upgrade() {
    for value in [
        None,
        Some(""),
        Some("websocket2"),
        Some("web socket"),
        Some("h2c"),
        Some("websocket/13"),
        Some("\"websocket\""),
    ] {
        let head = upgrade().without("Upgrade");
        let head = value.map_or(head.clone(), |value| head.with("Upgrade", value)).to_string();
        assert_eq!(refused(&head), Rejection::NotAnUpgrade, "{value:?}");
        assert!(is_handed_over(&head), "{value:?}");
    }
    let answer = refusal(Rejection::NotAnUpgrade);
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: Upgrade, close\r\n"), "{answer}");
    // Handed over with all its bytes.
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let mut handshake = new(false);
    let request = handshake.recv(Instant::ZERO, head).unwrap().unwrap();
    assert_eq!(request.head(), &head[..27]);
    assert_eq!(request.rejection(), Some(Rejection::NotAnUpgrade));
    assert_eq!(handshake.consumed(), None);
}

/// HS-09: Upgrade is a list, in any case of letters.
#[test]
fn hs_09_upgrade_list() {
    for value in [
        "h2c, WebSocket",
        "WEBSOCKET",
        "WebSocket",
        ",websocket,,",
        "websocket,h2c",
        " websocket ",
        "a,\twebsocket\t,b",
    ] {
        assert!(is_accepted(upgrade().replace("Upgrade", value).to_string()), "{value:?}");
    }
    assert!(is_accepted(upgrade().with("Upgrade", "h2c").to_string()));
    assert!(is_accepted(upgrade().replace("Upgrade", "h2c").with("upgrade", "websocket").to_string()));
}

/// HS-10: Connection is a list that names Upgrade.
#[test]
fn hs_10_connection_list() {
    for value in ["keep-alive, Upgrade", "UPGRADE", ",Upgrade,,", "upgrade", "close,upgrade"] {
        assert!(is_accepted(upgrade().replace("Connection", value).to_string()), "{value:?}");
    }
    assert!(is_accepted(upgrade().with("Connection", "keep-alive").to_string()));
    assert!(is_accepted(
        upgrade().replace("Connection", "keep-alive").with("CONNECTION", "Upgrade").to_string()
    ));
    for value in ["Upgradex", "", "keep-alive", "xUpgrade", "Up grade"] {
        assert_eq!(
            refused(upgrade().replace("Connection", value).to_string()),
            Rejection::Connection,
            "{value:?}"
        );
    }
    assert_eq!(refused(upgrade().without("Connection").to_string()), Rejection::Connection);
    assert_eq!(Rejection::Connection.status(), 400);
}

/// HS-11: exactly one key.
#[test]
fn hs_11_one_key() {
    assert_eq!(refused(upgrade().without("Sec-WebSocket-Key").to_string()), Rejection::KeyMissing);
    assert_eq!(refused(upgrade().with("Sec-WebSocket-Key", KEY).to_string()), Rejection::KeyRepeated);
    assert_eq!(refused(upgrade().with("sec-websocket-KEY", "x").to_string()), Rejection::KeyRepeated);
    assert_eq!([Rejection::KeyMissing.status(), Rejection::KeyRepeated.status()], [400; 2]);
}

/// HS-12: the key is the base64 of 16 bytes; its pad bits may be any (erratum 3150).
#[test]
fn hs_12_key() {
    for key in [
        "",
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAA===",
        "AAAAAAAAAAAAAAAAAAAAA-==",
        "AAAAAAAAAAAAAAAAAAAA_A==",
        "AAAAAAAAAA AAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAA===",
        "=AAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAA\u{e9}==",
    ] {
        assert_eq!(
            refused(upgrade().replace("Sec-WebSocket-Key", key).to_string()),
            Rejection::KeyInvalid,
            "{key:?}"
        );
    }
    for key in [
        "AQIDBAUGBwgJCgsMDQ4PEC==",
        "AQIDBAUGBwgJCgsMDQ4PEA==",
        "+/+/+/+/+/+/+/+/+/+/+A==",
        "  AAAAAAAAAAAAAAAAAAAAAA== \t",
    ] {
        assert!(is_accepted(upgrade().replace("Sec-WebSocket-Key", key).to_string()), "{key:?}");
    }
}

/// HS-13: another version is 426, and the answer names ours.
#[test]
fn hs_13_other_version() {
    for version in ["8", "0", "255", "12", "14", "7", "99", "100", "199", "200"] {
        let head = upgrade().replace("Sec-WebSocket-Version", version).to_string();
        assert_eq!(refused(head), Rejection::VersionUnsupported, "{version}");
    }
    let answer = refusal(Rejection::VersionUnsupported);
    for part in [
        "HTTP/1.1 426 ",
        "\r\nSec-WebSocket-Version: 13\r\n",
        "\r\nUpgrade: websocket\r\n",
        "\r\nConnection: Upgrade, close\r\n",
    ] {
        assert!(answer.contains(part), "{answer}");
    }
}

/// HS-14: a version that is none is 400, and the answer names ours.
#[test]
fn hs_14_malformed_version() {
    for version in ["13, 8", "013", "256", "", "299", "1000", "-1", "+13", "1 3", "13a", "0x0d", "00"] {
        let head = upgrade().replace("Sec-WebSocket-Version", version).to_string();
        assert_eq!(refused(head), Rejection::VersionInvalid, "{version:?}");
    }
    assert_eq!(refused(upgrade().without("Sec-WebSocket-Version").to_string()), Rejection::VersionInvalid);
    assert_eq!(refused(upgrade().with("Sec-WebSocket-Version", "13").to_string()), Rejection::VersionInvalid);
    let answer = refusal(Rejection::VersionInvalid);
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nSec-WebSocket-Version: 13\r\n"),
        "{answer}"
    );
    assert!(is_accepted(upgrade().replace("Sec-WebSocket-Version", " 13\t").to_string()));
}

/// HS-15: offers of subprotocols are one list over all lines.
#[test]
fn hs_15_protocol_offers() {
    for (lines, offers) in [
        (&["a, b", "c"][..], &["a", "b", "c"][..]),
        (&[",a,,b,"], &["a", "b"]),
        (&[""], &[]),
        (&[", ,\t,", ""], &[]),
        (&["chat", "Chat", "CHAT"], &["chat", "Chat", "CHAT"]),
        (&["a!#$%&'*+-.^_`|~9"], &["a!#$%&'*+-.^_`|~9"]),
    ] {
        let mut head = upgrade();
        for line in lines {
            head = head.with("X-Between", "1").with("sec-webSocket-protocol", line);
        }
        assert!(is_accepted(head.to_string()), "{lines:?}");
        with_request(head.to_string().as_bytes(), |_, request| {
            assert!(request.protocols().eq(offers.iter().copied()));
        });
    }
    for (lines, why) in [
        (&["a, a"][..], Rejection::ProtocolRepeated),
        (&["a, b", "c, a"], Rejection::ProtocolRepeated),
        (&["a b"], Rejection::ProtocolInvalid),
        (&["a", "b/c"], Rejection::ProtocolInvalid),
        (&["\"a\""], Rejection::ProtocolInvalid),
        (&["a;q=1"], Rejection::ProtocolInvalid),
        (&["\u{e9}"], Rejection::ProtocolInvalid),
    ] {
        let head = lines.iter().fold(upgrade(), |head, line| head.with("Sec-WebSocket-Protocol", line));
        assert_eq!(refused(head.to_string()), why, "{lines:?}");
        assert_eq!(why.status(), 400);
    }
    // The table of offers is bounded, and so is the work.
    let offers = |count: usize| (0..count).map(|at| format!("p{at}")).collect::<Vec<_>>().join(",");
    let head = |count| upgrade().with("Sec-WebSocket-Protocol", &offers(count)).to_string();
    assert!(is_accepted(head(MAX_PROTOCOLS)));
    assert_eq!(refused(head(MAX_PROTOCOLS + 1)), Rejection::TooManyProtocols);
}

/// HS-23: an upgrade has no body.
#[test]
fn hs_23_no_body() {
    for (name, value) in [
        ("Content-Length", "1"),
        ("Content-Length", "18446744073709551615"),
        ("Transfer-Encoding", "chunked"),
    ] {
        assert_eq!(refused(upgrade().with(name, value).to_string()), Rejection::Body, "{name}: {value}");
    }
    assert_eq!(Rejection::Body.status(), 400);
    assert!(is_accepted(upgrade().with("Content-Length", "0").to_string()));
    assert!(is_accepted(upgrade().with("Content-Length", "0").with("Content-Length", "0").to_string()));
}

/// HS-34: the rule of the same host.
#[test]
fn hs_34_same_host() {
    for (origin, host, same) in [
        ("http://a", "a", true),
        ("http://A.Example", "a.eXample", true),
        ("http://a:80", "a", true),
        ("http://a", "a:80", true),
        ("https://a", "a:443", true),
        ("https://a:443", "a", true),
        ("https://a", "a", true),
        ("https://a", "a:80", false),
        ("http://a:8080", "a:8080", true),
        ("http://a:8080", "a", false),
        ("http://a", "a:8080", false),
        ("http://[::1]:1", "[::1]:1", true),
        ("chrome-extension://abc", "abc", true),
        ("http://b.a", "a", false),
        ("http://a.b", "a", false),
        ("http://ab", "a", false),
        ("null", "null", false),
        ("", "", false),
        ("http://", "", false),
        ("a", "a", false),
        ("//a", "a", false),
        ("http://a/", "a", false),
        ("http://u@a", "a", false),
        ("http://a http://b", "a", false),
        ("http://a:99999", "a:99999", false),
        ("1http://a", "a", false),
    ] {
        assert_eq!(same_host(origin.as_bytes(), host.as_bytes()), same, "{origin:?} at {host:?}");
        let head = upgrade().replace("Host", if host.is_empty() { "x" } else { host }).with("Origin", origin);
        if host != "a:99999" && !host.is_empty() {
            with_request(head.to_string().as_bytes(), |_, request| {
                assert_eq!(request.origin(), Some((origin.as_bytes(), same)));
            });
        }
    }
    with_request(upgrade().to_string().as_bytes(), |_, request| assert_eq!(request.origin(), None));
    let two = upgrade().with("Origin", "http://a").with("Origin", "http://a").to_string();
    with_request(two.as_bytes(), |_, request| assert_eq!(request.origin(), Some((&b"http://a"[..], false))));
    // An absolute target is the host that counts.
    let other = upgrade().target("http://b/").with("Origin", "http://a").to_string();
    with_request(other.as_bytes(), |_, request| {
        assert_eq!(request.origin(), Some((&b"http://a"[..], false)));
    });
}
