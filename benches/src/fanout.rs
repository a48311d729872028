//! The load of a room: each message reaches all members, and each checks every byte it receives.
//!
//! One thread, one `mio` loop. A member sends one or several messages at once; when all have them it is another member's
//! turn, so that the order is certain. Processor time is read while nothing is in flight, so it covers all work for these
//! deliveries and nothing else.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;
use crate::load::{Length, LoadError, settled_time, shake_hands};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's address: all connections are in one room.
    pub address: SocketAddr,
    /// Connections.
    pub members: usize,
    /// Bytes of a message, all of them digits.
    pub size: usize,
    /// How long to measure.
    pub length: Length,
    /// The warm-up before that.
    pub warm_up: Length,
    /// Messages that a member sends at once.
    pub burst: usize,
    /// How long nothing may arrive before the run is given up.
    pub patience: Duration,
    /// The server's process, for its processor time.
    pub server: Option<u32>,
    /// Whether the server answers `?` with what its broadcasts took: nanoseconds and places, in decimal.
    pub tells: bool,
}

/// What a run measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Messages received, by all members together.
    pub deliveries: u64,
    /// From the first message sent to the last one received.
    pub time: Duration,
    /// Processor time of the server per delivery, in nanoseconds; `None` where it is not known.
    pub server_ns: Option<f64>,
    /// Median time from a message's departure until a member has it, in microseconds.
    pub p50_us: f64,
    /// The time that one delivery in a hundred exceeds, in microseconds.
    pub p99_us: f64,
    /// Time that the broadcasting task spent per member, in nanoseconds, where the server reports it.
    pub enqueue_ns: Option<f64>,
}

/// Number of different messages, so that a missing or repeated one is noticed.
const DISTINCT: usize = 64;

/// Connects, warms up, measures.
///
/// # Errors
/// Anything that is not as it should be.
pub fn run(plan: &Plan) -> Result<Report, LoadError> {
    if plan.members == 0 || plan.length == Length::Messages(0) || plan.burst == 0 {
        return Err(LoadError::NothingToDo);
    }
    let mut room = Room::enter(plan)?;
    room.say(plan.warm_up)?;
    if plan.tells {
        room.ask()?;
    }
    let (before, said) = (settled_time(plan.server)?, room.said);
    let start = Instant::now();
    room.say(plan.length)?;
    let time = start.elapsed();
    let spent = before.zip(settled_time(plan.server)?).map(|(before, after)| after.saturating_sub(before));
    let enqueue_ns = if plan.tells { Some(room.ask()?) } else { None };
    let deliveries = ((room.said - said) * plan.members) as u64;
    let server_ns = spent.map(|spent| spent.as_nanos() as f64 / deliveries as f64);
    let quantile = |part| room.latencies.quantile(part).map_or(0.0, |nanos| nanos as f64 / 1e3);
    let (p50_us, p99_us) = (quantile(0.5), quantile(0.99));
    Ok(Report { deliveries, time, server_ns, p50_us, p99_us, enqueue_ns })
}

struct Room<'a> {
    plan: &'a Plan,
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    /// Frames as they are sent, and as they arrive.
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
    /// Messages sent so far.
    said: usize,
    /// Latencies of this phase.
    latencies: Histogram,
}

struct Member {
    stream: TcpStream,
    /// Whole messages received, and bytes of the next one.
    heard: usize,
    part: usize,
}

impl<'a> Room<'a> {
    fn enter(plan: &'a Plan) -> Result<Self, LoadError> {
        let poll = Poll::new()?;
        let mut members = Vec::with_capacity(plan.members);
        for index in 0..plan.members {
            let mut stream = std::net::TcpStream::connect(plan.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(plan.patience))?;
            shake_hands(&mut stream, None)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            members.push(Member { stream, heard: 0, part: 0 });
        }
        // The handshake may be answered before the connection is in the room.
        std::thread::sleep(Duration::from_millis(500));
        let payload = |n: usize| format!("{n:0>size$}", size = plan.size).into_bytes();
        Ok(Self {
            plan,
            poll,
            events: Events::with_capacity(4_096),
            members,
            up: (0..DISTINCT).map(|n| frame(&payload(n), true)).collect(),
            down: (0..DISTINCT).map(|n| frame(&payload(n), false)).collect(),
            said: 0,
            latencies: Histogram::new(),
        })
    }

