//! The load generator: connects to an echo server, keeps messages under way, checks every byte that comes back.
//!
//! Prints one line of figures. Ends with status 1 and a reason when a server answers wrongly or not at all.

use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use ws_benches::deflate::Compression;
use ws_benches::flags::Flags;
use ws_benches::load::{self, Length, Plan};
use ws_benches::workload::Kind;

const USAGE: &str = "usage: load ADDRESS [flags]
  --connections N   connections (64)
  --in-flight N     messages under way on each (1)
  --size BYTES      payload of a message (32)
  --json            a JSON document instead of binary
  --deflate         compressed by permessage-deflate; the server has to agree
  --level N         at this level (1)
  --window-bits N   with this window both ways (15)
  --no-takeover     with no context kept between messages
  --text            mixed UTF-8 instead of binary
  --raw             a server that echoes bytes: no handshake, masked frames come back as they went
  --seconds S       how long to send (1)
  --messages N      send so many instead
  --warm-up S       the same load before the clock starts (0.2)
  --patience S      give up when no message comes back for so long (10)
  --server PID      a process whose processor time is divided by the messages (Linux)";

fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if plan.server.is_some() && !cfg!(target_os = "linux") {
        eprintln!("load: the server's processor time is known on Linux only; wall-clock figures follow");
    }
    match load::run(&plan) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {}: {error}", plan.address);
            ExitCode::FAILURE
        }
    }
}

fn plan() -> Result<Plan, String> {
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
    let server = flags.value("--server")?;
    let [address] = &flags.rest()?[..] else { return Err("one address, please".to_owned()) };
    let mut addresses = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{address} has no address"))?;
    Ok(Plan {
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
    })
}
