//! Contestants side by side: a fresh server on one core, the generator on the other, rounds interleaved.
//!
//! One round runs every workload against every contestant before the next round begins, and each round begins with
//! another contestant, so that a machine that gets slower or busier does so for all of them.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cpu;
use crate::report::Report;
use crate::workload::{Kind, Workload};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// What a contestant is in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A raw echo: what the machine can do.
    Limit,
    /// Another library.
    Peer,
    /// This workspace, or whatever the command line names.
    Ours,
}

/// A server that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contestant {
    /// What the tables call it.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// Words before the address.
    pub arguments: Vec<String>,
    /// Limit, peer or ours.
    pub standing: Standing,
}

/// The contestants that this workspace knows, in the order of the tables' rows, whether built or not. `directory` is
/// where cargo puts binaries.
pub fn known(directory: &Path) -> Vec<Contestant> {
    let contestant = |name: &str, program: &str, arguments: &[&str], standing| Contestant {
        name: name.to_owned(),
        program: directory.join(format!("{program}{}", std::env::consts::EXE_SUFFIX)),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        standing,
    };
    let peer = |name: &str, program: &str, arguments: &[&str]| {
        contestant(name, &format!("peer-{program}"), arguments, Standing::Peer)
    };
    vec![
        contestant("limit-raw-mio", "limit-raw-mio", &[], Standing::Limit),
        contestant("limit-raw-tokio", "limit-raw-tokio", &[], Standing::Limit),
        peer("tokio-tungstenite", "tokio-tungstenite", &[]),
        peer("tokio-tungstenite-4k", "tokio-tungstenite", &["--read-buffer", "4096"]),
        peer("fastwebsockets", "fastwebsockets", &[]),
        peer("tokio-websockets", "tokio-websockets", &[]),
        contestant("ws-tokio", "examples/echo-server", &[], Standing::Ours),
    ]
}

/// How to run a contest.
#[derive(Clone, Debug)]
pub struct Contest {
    /// Who takes part.
    pub contestants: Vec<Contestant>,
    /// In what.
    pub workloads: Vec<Workload>,
    /// How often each meets each.
    pub rounds: usize,
    /// Seconds that count, each time.
    pub seconds: f64,
    /// Seconds before them.
    pub warm_up: f64,
    /// The generator's program.
    pub generator: PathBuf,
    /// Whether servers run on core 0 and the generator on core 1.
    pub pin: bool,
}

/// All reports of a contest: one list of rounds for each contestant and workload.
pub struct Outcome {
    reports: Vec<Vec<Vec<Report>>>,
    /// What went wrong, in words.
    pub failures: Vec<String>,
}

impl Outcome {
    /// The rounds of one contestant in one workload, by their places in the contest.
    pub fn rounds(&self, contestant: usize, workload: usize) -> &[Report] {
        &self.reports[contestant][workload]
    }
}

impl Contest {
    /// Runs all rounds; `progress` is told what runs next. A failure costs its cell one round, not the contest.
    pub fn run(&self, mut progress: impl FnMut(usize, &Workload, &Contestant)) -> Outcome {
        let mut outcome = Outcome {
            reports: vec![vec![Vec::new(); self.workloads.len()]; self.contestants.len()],
            failures: Vec::new(),
        };
        for round in 0..self.rounds {
            for (column, workload) in self.workloads.iter().enumerate() {
                for turn in 0..self.contestants.len() {
                    let row = (turn + round) % self.contestants.len();
                    let contestant = &self.contestants[row];
                    progress(round, workload, contestant);
                    match self.measure(contestant, workload) {
                        Ok(report) => outcome.reports[row][column].push(report),
                        Err(reason) => {
                            outcome
                                .failures
                                .push(format!("{} in {}: {reason}", contestant.name, workload.name));
                        }
                    }
                }
            }
        }
        outcome
    }

    /// Starts a server, loads it, ends it.
    fn measure(&self, contestant: &Contestant, workload: &Workload) -> Result<Report, String> {
        let server = Server::start(contestant, self.pin.then_some(0))
            .map_err(|error| format!("{}: {error}", contestant.program.display()))?;
        let mut load = cpu::pinned(self.pin.then_some(1), &self.generator);
        load.arg(server.address.to_string())
            .args(["--connections", &workload.connections.to_string()])
            .args(["--in-flight", &workload.in_flight.to_string()])
            .args(["--size", &workload.size.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .args(["--warm-up", &self.warm_up.to_string()])
            .args(["--server", &server.child.id().to_string()]);
        if workload.kind == Kind::Text {
            load.arg("--text");
        }
        if contestant.standing == Standing::Limit {
            load.arg("--raw");
        }
        let output = load.output().map_err(|error| format!("{}: {error}", self.generator.display()))?;
        let line = String::from_utf8_lossy(&output.stdout);
        match line.parse() {
            Ok(report) if output.status.success() => Ok(report),
            _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

/// A running server, ended when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(contestant: &Contestant, core: Option<usize>) -> io::Result<Self> {
        // The system names a free port; nobody else should take it in the moment until the server does.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = cpu::pinned(core, &contestant.program)
            .args(&contestant.arguments)
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut server = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("ended before it listened: {status}")));
            }
            if start.elapsed() > START {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "does not listen"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about either failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
