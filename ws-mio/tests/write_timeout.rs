//! `Timeouts::write`: a connection whose transport takes nothing is given up, even if its peer shows signs of life.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use support::masked;
use support::running::Running;
use support::{REQUEST, TEXT};
use ws_mio::core::{Config, Event, Instant, Role, Timer};
use ws_mio::{Acceptance, Buffers, ConnId, Error, Handler, Peer, Refusal, Socket, State, Stream, Visitor};

/// A transport that takes as many bytes as it is told to, and has none to read.
struct Narrow {
    room: usize,
}

impl Read for Narrow {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Narrow {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = data.len().min(self.room);
        self.room -= len;
        if len == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Narrow {
    fn shut_down(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

/// The time counts from the last byte that left, and does not run while nothing waits.
#[test]
fn from_the_last_byte_on() {
    for (write, due) in [(Some(Duration::from_secs(60)), Some(121)), (None, None)] {
        let mut config = Config::server();
        (config.timeouts.keepalive, config.timeouts.write) = (None, write);
        let mut buffers = Buffers::new();
        let mut socket =
            Socket::from_upgraded(Narrow { room: 0 }, Role::Server, &[], config, at(0)).expect("a server");
        assert_eq!(socket.deadline(), None);
        socket.send(&mut buffers, at(1), "hello").expect("room");
        assert_eq!(socket.flush(&mut buffers, at(1)).expect("open"), State::Waiting);
        assert_eq!(socket.deadline(), due.map(|_| at(61)));
        // Something leaves, and what waits behind it has its full time.
        socket.stream_mut().room = 1;
        assert_eq!(socket.tick(&mut buffers, at(61)).expect("open"), State::Waiting);
        assert_eq!(socket.deadline(), due.map(at));
        assert_eq!(socket.tick(&mut buffers, at(120)).expect("open"), State::Waiting);
        match (socket.tick(&mut buffers, at(121)), due) {
            (Err(Error::Timeout(Timer::Write)), Some(_)) | (Ok(State::Waiting), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// A transport that has room again by then is not given up, though nothing has checked meanwhile.
#[test]
fn not_for_a_loop_that_was_away() {
    let mut config = Config::server();
    config.timeouts.keepalive = None;
    let mut buffers = Buffers::new();
    let mut socket =
        Socket::from_upgraded(Narrow { room: 0 }, Role::Server, &[], config, at(0)).expect("a server");
    socket.send(&mut buffers, at(1), "hello").expect("room");
    assert_eq!(socket.flush(&mut buffers, at(1)).expect("open"), State::Waiting);
    socket.stream_mut().room = 100;
    assert_eq!(socket.tick(&mut buffers, at(1_000)).expect("open"), State::Waiting);
    assert_eq!(socket.deadline(), None);
}

struct Fills(std::sync::mpsc::Sender<Result<(), Error>>);

impl Handler for Fills {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        if matches!(event, Event::Text("fill")) {
            self.drained(peer);
        }
    }

    /// The system reports room only when there is much, and has some before that.
    fn drained(&mut self, peer: &mut Peer<'_, ()>) {
        while peer.flush() {
            peer.send(&[7; 50_000][..]).expect("room, for all has left");
        }
    }

    fn closed(&mut self, _: ConnId, (): (), end: Result<(), Error>) {
        self.0.send(end).expect("the test waits for it");
    }
}

/// A server's loops keep this timeout, also next to connections to which nothing is sent.
#[test]
fn on_a_loop() {
    let mut config = Config::server();
    config.timeouts.write = Some(Duration::from_millis(500));
    let running = Running::serve(|settings| settings.config = config.into(), |given| Fills(given.told));
    let (_idle, _) = running.greet(REQUEST);
    let (mut peer, _) = running.greet(REQUEST);
    peer.write_all(&masked(TEXT, b"fill")).expect("written");
    assert!(matches!(running.next(), Err(Error::Timeout(Timer::Write))));
    assert!(running.is_silent());
}
