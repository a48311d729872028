//! What follows when an actor's code fails: [`Recovery`] decides, [`ActorFailure`] reports.
//!
//! A failure is a panic, or an error that the actor reports itself ([`Context::fail`]). It ends the call that it
//! happened in, and that call alone; what else it ends is up to [`ActorOptions`]. The task that carries this out is in
//! `runner.rs`.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::Hub;
use crate::id::ConnId;
use crate::report::{Observer, write_suppressed};
use crate::sync::lock;

#[cfg(doc)]
use crate::actor::{Context, WsActor};

/// What a failure of an actor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// The call, and nothing else.
    Continue,
    /// The call, and the connection that it was about: it is closed with 1011, and the actor gets its `disconnect` as
    /// for any other. The actor goes on as it is, which after a panic may be half changed.
    Close,
    /// The actor, but not its connections: it is made again, and gets `connect` for each of them before anything else.
    /// More than [`ActorOptions::max_restarts`] are the end.
    Restart,
    /// The actor and its connections, which are closed with 1011. After an error this is as [`Context::stop`]; an actor
    /// that panicked is not called again.
    End,
}

/// How an actor is run ([`Hub::spawn_with`]).
///
/// # Restarts
///
/// [`Recovery::Restart`] drops the actor, calls `make` again and goes on with the same mailbox, under the same name and
/// [`Target`](crate::Target). The new actor is told, in this order:
///
/// 1. [`WsActor::started`];
/// 2. `connect` of each connection that the one before had: those that it had been told of, and whose `disconnect` it
///    had not been called for. They come in the order in which they were opened, with the same ids, with
///    [`Connect::restarted`](crate::Connect::restarted), and with their present topic and values;
/// 3. what waits in the mailbox, as if nothing had happened.
///
/// So each connection has one `disconnect` in the end, whichever of the actors gets it. Rooms, outboxes and monitors
/// stay. Two things end with the old actor: the event in whose call it failed, which is not repeated, and its timers
/// ([`Context::after`]): the new one sets its own in `started`. Both are in the report.
///
/// A connection whose `connect` fails is closed with 1011 and not mentioned again: a new actor would fail at it as well.
///
/// A client that can make the actor panic can use up its restarts. The remedy is [`Recovery::Close`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActorOptions {
    /// After a panic. By default the actor ends, for its state cannot be trusted.
    pub on_panic: Recovery,
    /// After [`Context::fail`]. By default the connection is closed.
    pub on_error: Recovery,
    /// Maximum number of restarts within [`ActorOptions::restart_window`]; one more failure ends the actor. Default 5.
    pub max_restarts: u32,
    /// The time in which restarts are counted. Default 60 s.
    pub restart_window: Duration,
}

impl ActorOptions {
    /// The defaults named at the fields.
    pub const fn new() -> Self {
        Self {
            on_panic: Recovery::End,
            on_error: Recovery::Close,
            max_restarts: 5,
            restart_window: Duration::from_secs(60),
        }
    }

    /// The defaults, except that an actor that panics is made again and keeps its connections.
    pub const fn restarting() -> Self {
        Self { on_panic: Recovery::Restart, ..Self::new() }
    }

    pub(crate) fn can_restart(&self) -> bool {
        [self.on_panic, self.on_error].contains(&Recovery::Restart)
    }
}

impl Default for ActorOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts restarts within the window.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    pub(crate) total: u64,
    recent: VecDeque<Instant>,
}

impl Restarts {
    /// Whether the options allow one more now; it is counted if so.
    pub(crate) fn admit(&mut self, options: &ActorOptions, now: Instant) -> bool {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= options.restart_window) {
            self.recent.pop_front();
        }
        if self.recent.len() >= options.max_restarts as usize {
            return false;
        }
        self.recent.push_back(now);
        self.total += 1;
        true
    }
}

/// Which call of an actor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// The closure that makes it.
    Make,
    /// [`WsActor::started`].
    Started,
    /// [`WsActor::connect`].
    Connect,
    /// [`WsActor::message`].
    Message,
    /// [`WsActor::heartbeat`].
    Heartbeat,
    /// [`WsActor::disconnect`].
    Disconnect,
    /// [`WsActor::cast`].
    Cast,
    /// [`WsActor::drain`].
    Drain,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Make => "make",
            Self::Started => "started",
            Self::Connect => "connect",
            Self::Message => "message",
            Self::Heartbeat => "heartbeat",
            Self::Disconnect => "disconnect",
            Self::Cast => "cast",
            Self::Drain => "drain",
        })
    }
}

/// How it failed, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It panicked; the text is empty if the panic had none.
    Panic(String),
    /// It called [`Context::fail`].
    Error(String),
}

/// Maximum number of bytes of a fault's text that are kept: what an actor says may be what a client said.
const MAX_TEXT: usize = 512;

