//! Dialled connections that are lost: which are dialled again, when, and what the actor is told. On a virtual clock, in
//! memory.

mod support;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Log, Seen, witness};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use ws_actor::{
    AttachError, Backoff, CloseFrame, ConnId, ConnectError, Connector, DialError, DialOptions, DialState,
    Dialled, Hub, Jitter, Meta, Reason, Relay,
};
use ws_core::Config;
use ws_tokio::{Refusal, WebSocket, accept_with};

const SECOND: Duration = Duration::from_secs(1);

/// What a server does with clients that dial it.
#[derive(Clone, Copy)]
enum Behaviour {
    Accept,
    /// There is no server at the address.
    Unreachable,
    /// It accepts bytes and never answers.
    Swallow,
    Answer(u16),
}

/// A server in memory: keeps the connections that it accepts, and counts the attempts.
#[derive(Clone)]
struct Far {
    behaviour: Arc<Mutex<Behaviour>>,
    accepted: mpsc::UnboundedSender<WebSocket<DuplexStream>>,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl Far {
    fn new() -> (Self, mpsc::UnboundedReceiver<WebSocket<DuplexStream>>) {
        let (accepted, connections) = mpsc::unbounded_channel();
        let (behaviour, attempts) = (Arc::new(Mutex::new(Behaviour::Accept)), Arc::default());
        (Self { behaviour, accepted, attempts }, connections)
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    fn connector(&self) -> Connector {
        let far = self.clone();
        Connector::new(move || {
            let far = far.clone();
            async move {
                far.attempts.lock().unwrap().push(Instant::now());
                let behaviour = *far.behaviour.lock().unwrap();
                match behaviour {
                    Behaviour::Unreachable => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Behaviour::Swallow => std::future::pending().await,
                    Behaviour::Accept | Behaviour::Answer(_) => {}
                }
                let (near, theirs) = tokio::io::duplex(4096);
                tokio::spawn(async move {
                    let accepted = accept_with(theirs, Config::server(), |_| match behaviour {
                        Behaviour::Answer(status) => Err(Refusal::new(status, "no")),
                        _ => Ok(ws_tokio::Acceptance::default()),
                    });
                    if let Ok(socket) = accepted.await {
                        let _ = far.accepted.send(socket);
                    }
                });
                Ok(near)
            }
        })
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().unwrap().len()
    }
}

/// A source of jitter with a seed: the same delays in every run.
fn seeded(seed: u64) -> Jitter {
    let state = AtomicU64::new(seed);
    Arc::new(move || {
        // SplitMix64.
        let mut z = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

fn options(far: &Far, relay: impl Into<Relay>) -> DialOptions {
    let mut options = DialOptions::to(relay);
    options.connector = Some(far.connector());
    options.reconnect = Some(Backoff::new());
    options.jitter = Some(seeded(1));
    options
}

/// A dialled connection and its far end.
async fn dial(
    hub: &Hub,
    options: DialOptions,
    connections: &mut mpsc::UnboundedReceiver<WebSocket<DuplexStream>>,
) -> (Dialled, WebSocket<DuplexStream>) {
    let dialled = hub.dial("ws://far/feed", options).await.expect("it accepts");
    (dialled, connections.recv().await.expect("it was accepted"))
}

fn close_in_background(mut socket: WebSocket<DuplexStream>, code: u16) {
    tokio::spawn(async move {
        let frame = (code != 1005).then(|| ws_core::CloseFrame::new(code, ""));
        let _ = socket.close(frame).await;
    });
}

async fn opened(log: &mut Log) -> ConnId {
    match timeout(60 * SECOND, log.next()).await {
        Ok(Seen::Connect(connect)) => connect.id,
        other => panic!("{other:?}"),
    }
}

async fn lost(log: &mut Log) -> (ConnId, Reason) {
    match timeout(60 * SECOND, log.next()).await {
        Ok(Seen::Disconnect(id, reason)) => (id, reason),
        other => panic!("{other:?}"),
    }
}

/// K4: the actor gets `Disconnect` for the lost one, then `Connect` for the next, under a new ID and with the settings of
/// the last; the handle shows each state in between.
#[tokio::test(start_paused = true)]
async fn disconnect_then_connect() {
    let hub = Hub::new();
    let (other, mut other_log) = witness(&hub, "other", false);
    let (target, mut log) = witness(&hub, "target", false);
    let (far, mut connections) = Far::new();
    let relay = Relay::to(ws_actor::Pool::new([&other, &target])).topic("feed");
    let (mut dialled, socket) = dial(&hub, options(&far, relay), &mut connections).await;
    let first = opened(&mut other_log).await;
    // Moved and changed meanwhile: the next one goes where the last was.
    assert_eq!(hub.retarget(first, Relay::to(&target).meta(Meta::new().set("n", 7))), Ok(()));
    assert_eq!(lost(&mut other_log).await, (first, Reason::Moved));
    assert_eq!(opened(&mut log).await, first);

    dialled.changed().await;
    drop(socket);
    assert_eq!(lost(&mut log).await, (first, Reason::Io(io::ErrorKind::UnexpectedEof)));
    far.behave(Behaviour::Unreachable);
    let DialState::Waiting(delay) = dialled.changed().await.state else { panic!("{dialled:?}") };
    assert!(delay <= 5 * SECOND);
    assert_eq!(dialled.id(), None);
    let before = Instant::now();
    while dialled.status().error.is_none() {
        dialled.changed().await;
    }
    assert!((delay..delay + SECOND / 100).contains(&before.elapsed()), "{delay:?}, {:?}", before.elapsed());
    let status = dialled.status();
    assert!(matches!(&*status.error.unwrap(), DialError::Failed(ConnectError::Connect(_))));
    assert_eq!(status.attempts, 2);
    assert_eq!(status.lost, Some(Reason::Io(io::ErrorKind::UnexpectedEof)));
    far.behave(Behaviour::Accept);

    let Seen::Connect(next) = log.next().await else { panic!("another event") };
    assert_ne!(next.id, first);
    assert_eq!((&*next.topic, &*next.path), ("feed", "/feed"));
    assert_eq!(next.meta, Meta::new().set("n", 7));
    assert_eq!(dialled.id(), Some(next.id));
    let mut socket = connections.recv().await.unwrap();
    socket.send("again").await.unwrap();
    assert!(
        matches!(log.next().await, Seen::Message(id, message) if id == next.id && message.as_text() == Some("again"))
    );
    assert!(other_log.rest().is_empty());
    assert_eq!(hub.connections(), [next.id]);
}

/// K4: after which close codes a connection is dialled again, and after which it is over.
#[tokio::test(start_paused = true)]
async fn by_close_code() {
    let again = [1001, 1005, 1011, 1012, 1013, 1014, 3000, 3499, 4000, 4499];
    let over = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3500, 3999, 4500, 4999];
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "target", false);
    let (far, mut connections) = Far::new();
    for (codes, expected) in [(&again[..], true), (&over[..], false)] {
        for &code in codes {
            let (mut dialled, socket) = dial(&hub, options(&far, &target), &mut connections).await;
            let first = opened(&mut log).await;
            let before = far.attempts();
            close_in_background(socket, code);
            assert_eq!(lost(&mut log).await.1.code().0, code);
            if expected {
                let next = opened(&mut log).await;
                assert_ne!(next, first, "{code}");
                assert_eq!(far.attempts() - before, 1, "{code}");
                connections.recv().await;
                // What this side closes is over.
                assert_eq!(hub.close(next, CloseFrame::new(1001, "")), Ok(()));
                lost(&mut log).await;
            }
            assert_eq!(dialled.stopped().await.state, DialState::Stopped);
            sleep(60 * SECOND).await;
            assert_eq!(far.attempts() - before, usize::from(expected), "{code}");
        }
    }
    assert!(log.rest().is_empty());
}

/// K4: the answer to an attempt decides whether there is another.
#[tokio::test(start_paused = true)]
async fn by_answer() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "target", false);
    for (status, goes_on) in [(503, true), (429, true), (401, false), (404, false), (410, false)] {
        let (far, mut connections) = Far::new();
        let (mut dialled, socket) = dial(&hub, options(&far, &target), &mut connections).await;
        opened(&mut log).await;
        far.behave(Behaviour::Answer(status));
        drop(socket);
        lost(&mut log).await;
        sleep(300 * SECOND).await;
        assert_eq!(far.attempts() > 2, goes_on, "{status}: {}", far.attempts());
        assert_eq!(dialled.status().state == DialState::Stopped, !goes_on, "{status}");
        assert!(dialled.status().error.is_some());
        dialled.stop();
        dialled.stopped().await;
    }
}

/// K4: a stop ends it at once, while it waits and while it dials.
#[tokio::test(start_paused = true)]
async fn stopped_between_connections() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "target", false);
    for dialling in [false, true] {
        let (far, mut connections) = Far::new();
        let (mut dialled, socket) = dial(&hub, options(&far, &target), &mut connections).await;
        opened(&mut log).await;
        drop(socket);
        lost(&mut log).await;
        if dialling {
            far.behave(Behaviour::Swallow);
            while dialled.changed().await.state != DialState::Connecting {}
        }
        let attempts = far.attempts();
        dialled.stop();
        dialled.stopped().await;
        sleep(60 * SECOND).await;
        assert_eq!(far.attempts(), attempts);
        assert!(log.rest().is_empty());
    }
}

