//! Graceful shutdown over sockets: what actors and clients are told, in which order, and what is lost.

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Client, frame, listen, soon, until, upgrade, witness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ws_actor::{
    Backoff, CloseFrame, ConnId, Connect, Context, DialError, DialOptions, DialState, Disconnect, Drain, Hub,
    Inbound, Reason, RefusalKind, Route, Server, Settings, Summary, WsActor,
};
use ws_core::frame::{Header, Opcode};

/// Echoes, and counts for each connection what it was allowed to send.
struct Echo {
    book: Arc<Mutex<Book>>,
    accepted: HashMap<ConnId, u64>,
    slow_to_drain: Option<Duration>,
}

#[derive(Default)]
struct Book {
    /// Connections that it was told of.
    met: usize,
    /// Messages received.
    came: u64,
    /// Messages that connections accepted.
    accepted: u64,
    log: Vec<String>,
}

impl WsActor for Echo {
    type Cast = ();

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        self.accepted.insert(connect.id, 0);
        self.book.lock().unwrap().met += 1;
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let mut book = self.book.lock().unwrap();
        book.came += 1;
        if cx.send(id, message).is_ok() {
            book.accepted += 1;
        }
    }

    async fn drain(&mut self, cx: &mut Context<Self>, left: Duration) {
        assert!(left > Duration::ZERO && left <= Duration::from_secs(60), "{left:?}");
        if let Some(slow) = self.slow_to_drain {
            tokio::time::sleep(slow).await;
        }
        let mut book = self.book.lock().unwrap();
        for id in self.accepted.keys() {
            if cx.send(*id, "so long").is_ok() {
                book.accepted += 1;
            }
        }
        book.log.push("drain".to_owned());
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        self.book.lock().unwrap().log.push(gone.reason.to_string());
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.book.lock().unwrap().log.push("dropped".to_owned());
    }
}

fn echo(hub: &Hub, name: &str, slow_to_drain: Option<Duration>) -> (ws_actor::Target, Arc<Mutex<Book>>) {
    let book = Arc::<Mutex<Book>>::default();
    let of_actor = Arc::clone(&book);
    let make = move || Echo { book: Arc::clone(&of_actor), accepted: HashMap::new(), slow_to_drain };
    (hub.spawn(name, make).unwrap(), book)
}

fn short() -> Drain {
    Drain { batch: 4, every: Duration::from_millis(20), deadline: Duration::from_secs(30), ..Drain::new() }
}

/// O2: actors are told first and may still send, then clients are, and then it is over: actors, listener, HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_order() {
    let hub = Hub::new();
    let (target, book) = echo(&hub, "echo", None);
    let health = hub.clone();
    let mut settings = Settings::new();
    // The last client answers late.
    settings.protocol.timeouts.close = Duration::from_secs(30);
    let server = Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target));
    let server = server.on_http(move |_| {
        let status = if health.is_draining() { 503 } else { 200 };
        async move { http::Response::builder().status(status).body(String::new()).unwrap() }
    });
    let listening = support::driven(server).listen("127.0.0.1:0").await.unwrap();
    let addr = listening.local_addr();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::open(addr, "/ws").await);
    }
    let mut kept = Client::new(addr).await;
    assert_eq!(kept.request("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    until("all are there, and known", || book.lock().unwrap().met == 10).await;

    // The last client answers late, so that there is time to look around.
    let mut late = clients.pop().unwrap();
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(short()).await }
    });
    for client in &mut clients {
        assert_eq!(client.read_text().await, "so long");
        assert_eq!(client.close_frame().await.0, 1012);
        client.close(1012).await;
        assert!(client.is_at_end().await);
    }
    for mut client in [Client::new(addr).await, Client::new(addr).await] {
        let response = client.request(&upgrade(addr, "/ws", "")).await;
        assert_eq!(response.status, 503);
        let seconds = response.head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        assert!((1..=30).contains(&seconds.unwrap().parse::<u64>().unwrap()), "{}", response.head);
    }
    assert_eq!(kept.request("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 503);
    assert_eq!(kept.request(&upgrade(addr, "/ws", "")).await.status, 503);
    assert_eq!(hub.metrics().refused.of(RefusalKind::Draining), 3);
    let mut idle = Client::new(addr).await;
    assert_eq!(idle.request("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 503);
    assert!(!shutdown.is_finished());
    assert_eq!(late.read_text().await, "so long");
    assert_eq!(late.close_frame().await.0, 1012);
    late.close(1012).await;

    let summary = soon(shutdown).await.unwrap();
    assert_eq!((summary.closed_clean, summary.cut, summary.undelivered), (10, 0, 0));
    soon(listening.stopped()).await;
    assert!(TcpStream::connect(addr).await.is_err(), "it listens no more");
    assert!(idle.is_at_end().await, "an idle HTTP connection is closed");
    let log = std::mem::take(&mut book.lock().unwrap().log);
    let ends = vec!["closed by this side (1012)".to_owned(); 10];
    assert_eq!(log, [vec!["drain".to_owned()], ends, vec!["dropped".to_owned()]].concat());
    assert!(hub.lookup("echo").is_none());
}

/// O2: neither a client that reads nothing, nor an actor that hangs, nor an endless request outlasts the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_holds() {
    let hub = Hub::new();
    let (target, _) = echo(&hub, "hangs", Some(Duration::from_secs(3_600)));
    let mut limits = ws_actor::OutboxLimits::new();
    limits.max_bytes = 64 << 20;
    // Nothing else would end it while this test waits.
    let mut settings = Settings::new();
    settings.protocol.timeouts.close = Duration::from_secs(3_600);
    settings.write_timeout = Duration::from_secs(3_600);
    let server = Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target).outbox(limits));
    let server = server.on_http(|_| std::future::pending::<http::Response<String>>());
    let addr = listen(server).await;
    let mut reads = Client::open(addr, "/ws").await;
    let stuck = Client::open(addr, "/ws").await;
    let mut waits = Client::new(addr).await;
    waits.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until("both are there", || hub.connection_count() == 2).await;
    let local = stuck.io.local_addr().unwrap();
    let is_stuck = |id: &ConnId| hub.inspect(*id).unwrap().remote_addr == local;
    let id = hub.connections().into_iter().find(is_stuck).unwrap();
    for _ in 0..20 {
        assert_eq!(hub.send(id, vec![0; 1 << 20]), Ok(()));
    }
    // Half of it is what the actor gets: the rest is long enough for a client to answer.
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(Drain { deadline: Duration::from_secs(8), ..Drain::new() }).await }
    });
    assert_eq!(reads.close_frame().await.0, 1012);
    reads.close(1012).await;
    let Summary { closed_clean, cut, undelivered, .. } = soon(shutdown).await.unwrap();
    assert_eq!((closed_clean, cut), (1, 1));
    assert!((1..=20).contains(&undelivered), "{undelivered}");
    assert_eq!(hub.connection_count(), 0);
    assert!(waits.is_at_end().await);
}

