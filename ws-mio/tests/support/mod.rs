//! A loop with one socket in it, a virtual clock, and a peer that writes its bytes by hand.
#![allow(dead_code, reason = "not every test file uses all of it")]

#[cfg(feature = "deflate")]
pub(crate) mod compressed;
pub(crate) mod hall;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use ws_mio::core::{Config, Event, Instant};
use ws_mio::{Buffers, Error, Reply, Socket, State, Stream};

pub(crate) const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, echo\r\nSec-WebSocket-Version: 13\r\n\r\n";

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

/// A peer and our end of one TCP connection.
pub(crate) fn sockets() -> (TcpStream, mio::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    peer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    peer.set_nodelay(true).expect("set");
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
    /// What the last turn came to.
    pub(crate) last: Result<State, Error>,
    /// Events seen, as text, data by length.
    pub(crate) seen: Vec<String>,
    /// The most memory that the socket held after a turn.
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

    /// Turns until something holds; a minute of turns without it is a failure.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..3_000 {
            if holds(self) {
                return;
            }
            self.turn();
        }
        panic!("never came: {what}; last {:?}, seen {:?}", self.last, self.seen.last());
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

/// A head, to its blank line and not a byte further.
pub(crate) fn read_head(peer: &mut TcpStream) -> String {
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