/// K4, C8: with its actor gone, the next connection goes to the actor that has the name by then; an actor that was given
/// as a handle is gone permanently, and nothing is dialled for it.
#[tokio::test(start_paused = true)]
async fn actors_that_end() {
    let hub = Hub::new();
    for by_name in [true, false] {
        let (target, mut log) = witness(&hub, "target", false);
        let (far, mut connections) = Far::new();
        let relay = if by_name { Relay::to("target") } else { Relay::to(&target) };
        let (mut dialled, mut socket) = dial(&hub, options(&far, relay), &mut connections).await;
        opened(&mut log).await;
        assert_eq!(target.cast(0_u32), Ok(()));
        while socket.recv().await.is_ok_and(|message| message.is_some()) {}
        assert_eq!(socket.close_reason().map(|reason| reason.code.0), Some(1011));
        drop(socket);
        sleep(100 * SECOND).await;
        // Nobody is there to have it.
        assert_eq!(far.attempts(), 1);
        assert_eq!(dialled.status().state == DialState::Stopped, !by_name);
        assert!(matches!(&*dialled.status().error.unwrap(), DialError::NoTarget));
        if by_name {
            let (next, mut log) = witness(&hub, "target", false);
            opened(&mut log).await;
            assert_eq!((far.attempts(), next.name()), (2, "target"));
            dialled.stop();
            dialled.stopped().await;
            assert_eq!(next.cast(0_u32), Ok(()));
            while !log.is_over().await {}
        }
    }
}

