//! Connections that were opened elsewhere and come too late, or to a loop that cannot take them: their owner is still
//! told of the end, once.

mod support;

use std::any::Any;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::Duration;

use support::running::{Given, Running};
use support::{BINARY, CLOSE, PATIENCE, dial, expect, masked, plain, sockets};
use ws_mio::core::{Config, Connection, Event, Instant, Session};
use ws_mio::{ConnId, Error, Handler, NotAdopted, Peer, Remote};

#[derive(Debug)]
enum Seen {
    Open(u32),
    Closed(u32, Result<(), Error>),
    Failed,
}

/// A connection with this number is sent that many bytes, more than the system takes at once.
const MUCH: u32 = 32 << 20;

struct App {
    seen: Sender<Seen>,
    /// What is given to the loop when it closes the first one.
    late: Option<(Remote, TcpStream)>,
}

impl Handler for App {
    type State = u32;

    fn adopt(&mut self, state: Box<dyn Any + Send>) -> Option<u32> {
        state.downcast().ok().map(|number| *number)
    }

    fn open(&mut self, peer: &mut Peer<'_, u32>) {
        let _ = self.seen.send(Seen::Open(*peer.state));
        if *peer.state == MUCH {
            peer.send(&*vec![0; MUCH as usize]).expect("the first has room");
        }
    }

    fn event(&mut self, _: Event<'_>, _: &mut Peer<'_, u32>) {}

    fn closed(&mut self, _: ConnId, number: u32, end: Result<(), Error>) {
        let _ = self.seen.send(Seen::Closed(number, end));
        if let Some((remote, stream)) = self.late.take() {
            give(&remote, stream, 2).expect("nobody has told it of the end");
        }
    }

    fn failed(&mut self, _: Error) {
        let _ = self.seen.send(Seen::Failed);
    }
}

fn give(remote: &Remote, stream: TcpStream, number: u32) -> Result<(), Box<NotAdopted>> {
    let session = Session::new(Connection::server(Config::server(), Instant::ZERO));
    remote.adopt(stream, session, Box::new(number))
}

impl Running<Seen> {
    fn start(late: Option<TcpStream>) -> Self {
        let late = Mutex::new(late);
        Self::unbound(
            |_| {},
            move |Given { told, remote, .. }| {
                let late = late.lock().expect("no panic").take();
                App { seen: told, late: late.map(|stream| (remote, stream)) }
            },
        )
    }
}

/// A stream that cannot be polled is reported to its owner.
#[test]
#[cfg(target_os = "linux")]
fn a_loop_that_cannot_take_it() {
    let running = Running::start(None);
    // A file is always ready, so the system cannot wait for it.
    let file = std::fs::File::open("/proc/self/exe").expect("this program");
    let stream = TcpStream::from(std::os::fd::OwnedFd::from(file));
    give(&running.remote, stream, 7).expect("it runs");
    match running.next() {
        Seen::Closed(7, Err(Error::Lost(_))) => {}
        other => panic!("{other:?}"),
    }
    assert!(running.is_silent(), "once");
    assert_eq!(running.remote.connection_count(), 0);
}

/// A blocking stream is made non-blocking: no other connection waits for its peer.
#[test]
fn one_that_blocks() {
    let running = Running::start(None);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut first = dial(listener.local_addr().expect("bound"));
    let (ours, _) = listener.accept().expect("accepted");
    give(&running.remote, ours, MUCH).expect("it runs");
    let (_second, ours) = sockets();
    give(&running.remote, ours.into(), 2).expect("it runs");
    for number in [MUCH, 2] {
        match running.next() {
            Seen::Open(other) => assert_eq!(other, number),
            other => panic!("{other:?}"),
        }
    }
    expect(&mut first, &plain(BINARY, &vec![0; MUCH as usize]));
    first.write_all(&masked(CLOSE, b"\x03\xe8")).expect("written");
    expect(&mut first, &plain(CLOSE, b"\x03\xe8"));
    assert!(matches!(running.next(), Seen::Closed(MUCH, Ok(()))));
}

/// one that comes while the loop is shutting down is told so like those before it, and not kept to the end.
#[test]
fn x18_during_a_shutdown() {
    let mut running = Running::start(None);
    let (mut first, ours) = sockets();
    give(&running.remote, ours.into(), 1).expect("it runs");
    assert!(matches!(running.next(), Seen::Open(1)));
    running.remote.shutdown(10 * PATIENCE);
    expect(&mut first, &plain(CLOSE, b"\x03\xe9"));
    let (mut late, ours) = sockets();
    give(&running.remote, ours.into(), 2).expect("it runs on until the first has ended");
    assert!(matches!(running.next(), Seen::Open(2)));
    for peer in [&mut late, &mut first] {
        peer.write_all(&masked(CLOSE, b"\x03\xe9")).expect("written");
    }
    expect(&mut late, &plain(CLOSE, b"\x03\xe9"));
    let mut closed = Vec::new();
    for _ in 0..2 {
        match running.next() {
            Seen::Closed(number, Ok(())) => closed.push(number),
            other => panic!("{other:?}"),
        }
    }
    closed.sort_unstable();
    assert_eq!(closed, [1, 2]);
    drop((first, late));
    running.end();
    let (_peer, ours) = sockets();
    let back = give(&running.remote, ours.into(), 3).expect_err("it has ended");
    assert_eq!(back.state.downcast_ref(), Some(&3_u32));
    assert!(back.stream.peer_addr().is_ok());
}

/// One that comes after the loop's last check.
#[test]
fn after_the_last_look() {
    let (_late, theirs) = sockets();
    let mut running = Running::start(Some(theirs.into()));
    let (_first, ours) = sockets();
    give(&running.remote, ours.into(), 1).expect("it runs");
    assert!(matches!(running.next(), Seen::Open(1)));
    running.remote.shutdown(Duration::ZERO);
    running.end();
    assert!(matches!(running.next(), Seen::Closed(1, Err(Error::Timeout(_)))));
    assert!(matches!(running.next(), Seen::Closed(2, Err(Error::Lost(_)))));
    assert!(running.seen.try_recv().is_err());
}
