//! Measures many connections of one actor: how fast they open, their memory, how fast one of them is answered among all
//! the others. Prints the figures beside the limits of requirement O6, and with `--check` fails if one is not met.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ws_benches::check::Checker;
use ws_benches::contestant::Program;
use ws_benches::cpu;
use ws_benches::flags::Flags;
use ws_benches::histogram::Histogram;
use ws_benches::load::shake_hands;
use ws_benches::process::Server;
use ws_benches::tape::Tape;
use ws_benches::workload::Kind;

const USAGE: &str = "usage: hold [flags]
  --connections N   (10000; each takes a file descriptor here and one in the server)
  --echoes N        round trips, each on another connection (10000)
  --check           fail if a limit is not met
It builds nothing: cargo build --profile peak -p ws-benches --bin hold --example actor-echo-server";

/// O6: about 4 KB per connection, a connect of 1 to 2 ms, a local round trip below 0.5 ms.
const MOST_BYTES: u64 = 4 << 10;
const MOST_TO_OPEN: Duration = Duration::from_millis(2);
const MOST_TO_ANSWER: Duration = Duration::from_micros(500);

const SIZE: usize = 130;

fn main() -> ExitCode {
    let mut flags = Flags::of_this_process();
    let is_check = flags.has("--check");
    let plan = (|| {
        let connections = flags.value("--connections")?.unwrap_or(10_000_usize);
        let echoes = flags.value("--echoes")?.unwrap_or(10_000_usize);
        match &flags.rest()?[..] {
            [] if connections > 0 && echoes > 0 => Ok((connections, echoes)),
            _ => Err("nothing to do".to_owned()),
        }
    })();
    let held = match plan {
        Ok((connections, echoes)) => hold(connections, echoes),
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match held {
        Ok(is_met) => ExitCode::from(u8::from(is_check && !is_met)),
        Err(error) => {
            eprintln!("hold: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the limits are met.
fn hold(connections: usize, echoes: usize) -> Result<bool, Box<dyn std::error::Error>> {
    let own = std::env::current_exe()?;
    let directory = own.parent().ok_or("this program lies nowhere")?;
    let path = directory.join(format!("examples/actor-echo-server{}", std::env::consts::EXE_SUFFIX));
    let program = Program { path, arguments: Vec::new(), tunable: false };
    let server = Server::start(&program, &[], cpu::can_pin().then_some(0))?;
    let tape = Tape::new(Kind::Text, SIZE, 64, false);

    let connect = || -> Result<TcpStream, Box<dyn std::error::Error>> {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        shake_hands(&mut stream, None)?;
        Ok(stream)
    };
    drop(connect()?);
    let before = resident(server.pid())?;
    let (mut opening, mut answering) = (Histogram::new(), Histogram::new());
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let start = Instant::now();
        streams.push(connect()?);
        opening.record(start.elapsed().as_nanos() as u64);
    }
    // A stride that is coprime to most numbers: neighbours were opened one after the other and are adjacent in memory.
    let mut at = 0;
    for nth in 0..echoes {
        at = (at + 7_919) % connections;
        let start = Instant::now();
        echo(&mut streams[at], &tape, nth)?;
        answering.record(start.elapsed().as_nanos() as u64);
    }
    let each = resident(server.pid())?.saturating_sub(before) / connections as u64;

    let micros = |histogram: &Histogram, part| histogram.quantile(part).unwrap_or(0) as f64 / 1e3;
    let verdict = |is_met: bool| if is_met { "met" } else { "NOT MET" };
    let opens = micros(&opening, 0.5) <= MOST_TO_OPEN.as_secs_f64() * 1e6;
    let answers = micros(&answering, 0.5) < MOST_TO_ANSWER.as_secs_f64() * 1e6;
    let fits = each <= MOST_BYTES;
    println!(
        "{connections} connections of one actor\n\n| | p50 | p99 | limit | |\n|---|--:|--:|--:|---|\n\
         | connect and handshake, µs | {:.0} | {:.0} | 2000 | {} |\n\
         | round trip of {SIZE} B among all of them, µs | {:.0} | {:.0} | 500 | {} |\n\
         | resident memory of the server per connection, B | {each} | | {MOST_BYTES} | {} |",
        micros(&opening, 0.5),
        micros(&opening, 0.99),
        verdict(opens),
        micros(&answering, 0.5),
        micros(&answering, 0.99),
        verdict(answers),
        verdict(fits),
    );
    Ok(opens && answers && fits)
}

fn echo(stream: &mut TcpStream, tape: &Tape, nth: usize) -> Result<(), Box<dyn std::error::Error>> {
    let nth = nth % tape.messages();
    stream.write_all(tape.frame(nth))?;
    let (mut checker, mut pongs, mut buffer) = (Checker::new(nth), Vec::new(), [0; 4 * 1024]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if checker.take(tape, &buffer[..read], &mut pongs)? > 0 {
            return Ok(());
        }
    }
}

/// The resident memory of a process, in bytes; an error where the system does not report it.
fn resident(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("no resident memory is told"))? * 1024)
}
