//! Loops that connect, and what they connect to: servers whose answers are written by hand.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};

use ws_mio::core::Event;
use ws_mio::{
    Acceptance, Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Refusal, Settings, Visitor,
};

use super::running::Running;
use super::{PATIENCE, SILENCE, read_head};

/// The outcome of a call.
#[derive(Debug)]
pub(crate) enum Called {
    Connected(u64, ConnId),
    Failed(u64, ConnectError),
    /// The loop does nothing until this is dropped.
    Busy(#[expect(dead_code, reason = "it is dropped")] Sender<()>),
    Closed(ConnId),
}

/// A handler that is told of this call's failure becomes [`Called::Busy`].
pub(crate) const BUSY: u64 = 99;

/// Calls, and accepts calls, except those to `/no`.
pub(crate) struct Caller(Sender<Called>);

impl Handler for Caller {
    /// Whether it has called.
    type State = bool;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<bool>, Refusal> {
        match visitor.request().path() {
            b"/no" => Err(Refusal::new(403, "not you")),
            _ => Ok(Acceptance::new(false)),
        }
    }

    fn event(&mut self, _: Event<'_>, _: &mut Peer<'_, bool>) {}

    fn connected(&mut self, answer: &Answer<'_>) -> Option<bool> {
        let _ = self.0.send(Called::Connected(answer.tag(), answer.id()));
        Some(true)
    }

    fn not_connected(&mut self, tag: u64, error: ConnectError) {
        let _ = self.0.send(Called::Failed(tag, error));
        if tag == BUSY {
            let (release, released) = channel();
            let _ = self.0.send(Called::Busy(release));
            released.recv().expect_err("nothing is said");
        }
    }

    fn closed(&mut self, id: ConnId, has_called: bool, _: Result<(), Error>) {
        if has_called {
            let _ = self.0.send(Called::Closed(id));
        }
    }
}

impl Running<Called> {
    pub(crate) fn callers(change: impl FnOnce(&mut Settings)) -> Self {
        Self::unbound(change, |given| Caller(given.told))
    }

    /// A server to connect to.
    pub(crate) fn called() -> Self {
        Self::serve(|_| {}, |given| Caller(given.told))
    }

    pub(crate) fn connected(&self) -> u64 {
        match self.next() {
            Called::Connected(tag, _) => tag,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn failure(&self) -> (u64, ConnectError) {
        match self.next() {
            Called::Failed(tag, error) => (tag, error),
            other => panic!("{other:?}"),
        }
    }

    /// Ends the loops while this many calls are being made or wait: they are told so. Returns their tags, in order.
    pub(crate) fn stopped(&self, count: usize) -> Vec<u64> {
        let mut tags = Vec::new();
        while tags.len() < count {
            match self.next() {
                Called::Failed(tag, ConnectError::Stopped) => tags.push(tag),
                Called::Closed(_) => {}
                other => panic!("{other:?}"),
            }
        }
        tags.sort_unstable();
        tags
    }
}

pub(crate) fn to(address: SocketAddr, path: &str, tag: u64) -> Connect {
    let mut connect = Connect::new(format!("ws://localhost{path}"), address);
    connect.tag = tag;
    connect
}

/// A server whose answers are written by hand.
pub(crate) struct ByHand(TcpListener);

impl ByHand {
    pub(crate) fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// The next one's connection and request.
    pub(crate) fn next(&self) -> (TcpStream, String) {
        let (mut peer, _) = self.0.accept().expect("somebody");
        peer.set_read_timeout(Some(PATIENCE)).expect("set");
        peer.set_nodelay(true).expect("set");
        let head = read_head(&mut peer);
        (peer, head)
    }

    /// The same; and no other connection comes before that is answered.
    pub(crate) fn only_one(&self) -> (TcpStream, String) {
        let next = self.next();
        std::thread::sleep(SILENCE);
        self.expect_nobody();
        next
    }

    /// Checks that no connection waits to be accepted.
    pub(crate) fn expect_nobody(&self) {
        self.0.set_nonblocking(true).expect("set");
        assert!(self.0.accept().is_err(), "another one beside it");
        self.0.set_nonblocking(false).expect("set");
    }
}
