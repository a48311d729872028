//! Opens connections, several at a time: TCP, then the opening handshake (RFC 6455, section 4), its answer checked.
//!
//! They are opened by the thousand, and stay open until the server's processor time has been read; then they are closed
//! as the RFC requires, which is not counted.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;
use crate::load::{LoadError, check_answer, request, settled_time};
use crate::report::Report;
use crate::tape::push_masked;

/// Maximum number open at once: each takes a file descriptor here and in the server.
const BATCH: usize = 1_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Connections being opened at a time.
    pub at_once: usize,
    /// Connections that count; a thousand more are opened before them.
    pub opens: usize,
    /// How long no answer may come before the run is given up.
    pub patience: Duration,
    /// The server's process, for its processor time.
    pub server: Option<u32>,
}

/// Opens, measures, closes.
///
/// # Errors
/// Anything that is not as it should be.
pub fn run(plan: &Plan) -> Result<Report, LoadError> {
    if plan.at_once == 0 || plan.opens == 0 {
        return Err(LoadError::NothingToDo);
    }
    let mut door = Door {
        plan,
        poll: Poll::new()?,
        events: Events::with_capacity(1_024),
        request: request(None),
        latencies: Histogram::new(),
        bytes: 0,
    };
    door.pass(BATCH)?;
    (door.latencies, door.bytes) = (Histogram::new(), 0);
    let (mut left, mut time, mut spent) = (plan.opens, Duration::ZERO, Some(Duration::ZERO));
    while left > 0 {
        let opens = left.min(BATCH);
        let batch = door.pass(opens)?;
        time += batch.time;
        spent = spent.zip(batch.spent).map(|(sum, batch)| sum + batch);
        left -= opens;
    }
    let quantile = |part| door.latencies.quantile(part).map_or(0.0, |nanos| nanos as f64 / 1e3);
    Ok(Report {
        messages: plan.opens as u64,
        bytes: door.bytes as f64 / plan.opens as f64,
        seconds: time.as_secs_f64(),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        server_ns: spent.map(|spent| spent.as_nanos() as f64 / plan.opens as f64),
    })
}

struct Door<'a> {
    plan: &'a Plan,
    poll: Poll,
    events: Events,
    request: Vec<u8>,
    latencies: Histogram,
    /// Bytes received.
    bytes: usize,
}

struct Batch {
    time: Duration,
    spent: Option<Duration>,
}

/// A connection being opened.
struct Visitor {
    stream: TcpStream,
    since: Instant,
    asked: bool,
    answer: Vec<u8>,
}

impl Door<'_> {
    /// Opens this many and closes them again. Both times, wall clock and the server's, are those until all are open.
    fn pass(&mut self, opens: usize) -> Result<Batch, LoadError> {
        let before = settled_time(self.plan.server)?;
        let start = Instant::now();
        let mut open = self.open(opens)?;
        let time = start.elapsed();
        let after = settled_time(self.plan.server)?;
        self.close(&mut open)?;
        Ok(Batch { time, spent: before.zip(after).map(|(before, after)| after.saturating_sub(before)) })
    }

    fn open(&mut self, opens: usize) -> Result<Vec<TcpStream>, LoadError> {
        let mut open = Vec::with_capacity(opens);
        let mut visitors: Vec<Option<Visitor>> = Vec::new();
        let mut begun = 0;
        while begun < opens.min(self.plan.at_once) {
            visitors.push(Some(self.knock(Token(begun))?));
            begun += 1;
        }
        let mut last = Instant::now();
        while open.len() < opens {
            match self.poll.poll(&mut self.events, Some(self.plan.patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let ready: Vec<Token> = self.events.iter().map(mio::event::Event::token).collect();
            for token in ready {
                let Some(visitor) = visitors.get_mut(token.0).and_then(Option::as_mut) else { continue };
                if !visitor.go_on(&self.request)? {
                    continue;
                }
                last = Instant::now();
                self.latencies.record((last - visitor.since).as_nanos() as u64);
                check_answer(&visitor.answer, None)?;
                self.bytes += visitor.answer.len();
                if let Some(mut visitor) = visitors[token.0].take() {
                    self.poll.registry().deregister(&mut visitor.stream)?;
                    open.push(visitor.stream);
                }
                if begun < opens {
                    begun += 1;
                    visitors[token.0] = Some(self.knock(token)?);
                }
            }
            if last.elapsed() >= self.plan.patience {
                return Err(LoadError::Stalled((begun - open.len()) as u64));
            }
        }
        Ok(open)
    }

    fn knock(&self, token: Token) -> io::Result<Visitor> {
        let since = Instant::now();
        let mut stream = TcpStream::connect(self.plan.address)?;
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Visitor { stream, since, asked: false, answer: Vec::new() })
    }

    /// Section 7.1: a close frame each way, then the server closes the connection. If it does not, it is closed from here.
    fn close(&self, open: &mut Vec<TcpStream>) -> Result<(), LoadError> {
        let mut frame = Vec::new();
        push_masked(&mut frame, 0x8, &1000_u16.to_be_bytes(), [1, 2, 3, 4]);
        for stream in open.iter_mut() {
            stream.write_all(&frame)?;
        }
        let start = Instant::now();
        let mut buffer = [0; 256];
        for mut stream in open.drain(..) {
            loop {
                match stream.read(&mut buffer) {
                    Ok(1..) => {}
                    Err(error)
                        if error.kind() == ErrorKind::WouldBlock && start.elapsed() < self.plan.patience =>
                    {
                        sleep(Duration::from_millis(1));
                    }
                    Ok(0) | Err(_) => break,
                }
            }
        }
        Ok(())
    }
}

impl Visitor {
    /// Sends the request once connected, takes what has arrived. Returns whether the answer is complete.
    fn go_on(&mut self, request: &[u8]) -> Result<bool, LoadError> {
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            match self.stream.write(request) {
                Ok(written) if written == request.len() => self.asked = true,
                Ok(_) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => self.answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
                Ok(0) => {
                    return Err(LoadError::Handshake(String::from_utf8_lossy(&self.answer).into_owned()));
                }
            }
            // Nothing may follow: a server has nothing to send yet.
            if self.answer.ends_with(b"\r\n\r\n") {
                return Ok(true);
            }
        }
    }
}
