//! HC-20: at most one connection in the making for each address, whichever loop makes it, and whichever of a call's
//! addresses it is; and what waiting calls cost those who send.

mod support;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::read_head;
use ws_mio::core::Event;
use ws_mio::{Answer, ConnId, Connect, ConnectError, Handler, Peer, Remote, Server, Settings};

#[derive(Debug)]
enum Seen {
    Connected(u64, ConnId),
    Failed(u64, ConnectError),
}

/// Whoever is told that this one has failed has no time for a while.
const BUSY: u64 = 99;

struct App(Sender<Seen>);

impl Handler for App {
    type State = ();

    fn event(&mut self, _: Event<'_>, _: &mut Peer<'_, ()>) {}

    fn connected(&mut self, answer: &Answer<'_>) -> Option<()> {
        let _ = self.0.send(Seen::Connected(answer.tag(), answer.id()));
        Some(())
    }

    fn not_connected(&mut self, tag: u64, error: ConnectError) {
        let _ = self.0.send(Seen::Failed(tag, error));
        if tag == BUSY {
            std::thread::sleep(Duration::from_secs(2));
        }
    }
}

struct Running {
    remote: Remote,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start(loops: usize) -> Self {
        let mut settings = Settings::new();
        settings.loops = loops;
        let server = Server::unbound(settings).expect("loops");
        let remote = server.remote();
        let (sender, seen) = channel();
        let sender = std::sync::Mutex::new(sender);
        let app = move |_| App(sender.lock().expect("no panic").clone());
        let thread = Some(std::thread::spawn(move || server.run(app)));
        Self { remote, seen, thread }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(Duration::from_secs(10)).expect("something")
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.shut_down(Duration::ZERO);
        self.end();
    }
}

/// Who is asked, by hand.
struct ByHand(TcpListener);

impl ByHand {
    fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// The next one's connection and request; nobody else comes before that is answered.
    fn only_one(&self) -> (TcpStream, String) {
        self.0.set_nonblocking(false).expect("set");
        let (mut peer, _) = self.0.accept().expect("somebody");
        let head = read_head(&mut peer);
        self.0.set_nonblocking(true).expect("set");
        std::thread::sleep(Duration::from_millis(150));
        assert!(self.0.accept().is_err(), "another one beside it");
        (peer, head)
    }
}

fn refuse(mut peer: TcpStream) {
    peer.write_all(b"HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n").expect("written");
}

fn agree(peer: &mut TcpStream, head: &str) {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = ws_mio::core::handshake::accept_key(key.as_bytes());
    let accept = str::from_utf8(&accept).expect("base64");
    let answer = format!(
        "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    peer.write_all(answer.as_bytes()).expect("written");
}

fn one(address: SocketAddr, tag: u64) -> Connect {
    let mut connect = Connect::new("ws://localhost/", address);
    (connect.tag, connect.one_at_a_time) = (tag, true);
    connect
}

fn nobody() -> SocketAddr {
    ByHand::listen().address()
}

/// HC-20: loops wait for each other.
#[test]
fn hc_20_on_all_loops() {
    let clients = Running::start(3);
    let by_hand = ByHand::listen();
    for tag in 0..6 {
        clients.remote.connect_on(tag as usize % 3, one(by_hand.address(), tag)).expect("room");
    }
    let mut tags = Vec::new();
    for turn in 0..6 {
        let (mut peer, head) = by_hand.only_one();
        if turn % 2 == 0 {
            refuse(peer);
            match clients.next() {
                Seen::Failed(tag, ConnectError::Status(_)) => tags.push(tag),
                other => panic!("{other:?}"),
            }
        } else {
            agree(&mut peer, &head);
            match clients.next() {
                Seen::Connected(tag, _) => tags.push(tag),
                other => panic!("{other:?}"),
            }
        }
    }
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2, 3, 4, 5]);
}

