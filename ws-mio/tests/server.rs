//! A server with its loops, over real TCP, against bytes written by hand.

mod support;

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use support::running::{Given, Running};
use support::{
    BINARY, CLOSE, PATIENCE, PING, REQUEST, SILENCE, TEXT, expect, expect_end, masked, plain, read_head,
    with_descriptors,
};
use ws_mio::core::{CloseCode, CloseFrame, Config, Event, Rejection, Timeouts, Timer};
use ws_mio::{Acceptance, ConnId, Error, Handler, Peer, Refusal, RemoteError, Server, Settings, Visitor};

/// What a handler saw.
#[derive(Debug)]
enum Seen {
    Open(usize, ConnId),
    Closed(ConnId, u32, Result<(), Error>),
    Failed(Error),
}

struct App {
    index: usize,
    seen: Sender<Seen>,
}

impl Handler for App {
    /// Messages so far.
    type State = u32;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<u32>, Refusal> {
        assert!(visitor.peer_addr().expect("there").ip().is_loopback());
        match visitor.request().path() {
            b"/secret" => Err(Refusal::new(403, "not you")),
            b"/wrong" => Ok(Acceptance { protocol: Some("not offered".into()), ..Acceptance::new(0) }),
            _ => Ok(Acceptance { protocol: Some("chat".into()), ..Acceptance::new(0) }),
        }
    }

    fn open(&mut self, peer: &mut Peer<'_, u32>) {
        let _ = self.seen.send(Seen::Open(self.index, peer.id()));
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, u32>) {
        match event {
            Event::Text("panic") => panic!("as the peer wishes"),
            Event::Text(text) => drop(peer.send(text)),
            Event::Binary(bytes) => drop(peer.send(&*bytes)),
            _ => return,
        }
        *peer.state += 1;
    }

    fn closed(&mut self, id: ConnId, state: u32, end: Result<(), Error>) {
        let _ = self.seen.send(Seen::Closed(id, state, end));
    }

    fn failed(&mut self, error: Error) {
        let _ = self.seen.send(Seen::Failed(error));
    }
}

impl Running<Seen> {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::serve(change, |Given { index, told, .. }| App { index, seen: told })
    }

    fn with(change: impl FnOnce(&mut Timeouts)) -> Self {
        let mut config = Config::server();
        change(&mut config.timeouts);
        Self::start(|settings| settings.config = config.into())
    }

    fn open(&self) -> (TcpStream, usize, ConnId) {
        let (peer, _) = self.greet(REQUEST);
        match self.next() {
            Seen::Open(index, id) => (peer, index, id),
            other => panic!("{other:?}"),
        }
    }
}

/// Connections are spread over the loops, and each is served by its own.
#[test]
#[cfg(target_os = "linux")]
fn every_loop_serves() {
    let server = Running::start(|settings| settings.loops = 3);
    let mut indices = HashSet::new();
    let mut peers = Vec::new();
    for _ in 0..60 {
        let (mut peer, index, _) = server.open();
        indices.insert(index);
        peer.write_all(&masked(TEXT, b"hello")).expect("written");
        peers.push(peer);
    }
    peers.iter_mut().for_each(|peer| expect(peer, &plain(TEXT, b"hello")));
    assert_eq!(indices.len(), 3);
    assert_eq!(server.remote.connection_count(), 60);
}

/// each connection that was opened is reported closed once, with its state and how it ended.
#[test]
fn every_end_is_reported_once() {
    let server = Running::start(|_| ());
    for clean in [true, false] {
        let (mut peer, _, id) = server.open();
        let big = vec![3; 300_000];
        peer.write_all(&[masked(BINARY, &big), masked(TEXT, b"two")].concat()).expect("written");
        expect(&mut peer, &[plain(BINARY, &big), plain(TEXT, b"two")].concat());
        if clean {
            peer.write_all(&masked(CLOSE, b"\x03\xe8")).expect("written");
            expect(&mut peer, &plain(CLOSE, b"\x03\xe8"));
            expect_end(&mut peer);
        }
        drop(peer);
        match server.next() {
            Seen::Closed(closed, 2, end) => assert_eq!((closed, end.is_ok()), (id, clean)),
            other => panic!("{other:?}"),
        }
    }
    assert!(server.seen.try_recv().is_err());
    assert_eq!(server.remote.connection_count(), 0);
}

