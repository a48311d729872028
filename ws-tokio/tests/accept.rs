//! The server's side of the opening handshake over a transport: what is answered, kept, refused, and read to its end.

mod rig;

use std::time::Duration;

use rig::{CLOSE, Far, Near, REQUEST, TEXT, masked, settle, transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::{Config, Message};
use ws_tokio::{AcceptError, Acceptance, Incoming, Refusal, WebSocket, accept, accept_with};

fn head_of(far: &Far) -> String {
    let written = far.written();
    let end = written.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head");
    String::from_utf8(written[..end + 4].to_vec()).expect("ASCII")
}

/// Accepts over a transport that delivers these pieces, then nothing, then its end.
async fn accept_pieces(pieces: &[&[u8]]) -> (Result<WebSocket<Near>, AcceptError>, Far) {
    let (near, far) = transport();
    pieces.iter().for_each(|piece| far.feed(*piece));
    let closer = far.clone();
    let result = tokio::join!(accept(near), async {
        settle().await;
        closer.end();
    });
    (result.0, far)
}

/// HS-20, HS-32: frames after the request, cut from it at every byte, are the first messages.
#[tokio::test]
async fn hs32_frames_behind_the_request_at_every_split() {
    let frames = [masked(TEXT, b"early"), masked(CLOSE, b"")].concat();
    let all = [REQUEST, &frames].concat();
    for at in 1..all.len() {
        let (ws, far) = accept_pieces(&[&all[..at], &all[at..]]).await;
        let mut ws = ws.unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(head_of(&far).starts_with("HTTP/1.1 101 "));
        assert!(head_of(&far).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(matches!(ws.recv().await, Ok(Some((Message::Text("early"), _)))), "{at}");
        assert!(matches!(ws.recv().await, Ok(None)), "{at}");
    }
}

/// HS-32: early data is bounded, and below the bound nothing is lost.
#[tokio::test]
async fn hs32_the_bound_of_early_bytes() {
    for (len, taken) in [(10_000, true), (16_000, true), (40_000, false)] {
        let (near, far) = transport();
        far.feed([REQUEST, &masked(2, &vec![7; len])].concat());
        let mut incoming = Incoming::read(near, Config::server()).await.expect("a request");
        assert!(incoming.request().is_some());
        let mut ws = incoming.accept(Acceptance::default()).await.expect("an upgrade");
        let (message, _) = ws.recv().await.expect("open").expect("a message");
        assert_eq!(message.as_bytes(), vec![7; len], "{len}, kept at once: {taken}");
    }
}

/// HS-33, HS-36: a refusal carries what the application wants and closes; what is pipelined after the request is not a
/// second one.
#[tokio::test]
async fn hs33_hs36_refusals() {
    for status in [301, 401, 403, 404, 503] {
        let (near, far) = transport();
        far.feed(REQUEST.repeat(2));
        far.end();
        let mut refusal = Refusal::new(status, "no\n");
        refusal.headers.push(("X-Why".into(), b"because".to_vec()));
        let mut asked = 0;
        let result = accept_with(near, Config::server(), |request| {
            asked += 1;
            assert_eq!(request.path(), b"/");
            Err(refusal)
        })
        .await;
        assert!(matches!(result, Err(AcceptError::Rejected(s)) if s == status));
        assert_eq!(asked, 1);
        let head = head_of(&far);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        for field in ["X-Why: because\r\n", "Content-Length: 3\r\n", "Connection: close\r\n"] {
            assert!(head.contains(field), "{head}");
        }
        assert!(far.written().ends_with(b"\r\n\r\nno\n"));
        assert_eq!(far.written().windows(5).filter(|bytes| bytes == b"HTTP/").count(), 1);
        assert!(far.is_shut() && far.is_dropped());
    }
}

/// HS-16, HS-36, HS-37: an answer that may not be sent becomes a 500, with none of it on the wire.
#[tokio::test]
async fn hs16_hs37_answers_that_may_not_be_sent() {
    let header = |name: &str, value: &[u8]| Acceptance {
        headers: vec![(name.to_owned(), value.to_vec())],
        ..Acceptance::default()
    };
    let rows = [
        Acceptance { protocol: Some("chat".into()), ..Acceptance::default() },
        Acceptance { protocol: Some("Offered".into()), ..Acceptance::default() },
        Acceptance { protocol: Some(String::new()), ..Acceptance::default() },
        header("Sec-WebSocket-Accept", b"x"),
        header("sec-websocket-protocol", b"offered"),
        header("Upgrade", b"websocket"),
        header("Connection", b"close"),
        header("Content-Length", b"0"),
        header("Transfer-Encoding", b"chunked"),
        header("X", b"a\r\nSet-Cookie: b"),
        header("X", b"a\0"),
        header("X Y", b"a"),
        header("", b"a"),
    ];
    let request = String::from_utf8(REQUEST.to_vec()).expect("ASCII");
    let request = request.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: offered\r\n\r\n");
    for acceptance in rows {
        let (near, far) = transport();
        far.feed(request.as_bytes());
        far.end();
        let result = accept_with(near, Config::server(), |_| Ok(acceptance.clone())).await;
        assert!(matches!(result, Err(AcceptError::Answer(_))), "{acceptance:?}: {result:?}");
        let head = head_of(&far);
        assert!(head.starts_with("HTTP/1.1 500 "), "{acceptance:?}: {head}");
        assert!(!head.contains("Set-Cookie") && !head.contains("chat"), "{head}");
    }
    let (near, far) = transport();
    far.feed(request.as_bytes());
    let acceptance = Acceptance {
        protocol: Some("offered".into()),
        headers: vec![("Set-Cookie".into(), b"a=b".to_vec())],
    };
    accept_with(near, Config::server(), |_| Ok(acceptance)).await.expect("allowed");
    assert!(head_of(&far).contains("Sec-WebSocket-Protocol: offered\r\n"));
    assert!(head_of(&far).contains("Set-Cookie: a=b\r\n"));
}

/// HS-01, HS-07, HS-08, HS-13: a request that breaks a rule is answered before the application sees it.
#[tokio::test]
async fn hs01_rejections_reach_the_wire() {
    let request = String::from_utf8(REQUEST.to_vec()).expect("ASCII");
    let rows = [
        (request.replace("GET", "POST"), 405),
        (request.replace("Host: x\r\n", ""), 400),
        (request.replace("Upgrade: websocket\r\n", ""), 426),
        (request.replace("Version: 13", "Version: 8"), 426),
        (request.replace("Host: x", "Host : x"), 400),
        (format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(20_000)), 431),
        (format!("GET /{}", "a".repeat(20_000)), 414),
    ];
    for (request, status) in rows {
        let (near, far) = transport();
        far.feed(request.as_bytes());
        far.end();
        let result = accept_with(near, Config::server(), |_| panic!("not asked")).await;
        assert!(matches!(result, Err(AcceptError::Request(_))), "{status}: {result:?}");
        assert!(head_of(&far).starts_with(&format!("HTTP/1.1 {status} ")), "{}", head_of(&far));
        assert!(far.is_shut());
    }
}

/// A peer that leaves or is lost half-way is an error, without a wait.
#[tokio::test]
async fn a_peer_that_goes_half_way() {
    for at in 0..REQUEST.len() {
        for reset in [false, true] {
            let (near, far) = transport();
            far.feed(&REQUEST[..at.max(1)]);
            if reset {
                far.reset();
            } else {
                far.end();
            }
            assert!(matches!(accept(near).await, Err(AcceptError::Io(_))), "{at}");
            assert_eq!(far.written_len(), 0);
        }
    }
}

/// HS-31: the deadline stops when the head is complete: a decision may take its time.
#[tokio::test(start_paused = true)]
async fn hs31_a_decision_may_take_its_time() {
    let (near, far) = transport();
    far.feed([REQUEST, &masked(TEXT, b"x")].concat());
    let mut incoming = Incoming::read(near, Config::server()).await.expect("a request");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(incoming.request().expect("still there").path(), b"/");
    let mut ws = incoming.accept(Acceptance::default()).await.expect("an upgrade");
    assert!(matches!(ws.recv().await, Ok(Some((Message::Text("x"), _)))));
    assert_eq!(rig::parse(&far.written()[129..]).0.len(), 0, "no ping for the time of the decision");
}

/// HS-39: a rejection lingers: a peer that goes on writing still gets the answer, and the linger has an end.
#[tokio::test]
async fn hs39_a_rejection_survives_unread_input() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a peer");
        // Longer than this may take.
        let mut config = Config::server();
        config.timeouts.linger = Duration::from_secs(60);
        accept_with(stream, config, |_| Ok(Acceptance::default())).await.map(drop)
    });
    let mut peer = TcpStream::connect(address).await.expect("listening");
    let mut request = b"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n".to_vec();
    request.extend(vec![b'z'; 30_000]);
    peer.write_all(&request).await.expect("open");
    tokio::time::sleep(Duration::from_millis(100)).await;
    peer.write_all(&[b'z'; 10_000]).await.expect("open");
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.expect("no reset");
    assert!(answer.starts_with(b"HTTP/1.1 405 "));
    drop(peer);
    let result = server.await.expect("no panic");
    assert!(matches!(result, Err(AcceptError::Request(_))));
}

