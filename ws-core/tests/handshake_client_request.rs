//! What a client sends: rows HC-01 to HC-04.

use ws_core::{ClientHandshake, ClientRequest, Config, Instant, RequestError, Uri, UriError};

static CONFIG: Config = Config::client();
/// Its key is that of RFC 6455, section 1.3.
const NONCE: [u8; 16] = *b"the sample nonce";

fn request() -> ClientRequest<'static> {
    ClientRequest::new(Uri::parse("ws://a/").unwrap())
}

fn new(request: ClientRequest<'_>) -> ClientHandshake<'_> {
    ClientHandshake::new(Instant::ZERO, &CONFIG, request, NONCE).expect("a request that may be sent")
}

fn written(request: ClientRequest<'_>) -> String {
    let mut handshake = new(request);
    let mut out = [0; 2048];
    let len = handshake.write(&mut out).expect("room");
    String::from_utf8(out[..len].to_vec()).unwrap()
}

/// HC-01: invalid addresses, and which part of each is wrong.
#[test]
fn hc_01_uri() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("a", UriError::Scheme),
        ("http://a", UriError::Scheme),
        ("ws:/a", UriError::Scheme),
        ("ws:a", UriError::Scheme),
        ("//a", UriError::Scheme),
        (" ws://a", UriError::Scheme),
        ("wsss://a", UriError::Scheme),
        ("ws://", UriError::Host),
        ("ws:///a", UriError::Host),
        ("ws://:80", UriError::Host),
        ("ws://?a", UriError::Host),
        ("ws://a b/", UriError::Host),
        ("ws://\u{e9}/", UriError::Host),
        ("ws://a\r\n/", UriError::Host),
        ("ws://[::1", UriError::Host),
        ("ws://[::g]/", UriError::Host),
        ("ws://[v1.a]/", UriError::Host),
        ("ws://a%2", UriError::Host),
        // An IPv6 address without brackets.
        ("ws://::1/", UriError::Host),
        ("ws://fe80::1/", UriError::Host),
        ("ws://a/#x", UriError::Fragment),
        ("ws://a#", UriError::Fragment),
        ("ws://a/?b#c", UriError::Fragment),
        ("ws://u@a/", UriError::UserInfo),
        ("ws://u:p@a/", UriError::UserInfo),
        ("ws://@a/", UriError::UserInfo),
        ("ws://a:0/", UriError::Port),
        ("ws://a:65536/", UriError::Port),
        ("ws://a:99999999999999999999/", UriError::Port),
        ("ws://a:x/", UriError::Port),
        ("ws://a:-1/", UriError::Port),
        ("ws://a/b c", UriError::Target),
        ("ws://a/b\r\nX: y", UriError::Target),
        ("ws://a/\u{e9}", UriError::Target),
        ("ws://a/%", UriError::Target),
        ("ws://a/%zz", UriError::Target),
        ("ws://a/?%2", UriError::Target),
        ("ws://a/\0", UriError::Target),
        ("ws://a/?{}", UriError::Target),
        ("ws://a/ ", UriError::Target),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text:?}");
    }
    for (text, secure, host, port, authority, path, query) in [
        ("ws://a", false, "a", 80, "a", "/", None),
        ("WSS://A.b", true, "A.b", 443, "A.b", "/", None),
        ("wS://a:80/", false, "a", 80, "a", "/", None),
        ("ws://a:443/", false, "a", 443, "a:443", "/", None),
        ("wss://a:443/b", true, "a", 443, "a", "/b", None),
        ("wss://a:80/b", true, "a", 80, "a:80", "/b", None),
        ("ws://a:/b", false, "a", 80, "a", "/b", None),
        ("ws://a?q=1", false, "a", 80, "a", "/", Some("q=1")),
        ("ws://a/b?c=d?e/f&g=@:!", false, "a", 80, "a", "/b", Some("c=d?e/f&g=@:!")),
        ("ws://a/b?", false, "a", 80, "a", "/b", Some("")),
        ("ws://[::1]", false, "::1", 80, "[::1]", "/", None),
        (
            "wss://[2001:db8::1]:9443/%20//x;y=z",
            true,
            "2001:db8::1",
            9443,
            "[2001:db8::1]:9443",
            "/%20//x;y=z",
            None,
        ),
        ("ws://127.0.0.1:65535", false, "127.0.0.1", 65535, "127.0.0.1:65535", "/", None),
        ("ws://a_b/", false, "a_b", 80, "a_b", "/", None),
    ] {
        let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((uri.is_secure(), uri.host(), uri.port()), (secure, host, port), "{text}");
        assert_eq!((uri.authority(), uri.path(), uri.query()), (authority, path, query), "{text}");
    }
}

