//! Observers: what they are told, and that they cannot hold anything up.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use support::{Client, LONG, listen, soon, until, upgrade, witness};
use tokio::net::TcpStream;
use ws_actor::{
    Closed, Connect, Drain, DropReason, Dropped, Hub, Observer, OutboxLimits, Overflow, Reason, Refusal,
    Route, Server,
};

/// Sends what it is told as lines.
struct Lines(Sender<String>);

impl Lines {
    fn say(&self, line: String) {
        let _ = self.0.send(line);
    }
}

impl Observer for Lines {
    fn refused(&mut self, refusal: &Refusal) {
        self.say(format!("refused {:?} {} {}", refusal.kind, refusal.status, refusal.target));
    }

    fn opened(&mut self, connection: &Connect) {
        self.say(format!("opened {} {} {}", connection.id, connection.remote_addr, connection.path));
    }

    fn closed(&mut self, Closed { id, reason, info, .. }: &Closed) {
        self.say(format!("closed {id} {reason:?} {} {} {:?}", info.messages_in, info.dropped, info.target));
    }

    fn dropped(&mut self, Dropped { id, reason, total, .. }: &Dropped) {
        self.say(format!("dropped {id} {reason:?} {total}"));
    }

    fn room_created(&mut self, name: &str) {
        self.say(format!("created {name}"));
    }

    fn room_removed(&mut self, name: &str) {
        self.say(format!("removed {name}"));
    }

    fn missed(&mut self, notes: u64) {
        self.say(format!("missed {notes}"));
    }
}

fn lines(hub: &Hub) -> Receiver<String> {
    let (sender, lines) = channel();
    hub.observe(Lines(sender)).expect("a thread");
    lines
}

/// O4: events are reported in order; the shutdown waits for the observer, and the observer ends with the Hub.
#[tokio::test]
async fn what_happens() {
    let hub = Hub::new();
    let (first, second) = (lines(&hub), lines(&hub));
    let (target, mut log) = witness(&hub, "witness", true);
    let mut limits = OutboxLimits::new();
    (limits.max_messages, limits.overflow) = (2, Overflow::DropNew);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target).outbox(limits))).await;
    assert_eq!(Client::new(addr).await.request(&upgrade(addr, "/nowhere", "")).await.status, 404);
    let mut client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
    assert_eq!(hub.room("room").join(id), Ok(()));
    let hold = support::hold(&hub, id).await;
    for _ in 0..2 + 9 {
        let _ = hub.send(id, "more");
    }
    hold.end(&mut client).await;
    for _ in 0..2 {
        assert_eq!(client.read_text().await, "more");
    }
    client.close(1000).await;
    assert_eq!(client.close_frame().await.0, 1000);
    until("it has gone", || hub.connection_count() == 0).await;
    hub.shutdown(Drain::new()).await;
    let local = client.io.local_addr().unwrap();
    let full = DropReason::Full;
    let reason = Reason::Peer(Some(ws_actor::CloseFrame::new(1000, "")));
    let expected = [
        "refused NoRoute 404 /nowhere".to_owned(),
        format!("opened {id} {local} /ws"),
        "created room".to_owned(),
        format!("dropped {id} {full:?} 1"),
        format!("dropped {id} {full:?} 2"),
        format!("dropped {id} {full:?} 4"),
        format!("dropped {id} {full:?} 8"),
        "removed room".to_owned(),
        format!("closed {id} {reason:?} 1 9 Some(\"witness\")"),
    ];
    for lines in [&first, &second] {
        let told: Vec<_> = lines.try_iter().collect();
        assert_eq!(told, expected);
    }
    drop(log);
    drop(hub);
    let after = first.recv_timeout(LONG);
    assert_eq!(after, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "it ends with the Hub");
}

/// Blocks until released, then panics, once.
struct Stuck {
    key: Receiver<()>,
    has_panicked: bool,
    missed: Sender<u64>,
}

impl Observer for Stuck {
    fn opened(&mut self, _: &Connect) {
        let _ = self.key.recv();
        assert!(std::mem::replace(&mut self.has_panicked, true), "as the test wants it");
    }

    fn missed(&mut self, notes: u64) {
        let _ = self.missed.send(notes);
    }
}

/// O4: an observer that hangs or panics holds nothing up, and that it did is counted.
#[tokio::test]
async fn observers_hold_nobody_up() {
    let hub = Hub::new();
    let (key, lock) = channel();
    let (sender, missed) = channel();
    hub.observe(Stuck { key: lock, has_panicked: false, missed: sender }).unwrap();
    let (target, mut log) = witness(&hub, "witness", true);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let mut client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    for n in 0..20_000 {
        let room = hub.room(n.to_string());
        assert_eq!(room.join(id), Ok(()));
        assert!(room.leave(id));
    }
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
    let left_out = hub.metrics().observer_missed;
    assert!((20_000..40_000).contains(&left_out), "{left_out}");
    let drain = Drain { deadline: Duration::from_secs(1), ..Drain::new() };
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(drain).await }
    });
    assert_eq!(client.close_frame().await.0, 1012);
    client.close(1012).await;
    soon(shutdown).await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
    drop(key);
    until("it goes on", || hub.metrics().observer_panics == 1).await;
    let told = missed.recv_timeout(LONG).unwrap();
    assert!((left_out..=left_out + 3).contains(&told), "{told} of {left_out}");
}
