//! TLS, both sides. The certificates are made by certificates/make.sh, for `localhost` and 127.0.0.1.

mod peer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use peer::{accept_by_hand, read_head, switch};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use tokio_rustls::TlsAcceptor;
use ws_tokio::core::{CloseCode, CloseFrame, Config, Message, Rejection};
use ws_tokio::tls::rustls::pki_types::pem::PemObject;
use ws_tokio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ws_tokio::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use ws_tokio::tls::{self, client_config, server_config};
use ws_tokio::{
    AcceptError, Acceptance, ConnectError, ConnectOptions, Error, Incoming, RedirectError, WebSocket,
    connect, connect_over, connect_through, connect_with, proxy,
};

fn server() -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_slice(include_bytes!("certificates/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("certificates/server.key")).unwrap();
    Arc::new(server_config(vec![chain], key).unwrap())
}

fn client() -> Arc<ClientConfig> {
    let root = CertificateDer::from_pem_slice(include_bytes!("certificates/root.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    Arc::new(client_config(roots).unwrap())
}

fn options() -> ConnectOptions {
    let mut options = ConnectOptions::new();
    options.tls = Some(client());
    options
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) -> Result<(), Error> {
    while let Some((message, mut reply)) = ws.recv().await? {
        reply.send(message).await?;
    }
    Ok(())
}

/// HC-19, N-07: a name goes into SNI, an address does not; messages small and large go both ways, and it ends cleanly.
#[tokio::test]
async fn both_sides() {
    for (host, sni) in
        [("localhost", Some("localhost")), ("127.0.0.1", None), ("LocalHost", Some("localhost"))]
    {
        let (listener, port) = listen().await;
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let incoming = Incoming::read_tls(stream, server(), Config::server()).await.unwrap();
            let (_, tls) = incoming.stream().get_ref();
            assert_eq!(tls.server_name(), sni);
            assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
            echo(incoming.accept(Acceptance::default()).await.unwrap()).await
        });
        let (mut ws, _) = connect_with(format!("wss://{host}:{port}/"), &options()).await.unwrap();
        assert!(ws.stream().is_tls());
        for len in [0, 5, 70_000, 1 << 20] {
            let text = "x".repeat(len);
            ws.send(&text).await.unwrap();
            assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text(&text));
        }
        ws.close(Some(CloseFrame::new(4000, "bye"))).await.unwrap();
        assert_eq!(ws.close_reason().unwrap().code, CloseCode(4000));
        task.await.unwrap().unwrap();
    }
}

/// HC-19: a certificate from an unknown issuer, and one for another host. Nothing of the request is sent.
#[tokio::test]
async fn certificates_that_are_not_good() {
    let unknown = ConnectOptions::new();
    for (host, options) in [("localhost", unknown), ("127.0.0.2", options())] {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            tls::accept(stream, server(), Config::server()).await.map(drop)
        });
        let result = connect_with(format!("wss://{host}:{port}/"), &options).await.map(|it| it.1);
        assert!(matches!(result, Err(ConnectError::Tls(_))), "{host}: {result:?}");
        let seen = task.await.unwrap();
        assert!(matches!(seen, Err(AcceptError::Io(_))), "{host}: {seen:?}");
    }
    // And a server that does not speak TLS at all.
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let result = connect(format!("wss://localhost:{port}/")).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Tls(_))), "{result:?}");
    task.await.unwrap();
}