/// HC-02, HC-03: the request, whole, and as an independent parser reads it; the key is canonical base64.
#[test]
fn hc_02_03_request() {
    assert_eq!(
        written(ClientRequest::new(Uri::parse("ws://a:81?b").unwrap())),
        "GET /?b HTTP/1.1\r\nHost: a:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut all = ClientRequest::new(Uri::parse("wss://b:443/c?d=e").unwrap());
    all.protocols = &["chat", "v2"];
    all.extensions = "x-a; b=\"c\", x-d";
    all.headers = &[("Origin", b"https://b"), ("Cookie", b"a=\xff")];
    let mut handshake = new(all);
    let mut out = [7; 512];
    let Err(RequestError::NoSpace { needed }) = handshake.write(&mut out[..100]) else { panic!("no room") };
    assert_eq!(out, [7; 512]);
    assert_eq!(handshake.write(&mut out[..needed]), Ok(needed));
    assert_eq!(handshake.write(&mut out), Err(RequestError::Written));

    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(&out[..needed]), Ok(httparse::Status::Complete(needed)));
    assert_eq!((parsed.method, parsed.path, parsed.version), (Some("GET"), Some("/c?d=e"), Some(1)));
    let fields: Vec<_> = parsed.headers.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(
        fields,
        [
            ("Host", &b"b"[..]),
            ("Upgrade", b"websocket"),
            ("Connection", b"Upgrade"),
            ("Sec-WebSocket-Version", b"13"),
            ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", b"chat, v2"),
            ("Sec-WebSocket-Extensions", b"x-a; b=\"c\", x-d"),
            ("Origin", b"https://b"),
            ("Cookie", b"a=\xff"),
        ]
    );
    // Pad bits are zero, whatever the nonce: the last character is one of four.
    for byte in 0..=255 {
        let mut handshake = ClientHandshake::new(Instant::ZERO, &CONFIG, request(), [byte; 16]).unwrap();
        let mut out = [0; 512];
        let len = handshake.write(&mut out).unwrap();
        let text = core::str::from_utf8(&out[..len]).unwrap();
        let key = text.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert!(key.len() == 24 && key.ends_with("==") && "AQgw".contains(&key[21..22]), "{key}");
    }
}

/// HC-04: no part of the request injects another.
#[test]
fn hc_04_injection() {
    for (protocols, error) in [
        (&["a", "a"][..], RequestError::RepeatedProtocol),
        (&["a", "b", "a"], RequestError::RepeatedProtocol),
        (&[""], RequestError::InvalidProtocol),
        (&["a b"], RequestError::InvalidProtocol),
        (&["a,b"], RequestError::InvalidProtocol),
        (&["a\r\n"], RequestError::InvalidProtocol),
        (&["a\0"], RequestError::InvalidProtocol),
        (&["a", "b;c"], RequestError::InvalidProtocol),
        (&["\u{e9}"], RequestError::InvalidProtocol),
    ] {
        let request = {
            let mut all = request();
            all.protocols = protocols;
            all
        };
        assert_eq!(
            ClientHandshake::new(Instant::ZERO, &CONFIG, request, NONCE).err(),
            Some(error),
            "{protocols:?}"
        );
    }
    for (name, value, error) in [
        ("X", &b"a\r\nY: b"[..], RequestError::InvalidHeader),
        ("X", b"a\nb", RequestError::InvalidHeader),
        ("X", b"a\rb", RequestError::InvalidHeader),
        ("X", b"a\0b", RequestError::InvalidHeader),
        ("X", b"a\x7fb", RequestError::InvalidHeader),
        ("", b"a", RequestError::InvalidHeader),
        ("X:", b"a", RequestError::InvalidHeader),
        ("X Y", b"a", RequestError::InvalidHeader),
        ("X\r\nY", b"a", RequestError::InvalidHeader),
        ("host", b"a", RequestError::ReservedHeader),
        ("upgrade", b"a", RequestError::ReservedHeader),
        ("Connection", b"a", RequestError::ReservedHeader),
        ("sec-websocket-key", b"a", RequestError::ReservedHeader),
        ("Sec-WebSocket-Protocol", b"a", RequestError::ReservedHeader),
        ("Content-Length", b"5", RequestError::ReservedHeader),
        ("Transfer-Encoding", b"chunked", RequestError::ReservedHeader),
    ] {
        let headers = [("Fine", &b"x"[..]), (name, value)];
        let request = {
            let mut all = request();
            all.headers = &headers;
            all
        };
        assert_eq!(
            ClientHandshake::new(Instant::ZERO, &CONFIG, request, NONCE).err(),
            Some(error),
            "{name:?}: {value:?}"
        );
    }
    for extensions in ["a;", "a\r\nX: y", "\"", "a b"] {
        let request = {
            let mut all = request();
            all.extensions = extensions;
            all
        };
        let error = ClientHandshake::new(Instant::ZERO, &CONFIG, request, NONCE).err();
        assert_eq!(error, Some(RequestError::InvalidExtensions), "{extensions:?}");
    }
}
