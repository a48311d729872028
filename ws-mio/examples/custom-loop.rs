//! Echoes text and binary messages of up to 16 MiB, on any path, in a hand-written mio loop: `custom-loop [ADDRESS]`.
//!
//! One thread, one receive buffer for all connections. It agrees to the first subprotocol that is offered, and prints
//! one line when it listens.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use ws_mio::core::{Accept, AnswerError, Config, ConfigRef, Event, Instant, deflate};
use ws_mio::{Buffers, Error, Reply, Socket, State};

const LISTENER: Token = Token(usize::MAX);

/// How often deadlines are looked at. A server with many connections keeps them in order instead.
const PATROL: Duration = Duration::from_millis(100);

struct Server {
    poll: Poll,
    listener: TcpListener,
    config: ConfigRef,
    epoch: std::time::Instant,
    buffers: Buffers,
    sockets: Vec<Option<Socket<TcpStream>>>,
    free: Vec<usize>,
    /// Sockets that have more to do than one turn allows.
    again: Vec<usize>,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let address = address.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on ws://{}", listener.local_addr()?);

    let mut config = Config::server();
    config.limits.max_message = 16 << 20;
    config.limits.max_frame = 16 << 20;
    // Windows of 32 KiB: this server is also what other implementations are tried against, in windows of all sizes. For one
    // with many connections there is `Settings::server()`, with windows of 4 KiB.
    config.deflate = Some(deflate::Settings::client());
    Server {
        poll,
        listener,
        config: config.into(),
        epoch: std::time::Instant::now(),
        buffers: Buffers::new(),
        sockets: Vec::new(),
        free: Vec::new(),
        again: Vec::new(),
    }
    .run()
}

impl Server {
    fn now(&self) -> Instant {
        Instant::since(self.epoch, std::time::Instant::now())
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut patrol = Instant::ZERO;
        loop {
            let wait = if !self.again.is_empty() {
                Some(Duration::ZERO)
            } else if self.free.len() < self.sockets.len() {
                Some(PATROL)
            } else {
                None
            };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = self.now();
            let mut again = std::mem::take(&mut self.again);
            again.sort_unstable();
            again.dedup();
            for slot in again {
                self.turn(slot, now, |socket, buffers| socket.proceed(buffers, now, echo));
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    Token(slot) => {
                        self.turn(slot, now, |socket, buffers| socket.on_ready(event, buffers, now, echo));
                    }
                }
            }
            if now.saturating_since(patrol) >= PATROL {
                patrol = now;
                // What could not be accepted for want of descriptors raises no further edge.
                self.accept(now);
                for slot in 0..self.sockets.len() {
                    let deadline = self.sockets[slot].as_ref().and_then(Socket::deadline);
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        self.turn(slot, now, |socket, buffers| socket.tick(buffers, now));
                    }
                }
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return eprintln!("accept: {error}"),
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.sockets.push(None);
                self.sockets.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            let ready = stream.set_nodelay(true);
            match ready.and_then(|()| self.poll.registry().register(&mut stream, Token(slot), interest)) {
                Ok(()) => self.sockets[slot] = Some(Socket::accept_asking(stream, self.config.clone(), now)),
                Err(error) => {
                    eprintln!("accept: {error}");
                    self.free.push(slot);
                }
            }
        }
    }

    /// Has a socket do something, and does what it says.
    fn turn(
        &mut self,
        slot: usize,
        now: Instant,
        work: impl FnOnce(&mut Socket<TcpStream>, &mut Buffers) -> Result<State, Error>,
    ) {
        let Some(socket) = &mut self.sockets[slot] else { return };
        let mut state = work(socket, &mut self.buffers);
        if let Ok(State::Asked) = state {
            state = match agree(socket, &mut self.buffers, now) {
                Ok(()) => socket.proceed(&mut self.buffers, now, echo),
                Err(error) => {
                    eprintln!("{error}");
                    Ok(State::Closed)
                }
            };
        }
        match state {
            Ok(State::Waiting | State::Asked | State::Answered) => {}
            Ok(State::Again) => self.again.push(slot),
            Ok(State::Closed) => self.remove(slot),
            Err(error) => {
                eprintln!("{error}");
                self.remove(slot);
            }
        }
    }

    /// Dropped, a socket is closed, and with it goes its registration.
    fn remove(&mut self, slot: usize) {
        self.sockets[slot] = None;
        self.free.push(slot);
    }
}

fn agree(socket: &mut Socket<TcpStream>, buffers: &mut Buffers, now: Instant) -> Result<(), AnswerError> {
    let request = socket.request(now);
    let protocol = request.and_then(|request| request.protocols().next().map(str::to_owned));
    socket.agree(buffers, now, Accept { protocol: protocol.as_deref(), ..Accept::default() })
}

fn echo(event: Event<'_>, reply: &mut Reply<'_, TcpStream>) {
    // What cannot be sent has a reason that the socket reports at its end.
    let _ = match event {
        Event::Text(text) => reply.send(text),
        Event::Binary(bytes) => reply.send(&*bytes),
        _ => Ok(()),
    };
}
