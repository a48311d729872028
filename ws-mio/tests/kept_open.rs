//! A connection that has ended here while its transport is kept open elsewhere: its events are dropped, and not taken for
//! those of the next connection in its place.
#![cfg(target_os = "linux")]

mod support;

use std::any::Any;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::Sender;
use std::time::Duration;

use support::running::Running;
use support::{TEXT, masked, sockets};
use ws_mio::core::{Config, Connection, Event, Instant, Session};
use ws_mio::{ConnId, Error, Handler, Peer};

#[derive(Debug)]
enum Seen {
    Open(ConnId),
    Closed(u32, Result<(), Error>),
}

struct App(Sender<Seen>);

impl Handler for App {
    type State = u32;

    fn adopt(&mut self, state: Box<dyn Any + Send>) -> Option<u32> {
        state.downcast().ok().map(|number| *number)
    }

    fn open(&mut self, peer: &mut Peer<'_, u32>) {
        peer.pause();
        let _ = self.0.send(Seen::Open(peer.id()));
    }

    fn event(&mut self, _: Event<'_>, _: &mut Peer<'_, u32>) {}

    fn woken(&mut self, peer: &mut Peer<'_, u32>) {
        peer.abort();
    }

    fn closed(&mut self, _: ConnId, number: u32, end: Result<(), Error>) {
        let _ = self.0.send(Seen::Closed(number, end));
    }
}

impl Running<Seen> {
    /// Hands the loop a connection; returns its name there, and its peer.
    fn adopt(&self, number: u32) -> (TcpStream, TcpStream, ConnId) {
        let (peer, ours) = sockets();
        let ours: TcpStream = ours.into();
        let kept = ours.try_clone().expect("room");
        let session = Session::new(Connection::server(Config::server(), Instant::ZERO));
        self.remote.adopt(ours, session, Box::new(number)).expect("it runs");
        let Seen::Open(id) = self.next() else { panic!("not open") };
        (peer, kept, id)
    }

    fn abort(&self, id: ConnId, number: u32) {
        self.remote.waker(id).wake();
        match self.next() {
            Seen::Closed(other, Err(Error::Aborted)) => assert_eq!(other, number),
            other => panic!("{other:?}"),
        }
    }
}

/// a transport that breaks is the end of one connection.
#[test]
fn x13_the_next_in_its_place() {
    let running = Running::<Seen>::unbound(|_| {}, |given| App(given.told));
    let (mut first, kept, id) = running.adopt(1);
    running.abort(id, 1);
    // Paused, it only notices what it is told.
    let (_second, _, next) = running.adopt(2);
    assert_ne!(id, next);
    first.write_all(&masked(TEXT, b"anybody?")).expect("written");
    assert!(running.is_silent());
    socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).expect("set");
    drop(first);
    assert!(running.is_silent());
    running.abort(next, 2);
    drop(kept);
}