/// O2: a request that is never answered does not delay actors that would end at once.
#[tokio::test]
async fn http_leaves_time_for_actors() {
    let hub = Hub::new();
    let (target, book) = echo(&hub, "echo", None);
    let server = Server::new(&hub).route(Route::ws("/ws").target(target));
    let addr = listen(server.on_http(|_| std::future::pending::<http::Response<String>>())).await;
    let mut waits = Client::new(addr).await;
    waits.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut client = Client::open(addr, "/ws").await;
    until("it is known", || book.lock().unwrap().met == 1).await;
    let answers = tokio::spawn(async move {
        assert_eq!(client.close_frame().await.0, 1012);
        client.close(1012).await;
    });
    let (deadline, began) = (Duration::from_secs(4), Instant::now());
    let summary = hub.shutdown(Drain { deadline, ..Drain::new() }).await;
    assert_eq!((summary.closed_clean, summary.cut), (1, 0));
    assert_eq!(book.lock().unwrap().log.last().unwrap(), "dropped");
    assert!(hub.lookup("echo").is_none());
    assert!(began.elapsed() < deadline, "{:?}", began.elapsed());
    answers.await.unwrap();
    assert!(waits.is_at_end().await);
}

/// O2: a client that never answers the close frame is dropped; one that leaves by itself meanwhile is not.
#[tokio::test]
async fn clients_of_all_kinds() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let mut settings = Settings::new();
    settings.protocol.timeouts.close = Duration::from_secs(3);
    let addr = listen(Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target))).await;
    let mut silent = Client::open(addr, "/ws").await;
    let mut polite = Client::open(addr, "/ws").await;
    log.connect().await;
    log.connect().await;
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        // The second batch, which is one of the two, waits so long.
        async move { hub.shutdown(Drain { batch: 1, every: Duration::from_secs(2), ..Drain::new() }).await }
    });
    until("it has begun", || hub.is_draining()).await;
    polite.close(1000).await;
    assert!([1000, 1012].contains(&polite.close_frame().await.0));
    assert_eq!(silent.close_frame().await.0, 1012);
    let summary = soon(shutdown).await.unwrap();
    assert_eq!((summary.closed_clean, summary.cut), (1, 1));
    assert!(matches!(log.disconnect().await.1, Reason::Peer(_) | Reason::Local(_)));
}

/// O2, K4: dialled connections are closed like the others, and not dialled again: neither one that waits to be redialled,
/// nor one that would be.
#[tokio::test]
async fn dialled_connections() {
    let service = Hub::new();
    let (target, mut served) = witness(&service, "served", false);
    let listening =
        support::driven(Server::new(&service)).route(Route::ws("/ws").target(target)).listen("127.0.0.1:0");
    let listening = listening.await.unwrap();
    let url = format!("ws://{}/ws", listening.local_addr());
    for is_lost in [false, true] {
        let hub = Hub::new();
        let (_target, _log) = witness(&hub, "dials", false);
        let mut options = DialOptions::to("dials");
        options.reconnect = Some(Backoff::new());
        // It waits for as long as it may, and does not dial again before the shutdown.
        options.reconnect.as_mut().unwrap().first = Duration::from_secs(3_600);
        options.reconnect.as_mut().unwrap().longest = Duration::from_secs(3_600);
        options.jitter = Some(Arc::new(|| u64::MAX));
        let mut dialled = hub.dial(&url, options).await.unwrap();
        let id = served.connect().await.id;
        if is_lost {
            listening.stop();
            assert!(service.close(id, CloseFrame::new(1012, "")).is_ok());
            until("it waits", || matches!(dialled.status().state, DialState::Waiting(_))).await;
        }
        let summary = soon(hub.shutdown(Drain::new())).await;
        assert_eq!(summary.closed_clean, usize::from(!is_lost));
        let status = soon(dialled.stopped()).await;
        let was_told = matches!(status.error.as_deref(), Some(DialError::ShutDown));
        assert_eq!((status.attempts, was_told), (1, is_lost));
        let again = hub.dial(&url, DialOptions::to("dials")).await;
        assert!(matches!(again, Err(DialError::ShutDown)));
        let reason = served.disconnect().await.1;
        assert_eq!(reason.code(), 1012.into());
    }
}

