//! Measures what members that stop reading cost the others in a room, for each overflow policy. Prints a table.
//!
//! Pairs of runs, one with all members reading and one with some that do not, alternating. Messages are sent at a steady
//! pace; the latency is from the moment a message is due to its arrival, whole and checked, at each of those that read.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use ws_benches::contestant::Program;
use ws_benches::flags::Flags;
use ws_benches::histogram::Histogram;
use ws_benches::load::shake_hands;
use ws_benches::process::Server;
use ws_benches::{cpu, table};

const USAGE: &str = "usage: stalled [flags]
  --members N       connections in the room (1000)
  --stalled N       of them that stop reading, in every second run (10)
  --size BYTES      of a message (130)
  --rate N          messages per second (20)
  --seconds S       that count, per run; less than the write timeout of 10 (5)
  --pairs N         of runs (5)
  --policies A,B    of: close, drop-new, drop-old, conflate
It builds nothing: cargo build --profile peak -p ws-benches --bin stalled --example room-server";

const POLICIES: [&str; 4] = ["close", "drop-new", "drop-old", "conflate"];

/// How often a member asks for half a MiB before it stops reading: more than the sockets and an outbox hold.
const FILL: usize = 16;

struct Plan {
    members: usize,
    stalled: usize,
    size: usize,
    rate: f64,
    time: Duration,
    pairs: usize,
    policies: Vec<String>,
    program: PathBuf,
}

/// What a run measured.
struct Run {
    /// Latencies in microseconds.
    p50: f64,
    p99: f64,
    /// Members at the end, places lost to the policy.
    members: u64,
    dropped: u64,
    /// Bytes that the heap grew by while members stalled, and by the end.
    heap: f64,
}

fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!(
        "One room, {} members of which {} stop reading, {} B, {} messages a second for {} s; medians of {} pairs\n\n\
         | policy | p50, µs: none / some stalled | p99, µs: none / some stalled | ratio of the p99s | members left | places \
         lost | heap, KiB per stalled member |\n|---|--:|--:|--:|--:|--:|--:|",
        plan.members,
        plan.stalled,
        plan.size,
        plan.rate,
        plan.time.as_secs_f64(),
        plan.pairs
    );
    let mut failed = false;
    for policy in &plan.policies {
        let mut pairs = Vec::new();
        for pair in 0..plan.pairs {
            // Alternately the one or the other first.
            let order = if pair % 2 == 0 { [0, plan.stalled] } else { [plan.stalled, 0] };
            match order.map(|stalled| plan.run(policy, stalled)) {
                [Ok(one), Ok(other)] => pairs.push(if pair % 2 == 0 { [one, other] } else { [other, one] }),
                results => {
                    failed = true;
                    for error in results.into_iter().filter_map(Result::err) {
                        eprintln!("stalled: {policy}: {error}");
                    }
                }
            }
        }
        let of = |figure: &dyn Fn(&[Run; 2]) -> f64| table::median(pairs.iter().map(figure).collect());
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        println!(
            "| {policy} | {} / {} | {} / {} | {} | {} | {} | {} |",
            cell(of(&|[none, _]| none.p50), 0),
            cell(of(&|[_, some]| some.p50), 0),
            cell(of(&|[none, _]| none.p99), 0),
            cell(of(&|[_, some]| some.p99), 0),
            cell(of(&|[none, some]| some.p99 / none.p99), 2),
            cell(of(&|[_, some]| some.members as f64), 0),
            cell(of(&|[_, some]| some.dropped as f64), 0),
            cell(of(&|[_, some]| some.heap / 1024.0 / plan.stalled.max(1) as f64), 0),
        );
    }
    ExitCode::from(u8::from(failed))
}

fn plan() -> Result<Plan, String> {
    let mut flags = Flags::of_this_process();
    let (members, stalled) =
        (flags.value("--members")?.unwrap_or(1_000), flags.value("--stalled")?.unwrap_or(10));
    let (size, rate) = (flags.value("--size")?.unwrap_or(130), flags.value("--rate")?.unwrap_or(20.0));
    let seconds = Duration::try_from_secs_f64(flags.value("--seconds")?.unwrap_or(5.0));
    let pairs = flags.value("--pairs")?.unwrap_or(5);
    let policies = flags.text("--policies")?;
    let [] = &flags.rest()?[..] else { return Err("no words, please".to_owned()) };
    if stalled >= members || !(8..=65_535).contains(&size) || rate <= 0.0 {
        return Err("somebody reads, and messages have room for a number".to_owned());
    }
    let policies = match policies {
        None => POLICIES.map(str::to_owned).into(),
        Some(policies) => policies.split(',').map(str::to_owned).collect(),
    };
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let directory = own.parent().ok_or("this program lies nowhere")?;
    let program = directory.join(format!("examples/room-server{}", std::env::consts::EXE_SUFFIX));
    let time = seconds.map_err(|error| error.to_string())?;
    Ok(Plan { members, stalled, size, rate, time, pairs, policies, program })
}

type Failure = Box<dyn std::error::Error>;

fn connect(address: SocketAddr) -> Result<std::net::TcpStream, Failure> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    shake_hands(&mut stream, None)?;
    Ok(stream)
}

