//! permessage-deflate: what each way to upgrade agrees on, what a broadcast costs, and what idle connections keep.
#![cfg(feature = "deflate")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use support::{Client, listen, soon, until, upgrade, witness};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use ws_actor::deflate::{Pool, PoolLimits, Settings, WindowBits};
use ws_actor::{Hub, Route, Server};
use ws_core::frame::{Header, Opcode};
use ws_core::{Config, Message};
use ws_tokio::{ConnectOptions, WebSocket, connect_over};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// Counts what is read from the server.
struct Tap(TcpStream, Arc<AtomicUsize>);

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.fetch_add(buf.filled().len() - before, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Peer {
    ws: WebSocket<Tap>,
    read: Arc<AtomicUsize>,
    /// The server's answer to the offer.
    line: Option<String>,
}

impl Peer {
    async fn over(io: TcpStream, deflate: Option<Settings>) -> Self {
        let read = Arc::<AtomicUsize>::default();
        let mut options = ConnectOptions::new();
        let mut config = Config::client();
        config.deflate = deflate;
        options.config = config.into();
        let (ws, response) = soon(connect_over(Tap(io, Arc::clone(&read)), "ws://localhost/ws", &options))
            .await
            .expect("it accepts");
        let line = response.headers().get("sec-websocket-extensions");
        let line = line.map(|line| line.to_str().expect("ASCII").to_owned());
        read.store(0, Ordering::SeqCst);
        Self { ws, read, line }
    }

    async fn new(addr: SocketAddr, deflate: Option<Settings>) -> Self {
        Self::over(TcpStream::connect(addr).await.expect("it listens"), deflate).await
    }

    async fn text(&mut self) -> String {
        let message = soon(self.ws.recv()).await.expect("the server keeps to the rules").expect("a message");
        match message.0 {
            Message::Text(text) => text.to_owned(),
            Message::Binary(_) => panic!("text was expected"),
        }
    }

    async fn echoes(&mut self, text: &str) {
        self.ws.send(text).await.expect("open");
        assert!(self.text().await == text);
    }

    /// Bytes received since the last call.
    fn bytes(&self) -> usize {
        self.read.swap(0, Ordering::SeqCst)
    }
}

fn client(takeover: bool, bits: u8) -> Option<Settings> {
    let mut settings = Settings::client();
    settings.inflate_takeover = takeover;
    settings.inflate_window = WindowBits::new(bits).expect("8 to 15");
    Some(settings)
}

/// A server's settings with the largest windows, and the pool that reports what it compresses.
fn server() -> (Settings, Pool) {
    let (mut settings, pool) = (Settings::client(), Pool::new(PoolLimits::new()));
    settings.pool = Some(pool.clone());
    settings.idle = Duration::from_secs(3_600);
    (settings, pool)
}

async fn serve(route: Route) -> (Hub, SocketAddr) {
    let hub = Hub::new();
    let (target, _) = witness(&hub, "echo", true);
    let addr = listen(Server::new(&hub).route(route.target(target))).await;
    (hub, addr)
}

/// Text that compresses, but not to nothing, and repeats itself at all distances.
fn words(len: usize, seed: usize) -> String {
    let (mut text, mut x) = (String::new(), seed);
    while text.len() < len {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(["price", "größe", "value", "名前", "alpha", "order", "symbol", "quantity"][x >> 61]);
        text.push_str(&((x >> 50) & 0xFFF).to_string());
    }
    text
}

async fn page(_: http::Request<hyper::body::Incoming>) -> http::Response<String> {
    http::Response::new("page".to_owned())
}

/// A6: agreed on where the route has it on, by the server's own upgrade, by one on a kept connection, and by one that
/// another HTTP server hands over; messages of all sizes come back, and are compressed when sent.
#[tokio::test]
async fn negotiated_by_every_upgrade() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "echo", true);
    let route = || Route::ws("/ws").target(target.clone()).deflate(Settings::server());
    let own = listen(Server::new(&hub).route(route()).on_http(page)).await;

    let mounted = Arc::new(support::driven(Server::new(&hub)).route(route()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let foreign = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((io, remote)) = listener.accept().await {
            let server = Arc::clone(&mounted);
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.upgrade(request, remote, foreign).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(io), service).with_upgrades());
        }
    });

    let mut kept = Client::new(own).await;
    assert_eq!(kept.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.body, "page");
    let offer = || Some(Settings::client());
    for mut peer in
        [Peer::new(own, offer()).await, Peer::over(kept.io, offer()).await, Peer::new(foreign, offer()).await]
    {
        let line = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
        assert_eq!(peer.line.as_deref(), Some(line));
        peer.bytes();
        for len in [0, 1, 63, 64, 1_000, 15 << 10, 60 << 10, 200 << 10, 700 << 10] {
            let text = words(len, len);
            peer.echoes(&text).await;
            let bytes = peer.bytes();
            assert!(len < 1_000 || bytes < text.len() * 2 / 3, "{bytes} for {}", text.len());
        }
    }
}

