//! Connecting: what is sent, what is accepted as an answer, how long it may take (RFC 6455, section 4.1).

mod peer;

use std::time::Duration;

use http::StatusCode;
use peer::{Script, accept_by_hand, fields, read_head, switch};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{self, timeout};
use ws_tokio::core::{CloseCode, CloseFrame, HandshakeError, Message, RequestError, UriError};
use ws_tokio::{
    ConnectError, ConnectOptions, ConnectRequest, Limiter, WebSocket, connect, connect_over, connect_with,
};

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("ws://{address}"))
}

/// Sends a request over a pipe, and returns its head.
async fn head_of(request: impl Into<ConnectRequest>, options: &ConnectOptions) -> String {
    let (near, mut far) = duplex(4096);
    let request = request.into();
    let server = tokio::spawn(async move { accept_by_hand(&mut far, "").await });
    drop(connect_over(near, request, options).await.unwrap());
    server.await.unwrap()
}

/// The result of connecting to a server that answers with these bytes.
async fn answered(bytes: impl Into<Vec<u8>>) -> Result<http::Response<()>, ConnectError> {
    let bytes = bytes.into();
    let script = Script::new(|_| vec![bytes]);
    connect_over(script, "ws://host/", &ConnectOptions::new()).await.map(|(_, response)| response)
}

/// HC-02, HC-04: the fields of a `http::Request` go out as they are, its subprotocols are offered, and the handshake's own
/// fields are there once.
#[tokio::test]
async fn the_request() {
    let mut options = ConnectOptions::new();
    options.protocols = vec!["c".into()];
    options.headers.insert("X-Options", "2".parse().unwrap());
    let request = http::Request::builder()
        .uri("ws://example.com:8080/chat?room=1")
        .header("Authorization", "Basic eHk6eg==")
        .header("Sec-WebSocket-Protocol", "a, b")
        .header("Cookie", "k=1")
        .body(())
        .unwrap();
    let head = head_of(request, &options).await;
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("Host", "example.com:8080"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "a, b, c"),
        ("Authorization", "Basic eHk6eg=="),
        ("Cookie", "k=1"),
        ("X-Options", "2"),
    ] {
        assert_eq!(fields(&head, name), [value], "{name} in {head}");
    }
    assert_eq!(fields(&head, "Sec-WebSocket-Key").len(), 1);
    // A default port is left out.
    assert_eq!(fields(&head_of("ws://example.com:80", &options).await, "Host"), ["example.com"]);
}

/// HC-03: the key is 16 bytes in base64, and never the same.
#[tokio::test]
async fn a_new_key_each_time() {
    let options = ConnectOptions::new();
    let mut keys = Vec::new();
    for _ in 0..8 {
        let head = head_of("ws://host/", &options).await;
        let key = fields(&head, "Sec-WebSocket-Key")[0].to_owned();
        assert!(key.len() == 24 && key.ends_with("=="), "{key}");
        assert!(!keys.contains(&key));
        keys.push(key);
    }
}