/// HS-36, HS-16: the application refuses with its own answer; one that may not be sent becomes a 500; neither counts as a
/// connection.
#[test]
fn the_application_judges() {
    for (path, status) in [("/secret", 403), ("/wrong", 500)] {
        let server = Running::start(|_| ());
        let mut peer = server.dial();
        let request = String::from_utf8_lossy(REQUEST).replace("/chat", path);
        peer.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        peer.read_to_string(&mut answer).expect("FIN, not a reset");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        drop(peer);
        match server.next() {
            Seen::Failed(Error::Rejected(403)) if status == 403 => {}
            Seen::Failed(Error::Answer(_)) if status == 500 => {}
            other => panic!("{other:?}"),
        }
    }
}

/// What other threads send arrives in order, wakes a loop that sleeps, and never reaches another connection.
#[test]
fn other_threads_send() {
    let server = Running::start(|_| ());
    let (mut peer, _, id) = server.open();
    for count in [1, 1_000] {
        (0..count).for_each(|at: u32| server.remote.send(id, &at.to_be_bytes()).expect("room"));
        (0..count).for_each(|at: u32| expect(&mut peer, &plain(BINARY, &at.to_be_bytes())));
    }
    server.remote.send(id, "text").expect("room");
    let frame = CloseFrame { code: CloseCode::RESTART, reason: "soon back" };
    server.remote.close(id, Some(frame)).expect("room");
    expect(&mut peer, &[plain(TEXT, b"text"), plain(CLOSE, b"\x03\xf4soon back")].concat());
    peer.write_all(&masked(CLOSE, b"\x03\xf4")).expect("written");
    expect_end(&mut peer);
    drop(peer);
    assert!(matches!(server.next(), Seen::Closed(_, 0, Ok(()))));
    // The place is taken again, but the name is not reused.
    let (mut other, _, other_id) = server.open();
    assert_ne!(id, other_id);
    server.remote.send(id, "for nobody").expect("accepted");
    server.remote.send(other_id, "for you").expect("room");
    expect(&mut other, &plain(TEXT, b"for you"));
    let unsendable =
        server.remote.close(other_id, Some(CloseFrame { code: CloseCode::NO_STATUS, reason: "" }));
    assert!(matches!(unsendable, Err(RemoteError::Unsendable(_))));
}

/// N-04: what other threads queue for a loop is bounded.
#[test]
fn n04_an_inbox_is_bounded() {
    let mut settings = Settings::new();
    settings.loops = 1;
    settings.max_inbox = 10_000;
    let server = Server::bind("127.0.0.1:0", settings).expect("bound");
    let (remote, app) = (server.remote(), Running::start(|_| ()));
    let (_peer, _, id) = app.open();
    // The loop does not run, so nothing is taken out.
    let accepted = (0..10_000).take_while(|_| remote.send(id, &[0; 100]).is_ok()).count();
    assert!((50..=100).contains(&accepted), "{accepted}");
    assert_eq!(remote.send(id, &[0; 100]), Err(RemoteError::Full));
    remote.shutdown(Duration::ZERO);
    drop(app);
}

/// a server that shuts down sends 1001 and waits for the answers; it accepts no more connections.
#[test]
fn x18_an_orderly_end() {
    let mut server = Running::start(|settings| settings.loops = 2);
    let (mut one, _, _) = server.open();
    let (mut two, _, _) = server.open();
    let halfway = server.dial();
    // Far longer than this may take.
    server.remote.shutdown(10 * PATIENCE);
    for peer in [&mut one, &mut two] {
        expect(peer, &plain(CLOSE, b"\x03\xe9"));
        peer.write_all(&[masked(TEXT, b"last"), masked(CLOSE, b"\x03\xe9")].concat()).expect("written");
    }
    assert!(server.remote.connection_count() <= 3);
    expect_end(&mut one);
    drop((one, two, halfway));
    // No other server gets the port when this one has gone.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    #[cfg(unix)]
    held.set_reuse_port(true).expect("set");
    let _ = held.bind(&server.address.into());
    // It does when the last has ended.
    server.end();
    let refused = TcpStream::connect(server.address).and_then(|mut peer| peer.write_all(b"x").map(|()| peer));
    assert!(refused.is_err() || refused.is_ok_and(|mut peer| peer.read(&mut [0]).map_or(true, |n| n == 0)));
    let (_, _, id) = Running::start(|_| ()).open();
    assert_eq!(server.remote.send(id, "late"), Err(RemoteError::Stopped));
}

/// and those that do not answer are dropped when their time is over.
#[test]
fn x18_an_end_without_answers() {
    let mut server = Running::start(|_| ());
    let (mut peer, _, _) = server.open();
    let began = Instant::now();
    server.remote.shutdown(Duration::from_millis(300));
    server.end();
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    expect(&mut peer, &plain(CLOSE, b"\x03\xe9"));
    assert!(matches!(server.next(), Seen::Closed(_, 0, Err(Error::Timeout(Timer::Close)))));
}