/// HC-20: a call whose first address fails waits for the next one like anybody, and its first is free meanwhile.
#[test]
fn hc_20_of_later_addresses() {
    for loops in [1, 2] {
        let clients = Running::start(loops);
        let by_hand = ByHand::listen();
        for tag in 0..3 {
            let mut connect = one(nobody(), tag);
            connect.addresses.push(by_hand.address());
            clients.remote.connect_on(tag as usize % loops, connect).expect("room");
        }
        let (first, _) = by_hand.only_one();
        // Who is not picky does not wait.
        let mut beside = one(by_hand.address(), 9);
        beside.one_at_a_time = false;
        clients.remote.connect(beside).expect("room");
        by_hand.0.set_nonblocking(false).expect("set");
        let (mut peer, _) = by_hand.0.accept().expect("somebody");
        read_head(&mut peer);
        refuse(peer);
        assert!(matches!(clients.next(), Seen::Failed(9, ConnectError::Status(_))));
        refuse(first);
        assert!(matches!(clients.next(), Seen::Failed(_, ConnectError::Status(_))));
        for _ in 0..2 {
            let (peer, _) = by_hand.only_one();
            refuse(peer);
            assert!(matches!(clients.next(), Seen::Failed(_, ConnectError::Status(_))));
        }
    }
}

/// Those that wait are told of the end, on whichever loop.
#[test]
fn who_waits_is_told_of_the_end() {
    let mut clients = Running::start(2);
    let by_hand = ByHand::listen();
    for tag in 0..6 {
        clients.remote.connect_on(tag as usize % 2, one(by_hand.address(), tag)).expect("room");
    }
    let _first = by_hand.only_one();
    clients.remote.shut_down(Duration::from_secs(10));
    let mut tags: Vec<u64> = (0..6)
        .map(|_| match clients.next() {
            Seen::Failed(tag, ConnectError::Stopped) => tag,
            other => panic!("{other:?}"),
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2, 3, 4, 5]);
    clients.end();
    assert!(clients.seen.try_recv().is_err());
}

/// The same at once, even if the one that they wait for is on a loop that has no time, and somebody who does not answer the
/// close frame keeps their own.
#[test]
fn who_waits_does_not_wait_for_others() {
    let clients = Running::start(2);
    let by_hand = ByHand::listen();
    clients.remote.connect_on(0, one(by_hand.address(), 0)).expect("room");
    let (mut silent, head) = by_hand.only_one();
    agree(&mut silent, &head);
    assert!(matches!(clients.next(), Seen::Connected(0, _)));
    clients.remote.connect_on(1, one(by_hand.address(), 1)).expect("room");
    let _held = by_hand.only_one();
    for tag in 2..5 {
        clients.remote.connect_on(0, one(by_hand.address(), tag)).expect("room");
    }
    let mut none = Connect::new("no address", by_hand.address());
    none.tag = BUSY;
    clients.remote.connect_on(1, none).expect("room");
    assert!(matches!(clients.next(), Seen::Failed(BUSY, ConnectError::Uri(_))));
    // They are in line before the end comes, for orders keep theirs.
    let began = Instant::now();
    clients.remote.shut_down(Duration::from_secs(5));
    let mut tags: Vec<u64> = (2..5)
        .map(|_| match clients.next() {
            Seen::Failed(tag, ConnectError::Stopped) => tag,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    tags.sort_unstable();
    assert_eq!(tags, [2, 3, 4]);
    // The loop has time again.
    assert!(matches!(clients.next(), Seen::Failed(1, ConnectError::Stopped)));
    drop(silent);
}

/// N-04: what is left for a loop is counted as it comes. So sending costs the same, however many connects wait there.
#[test]
fn sending_beside_many_connects() {
    let clients = Running::start(1);
    let by_hand = ByHand::listen();
    clients.remote.connect(one(by_hand.address(), 0)).expect("room");
    let (mut peer, head) = by_hand.only_one();
    agree(&mut peer, &head);
    let Seen::Connected(_, id) = clients.next() else { panic!("not connected") };
    let took = |connects: u64| {
        let mut settings = Settings::new();
        settings.loops = 1;
        // It does not run, so nothing is taken out, and any connection's name will do.
        let server = Server::unbound(settings).expect("loops");
        let remote = server.remote();
        for tag in 0..connects {
            remote.connect(one(by_hand.address(), tag)).expect("room");
        }
        let began = Instant::now();
        (0..5_000).for_each(|_| remote.send(id, "x").expect("room"));
        began.elapsed()
    };
    let few = took(1).max(took(1));
    let many = took(20_000);
    assert!(many < few * 20 + Duration::from_millis(50), "{many:?} instead of {few:?}");
}