/// HC-18: the deadline covers a TLS handshake that is not answered.
#[tokio::test(start_paused = true)]
async fn a_silent_server() {
    let (near, _far) = duplex(4096);
    let began = time::Instant::now();
    let result = connect_through(near, "wss://localhost/", &options()).await.map(|it| it.1);
    assert!(matches!(result, Err(ConnectError::Timeout)), "{result:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// HS-31: one deadline for TLS and the request.
#[tokio::test(start_paused = true)]
async fn a_slow_client() {
    // Nothing is sent.
    let (far, _near) = duplex(4096);
    let began = time::Instant::now();
    let result = tls::accept(far, server(), Config::server()).await;
    assert!(
        matches!(&result, Err(AcceptError::Io(error)) if error.kind() == io::ErrorKind::TimedOut),
        "{result:?}"
    );
    assert_eq!(began.elapsed().as_secs(), 10);
    // TLS after six seconds, and then nothing: four are left.
    let (far, near) = duplex(4096);
    let peer = tokio::spawn(async move {
        time::sleep(Duration::from_secs(6)).await;
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = tokio_rustls::TlsConnector::from(client()).connect(name, near).await.unwrap();
        let mut answer = String::new();
        let _ = tls.read_to_string(&mut answer).await;
        (answer, time::Instant::now())
    });
    let began = time::Instant::now();
    let result = tls::accept(far, server(), Config::server()).await.map(drop);
    assert!(matches!(result, Err(AcceptError::Request(Rejection::Timeout))), "{result:?}");
    let (answer, at) = peer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!((at - began).as_secs(), 10);
}

/// HC-17: frames in the same TLS record as the response.
#[tokio::test]
async fn frames_behind_the_response() {
    let (near, far) = duplex(4096);
    tokio::spawn(async move {
        let mut tls = TlsAcceptor::from(server()).accept(far).await.unwrap();
        let head = read_head(&mut tls).await;
        tls.write_all(&[switch(&head, "").as_bytes(), b"\x81\x02hi\x81\x02ho"].concat()).await.unwrap();
        tls.flush().await.unwrap();
        let _ = tls.read_to_end(&mut Vec::new()).await;
    });
    let (mut ws, _) = connect_through(near, "wss://localhost/", &options()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hi"));
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("ho"));
}

/// HC-22: TLS to the origin through a proxy that only sees its own fields.
#[tokio::test]
async fn through_a_proxy() {
    let (near, mut far) = duplex(4096);
    let task = tokio::spawn(async move {
        let head = read_head(&mut far).await;
        far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        echo(tls::accept(far, server(), Config::server()).await.unwrap()).await.unwrap();
        head
    });
    let tunnel = proxy::tunnel(near, "localhost:443", &HeaderMap::new()).await.unwrap();
    let (mut ws, _) = connect_through(tunnel, "wss://localhost/", &options()).await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hello"));
    ws.close(None).await.unwrap();
    assert!(task.await.unwrap().starts_with("CONNECT localhost:443 HTTP/1.1\r\n"));
}

/// HC-08: from `wss` nothing leads to `ws`; a reference without a scheme stays with `wss`.
#[tokio::test]
async fn redirects_keep_tls() {
    for (location, is_followed) in [
        ("/new", true),
        ("//localhost:PORT/new", true),
        ("https://localhost:PORT/new", true),
        ("ws://localhost:PORT/new", false),
        ("http://localhost:PORT/new", false),
    ] {
        let (listener, port) = listen().await;
        let location = location.replace("PORT", &port.to_string());
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut tls = TlsAcceptor::from(server()).accept(stream).await.unwrap();
            read_head(&mut tls).await;
            tls.write_all(answer.as_bytes()).await.unwrap();
            tls.flush().await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut tls = TlsAcceptor::from(server()).accept(stream).await.unwrap();
            accept_by_hand(&mut tls, "").await
        });
        let mut options = options();
        options.redirects = 1;
        let result = connect_with(format!("wss://localhost:{port}/old"), &options).await.map(|it| it.0);
        if is_followed {
            assert!(result.unwrap().stream().is_tls());
            assert!(task.await.unwrap().starts_with("GET /new "));
        } else {
            assert!(matches!(result, Err(ConnectError::Redirect(RedirectError::Insecure))), "{location}");
            task.abort();
        }
    }
}

/// How a peer's TLS may end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// With `close_notify`.
    Notified,
    /// TCP ends, without a `close_notify`.
    Cut,
}

async fn end<S: AsyncRead + AsyncWrite + Unpin>(mut tls: tokio_rustls::server::TlsStream<S>, end: End) {
    match end {
        End::Notified => tls.shutdown().await.unwrap(),
        End::Cut => tls.into_inner().0.shutdown().await.unwrap(),
    }
}

/// a missing `close_notify` does not matter after both Closes, and is 1006 before them; so is a clean end of TLS
/// without any Close.
#[tokio::test]
async fn endings() {
    for how in [End::Notified, End::Cut] {
        for is_closed in [true, false] {
            let (listener, port) = listen().await;
            let task = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut tls = TlsAcceptor::from(server()).accept(stream).await.unwrap();
                accept_by_hand(&mut tls, "").await;
                tls.write_all(b"\x81\x02hi").await.unwrap();
                if is_closed {
                    tls.write_all(b"\x88\x02\x03\xe8").await.unwrap();
                    tls.flush().await.unwrap();
                    // The echo: 2 bytes, a mask, a code.
                    tls.read_exact(&mut [0; 8]).await.unwrap();
                }
                tls.flush().await.unwrap();
                end(tls, how).await;
            });
            let (mut ws, _) = connect_with(format!("wss://localhost:{port}/"), &options()).await.unwrap();
            assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hi"));
            let end = ws.recv().await.map(|it| it.is_none());
            match end {
                Ok(is_end) => assert!(is_end && is_closed, "{how:?} {is_closed}"),
                Err(error) => {
                    assert!(!is_closed, "{how:?}: {error:?}");
                    assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
                    assert!(
                        matches!(error, Error::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof)
                    );
                }
            }
            task.await.unwrap();
        }
    }
}

/// we end TLS properly: the peer reads `close_notify`, not a truncated stream.
#[tokio::test]
async fn our_end() {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut tls = TlsAcceptor::from(server()).accept(stream).await.unwrap();
        accept_by_hand(&mut tls, "").await;
        tls.read_exact(&mut [0; 8]).await.unwrap();
        tls.write_all(b"\x88\x02\x03\xe8").await.unwrap();
        tls.shutdown().await.unwrap();
        // Without close_notify this is an error.
        tls.read_to_end(&mut Vec::new()).await.unwrap()
    });
    let (mut ws, _) = connect_with(format!("wss://localhost:{port}/"), &options()).await.unwrap();
    ws.close(Some(CloseFrame::new(1000, ""))).await.unwrap();
    drop(ws);
    assert_eq!(task.await.unwrap(), 0);
}

/// A stream that already has TLS is used as it is.
#[tokio::test]
async fn over_tls_that_stands() {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        echo(tls::accept(stream, server(), Config::server()).await.unwrap()).await.unwrap();
    });
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(client()).connect(name, tcp).await.unwrap();
    let (mut ws, _) = connect_over(stream, "wss://localhost/", &ConnectOptions::new()).await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().0, Message::Text("hello"));
    ws.close(None).await.unwrap();
    task.await.unwrap();
}