/// HC-01: an invalid address is refused, before anything is connected.
#[tokio::test]
async fn addresses() {
    let (listener, url) = listen().await;
    let authority = url.strip_prefix("ws://").unwrap();
    for (url, error) in [
        (format!("http://{authority}/"), UriError::Scheme),
        (format!("ws://{authority}/#part"), UriError::Fragment),
        (format!("ws://me@{authority}/"), UriError::UserInfo),
        ("ws://".to_owned(), UriError::Host),
        ("ws://::1/".to_owned(), UriError::Host),
        ("ws://127.0.0.1:0/".to_owned(), UriError::Port),
        ("ws://127.0.0.1:65536/".to_owned(), UriError::Port),
        (format!("ws://{authority}/a b"), UriError::Target),
    ] {
        match connect(&url).await {
            Err(ConnectError::Uri(found)) => assert_eq!(found, error, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    let nobody = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err(), "one of them was connected to");
}

/// HC-04: what may not be sent is refused, before anything is connected.
#[tokio::test]
async fn requests_that_may_not_be_sent() {
    let (listener, url) = listen().await;
    let request = || http::Request::builder().uri(&url);
    let table = [
        (request().header("Host", "other"), "", RequestError::ReservedHeader),
        (request().header("Upgrade", "websocket"), "", RequestError::ReservedHeader),
        (request().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), "", RequestError::ReservedHeader),
        (request().header("Sec-WebSocket-Extensions", "x"), "", RequestError::ReservedHeader),
        (request().header("Sec-WebSocket-Protocol", "a, "), "", RequestError::InvalidProtocol),
        (request().header("Sec-WebSocket-Protocol", "a,b c"), "", RequestError::InvalidProtocol),
        (request().header("Sec-WebSocket-Protocol", "\u{e9}"), "", RequestError::InvalidProtocol),
        (request().header("Sec-WebSocket-Protocol", "a"), "a", RequestError::RepeatedProtocol),
        (request(), "a\r\nX: y", RequestError::InvalidProtocol),
    ];
    for (builder, protocol, error) in table {
        let mut options = ConnectOptions::new();
        options.protocols.extend((!protocol.is_empty()).then(|| protocol.to_owned()));
        match connect_with(builder.body(()).unwrap(), &options).await {
            Err(ConnectError::Request(found)) => assert_eq!(found, error),
            other => panic!("{error:?}: {other:?}"),
        }
    }
    for builder in [request().method("POST"), request().version(http::Version::HTTP_10)] {
        let result = connect(builder.body(()).unwrap()).await;
        assert!(matches!(result, Err(ConnectError::RequestLine)), "{result:?}");
    }
    let nobody = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err(), "one of them was connected to");
}

/// HC-05: only the request is sent before the response is found valid; the first messages follow then.
#[tokio::test]
async fn silence_before_the_response() {
    let (listener, url) = listen().await;
    let client = tokio::spawn(async move {
        let (mut ws, _) = connect(url).await.unwrap();
        ws.send("early").await.unwrap();
        ws
    });
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_head(&mut server).await;
    let more = timeout(Duration::from_millis(50), server.read_u8()).await;
    assert!(more.is_err(), "{more:?} behind the request");
    server.write_all(switch(&head, "").as_bytes()).await.unwrap();
    let mut frame = [0; 11];
    server.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[..2], [0x81, 0x85]);
    drop(client.await.unwrap());
}

/// HC-06: interim responses are skipped.
#[tokio::test]
async fn interim_responses() {
    let script = Script::new(|head| {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
        vec![(interim.to_owned() + &switch(head, "Server: by hand\r\n")).into_bytes()]
    });
    let (_, response) = connect_over(script, "ws://host/", &ConnectOptions::new()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["server"], "by hand");
    assert!(!response.headers().contains_key("link"));
}

/// HC-07: a refusal is kept: status, fields, and body, with each of the ways to mark its end.
#[tokio::test]
async fn refusals() {
    for (tail, body) in [
        ("Content-Length: 6\r\n\r\nnot nowX", "not no"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nnot \r\n3\r\nnow\r\n0\r\n\r\nX", "not now"),
        ("\r\nnot now", "not now"),
        ("Content-Length: 0\r\n\r\nX", ""),
        ("Content-Length: 100\r\n\r\ncut short", "cut short"),
    ] {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nX: 1\r\nX: 2\r\n";
        let answer = format!("{head}{tail}");
        for at in 0..=answer.len() {
            let (front, back) = answer.as_bytes().split_at(at);
            let pieces = vec![front.to_vec(), back.to_vec()];
            let script = Script::new(|_| pieces.into_iter().filter(|piece| !piece.is_empty()).collect());
            let result = connect_over(script, "ws://host/", &ConnectOptions::new()).await;
            let Err(ConnectError::Status(response)) = result else { panic!("no refusal") };
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"x\"");
            assert_eq!(response.headers().get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(response.body(), body, "{tail:?} at {at}");
        }
    }
}

/// HC-07: of a body that is longer, or has no end, 64 KiB are read.
#[tokio::test]
async fn an_endless_refusal() {
    for head in [
        "HTTP/1.1 503 Busy\r\n\r\n".to_owned(),
        format!("HTTP/1.1 503 Busy\r\nContent-Length: {}\r\n\r\n", u64::MAX),
        format!("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", u64::MAX),
    ] {
        let (listener, url) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut sent = 0;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                sent += 4096;
            }
            sent
        });
        let Err(ConnectError::Status(response)) = connect(url).await else { panic!("no refusal") };
        assert_eq!((response.status().as_u16(), response.body().len()), (503, 64 << 10));
        // The socket is closed; what was not read is in the kernel's buffers.
        assert!(server.await.unwrap() < 32 << 20);
    }
}

