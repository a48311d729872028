//! Contestants side by side: a fresh server on one core, the generator on the other, rounds interleaved.
//!
//! One round runs every workload against every contestant before the next round begins, and each round begins with
//! another contestant, so that a machine that gets slower or busier does so for all of them.

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use crate::contestant::{Contestant, Program};
use crate::cpu;
use crate::idle::Holds;
use crate::process::Server;
use crate::report::Report;
use crate::workload::{Kind, Shape, Workload};

/// Connections opened per second of the contest's length: each occupies a port of this machine for a minute afterwards.
const OPENS_PER_SECOND: f64 = 5_000.0;
const MOST_OPENS: f64 = 10_000.0;

/// How to run a contest.
#[derive(Clone, Debug)]
pub struct Contest {
    /// The contestants.
    pub contestants: Vec<Contestant>,
    /// The workloads.
    pub workloads: Vec<Workload>,
    /// How many rounds each contestant runs in each workload.
    pub rounds: usize,
    /// Seconds that count, per run.
    pub seconds: f64,
    /// Seconds of warm-up before them.
    pub warm_up: f64,
    /// zlib's level, and the window in bits, for all that compress.
    pub compression: (u8, u8),
    /// The generator's program.
    pub generator: PathBuf,
    /// Whether servers run on core 0 and the generator on core 1.
    pub pin: bool,
}

/// The results of a contest: one list of rounds per contestant and workload. A round that failed is empty.
pub struct Outcome {
    pub(crate) reports: Vec<Vec<Vec<Option<Report>>>>,
    pub(crate) holds: Vec<Vec<Vec<Option<Holds>>>>,
    /// What went wrong, as text.
    pub failures: Vec<String>,
}

impl Outcome {
    /// The rounds of one contestant in one workload, by their places in the contest.
    pub fn rounds(&self, contestant: usize, workload: usize) -> &[Option<Report>] {
        &self.reports[contestant][workload]
    }

    /// The same for a workload whose connections are idle.
    pub fn holds(&self, contestant: usize, workload: usize) -> &[Option<Holds>] {
        &self.holds[contestant][workload]
    }
}

impl Contest {
    /// Rounds of a workload. The memory of connections does not depend on the moment, and takes long to measure.
    pub fn rounds_of(&self, workload: &Workload) -> usize {
        if workload.shape == Shape::Idle { self.rounds.div_ceil(3) } else { self.rounds }
    }

    /// Runs all rounds; `progress` is told what runs next. A failure costs its cell one round, not the contest.
    pub fn run(&self, mut progress: impl FnMut(usize, &Workload, &Contestant)) -> Outcome {
        let mut outcome = Outcome {
            reports: vec![vec![Vec::new(); self.workloads.len()]; self.contestants.len()],
            holds: vec![vec![Vec::new(); self.workloads.len()]; self.contestants.len()],
            failures: Vec::new(),
        };
        for round in 0..self.rounds {
            for (column, workload) in self.workloads.iter().enumerate() {
                if round >= self.rounds_of(workload) {
                    continue;
                }
                for turn in 0..self.contestants.len() {
                    let row = (turn + round) % self.contestants.len();
                    let contestant = &self.contestants[row];
                    let Some(program) = contestant.program(workload) else { continue };
                    progress(round, workload, contestant);
                    let line = self.measure(contestant, program, workload);
                    let result = if workload.shape == Shape::Idle {
                        enter(line, &mut outcome.holds[row][column])
                    } else {
                        enter(line, &mut outcome.reports[row][column])
                    };
                    if let Err(reason) = result {
                        outcome.failures.push(format!("{} in {}: {reason}", contestant.name, workload.name));
                    }
                }
            }
        }
        outcome
    }

    /// Starts a server, loads it, stops it. Returns the generator's line.
    fn measure(
        &self,
        contestant: &Contestant,
        program: &Program,
        workload: &Workload,
    ) -> Result<String, String> {
        let (level, window_bits) = (self.compression.0.to_string(), self.compression.1.to_string());
        let tuning = ["--level", &level, "--window-bits", &window_bits];
        let tunes = program.tunable && workload.is_compressed();
        let server = Server::start(program, if tunes { &tuning } else { &[] }, self.pin.then_some(0))
            .map_err(|error| format!("{}: {error}", program.path.display()))?;
        let mut load = cpu::pinned(self.pin.then_some(1), &self.generator);
        load.arg(server.address().to_string())
            .args(["--connections", &workload.connections.to_string()])
            .args(["--server", &server.pid().to_string()]);
        self.shape(&mut load, workload, &tuning);
        if contestant.is_raw {
            load.arg("--raw");
        }
        let output = load.output().map_err(|error| format!("{}: {error}", self.generator.display()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// The generator's flags for a workload.
    fn shape(&self, load: &mut Command, workload: &Workload, tuning: &[&str]) {
        let seconds = [("--seconds", self.seconds), ("--warm-up", self.warm_up)];
        let timed = seconds.map(|(flag, value)| [flag.to_owned(), value.to_string()]);
        match workload.shape {
            Shape::Echo { in_flight, size, kind, takeover } => {
                load.args(timed.as_flattened())
                    .args(["--in-flight", &in_flight.to_string()])
                    .args(["--size", &size.to_string()]);
                match kind {
                    Kind::Binary => {}
                    Kind::Text => drop(load.arg("--text")),
                    Kind::Json => drop(load.arg("--json")),
                }
                if let Some(takeover) = takeover {
                    load.arg("--deflate").args(tuning).args((!takeover).then_some("--no-takeover"));
                }
            }
            Shape::Broadcast { burst, size } => {
                load.arg("--broadcast")
                    .args(["--in-flight", &burst.to_string()])
                    .args(timed.as_flattened())
                    .args(["--size", &size.to_string()]);
            }
            Shape::Open => {
                let opens = (self.seconds * OPENS_PER_SECOND).clamp(1.0, MOST_OPENS);
                load.args(["--open", &opens.round().to_string()]);
            }
            Shape::Idle => drop(load.arg("--idle")),
        }
    }
}

/// Records the generator's line as the next round, or nothing if it is not a figure.
fn enter<T: FromStr>(line: Result<String, String>, rounds: &mut Vec<Option<T>>) -> Result<(), String> {
    let figures = line.and_then(|line| line.parse().map_err(|_| line));
    let (figures, result) = match figures {
        Ok(figures) => (Some(figures), Ok(())),
        Err(reason) => (None, Err(reason)),
    };
    rounds.push(figures);
    result
}
