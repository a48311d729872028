//! A paused connection whose peer leaves meanwhile. Over real TCP, against bytes written by hand.

mod support;

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::mpsc::Sender;
use std::time::Duration;

use support::running::Running;
use support::{REQUEST, TEXT, masked};
use ws_mio::core::{Config, Event};
use ws_mio::{Acceptance, ConnId, Error, Handler, Peer, Refusal, Visitor};

#[derive(Debug)]
enum Seen {
    Open(ConnId),
    Text(String),
    Closed(ConnId, Result<(), Error>),
}

struct App(Sender<Seen>);

impl Handler for App {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn open(&mut self, peer: &mut Peer<'_, ()>) {
        let _ = self.0.send(Seen::Open(peer.id()));
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        if let Event::Text(text) = event {
            let _ = self.0.send(Seen::Text(text.to_owned()));
            peer.pause();
        }
    }

    fn woken(&mut self, peer: &mut Peer<'_, ()>) {
        peer.resume();
    }

    fn closed(&mut self, id: ConnId, (): (), end: Result<(), Error>) {
        let _ = self.0.send(Seen::Closed(id, end));
    }
}

impl Running<Seen> {
    /// Without keepalive pings: the end must be noticed without them.
    fn start() -> Self {
        let mut config = Config::server();
        config.timeouts.keepalive = None;
        Self::serve(|settings| settings.config = config.into(), |given| App(given.told))
    }

    /// A paused connection, with more data buffered after what it has handed over.
    fn paused(&self) -> (TcpStream, ConnId) {
        let (mut peer, _) = self.greet(REQUEST);
        let Seen::Open(id) = self.next() else { panic!("not open") };
        peer.write_all(&[masked(TEXT, b"first"), masked(TEXT, b"second")].concat()).expect("written");
        assert!(matches!(self.next(), Seen::Text(text) if text == "first"));
        peer.write_all(&masked(TEXT, b"third")).expect("written");
        (peer, id)
    }

    /// It ends by itself, once.
    fn expect_end(&self, id: ConnId, way: &str) {
        match self.next() {
            Seen::Closed(other, Err(Error::Lost(error))) => {
                assert_eq!(other, id, "{way}");
                assert_ne!(error.kind(), io::ErrorKind::UnexpectedEof, "{way}");
            }
            other => panic!("{way}: {other:?}"),
        }
        assert_eq!(self.remote.connection_count(), 0, "{way}");
        self.remote.waker(id).wake();
        assert!(self.is_silent(), "{way}: once");
    }
}

/// a peer that leaves while it is not read is noticed, by the reset or by a write that fails.
#[test]
#[cfg(target_os = "linux")]
fn x13_gone_while_paused() {
    let server = Running::start();

    let (peer, id) = server.paused();
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("set");
    drop(peer);
    server.expect_end(id, "a reset");

    // It hangs up in an orderly way, and answers with a reset when more comes.
    let (peer, id) = server.paused();
    drop(peer);
    assert!(server.is_silent(), "what it sent before can still be read");
    server.remote.send(id, "anybody?").expect("room");
    server.expect_end(id, "a write, and its answer");
}

/// an orderly end waits behind what was sent before it.
#[test]
fn an_orderly_end_waits() {
    let server = Running::start();
    let (peer, id) = server.paused();
    peer.shutdown(std::net::Shutdown::Write).expect("open");
    assert!(server.is_silent());
    for text in ["second", "third"] {
        server.remote.waker(id).wake();
        assert!(matches!(server.next(), Seen::Text(other) if other == text));
    }
    assert!(server.is_silent());
    server.remote.waker(id).wake();
    match server.next() {
        Seen::Closed(other, Err(Error::Lost(error))) => {
            assert_eq!((other, error.kind()), (id, io::ErrorKind::UnexpectedEof));
        }
        other => panic!("{other:?}"),
    }
}