/// HC-07: if the body does not arrive in time, the status is still reported.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_dribbles() {
    let (near, mut far) = duplex(4096);
    let server = tokio::spawn(async move {
        read_head(&mut far).await;
        far.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
        while far.write_all(b"x").await.is_ok() {
            time::sleep(Duration::from_millis(990)).await;
        }
    });
    let began = time::Instant::now();
    let Err(ConnectError::Status(response)) = connect_over(near, "ws://host/", &ConnectOptions::new()).await
    else {
        panic!("no refusal")
    };
    assert_eq!((response.status().as_u16(), &response.body()[..]), (503, &b"xxxxxxxxxxx"[..]));
    assert_eq!(began.elapsed().as_secs(), 10);
    server.await.unwrap();
}

/// HC-09, HC-10, HC-11, HC-12, HC-14, HC-15: a 101 that breaks a rule is an error. ws-core has the complete tables.
#[tokio::test]
async fn answers_that_break_rules() {
    let good = |head: &str| switch(head, "");
    type Edit = fn(String) -> String;
    let table: [(Edit, HandshakeError); 7] = [
        (|it| it.replace("websocket", "websocket2"), HandshakeError::Upgrade),
        (|it| it.replace("Connection: Upgrade", "Connection: close"), HandshakeError::Connection),
        (|it| it.replace("Accept: ", "Accept: x"), HandshakeError::Accept),
        (|it| it.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: p\r\n\r\n"), HandshakeError::Protocol),
        (
            |it| it.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
            HandshakeError::ExtensionNotOffered,
        ),
        (|it| it.replace("HTTP/1.1", "HTTP/1.0"), HandshakeError::HttpVersion),
        (|it| it.replace("HTTP/1.1", "http/1.1"), HandshakeError::StatusLine),
    ];
    for (edit, error) in table {
        let script = Script::new(move |head| vec![edit(good(head)).into_bytes()]);
        match connect_over(script, "ws://host/", &ConnectOptions::new()).await {
            Err(ConnectError::Handshake(found)) => assert_eq!(found, error),
            other => panic!("{error:?}: {:?}", other.map(|it| it.1)),
        }
    }
    let cut = answered("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso").await;
    assert!(matches!(cut, Err(ConnectError::Handshake(HandshakeError::Eof))), "{cut:?}");
}

/// HC-12, HC-13: the server's choice is in the response; to choose none is fine unless one is required.
#[tokio::test]
async fn subprotocols() {
    let mut options = ConnectOptions::new();
    options.protocols = vec!["a".into(), "b".into()];
    let choose = |line: &'static str| Script::new(move |head| vec![switch(head, line).into_bytes()]);
    let (_, response) =
        connect_over(choose("Sec-WebSocket-Protocol: b\r\n"), "ws://host/", &options).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "b");
    assert!(connect_over(choose(""), "ws://host/", &options).await.is_ok());
    options.require_protocol = true;
    let result = connect_over(choose(""), "ws://host/", &options).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Handshake(HandshakeError::ProtocolMissing))), "{result:?}");
}

/// A server's first frames: text, a ping, a binary message in two fragments, and a close.
const WORDS: &[u8] = b"\x81\x05hello\x89\x01p\x02\x02ab\x80\x02cd\x88\x05\x0f\xa1bye";

async fn read_words<S>(mut ws: WebSocket<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hello"));
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Binary(b"abcd"));
    assert!(ws.recv().await.unwrap().is_none());
    let closed = ws.close_reason().unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (CloseCode(4001), "bye"));
}

