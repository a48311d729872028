//! A connection that is held back, and whose peer goes meanwhile. Over real TCP, against bytes written by hand.

mod support;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::{REQUEST, TEXT, masked, read_head};
use ws_mio::core::Event;
use ws_mio::{Acceptance, ConnId, Error, Handler, Peer, Refusal, Remote, Server, Settings, Visitor};

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

struct Running {
    address: SocketAddr,
    remote: Remote,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start() -> Self {
        let mut settings = Settings::new();
        settings.loops = 1;
        let server = Server::bind("127.0.0.1:0".parse().expect("an address"), settings).expect("bound");
        let (address, remote) = (server.local_addr(), server.remote());
        let (sender, seen) = channel();
        let sender = std::sync::Mutex::new(sender);
        let app = move |_| App(sender.lock().expect("no panic").clone());
        let thread = Some(std::thread::spawn(move || server.run(app)));
        Self { address, remote, seen, thread }
    }

    /// A connection that is held back, with something behind what it has handed over.
    fn paused(&self) -> (TcpStream, ConnId) {
        let mut peer = TcpStream::connect(self.address).expect("connected");
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        peer.set_nodelay(true).expect("set");
        peer.write_all(REQUEST).expect("written");
        assert!(read_head(&mut peer).starts_with("HTTP/1.1 101 "));
        let Seen::Open(id) = self.next() else { panic!("not open") };
        peer.write_all(&[masked(TEXT, b"first"), masked(TEXT, b"second")].concat()).expect("written");
        assert!(matches!(self.next(), Seen::Text(text) if text == "first"));
        peer.write_all(&masked(TEXT, b"third")).expect("written");
        (peer, id)
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(Duration::from_secs(10)).expect("something")
    }

    fn is_silent(&self) -> bool {
        self.seen.recv_timeout(Duration::from_millis(100)).is_err()
    }

    /// It ends at once, by itself, once.
    fn expect_end(&self, id: ConnId, way: &str) {
        let began = Instant::now();
        match self.next() {
            Seen::Closed(other, Err(Error::Lost(error))) => {
                assert_eq!(other, id, "{way}");
                assert_ne!(error.kind(), io::ErrorKind::UnexpectedEof, "{way}");
            }
            other => panic!("{way}: {other:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{way}");
        assert_eq!(self.remote.connections(), 0, "{way}");
        self.remote.waker(id).wake();
        assert!(self.is_silent(), "{way}: once");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.shut_down(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking());
        }
    }
}

/// a peer that goes while it is not read is noticed, by the reset as by a write that fails.
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
