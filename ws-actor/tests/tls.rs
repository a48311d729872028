//! `wss://`: TLS streams that the program has accepted, over which WebSocket and plain HTTP are served. The server's
//! library names no TLS stack; this test brings rustls along.

mod support;

use std::sync::Arc;

use support::{Seen, soon, upgrade, witness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use ws_actor::{Hub, Message, Reason, Route, Server};
use ws_tokio::tls::rustls::pki_types::pem::PemObject;
use ws_tokio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ws_tokio::tls::rustls::{ClientConfig, RootCertStore};
use ws_tokio::tls::{client_config, server_config};
use ws_tokio::{ConnectOptions, connect_with, core};

fn acceptor() -> TlsAcceptor {
    let chain = include_bytes!("../../ws-tokio/tests/certificates/server.pem");
    let key = include_bytes!("../../ws-tokio/tests/certificates/server.key");
    let chain = CertificateDer::from_pem_slice(chain).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    Arc::new(server_config(vec![chain], key).unwrap()).into()
}

fn client() -> Arc<ClientConfig> {
    let root = include_bytes!("../../ws-tokio/tests/certificates/root.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
    Arc::new(client_config(roots).unwrap())
}

/// A listener of the program's own, which gives its streams to the server when they are secure.
async fn serve(server: Server) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let (server, tls) = (Arc::new(server), acceptor());
    tokio::spawn(async move {
        while let Ok((tcp, remote)) = listener.accept().await {
            let (server, tls) = (Arc::clone(&server), tls.clone());
            tokio::spawn(async move {
                if let Ok(stream) = tls.accept(tcp).await {
                    server.serve(stream, remote, local).await;
                }
            });
        }
    });
    local.port()
}

/// A14, B1: a `wss://` client is a connection like any other: addresses, messages small and large both ways, a clean end.
#[tokio::test]
async fn websocket_over_tls() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let port = serve(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let mut options = ConnectOptions::new();
    options.tls = Some(client());
    let url = format!("wss://localhost:{port}/ws?a=1");
    let (mut ws, _) = soon(connect_with(&*url, &options)).await.unwrap();
    let connect = log.connect().await;
    assert_eq!((connect.local_addr.port(), &*connect.path, &*connect.query), (port, "/ws", "a=1"));
    assert!(connect.remote_addr.ip().is_loopback() && connect.remote_addr.port() != port);
    for len in [0, 1, 1_000, 100_000, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|n: u32| n as u8).collect();
        soon(ws.send(core::Message::Binary(&payload))).await.unwrap();
        let (got, _) = soon(ws.recv()).await.unwrap().expect("the echo");
        assert!(got == core::Message::Binary(&payload), "{len} bytes");
        let Seen::Message(_, Message::Binary(seen)) = log.next().await else { panic!("a message") };
        assert_eq!(seen.len(), payload.len());
    }
    soon(ws.close(Some(core::CloseFrame::new(core::CloseCode::NORMAL, "done")))).await.unwrap();
    let (id, reason) = log.disconnect().await;
    assert_eq!((id, matches!(reason, Reason::Peer(Some(_)))), (connect.id, true), "{reason}");
}

/// A14, A1, A2: on the same stream plain HTTP is served, an unknown path is 404, and an upgrade may follow a page.
#[tokio::test]
async fn http_over_tls() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let page = async |_| http::Response::new("page".to_owned());
    let port = serve(Server::new(&hub).route(Route::ws("/ws").target(target)).on_http(page)).await;
    let connector = TlsConnector::from(client());
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let addr = tcp.local_addr().unwrap();
    let mut client = support::Client::of(soon(connector.connect(name.clone(), tcp)).await.unwrap());
    let response = client.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((response.status, &*response.body), (200, "page"));
    assert_eq!(client.request(&upgrade(addr, "/ws", "")).await.status, 101);
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
    log.connect().await;

    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut client = support::Client::of(soon(connector.connect(name, tcp)).await.unwrap());
    assert_eq!(client.request(&upgrade(addr, "/nowhere", "")).await.status, 404);
    assert!(client.is_at_end().await);
    // A client that does not speak TLS is not a connection, and harms no other.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(upgrade(addr, "/ws", "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));
    assert_eq!(hub.connection_count(), 1);
}