/// K4, O2: a Hub that shuts down closes what it has dialled, and dials no more; one that is waiting to dial gives up at
/// once.
#[tokio::test(start_paused = true)]
async fn shutdown() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "target", false);
    let (far, mut connections) = Far::new();
    let (mut open, mut socket) = dial(&hub, options(&far, "target"), &mut connections).await;
    let (mut waiting, lost_one) = dial(&hub, options(&far, &target), &mut connections).await;
    let mut unattached = DialOptions::new();
    unattached.connector = Some(far.connector());
    let mut held = hub.dial("ws://far/", unattached).await.unwrap();
    far.behave(Behaviour::Unreachable);
    drop(lost_one);
    while waiting.status().error.is_none() {
        waiting.changed().await;
    }
    let attempts = far.attempts();
    let start = Instant::now();
    let server = tokio::spawn(async move {
        while socket.recv().await.is_ok_and(|message| message.is_some()) {}
        socket.close_reason().map(|reason| reason.code.0)
    });
    let summary = hub.shutdown(ws_actor::Drain::new()).await;
    assert_eq!((summary.closed_clean, summary.cut), (1, 0));
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    assert_eq!(server.await.unwrap(), Some(1012));
    assert!(matches!(open.stopped().await.lost, Some(Reason::Local(Some(frame))) if frame.code.0 == 1012));
    waiting.stopped().await;
    assert_eq!(held.attach(&target), Err(AttachError::ShutDown));
    let late = hub.dial("ws://far/", options(&far, &target)).await;
    assert!(matches!(late, Err(DialError::ShutDown)));
    sleep(100 * SECOND).await;
    assert_eq!(far.attempts(), attempts);
}