impl Fault {
    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let fault = Self::Panic(cut(text.unwrap_or_default()).to_owned());
        drop_contained(payload);
        fault
    }

    pub(crate) fn error(error: &impl fmt::Display) -> Self {
        Self::Error(bounded(error))
    }

    pub(crate) fn is_panic(&self) -> bool {
        matches!(self, Self::Panic(_))
    }
}

/// The first [`MAX_TEXT`] bytes of what an error says.
pub(crate) fn bounded(error: &impl fmt::Display) -> String {
    let mut text = Bounded(String::new());
    // What is left out by the bound is no error; nor is an error that cannot say what it is.
    let _ = fmt::write(&mut text, format_args!("{error}"));
    text.0
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes so much text and refuses more.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if self.0.len() > MAX_TEXT {
            let end = cut(&self.0).len();
            self.0.truncate(end);
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Runs code of the application whose panic concerns nobody else; `None` if it panics. What the panic says has been said by
/// the panic hook.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(drop_contained).ok()
}

/// Drops a value of the application, whose destructor may panic; of several values each has to be dropped by itself, for
/// two panics in one drop abort the program.
pub(crate) fn drop_contained<T>(value: T) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else { return };
    // What a destructor panics with may be such a value again, and so on: the second is not dropped.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, text) = match self {
            Self::Panic(text) => ("panicked", text),
            Self::Error(text) => ("failed", text),
        };
        f.write_str(verb)?;
        if text.is_empty() { Ok(()) } else { write!(f, ": {}", text.escape_debug()) }
    }
}

/// An actor that failed, for a log ([`Hub::on_actor_failure`]). Its `Display` is one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActorFailure {
    /// The actor's name.
    pub actor: Arc<str>,
    /// The call in which it failed.
    pub call: Call,
    /// The connection that the call was about.
    pub connection: Option<ConnId>,
    /// How it failed.
    pub fault: Fault,
    /// What followed: as the options say, except that restarts may be used up.
    pub recovery: Recovery,
    /// How often the actor has been made again by now, this time included.
    pub restarts: u64,
    /// Timers that ended with the actor ([`Context::after`]).
    pub timers: usize,
    /// Reports that were left out since the one before, because there were too many.
    pub suppressed: u64,
}

impl fmt::Display for ActorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actor, call, connection, fault, recovery, restarts, timers, suppressed } = self;
        write!(f, "actor {actor:?} {fault} (in {call}")?;
        if let Some(id) = connection {
            write!(f, " of connection {id}")?;
        }
        f.write_str(match recovery {
            Recovery::Continue => "); it goes on",
            Recovery::Close => "); the connection is closed",
            Recovery::Restart => "); it is made again",
            Recovery::End => "); it has ended",
        })?;
        if *recovery == Recovery::Restart {
            write!(f, ", time {restarts}")?;
        }
        if *timers > 0 {
            write!(f, ", without its {timers} timers")?;
        }
        write_suppressed(f, *suppressed)
    }
}

/// The closure that is called for failures of actors.
pub(crate) type Failures = Option<Arc<Observer<ActorFailure>>>;

impl Hub {
    /// Sets a closure that is called for actors that fail, for a log: at most 100 times at once and 100 times per
    /// second, with the number of those left out between. It must not block. Its panics are caught. The last one that
    /// was set counts.
    pub fn on_actor_failure(&self, report: impl Fn(&ActorFailure) + Send + Sync + 'static) {
        let before = lock(&self.shared.failures).replace(Arc::new(Observer::new(report)));
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C9: restarts are counted within the window, wherever it begins.
    #[test]
    fn restarts_within_a_window() {
        let second = Duration::from_secs(1);
        let options = ActorOptions { max_restarts: 2, restart_window: 10 * second, ..ActorOptions::new() };
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let table = [(0, true), (6, true), (9, false), (10, true), (15, false), (16, true), (40, true)];
        for (at, admitted) in table {
            assert_eq!(restarts.admit(&options, start + at * second), admitted, "at {at} s");
        }
        assert_eq!(restarts.total, 5);
        let never = ActorOptions { max_restarts: 0, ..ActorOptions::restarting() };
        assert!(!Restarts::default().admit(&never, start));
    }

    /// B14: what an actor says of its failure is bounded, and one line whatever a client put in it.
    #[test]
    fn texts_are_bounded() {
        let long = "é".repeat(MAX_TEXT);
        for fault in
            [Fault::error(&long), Fault::panic(Box::new(long.clone())), Fault::error(&format!("x{long}"))]
        {
            let (Fault::Panic(text) | Fault::Error(text)) = &fault;
            assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&text.len()));
        }
        assert_eq!(Fault::panic(Box::new("a\nb")).to_string(), "panicked: a\\nb");
        assert_eq!(Fault::panic(Box::new(7)).to_string(), "panicked");
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("again"));
            }
        }
        assert_eq!(Fault::panic(Box::new(Bomb)), Fault::Panic(String::new()));
    }
}
