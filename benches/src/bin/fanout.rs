//! Compares rooms: what it costs a server to pass one member's message on to all of them. Prints a table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ws_benches::contestant::Program;
use ws_benches::fanout::{Plan, Report, run};
use ws_benches::flags::Flags;
use ws_benches::load::Length;
use ws_benches::process::Server;
use ws_benches::{cpu, table};

const USAGE: &str = "usage: fanout [flags]
  --members N       connections in the room (10000; each takes a file descriptor here and one in the server)
  --size BYTES      of a message (130)
  --messages N      that count, per round (40)
  --burst N         messages that a member sends at once (1)
  --rounds N        (5)
  --contestants A,B of: ws-actor, ws-actor-on-loops, ws-actor-2-threads, broadcast-channel, broadcast-channel-4k,
                    select, select-4k
It builds nothing: cargo build --profile peak -p ws-benches --features peers
                   cargo build --profile peak -p ws-benches --example room-server";

/// A line of the table.
struct Contestant {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// Whether it reports what its broadcasts take.
    tells: bool,
    /// Whether it has one thread, and so its own core.
    pinned: bool,
}

#[rustfmt::skip]
const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "ws-actor", program: "examples/room-server", arguments: &[], tells: true, pinned: true },
    Contestant { name: "ws-actor-on-loops", program: "examples/room-server", arguments: &["--loops", "1"], tells: true, pinned: true },
    Contestant { name: "ws-actor-2-threads", program: "examples/room-server", arguments: &["--threads", "2"], tells: true, pinned: false },
    Contestant { name: "broadcast-channel", program: "peer-broadcast-channel", arguments: &[], tells: false, pinned: true },
    Contestant { name: "broadcast-channel-4k", program: "peer-broadcast-channel", arguments: &["--read-buffer", "4096"], tells: false, pinned: true },
    Contestant { name: "select", program: "peer-broadcast-channel", arguments: &["--select"], tells: false, pinned: true },
    Contestant { name: "select-4k", program: "peer-broadcast-channel", arguments: &["--select", "--read-buffer", "4096"], tells: false, pinned: true },
];

struct Contest {
    members: usize,
    size: usize,
    messages: usize,
    burst: usize,
    rounds: usize,
    contestants: Vec<&'static Contestant>,
    directory: PathBuf,
}

fn main() -> ExitCode {
    let contest = match contest() {
        Ok(contest) => contest,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut reports: Vec<Vec<Report>> = contest.contestants.iter().map(|_| Vec::new()).collect();
    let mut failed = false;
    for round in 0..contest.rounds {
        for turn in 0..contest.contestants.len() {
            let row = (turn + round) % contest.contestants.len();
            match contest.measure(contest.contestants[row]) {
                Ok(report) => reports[row].push(report),
                Err(reason) => {
                    failed = true;
                    eprintln!("fanout: {}: {reason}", contest.contestants[row].name);
                }
            }
        }
    }
    println!(
        "One room, {} members, {} B, bursts of {}; medians of {} rounds of {} messages\n\n\
         | | server CPU, ns per delivery | spread, % | broadcast call, ns per member | thousand deliveries per second |\n\
         |---|--:|--:|--:|--:|",
        contest.members, contest.size, contest.burst, contest.rounds, contest.messages
    );
    let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
    for (contestant, reports) in contest.contestants.iter().zip(&reports) {
        let of = |figure: &dyn Fn(&Report) -> Option<f64>| -> Vec<f64> {
            reports.iter().filter_map(figure).collect()
        };
        let cost = of(&|report| report.server_ns);
        let spread = cost
            .iter()
            .copied()
            .max_by(f64::total_cmp)
            .zip(cost.iter().copied().min_by(f64::total_cmp))
            .zip(table::median(cost.clone()))
            .map(|((most, least), middle)| (most - least) / middle * 100.0);
        let enqueue = table::median(of(&|report| report.enqueue_ns));
        let rate = |report: &Report| Some(report.deliveries as f64 / report.time.as_secs_f64() / 1e3);
        let cells = [table::median(cost), spread, enqueue, table::median(of(&rate))].map(cell);
        println!("| {} | {} |", contestant.name, cells.join(" | "));
    }
    ExitCode::from(u8::from(failed))
}

fn contest() -> Result<Contest, String> {
    let mut flags = Flags::of_this_process();
    let (members, size) =
        (flags.value("--members")?.unwrap_or(10_000), flags.value("--size")?.unwrap_or(130));
    let (messages, burst) = (flags.value("--messages")?.unwrap_or(40), flags.value("--burst")?.unwrap_or(1));
    let rounds = flags.value("--rounds")?.unwrap_or(5);
    let names = flags.text("--contestants")?;
    let [] = &flags.rest()?[..] else { return Err("no words, please".to_owned()) };
    let contestants: Vec<_> = match &names {
        None => CONTESTANTS.iter().collect(),
        Some(names) => names
            .split(',')
            .map(|name| {
                let known = CONTESTANTS.iter().find(|contestant| contestant.name == name);
                known.ok_or_else(|| format!("{name} is not known"))
            })
            .collect::<Result<_, _>>()?,
    };
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let directory = program.parent().map(Into::into).unwrap_or_default();
    Ok(Contest { members, size, messages, burst, rounds, contestants, directory })
}

impl Contest {
    fn measure(&self, contestant: &Contestant) -> Result<Report, String> {
        let program = Program {
            path: self.directory.join(format!("{}{}", contestant.program, std::env::consts::EXE_SUFFIX)),
            arguments: contestant.arguments.iter().map(ToString::to_string).collect(),
            tunable: false,
        };
        let core = (contestant.pinned && cpu::can_pin()).then_some(0);
        let server = Server::start(&program, &[], core)
            .map_err(|error| format!("{}: {error}", program.path.display()))?;
        run(&Plan {
            address: server.address(),
            members: self.members,
            size: self.size,
            length: Length::Messages(self.messages as u64),
            warm_up: Length::Messages(self.messages.div_ceil(4) as u64),
            burst: self.burst,
            patience: Duration::from_secs(10),
            server: Some(server.pid()),
            tells: contestant.tells,
        })
        .map_err(|error| error.to_string())
    }
}
