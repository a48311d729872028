//! What a server makes of a request head: rows HS-01 to HS-40.

mod heads;

use heads::{KEY, browser, upgrade};
use ws_core::handshake::{LINGER_BYTES, MAX_EARLY_BYTES, MAX_PROTOCOLS};
use ws_core::{
    Accept, AnswerError, Config, HeadLimits, Instant, Rejection, Request, ServerHandshake, Transport,
    same_host,
};

static CONFIG: Config = Config::server();

/// What came of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// More is needed.
    More,
    /// An upgrade, or another request.
    Request {
        upgrade: bool,
        seen: String,
    },
    Refused(Rejection),
}

fn new(only: bool) -> ServerHandshake {
    if only {
        ServerHandshake::new(Instant::ZERO, &CONFIG)
    } else {
        ServerHandshake::beside_http(Instant::ZERO, &CONFIG)
    }
}

fn seen(request: &Request<'_>) -> String {
    let fields: Vec<_> = request.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let protocols: Vec<_> = request.protocols().collect();
    let extensions: Vec<_> = request
        .extensions()
        .map(|extension| {
            let params: Vec<_> = extension
                .params()
                .map(|(name, value)| {
                    (name, value.map(|value| value.bytes().map(char::from).collect::<String>()))
                })
                .collect();
            (extension.name(), params)
        })
        .collect();
    format!(
        "{} {:?} {:?} {:?} {} {:?} {fields:?} {protocols:?} {extensions:?} {:?} {:?} {} {}",
        request.method(),
        request.target(),
        request.path(),
        request.query(),
        request.http_minor(),
        request.host(),
        request.origin(),
        request.refusal(),
        request.expects_continue(),
        request.head_len(),
    )
}

fn show(handshake: &mut ServerHandshake, input: &[u8]) -> Outcome {
    match handshake.recv(Instant::ZERO, input) {
        Ok(None) => Outcome::More,
        Ok(Some(request)) => Outcome::Request { upgrade: request.is_upgrade(), seen: seen(&request) },
        Err(rejection) => Outcome::Refused(rejection),
    }
}

/// The outcome of a head shown at once; then cut in two at every byte, and byte by byte, which must be the same.
fn outcome(only: bool, head: &[u8]) -> Outcome {
    let at_once = show(&mut new(only), head);
    let mut bytewise = new(only);
    let mut last = Outcome::More;
    for end in 0..=head.len() {
        last = show(&mut bytewise, &head[..end]);
        if last != Outcome::More {
            break;
        }
        let mut cut = new(only);
        assert_eq!(show(&mut cut, &head[..end]), Outcome::More);
        assert_eq!(show(&mut cut, head), at_once, "cut at {end}: {:?}", String::from_utf8_lossy(head));
    }
    assert_eq!(last, at_once, "byte by byte: {:?}", String::from_utf8_lossy(head));
    at_once
}

/// How many bytes of a bad head it takes to refuse it.
fn decided_at(head: &[u8]) -> (usize, Rejection) {
    let mut handshake = new(true);
    for end in 0..=head.len() {
        if let Err(rejection) = handshake.recv(Instant::ZERO, &head[..end]) {
            return (end, rejection);
        }
    }
    panic!("not refused: {:?}", String::from_utf8_lossy(head));
}

fn is_accepted(head: impl AsRef<[u8]>) -> bool {
    matches!(outcome(true, head.as_ref()), Outcome::Request { upgrade: true, .. })
}

fn refused(head: impl AsRef<[u8]>) -> Rejection {
    match outcome(true, head.as_ref()) {
        Outcome::Refused(rejection) => rejection,
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(head.as_ref())),
    }
}

/// The head is taken where HTTP is spoken beside WebSocket, and is no upgrade.
fn is_handed_over(head: impl AsRef<[u8]>) -> bool {
    matches!(outcome(false, head.as_ref()), Outcome::Request { upgrade: false, .. })
}

