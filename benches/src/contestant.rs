//! The contestants: the limits, the peers, ours, and the programs they run.

use std::path::{Path, PathBuf};

use crate::workload::{Shape, Workload};

/// The kind of a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The minimum work: what the machine allows.
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
    /// Whether it is a limit, a peer or ours.
    pub standing: Standing,
    /// Whether it echoes bytes without any WebSocket.
    pub is_raw: bool,
    /// Its echo server, if it has one. Unless it is raw, it also runs the workloads that open connections or leave them
    /// idle.
    pub echo: Option<Program>,
    /// The server for compressed messages.
    pub deflate: Option<Program>,
    /// The server of a room.
    pub room: Option<Program>,
}

/// A server's program. It takes its address as its last argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// Arguments before the address.
    pub arguments: Vec<String>,
    /// Whether it takes `--level` and `--window-bits` when messages are compressed.
    pub tunable: bool,
}

impl Contestant {
    /// Any echo server named on the command line. It may or may not agree to compression.
    pub fn named(name: String, path: PathBuf) -> Self {
        let program = Program { path, arguments: Vec::new(), tunable: false };
        let deflate = Some(program.clone());
        Self { name, standing: Standing::Ours, is_raw: false, echo: Some(program), deflate, room: None }
    }

    /// The program for a workload; `None` if it does not take part.
    pub fn program(&self, workload: &Workload) -> Option<&Program> {
        match workload.shape {
            Shape::Echo { takeover: None, .. } => self.echo.as_ref(),
            Shape::Echo { takeover: Some(_), .. } => self.deflate.as_ref(),
            Shape::Broadcast { .. } => self.room.as_ref(),
            Shape::Open | Shape::Idle => self.echo.as_ref().filter(|_| !self.is_raw),
        }
    }

    /// Whether it takes part in one of these.
    pub fn joins(&self, workloads: &[Workload]) -> bool {
        workloads.iter().any(|workload| self.program(workload).is_some())
    }

    /// Removes the programs that do not exist. Returns those that these workloads would have run.
    pub fn forget_missing(&mut self, workloads: &[Workload]) -> Vec<PathBuf> {
        let wanted = workloads.iter().filter_map(|workload| self.program(workload));
        let mut missing: Vec<PathBuf> =
            wanted.map(|program| program.path.clone()).filter(|path| !path.exists()).collect();
        missing.dedup();
        for program in [&mut self.echo, &mut self.deflate, &mut self.room] {
            program.take_if(|program| !program.path.exists());
        }
        missing
    }
}

/// The contestants that this workspace knows, in the order of the tables' rows, whether built or not. `directory` is
/// where cargo puts binaries.
pub fn known(directory: &Path) -> Vec<Contestant> {
    let program = |file: &str, arguments: &[&str]| Program {
        path: directory.join(format!("{file}{}", std::env::consts::EXE_SUFFIX)),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        tunable: false,
    };
    let tunable = |file: &str| Program { tunable: true, ..program(file, &[]) };
    let contestant = |name: &str, standing, echo| Contestant {
        name: name.to_owned(),
        standing,
        is_raw: false,
        echo,
        deflate: None,
        room: None,
    };
    let raw = |name: &str| Contestant {
        is_raw: true,
        deflate: Some(program(name, &[])),
        ..contestant(name, Standing::Limit, Some(program(name, &[])))
    };
    let peer = |name: &str| contestant(name, Standing::Peer, Some(program(&format!("peer-{name}"), &[])));
    // One program has the rooms of all peers that implement futures' traits.
    let room = |library: &str| Some(program("peer-room", &["--library", library]));
    let deflating = |name: &str| Contestant {
        deflate: Some(tunable(&format!("peer-{name}"))),
        room: room(name),
        ..peer(name)
    };
    let small_buffer = ["--read-buffer", "4096"];
    vec![
        raw("limit-raw-mio"),
        raw("limit-raw-tokio"),
        contestant("limit-ws-mio", Standing::Limit, Some(program("limit-ws-mio", &[]))),
        Contestant {
            room: Some(program("limit-ws-mio", &["--room"])),
            ..contestant("limit-send-loop", Standing::Limit, None)
        },
        peer("tokio-tungstenite"),
        Contestant {
            room: room("tokio-tungstenite-4k"),
            ..contestant(
                "tokio-tungstenite-4k",
                Standing::Peer,
                Some(program("peer-tokio-tungstenite", &small_buffer)),
            )
        },
        peer("fastwebsockets"),
        Contestant { room: room("tokio-websockets"), ..peer("tokio-websockets") },
        deflating("sockudo-ws"),
        deflating("yawc"),
        peer("web-socket"),
        peer("soketto"),
        npm_ws(),
        Contestant {
            deflate: Some(tunable("examples/deflate-echo-server")),
            room: Some(program("examples/broadcast-server", &[])),
            ..contestant("ws-tokio", Standing::Ours, Some(program("examples/echo-server", &[])))
        },
        Contestant {
            deflate: Some(tunable("examples/deflate-mio-echo-server")),
            room: Some(program("examples/mio-broadcast-server", &[])),
            ..contestant("ws-mio", Standing::Ours, Some(program("examples/mio-echo-server", &[])))
        },
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
    // Without the package, its missing directory stands for the missing program.
    let path = node.filter(|_| installed.exists()).unwrap_or(installed);
    let deflate = Some(Program { path, arguments: vec![script], tunable: true });
    let name = "npm-ws".to_owned();
    Contestant { name, standing: Standing::Peer, is_raw: false, echo: None, deflate, room: None }
}
