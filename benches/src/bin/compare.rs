//! Runs servers against each other and prints tables of what a message and a connection cost each of them, and of the
//! memory a connection holds.

use std::path::PathBuf;
use std::process::ExitCode;

use ws_benches::contest::Contest;
use ws_benches::contestant::{self, Contestant};
use ws_benches::cpu;
use ws_benches::flags::Flags;
use ws_benches::syscalls;
use ws_benches::table;
use ws_benches::workload;

const USAGE: &str = "usage: compare [flags] [NAME=PROGRAM ...]
  --quick               three short rounds instead of seven
  --rounds N            rounds
  --seconds S           seconds that count, per contestant, workload and round
  --contestants A,B     only these (programs named NAME=PROGRAM always run)
  --workloads A,B       only these
  --level N             of compression, for all that compress (1)
  --window-bits N       of compression, both ways (15)
  --wall NAME           what the ratios divide by (limit-raw-mio for echoes, the other limits for the rest)
  --strace              count system calls per message instead, in echo-32, echo-32-p16, echo-16k
  --list                show contestants and workloads, run nothing
NAME=PROGRAM adds any echo server that takes its address as its argument.
It builds nothing: cargo build --release -p ws-benches --features peers --bins --examples
                   cargo build --release -p ws-tokio --example echo-server --example broadcast-server
                   cargo build --release -p ws-mio --features deflate --examples
                   (cd benches/npm && npm install)";

fn main() -> ExitCode {
    match prepare() {
        Ok(Some((contest, Mode::Trace))) => trace(&contest),
        Ok(Some((contest, Mode::Time { wall }))) => compare(&contest, wall.as_deref()),
        Ok(None) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// What is measured.
enum Mode {
    /// What things cost, divided by the contestant of this name, or by each column's own limit.
    Time {
        wall: Option<String>,
    },
    Trace,
}

/// The workloads traced by default: single messages, batches, and messages larger than some buffers.
const TRACED: [&str; 3] = ["echo-32", "echo-32-p16", "echo-16k"];

fn prepare() -> Result<Option<(Contest, Mode)>, String> {
    let mut flags = Flags::of_this_process();
    let quick = flags.has("--quick");
    let rounds = flags.value("--rounds")?.unwrap_or(if quick { 3 } else { 7 });
    let seconds = flags.value("--seconds")?.unwrap_or(if quick { 0.25 } else { 1.0 });
    let only_contestants = list(flags.text("--contestants")?);
    let mut only_workloads = list(flags.text("--workloads")?);
    let is_traced = flags.has("--strace");
    if is_traced {
        only_workloads.get_or_insert_with(|| TRACED.map(str::to_owned).into());
    }
    let wall = flags.text("--wall")?;
    let level = flags.value("--level")?.unwrap_or(1);
    let window_bits = flags.value("--window-bits")?.unwrap_or(15);
    if !(1..=9).contains(&level) || !(9..=15).contains(&window_bits) {
        return Err("levels are 1 to 9, windows 9 to 15".to_owned());
    }
    let show = flags.has("--list");
    let added = flags.rest()?;

    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let directory = own.parent().ok_or("this program lies nowhere")?;
    let known = contestant::known(directory);
    if show {
        for mut contestant in known {
            let missing = contestant.forget_missing(workload::ALL);
            let missing: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            let built = if missing.is_empty() {
                String::new()
            } else {
                format!(" (not built: {})", missing.join(", "))
            };
            println!("contestant {}{built}", contestant.name);
        }
        workload::ALL.iter().for_each(|workload| println!("workload {}", workload.name));
        return Ok(None);
    }
    let names: Vec<&str> = known.iter().map(|contestant| contestant.name.as_str()).collect();
    reject_strangers(only_contestants.as_deref(), &names)?;
    let names: Vec<&str> = workload::ALL.iter().map(|workload| workload.name).collect();
    reject_strangers(only_workloads.as_deref(), &names)?;

    let wanted = |only: &Option<Vec<String>>, name: &str| {
        only.as_ref().is_none_or(|only| only.iter().any(|n| n == name))
    };
    let workloads: Vec<_> =
        workload::ALL.iter().filter(|workload| wanted(&only_workloads, workload.name)).copied().collect();
    let mut contestants = Vec::new();
    for mut contestant in known {
        if !wanted(&only_contestants, &contestant.name) {
            continue;
        }
        for path in contestant.forget_missing(&workloads) {
            let message = format!("{}: {} is not built", contestant.name, path.display());
            if only_contestants.is_some() {
                return Err(message);
            }
            eprintln!("compare: {message}");
        }
        if contestant.joins(&workloads) {
            contestants.push(contestant);
        }
    }
    for word in added {
        let (name, program) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=PROGRAM"))?;
        contestants.push(Contestant::named(name.to_owned(), PathBuf::from(program)));
    }
    let generator = directory.join(format!("load{}", std::env::consts::EXE_SUFFIX));
    let warm_up = if quick { 0.1 } else { 0.3 };
    let pin = cpu::can_pin();
    Ok(Some((
        Contest {
            contestants,
            workloads,
            rounds,
            seconds,
            warm_up,
            compression: (level, window_bits),
            generator,
            pin,
        },
        if is_traced { Mode::Trace } else { Mode::Time { wall } },
    )))
}

/// A table of system calls.
fn trace(contest: &Contest) -> ExitCode {
    if !syscalls::can_trace() {
        eprintln!("compare: there is no strace here");
        return ExitCode::FAILURE;
    }
    let names: Vec<&str> = contest.workloads.iter().map(|workload| workload.name).collect();
    println!(
        "System calls for a message\n\n| | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    let mut failed = false;
    for contestant in &contest.contestants {
        let mut cells = Vec::new();
        for workload in &contest.workloads {
            let Some(program) = contestant.program(workload) else { break };
            match syscalls::count(program, contestant.is_raw, workload, &contest.generator) {
                Ok(calls) => cells.push(syscalls::show(&calls)),
                Err(reason) => {
                    failed = true;
                    eprintln!("compare: {} in {}: {reason}", contestant.name, workload.name);
                    cells.push("–".to_owned());
                }
            }
        }
        if !cells.is_empty() {
            println!("| {} | {} |", contestant.name, cells.join(" | "));
        }
    }
    ExitCode::from(u8::from(failed))
}

fn compare(contest: &Contest, wall: Option<&str>) -> ExitCode {
    if !contest.pin {
        eprintln!("compare: no two cores or no taskset: nothing is pinned, and the figures will wander");
    }
    let outcome = contest.run(|round, workload, contestant| {
        eprintln!("round {} of {}: {}, {}", round + 1, contest.rounds, workload.name, contestant.name);
    });
    print!("{}", table::render(contest, &outcome, wall));
    for failure in &outcome.failures {
        eprintln!("compare: {failure}");
    }
    if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list(words: Option<String>) -> Option<Vec<String>> {
    words.map(|words| words.split(',').map(str::to_owned).collect())
}

fn reject_strangers(wanted: Option<&[String]>, known: &[&str]) -> Result<(), String> {
    match wanted.unwrap_or_default().iter().find(|name| !known.contains(&name.as_str())) {
        Some(stranger) => Err(format!("{stranger} is unknown; --list shows what there is")),
        None => Ok(()),
    }
}