/// K4: no storm. A server with 1 000 clients restarts, is away for a minute, and comes back: no client dials it faster
/// than full jitter lets it, and they come back spread out. They are dropped again at once: their delays do not start over.
#[tokio::test(start_paused = true)]
async fn no_storm() {
    const CLIENTS: usize = 1_000;
    let hub = Hub::new();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let target = ws_actor::Target::from_fn(&hub, "feeds", move |event| {
        if let ws_actor::Event::Connect(_) = event {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        async { std::ops::ControlFlow::Continue(()) }
    })
    .unwrap();
    let (far, mut connections) = Far::new();
    let jitter = seeded(42);
    let mut dialled = Vec::new();
    for _ in 0..CLIENTS {
        let mut options = options(&far, &target);
        options.jitter = Some(Arc::clone(&jitter));
        dialled.push(hub.dial("ws://far/", options).await.unwrap());
    }
    let mut sockets = Vec::new();
    connections.recv_many(&mut sockets, CLIENTS).await;
    while sockets.len() < CLIENTS {
        connections.recv_many(&mut sockets, CLIENTS).await;
    }
    // Long enough to be stable.
    sleep(30 * SECOND).await;
    assert_eq!(count.load(Ordering::Relaxed), CLIENTS);

    far.attempts.lock().unwrap().clear();
    far.behave(Behaviour::Unreachable);
    let down = Instant::now();
    for socket in sockets {
        close_in_background(socket, 1012);
    }
    sleep(60 * SECOND).await;
    let per_second = |from: Instant, attempts: &[Instant]| {
        let mut counts = BTreeMap::<u64, usize>::new();
        for at in attempts {
            *counts.entry(at.saturating_duration_since(from).as_secs()).or_default() += 1;
        }
        counts
    };
    let attempts = std::mem::take(&mut *far.attempts.lock().unwrap());
    let counts = per_second(down, &attempts);
    // The first attempts are spread over 5 s: 200 per second, and some of the second ones among them. Without jitter, it
    // would be all of them in one second.
    let most = counts.values().max().copied().unwrap_or(0);
    assert!((150..=350).contains(&most), "{counts:?}");
    // Later delays average 10 s: 100 per second.
    for (second, count) in counts.range(35..60) {
        assert!((50..=160).contains(count), "{count} in second {second}");
    }
    // In a minute, 6 to 9 each: at 2.5, 5, 10, 10, … s on the average.
    assert!((6 * CLIENTS..=9 * CLIENTS).contains(&attempts.len()), "{}", attempts.len());

    // Back: each accepted connection is dropped at once, for a minute. Being accepted is not enough to reset the delays.
    far.behave(Behaviour::Accept);
    let up = Instant::now();
    while let Ok(Some(socket)) = tokio::time::timeout_at(up + 60 * SECOND, connections.recv()).await {
        drop(socket);
    }
    let attempts = std::mem::take(&mut *far.attempts.lock().unwrap());
    let counts = per_second(up, &attempts);
    for (second, count) in counts.range(0..60) {
        assert!((50..=160).contains(count), "{count} in second {second}");
    }
    // Now permanently: all are back within the longest delay.
    let mut sockets = Vec::new();
    let keep = async {
        while let Some(socket) = connections.recv().await {
            sockets.push(socket);
        }
    };
    let _ = timeout(21 * SECOND, keep).await;
    assert_eq!(hub.connection_count(), CLIENTS);
    assert!(dialled.iter().all(|dialled| dialled.id().is_some()));
}
