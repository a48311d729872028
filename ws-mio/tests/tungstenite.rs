//! tokio-tungstenite as the peer, over real sockets and over TLS: another implementation, on another TLS driver, reads
//! what we write, and the reverse. Ours is one loop with a server and its clients.

mod support;

use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use futures_util::{SinkExt, StreamExt};
use support::PATIENCE;
use support::running::Running;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message as Theirs};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};
use ws_mio::core::{CloseCode, CloseFrame, Config, Event};
use ws_mio::{
    Acceptance, Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Refusal, Settings, Visitor,
};

const MIB: usize = 1 << 20;

/// Every form of the length, and 1 MiB.
const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, MIB];

#[derive(Debug)]
enum Seen {
    Connected(ConnId),
    Message(Theirs),
    Closed(Result<(), Error>),
}

struct App {
    seen: Sender<Seen>,
}

impl Handler for App {
    /// Whether it echoes.
    type State = bool;

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<bool>, Refusal> {
        Ok(Acceptance::new(true))
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, bool>) {
        let message = match event {
            Event::Text(text) if *peer.state => return peer.send(text).expect("room"),
            Event::Binary(bytes) if *peer.state => return peer.send(&*bytes).expect("room"),
            Event::Text(text) => Theirs::text(text),
            Event::Binary(bytes) => Theirs::binary(bytes.to_vec()),
            _ => return,
        };
        let _ = self.seen.send(Seen::Message(message));
    }

    fn connected(&mut self, answer: &Answer<'_>) -> Option<bool> {
        let _ = self.seen.send(Seen::Connected(answer.id()));
        Some(false)
    }

    fn not_connected(&mut self, _: u64, error: ConnectError) {
        panic!("{error}");
    }

    fn closed(&mut self, _: ConnId, _: bool, end: Result<(), Error>) {
        let _ = self.seen.send(Seen::Closed(end));
    }
}

impl Running<Seen> {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let (mut server, mut client) = (Config::server(), Config::client());
        for config in [&mut server, &mut client] {
            config.limits.max_message = 2 * MIB as u64;
            config.limits.max_frame = 2 * MIB as u64;
            // For peers that know it; this one does not.
            #[cfg(feature = "deflate")]
            {
                config.deflate = Some(ws_mio::core::deflate::Settings::client());
            }
        }
        let limited = |settings: &mut Settings| {
            (settings.config, settings.client) = (server.into(), client.into());
            change(settings);
        };
        Self::serve(limited, |given| App { seen: given.told })
    }
}

/// A peer's settings: no limit of its own.
fn unlimited() -> Option<WebSocketConfig> {
    Some(WebSocketConfig::default().max_message_size(None).max_frame_size(None))
}

fn messages() -> Vec<Theirs> {
    let mut messages = vec![Theirs::text("hello"), Theirs::text("grüße, 世界 🌍")];
    for len in LENGTHS {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        messages.push(Theirs::text("t".repeat(len)));
        messages.push(Theirs::binary(bytes));
    }
    messages
}

/// Their client: each message comes back as it was, alone and all at once, and it ends with their code.
async fn their_client<S: AsyncRead + AsyncWrite + Unpin>(stream: S, url: &str, running: &Running<Seen>) {
    let (mut peer, response) = client_async_with_config(url, stream, unlimited()).await.expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    for message in messages() {
        peer.send(message.clone()).await.expect("sent");
        assert_eq!(next(&mut peer).await, message);
    }
    let (mut sink, mut stream) = peer.split();
    let all = messages();
    let sent = all.clone();
    let writer = async move {
        for message in sent {
            sink.send(message).await.expect("sent");
        }
        sink
    };
    let reader = async {
        for message in &all {
            assert_eq!(&stream.next().await.expect("open").expect("well-formed"), message);
        }
    };
    let (mut sink, ()) = tokio::join!(writer, reader);
    sink.send(Theirs::Ping(Bytes::from_static(b"are you there"))).await.expect("sent");
    let pong = stream.next().await.expect("open").expect("well-formed");
    assert_eq!(pong, Theirs::Pong(Bytes::from_static(b"are you there")));
    sink.send(Theirs::Close(None)).await.expect("sent");
    assert!(matches!(stream.next().await, Some(Ok(Theirs::Close(None)))));
    drop((sink, stream));
    assert!(matches!(running.next(), Seen::Closed(Ok(()))));
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut WebSocketStream<S>) -> Theirs {
    timeout(PATIENCE, peer.next()).await.expect("in time").expect("open").expect("well-formed")
}

