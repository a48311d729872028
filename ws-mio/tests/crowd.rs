//! More connections with something to read than a loop takes events in one turn: no deadline passes before what a peer has
//! sent is read, and deadlines pass all the same.

mod support;

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use support::dialling::to;
use support::running::Running;
use support::{REQUEST, TEXT, await_arrival, masked, read_head};
use ws_mio::core::{Config, Event, Instant};
use ws_mio::{Acceptance, Answer, Handler, Peer, Refusal, Visitor};

const PATIENCE: Duration = Duration::from_millis(400);

/// The state of a connection that sends first.
const CALLER: Instant = Instant::from_micros(1);

#[derive(Debug)]
enum Seen {
    Opened,
    /// The loop does nothing until this is dropped.
    Held(Sender<()>),
    Alive,
    GivenUp,
}

/// It gives up connections that are silent for 400 ms: those whose deadline passes after the loop was held.
struct App {
    seen: Sender<Seen>,
    held_at: Option<Instant>,
}

impl Handler for App {
    /// By when it must send something.
    type State = Instant;

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<Instant>, Refusal> {
        Ok(Acceptance::new(Instant::ZERO))
    }

    fn connected(&mut self, _: &Answer<'_>) -> Option<Instant> {
        Some(CALLER)
    }

    fn open(&mut self, peer: &mut Peer<'_, Instant>) {
        if *peer.state == CALLER {
            peer.send("ball").expect("the first has room");
        }
        *peer.state = peer.now().saturating_add(PATIENCE);
        let _ = self.seen.send(Seen::Opened);
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Instant>) {
        match event {
            Event::Text("hold") => {
                self.held_at = Some(peer.now());
                let (release, released): (_, Receiver<()>) = channel();
                let _ = self.seen.send(Seen::Held(release));
                released.recv().expect_err("nothing is said");
            }
            Event::Text("alive") => drop(self.seen.send(Seen::Alive)),
            Event::Text("ball") => peer.send("ball").expect("one at a time has room"),
            _ => return,
        }
        *peer.state = peer.now().saturating_add(Duration::from_secs(3_600));
    }

    fn deadline(&self, until: &Instant) -> Option<Instant> {
        Some(*until)
    }

    fn tick(&mut self, peer: &mut Peer<'_, Instant>) {
        if self.held_at.is_some_and(|at| at < *peer.state) {
            let _ = self.seen.send(Seen::GivenUp);
        }
        *peer.state = peer.now().saturating_add(PATIENCE);
    }
}

impl Running<Seen> {
    fn start(max_events: usize, config: Config) -> Self {
        Self::serve(
            |settings| (settings.max_events, settings.config) = (max_events, config.into()),
            |given| App { seen: given.told, held_at: None },
        )
    }
}

/// C-08: a sign of life that has arrived counts, even if it is read after the deadline.
#[test]
fn c08_signs_of_life_come_first() {
    const COUNT: usize = 40;
    for max_events in [1, 3, 1_024] {
        let server = Running::start(max_events, Config::server());
        let (mut holder, _) = server.greet(REQUEST);
        let mut peers: Vec<_> = (0..COUNT).map(|_| server.greet(REQUEST).0).collect();
        (0..=COUNT).for_each(|_| assert!(matches!(server.next(), Seen::Opened)));
        holder.write_all(&masked(TEXT, b"hold")).expect("written");
        let Seen::Held(release) = server.next() else { panic!("not held") };
        for peer in &mut peers {
            peer.write_all(&masked(TEXT, b"alive")).expect("written");
        }
        peers.last().into_iter().for_each(await_arrival);
        std::thread::sleep(PATIENCE + Duration::from_millis(100));
        drop(release);
        for number in 0..COUNT {
            assert!(matches!(server.next(), Seen::Alive), "{number}, {max_events} a turn");
        }
    }
}

/// HS-31: while others never stop, a deadline passes as well. Between two ends on one loop there is always a message in
/// flight, and so no turn without an event.
#[test]
fn hs_31_in_a_crowd_that_does_not_end() {
    let mut config = Config::server();
    config.timeouts.handshake = Duration::from_millis(200);
    let server = Running::start(1, config);
    for tag in 0..3 {
        server.remote.connect(to(server.address, "/", tag)).expect("room");
    }
    (0..6).for_each(|_| assert!(matches!(server.next(), Seen::Opened)));
    let mut slow = server.dial();
    slow.write_all(&REQUEST[..30]).expect("written");
    assert!(read_head(&mut slow).starts_with("HTTP/1.1 408 "));
}