/// HC-17: frames that come with the response are read, wherever the bytes are cut.
#[tokio::test]
async fn frames_behind_the_response() {
    let len = switch("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "").len() + WORDS.len();
    for at in 0..=len {
        let script = Script::new(move |head| {
            let mut bytes = switch(head, "").into_bytes();
            bytes.extend_from_slice(WORDS);
            assert_eq!(bytes.len(), len);
            let back = bytes.split_off(at);
            [bytes, back].into_iter().filter(|piece| !piece.is_empty()).collect()
        });
        let (ws, _) = connect_over(script, "ws://host/", &ConnectOptions::new()).await.unwrap();
        read_words(ws).await;
    }
    let byte_by_byte = Script::new(|head| {
        let bytes = [switch(head, "").as_bytes(), WORDS].concat();
        bytes.into_iter().map(|byte| vec![byte]).collect()
    });
    let (ws, _) = connect_over(byte_by_byte, "ws://host/", &ConnectOptions::new()).await.unwrap();
    read_words(ws).await;
}

/// HC-17: the same over a socket, and with more after the response than one read takes.
#[tokio::test]
async fn much_behind_the_response() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let mut bytes = switch(&head, "").into_bytes();
        for n in 0..50_000_u32 {
            bytes.extend_from_slice(&[0x82, 4]);
            bytes.extend_from_slice(&n.to_be_bytes());
        }
        bytes.extend_from_slice(WORDS);
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        // Read to the end, or closing resets the connection.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let (mut ws, _) = connect(url).await.unwrap();
    for n in 0..50_000_u32 {
        assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Binary(&n.to_be_bytes()));
    }
    read_words(ws).await;
    server.await.unwrap();
}

/// HC-17: the raw stream can be taken back, with everything after the response that was not read.
#[tokio::test]
async fn the_rest_comes_back() {
    let script = Script::new(|head| vec![[switch(head, "").as_bytes(), WORDS].concat()]);
    let (ws, _) = connect_over(script, "ws://host/", &ConnectOptions::new()).await.unwrap();
    assert_eq!(ws.into_inner().1, WORDS);
}

/// HC-18: a head without end fails at the limit.
#[tokio::test]
async fn endless_heads() {
    let long = format!("HTTP/1.1 101 Switching Protocols\r\n{}", "X: y\r\n".repeat(4000));
    let result = answered(long).await;
    assert!(matches!(result, Err(ConnectError::Handshake(HandshakeError::Head(_)))), "{result:?}");
}

/// HC-18: one deadline, from the first step to the response's last byte.
#[tokio::test(start_paused = true)]
async fn the_deadline() {
    // Nothing comes.
    let (listener, url) = listen().await;
    let began = time::Instant::now();
    let result = connect(url).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Timeout)), "{result:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
    drop(listener);
    // One byte per second: the deadline does not move.
    let (near, mut far) = duplex(4096);
    tokio::spawn(async move {
        let head = read_head(&mut far).await;
        for byte in switch(&head, "").bytes() {
            time::sleep(Duration::from_secs(1)).await;
            if far.write_u8(byte).await.is_err() {
                break;
            }
        }
    });
    let began = time::Instant::now();
    let result = connect_over(near, "ws://host/", &ConnectOptions::new()).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Timeout)), "{result:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
    // A peer that does not even read the request.
    let (near, _far) = duplex(16);
    let began = time::Instant::now();
    let result = connect_over(near, "ws://host/", &ConnectOptions::new()).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Timeout)), "{result:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// when the server has ended the transport, so does the client, though it keeps the connection around.
#[tokio::test]
async fn the_end_is_said() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        accept_by_hand(&mut stream, "").await;
        stream.read_exact(&mut [0; 8]).await.unwrap();
        stream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap()
    });
    let (mut ws, _) = connect(url).await.unwrap();
    ws.close(Some(CloseFrame::new(1000, ""))).await.unwrap();
    let left = timeout(Duration::from_secs(60), server).await.expect("the client's end").unwrap();
    assert_eq!(left, 0);
    drop(ws);
}

/// Dropping the future ends the wait, and closes the socket.
#[tokio::test]
async fn dropped_while_it_waits() {
    let (listener, url) = listen().await;
    let client = tokio::spawn(async move { connect(url).await.map(|it| it.1) });
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    client.abort();
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
}