/// HS-31, C-08, X-11: the loop keeps the time of the head, of silence and of the close by itself.
#[test]
fn deadlines_are_kept() {
    let server = Running::with(|timeouts| timeouts.handshake = Duration::from_millis(200));
    let mut slow = server.dial();
    slow.write_all(&REQUEST[..30]).expect("written");
    assert!(read_head(&mut slow).starts_with("HTTP/1.1 408 "));
    drop(slow);
    assert!(matches!(server.next(), Seen::Failed(Error::Request(Rejection::Timeout))));

    let server = Running::with(|timeouts| {
        timeouts.keepalive = Some(Duration::from_millis(100));
        timeouts.pong = Duration::from_secs(2);
    });
    let (mut silent, _, _) = server.open();
    expect(&mut silent, &plain(PING, b""));
    silent.write_all(&masked(0x8a, b"")).expect("written");
    expect(&mut silent, &plain(PING, b""));
    assert!(matches!(server.next(), Seen::Closed(_, 0, Err(Error::Timeout(Timer::Pong)))));

    let server = Running::with(|timeouts| timeouts.close = Duration::from_millis(150));
    let (mut stubborn, _, id) = server.open();
    let began = Instant::now();
    server.remote.close(id, None).expect("room");
    expect(&mut stubborn, &plain(CLOSE, b""));
    assert!(matches!(server.next(), Seen::Closed(_, 0, Err(Error::Timeout(Timer::Close)))));
    assert!(began.elapsed() >= Duration::from_millis(140), "{:?}", began.elapsed());
}

/// A full loop accepts no connection, and the next one as soon as one has gone.
#[test]
fn connections_are_limited() {
    let server = Running::start(|settings| settings.max_connections = 2);
    let (one, _, _) = server.open();
    let (_two, _, _) = server.open();
    let mut three = server.dial();
    three.write_all(REQUEST).expect("written");
    three.set_read_timeout(Some(SILENCE)).expect("set");
    assert!(three.read(&mut [0]).is_err(), "it waits");
    drop(one);
    assert!(matches!(server.next(), Seen::Closed(..)));
    three.set_read_timeout(Some(PATIENCE)).expect("set");
    assert!(read_head(&mut three).starts_with("HTTP/1.1 101 "));
}

/// A handler that panics ends the whole server, and the panic is reported.
#[test]
fn a_panic_is_not_hidden() {
    let mut server = Running::start(|settings| settings.loops = 2);
    let (mut peer, _, _) = server.open();
    peer.write_all(&masked(TEXT, b"panic")).expect("written");
    let panic = server.join().expect_err("a panic");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as the peer wishes"));
}

/// EMFILE: without descriptors a new connection ends at once, the open ones are served, and there is room again
/// when some have gone.
#[test]
#[cfg(target_os = "linux")]
fn out_of_descriptors() {
    use std::io::BufRead;

    const ADDRESS: &str = "listening at ";
    let Some(mut child) = with_descriptors(40, "out_of_descriptors") else {
        let server = Running::start(|_| {});
        println!("\n{ADDRESS}{}", server.address);
        io::stdin().read_to_end(&mut Vec::new()).expect("until it ends");
        return;
    };
    let mut lines = io::BufReader::new(child.stdout.take().expect("piped")).lines();
    let address: SocketAddr = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(ADDRESS)?.parse().ok())
        .expect("an address");
    let dial = || -> io::Result<TcpStream> {
        let mut peer = TcpStream::connect(address)?;
        peer.set_read_timeout(Some(PATIENCE))?;
        peer.write_all(REQUEST)?;
        let mut first = [0; 12];
        peer.read_exact(&mut first)?;
        assert_eq!(&first, b"HTTP/1.1 101");
        read_head(&mut peer);
        Ok(peer)
    };
    let tried: Vec<io::Result<TcpStream>> = (0..60).map(|_| dial()).collect();
    let mut peers = Vec::new();
    for result in tried {
        match result {
            Ok(peer) => peers.push(peer),
            Err(error) => assert!(error.kind() != io::ErrorKind::WouldBlock, "nobody told him: {error}"),
        }
    }
    assert!((10..40).contains(&peers.len()), "{}", peers.len());
    for peer in &mut peers {
        peer.write_all(&masked(TEXT, b"still here")).expect("written");
        expect(peer, &plain(TEXT, b"still here"));
    }
    peers.truncate(5);
    let began = Instant::now();
    let again = loop {
        match dial() {
            Ok(peer) => break peer,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
    };
    drop((again, peers));
    drop(child.stdin.take());
    assert!(child.wait().expect("gone").success());
}
