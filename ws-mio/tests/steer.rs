//! What an application does with a connection besides sending: pause, wake, time, adopt, end at once. Over real
//! TCP, against bytes written by hand.

mod support;

use std::any::Any;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use support::running::{Given, Running};
use support::{
    BINARY, CLOSE, PATIENCE, PING, PONG, REQUEST, TEXT, expect, masked, plain, read_frame, sockets, until,
};
use ws_mio::core::{Config, Connection, Event, Session};
use ws_mio::{Acceptance, ConnId, Error, Handler, Peer, Refusal, Visitor, core};

#[derive(Debug)]
enum Seen {
    Open(ConnId, Waker),
    Text(String),
    Woken,
    Stalled,
    Drained,
    Tick,
    RoundTrip(Option<Duration>),
    Closed(Result<(), Error>),
    Dropped,
}

/// The state kept with a connection: reports its drop.
struct Kept {
    deadline: Option<core::Instant>,
    told: Sender<Seen>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.told.send(Seen::Dropped);
    }
}

/// A handler that does what a text says.
struct App {
    told: Sender<Seen>,
    /// What to do when a connection is woken.
    orders: Arc<Mutex<Vec<&'static str>>>,
}

impl App {
    fn tell(&self, seen: Seen) {
        let _ = self.told.send(seen);
    }

    fn kept(&self) -> Kept {
        Kept { deadline: None, told: self.told.clone() }
    }

    fn obey(&self, order: &str, peer: &mut Peer<'_, Kept>) {
        match order {
            "pause" => peer.pause(),
            "resume" => peer.resume(),
            "both" => {
                peer.pause();
                peer.resume();
            }
            "abort" => {
                peer.send("last words").expect("room");
                peer.abort();
            }
            "wake" => peer.remote().waker(peer.id()).wake(),
            "tick" => {
                let soon = peer.now().saturating_add(Duration::from_millis(100));
                peer.state.deadline = Some(soon);
            }
            "fill" => {
                while peer.flush() {
                    peer.send(&[7; 50_000][..]).expect("room, for all has left");
                }
                assert!(peer.stalled_since().is_some_and(|since| since == peer.now()));
            }
            "close" => peer.close(None).expect("open"),
            "discard" => {
                peer.discard_data();
                peer.resume();
            }
            other => peer.send(other).expect("room"),
        }
    }
}

impl Handler for App {
    type State = Kept;

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<Kept>, Refusal> {
        Ok(Acceptance::new(self.kept()))
    }

    fn open(&mut self, peer: &mut Peer<'_, Kept>) {
        assert!(peer.peer_addr().is_ok() && peer.local_addr().is_ok());
        self.tell(Seen::Open(peer.id(), peer.remote().waker(peer.id())));
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Kept>) {
        match event {
            Event::Text(text) => {
                self.tell(Seen::Text(text.to_owned()));
                self.obey(text, peer);
            }
            Event::Pong(_) => self.tell(Seen::RoundTrip(peer.round_trip())),
            _ => {}
        }
    }

    fn woken(&mut self, peer: &mut Peer<'_, Kept>) {
        self.tell(Seen::Woken);
        let orders = std::mem::take(&mut *self.orders.lock().expect("no panic"));
        orders.into_iter().for_each(|order| self.obey(order, peer));
    }

    fn stalled(&mut self, peer: &mut Peer<'_, Kept>) {
        assert!(peer.queued() > 0 && peer.stalled_since().is_some());
        self.tell(Seen::Stalled);
    }

    fn drained(&mut self, peer: &mut Peer<'_, Kept>) {
        assert_eq!((peer.queued(), peer.stalled_since()), (0, None));
        self.tell(Seen::Drained);
    }

    fn deadline(&self, kept: &Kept) -> Option<core::Instant> {
        kept.deadline
    }

    fn tick(&mut self, peer: &mut Peer<'_, Kept>) {
        let due = peer.state.deadline.take().expect("not without one");
        assert!(due <= peer.now(), "not before it");
        self.tell(Seen::Tick);
    }

    fn adopt(&mut self, state: Box<dyn Any + Send>) -> Option<Kept> {
        state.downcast().ok().map(|kept| *kept)
    }

    fn closed(&mut self, _: ConnId, _: Kept, end: Result<(), Error>) {
        self.tell(Seen::Closed(end));
    }

    fn failed(&mut self, error: Error) {
        panic!("{error}");
    }
}

/// A server, and what its connections are to do when they are woken.
struct Steered {
    server: Running<Seen>,
    orders: Arc<Mutex<Vec<&'static str>>>,
}

