//! Clients on a server's loops: beside its own connections, and alone.

mod support;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use support::read_head;
use ws_mio::core::{CloseCode, CloseFrame, Config, Event, HandshakeError, RequestError, UriError};
use ws_mio::{
    Acceptance, Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Refusal, Remote, RemoteError,
    Server, Settings, Visitor,
};

/// The tag of an answer that comes too late.
const UNWANTED: u64 = u64::MAX;

/// What a handler saw.
#[derive(Debug)]
enum Seen {
    Accepted,
    Connected { id: ConnId, tag: u64, protocol: Option<String>, extra: Option<Vec<u8>> },
    Failed(u64, ConnectError),
    Text(ConnId, String),
    Closed(ConnId, Result<(), Error>),
    NotOpened,
}

/// A connection's side, and what is done with its texts.
enum Side {
    Echo,
    /// As a client: told to the test.
    Tell,
    /// As a server: passed on to a client of its own, on the same loop.
    Proxy,
    /// That client's: passed back.
    Back(ConnId),
}

struct App {
    seen: Sender<Seen>,
    /// Where the proxy leads.
    target: Option<SocketAddr>,
    /// Those for whom something is being connected, by tags.
    asked: HashMap<u64, ConnId>,
    /// Where what comes from a proxy's client goes, or waits to go.
    upstreams: HashMap<ConnId, Result<ConnId, Vec<String>>>,
}

impl Handler for App {
    type State = Side;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<Side>, Refusal> {
        let request = visitor.request();
        match request.path() {
            b"/no" => Err(Refusal::new(403, "not you")),
            b"/proxy" => Ok(Acceptance::new(Side::Proxy)),
            _ => Ok(Acceptance {
                protocol: request.protocols().last().map(str::to_owned),
                headers: vec![("X-Extra".to_owned(), b"yes".to_vec())],
                ..Acceptance::new(Side::Echo)
            }),
        }
    }

    fn open(&mut self, peer: &mut Peer<'_, Side>) {
        match peer.state {
            Side::Proxy => {
                let mut connect = Connect::new("ws://target/echo", self.target.expect("a target"));
                connect.tag = 1_000 + self.asked.len() as u64;
                self.asked.insert(connect.tag, peer.id());
                self.upstreams.insert(peer.id(), Err(Vec::new()));
                peer.remote().connect_on(peer.id().loop_index(), connect).expect("room");
            }
            Side::Echo => drop(self.seen.send(Seen::Accepted)),
            Side::Back(client) => {
                if let Some(Err(waiting)) = self.upstreams.insert(*client, Ok(peer.id())) {
                    waiting.iter().for_each(|text| peer.send(&**text).expect("room"));
                }
            }
            Side::Tell => {}
        }
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Side>) {
        let Event::Text(text) = event else { return };
        let id = peer.id();
        let remote = peer.remote().clone();
        match peer.state {
            Side::Echo => drop(peer.send(text)),
            Side::Tell => drop(self.seen.send(Seen::Text(id, text.to_owned()))),
            Side::Proxy => match self.upstreams.get_mut(&id).expect("since it is open") {
                Ok(upstream) => remote.send(*upstream, text).expect("room"),
                Err(waiting) => waiting.push(text.to_owned()),
            },
            Side::Back(client) => drop(remote.send(*client, text)),
        }
    }

    fn connected(&mut self, answer: &Answer<'_>) -> Option<Side> {
        assert!(answer.peer_addr().expect("there").ip().is_loopback());
        if let Some(client) = self.asked.remove(&answer.tag()) {
            assert_eq!(client.loop_index(), answer.id().loop_index());
            return Some(Side::Back(client));
        }
        let response = answer.response();
        let _ = self.seen.send(Seen::Connected {
            id: answer.id(),
            tag: answer.tag(),
            protocol: response.protocol().map(str::to_owned),
            extra: response.field("x-extra").map(<[u8]>::to_vec),
        });
        (answer.tag() != UNWANTED).then_some(Side::Tell)
    }

