//! Any bytes, cut anywhere: no panic, and the outcome of the whole. Held against an independent parser.

mod heads;

use heads::{browser, upgrade};
use proptest::prelude::*;
use ws_core::{ClientHandshake, ClientRequest, Config, Instant, Rejection, ServerHandshake, Uri};

static SERVER: Config = Config::server();
static CLIENT: Config = Config::client();

/// Pieces from which heads are made that get far.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "GET / HTTP/1.1\r\n",
        "POST http://a/b?c HTTP/1.0\r\n",
        "HTTP/1.1 101 x\r\n",
        "HTTP/1.1 103 \r\n\r\n",
        "Host: a\r\n",
        "Host: [::1]:80\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "Sec-WebSocket-Protocol: a, b\r\n",
        "Sec-WebSocket-Extensions: a; b=\"c\\d\", e\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Origin: http://a\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\0",
        ":",
        ",",
        "\"",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..16).prop_map(|pieces| pieces.concat())
}

/// Everything that a server's handshake reports for these reads, and where.
fn serve(mut handshake: ServerHandshake, input: &[u8], cuts: &[usize]) -> Option<Result<String, Rejection>> {
    for end in cuts.iter().copied().chain([input.len()]) {
        match handshake.recv(Instant::ZERO, &input[..end.min(input.len())]) {
            Ok(None) => {}
            Ok(Some(request)) => {
                let fields: Vec<_> = request.fields().collect();
                let protocols: Vec<_> = request.protocols().collect();
                let names: Vec<_> = request
                    .extensions()
                    .map(|extension| (extension.name(), extension.params().count()))
                    .collect();
                return Some(Ok(format!(
                    "{} {} {:?} {fields:?} {protocols:?} {names:?} {:?} {:?}",
                    request.is_upgrade(),
                    request.method(),
                    request.target(),
                    request.host(),
                    request.rejection()
                )));
            }
            Err(rejection) => return Some(Err(rejection)),
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// F-14 for the handshake: no split changes what a server reports.
    #[test]
    fn a_server_hears_the_same_at_any_split(input in bytes(), mut cuts in proptest::collection::vec(0usize..300, 0..5)) {
        cuts.sort_unstable();
        for beside_http in [false, true] {
            let new = || match beside_http {
                false => ServerHandshake::new(Instant::ZERO, &SERVER),
                true => ServerHandshake::beside_http(Instant::ZERO, &SERVER),
            };
            let whole = serve(new(), &input, &[]);
            prop_assert_eq!(&serve(new(), &input, &cuts), &whole);
            let bytewise: Vec<_> = (0..input.len()).collect();
            prop_assert_eq!(&serve(new(), &input, &bytewise), &whole);
        }
    }

    #[test]
    fn a_client_hears_the_same_at_any_split(input in bytes(), mut cuts in proptest::collection::vec(0usize..300, 0..5)) {
        cuts.sort_unstable();
        let mut request = ClientRequest::new(Uri::parse("ws://a/").unwrap());
        request.protocols = &["a"];
        request.extensions = "a";
        let hear = |cuts: &[usize]| {
            let mut handshake = ClientHandshake::new(Instant::ZERO, &CLIENT, request, *b"the sample nonce").unwrap();
            for end in cuts.iter().copied().chain([input.len()]) {
                match handshake.recv(Instant::ZERO, &input[..end.min(input.len())]) {
                    Ok(None) => {}
                    Ok(Some(response)) => return format!("{:?} {:?}", response.status(), (response.end(), response.body(), response.protocol())),
                    Err(error) => return format!("{error:?}"),
                }
            }
            String::new()
        };
        let whole = hear(&[]);
        prop_assert_eq!(&hear(&cuts), &whole);
        let bytewise: Vec<_> = (0..input.len()).collect();
        prop_assert_eq!(&hear(&bytewise), &whole);
    }

    /// Whatever the walk takes, httparse takes too, and reads the same from it.
    #[test]
    fn what_is_taken_reads_the_same_elsewhere(input in bytes()) {
        let mut handshake = ServerHandshake::beside_http(Instant::ZERO, &SERVER);
        if let Ok(Some(request)) = handshake.recv(Instant::ZERO, &input) {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut parsed = httparse::Request::new(&mut fields);
            prop_assert_eq!(parsed.parse(&input), Ok(httparse::Status::Complete(request.head_len())));
            prop_assert_eq!(parsed.method, Some(request.method()));
            prop_assert_eq!(parsed.path.map(str::as_bytes), Some(request.target()));
            prop_assert!(parsed.headers.iter().map(|field| (field.name, field.value)).eq(request.fields()));
        }
    }

    #[test]
    fn addresses_never_panic(text in "(ws|WSS|http)?:?/?/?[a-z@:\\[\\]%#?/. 0-9\u{e9}]{0,20}") {
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert!(!uri.host().is_empty() && uri.path().starts_with('/') && uri.port() != 0);
            // What is taken can be sent, and is read back as it was meant.
            let mut handshake = ClientHandshake::new(Instant::ZERO, &CLIENT, ClientRequest::new(uri), [0; 16]).unwrap();
            let mut out = [0; 512];
            let len = handshake.write(&mut out).unwrap();
            let mut server = ServerHandshake::new(Instant::ZERO, &SERVER);
            let request = server.recv(Instant::ZERO, &out[..len]).unwrap().unwrap();
            prop_assert_eq!(request.path(), uri.path().as_bytes());
            prop_assert_eq!(request.query(), uri.query().map(str::as_bytes));
            prop_assert_eq!(request.host().unwrap().as_str(), uri.authority());
        }
    }
}

/// One byte of a valid head changed to any other: never a panic, and the same outcome at any split.
#[test]
fn every_single_byte_may_change() {
    let head = upgrade()
        .with("Sec-WebSocket-Extensions", "a; b=\"c\"")
        .with("Sec-WebSocket-Protocol", "a, b")
        .to_string();
    for at in 0..head.len() {
        for byte in
            [0, b'\t', b'\n', b'\r', b' ', b'"', b',', b':', b';', b'=', b'A', b'\\', 0x7F, 0x80, 0xFF]
        {
            let mut changed = head.clone().into_bytes();
            changed[at] = byte;
            let whole = serve(ServerHandshake::new(Instant::ZERO, &SERVER), &changed, &[]);
            let bytewise: Vec<_> = (0..changed.len()).collect();
            assert_eq!(
                serve(ServerHandshake::new(Instant::ZERO, &SERVER), &changed, &bytewise),
                whole,
                "{byte:#x} at {at}"
            );
        }
    }
}

/// A caller that breaks the contract, and shows fewer or other bytes than before, gets nonsense but no panic.
#[test]
fn a_caller_may_show_other_bytes() {
    let head = browser();
    for first in 0..=head.len() {
        for second in [0, 1, first / 2, first.saturating_sub(1)] {
            let mut handshake = ServerHandshake::beside_http(Instant::ZERO, &SERVER);
            let _ = handshake.recv(Instant::ZERO, &head.as_bytes()[..first]);
            let _ = handshake.recv(Instant::ZERO, &head.as_bytes()[..second]);
            let other = vec![0xFF; head.len()];
            if let Ok(Some(request)) = handshake.recv(Instant::ZERO, &other) {
                let _ = (
                    request.method(),
                    request.path(),
                    request.host(),
                    request.fields().count(),
                    request.origin(),
                );
                let _ = (request.protocols().count(), request.extensions().count(), request.rejection());
                let mut out = [0; 512];
                let _ = handshake.accept(&request, ws_core::Accept::default(), &mut out);
            }
        }
    }
}