impl Deref for Steered {
    type Target = Running<Seen>;

    fn deref(&self) -> &Running<Seen> {
        &self.server
    }
}

impl Steered {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::server();
        change(&mut config);
        Self::with(|app| Running::serve(|settings| settings.config = config.into(), app))
    }

    fn with(run: impl FnOnce(Box<dyn Fn(Given<Seen>) -> App + Send + Sync>) -> Running<Seen>) -> Self {
        let orders = Arc::<Mutex<Vec<_>>>::default();
        let shared = Arc::clone(&orders);
        let server = run(Box::new(move |given| App { told: given.told, orders: Arc::clone(&shared) }));
        Self { server, orders }
    }

    fn open(&self) -> (TcpStream, ConnId, Waker) {
        let (peer, _) = self.greet(REQUEST);
        let (id, waker) = self.opened();
        (peer, id, waker)
    }

    fn opened(&self) -> (ConnId, Waker) {
        match self.next() {
            Seen::Open(id, waker) => (id, waker),
            other => panic!("{other:?}"),
        }
    }

    /// Has the connection do this outside of an event.
    fn order(&self, waker: &Waker, orders: &[&'static str]) {
        self.orders.lock().expect("no panic").extend(orders);
        waker.wake_by_ref();
        assert!(matches!(self.next(), Seen::Woken));
    }

    fn text(&self) -> String {
        match self.next() {
            Seen::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

/// Any number of wakes is one call, from any thread; a wake during the call leads to another.
#[test]
fn wakes_are_one_until_they_are_heard() {
    let server = Steered::start(|_| {});
    let (_peer, _, waker) = server.open();
    let (_other, _, others) = server.open();
    // The loop is busy while the lock is held: it cannot get to the next.
    let lock = server.orders.lock().expect("no panic");
    waker.wake_by_ref();
    assert!(matches!(server.next(), Seen::Woken));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| waker.wake_by_ref()));
        }
        (0..1_000).for_each(|_| others.wake_by_ref());
    });
    drop(lock);
    assert!(matches!((server.next(), server.next()), (Seen::Woken, Seen::Woken)));
    assert!(server.is_silent());
    server.order(&waker, &["wake"]);
    assert!(matches!(server.next(), Seen::Woken));
    assert!(server.is_silent());
}

/// A waker that outlives its connection wakes nothing, even when another connection has its place.
#[test]
fn a_waker_of_the_past_wakes_nobody() {
    let server = Steered::start(|_| {});
    let (peer, old, waker) = server.open();
    drop(peer);
    assert!(matches!(server.next(), Seen::Closed(Err(Error::Lost(_)))));
    assert!(matches!(server.next(), Seen::Dropped));
    let (_peer, new, _) = server.open();
    assert_ne!(old, new);
    waker.wake();
    assert!(server.is_silent());
}

/// A paused connection delivers nothing more and is not read, while writing goes on; afterwards everything is delivered, in
/// order and once.
#[test]
fn paused_and_resumed() {
    let server = Steered::start(|_| {});
    let (mut peer, _, waker) = server.open();
    peer.write_all(&[text("both"), text("pause"), text("one"), text("two")].concat()).expect("written");
    assert_eq!([server.text(), server.text()], ["both", "pause"]);
    assert!(server.is_silent());
    server.order(&waker, &["from outside"]);
    expect(&mut peer, &plain(TEXT, b"from outside"));
    peer.write_all(&text("three")).expect("written");
    assert!(server.is_silent());
    server.order(&waker, &["resume"]);
    assert_eq!([server.text(), server.text(), server.text()], ["one", "two", "three"]);
    [&b"one"[..], b"two", b"three"].into_iter().for_each(|word| expect(&mut peer, &plain(TEXT, word)));
    // Nothing carries over: the next one is paused or not on its own.
    peer.write_all(&text("four")).expect("written");
    assert_eq!(server.text(), "four");
}

