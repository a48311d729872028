//! The load generator: one thread, one `mio` loop, every connection with the same number of messages in flight.
//!
//! A run has two phases of the same kind, a warm-up and the one that counts. Each begins and ends with nothing in
//! flight, so the server sleeps when its processor time is read and all of its work for a message lies between the
//! two readings.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::check::{Checker, Fault};
use crate::cpu;
use crate::deflate::Compression;
use crate::histogram::Histogram;
use crate::report::Report;
use crate::tape::Tape;
use crate::workload::Kind;

/// The request of every connection, up to its extensions. Its key is the example of RFC 6455, section 1.3, as is the
/// answer to it.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// Messages in flight on each.
    pub in_flight: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Text or binary.
    pub kind: Kind,
    /// No WebSocket: no handshake, and the frames come back unchanged.
    pub raw: bool,
    /// permessage-deflate: the server must agree to exactly this, and compress each message.
    pub compression: Option<Compression>,
    /// Time before the clock starts.
    pub warm_up: Duration,
    /// When to stop sending.
    pub length: Length,
    /// How long no message may come back before the run is given up.
    pub patience: Duration,
    /// The server's process, for its processor time.
    pub server: Option<u32>,
}

/// Length of the part of a run that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Until this time has passed.
    Time(Duration),
    /// Until this many messages have been sent.
    Messages(u64),
}

/// Why a run has no result.
#[derive(Debug)]
pub enum LoadError {
    /// The plan has no connections, or no messages in flight.
    NothingToDo,
    /// A system call failed, or a connection ended.
    Io(io::Error),
    /// The answer to the opening handshake is not the one of section 4.2.2.
    Handshake(String),
    /// A connection received something other than its messages.
    Fault(Fault),
    /// No message came back within the plan's patience while this many were in flight.
    Stalled(u64),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingToDo => write!(out, "no connections, or nothing in flight"),
            Self::Io(error) => write!(out, "{error}"),
            Self::Handshake(head) => write!(out, "the handshake was answered with {head:?}"),
            Self::Fault(fault) => write!(out, "{fault}"),
            Self::Stalled(messages) => write!(out, "stalled with {messages} messages under way"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for LoadError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Connects, warms up, measures.
pub fn run(plan: &Plan) -> Result<Report, LoadError> {
    if plan.connections == 0 || plan.in_flight == 0 || plan.length == Length::Messages(0) {
        return Err(LoadError::NothingToDo);
    }
    let mut generator = Generator::connect(plan)?;
    if !plan.warm_up.is_zero() {
        generator.drive(Length::Time(plan.warm_up))?;
    }
    let before = settled_time(plan.server)?;
    let (messages, time) = generator.drive(plan.length)?;
    let after = settled_time(plan.server)?;
    let spent = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    let bytes = generator.received as f64 / messages as f64;
    let quantile = |part| generator.latencies.quantile(part).map_or(0.0, |nanos| nanos as f64 / 1e3);
    Ok(Report {
        messages,
        bytes,
        seconds: time.as_secs_f64(),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        server_ns: spent.map(|spent| spent.as_nanos() as f64 / messages as f64),
    })
}

/// The server's processor time, read after a moment for it to go to sleep.
pub(crate) fn settled_time(server: Option<u32>) -> io::Result<Option<Duration>> {
    let Some(pid) = server else { return Ok(None) };
    std::thread::sleep(Duration::from_millis(2));
    cpu::spent(pid)
}

struct Generator {
    poll: Poll,
    events: Events,
    tape: Tape,
    in_flight: usize,
    patience: Duration,
    connections: Vec<Connection>,
    /// One receive buffer for all connections.
    buffer: Vec<u8>,
    latencies: Histogram,
    /// Bytes that came in during this phase.
    received: u64,
}

struct Connection {
    stream: TcpStream,
    checker: Checker,
    /// Bytes of the tape that may be written, and where the next one is.
    due: usize,
    position: usize,
    /// The message on the tape that is due next.
    next: usize,
    /// Answers to pings; they go out between two frames.
    pongs: Vec<u8>,
    /// When the messages in flight were due, oldest at `oldest`.
    departures: Vec<u64>,
    oldest: usize,
    under_way: usize,
    writable: bool,
}

/// How many messages may still be sent in this phase.
struct Budget {
    messages: u64,
    until: Option<Instant>,
}

impl Budget {
    fn grant(&mut self, wanted: usize, now: Instant) -> usize {
        if self.until.is_some_and(|until| now >= until) {
            self.messages = 0;
        }
        let granted = (wanted as u64).min(self.messages);
        self.messages -= granted;
        granted as usize
    }
}

impl Generator {
    fn connect(plan: &Plan) -> Result<Self, LoadError> {
        let poll = Poll::new()?;
        let tape = Tape::compressed(plan.kind, plan.size, plan.in_flight, plan.raw, plan.compression);
        let mut connections = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            let mut stream = std::net::TcpStream::connect(plan.address)?;
            stream.set_nodelay(true)?;
            if !plan.raw {
                stream.set_read_timeout(Some(plan.patience))?;
                shake_hands(&mut stream, plan.compression.as_ref())?;
            }
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            let first = index % tape.messages();
            connections.push(Connection {
                stream,
                checker: Checker::new(first),
                due: 0,
                position: tape.start(first),
                next: first,
                pongs: Vec::new(),
                departures: vec![0; plan.in_flight],
                oldest: 0,
                under_way: 0,
                writable: true,
            });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(plan.connections.clamp(64, 1024)),
            tape,
            in_flight: plan.in_flight,
            patience: plan.patience,
            connections,
            buffer: vec![0; 256 * 1024],
            latencies: Histogram::new(),
            received: 0,
        })
    }

