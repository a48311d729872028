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
    /// Its server for messages as they are, if it takes part there.
    pub plain: Option<Program>,
    /// Its server for compressed ones.
    pub deflate: Option<Program>,
    /// Limit, peer or ours.
    pub standing: Standing,
}

/// A server's program. It takes its address as its last argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it lies.
    pub path: PathBuf,
    /// Words before the address.
    pub arguments: Vec<String>,
    /// Whether it takes `--level` and `--window-bits` when messages are compressed.
    pub tunable: bool,
}

impl Contestant {
    /// Any echo server, as the command line names it. It agrees to compression or does not.
    pub fn named(name: String, path: PathBuf) -> Self {
        let program = Program { path, arguments: Vec::new(), tunable: false };
        Self { name, plain: Some(program.clone()), deflate: Some(program), standing: Standing::Ours }
    }

    /// What runs in a workload; `None` if it does not take part.
    pub fn program(&self, workload: &Workload) -> Option<&Program> {
        if workload.takeover.is_some() { self.deflate.as_ref() } else { self.plain.as_ref() }
    }

    /// Whether it takes part in one of these.
    pub fn joins(&self, workloads: &[Workload]) -> bool {
        workloads.iter().any(|workload| self.program(workload).is_some())
    }

    /// Whether the programs that it needs for these are there.
    pub fn is_built(&self, workloads: &[Workload]) -> bool {
        let mut programs = workloads.iter().filter_map(|workload| self.program(workload));
        programs.all(|program| program.path.exists())
    }
}

/// The contestants that this workspace knows, in the order of the tables' rows, whether built or not. `directory` is
/// where cargo puts binaries.
pub fn known(directory: &Path) -> Vec<Contestant> {
    let program = |program: &str, arguments: &[&str], tunable: bool| Program {
        path: directory.join(format!("{program}{}", std::env::consts::EXE_SUFFIX)),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        tunable,
    };
    let contestant = |name: &str, plain, deflate, standing| Contestant {
        name: name.to_owned(),
        plain: Some(plain),
        deflate,
        standing,
    };
    let limit = |name: &str| {
        contestant(name, program(name, &[], false), Some(program(name, &[], false)), Standing::Limit)
    };
    let peer = |name: &str, file: &str, arguments: &[&str]| {
        contestant(name, program(&format!("peer-{file}"), arguments, false), None, Standing::Peer)
    };
    let deflating = |name: &str| {
        let file = format!("peer-{name}");
        contestant(name, program(&file, &[], false), Some(program(&file, &[], true)), Standing::Peer)
    };
    vec![
        limit("limit-raw-mio"),
        limit("limit-raw-tokio"),
        peer("tokio-tungstenite", "tokio-tungstenite", &[]),
        peer("tokio-tungstenite-4k", "tokio-tungstenite", &["--read-buffer", "4096"]),
        peer("fastwebsockets", "fastwebsockets", &[]),
        peer("tokio-websockets", "tokio-websockets", &[]),
        deflating("sockudo-ws"),
        deflating("yawc"),
        npm_ws(),
        contestant(
            "ws-tokio",
            program("examples/echo-server", &[], false),
            Some(program("examples/deflate-echo-server", &[], true)),
            Standing::Ours,
        ),
    ]
}

/// npm's `ws`, in compressed workloads only, where `node` is installed and `npm install` was run in `benches/npm`.
fn npm_ws() -> Contestant {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("npm");
    let script = directory.join("echo-server.js").display().to_string();
    let installed = directory.join("node_modules/ws");
    let node = std::env::var_os("PATH").and_then(|path| {
        let file = format!("node{}", std::env::consts::EXE_SUFFIX);
        std::env::split_paths(&path).map(|place| place.join(&file)).find(|node| node.exists())
    });
    // Without the package its directory stands for the program: it does not exist either.
    let path = node.filter(|_| installed.exists()).unwrap_or(installed);
    let deflate = Some(Program { path, arguments: vec![script], tunable: true });
    Contestant { name: "npm-ws".to_owned(), plain: None, deflate, standing: Standing::Peer }
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
    /// zlib's level, and the window in bits, of all who compress.
    pub compression: (u8, u8),
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
                    let Some(program) = contestant.program(workload) else { continue };
                    progress(round, workload, contestant);
                    match self.measure(contestant, program, workload) {
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
    fn measure(
        &self,
        contestant: &Contestant,
        program: &Program,
        workload: &Workload,
    ) -> Result<Report, String> {
        let (level, window_bits) = (self.compression.0.to_string(), self.compression.1.to_string());
        let tuning = ["--level", &level, "--window-bits", &window_bits];
        let tunes = program.tunable && workload.takeover.is_some();
        let server = Server::start(program, if tunes { &tuning } else { &[] }, self.pin.then_some(0))
            .map_err(|error| format!("{}: {error}", program.path.display()))?;
        let mut load = cpu::pinned(self.pin.then_some(1), &self.generator);
        load.arg(server.address.to_string())
            .args(["--connections", &workload.connections.to_string()])
            .args(["--in-flight", &workload.in_flight.to_string()])
            .args(["--size", &workload.size.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .args(["--warm-up", &self.warm_up.to_string()])
            .args(["--server", &server.child.id().to_string()]);
        match workload.kind {
            Kind::Binary => {}
            Kind::Text => drop(load.arg("--text")),
            Kind::Json => drop(load.arg("--json")),
        }
        if let Some(takeover) = workload.takeover {
            load.arg("--deflate").args(tuning).args((!takeover).then_some("--no-takeover"));
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
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a program with the words of `tuning` before its address, on one core or anywhere, and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen in time.
    pub fn start(program: &Program, tuning: &[&str], core: Option<usize>) -> io::Result<Self> {
        // The system names a free port; nobody else should take it in the moment until the server does.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = cpu::pinned(core, &program.path)
            .args(&program.arguments)
            .args(tuning)
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about either failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
