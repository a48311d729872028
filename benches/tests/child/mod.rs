//! A server of this package in its own process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The server, stopped with the test.
pub(crate) struct Limit {
    child: Child,
    /// Where it listens: on a port that the system gave it, so that nobody else can have taken it.
    pub(crate) address: SocketAddr,
    /// Its standard input, kept open as long as it runs.
    _stdout: BufReader<ChildStdout>,
}

impl Limit {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        let mut child =
            command.args(arguments).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says where it listens");
        let address = line.trim_end().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{program} says {line:?}"));
        Self { child, address, _stdout: stdout }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
