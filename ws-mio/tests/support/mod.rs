//! What these tests have in common: peers that write their bytes by hand; a loop with one socket in it and a virtual clock;
//! and, in the modules, servers on their own threads.
#![allow(dead_code, reason = "not every test file uses all of it")]

#[cfg(feature = "tls")]
pub(crate) mod certificates;
#[cfg(feature = "deflate")]
pub(crate) mod compressed;
pub(crate) mod dialling;
pub(crate) mod hall;
pub(crate) mod running;
pub(crate) mod streams;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use ws_mio::core::{Config, Event, Instant};
use ws_mio::{Buffers, Error, Reply, Socket, State, Stream};

pub(crate) const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, echo\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// For what must happen: far longer than it takes, whatever else the machine does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// For what must not happen: how long it must not be seen.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A frame as a client sends it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = head(first, 0x80, payload.len());
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame as a server sends it.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn head(first: u8, mask: u8, len: usize) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..=125 => head.push(mask | len as u8),
        126..=0xffff => {
            head.push(mask | 126);
            head.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            head.push(mask | 127);
            head.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    head
}

/// Looks again and again until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).expect("connected");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    peer.set_nodelay(true).expect("set");
    peer
}

/// A port where no one listens as long as this socket is kept: without it another test might.
pub(crate) fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let address = socket.local_addr().expect("bound").as_socket().expect("an address");
    (socket, address)
}

/// A peer and our end of one TCP connection.
pub(crate) fn sockets() -> (TcpStream, mio::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let peer = dial(listener.local_addr().expect("bound"));
    let (ours, _) = listener.accept().expect("accepted");
    ours.set_nonblocking(true).expect("set");
    ours.set_nodelay(true).expect("set");
    (peer, mio::net::TcpStream::from_std(ours))
}

/// What can be registered.
pub(crate) trait Registered: Stream {
    fn source(&mut self) -> &mut mio::net::TcpStream;
}

impl Registered for mio::net::TcpStream {
    fn source(&mut self) -> &mut mio::net::TcpStream {
        self
    }
}

/// The loop, with one socket registered once for both directions.
pub(crate) struct Host<S> {
    poll: Poll,
    events: Events,
    pub(crate) buffers: Buffers,
    pub(crate) socket: Socket<S>,
    pub(crate) now: Instant,
    /// The outcome of the last turn.
    pub(crate) last: Result<State, Error>,
    /// Events seen, as text; data as its length.
    pub(crate) seen: Vec<String>,
    /// The peak of the memory that the socket held after a turn.
    pub(crate) most: usize,
}

impl<S: Registered> Host<S> {
    pub(crate) fn new(mut socket: Socket<S>) -> Self {
        let poll = Poll::new().expect("a poll");
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(socket.stream_mut().source(), Token(0), interest).expect("registered");
        Self {
            poll,
            events: Events::with_capacity(8),
            buffers: Buffers::new(),
            socket,
            now: Instant::ZERO,
            last: Ok(State::Waiting),
            seen: Vec::new(),
            most: 0,
        }
    }

    /// One turn of the loop, which waits for an event for at most 20 ms.
    pub(crate) fn turn(&mut self) {
        if self.is_over() {
            return;
        }
        let seen = &mut self.seen;
        let mut echo = |event: Event<'_>, reply: &mut Reply<'_, S>| {
            seen.push(match &event {
                Event::Text(text) => format!("text {}", text.len()),
                Event::Binary(bytes) => format!("binary {}", bytes.len()),
                Event::Ping(bytes) => format!("ping {}", bytes.len()),
                Event::Pong(bytes) => format!("pong {}", bytes.len()),
                Event::Close(closed) => format!("close {:?}", closed.frame.map(|frame| frame.code.0)),
                Event::Chunk(_) => "chunk".to_owned(),
            });
            match event {
                Event::Text(text) => reply.send(text).expect("room for one reply"),
                Event::Binary(bytes) => reply.send(&*bytes).expect("room for one reply"),
                _ => {}
            }
        };
        let wait = if matches!(self.last, Ok(State::Again)) { 0 } else { 20 };
        self.poll.poll(&mut self.events, Some(Duration::from_millis(wait))).expect("polled");
        let (buffers, now) = (&mut self.buffers, self.now);
        if let Ok(State::Again) = self.last {
            self.last = self.socket.proceed(buffers, now, &mut echo);
        }
        for event in &self.events {
            if matches!(self.last, Ok(State::Waiting | State::Again)) {
                self.last = self.socket.on_ready(event, buffers, now, &mut echo);
            }
        }
        self.most = self.most.max(self.socket.held());
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
        self.last = self.socket.tick(&mut self.buffers, now);
    }