fn with_request<R>(head: &[u8], use_it: impl FnOnce(&mut ServerHandshake, Request<'_>) -> R) -> R {
    let mut handshake = new(true);
    let request = handshake.recv(Instant::ZERO, head).expect("well-formed").expect("complete");
    use_it(&mut handshake, request)
}

fn answer(head: &[u8], accept: Accept<'_>) -> Result<String, AnswerError> {
    with_request(head, |handshake, request| {
        let mut out = [0; 2048];
        let len = handshake.accept(&request, accept, &mut out)?;
        Ok(String::from_utf8(out[..len].to_vec()).expect("ASCII"))
    })
}

fn refusal(rejection: Rejection) -> String {
    let mut handshake = new(true);
    let _ = handshake.tick(Instant::from_secs(10));
    let mut out = [0; 1024];
    let len = handshake.refuse(Instant::ZERO, rejection, &mut out).expect("room");
    String::from_utf8(out[..len].to_vec()).expect("ASCII")
}

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
    // What is no upgrade may have any method.
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
    assert_eq!(request.refusal(), Some(Rejection::Http10));
    let mut out = [0; 512];
    assert_eq!(handshake.accept(&request, Accept::default(), &mut out), Err(AnswerError::NotAnUpgrade));
    // Without a Host, too: HTTP/1.0 has none.
    assert!(is_handed_over("GET / HTTP/1.0\r\n\r\n"));
    assert!(is_accepted(upgrade().version("HTTP/1.2").to_string()));
    assert_eq!(refused(upgrade().version("HTTP/2.0").to_string()), Rejection::HttpVersion);
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Rejection::Target);
}

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

/// HS-04: a target longer than the limit is refused at the byte that passes it.
#[test]
fn hs_04_target_limit() {
    for (len, fits) in [(8191, true), (8192, true), (8193, false), (20_000, false)] {
        let head = upgrade().target(&format!("/{}", "a".repeat(len - 1))).to_string();
        if fits {
            assert!(matches!(show(&mut new(true), head.as_bytes()), Outcome::Request { upgrade: true, .. }));
        } else {
            assert_eq!(decided_at(head.as_bytes()), (4 + 8193, Rejection::TargetTooLong));
            assert_eq!(show(&mut new(true), head.as_bytes()), Outcome::Refused(Rejection::TargetTooLong));
        }
    }
    assert_eq!(Rejection::TargetTooLong.status(), 414);
}

/// HS-05: a method is not buffered without end.
#[test]
fn hs_05_method_limit() {
    let head = "M".repeat(100_000);
    assert_eq!(decided_at(head.as_bytes()), (33, Rejection::MethodTooLong));
    assert_eq!(Rejection::MethodTooLong.status(), 501);
    assert!(is_handed_over(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(32))));
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

/// HS-08: what is no upgrade is handed over, or refused with 426.
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
    assert_eq!(request.refusal(), Some(Rejection::NotAnUpgrade));
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

/// HS-21: a 101 has no body, and says nothing of one.
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

