//! TLS, both sides: over sockets, and over pipes that take a few bytes at a time. The certificates are those of
//! ws-tokio's tests, for `localhost` and 127.0.0.1.

mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Interest;
use support::{CLOSE, REQUEST, TEXT, masked, plain};
use ws_mio::core::{ClientRequest, CloseCode, CloseFrame, Config, ConfigRef, Event, Instant, Rejection, Uri};
use ws_mio::tls::rustls::pki_types::pem::PemObject;
use ws_mio::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ws_mio::tls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use ws_mio::tls::{self, client_config, server_config};
use ws_mio::{
    Acceptance, Answer, Buffers, ConnId, Connect, ConnectError, Error, Handler, Peer, Refusal, Remote, Reply,
    Server, Settings, Socket, State, Stream, Visitor,
};

fn for_server() -> Arc<ServerConfig> {
    let chain = include_bytes!("../../ws-tokio/tests/certificates/server.pem");
    let key = include_bytes!("../../ws-tokio/tests/certificates/server.key");
    let chain = CertificateDer::from_pem_slice(chain).expect("PEM");
    Arc::new(server_config(vec![chain], PrivateKeyDer::from_pem_slice(key).expect("PEM")).expect("a pair"))
}

fn for_client() -> Arc<ClientConfig> {
    let root = include_bytes!("../../ws-tokio/tests/certificates/root.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).expect("PEM")).expect("a root");
    Arc::new(client_config(roots).expect("versions"))
}

#[derive(Debug)]
enum Seen {
    Request { sni: Option<String> },
    Connected(ConnId),
    Failed(ConnectError),
    Text(String),
    Closed(Result<(), Error>),
    NotOpened(Error),
}

struct App {
    seen: Sender<Seen>,
}

impl Handler for App {
    /// Whether it echoes.
    type State = bool;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<bool>, Refusal> {
        let sni = match visitor.tls() {
            Some(tls::rustls::Connection::Server(tls)) => tls.server_name().map(str::to_owned),
            _ => return Err(Refusal::new(400, "in the clear")),
        };
        let _ = self.seen.send(Seen::Request { sni });
        Ok(Acceptance::new(true))
    }

    fn open(&mut self, peer: &mut Peer<'_, bool>) {
        if *peer.state {
            peer.subscribe("all").expect("a name");
        }
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, bool>) {
        let Event::Text(text) = event else { return };
        if *peer.state {
            let _ = peer.send(text);
        } else {
            let _ = self.seen.send(Seen::Text(text.to_owned()));
        }
    }

    fn connected(&mut self, answer: &Answer<'_>) -> Option<bool> {
        assert!(answer.tls().is_some_and(|tls| tls.alpn_protocol() == Some(b"http/1.1")));
        let _ = self.seen.send(Seen::Connected(answer.id()));
        Some(false)
    }

    fn not_connected(&mut self, _: u64, error: ConnectError) {
        let _ = self.seen.send(Seen::Failed(error));
    }

    fn closed(&mut self, _: ConnId, _: bool, end: Result<(), Error>) {
        let _ = self.seen.send(Seen::Closed(end));
    }

    fn failed(&mut self, error: Error) {
        let _ = self.seen.send(Seen::NotOpened(error));
    }
}

/// A server and clients on one loop, all over TLS. Dropped, it ends.
struct Running {
    address: SocketAddr,
    remote: Remote,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new();
        settings.loops = 1;
        settings.tls = Some(for_server());
        settings.tls_client = Some(for_client());
        change(&mut settings);
        let server = Server::bind("127.0.0.1:0".parse().expect("an address"), settings).expect("bound");
        let (address, remote) = (server.local_addr(), server.remote());
        let (sender, seen) = channel();
        let sender = std::sync::Mutex::new(sender);
        let handler = move |_| App { seen: sender.lock().expect("no panic").clone() };
        let thread = Some(std::thread::spawn(move || server.run(handler)));
        Self { address, remote, seen, thread }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(Duration::from_secs(10)).expect("something")
    }

    fn connect(&self, host: &str) {
        self.remote.connect(Connect::new(format!("wss://{host}/"), self.address)).expect("room");
    }

    /// A client of another library's making, which waits: over it what is sent and left out is ours to say.
    fn dial(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let tcp = TcpStream::connect(self.address).expect("connected");
        tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        tcp.set_nodelay(true).expect("set");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = StreamOwned::new(ClientConnection::new(for_client(), name).expect("usable"), tcp);
        tls.write_all(REQUEST).expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        assert!(matches!(self.next(), Seen::Request { .. }));
        tls
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

/// HC-19, N-07: a name goes into SNI, an address does not; messages small and large go both ways, and it ends cleanly.
#[test]
fn hc_19_both_sides() {
    let running = Running::start(|_| {});
    for (host, sni) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        running.connect(host);
        let Seen::Request { sni: named } = running.next() else { panic!("no request") };
        assert_eq!(named.as_deref(), sni);
        let Seen::Connected(id) = running.next() else { panic!("no answer") };
        for len in [0, 1, 125, 1_000, 16_384, 70_000, 1 << 20] {
            let text = "x".repeat(len);
            running.remote.send(id, text.as_str()).expect("sent");
            match running.next() {
                Seen::Text(echo) => assert!(echo == text, "{len}"),
                other => panic!("{other:?}"),
            }
        }
        let frame = CloseFrame { code: CloseCode::NORMAL, reason: "" };
        running.remote.close(id, Some(frame)).expect("sent");
        for _ in 0..2 {
            assert!(matches!(running.next(), Seen::Closed(Ok(()))));
        }
        assert_eq!(running.remote.connections(), 0);
    }
}

/// What is published reaches members behind TLS, whether a socket takes it at once or not.
#[test]
fn topics() {
    const MEMBERS: usize = 3;
    let running = Running::start(|_| {});
    for _ in 0..MEMBERS {
        running.connect("localhost");
    }
    let mut connected = 0;
    while connected < MEMBERS {
        connected += usize::from(matches!(running.next(), Seen::Connected(_)));
    }
    for len in [0, 1, 1_000, 40_000, 70_000, 500_000] {
        // Two in a turn, most of the time.
        let texts = ["x".repeat(len), "y".repeat(len)];
        for text in &texts {
            let published = running.remote.publish("all", text.as_str()).expect("room");
            assert_eq!(published.elsewhere, MEMBERS);
        }
        for _ in 0..MEMBERS * texts.len() {
            match running.next() {
                Seen::Text(text) => assert!(texts.contains(&text), "{len}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// HC-19: a certificate for another host, one that nobody vouches for, and a server that speaks no TLS.
#[test]
fn hc_19_untrusted() {
    let running = Running::start(|_| {});
    let strange = Running::start(|settings| {
        settings.tls_client = Some(Arc::new(client_config(RootCertStore::empty()).expect("versions")));
    });
    running.connect("other.host");
    strange.connect("localhost");
    for running in [&running, &strange] {
        let mut failed = 0;
        for _ in 0..2 {
            match running.next() {
                Seen::Failed(ConnectError::Tls(error)) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                    failed += 1;
                }
                // Told by an alert.
                Seen::NotOpened(Error::Lost(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failed, 1);
    }
    let clear = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut connect = Connect::new("wss://localhost/", clear.local_addr().expect("bound"));
    connect.tag = 1;
    running.remote.connect(connect).expect("room");
    let (mut peer, _) = clear.accept().expect("somebody");
    peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
    assert!(matches!(running.next(), Seen::Failed(ConnectError::Tls(_))));
}

/// Bytes that are no TLS, and HS-31: none at all, or half a hello, until the deadline.
#[test]
fn hs_31_no_handshake() {
    let running = Running::start(|settings| {
        let mut config = Config::server();
        config.timeouts.handshake = Duration::from_millis(300);
        config.timeouts.linger = Duration::from_millis(50);
        settings.config = config.into();
    });
    let mut peer = TcpStream::connect(running.address).expect("connected");
    peer.write_all(REQUEST).expect("written");
    assert!(
        matches!(running.next(), Seen::NotOpened(Error::Lost(error)) if error.kind() == ErrorKind::InvalidData)
    );
    for begun in [&b""[..], &[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]] {
        let mut peer = TcpStream::connect(running.address).expect("connected");
        peer.write_all(begun).expect("written");
        match running.next() {
            Seen::NotOpened(Error::Request(Rejection::Timeout)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(running.remote.connections(), 0);
    }
}

/// an end of the transport without `close_notify` is no end of the stream, and neither is one with it an end of
/// the connection. X-16: behind both close frames, it is.
#[test]
fn x_16_truncation() {
    let running = Running::start(|_| {});
    let lost = |seen: Seen| match seen {
        Seen::Closed(Err(Error::Lost(error))) => {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    // Cut off, also inside a record.
    for half in [false, true] {
        let mut peer = running.dial();
        if half {
            peer.conn.writer().write_all(&masked(TEXT, &[b'x'; 1000])).expect("room");
            let mut record = Vec::new();
            peer.conn.write_tls(&mut record).expect("written");
            peer.sock.write_all(&record[..record.len() / 2]).expect("written");
        }
        drop(peer);
        assert!(lost(running.next()).contains("close_notify"));
    }
    // Ended by TLS, not by WebSocket.
    let mut peer = running.dial();
    peer.conn.send_close_notify();
    peer.flush().expect("written");
    assert!(!lost(running.next()).contains("close_notify"));
    // The other way round, and the transport just goes.
    let mut peer = running.dial();
    peer.write_all(&masked(CLOSE, &[3, 232])).expect("written");
    let mut rest = Vec::new();
    // To its `close_notify`, or this fails.
    peer.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(rest, plain(CLOSE, &[3, 232]));
    drop(peer);
    assert!(matches!(running.next(), Seen::Closed(Ok(()))));
}

/// The server's end of a peer that leaves its records lying, many at a time: none waits for an event that does not come.
#[test]
fn many_records_in_one_read() {
    let running = Running::start(|_| {});
    let mut peer = running.dial();
    let (mut raw, mut expected) = (Vec::new(), Vec::new());
    for number in 0..500 {
        let text = format!("{number} {}", "x".repeat(number));
        peer.conn.writer().write_all(&masked(TEXT, text.as_bytes())).expect("room");
        peer.conn.write_tls(&mut raw).expect("written");
        expected.extend_from_slice(&plain(TEXT, text.as_bytes()));
    }
    peer.sock.write_all(&raw).expect("written");
    let mut echoes = vec![0; expected.len()];
    peer.read_exact(&mut echoes).expect("all of them");
    assert!(echoes == expected);
}

/// N-02: a peer that reads slowly is no stalled one, however little of what waits has left since the last look, and
/// however little waits; one that does not read at all is, whatever TLS still takes to keep.
#[test]
fn slow_is_not_stalled() {
    let (mut client, mut server) = over_a_pipe(500, Config::server(), Config::client());
    settle(&mut server, &mut client);
    assert!(server.socket.is_open() && server.socket.stalled_since().is_none());
    let at = Instant::from_secs;
    let Side { socket, buffers, pipe, .. } = &mut server;
    // Far less than TLS keeps by itself.
    socket.send(buffers, at(100), "x".repeat(5_000).as_str()).expect("room");
    let _ = socket.flush(buffers, at(100)).expect("open");
    assert_eq!(socket.stalled_since(), Some(at(100)));
    for now in 101..=103 {
        pipe.outward.borrow_mut().bytes.drain(..300);
        let _ = socket.on_writable(buffers, at(now), |_, _| {}).expect("open");
        assert_eq!(socket.stalled_since(), Some(at(now)), "300 bytes have left");
    }
    for now in 104..=106 {
        socket.send(buffers, at(now), "y").expect("room");
        let _ = socket.flush(buffers, at(now)).expect("open");
        let _ = socket.on_writable(buffers, at(now), |_, _| {}).expect("open");
        assert_eq!(socket.stalled_since(), Some(at(103)), "nothing has left");
    }
    for _ in 0..100 {
        pipe.outward.borrow_mut().bytes.clear();
        let _ = socket.on_writable(buffers, at(107), |_, _| {}).expect("open");
    }
    assert_eq!(socket.stalled_since(), None);
}

/// One direction of a pipe: it holds so many bytes.
#[derive(Debug)]
struct Way {
    bytes: VecDeque<u8>,
    room: usize,
    ended: bool,
}

/// One end of a pipe.
#[derive(Clone, Debug)]
struct Pipe {
    inward: Rc<RefCell<Way>>,
    outward: Rc<RefCell<Way>>,
    calls: Rc<RefCell<usize>>,
    connects_in: Rc<RefCell<usize>>,
}

fn pipe(room: usize) -> (Pipe, Pipe) {
    let way = || Rc::new(RefCell::new(Way { bytes: VecDeque::new(), room, ended: false }));
    let (one, other) = (way(), way());
    let end = |inward: &Rc<RefCell<Way>>, outward: &Rc<RefCell<Way>>| Pipe {
        inward: inward.clone(),
        outward: outward.clone(),
        calls: Rc::default(),
        connects_in: Rc::default(),
    };
    (end(&one, &other), end(&other, &one))
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        *self.calls.borrow_mut() += 1;
        let mut way = self.inward.borrow_mut();
        if way.bytes.is_empty() && !way.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        way.bytes.read(out)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.calls.borrow_mut() += 1;
        let mut way = self.outward.borrow_mut();
        let n = bytes.len().min(way.room - way.bytes.len());
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        way.bytes.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pipe {
    fn establish(&mut self) -> io::Result<Option<Interest>> {
        let mut left = self.connects_in.borrow_mut();
        *left = left.saturating_sub(1);
        Ok((*left > 0).then_some(Interest::WRITABLE))
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.outward.borrow_mut().ended = true;
        Ok(())
    }
}

/// One side of a pipe, with TLS and a socket over it; what it sends and hears.
struct Side {
    socket: Socket<tls::Stream<Pipe>>,
    buffers: Buffers,
    pipe: Pipe,
    last: Result<State, Error>,
    answers: usize,
    heard: Vec<String>,
    echoes: bool,
}

impl Side {
    fn new(socket: Socket<tls::Stream<Pipe>>, echoes: bool) -> Self {
        let pipe = socket.stream().io().clone();
        let (buffers, last) = (Buffers::new(), Ok(State::Waiting));
        Self { socket, buffers, pipe, last, answers: 0, heard: Vec::new(), echoes }
    }

    /// Tells it that it can read or write, if it waits for that; whether it did.
    fn turn(&mut self) -> bool {
        let Some(interest) = self.socket.interest().filter(|_| !self.is_over()) else { return false };
        let reads = {
            let way = self.pipe.inward.borrow();
            interest.is_readable() && (!way.bytes.is_empty() || way.ended)
        };
        let writes = {
            let way = self.pipe.outward.borrow();
            interest.is_writable() && way.bytes.len() < way.room
        };
        let Self { socket, buffers, last, heard, echoes, answers, .. } = self;
        let mut hear = |event: Event<'_>, reply: &mut Reply<'_, tls::Stream<Pipe>>| {
            if let Event::Text(text) = event {
                heard.push(text.to_owned());
                if *echoes {
                    reply.send(text).expect("room for one reply");
                }
            }
        };
        if writes {
            *last = socket.on_writable(buffers, Instant::ZERO, &mut hear);
        }
        if reads && matches!(last, Ok(State::Waiting)) {
            *last = socket.on_readable(buffers, Instant::ZERO, &mut hear);
        }
        while let Ok(State::Again | State::Answered) = last {
            *answers += usize::from(matches!(last, Ok(State::Answered)));
            *last = socket.proceed(buffers, Instant::ZERO, &mut hear);
        }
        if self.is_over() {
            // It is dropped, and its transport with it.
            self.pipe.outward.borrow_mut().ended = true;
        }
        reads || writes
    }

    fn send(&mut self, text: &str) {
        self.socket.send(&mut self.buffers, Instant::ZERO, text).expect("room");
        self.last = self.socket.flush(&mut self.buffers, Instant::ZERO);
    }

    fn is_over(&self) -> bool {
        matches!(self.last, Ok(State::Closed) | Err(_))
    }
}

fn over_a_pipe(room: usize, server: Config, client: Config) -> (Side, Side) {
    let (one, other) = pipe(room);
    *one.connects_in.borrow_mut() = 3;
    let request = ClientRequest::new(Uri::parse("wss://localhost/").expect("an address"));
    let tls = tls::Stream::connect(one, "localhost", for_client()).expect("a name");
    let client = Socket::connect(tls, request, client, Instant::ZERO).expect("fit to send");
    let tls = tls::Stream::accept(other, for_server()).expect("usable");
    let server = Socket::accept(tls, ConfigRef::from(server), Instant::ZERO);
    (Side::new(client, false), Side::new(server, true))
}

/// Until neither waits for anything that is there.
fn settle(one: &mut Side, other: &mut Side) -> usize {
    for turns in 0..1_000_000 {
        let (first, second) = (one.turn(), other.turn());
        if !first && !second {
            return turns;
        }
    }
    panic!("it never comes to rest: {:?} {:?}", one.last, other.last);
}

/// `WouldBlock` everywhere, in both directions: handshakes, messages and the end come through a pipe of any size, and
/// whoever waits for nothing is not called for nothing.
#[test]
fn would_block_in_both_directions() {
    for room in [1, 7, 100, 1 << 10, 1 << 20] {
        let (mut client, mut server) = over_a_pipe(room, Config::server(), Config::client());
        settle(&mut client, &mut server);
        assert!(
            client.socket.is_open() && server.socket.is_open(),
            "{room}: {:?} {:?}",
            client.last,
            server.last
        );
        assert_eq!(client.answers, 1);
        let texts: Vec<_> = [0, 1, 1_000, 20_000].iter().map(|&len| "x".repeat(len)).collect();
        for text in &texts {
            client.send(text);
        }
        settle(&mut client, &mut server);
        assert!(client.heard == texts && server.heard == texts, "{room}");
        assert_eq!((client.socket.held(), server.socket.held()), (0, 0));
        let calls = (*client.pipe.calls.borrow(), *server.pipe.calls.borrow());
        (0..100).for_each(|_| assert!(!client.turn() && !server.turn()));
        assert_eq!((*client.pipe.calls.borrow(), *server.pipe.calls.borrow()), calls, "calls for nothing");
        client.socket.close(&mut client.buffers, Instant::ZERO, None).expect("open");
        client.last = client.socket.flush(&mut client.buffers, Instant::ZERO);
        settle(&mut client, &mut server);
        assert!(matches!(client.last, Ok(State::Closed)), "{room}: {:?}", client.last);
        assert!(matches!(server.last, Ok(State::Closed)), "{room}: {:?}", server.last);
    }
}

/// N-05: a peer that does not read is not read from, and what waits for it stays within bounds, that which TLS keeps
/// included. Nothing is lost.
#[test]
fn n05_backpressure() {
    let mut limited = Config::server();
    limited.limits.max_queue = 64 << 10;
    let (mut client, mut server) = over_a_pipe(4 << 10, limited, Config::client());
    settle(&mut client, &mut server);
    // The client sends and does not read.
    let text = "y".repeat(8 << 10);
    let mut sent = 0;
    let mut still = 0;
    while still < 50 {
        if client.socket.reply(&mut client.buffers, Instant::ZERO).expect("open").queued() == 0 {
            client.send(&text);
            sent += 1;
            still = 0;
        }
        let writes = client.pipe.outward.borrow().bytes.len() < 4 << 10;
        if writes {
            client.last =
                client.socket.on_writable(&mut client.buffers, Instant::ZERO, |_, _| panic!("it reads"));
            still = 0;
        }
        still += usize::from(!server.turn() && !writes);
        assert!(sent < 1_000, "the server takes everything");
    }
    let queued = server.socket.reply(&mut server.buffers, Instant::ZERO).expect("open").queued();
    assert!(queued <= (64 << 10) + text.len() + 100, "{queued} bytes wait");
    settle(&mut client, &mut server);
    assert_eq!((client.heard.len(), server.heard.len()), (sent, sent));
    assert!(client.heard.iter().all(|echo| *echo == text));
}

/// permessage-deflate inside TLS.
#[test]
#[cfg(feature = "deflate")]
fn compressed() {
    use ws_mio::core::deflate;
    let (mut server, mut client) = (Config::server(), Config::client());
    server.deflate = Some(deflate::Settings::server());
    client.deflate = Some(deflate::Settings::client());
    let (mut client, mut server) = over_a_pipe(1_000, server, client);
    settle(&mut client, &mut server);
    assert!(client.socket.agreement().is_some() && server.socket.agreement().is_some());
    let text = "to be compressed, ".repeat(10_000);
    (0..3).for_each(|_| client.send(&text));
    settle(&mut client, &mut server);
    assert!(client.heard.len() == 3 && client.heard.iter().all(|echo| *echo == text));
}