/// The socket is set up as the options say, and the response's fields are kept.
#[tokio::test]
async fn the_socket() {
    for nodelay in [true, false] {
        let (listener, url) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            accept_by_hand(&mut stream, "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n").await;
        });
        let mut options = ConnectOptions::new();
        assert!(options.tcp_nodelay);
        options.tcp_nodelay = nodelay;
        let (ws, response) = connect_with(url, &options).await.unwrap();
        assert_eq!(ws.stream().transport().nodelay().unwrap(), nodelay);
        assert!(!ws.stream().is_tls());
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn nobody_there() {
    // A port that is kept, so that no one else listens there.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let result = connect(format!("ws://{address}/")).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Connect(_))), "{result:?}");
    // No name may be this long, which the resolver knows without a query.
    let result = connect(format!("ws://{}.invalid/", "x".repeat(64))).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Resolve(_))), "{result:?}");
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn no_tls_built_in() {
    let result = connect("wss://127.0.0.1:1/").await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::TlsUnavailable)), "{result:?}");
}

/// HC-20: with a limiter, the second connection to an address is not begun before the first is open, or has failed.
#[tokio::test]
async fn one_at_a_time() {
    let (listener, url) = listen().await;
    let mut options = ConnectOptions::new();
    options.limiter = Some(Limiter::new());
    let dial = |options: &ConnectOptions| {
        let (url, options) = (url.clone(), options.clone());
        tokio::spawn(async move { connect_with(url, &options).await })
    };
    let nobody_comes = || async { timeout(Duration::from_millis(50), listener.accept()).await.is_err() };
    let first = dial(&options);
    let (mut server, _) = listener.accept().await.unwrap();
    let (second, third) = (dial(&options), dial(&options));
    assert!(nobody_comes().await);
    // Another name, or no limiter: another queue.
    let free = dial(&ConnectOptions::new());
    let (_free_server, _) = listener.accept().await.unwrap();
    accept_by_hand(&mut server, "").await;
    let open = first.await.unwrap().unwrap();
    // One, not both.
    let (mut server, _) = listener.accept().await.unwrap();
    assert!(nobody_comes().await);
    // A refusal ends the turn as well.
    read_head(&mut server).await;
    server.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    accept_by_hand(&mut server, "").await;
    let results = [second.await.unwrap(), third.await.unwrap()];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    // And so does a connection that was dropped.
    let fourth = dial(&options);
    let (_server, _) = listener.accept().await.unwrap();
    let fifth = dial(&options);
    assert!(nobody_comes().await);
    fourth.abort();
    let (mut server, _) = listener.accept().await.unwrap();
    accept_by_hand(&mut server, "").await;
    fifth.await.unwrap().unwrap();
    free.abort();
    drop(open);
}

/// HC-18, HC-20: the time spent waiting for others does not count against the deadline.
#[tokio::test(start_paused = true)]
async fn waiting_for_others_is_free() {
    let (listener, url) = listen().await;
    let mut options = ConnectOptions::new();
    options.limiter = Some(Limiter::new());
    let dial = || {
        let (url, options) = (url.clone(), options.clone());
        tokio::spawn(async move { connect_with(url, &options).await.map(|it| it.1) })
    };
    let began = time::Instant::now();
    // No one is answered: each takes its ten seconds, one after the other.
    for waiting in [dial(), dial(), dial()] {
        assert!(matches!(waiting.await.unwrap(), Err(ConnectError::Timeout)));
    }
    assert_eq!(began.elapsed().as_secs(), 30);
    drop(listener);
}

/// All futures may move between threads.
#[test]
fn futures_are_send() {
    fn assert_send(_: impl Send) {}
    assert_send(connect("ws://host/"));
    assert_send(async { connect_with(String::new(), &ConnectOptions::new()).await });
    assert_send(async { connect_over(duplex(1).0, "ws://host/", &ConnectOptions::new()).await });
    assert_send(async {
        let stream = TcpStream::connect("127.0.0.1:1").await.unwrap();
        ws_tokio::connect_through(stream, "ws://host/", &ConnectOptions::new()).await
    });
}