fn fault(rejection: Rejection) -> ws_core::handshake::HeadFault {
    match rejection {
        Rejection::Head(fault) => fault,
        other => panic!("{other:?}"),
    }
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

/// HS-29: bytes above ASCII are kept as they are.
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

/// HS-30: every limit strikes at the byte that passes it; what just fits is taken.
#[test]
fn hs_30_limits() {
    use ws_core::handshake::HeadFault::{HeadTooLong, LineTooLong, TooManyFields};
    // A head of exactly so many bytes, of lines that are short enough.
    let head_of = |len: usize| {
        let mut head = upgrade();
        while head.to_string().len() + 4003 < len {
            head = head.with("X", &"x".repeat(3000));
        }
        let rest = len - head.to_string().len() - "X: \r\n".len();
        head.with("X", &"x".repeat(rest)).to_string()
    };
    assert_eq!(head_of(16_384).len(), 16_384);
    assert!(matches!(
        show(&mut new(true), head_of(16_384).as_bytes()),
        Outcome::Request { upgrade: true, .. }
    ));
    let (at, rejection) = decided_at(head_of(16_385).as_bytes());
    assert_eq!((at, fault(rejection), rejection.status()), (16_385, HeadTooLong, 431));
    assert_eq!(show(&mut new(true), head_of(16_385).as_bytes()), Outcome::Refused(rejection));
    // Bytes behind a head are not part of it.
    let mut more = head_of(16_384).into_bytes();
    more.resize(16_384 + MAX_EARLY_BYTES, 0x81);
    assert!(matches!(show(&mut new(true), &more), Outcome::Request { upgrade: true, .. }));

    // A line of name, colon and value.
    let line_of = |len: usize| upgrade().with("X", &"x".repeat(len - 3)).to_string();
    assert!(matches!(show(&mut new(true), line_of(8192).as_bytes()), Outcome::Request { upgrade: true, .. }));
    let start = line_of(8193).find("X: ").unwrap();
    let (at, rejection) = decided_at(line_of(8193).as_bytes());
    assert_eq!((at - start, fault(rejection), rejection.status()), (8193, LineTooLong, 431));
    // An endless name, too.
    let (at, rejection) = decided_at(format!("GET / HTTP/1.1\r\n{}", "n".repeat(20_000)).as_bytes());
    assert_eq!((at, fault(rejection)), (16 + 8193, LineTooLong));

    // A count. The field that is one too many may be the one that matters, so it is not dropped.
    let count_of = |count: usize| (5..count).fold(upgrade(), |head, _| head.with("X", "y")).to_string();
    assert!(is_accepted(count_of(100)));
    let head = count_of(101);
    let (at, rejection) = decided_at(head.as_bytes());
    assert_eq!(
        (at, fault(rejection), rejection.status()),
        (head.len() - "X: y\r\n\r\n".len() + 1, TooManyFields, 431)
    );
    assert_eq!(outcome(false, head.as_bytes()), Outcome::Refused(rejection));

    // All of them are settings.
    static SMALL: Config = {
        let mut config = Config::server();
        config.head = HeadLimits::new();
        config.head.max_fields = 5;
        config.head.max_bytes = 190;
        config.head.max_target = 1;
        config.head.max_line = 43;
        config
    };
    let small =
        |head: &str| ServerHandshake::new(Instant::ZERO, &SMALL).recv(Instant::ZERO, head.as_bytes()).err();
    assert_eq!(small(&upgrade().to_string()), None);
    assert_eq!(small(&upgrade().with("X", "y").to_string()).map(fault), Some(TooManyFields));
    assert_eq!(small(&upgrade().target("/a").to_string()), Some(Rejection::TargetTooLong));
    assert_eq!(small(&upgrade().replace("Host", &"h".repeat(38)).to_string()).map(fault), Some(LineTooLong));
    assert_eq!(small(&upgrade().replace("Host", &"h".repeat(37)).to_string()), None);
    let long =
        upgrade().replace("Host", &"h".repeat(37)).replace("Connection", "Upgrade, aaaaaaaaaaaaaaaaaaaa");
    assert_eq!(small(&long.to_string()).map(fault), Some(HeadTooLong));
}

/// HS-31: one deadline for the head, which stops when the head is complete.
#[test]
fn hs_31_deadline() {
    let head = upgrade().to_string();
    let (first, rest) = head.as_bytes().split_at(40);
    let ten = Instant::from_secs(10);
    let before = Instant::from_micros(ten.as_micros() - 1);

    let mut handshake = new(true);
    assert_eq!(handshake.deadline(), Some(ten));
    // Bytes do not move it.
    assert!(handshake.recv(Instant::from_secs(9), first).unwrap().is_none());
    assert_eq!(handshake.deadline(), Some(ten));
    assert_eq!(handshake.tick(before), Ok(()));
    assert_eq!(handshake.tick(ten), Err(Rejection::Timeout));
    assert_eq!((Rejection::Timeout.status(), handshake.deadline()), (408, None));
    assert_eq!(handshake.recv(ten, head.as_bytes()).err(), Some(Rejection::Timeout));
    let mut out = [0; 512];
    let len = handshake.refuse(ten, Rejection::Timeout, &mut out).unwrap();
    assert!(out[..len].starts_with(b"HTTP/1.1 408 "));

    // A read tells the time as well as a tick.
    let mut handshake = new(true);
    assert_eq!(handshake.recv(ten, first).err(), Some(Rejection::Timeout));

    // A complete head stops it: a decision may take its time.
    let mut handshake = new(true);
    assert!(handshake.recv(before, first).unwrap().is_none());
    let request = handshake.recv(before, head.as_bytes()).unwrap().unwrap();
    assert_eq!(handshake.deadline(), None);
    assert_eq!(handshake.tick(Instant::from_secs(3600)), Ok(()));
    assert!(handshake.accept(&request, Accept::default(), &mut out).is_ok());
    assert!(!rest.is_empty());
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

/// HS-33: no byte is parsed after a refusal, whoever refused.
#[test]
fn hs_33_nothing_after_a_refusal() {
    let good = upgrade().to_string();
    let bad = upgrade().method("PUT").to_string();
    let mut out = [0; 512];
    let mut handshake = new(true);
    let both = format!("{bad}{good}");
    assert_eq!(handshake.recv(Instant::ZERO, both.as_bytes()).err(), Some(Rejection::MethodNotGet));
    // Not even when the caller shows other bytes.
    assert_eq!(handshake.recv(Instant::ZERO, good.as_bytes()).err(), Some(Rejection::MethodNotGet));
    handshake.refuse(Instant::ZERO, Rejection::MethodNotGet, &mut out).unwrap();
    assert!(handshake.recv(Instant::ZERO, good.as_bytes()).unwrap().is_none());
    assert_eq!(handshake.consumed(), None);

    with_request(good.as_bytes(), |handshake, request| {
        handshake.reject(Instant::ZERO, 403, &[], b"", &mut out).unwrap();
        assert!(handshake.recv(Instant::ZERO, good.as_bytes()).unwrap().is_none());
        assert_eq!(handshake.accept(&request, Accept::default(), &mut out), Err(AnswerError::NotWaiting));
        assert_eq!(handshake.transport(), Transport::Shutdown);
    });
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
    let Err(AnswerError::NoSpace { needed }) = handshake.refuse(Instant::ZERO, rejection, &mut out[..9])
    else {
        panic!("room for an answer in 9 bytes");
    };
    assert_eq!(out, [7; 512]);
    assert_eq!(handshake.refuse(Instant::ZERO, rejection, &mut out[..needed]), Ok(needed));
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

/// HS-39: after a refusal the connection lingers: until EOF, 64 KiB or 2 s.
#[test]
fn hs_39_linger() {
    let refused = || {
        let mut handshake = new(true);
        assert!(handshake.recv(Instant::ZERO, b"nonsense\r\n\r\n").is_err());
        assert_eq!(handshake.transport(), Transport::Shutdown);
        let mut out = [0; 512];
        handshake.refuse(Instant::from_secs(1), Rejection::RequestLine, &mut out).unwrap();
        // The answer goes out, and may not take for ever.
        assert_eq!(
            (handshake.transport(), handshake.deadline()),
            (Transport::Shutdown, Some(Instant::from_secs(11)))
        );
        handshake
    };
    let lingering = || {
        let mut handshake = refused();
        handshake.shut_down(Instant::from_secs(3));
        assert_eq!(
            (handshake.transport(), handshake.deadline()),
            (Transport::Shutdown, Some(Instant::from_secs(5)))
        );
        handshake
    };
    let mut handshake = refused();
    assert_eq!(handshake.tick(Instant::from_secs(11)), Ok(()));
    assert_eq!(handshake.transport(), Transport::Close);

    let mut handshake = lingering();
    assert_eq!(handshake.tick(Instant::from_micros(4_999_999)), Ok(()));
    assert_eq!(handshake.transport(), Transport::Shutdown);
    assert_eq!(handshake.tick(Instant::from_secs(5)), Ok(()));
    assert_eq!((handshake.transport(), handshake.deadline()), (Transport::Close, None));

    let mut handshake = lingering();
    handshake.discard(LINGER_BYTES - 1);
    assert_eq!(handshake.transport(), Transport::Shutdown);
    handshake.discard(1);
    assert_eq!(handshake.transport(), Transport::Close);

    let mut handshake = lingering();
    handshake.recv_eof(Instant::from_secs(4));
    assert_eq!(handshake.transport(), Transport::Close);

    // What ends the lingering before the answer is out lets it go out first.
    for by_eof in [false, true] {
        let mut handshake = refused();
        if by_eof {
            handshake.recv_eof(Instant::from_secs(2));
        } else {
            handshake.discard(LINGER_BYTES);
        }
        assert_eq!(handshake.transport(), Transport::Shutdown);
        handshake.shut_down(Instant::from_secs(3));
        assert_eq!(handshake.transport(), Transport::Close);
    }

    // A clock that runs backwards is taken to stand still (N-06).
    let mut handshake = refused();
    handshake.shut_down(Instant::ZERO);
    assert_eq!(handshake.deadline(), Some(Instant::from_secs(3)));

    // The transport ends inside the head: nobody is left to answer.
    let mut handshake = new(true);
    assert!(handshake.recv(Instant::ZERO, b"GET").unwrap().is_none());
    handshake.recv_eof(Instant::ZERO);
    assert_eq!((handshake.transport(), handshake.deadline()), (Transport::Close, None));
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