/// What one client of the load has seen.
#[derive(Debug, Default)]
struct Heard {
    messages: u64,
    code: Option<u16>,
}

/// Sends a message every 10 ms until the server closes, and answers the close.
async fn client(addr: SocketAddr, sent: Arc<AtomicU64>) -> Heard {
    let client = Client::open(addr, "/ws").await;
    let (mut read, mut write) = client.io.into_split();
    let is_closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_closed);
    let writer = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(10));
        let message = frame(true, Opcode::Binary, &[7; 100]);
        while !seen.load(Ordering::Relaxed) {
            every.tick().await;
            if write.write_all(&message).await.is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        write
    });
    let (mut heard, mut buffer) = (Heard::default(), Vec::new());
    let answer = 'read: loop {
        let mut start = 0;
        while let Some((header, at)) = Header::decode(&buffer[start..]).unwrap() {
            let (from, to) = (start + at, start + at + header.len as usize);
            if buffer.len() < to {
                break;
            }
            if header.opcode == Opcode::Close {
                break 'read buffer[from..to].to_vec();
            }
            heard.messages += 1;
            start = to;
        }
        buffer.drain(..start);
        if soon(read.read_buf(&mut buffer)).await.unwrap_or(0) == 0 {
            return heard;
        }
    };
    heard.code = answer.first_chunk().map(|code| u16::from_be_bytes(*code));
    is_closed.store(true, Ordering::Relaxed);
    let mut write = writer.await.unwrap();
    let _ = write.write_all(&frame(true, Opcode::Close, &answer)).await;
    while soon(read.read_buf(&mut buffer)).await.unwrap_or(0) > 0 {
        buffer.clear();
    }
    heard
}

/// This many clients send a hundred messages per second each, for this long; then the service shuts down.
async fn under_load(clients: usize, load: Duration) {
    let hub = Hub::new();
    let (target, book) = echo(&hub, "echo", None);
    // What a busy machine has not got done when the end comes, it does then.
    let mut settings = Settings::new();
    settings.protocol.timeouts.close = Duration::from_secs(60);
    let addr = listen(Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target))).await;
    let sent = Arc::<AtomicU64>::default();
    let running: Vec<_> = (0..clients).map(|_| tokio::spawn(client(addr, Arc::clone(&sent)))).collect();
    until("all are there, and known", || book.lock().unwrap().met == clients).await;
    tokio::time::sleep(load).await;

    let deadline = Duration::from_secs(60);
    let drain = Drain { batch: clients / 5, every: Duration::from_millis(200), deadline, ..Drain::new() };
    let began = Instant::now();
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(drain).await }
    });
    until("it has begun", || hub.is_draining()).await;
    let response = Client::new(addr).await.request(&upgrade(addr, "/ws", "")).await;
    assert_eq!(response.status, 503);
    assert!(response.head.contains("Retry-After: "), "{}", response.head);

    let mut heard = 0;
    for client in running {
        let Heard { messages, code } = client.await.unwrap();
        assert!(matches!(code, Some(1001 | 1012)), "{code:?}");
        heard += messages;
    }
    let summary = shutdown.await.unwrap();
    let took = began.elapsed();
    assert!(took < drain.deadline, "{took:?}");
    assert_eq!((summary.closed_clean, summary.cut, summary.undelivered), (clients, 0, 0));
    let Book { came, accepted, .. } = *book.lock().unwrap();
    let sent = sent.load(Ordering::Relaxed);
    println!(
        "{clients} clients sent {sent}, {came} came; {accepted} accepted, {heard} arrived; closed in {took:?}"
    );
    assert_eq!(heard, accepted);
    // Also what a client sent before it read that it is over.
    assert_eq!(came, sent);
    assert!(accepted >= clients as u64, "each was told of the end, at least");
}

/// O2: what was accepted arrives, however much is sent meanwhile. `DRAIN_CLIENTS` sets the number of clients; `.ci/run
/// drain` sets it to a thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    match std::env::var("DRAIN_CLIENTS").ok().and_then(|text| text.parse().ok()) {
        Some(clients) => under_load(clients, Duration::from_secs(5)).await,
        None => under_load(50, Duration::from_millis(300)).await,
    }
}