/// HS-39: "until EOF, 64 KiB or 2 s, whichever comes first".
#[tokio::test(start_paused = true)]
async fn hs39_the_linger_ends() {
    // By time.
    let (near, far) = transport();
    far.feed(b"GET / HTTP/1.1\r\n\r\n".as_slice());
    let began = tokio::time::Instant::now();
    assert!(accept(near).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    // By bytes.
    let (near, far) = transport();
    far.feed(b"GET / HTTP/1.1\r\n\r\n".as_slice());
    (0..100).for_each(|_| far.feed(vec![0; 1024]));
    let began = tokio::time::Instant::now();
    assert!(accept(near).await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!((30..=40).contains(&far.unread()), "{} KiB unread", far.unread());
    // An answer that cannot be sent does not block forever.
    let (near, far) = transport();
    far.allow(10);
    far.feed(b"GET / HTTP/1.1\r\n\r\n".as_slice());
    let began = tokio::time::Instant::now();
    assert!(accept(near).await.is_err());
    assert!(began.elapsed() <= Duration::from_secs(12), "{:?}", began.elapsed());
    // Nor does an acceptance.
    let (near, far) = transport();
    far.allow(10);
    far.feed(REQUEST);
    let began = tokio::time::Instant::now();
    let result = tokio::time::timeout(Duration::from_secs(100), accept(near)).await;
    assert!(result.expect("an end").is_err());
    assert!(began.elapsed() <= Duration::from_secs(12), "{:?}", began.elapsed());
}

/// HS-08: HTTP on the same port: a request that is not an upgrade is handed on with every byte received.
#[tokio::test]
async fn hs08_plain_http_is_handed_on() {
    let plain = b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let (near, far) = transport();
    far.feed(plain.as_slice());
    let mut incoming = Incoming::read_beside_http(near, Config::server()).await.expect("a request");
    assert!(!incoming.request().expect("there").is_upgrade());
    let (stream, input) = incoming.into_parts();
    assert_eq!(input, plain);
    assert_eq!(far.written_len(), 0);
    drop(stream);
}
