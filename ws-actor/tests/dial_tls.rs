//! Dialling `wss://`. The certificates are those of ws-tokio's tests, for `localhost`.

mod support;

use std::sync::Arc;

use support::{Log, Seen, soon, witness};
use tokio::net::TcpListener;
use ws_actor::{CloseFrame, ConnectError, Connector, DialError, DialOptions, Hub, Message, Reason};
use ws_core::Config;
use ws_tokio::tls::rustls::pki_types::pem::PemObject;
use ws_tokio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ws_tokio::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use ws_tokio::tls::{self, client_config, server_config};

fn server() -> Arc<ServerConfig> {
    let chain = include_bytes!("../../ws-tokio/tests/certificates/server.pem");
    let key = include_bytes!("../../ws-tokio/tests/certificates/server.key");
    let chain = CertificateDer::from_pem_slice(chain).unwrap();
    Arc::new(server_config(vec![chain], PrivateKeyDer::from_pem_slice(key).unwrap()).unwrap())
}

fn client() -> Arc<ClientConfig> {
    let root = include_bytes!("../../ws-tokio/tests/certificates/root.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
    Arc::new(client_config(roots).unwrap())
}

/// Echoes over TLS; returns its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut config = Config::server();
                config.limits.max_message = 16 << 20;
                config.limits.max_frame = 16 << 20;
                let Ok(mut socket) = tls::accept(stream, server(), config).await else { return };
                while let Ok(Some((message, mut reply))) = socket.recv().await {
                    let _ = reply.send(message).await;
                }
            });
        }
    });
    port
}

async fn message(log: &mut Log) -> Message {
    match log.next().await {
        Seen::Message(_, message) => message,
        other => panic!("{other:?}"),
    }
}

/// A14: `wss` by rustls, to a host whose certificate is trusted and over any stream; messages of all sizes go both ways,
/// none is held back, and the end is clean.
#[tokio::test]
async fn dials_tls() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "client", false);
    let port = echo().await;
    for over in [false, true] {
        let mut options = DialOptions::to(&target);
        options.tls = Some(client());
        options.outbox.max_bytes = 16 << 20;
        if over {
            options.connector =
                Some(Connector::new(move || tokio::net::TcpStream::connect(("127.0.0.1", port))));
        }
        let dialled = soon(hub.dial(&format!("wss://localhost:{port}/"), options)).await.unwrap();
        let connect = log.connect().await;
        assert_eq!(connect.remote_addr.port(), if over { 0 } else { port });
        for len in [0, 1, 1_000, 16_384, 70_000, 1 << 20, 4 << 20] {
            let bytes: Vec<u8> = (0..len).map(|n| (n * 31 % 251) as u8).collect();
            assert_eq!(hub.send(connect.id, bytes.clone()), Ok(()));
            assert!(message(&mut log).await == Message::binary(bytes), "{len}");
        }
        let end = CloseFrame::new(4000, "done");
        assert_eq!(hub.close(dialled.id().unwrap(), end.clone()), Ok(()));
        assert_eq!(log.disconnect().await, (connect.id, Reason::Local(Some(end))));
    }
}

/// A14, HC-19: a certificate that is not trusted, or not for this host, is an error at once.
#[tokio::test]
async fn untrusted() {
    let hub = Hub::new();
    let port = echo().await;
    let none = Arc::new(client_config(RootCertStore::empty()).unwrap());
    for (host, tls) in [("localhost", none), ("127.0.0.2", client())] {
        let mut options = DialOptions::new();
        options.tls = Some(tls);
        options.connector = Some(Connector::new(move || tokio::net::TcpStream::connect(("127.0.0.1", port))));
        match soon(hub.dial(&format!("wss://{host}:{port}/"), options)).await {
            Err(DialError::Failed(ConnectError::Tls(_))) => {}
            other => panic!("{host}: {other:?}"),
        }
    }
}
