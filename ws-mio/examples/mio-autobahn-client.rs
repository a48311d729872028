//! `mio-autobahn-client URL`: the client for the Autobahn test suite's `fuzzingserver`. Runs all cases of the suite at that
//! address, and has the report written. What goes wrong in a case is in the report, and no reason to stop.
//!
//! It is only a client: one loop without a listener, on which the end of each connection begins the next.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use ws_mio::core::{Config, Event, deflate};
use ws_mio::{Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Remote, Server, Settings};

const AGENT: &str = "ws-mio";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Count,
    Case(u64),
    Report,
}

impl Task {
    fn of_tag(tag: u64) -> Self {
        match tag {
            0 => Self::Count,
            u64::MAX => Self::Report,
            case => Self::Case(case),
        }
    }

    fn connect(self, url: &str, addresses: &[SocketAddr]) -> Connect {
        let (path, tag) = match self {
            Self::Count => ("getCaseCount".to_owned(), 0),
            Self::Case(case) => (format!("runCase?case={case}&agent={AGENT}"), case),
            Self::Report => (format!("updateReports?agent={AGENT}"), u64::MAX),
        };
        let mut connect = Connect::new(format!("{url}/{path}"), addresses[0]);
        connect.addresses = addresses.to_vec();
        connect.tag = tag;
        connect
    }
}

struct Run {
    url: String,
    addresses: Vec<SocketAddr>,
    remote: Remote,
    cases: u64,
    /// Number of cases that ended with an error.
    ended: u64,
}

impl Run {
    fn begin(&self, task: Task) {
        let connect = task.connect(&self.url, &self.addresses);
        if let Err(error) = self.remote.connect(connect) {
            eprintln!("{error}");
        }
    }

    /// A case is over: the next begins.
    fn go_on(&mut self, task: Task, is_good: bool) {
        let next = match task {
            Task::Count => 1,
            Task::Case(case) => case + 1,
            Task::Report => return self.remote.shutdown(Duration::ZERO),
        };
        // Many cases are about failing.
        self.ended += u64::from(!is_good);
        if next <= self.cases {
            return self.begin(Task::Case(next));
        }
        println!("{} of them ended with an error, as they should or not: the report tells", self.ended);
        self.begin(Task::Report);
    }
}

impl Handler for Run {
    type State = Task;

    fn connected(&mut self, answer: &Answer<'_>) -> Option<Task> {
        Some(Task::of_tag(answer.tag()))
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Task>) {
        if *peer.state == Task::Count {
            if let Event::Text(count) = event {
                self.cases = count.trim().parse().unwrap_or(0);
                println!("{} cases", self.cases);
            }
            return;
        }
        // If it cannot be sent, the reason comes at the connection's end.
        let _ = match event {
            Event::Text(text) => peer.send(text),
            Event::Binary(bytes) => peer.send(&*bytes),
            _ => Ok(()),
        };
    }

    fn closed(&mut self, _: ConnId, task: Task, end: Result<(), Error>) {
        self.go_on(task, end.is_ok());
    }

    fn not_connected(&mut self, tag: u64, error: ConnectError) {
        match Task::of_tag(tag) {
            Task::Case(_) => self.go_on(Task::of_tag(tag), false),
            // The suite may stop the moment the report is written.
            Task::Report => self.remote.shutdown(Duration::ZERO),
            Task::Count => {
                eprintln!("{error}");
                self.remote.shutdown(Duration::ZERO);
            }
        }
    }
}

fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001".to_owned());
    match run(url.trim_end_matches('/')) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: &str) -> Result<(), Box<dyn StdError>> {
    // Names are resolved here, and not on the loop.
    let addresses = Connect::resolve(url)?.addresses;
    // Any compression that the suite agrees to.
    let mut config = Config::client();
    config.deflate = Some(deflate::Settings::client());
    let mut settings = Settings::new();
    settings.client = config.into();
    settings.loops = 1;
    let server = Server::unbound(settings)?;
    let remote = server.remote();
    remote.connect(Task::Count.connect(url, &addresses))?;
    let run = |_| Run {
        url: url.to_owned(),
        addresses: addresses.clone(),
        remote: remote.clone(),
        cases: 0,
        ended: 0,
    };
    Ok(server.run(run)?)
}
