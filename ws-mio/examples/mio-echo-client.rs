//! `mio-echo-client URL [STEP ...]`: opens one connection, and does the steps in their order, as `echo-client` of ws-tokio
//! does, with the same output. Without a step it sends `hello`, shows the echo and closes with 1000.
//!
//! It is a loop without a listener. Each step begins when the one before has ended, in the callback that tells so.
//!
//! It exits with 0 when every step went as described; otherwise it says what came instead. It waits 10 s for anything.

use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use steps::{Plan, Step, parts, report};
use ws_mio::core::{CloseFrame, Config, Event, Instant, Message, Part};
use ws_mio::{Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Remote, Server, Settings};

#[path = "../../ws-tokio/examples/steps/mod.rs"]
mod steps;

/// How long it waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server has to hang up when all is said.
const GRACE: Duration = Duration::from_secs(5);

struct Client {
    plan: Plan,
    /// Which step it is at.
    at: usize,
    fragments: usize,
    remote: Remote,
    end: Sender<Result<(), String>>,
    has_ended: bool,
}

impl Client {
    fn end(&mut self, how: Result<(), String>) {
        // The first word counts: what follows a failure is its consequence.
        if !std::mem::replace(&mut self.has_ended, true) {
            let _ = self.end.send(how);
            self.remote.shutdown(GRACE);
        }
    }

    fn step(&self) -> Option<&Step> {
        self.plan.steps.get(self.at)
    }

    /// Goes on to the next step, and does what is to be done for it.
    fn begin(&mut self, peer: &mut Peer<'_, Instant>) -> Result<(), Error> {
        *peer.state = peer.now().saturating_add(PATIENCE);
        while let Some(Step::Fragments(count)) = self.step() {
            self.fragments = *count;
            self.at += 1;
        }
        match self.step() {
            Some(Step::Text(text)) => self.send(Message::Text(text), peer),
            Some(Step::Binary(bytes)) => self.send(Message::Binary(bytes), peer),
            Some(Step::Ping(payload)) => peer.ping(payload.as_bytes()),
            Some(Step::Close(code, reason)) => peer.close(Some(CloseFrame::new(*code, reason))),
            None if !self.plan.steps.last().is_some_and(Step::ends) => {
                peer.close(Some(CloseFrame::new(1000, "")))
            }
            Some(Step::ExpectClose(..) | Step::ExpectFailure(_) | Step::Fragments(_)) | None => Ok(()),
        }
    }

    fn send(&self, message: Message<'_>, peer: &mut Peer<'_, Instant>) -> Result<(), Error> {
        for (piece, part) in parts(message, self.fragments) {
            // Control frames may go between the frames of a message, compressed or not.
            if !matches!(part, Part::Whole | Part::First) {
                peer.ping(b"in between")?;
            }
            peer.send_part(piece, part)?;
        }
        Ok(())
    }

    /// Checks an event against what the step waits for; whether that is all of it.
    fn hold(&self, event: &Event<'_>) -> Result<bool, String> {
        let message = match event {
            Event::Text(text) => Some(Message::Text(text)),
            Event::Binary(bytes) => Some(Message::Binary(bytes)),
            _ => None,
        };
        match (self.step(), event) {
            (Some(Step::Text(sent)), _) if message == Some(Message::Text(sent)) => {
                report(Message::Text(sent));
                Ok(true)
            }
            (Some(Step::Binary(sent)), _) if message == Some(Message::Binary(sent)) => {
                report(Message::Binary(sent));
                Ok(true)
            }
            (Some(Step::Ping(payload)), Event::Pong(pong)) if *pong == payload.as_bytes() => {
                println!("pong {payload}");
                Ok(true)
            }
            (Some(Step::Close(..)), Event::Close(closed)) => {
                let got = closed.frame.ok_or("no close code came")?;
                println!("closed {} {}", got.code, got.reason);
                Ok(true)
            }
            (Some(Step::ExpectClose(code, reason)), Event::Close(closed)) => {
                let got = closed.frame.ok_or("no close code came")?;
                println!("closed {} {}", got.code, got.reason);
                let is_due = got.code.0 == *code && got.reason == *reason;
                if is_due { Ok(true) } else { Err(format!("expected {code} {reason}")) }
            }
            // Events before the answer to a close are ignored; pings are answered without our help.
            (Some(Step::Close(..)) | None, _) | (Some(_), Event::Ping(_) | Event::Pong(_)) => Ok(false),
            (Some(_), event) => Err(format!("instead came {:.80}", format!("{event:?}"))),
        }
    }
}

impl Handler for Client {
    /// Until when the step's answer is to come.
    type State = Instant;

    fn connected(&mut self, answer: &Answer<'_>) -> Option<Instant> {
        let named = |name: &str| {
            let value = answer.response().field(name).map(String::from_utf8_lossy);
            value.map_or("none".to_owned(), std::borrow::Cow::into_owned)
        };
        if !self.plan.protocols.is_empty() {
            println!("agreed on {}", named("Sec-WebSocket-Protocol"));
        }
        if self.plan.deflate.is_some() {
            println!("extensions {}", named("Sec-WebSocket-Extensions"));
        }
        Some(Instant::ZERO)
    }

    fn open(&mut self, peer: &mut Peer<'_, Instant>) {
        if let Err(error) = self.begin(peer) {
            self.end(Err(error.to_string()));
        }
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Instant>) {
        let result = self.hold(&event).and_then(|is_done| {
            if !is_done {
                return Ok(());
            }
            self.at += 1;
            self.begin(peer).map_err(|error| error.to_string())
        });
        if let Err(error) = result {
            self.end(Err(error));
        }
    }

    fn deadline(&self, until: &Instant) -> Option<Instant> {
        Some(*until)
    }

    fn tick(&mut self, peer: &mut Peer<'_, Instant>) {
        *peer.state = peer.now().saturating_add(PATIENCE);
        self.end(Err("nothing came for 10 s".to_owned()));
    }

    fn closed(&mut self, _: ConnId, _: Instant, end: Result<(), Error>) {
        let how = match (self.step(), end) {
            (None, Ok(())) => Ok(()),
            (Some(Step::ExpectFailure(code)), Err(error)) => match error.close_code() {
                Some(got) => {
                    println!("failed {got}: {error}");
                    if got.0 == *code { Ok(()) } else { Err(format!("expected {code}")) }
                }
                None => Err(error.to_string()),
            },
            (_, Err(error)) => Err(error.to_string()),
            (Some(_), Ok(())) => Err("it was closed before all was done".to_owned()),
        };
        self.end(how);
    }

    fn not_connected(&mut self, _: u64, error: ConnectError) {
        self.end(Err(error.to_string()));
    }
}

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn StdError>> {
    let plan = Plan::parse(std::env::args().skip(1))?;
    let mut config = Config::client();
    config.deflate.clone_from(&plan.deflate);
    // A message's parts leave together.
    config.limits.max_queue = 4 << 20;
    // Names are resolved here, and not on the loop.
    let mut connect = Connect::resolve(plan.url.as_str())?;
    connect.protocols.clone_from(&plan.protocols);
    connect.config = Some(config.into());
    let mut settings = Settings::new();
    settings.loops = 1;
    let server = Server::unbound(settings)?;
    let remote = server.remote();
    remote.connect(connect)?;
    let (end, ended) = channel();
    server.run(|_| Client {
        plan: plan.clone(),
        at: 0,
        fragments: 1,
        remote: remote.clone(),
        end: end.clone(),
        has_ended: false,
    })?;
    Ok(ended.try_recv()??)
}
