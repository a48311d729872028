//! TLS, both sides, over pipes that take a few bytes at a time.

mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use mio::Interest;
use support::certificates::{for_client, for_server};
use ws_mio::core::{ClientRequest, Config, ConfigRef, Event, Instant, Uri};
use ws_mio::{Buffers, Error, Reply, Socket, State, Stream, tls};

/// One direction of a pipe with a limited capacity.
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

/// One side of a pipe, with TLS and a socket over it; what it sends and receives.
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

    /// Tells it that it can read or write, if it waits for that; returns whether it did.
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

/// Runs both until neither waits for anything that is available.
fn settle(one: &mut Side, other: &mut Side) -> usize {
    for turns in 0..1_000_000 {
        let (first, second) = (one.turn(), other.turn());
        if !first && !second {
            return turns;
        }
    }
    panic!("it never comes to rest: {:?} {:?}", one.last, other.last);
}

/// N-02: a peer that reads slowly is not stalled, however little of what waits has left since the last look, and
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

/// `WouldBlock` everywhere, in both directions: handshakes, messages and the end come through a pipe of any size, and
/// a side that waits for nothing is not called.
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