    /// Lets one member after another send, and all receive.
    fn say(&mut self, length: Length) -> Result<(), LoadError> {
        self.latencies = Histogram::new();
        let start = Instant::now();
        let (end, until) = match length {
            Length::Messages(messages) => (self.said + messages as usize, None),
            Length::Time(time) => (usize::MAX, Some(start + time)),
        };
        let mut departure = start;
        let mut buffer = vec![0; 64 << 10];
        // Deliveries still outstanding.
        let mut left = 0;
        loop {
            if left == 0 {
                departure = Instant::now();
                if self.said >= end || until.is_some_and(|until| departure >= until) {
                    return Ok(());
                }
                let burst = self.plan.burst.min(end - self.said);
                let frames: Vec<u8> =
                    (self.said..self.said + burst).flat_map(|n| self.up[n % DISTINCT].clone()).collect();
                // A stride, so that successive senders share no shard and no cache line.
                let speaker = self.said.wrapping_mul(7_919) % self.members.len();
                self.members[speaker].write(&frames, self.plan.patience)?;
                self.said += burst;
                left = burst * self.members.len();
            }
            match self.poll.poll(&mut self.events, Some(self.plan.patience)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.events.is_empty() {
                return Err(LoadError::Stalled(left as u64));
            }
            for event in &self.events {
                let member = &mut self.members[event.token().0];
                let before = member.heard;
                member.read(&self.down, self.said, &mut buffer)?;
                let nanos = departure.elapsed().as_nanos() as u64;
                (before..member.heard).for_each(|_| self.latencies.record(nanos));
                left -= member.heard - before;
            }
        }
    }

    /// Asks what broadcasts took since the last time, per place.
    fn ask(&mut self) -> Result<f64, LoadError> {
        let member = &mut self.members[0];
        member.write(&frame(b"?", true), self.plan.patience)?;
        let (start, mut answer) = (Instant::now(), Vec::new());
        loop {
            let mut bytes = [0; 128];
            match member.stream.read(&mut bytes) {
                Ok(n @ 1..) => answer.extend_from_slice(&bytes[..n]),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if start.elapsed() > self.plan.patience {
                        return Err(LoadError::Stalled(1));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
            if answer.len() >= 2 && answer.len() >= 2 + usize::from(answer[1]) {
                break;
            }
        }
        let text = String::from_utf8_lossy(&answer[2..]).into_owned();
        let numbers: Option<Vec<f64>> = text.split(' ').map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some([nanos, places]) => Ok(nanos / places.max(1.0)),
            _ => Err(io::Error::other(format!("no figures: {text:?}")).into()),
        }
    }
}

impl Member {
    fn write(&mut self, mut bytes: &[u8], patience: Duration) -> Result<(), LoadError> {
        let start = Instant::now();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Only this is in flight: the server is about to take it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what has arrived and compares it with what was `said`.
    fn read(&mut self, frames: &[Vec<u8>], said: usize, buffer: &mut [u8]) -> Result<(), LoadError> {
        loop {
            let n = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut came = &buffer[..n];
            while !came.is_empty() {
                let due = &frames[self.heard % frames.len()][self.part..];
                let (now, later) = came.split_at(came.len().min(due.len()));
                if self.heard >= said || now != &due[..now.len()] {
                    return Err(io::Error::other("not the message that was due").into());
                }
                self.part += now.len();
                if now.len() == due.len() {
                    (self.heard, self.part) = (self.heard + 1, 0);
                }
                came = later;
            }
            // A short read has emptied the socket; epoll and kqueue report when there is more.
            if n < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// Size of a server's frame with a payload of this size.
pub fn frame_len(size: usize) -> usize {
    let header = match size {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    header + size
}

/// A text frame as in RFC 6455, section 5.2; a member's is masked.
fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let (key, bit) = ([0x11, 0x22, 0x33, 0x44], if masked { 0x80 } else { 0 });
    let mut frame = vec![0x81];
    match payload.len() {
        len @ 0..=125 => frame.push(bit | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(bit | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(bit | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend(key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend(payload);
    }
    frame
}