    fn not_connected(&mut self, tag: u64, error: ConnectError) {
        let _ = self.seen.send(Seen::Failed(tag, error));
    }

    fn closed(&mut self, id: ConnId, _: Side, end: Result<(), Error>) {
        let _ = self.seen.send(Seen::Closed(id, end));
    }

    fn failed(&mut self, _: Error) {
        let _ = self.seen.send(Seen::NotOpened);
    }
}

/// Loops on threads of their own. Dropped, they end.
struct Running {
    address: SocketAddr,
    remote: Remote,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start(listens: bool, target: Option<SocketAddr>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new();
        settings.loops = 1;
        change(&mut settings);
        let server = if listens {
            Server::bind("127.0.0.1:0".parse().expect("an address"), settings).expect("bound")
        } else {
            Server::unbound(settings).expect("loops")
        };
        let (address, remote) = (server.local_addr(), server.remote());
        assert_eq!(address.port() != 0, listens);
        let (sender, seen) = channel();
        let sender = std::sync::Mutex::new(sender);
        let handler = move |_| App {
            seen: sender.lock().expect("no panic").clone(),
            target,
            asked: HashMap::new(),
            upstreams: HashMap::new(),
        };
        let thread = Some(std::thread::spawn(move || server.run(handler)));
        Self { address, remote, seen, thread }
    }

    fn server() -> Self {
        Self::start(true, None, |_| {})
    }

    fn clients() -> Self {
        Self::start(false, None, |_| {})
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(Duration::from_secs(10)).expect("something")
    }

    fn failure(&self) -> (u64, ConnectError) {
        match self.next() {
            Seen::Failed(tag, error) => (tag, error),
            other => panic!("{other:?}"),
        }
    }

