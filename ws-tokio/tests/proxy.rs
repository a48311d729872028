//! Tunnels through an HTTP proxy (HC-22).

mod peer;

use std::time::Duration;

use http::HeaderMap;
use peer::{Script, accept_by_hand, fields, read_head, switch};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use ws_tokio::core::{Message, RequestError};
use ws_tokio::{ConnectError, ConnectOptions, connect_over, connect_through, proxy};

fn secret() -> HeaderMap {
    HeaderMap::from_iter([(http::header::PROXY_AUTHORIZATION, "Basic secret".parse().unwrap())])
}

/// HC-22: the proxy sees its own fields, the origin the others.
#[tokio::test]
async fn through_a_proxy() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = origin.local_addr().unwrap().to_string();
    let middle = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(middle.local_addr().unwrap()).await.unwrap();
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = middle.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let target = head.split(' ').nth(1).unwrap();
        let mut far = TcpStream::connect(target).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut far).await;
        head
    });
    let server = tokio::spawn(async move {
        let (mut stream, _) = origin.accept().await.unwrap();
        let head = accept_by_hand(&mut stream, "").await;
        stream.write_all(b"\x81\x02hi").await.unwrap();
        head
    });
    let tunnel = proxy::tunnel(near, &authority, &secret()).await.unwrap();
    let (mut ws, _) =
        connect_through(tunnel, format!("ws://{authority}/x"), &ConnectOptions::new()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hi"));
    drop(ws);
    let (to_proxy, to_origin) = (proxy.await.unwrap(), server.await.unwrap());
    assert!(to_proxy.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")), "{to_proxy}");
    assert_eq!(fields(&to_proxy, "Host"), [authority.as_str()]);
    assert_eq!(fields(&to_proxy, "Proxy-Authorization"), ["Basic secret"]);
    assert!(
        !to_origin.to_ascii_lowercase().contains("proxy") && !to_origin.contains("secret"),
        "{to_origin}"
    );
}

/// HC-22: bytes after the proxy's head are the tunnel's, wherever they are cut; what it says about a body is ignored.
#[tokio::test]
async fn bytes_behind_the_head() {
    let heads = [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 \r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 So be it\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for head in heads {
        let all = format!("{head}from the far end");
        for at in 0..=all.len() {
            let (front, back) = all.as_bytes().split_at(at);
            let pieces: Vec<_> =
                [front, back].iter().filter(|it| !it.is_empty()).map(|it| it.to_vec()).collect();
            let script = Script::new(move |_| pieces);
            let mut tunnel = proxy::tunnel(script, "host:80", &HeaderMap::new()).await.unwrap();
            let mut text = String::new();
            tunnel.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "from the far end", "{head:?} cut at {at}");
        }
    }
    // In small reads, and the rest given back.
    let script = Script::new(|_| vec![b"HTTP/1.1 200 OK\r\n\r\n0123456789".to_vec()]);
    let mut tunnel = proxy::tunnel(script, "host:80", &HeaderMap::new()).await.unwrap();
    let mut bite = [0; 4];
    tunnel.read_exact(&mut bite).await.unwrap();
    assert_eq!(&bite, b"0123");
    assert_eq!(tunnel.into_inner().1, b"456789");
}

/// HC-17, HC-22: a whole handshake together with the proxy's answer.
#[tokio::test]
async fn everything_at_once() {
    let (near, mut far) = duplex(4096);
    let server = tokio::spawn(async move {
        read_head(&mut far).await;
        far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let head = read_head(&mut far).await;
        let mut bytes = switch(&head, "").into_bytes();
        bytes.extend_from_slice(b"\x81\x02hi");
        far.write_all(&bytes).await.unwrap();
        far
    });
    let tunnel = proxy::tunnel(near, "host:80", &HeaderMap::new()).await.unwrap();
    let (mut ws, _) = connect_over(tunnel, "ws://host/", &ConnectOptions::new()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hi"));
    drop(server.await.unwrap());
}

/// HC-22: 2xx only; anything else is an error with the proxy's answer.
#[tokio::test]
async fn refusals() {
    for status in [301, 400, 403, 407, 502, 600] {
        let answer = format!(
            "HTTP/1.1 {status} No\r\nProxy-Authenticate: Basic realm=\"p\"\r\nContent-Length: 3\r\n\r\nwhy and more"
        );
        let script = Script::new(move |_| vec![answer.into_bytes()]);
        match proxy::tunnel(script, "host:80", &HeaderMap::new()).await {
            Err(ConnectError::Proxy(response)) => {
                assert_eq!(response.status().as_u16(), status);
                assert_eq!(response.headers()["proxy-authenticate"], "Basic realm=\"p\"");
                assert_eq!(response.body(), "why");
            }
            other => panic!("{status}: {:?}", other.map(|_| ())),
        }
    }
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "SOCKS?",
        "HTTP/1.1 200 OK\r\nX: y",
        "",
    ] {
        let script = Script::new(move |_| vec![answer.as_bytes().to_vec()]);
        let result = proxy::tunnel(script, "host:80", &HeaderMap::new()).await.map(|_| ());
        assert!(matches!(result, Err(ConnectError::Handshake(_))), "{answer:?}: {result:?}");
    }
}

/// HC-22: the authority is a host and a port, and nothing can hide in it or in the fields.
#[tokio::test]
async fn authorities() {
    for authority in ["host:80", "[::1]:65535", "127.0.0.1:1"] {
        let script = Script::new(|head| {
            assert!(head.starts_with("CONNECT "), "{head}");
            vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()]
        });
        proxy::tunnel(script, authority, &HeaderMap::new()).await.unwrap();
    }
    for authority in [
        "host",
        "host:",
        "[::1]",
        "host:0",
        "host:65536",
        ":80",
        "me@host:80",
        "host:80/x",
        "host:80?x",
        "a b:80",
        "host:80 HTTP/1.1\r\nX: y\r\n\r\n",
        "host\r\n:80",
        "host:80#x",
        "host:+80",
        "::1:80",
        "",
    ] {
        let script = Script::new(|head| panic!("sent {head}"));
        let result = proxy::tunnel(script, authority, &HeaderMap::new()).await.map(|_| ());
        assert!(matches!(result, Err(ConnectError::Uri(_))), "{authority:?}: {result:?}");
    }
    for name in ["host", "content-length", "transfer-encoding"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, "1".parse().unwrap());
        let script = Script::new(|head| panic!("sent {head}"));
        let result = proxy::tunnel(script, "host:80", &headers).await.map(|_| ());
        assert!(
            matches!(result, Err(ConnectError::Request(RequestError::ReservedHeader))),
            "{name}: {result:?}"
        );
    }
}

/// HC-18, HC-22: a proxy that does not answer.
#[tokio::test(start_paused = true)]
async fn the_deadline() {
    let (near, _far) = duplex(4096);
    let began = time::Instant::now();
    let result = proxy::tunnel(near, "host:80", &HeaderMap::new()).await.map(|_| ());
    assert!(matches!(result, Err(ConnectError::Timeout)), "{result:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}
