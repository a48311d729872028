//! The load generator: connects to an echo server, keeps messages in flight, checks every byte that comes back. Or it
//! connects to a room, where each message goes to all; or only opens connections; or opens many, and reads their memory.
//!
//! Prints one line of figures. Exits with status 1 and a reason when a server answers wrongly or not at all.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use ws_benches::deflate::Compression;
use ws_benches::flags::Flags;
use ws_benches::load::{self, Length, LoadError, Plan};
use ws_benches::report::Report;
use ws_benches::workload::Kind;
use ws_benches::{fanout, idle, opening};

const USAGE: &str = "usage: load ADDRESS [flags]
  --connections N   connections (64)
  --in-flight N     messages in flight on each (1)
  --size BYTES      payload of a message (32)
  --json            a JSON document instead of binary
  --deflate         compressed by permessage-deflate; the server must agree
  --level N         at this level (1)
  --window-bits N   with this window both ways (15)
  --no-takeover     with no context kept between messages
  --text            mixed UTF-8 instead of binary
  --raw             a server that echoes bytes: no handshake, masked frames come back unchanged
  --seconds S       how long to send (1)
  --messages N      send this many instead
  --warm-up S       the same load before the clock starts (0.2)
  --broadcast       a room: one member sends `--in-flight` messages to all, the next one when all have them
  --open N          opens this many connections, `--connections` of them at a time
  --idle            opens connections, sends a small and a large message on each, prints resident memory (Linux)
  --patience S      give up when no message comes back for this long (10)
  --server PID      a process whose processor time is divided by the messages (Linux)";

/// What to do.
enum Task {
    Echo(Plan),
    Broadcast(fanout::Plan),
    Open(opening::Plan),
    Idle(idle::Plan),
}

fn main() -> ExitCode {
    let (address, task) = match task() {
        Ok(task) => task,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let line = match &task {
        Task::Echo(plan) => load::run(plan).map(|report| report.to_string()),
        Task::Broadcast(plan) => fanout::run(plan).map(|room| deliveries(plan, &room).to_string()),
        Task::Open(plan) => opening::run(plan).map(|report| report.to_string()),
        Task::Idle(plan) => idle::run(plan).map(|holds| holds.to_string()),
    };
    match line {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let hint = match &error {
                LoadError::Io(io) if io.raw_os_error() == Some(24) => {
                    "; each connection is a file descriptor: ulimit -n"
                }
                _ => "",
            };
            eprintln!("load: {address}: {error}{hint}");
            ExitCode::FAILURE
        }
    }
}

/// A room's figures, per delivery.
fn deliveries(plan: &fanout::Plan, room: &fanout::Report) -> Report {
    Report {
        messages: room.deliveries,
        bytes: fanout::frame_len(plan.size) as f64,
        seconds: room.time.as_secs_f64(),
        p50_us: room.p50_us,
        p99_us: room.p99_us,
        server_ns: room.server_ns,
    }
}

fn task() -> Result<(SocketAddr, Task), String> {
    let mut flags = Flags::of_this_process();
    let seconds = |value: Option<f64>, default| {
        Duration::try_from_secs_f64(value.unwrap_or(default)).map_err(|error| error.to_string())
    };
    let length = match flags.value("--messages")? {
        Some(messages) => Length::Messages(messages),
        None => Length::Time(seconds(flags.value("--seconds")?, 1.0)?),
    };
    let warm_up = seconds(flags.value("--warm-up")?, 0.2)?;
    let patience = seconds(flags.value("--patience")?, 10.0)?;
    let connections = flags.value("--connections")?.unwrap_or(64);
    let in_flight = flags.value("--in-flight")?.unwrap_or(1);
    let size = flags.value("--size")?.unwrap_or(32);
    let kind = match (flags.has("--text"), flags.has("--json")) {
        (true, _) => Kind::Text,
        (false, true) => Kind::Json,
        _ => Kind::Binary,
    };
    let deflate = flags.has("--deflate");
    let level = flags.value("--level")?.unwrap_or(1);
    let window_bits = flags.value("--window-bits")?.unwrap_or(15);
    if !(1..=9).contains(&level) || !(9..=15).contains(&window_bits) {
        return Err("levels are 1 to 9, windows 9 to 15".to_owned());
    }
    let takeover = !flags.has("--no-takeover");
    let compression = deflate.then_some(Compression { level, window_bits, takeover });
    let raw = flags.has("--raw");
    let (broadcast, opens, is_idle) = (flags.has("--broadcast"), flags.value("--open")?, flags.has("--idle"));
    let server: Option<u32> = flags.value("--server")?;
    let [address] = &flags.rest()?[..] else { return Err("one address, please".to_owned()) };
    let mut addresses = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{address} has no address"))?;
    if server.is_some() && !cfg!(target_os = "linux") {
        eprintln!("load: the server's processor time is known on Linux only; wall-clock figures follow");
    }
    let task = match (broadcast, opens, is_idle) {
        (false, None, false) => Task::Echo(Plan {
            address,
            connections,
            in_flight,
            size,
            kind,
            raw,
            compression,
            warm_up,
            length,
            patience,
            server,
        }),
        (true, None, false) => Task::Broadcast(fanout::Plan {
            address,
            members: connections,
            size,
            length,
            warm_up: Length::Time(warm_up),
            burst: in_flight,
            patience,
            server,
            tells: false,
        }),
        (false, Some(opens), false) => {
            Task::Open(opening::Plan { address, at_once: connections, opens, patience, server })
        }
        (false, None, true) => {
            let server = server.ok_or("--idle looks at a process: --server PID")?;
            Task::Idle(idle::Plan { address, connections, patience, server })
        }
        _ => return Err("one of --broadcast, --open, --idle".to_owned()),
    };
    Ok((address, task))
}