    fn connected(&self) -> ConnId {
        match self.next() {
            Seen::Connected { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    fn text(&self) -> String {
        match self.next() {
            Seen::Text(_, text) => text,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.shut_down(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn to(address: SocketAddr, path: &str, tag: u64) -> Connect {
    let mut connect = Connect::new(format!("ws://localhost{path}"), address);
    connect.tag = tag;
    connect
}

/// From another thread, on loops without a listener: the answer can be read, texts go both ways, and it ends cleanly.
#[test]
fn clients_alone() {
    let (server, clients) = (Running::server(), Running::clients());
    let mut connect = to(server.address, "/echo", 7);
    connect.protocols = vec!["a".to_owned(), "b".to_owned()];
    clients.remote.connect(connect).expect("room");
    let id = match clients.next() {
        Seen::Connected { id, tag: 7, protocol, extra } => {
            assert_eq!((protocol.as_deref(), extra.as_deref()), (Some("b"), Some(&b"yes"[..])));
            id
        }
        other => panic!("{other:?}"),
    };
    for len in [0, 1, 125, 126, 70_000, 1 << 20] {
        let text = "x".repeat(len);
        clients.remote.send(id, text.as_str()).expect("sent");
        assert_eq!(clients.text(), text);
    }
    let frame = CloseFrame { code: CloseCode::NORMAL, reason: "done" };
    clients.remote.close(id, Some(frame)).expect("sent");
    assert!(matches!(clients.next(), Seen::Closed(other, Ok(())) if other == id));
    assert!(matches!(server.next(), Seen::Accepted));
    assert!(matches!(server.next(), Seen::Closed(_, Ok(()))));
    assert_eq!((clients.remote.connections(), server.remote.connections()), (0, 0));
}

/// A loop connects to itself: both ends on one thread.
#[test]
fn both_ends_on_one_loop() {
    let running = Running::server();
    running.remote.connect(to(running.address, "/echo", 1)).expect("room");
    let mut id = None;
    for _ in 0..2 {
        match running.next() {
            Seen::Connected { id: client, .. } => id = Some(client),
            Seen::Accepted => {}
            other => panic!("{other:?}"),
        }
    }
    running.remote.send(id.expect("connected"), "round").expect("sent");
    assert_eq!(running.text(), "round");
}

/// From the loop itself, on the same loop: a proxy, whose two connections need no other thread.
#[test]
fn a_proxy() {
    let target = Running::server();
    let proxy = Running::start(true, Some(target.address), |settings| settings.loops = 2);
    let clients = Running::clients();
    clients.remote.connect(to(proxy.address, "/proxy", 1)).expect("room");
    let id = clients.connected();
    for number in 0..100 {
        let text = format!("through {number}");
        clients.remote.send(id, text.as_str()).expect("sent");
        if number % 10 == 9 {
            (0..10).for_each(|last| assert_eq!(clients.text(), format!("through {}", number - 9 + last)));
        }
    }
    clients.remote.close(id, None).expect("sent");
    assert!(matches!(clients.next(), Seen::Closed(_, Ok(()))));
}

/// HC-01, HC-04, HC-07, HC-11: each failure comes once, with its tag, and nothing else does.
#[test]
fn failures_come_once() {
    let server = Running::server();
    let clients = Running::clients();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let by_hand = TcpListener::bind("127.0.0.1:0").expect("a port");
    let bad = by_hand.local_addr().expect("bound");
    let mut with_header = to(server.address, "/", 3);
    with_header.headers = vec![("Host".to_owned(), b"other".to_vec())];
    let mut without_address = to(server.address, "/", 5);
    without_address.addresses.clear();
    let mut both_refused = to(nobody, "/", 6);
    both_refused.addresses.push(nobody);
    for connect in [
        to(nobody, "/", 1),
        to(server.address, "/#x", 2),
        with_header,
        to(server.address, "/no", 4),
        without_address,
        both_refused,
        to(bad, "/", 7),
    ] {
        clients.remote.connect(connect).expect("room");
    }
    let (mut peer, _) = by_hand.accept().expect("somebody");
    read_head(&mut peer);
    peer.write_all(
        b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    )
    .expect("written");
    let mut failures: Vec<_> = (0..7).map(|_| clients.failure()).collect();
    failures.sort_by_key(|(tag, _)| *tag);
    let refused = io::ErrorKind::ConnectionRefused;
    for (at, (tag, error)) in failures.into_iter().enumerate() {
        assert_eq!(tag, at as u64 + 1);
        let expected = match &error {
            ConnectError::Connect(error) if tag == 5 => error.kind() == io::ErrorKind::AddrNotAvailable,
            ConnectError::Connect(error) => matches!(tag, 1 | 6) && error.kind() == refused,
            ConnectError::Uri(error) => tag == 2 && *error == UriError::Fragment,
            ConnectError::Request(error) => tag == 3 && *error == RequestError::ReservedHeader,
            ConnectError::Status(refusal) => {
                tag == 4 && refusal.status == 403 && refusal.body == b"not you" && !refusal.headers.is_empty()
            }
            ConnectError::Handshake(error) => tag == 7 && *error == HandshakeError::Accept,
            _ => false,
        };
        assert!(expected, "{tag}: {error:?}");
    }
    assert!(clients.seen.recv_timeout(Duration::from_millis(50)).is_err());
    assert_eq!(clients.remote.connections(), 0);
}

/// The first address is refused, the second takes it.
#[test]
fn the_next_address() {
    let server = Running::server();
    let clients = Running::clients();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let mut connect = to(nobody, "/echo", 1);
    connect.addresses.push(server.address);
    clients.remote.connect(connect).expect("room");
    clients.connected();
    let resolved = Connect::resolve(format!("ws://localhost:{}/echo", server.address.port())).expect("known");
    assert!(resolved.addresses.contains(&server.address));
    clients.remote.connect(resolved).expect("room");
    clients.connected();
    assert!(matches!(Connect::resolve("http://localhost"), Err(ConnectError::Uri(UriError::Scheme))));
    assert!(matches!(Connect::resolve("ws://name.invalid/"), Err(ConnectError::Resolve(_))));
}

/// An address that swallows everything takes its share of the time, and the next one is tried.
#[test]
#[cfg(target_os = "linux")]
fn an_address_that_swallows_everything() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&loopback.into()).expect("bound");
    socket.listen(0).expect("listening");
    let full: SocketAddr = socket.local_addr().expect("bound").as_socket().expect("an address");
    // Nobody accepts these, and there is no room for more.
    let _waiting: Vec<_> =
        (0..4).map(|_| TcpStream::connect_timeout(&full, Duration::from_millis(100))).collect();
    let server = Running::server();
    let clients = Running::start(false, None, |settings| {
        let mut config = Config::client();
        config.timeouts.handshake = Duration::from_secs(2);
        settings.client = config.into();
    });
    let started = std::time::Instant::now();
    let mut connect = to(full, "/echo", 1);
    connect.addresses.push(server.address);
    clients.remote.connect(connect).expect("room");
    clients.connected();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    let mut connect = to(full, "/echo", 2);
    connect.addresses.push(full);
    clients.remote.connect(connect).expect("room");
    match clients.failure() {
        (2, ConnectError::Connect(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        (2, ConnectError::Timeout) => {}
        other => panic!("{other:?}"),
    }
}

/// HC-18: a server that does not answer, and one whose backlog is all that answers.
#[test]
fn hc_18_in_time() {
    let clients = Running::start(false, None, |settings| {
        let mut config = Config::client();
        config.timeouts.handshake = Duration::from_millis(100);
        settings.client = config.into();
    });
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    clients.remote.connect(to(silent.local_addr().expect("bound"), "/", 1)).expect("room");
    assert!(matches!(clients.failure(), (1, ConnectError::Timeout)));
    // The connection's own limits come first.
    let mut patient = to(silent.local_addr().expect("bound"), "/", 2);
    let mut config = Config::client();
    config.timeouts.handshake = Duration::from_secs(60);
    patient.config = Some(config.into());
    clients.remote.connect(patient).expect("room");
    assert!(clients.seen.recv_timeout(Duration::from_millis(300)).is_err());
}

/// N-01: as many connections as a loop may have, those that it makes included.
#[test]
fn n01_max_connections() {
    let server = Running::server();
    let clients = Running::start(false, None, |settings| settings.max_connections = 2);
    for tag in 0..3 {
        clients.remote.connect(to(server.address, "/echo", tag)).expect("room");
    }
    let (mut open, mut full) = (Vec::new(), 0);
    for _ in 0..3 {
        match clients.next() {
            Seen::Connected { id, .. } => open.push(id),
            Seen::Failed(_, ConnectError::Full) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((open.len(), full), (2, 1));
    clients.remote.close(open[0], None).expect("sent");
    assert!(matches!(clients.next(), Seen::Closed(..)));
    // It counts until its server has hung up.
    let began = std::time::Instant::now();
    loop {
        clients.remote.connect(to(server.address, "/echo", 9)).expect("room");
        match clients.next() {
            Seen::Connected { tag: 9, .. } => break,
            Seen::Failed(9, ConnectError::Full) => assert!(began.elapsed() < Duration::from_secs(5)),
            other => panic!("{other:?}"),
        }
    }
}

/// Orders wait within bounds.
#[test]
fn a_full_inbox() {
    let clients = Running::start(false, None, |settings| settings.max_inbox = 4 << 10);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let mut fulls = 0;
    for tag in 0..100_000 {
        match clients.remote.connect(to(address, "/", tag)) {
            Ok(()) => {}
            Err(RemoteError::Full) => {
                fulls += 1;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(fulls, 1);
}

/// An end while something is being connected: each is told, and after it nothing is taken.
#[test]
fn an_end_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut clients = Running::clients();
    for tag in 0..10 {
        clients.remote.connect(to(silent.local_addr().expect("bound"), "/", tag)).expect("room");
    }
    clients.remote.shut_down(Duration::from_secs(10));
    clients.thread.take().expect("running").join().expect("no panic").expect("an orderly end");
    let mut tags: Vec<_> = clients
        .seen
        .try_iter()
        .map(|seen| match seen {
            Seen::Failed(tag, ConnectError::Stopped) => tag,
            other => panic!("{other:?}"),
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..10).collect::<Vec<_>>());
    let late = clients.remote.connect(to(silent.local_addr().expect("bound"), "/", 11));
    assert_eq!(late, Err(RemoteError::Stopped));
}

/// What an application does not want any more is closed.
#[test]
fn an_answer_that_nobody_wants() {
    let (server, clients) = (Running::server(), Running::clients());
    clients.remote.connect(to(server.address, "/echo", UNWANTED)).expect("room");
    clients.connected();
    assert!(matches!(server.next(), Seen::Accepted));
    assert!(matches!(server.next(), Seen::Closed(_, Ok(()))));
    assert!(clients.seen.recv_timeout(Duration::from_millis(50)).is_err());
    assert_eq!(clients.remote.connections(), 0);
}

/// A thousand at once, over two loops: each answered, each echoed.
#[test]
fn a_thousand_clients() {
    const COUNT: usize = 1_000;
    let server = Running::start(true, None, |settings| settings.backlog = 4096);
    let clients = Running::start(false, None, |settings| settings.loops = 2);
    for tag in 0..COUNT {
        clients.remote.connect(to(server.address, "/echo", tag as u64)).expect("room");
    }
    let (mut names, mut texts) = (HashMap::new(), 0);
    while texts < COUNT {
        match clients.next() {
            Seen::Connected { id, tag, .. } => {
                assert!(names.insert(id, tag).is_none());
                clients.remote.send(id, tag.to_string().as_str()).expect("sent");
            }
            Seen::Text(id, text) => {
                assert_eq!(text, names[&id].to_string());
                texts += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names.len(), COUNT);
    assert!(names.keys().any(|id| id.loop_index() == 0) && names.keys().any(|id| id.loop_index() == 1));
    assert_eq!(clients.remote.connections(), COUNT);
}

/// permessage-deflate, offered by one configuration and accepted by another.
#[test]
#[cfg(feature = "deflate")]
fn compressed_both_ways() {
    use ws_mio::core::deflate;
    let server = Running::start(true, None, |settings| {
        let mut config = Config::server();
        config.deflate = Some(deflate::Settings::server());
        settings.config = config.into();
    });
    let clients = Running::start(false, None, |settings| {
        let mut config = Config::client();
        config.deflate = Some(deflate::Settings::client());
        settings.client = config.into();
    });
    clients.remote.connect(to(server.address, "/echo", 1)).expect("room");
    let id = clients.connected();
    for round in 0..50 {
        let text =
            format!("{{\"price\":{round},\"name\":\"a name as long as that\"}}").repeat(1 + round * 20);
        clients.remote.send(id, text.as_str()).expect("sent");
        assert_eq!(clients.text(), text);
    }
}

/// HC-20: one at a time to the same address, in order, those whose server says no included; others do not wait for
/// them. Waiting does not count against the deadline, and it ends with the loop.
#[test]
fn hc_20_one_at_a_time() {
    let by_hand = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = Running::server();
    let clients = Running::start(false, None, |settings| {
        settings.loops = 2;
        let mut config = Config::client();
        config.timeouts.handshake = Duration::from_secs(2);
        settings.client = config.into();
    });
    let one = |tag| {
        let mut connect = to(by_hand.local_addr().expect("bound"), "/", tag);
        connect.one_at_a_time = true;
        connect
    };
    for tag in 0..5 {
        clients.remote.connect(one(tag)).expect("room");
    }
    let mut beside = to(other.address, "/echo", 9);
    beside.one_at_a_time = true;
    clients.remote.connect(beside).expect("room");
    clients.connected();
    for tag in 0..4 {
        let (mut peer, _) = by_hand.accept().expect("somebody");
        peer.set_nonblocking(false).expect("set");
        let head = read_head(&mut peer);
        by_hand.set_nonblocking(true).expect("set");
        // Four times this is more than anyone has.
        std::thread::sleep(Duration::from_millis(600));
        assert!(by_hand.accept().is_err(), "another one beside it");
        by_hand.set_nonblocking(false).expect("set");
        if tag % 2 == 0 {
            peer.write_all(b"HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n").expect("written");
            assert!(matches!(clients.failure(), (other, ConnectError::Status(_)) if other == tag));
        } else {
            peer.write_all(&answer(&head)).expect("written");
            assert!(matches!(clients.next(), Seen::Connected { tag: other, .. } if other == tag));
            drop(peer);
            assert!(matches!(clients.next(), Seen::Closed(..)));
        }
    }
    // The last one takes too long, and so does nobody behind it: they are told of the end.
    let (_silent, _) = by_hand.accept().expect("somebody");
    clients.remote.connect(one(5)).expect("room");
    clients.remote.connect(one(6)).expect("room");
    assert!(matches!(clients.failure(), (4, ConnectError::Timeout)));
    clients.remote.shut_down(Duration::from_secs(10));
    let mut told = Vec::new();
    while told.len() < 2 {
        match clients.next() {
            Seen::Failed(tag, ConnectError::Stopped) => told.push(tag),
            // The one beside them.
            Seen::Closed(..) => {}
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    assert_eq!(told, [5, 6]);
}

/// What answers a request.
fn answer(head: &str) -> Vec<u8> {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = ws_mio::core::handshake::accept_key(key.as_bytes());
    let accept = str::from_utf8(&accept).expect("base64");
    format!(
        "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// A server's end, which answered by hand, and the client's name.
fn open_by_hand(clients: &Running) -> (TcpStream, ConnId) {
    let by_hand = TcpListener::bind("127.0.0.1:0").expect("a port");
    clients.remote.connect(to(by_hand.local_addr().expect("bound"), "/", 1)).expect("room");
    let (mut peer, _) = by_hand.accept().expect("somebody");
    let head = read_head(&mut peer);
    peer.write_all(&answer(&head)).expect("written");
    (peer, clients.connected())
}

/// N-02: what may wait for a server that does not read is what the client's configuration says, and not that of the
/// server on the same loop.
#[test]
fn n02_limits_of_its_own() {
    const LEN: usize = 1 << 20;
    for (max_queue, least, most) in [(16 * LEN, 8, 8), (LEN, 1, 7)] {
        let clients = Running::start(true, None, |settings| {
            let (mut server, mut client) = (Config::server(), Config::client());
            server.limits.max_queue = if max_queue == LEN { 16 * LEN } else { LEN };
            client.limits.max_queue = max_queue;
            (settings.config, settings.client) = (server.into(), client.into());
        });
        let (mut peer, id) = open_by_hand(&clients);
        let bytes = vec![7; LEN];
        for _ in 0..8 {
            clients.remote.send(id, &bytes[..]).expect("sent");
            // Each in a turn of its own.
            std::thread::sleep(Duration::from_millis(10));
        }
        clients.remote.close(id, None).expect("sent");
        let mut frames = 0;
        loop {
            let mut head = [0; 14];
            peer.read_exact(&mut head[..6]).expect("a frame");
            if head[0] == support::CLOSE {
                break;
            }
            peer.read_exact(&mut head[6..]).expect("a long head");
            peer.read_exact(&mut vec![0; LEN]).expect("a payload");
            frames += 1;
        }
        assert!((least..=most).contains(&frames), "{frames} of 8 messages, with room for {max_queue} bytes");
    }
}

/// A peer that goes right after its answer is a connection, opened and closed.
#[test]
fn a_short_life() {
    let clients = Running::clients();
    let (peer, id) = open_by_hand(&clients);
    drop(peer);
    match clients.next() {
        Seen::Closed(other, Err(Error::Lost(_))) => assert_eq!(other, id),
        other => panic!("{other:?}"),
    }
}