    /// Turns until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !holds(self) {
            let (last, seen) = (&self.last, self.seen.last());
            assert!(began.elapsed() < PATIENCE, "never came: {what}; last {last:?}, seen {seen:?}");
            self.turn();
        }
    }

    /// Turns until the peer has something to read.
    pub(crate) fn until_said(&mut self, peer: &TcpStream) {
        self.until("something to read", |_| has_heard(peer));
    }

    pub(crate) fn settle(&mut self) {
        (0..2).for_each(|_| self.turn());
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.last, Ok(State::Closed) | Err(_))
    }
}

/// A connection whose handshake is done.
pub(crate) fn open(config: Config) -> (TcpStream, Host<mio::net::TcpStream>) {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept(ours, config, Instant::ZERO));
    shake_hands(&mut peer, &mut host);
    (peer, host)
}

pub(crate) fn shake_hands<S: Registered>(peer: &mut TcpStream, host: &mut Host<S>) {
    peer.write_all(REQUEST).expect("written");
    host.until("an open socket", |host| host.socket.is_open());
    assert!(read_head(peer).starts_with("HTTP/1.1 101 "));
}

/// Whether there is something to read, or the end.
pub(crate) fn has_heard(peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).expect("set");
    let there = peer.peek(&mut [0]);
    peer.set_nonblocking(false).expect("set");
    !there.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Waits until this many bytes have arrived and are unread.
pub(crate) fn await_bytes(io: &mio::net::TcpStream, count: usize) {
    let mut bytes = vec![0; count];
    until("all bytes", || io.peek(&mut bytes).is_ok_and(|there| there == count));
}

/// Waits until the other end's system has all that was written here: a loop there is told of it before it is told of
/// what others write from now on.
pub(crate) fn await_arrival(peer: &TcpStream) {
    if cfg!(target_os = "linux") {
        until("an acknowledgement", || waiting_bytes(peer, peer.peer_addr().expect("connected")).0 == 0);
    } else {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts one test of this program again, in its own process with this many descriptors. `None`: this is that
/// process, whose standard input ends with the one that started it.
pub(crate) fn with_descriptors(count: u32, test: &str) -> Option<Child> {
    const CHILD: &str = "WS_MIO_WITH_DESCRIPTORS";
    if cfg!(not(unix)) || std::env::var_os(CHILD).is_some() {
        return None;
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -n {count}; exec \"$0\" --exact {test} --nocapture"));
    shell.arg(std::env::current_exe().expect("this program")).env(CHILD, "1");
    Some(shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell"))
}

/// Bytes of a connection that its other end's system has not acknowledged, and those that wait there to be read. Bytes
/// in flight may count twice.
pub(crate) fn waiting_bytes(peer: &TcpStream, other: SocketAddr) -> (usize, usize) {
    let ports = (peer.local_addr().expect("connected").port(), other.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next()?, 16).ok();
    let bytes = |field: &str| usize::from_str_radix(field, 16).expect("a number");
    let (mut unsent, mut unread) = (0, 0);
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(own), Some(other)) = (port(fields[1]), port(fields[2])) else { continue };
        let (to_send, to_read) = fields[4].split_once(':').expect("two numbers");
        if (own, other) == ports {
            unsent = bytes(to_send);
        } else if (other, own) == ports {
            unread = bytes(to_read);
        }
    }
    (unsent, unread)
}

/// The next frame of a server: its first byte and its payload.
pub(crate) fn read_frame(peer: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    peer.read_exact(&mut head).expect("a frame");
    let more = [0, 2, 8][usize::from(head[1] >= 126) + usize::from(head[1] == 127)];
    let mut len = [0; 8];
    peer.read_exact(&mut len[8 - more..]).expect("a length");
    let len = if more == 0 { usize::from(head[1]) } else { u64::from_be_bytes(len) as usize };
    let mut payload = vec![0; len];
    peer.read_exact(&mut payload).expect("a payload");
    (head[0], payload)
}

/// The key of a client's request.
pub(crate) fn key(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key")
}

/// A valid answer to it, with more fields.
pub(crate) fn switch(head: &str, fields: &str) -> Vec<u8> {
    let accept = ws_mio::core::handshake::accept_key(key(head).as_bytes());
    let accept = str::from_utf8(&accept).expect("base64");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// A head, to its blank line and not a byte further.
pub(crate) fn read_head(peer: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(0);
        let at = head.len() - 1;
        peer.read_exact(&mut head[at..]).expect("a head");
    }
    String::from_utf8(head).expect("ASCII")
}

pub(crate) fn expect(peer: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    peer.read_exact(&mut got).expect("as many bytes");
    assert!(got == bytes, "other bytes than expected: {:?}", &got[..got.len().min(40)]);
}

pub(crate) fn expect_end(peer: &mut TcpStream) {
    assert_eq!(peer.read(&mut [0]).expect("FIN, not a reset"), 0);
}