/// Their server echoes: each message of ours comes back, and our close has its answer.
async fn their_server<S>(stream: S) -> Option<u16>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut peer = accept_async_with_config(stream, unlimited()).await.expect("a handshake");
    while let Some(message) = peer.next().await {
        match message.expect("well-formed") {
            Theirs::Close(frame) => {
                while peer.next().await.is_some() {}
                return frame.map(|frame| frame.code.into());
            }
            message if message.is_text() || message.is_binary() => peer.send(message).await.expect("sent"),
            _ => {}
        }
    }
    None
}

fn our_client(running: &Running<Seen>, url: &str, address: SocketAddr) {
    running.remote.connect(Connect::new(url, address)).expect("room");
    let id = match running.next() {
        Seen::Connected(id) => id,
        other => panic!("{other:?}"),
    };
    for message in messages() {
        match &message {
            Theirs::Text(text) => running.remote.send(id, text.as_str()),
            message => running.remote.send(id, &message.clone().into_data()[..]),
        }
        .expect("sent");
        match running.next() {
            Seen::Message(echo) => assert_eq!(echo, message),
            other => panic!("{other:?}"),
        }
    }
    let frame = CloseFrame { code: CloseCode::NORMAL, reason: "done" };
    running.remote.close(id, Some(frame)).expect("sent");
    assert!(matches!(running.next(), Seen::Closed(Ok(()))));
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

#[tokio::test]
async fn their_client_and_our_server() {
    let running = Running::start(|_| {});
    let stream = TcpStream::connect(running.address).await.expect("listening");
    their_client(stream, &format!("ws://{}/", running.address), &running).await;
}

#[tokio::test]
async fn our_client_and_their_server() {
    let (listener, address) = listen().await;
    let running = Running::start(|_| {});
    let client = tokio::task::spawn_blocking(move || our_client(&running, "ws://localhost/", address));
    let (stream, _) = listener.accept().await.expect("somebody");
    assert_eq!(their_server(stream).await, Some(1000));
    client.await.expect("all of it");
}

/// N-07: the same over TLS, whose other end another driver has.
#[cfg(feature = "tls")]
mod over_tls {
    use tokio_rustls::{TlsAcceptor, TlsConnector};
    use ws_mio::tls::rustls::pki_types::ServerName;

    use super::support::certificates::{for_client, for_server};
    use super::*;

    /// N-07: what they send over TLS.
    #[tokio::test]
    async fn their_client_and_our_server() {
        let running = Running::start(|settings| settings.tls = Some(for_server()));
        let stream = TcpStream::connect(running.address).await.expect("listening");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(for_client()).connect(name, stream).await.expect("trusted");
        their_client(stream, "wss://localhost/", &running).await;
    }

    /// N-07: what we send over TLS.
    #[tokio::test]
    async fn our_client_and_their_server() {
        let (listener, address) = listen().await;
        let running = Running::start(|settings| settings.tls_client = Some(for_client()));
        let client = tokio::task::spawn_blocking(move || our_client(&running, "wss://localhost/", address));
        let (stream, _) = listener.accept().await.expect("somebody");
        let stream = TlsAcceptor::from(for_server()).accept(stream).await.expect("a handshake");
        assert_eq!(their_server(stream).await, Some(1000));
        client.await.expect("all of it");
    }
}