    /// Keeps the connections busy until `length` is over and everything is back. Returns the messages and the time.
    fn drive(&mut self, length: Length) -> Result<(u64, Duration), LoadError> {
        self.latencies = Histogram::new();
        self.received = 0;
        let start = Instant::now();
        let mut budget = match length {
            Length::Time(time) => Budget { messages: u64::MAX, until: Some(start + time) },
            Length::Messages(messages) => Budget { messages, until: None },
        };
        let mut under_way = 0;
        for connection in &mut self.connections {
            let granted = budget.grant(self.in_flight, start);
            under_way += granted as u64;
            connection.depart(granted, &self.tape, 0);
            connection.write(&self.tape)?;
        }
        let (mut complete, mut last) = (0, start);
        while under_way > 0 {
            let complete_before = complete;
            match self.poll.poll(&mut self.events, Some(self.patience)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                connection.writable |= event.is_writable();
                if event.is_readable() {
                    loop {
                        let (read, back) =
                            connection.read(&self.tape, &mut self.buffer, &mut self.received)?;
                        if back > 0 {
                            last = Instant::now();
                            let nanos = (last - start).as_nanos() as u64;
                            connection.arrive(back, nanos, &mut self.latencies);
                            let granted = budget.grant(back, last);
                            connection.depart(granted, &self.tape, nanos);
                            complete += back as u64;
                            under_way -= back as u64;
                            under_way += granted as u64;
                        }
                        // A short read has emptied the socket; epoll and kqueue report when there is more.
                        if read < self.buffer.len() {
                            break;
                        }
                    }
                }
                connection.write(&self.tape)?;
            }
            if complete == complete_before && last.elapsed() >= self.patience {
                return Err(LoadError::Stalled(under_way));
            }
        }
        Ok((complete, last - start))
    }
}

impl Connection {
    /// Reads once. Returns the bytes and the messages they complete; no bytes if nothing has arrived.
    fn read(
        &mut self,
        tape: &Tape,
        buffer: &mut [u8],
        received: &mut u64,
    ) -> Result<(usize, usize), LoadError> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((0, 0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok((buffer.len(), 0)),
            Err(error) => return Err(error.into()),
        };
        *received += read as u64;
        let back = self.checker.take(tape, &buffer[..read], &mut self.pongs)?;
        // More echoes than messages: the extra one equals a message sent earlier, but not now.
        if back > self.under_way {
            return Err(Fault::Sequence.into());
        }
        Ok((read, back))
    }

    fn arrive(&mut self, messages: usize, now: u64, latencies: &mut Histogram) {
        for _ in 0..messages {
            latencies.record(now - self.departures[self.oldest]);
            self.oldest = (self.oldest + 1) % self.departures.len();
        }
        self.under_way -= messages;
    }

    fn depart(&mut self, messages: usize, tape: &Tape, now: u64) {
        for message in 0..messages {
            let slots = self.departures.len();
            self.departures[(self.oldest + self.under_way + message) % slots] = now;
        }
        self.under_way += messages;
        self.due += tape.span(self.next, messages);
        self.next = (self.next + messages) % tape.messages();
    }

    /// Writes what is due, in as few calls as the socket allows.
    fn write(&mut self, tape: &Tape) -> io::Result<()> {
        while self.writable {
            let pongs = !self.pongs.is_empty() && tape.is_boundary(self.position);
            let result = if pongs {
                self.stream.write(&self.pongs)
            } else if self.due == 0 {
                return Ok(());
            } else {
                let (front, back) = tape.frames().split_at(self.position);
                if self.due <= back.len() {
                    self.stream.write(&back[..self.due])
                } else {
                    let front = &front[..(self.due - back.len()).min(front.len())];
                    self.stream.write_vectored(&[IoSlice::new(back), IoSlice::new(front)])
                }
            };
            match result {
                Ok(written) if pongs => {
                    self.pongs.drain(..written);
                }
                Ok(written) => {
                    self.due -= written;
                    self.position = (self.position + written) % tape.frames().len();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The request of every connection.
pub(crate) fn request(compression: Option<&Compression>) -> Vec<u8> {
    let mut request = REQUEST.to_vec();
    if let Some(compression) = compression {
        request.extend(format!("Sec-WebSocket-Extensions: {}\r\n", compression.offer()).bytes());
    }
    request.extend(b"\r\n");
    request
}

/// Checks the head of an answer against section 4.2.2. With `compression`, the server must agree to it.
pub(crate) fn check_answer(head: &[u8], compression: Option<&Compression>) -> Result<(), LoadError> {
    let text = String::from_utf8_lossy(head);
    let field = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let agreed = match (compression, field("sec-websocket-extensions")) {
        (None, answer) => answer.is_none(),
        (Some(compression), answer) => answer.is_some_and(|answer| compression.is_agreed_by(answer)),
    };
    if text.starts_with("HTTP/1.1 101") && field("sec-websocket-accept") == Some(ACCEPT) && agreed {
        Ok(())
    } else {
        Err(LoadError::Handshake(text.into_owned()))
    }
}

/// Sends the request and checks the answer. Nothing may follow the head: a server has nothing to send yet.
pub fn shake_hands(
    stream: &mut std::net::TcpStream,
    compression: Option<&Compression>,
) -> Result<(), LoadError> {
    stream.write_all(&request(compression))?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..read]);
        if read == 0 || head.len() > 16 * 1024 {
            return Err(LoadError::Handshake(String::from_utf8_lossy(&head).into_owned()));
        }
    }
    check_answer(&head, compression)
}
