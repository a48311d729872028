//! Connections on loops: which ones are, their deadlines by the loops' clock, when the loops end. What they have in common
//! with others is tested by `on_loops.rs`.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{Client, Seen, soon, until, upgrade, witness};
use tokio::io::duplex;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use ws_actor::{Drain, Hub, Limits, Loops, OverRate, Rate, RateLimit, Reason, Relay, Route, Server, WsActor};
use ws_core::frame::Opcode;

/// Runs one test at a time, since some count threads.
static TURN: Mutex<()> = Mutex::const_new(());

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::new();
    set(&mut limits);
    limits
}

/// The number of loop threads.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("ws-mio")).count()
}

/// Plain TCP goes to the loops, however it was accepted; a stream that is not a socket stays a task. All are in the
/// same Hub, and reach each other.
#[tokio::test]
async fn which_are_on_loops() {
    let _turn = TURN.lock().await;
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let loops = Loops::start(1).expect("a thread");
    let server = || Server::new(&hub).route(Route::ws("/ws").target(&target)).on_loops(&loops);
    let listening = server().listen("127.0.0.1:0").await.expect("a free port");
    let served = Arc::new(server());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");

    let mut listened = Client::open(listening.local_addr(), "/ws").await;
    log.connect().await;
    until("one is on a loop", || loops.connection_count() == 1).await;

    let serving = Arc::clone(&served);
    let accepting = tokio::spawn(async move {
        let (tcp, remote) = listener.accept().await.expect("a client");
        serving.serve(tcp, remote, addr).await;
    });
    let mut accepted = Client::open(addr, "/ws").await;
    log.connect().await;
    until("two are", || loops.connection_count() == 2).await;
    soon(accepting).await.expect("it has no more to do with it");

    let (ours, theirs) = duplex(4 << 10);
    tokio::spawn(served.serve(theirs, addr, addr));
    let mut in_memory = Client::of(ours);
    assert_eq!(in_memory.request(&upgrade(addr, "/ws", "")).await.status, 101);
    log.connect().await;
    assert_eq!((loops.connection_count(), hub.connection_count()), (2, 3));

    assert_eq!(hub.broadcast("to all").delivered, 3);
    assert_eq!(in_memory.read_text().await, "to all");
    for client in [&mut listened, &mut accepted] {
        assert_eq!(client.read_text().await, "to all");
        client.text("hello").await;
        assert_eq!(client.read_text().await, "hello");
    }
}

/// Threads live as long as something uses them: a handle, a server, a connection.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn loops_end() {
    let _turn = TURN.lock().await;
    until("those of others have ended", || threads() == 0).await;
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let loops = Loops::start(3).expect("threads");
    until("they run", || threads() == 3).await;
    let server = Server::new(&hub).route(Route::ws("/ws").target(target)).on_loops(&loops);
    let listening = server.listen("127.0.0.1:0").await.expect("a free port");
    drop(loops);
    let mut client = Client::open(listening.local_addr(), "/ws").await;
    log.connect().await;
    listening.stop();
    soon(listening.stopped()).await;
    until("those without a connection have ended", || threads() == 1).await;
    client.text("still here").await;
    assert_eq!(client.read_text().await, "still here");
    client.close(1000).await;
    assert_eq!(client.close_frame().await.0, 1000);
    assert!(matches!(log.disconnect().await.1, Reason::Peer(_)));
    drop(client);
    until("all have ended", || threads() == 0).await;

    // A shutdown of the Hub is the end of them, too.
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let loops = Loops::start(2).expect("threads");
    let server = Server::new(&hub).route(Route::ws("/ws").target(target)).on_loops(&loops);
    let listening = server.listen("127.0.0.1:0").await.expect("a free port");
    drop(loops);
    let mut client = Client::open(listening.local_addr(), "/ws").await;
    until("it is open", || hub.connection_count() == 1).await;
    let drain = Drain { deadline: Duration::from_secs(30), ..Drain::new() };
    let (summary, close) = tokio::join!(hub.shutdown(drain), async {
        let close = client.close_frame().await;
        client.close(close.0).await;
        close
    });
    assert_eq!((summary.closed_clean, summary.cut, close.0), (1, 0, 1012));
    soon(listening.stopped()).await;
    drop(client);
    until("all have ended", || threads() == 0).await;
}

/// O3, O1: rates, deadlines and heartbeats by the loops' clock: never early, and they do come.
#[tokio::test]
async fn by_the_clock_of_loops() {
    let _turn = TURN.lock().await;
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let loops = Loops::start(1).expect("a thread");
    let slow = RateLimit::messages(Rate::per_second(50)).action(OverRate::Delay);
    let rate = limits(|limits| limits.rate = Some(slow));
    let known = limits(|limits| limits.authenticate_within = Some(Duration::from_millis(200)));
    let idle = limits(|limits| limits.idle = Some(Duration::from_millis(200)));
    let server = Server::new(&hub)
        .route(Route::ws("/slow").target(&target).limits(rate))
        .route(Route::ws("/known").target(&target).limits(known))
        .route(Route::ws("/idle").target(&target).limits(idle))
        .on_loops(&loops);
    let addr = support::listen(server).await;

    // The burst is a second's worth: what follows has to wait.
    let mut client = Client::open(addr, "/slow").await;
    log.connect().await;
    let start = Instant::now();
    let all: Vec<u8> =
        (0..75).flat_map(|n: u32| support::frame(true, Opcode::Text, n.to_string().as_bytes())).collect();
    client.write(&all).await;
    for n in 0..75 {
        match log.next().await {
            Seen::Message(_, message) => assert_eq!(message.as_text(), Some(&*n.to_string())),
            other => panic!("{other:?}"),
        }
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450), "{took:?}");

    for (path, code) in [("/known", 3502), ("/idle", 1001)] {
        let start = Instant::now();
        let mut client = Client::open(addr, path).await;
        assert_eq!(client.close_frame().await.0, code);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(190), "{path}: {took:?}");
    }
}

/// Counts its heartbeats.
struct Heart(tokio::sync::mpsc::UnboundedSender<Instant>);

impl WsActor for Heart {
    type Cast = ();

    async fn message(&mut self, _: &mut ws_actor::Context<Self>, _: ws_actor::Inbound) {}

    async fn heartbeat(&mut self, _: &mut ws_actor::Context<Self>, _: ws_actor::Heartbeat) {
        let _ = self.0.send(Instant::now());
    }
}

/// C6: heartbeats of an idle connection come at their interval, and not faster.
#[tokio::test]
async fn heartbeats() {
    let _turn = TURN.lock().await;
    let hub = Hub::new();
    let (sender, mut beats) = tokio::sync::mpsc::unbounded_channel();
    hub.spawn("heart", move || Heart(sender.clone())).expect("a free name");
    let route =
        Route::ws("/ws").decide(|_| async { Relay::to("heart").heartbeat(Duration::from_millis(100)) });
    let loops = Loops::start(1).expect("a thread");
    let addr = support::listen(Server::new(&hub).route(route).on_loops(&loops)).await;
    let start = Instant::now();
    let _client = Client::open(addr, "/ws").await;
    for n in 1..=5 {
        let beat = soon(beats.recv()).await.expect("the actor lives");
        assert!(beat.duration_since(start) >= Duration::from_millis(100 * n - 10), "beat {n}");
    }
}