/// N-05: what a peer sends to a paused connection stays in the system's buffers, and the peer's.
#[test]
fn a_paused_connection_is_not_read() {
    let server = Steered::start(|_| {});
    let (mut peer, _, waker) = server.open();
    peer.write_all(&text("pause")).expect("written");
    assert_eq!(server.text(), "pause");
    peer.set_nonblocking(true).expect("set");
    let message = text(&"x".repeat(60_000));
    let mut sent = Vec::new();
    let started = Instant::now();
    let mut blocked = None;
    while blocked.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(200)) {
        assert!(started.elapsed() < PATIENCE && sent.len() < 64 << 20, "it is read");
        let rest = &message[sent.len() % message.len()..];
        match peer.write(rest) {
            Ok(n) => {
                sent.extend_from_slice(&rest[..n]);
                blocked = None;
            }
            Err(_) => {
                blocked.get_or_insert_with(Instant::now);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert!(server.is_silent());
    drop(waker);
}

/// C-08: a peer whose pong is among what is not read is not given up. Its silence is noticed when reading resumes.
#[test]
fn who_is_not_read_is_not_late() {
    let server = Steered::start(|config| {
        config.timeouts.keepalive = Some(Duration::from_millis(100));
        config.timeouts.pong = Duration::from_secs(2);
    });
    let (mut peer, _, waker) = server.open();
    peer.write_all(&text("pause")).expect("written");
    assert_eq!(server.text(), "pause");
    expect(&mut peer, &plain(PING, b""));
    std::thread::sleep(Duration::from_millis(2_500));
    peer.write_all(&masked(PONG, b"")).expect("written");
    assert!(server.is_silent());
    server.order(&waker, &["resume"]);
    assert!(matches!(server.next(), Seen::RoundTrip(Some(_))));
    // Pings continue, and the round trip of each pong is reported, once.
    expect(&mut peer, &plain(PING, b""));
    peer.write_all(&[masked(PONG, b""), masked(PONG, b"not asked for")].concat()).expect("written");
    match server.next() {
        Seen::RoundTrip(Some(took)) => assert!(took < Duration::from_secs(2), "{took:?}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(server.next(), Seen::RoundTrip(None)));
    assert!(matches!(server.next(), Seen::Closed(Err(Error::Timeout(_)))));
}

/// A handler that sends more than the peer reads is told so, and told when there is room again, once each.
#[test]
fn drained_when_all_has_left() {
    let server = Steered::start(|_| {});
    let (mut peer, _, waker) = server.open();
    server.order(&waker, &["fill"]);
    assert!(matches!(server.next(), Seen::Stalled) && server.is_silent());
    let reading = std::thread::spawn(move || {
        let mut count = 0;
        loop {
            match read_frame(&mut peer) {
                (BINARY, payload) => assert!(payload == [7; 50_000]),
                end => break assert_eq!(end, (TEXT, b"the end".to_vec())),
            }
            count += 1;
        }
        assert!(count > 0);
        peer
    });
    assert!(matches!(server.next(), Seen::Drained));
    server.order(&waker, &["the end"]);
    let _peer = reading.join().expect("all that was sent");
    assert!(server.is_silent());
}

/// Each connection has a timer of the application's, which is asked for again whenever something happens.
#[test]
fn ticks() {
    // No other deadline comes at which it might be checked.
    let server = Steered::start(|config| config.timeouts.keepalive = None);
    let (mut peer, _, waker) = server.open();
    for _ in 0..2 {
        let started = Instant::now();
        server.order(&waker, &["tick"]);
        assert!(matches!(server.next(), Seen::Tick));
        assert!(started.elapsed() >= Duration::from_millis(90), "{:?}", started.elapsed());
        assert!(server.is_silent());
    }
    // Also while it is paused, and while something is half received.
    peer.write_all(&text("pause")).expect("written");
    peer.write_all(&text("tick")).expect("written");
    assert_eq!(server.text(), "pause");
    server.order(&waker, &["tick"]);
    assert!(matches!(server.next(), Seen::Tick));
}

/// An end that waits for nothing, and reports which one it was.
#[test]
fn aborted() {
    for way in ["event", "paused", "woken"] {
        let server = Steered::start(|_| {});
        let (mut peer, _, waker) = server.open();
        match way {
            "event" => {
                peer.write_all(&[text("abort"), text("never seen")].concat()).expect("written");
                assert_eq!(server.text(), "abort");
            }
            "paused" => {
                peer.write_all(&text("pause")).expect("written");
                assert_eq!(server.text(), "pause");
                server.order(&waker, &["abort"]);
            }
            _ => server.order(&waker, &["abort"]),
        }
        assert!(matches!(server.next(), Seen::Closed(Err(Error::Aborted))), "{way}");
        assert!(matches!(server.next(), Seen::Dropped), "{way}");
        expect(&mut peer, &plain(TEXT, b"last words"));
        assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)), "{way}");
        assert!(server.is_silent(), "{way}");
    }
}

/// 7.1.1: the application is told of the end when both close frames are through, or a rule is broken, and not when the
/// peer comes to hang up; it is told once.
#[test]
fn closed_before_the_peer_hangs_up() {
    for (way, frame) in [
        ("theirs", masked(CLOSE, &1000_u16.to_be_bytes())),
        ("ours", text("close")),
        ("violation", plain(TEXT, b"not masked")),
    ] {
        // Longer than anybody waits here, and less.
        for linger in [Duration::from_secs(600), Duration::from_millis(100)] {
            let server = Steered::start(|config| config.timeouts.linger = linger);
            let (mut peer, ..) = server.open();
            peer.write_all(&frame).expect("written");
            if way == "ours" {
                assert_eq!(server.text(), "close");
                peer.write_all(&masked(CLOSE, &[])).expect("written");
            }
            match server.next() {
                Seen::Closed(Ok(())) => assert_ne!(way, "violation"),
                Seen::Closed(Err(Error::Violation(_))) => assert_eq!(way, "violation"),
                other => panic!("{way}: {other:?}"),
            }
            assert!(matches!(server.next(), Seen::Dropped), "{way}");
            assert_eq!(server.remote.connection_count(), 0, "{way}: it is none any more");
            let (mut rest, mut buffer) = (Vec::new(), [0; 64]);
            while let Ok(n @ 1..) = peer.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(rest.first(), Some(&CLOSE), "{way}");
            // The loop lingers, until the peer has had its time.
            if linger < PATIENCE {
                until("a reset", || peer.write_all(b"?").is_err());
            }
            assert!(server.is_silent(), "{way}: nothing more is said");
            assert_eq!(server.remote.connection_count(), 0, "{way}");
        }
    }
}

/// A connection that was opened elsewhere continues here, with what was received before; loops that shut down end with the
/// last one, and accept none after that.
#[test]
fn adopted() {
    let mut epoch = None;
    let mut server = Steered::with(|app| {
        Running::unbound(
            |settings| {
                settings.loops = 2;
                epoch = Some(settings.epoch);
            },
            app,
        )
    });
    let remote = server.remote.clone();
    let adopt = |early: &[u8], state: Box<dyn Any + Send>| {
        let (peer, ours) = sockets();
        let now = core::Instant::since(epoch.expect("set"), Instant::now());
        let connection = Connection::server(Config::server(), now);
        let session = Session::with_storage(connection, early.to_vec(), early.len());
        (peer, remote.adopt(ours.into(), session, state))
    };
    let told = server.told.clone();
    let kept = || Box::new(Kept { deadline: None, told: told.clone() });

    let mut peers = Vec::new();
    let mut loops = Vec::new();
    for n in 0..4 {
        let early = text(&format!("early {n}"));
        let (mut peer, result) = adopt(&[&early[..], &early[..7]].concat(), kept());
        assert!(result.is_ok());
        loops.push(format!("{:?}", server.opened().0));
        assert_eq!(server.text(), format!("early {n}"));
        expect(&mut peer, &plain(TEXT, format!("early {n}").as_bytes()));
        peer.write_all(&early[7..]).expect("written");
        assert_eq!(server.text(), format!("early {n}"));
        peers.push(peer);
    }
    // Each to the loop that has the fewest.
    let of_first = loops.iter().filter(|id| id.contains("loop_index: 0")).count();
    assert_eq!((of_first, server.remote.connection_count()), (2, 4));

    // One that its handler does not recognise is dropped.
    let (mut stranger, result) = adopt(&[], Box::new("a stranger"));
    assert!(result.is_ok());
    assert!(matches!(stranger.read(&mut [0]), Ok(0) | Err(_)));

    server.remote.wind_down();
    let mut last = peers.pop().expect("four");
    for peer in peers {
        drop(peer);
        assert!(matches!(server.next(), Seen::Closed(Err(Error::Lost(_)))));
        assert!(matches!(server.next(), Seen::Dropped));
    }
    last.write_all(&text("still here")).expect("written");
    assert_eq!(server.text(), "still here");
    last.write_all(&masked(CLOSE, &[])).expect("written");
    assert!(matches!(server.next(), Seen::Closed(Ok(()))));
    assert!(matches!(server.next(), Seen::Dropped));
    drop(last);
    server.server.end();
    let back = adopt(&[], kept()).1.expect_err("they have ended");
    assert!(server.is_silent() && back.state.is::<Kept>() && back.session.buffered() == 0, "{back}");
    drop(back);
    assert!(matches!(server.next(), Seen::Dropped));
}
