//! Clients on a server's loops: alongside its own connections, and alone.

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::Duration;

use support::dialling::{ByHand, to};
use support::running::Running;
use support::{CLOSE, PATIENCE, plain, switch, until, with_descriptors};
use ws_mio::core::{CloseCode, CloseFrame, Config, Event};
use ws_mio::{
    Acceptance, Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Refusal, Settings, Visitor,
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

/// The side of a connection, and what is done with its texts.
enum Side {
    Echo,
    /// A client's: reported to the test.
    Tell,
    /// A server's: passed on to a client that it opens on the same loop.
    Proxy,
    /// That client's: passed back.
    Back(ConnId),
}

struct App {
    seen: Sender<Seen>,
    /// Where the proxy leads.
    target: Option<SocketAddr>,
    /// Connections that wait for a client to connect, by tag.
    asked: HashMap<u64, ConnId>,
    /// Where a proxy client's messages go, or wait to go.
    upstreams: HashMap<ConnId, Result<ConnId, Vec<String>>>,
}

impl App {
    fn new(seen: Sender<Seen>, target: Option<SocketAddr>) -> Self {
        Self { seen, target, asked: HashMap::new(), upstreams: HashMap::new() }
    }
}

impl Handler for App {
    type State = Side;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<Side>, Refusal> {
        let request = visitor.request();
        match request.path() {
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

impl Running<Seen> {
    fn server_with(target: Option<SocketAddr>, change: impl FnOnce(&mut Settings)) -> Self {
        Self::serve(change, move |given| App::new(given.told, target))
    }

    fn clients_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::unbound(change, |given| App::new(given.told, None))
    }

    fn server() -> Self {
        Self::server_with(None, |_| {})
    }

    fn clients() -> Self {
        Self::clients_with(|_| {})
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
    assert_eq!((clients.remote.connection_count(), server.remote.connection_count()), (0, 0));
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
    let proxy = Running::server_with(Some(target.address), |settings| settings.loops = 2);
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

/// N-01: a loop's limit of connections includes those that it opens.
#[test]
fn n01_max_connections() {
    let server = Running::server();
    let clients = Running::clients_with(|settings| settings.max_connections = 2);
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
            Seen::Failed(9, ConnectError::Full) => assert!(began.elapsed() < PATIENCE),
            other => panic!("{other:?}"),
        }
    }
}

/// A client that the application no longer wants is closed.
#[test]
fn an_answer_that_nobody_wants() {
    let (server, clients) = (Running::server(), Running::clients());
    clients.remote.connect(to(server.address, "/echo", UNWANTED)).expect("room");
    clients.connected();
    assert!(matches!(server.next(), Seen::Accepted));
    assert!(matches!(server.next(), Seen::Closed(_, Ok(()))));
    assert!(clients.is_silent());
    until("the end of it", || clients.remote.connection_count() == 0);
}

/// A thousand at once, over two loops: each answered, each echoed.
#[test]
fn a_thousand_clients() {
    const COUNT: usize = 1_000;
    // Both ends are here: more descriptors than many systems allow by default.
    if let Some(alone) = with_descriptors(4_096, "a_thousand_clients") {
        let output = alone.wait_with_output().expect("it ends");
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let server = Running::server_with(None, |settings| settings.backlog = 4096);
    let clients = Running::clients_with(|settings| settings.loops = 2);
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
    assert_eq!(clients.remote.connection_count(), COUNT);
}

/// permessage-deflate, offered by one configuration and accepted by another.
#[test]
#[cfg(feature = "deflate")]
fn compressed_both_ways() {
    use ws_mio::core::deflate;
    let server = Running::server_with(None, |settings| {
        let mut config = Config::server();
        config.deflate = Some(deflate::Settings::server());
        settings.config = config.into();
    });
    let clients = Running::clients_with(|settings| {
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

/// The server's end, answered by hand, and the client's name.
fn open_by_hand(clients: &Running<Seen>) -> (TcpStream, ConnId) {
    let by_hand = ByHand::listen();
    clients.remote.connect(to(by_hand.address(), "/", 1)).expect("room");
    let (mut peer, head) = by_hand.next();
    peer.write_all(&switch(&head, "")).expect("written");
    (peer, clients.connected())
}

/// N-02: how much may wait for a server that does not read is set by the client's configuration, not by that of the server
/// on the same loop.
#[test]
fn n02_limits_of_its_own() {
    const LEN: usize = 1 << 20;
    for (max_queue, least, most) in [(16 * LEN, 8, 8), (LEN, 1, 7)] {
        let clients = Running::server_with(None, |settings| {
            let (mut server, mut client) = (Config::server(), Config::client());
            server.limits.max_queue = if max_queue == LEN { 16 * LEN } else { LEN };
            client.limits.max_queue = max_queue;
            (settings.config, settings.client) = (server.into(), client.into());
        });
        let (mut peer, id) = open_by_hand(&clients);
        let bytes = vec![7; LEN];
        for _ in 0..8 {
            clients.remote.send(id, &bytes[..]).expect("sent");
            // Each in its own turn.
            std::thread::sleep(Duration::from_millis(10));
        }
        clients.remote.close(id, None).expect("sent");
        let mut frames = 0;
        loop {
            let mut head = [0; 14];
            peer.read_exact(&mut head[..6]).expect("a frame");
            if head[0] == CLOSE {
                break;
            }
            peer.read_exact(&mut head[6..]).expect("a long head");
            peer.read_exact(&mut vec![0; LEN]).expect("a payload");
            frames += 1;
        }
        assert!((least..=most).contains(&frames), "{frames} of 8 messages, with room for {max_queue} bytes");
    }
}

/// A peer that leaves right after its answer counts as a connection, opened and closed.
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

/// while one connection waits for its server to hang up, the end of another is reported correctly, and the count is
/// right.
#[test]
fn x13_beside_one_that_lingers() {
    let clients = Running::clients();
    let ((mut lingering, a), (other, b)) = (open_by_hand(&clients), open_by_hand(&clients));
    lingering.write_all(&plain(CLOSE, &[3, 232])).expect("written");
    let mut echo = [0; 8];
    lingering.read_exact(&mut echo).expect("its close frame");
    match clients.next() {
        Seen::Closed(id, Ok(())) => assert_eq!(id, a),
        other => panic!("{other:?}"),
    }
    drop(other);
    match clients.next() {
        Seen::Closed(id, Err(Error::Lost(_))) => assert_eq!(id, b),
        other => panic!("{other:?}"),
    }
    drop(lingering);
    let (_peer, _) = open_by_hand(&clients);
    assert_eq!(clients.remote.connection_count(), 1);
}