/// A6: off means that an offer is not agreed to, and a compressed frame is a violation; on applies only to clients that
/// offer it. A route's setting overrides the server's, in whatever order they are set.
#[tokio::test]
async fn off_means_off() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "echo", true);
    let route = |path: &str| Route::ws(path).target(target.clone());
    let mut settings = ws_actor::Settings::new();
    settings.protocol.deflate = Some(Settings::server());
    let default = listen(Server::new(&hub).route(route("/off"))).await;
    let on = listen(
        Server::new(&hub)
            .route(route("/off").deflate(None))
            .route(route("/lean").deflate(Settings::client()))
            .settings(settings)
            .route(route("/on"))
            .route(route("/off/too").deflate(None)),
    )
    .await;
    for (addr, path, offer, answer) in [
        (default, "/off", OFFER, None),
        (on, "/off", OFFER, None),
        (on, "/off/too", OFFER, None),
        (on, "/on", "", None),
        (on, "/on", OFFER, Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12")),
        (on, "/lean", OFFER, Some("permessage-deflate")),
    ] {
        let mut client = Client::new(addr).await;
        let response = client.request(&upgrade(addr, path, offer)).await;
        assert_eq!(response.status, 101);
        let line = response.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("sec-websocket-extensions").then_some(value)
        });
        assert_eq!(line, answer, "{path}");
        // "Hello" compressed (RFC 7692, section 7.2.3.1), masked with zeros.
        client.write(b"\xC1\x87\0\0\0\0\xF2\x48\xCD\xC9\xC9\x07\x00").await;
        if answer.is_some() {
            assert_eq!(client.read_text().await, "Hello");
        } else {
            assert_eq!(client.close_frame().await.0, 1002, "{path}");
        }
    }
}

/// A6, B11: a broadcast is compressed once for each window in use, however many clients take part, and each reads it
/// correctly, mixed with its own messages.
#[tokio::test]
async fn a_broadcast_is_compressed_once_for_each_window() {
    let (settings, pool) = server();
    let (hub, addr) = serve(Route::ws("/ws").deflate(settings)).await;
    let kinds = [
        None,
        client(true, 15),
        client(true, 12),
        client(true, 9),
        client(false, 15),
        client(false, 12),
        client(false, 9),
    ];
    let mut peers = Vec::new();
    for n in 0..21 {
        let mut peer = Peer::new(addr, kinds[n % kinds.len()].clone()).await;
        assert_eq!(peer.line.is_some(), kinds[n % kinds.len()].is_some());
        peer.echoes(&words(5_000, n)).await;
        peers.push(peer);
    }
    for (n, id) in hub.connections().into_iter().enumerate() {
        // A room and the whole Hub do the same.
        assert_eq!(hub.room("all").join(id), Ok(()), "{n}");
    }
    let rounds = [(40_000, true, 3), (70, true, 1), (60, true, 0), (400_000, false, 3), (3_000, false, 2)];
    for (turn, (len, to_room, windows)) in rounds.into_iter().enumerate() {
        let news = words(len, turn);
        let before = pool.lent().deflaters_taken;
        let sent = if to_room { hub.room("all").broadcast(&*news) } else { hub.broadcast(&*news) };
        assert_eq!(sent.delivered, peers.len());
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.bytes();
            assert!(peer.text().await == news, "{n} of {turn}");
        }
        // What fits into a smaller window is compressed for that one; 60 characters are below the threshold.
        assert_eq!(pool.lent().deflaters_taken - before, windows, "{len}");
        // After a shared message its own one, which may refer to nothing before it, twice.
        for (n, peer) in peers.iter_mut().enumerate() {
            let own = words(2_000, 100 + n);
            peer.echoes(&own).await;
            peer.bytes();
            peer.echoes(&own).await;
            // The context is there again: the second is a reference to the first, where the window reaches.
            let has_context = matches!(n % kinds.len(), 1 | 2);
            assert_eq!(peer.bytes() < 200, has_context, "{n} of {turn}");
        }
    }
}