impl Plan {
    /// One run, with this many that stop reading.
    fn run(&self, policy: &str, stalled: usize) -> Result<Run, Failure> {
        let arguments = ["--overflow", policy, "--count-heap"].map(str::to_owned).to_vec();
        let program = Program { path: self.program.clone(), arguments, tunable: false };
        let server = Server::start(&program, &[], cpu::can_pin().then_some(0))?;
        let poll = Poll::new()?;
        // The same number is observed in either run.
        let mut readers = Vec::new();
        for index in 0..self.members - stalled {
            let stream = connect(server.address())?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            readers.push(Reader { stream, came: Vec::new(), heard: 0 });
        }
        let mut deaf = (0..stalled).map(|_| connect(server.address())).collect::<Result<Vec<_>, _>>()?;
        sleep(Duration::from_millis(300));
        let [.., before] = ask(&mut readers[0].stream)?;
        for _ in 0..FILL {
            for stream in &mut deaf {
                // One that was closed because of it takes no more.
                let _ = stream.write_all(&masked(b"!"));
            }
            sleep(Duration::from_millis(20));
        }
        let latencies = self.talk(poll, &mut readers)?;
        let [members, dropped, after] = ask(&mut readers[0].stream)?;
        let micros = |part| latencies.quantile(part).map_or(f64::NAN, |nanos| nanos as f64 / 1e3);
        let heap = after as f64 - before as f64;
        Ok(Run { p50: micros(0.5), p99: micros(0.99), members, dropped, heap })
    }

    /// Lets the first reader send, and the first `members - stalled` receive everything.
    fn talk(&self, mut poll: Poll, readers: &mut [Reader]) -> Result<Histogram, Failure> {
        let (begin, every) = (Instant::now(), Duration::from_secs_f64(1.0 / self.rate));
        let total = (self.time.as_secs_f64() * self.rate).ceil() as usize;
        let payload = |n: usize| format!("{n:0>size$}", size = self.size).into_bytes();
        let frames: Vec<_> = (0..total).map(|n| plain(&payload(n))).collect();
        let counted = self.members - self.stalled;
        let (mut said, mut left) = (0, total * readers.len());
        let (mut latencies, mut events) = (Histogram::new(), Events::with_capacity(1_024));
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let due = begin + every * said as u32;
            if said < total && due <= Instant::now() {
                let frame = masked(&payload(said));
                if readers[0].stream.write(&frame)? < frame.len() {
                    return Err("the server does not read".into());
                }
                said += 1;
                continue;
            }
            let wait = if said < total {
                due.saturating_duration_since(Instant::now())
            } else {
                Duration::from_secs(5)
            };
            poll.poll(&mut events, Some(wait))?;
            if events.is_empty() && said == total {
                return Err(format!("{left} messages have not arrived").into());
            }
            for event in &events {
                let index = event.token().0;
                let reader = &mut readers[index];
                let heard = reader.heard;
                reader.read(&frames[..said], &mut buffer)?;
                left -= reader.heard - heard;
                let now = Instant::now();
                if index < counted {
                    for n in heard..reader.heard {
                        let due = begin + every * n as u32;
                        latencies.record(now.saturating_duration_since(due).as_nanos() as u64);
                    }
                }
            }
        }
        Ok(latencies)
    }
}

struct Reader {
    stream: TcpStream,
    /// Part of the next message.
    came: Vec<u8>,
    heard: usize,
}

impl Reader {
    /// Reads what has arrived and compares it with what was sent.
    fn read(&mut self, frames: &[Vec<u8>], buffer: &mut [u8]) -> Result<(), Failure> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server has hung up on one that reads".into()),
                Ok(n) => self.came.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut came = &self.came[..];
        while let Some(due) = frames.get(self.heard) {
            let Some(rest) = came.strip_prefix(&due[..]) else { break };
            came = rest;
            self.heard += 1;
        }
        let is_due = came.is_empty() || frames.get(self.heard).is_some_and(|due| due.starts_with(came));
        if !is_due {
            return Err("not the message that was due".into());
        }
        let rest = came.len();
        self.came.drain(..self.came.len() - rest);
        Ok(())
    }
}

/// Members, places lost, bytes on the heap: as the server reports them when nothing is in flight.
fn ask(stream: &mut TcpStream) -> Result<[u64; 3], Failure> {
    sleep(Duration::from_millis(200));
    stream.write_all(&masked(b"#"))?;
    let (start, mut came) = (Instant::now(), Vec::new());
    while came.len() < 2 || came.len() < 2 + usize::from(came[1]) {
        let mut bytes = [0; 128];
        match stream.read(&mut bytes) {
            Ok(0) => return Err("the server has hung up".into()),
            Ok(n) => came.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed().as_secs() < 10 => {
                sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let text = std::str::from_utf8(&came[2..])?;
    let numbers = text.split(' ').map(str::parse).collect::<Result<Vec<_>, _>>()?;
    numbers.try_into().map_err(|_| format!("no figures: {text:?}").into())
}

/// A text frame of a member, masked: RFC 6455, section 5.2.
fn masked(payload: &[u8]) -> Vec<u8> {
    let key = [0x11, 0x22, 0x33, 0x44];
    let mut frame = head(payload.len(), 0x80);
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The same from the server, which does not mask.
fn plain(payload: &[u8]) -> Vec<u8> {
    let mut frame = head(payload.len(), 0);
    frame.extend(payload);
    frame
}

fn head(len: usize, bit: u8) -> Vec<u8> {
    match len {
        0..=125 => vec![0x81, bit | len as u8],
        _ => [&[0x81, bit | 126][..], &(len as u16).to_be_bytes()].concat(),
    }
}