/// A6: if no client agreed to compress, nothing is compressed.
#[tokio::test]
async fn nothing_is_compressed_for_nobody() {
    let (settings, pool) = server();
    let (hub, addr) = serve(Route::ws("/ws").deflate(settings)).await;
    let mut peers = [Peer::new(addr, None).await, Peer::new(addr, None).await];
    assert_eq!(hub.broadcast(words(10_000, 1)).delivered, 2);
    for peer in &mut peers {
        assert!(peer.text().await == words(10_000, 1));
        peer.echoes("hello").await;
    }
    assert_eq!(pool.lent(), Default::default());
}

/// A6, F-06: a large message for many is one compressed frame that all share, and leaves in fragments, so that a pong can
/// overtake; the bit that marks it is set on the first.
#[tokio::test]
async fn a_large_shared_frame_is_cut() {
    let (settings, pool) = server();
    let (hub, addr) = serve(Route::ws("/ws").deflate(settings)).await;
    let mut client = Client::new(addr).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    assert_eq!(client.request(&upgrade(addr, "/ws", offer)).await.status, 101);
    let mut peer = Peer::new(addr, Some(Settings::client())).await;
    // Sixteen digits in four bits each: about half remains.
    let mut x = 1_u64;
    let hex = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((x >> 60) as u32, 16)
    };
    let text: String = std::iter::from_fn(hex).take(1_300_000).collect();
    assert_eq!(hub.broadcast(&*text).delivered, 2);
    assert!(peer.text().await == text);
    let mut heads = Vec::new();
    while heads.last().is_none_or(|head: &Header| !head.fin) {
        heads.push(client.frame().await.expect("a fragment").0);
    }
    let (first, rest) = heads.split_first().expect("a frame");
    assert_eq!((first.opcode, first.rsv), (Opcode::Text, 0b100));
    assert!(rest.len() >= 2 && rest.iter().all(|head| (head.opcode, head.rsv) == (Opcode::Continuation, 0)));
    assert!(heads.iter().all(|head| head.len <= 256 << 10));
    assert_eq!(pool.lent().deflaters_taken, 1);
}

/// DN-20, A6: idle compression state goes back to its pool while the connection waits; its next message still refers to
/// earlier ones.
#[tokio::test]
async fn idle_state_is_parked() {
    let text = words(1_000, 5);
    for (idle, is_parked) in [(Duration::from_millis(20), true), (Duration::from_secs(3_600), false)] {
        let (mut settings, pool) = server();
        settings.idle = idle;
        let (hub, addr) = serve(Route::ws("/ws").deflate(settings)).await;
        let mut peers = Vec::new();
        for _ in 0..10 {
            let mut peer = Peer::new(addr, Some(Settings::client())).await;
            peer.echoes(&text).await;
            peers.push(peer);
        }
        assert!(pool.lent().deflaters_taken >= 10 && pool.lent().inflaters_taken >= 10);
        let live = || (pool.lent().deflaters, pool.lent().inflaters);
        if is_parked {
            until("what is idle is parked", || live() == (0, 0)).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(live(), (10, 10));
        }
        assert_eq!(hub.connection_count(), 10);
        for peer in &mut peers {
            peer.bytes();
            peer.echoes(&text).await;
            assert!(peer.bytes() < 60, "it refers to the first");
        }
    }
}
