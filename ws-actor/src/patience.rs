//! How long others may take: the socket, to take a byte; the actor, to take an event; a peer that this side wants to
//! close, to take what was sent before.
//!
//! Time comes in, deadlines go out; nothing here sleeps or names a runtime.

use std::num::NonZeroU64;
use std::time::Duration;

use ws_core::Instant;

/// How long others may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The socket, to take a byte.
    pub(crate) write: Duration,
    /// The actor, to take an event.
    pub(crate) mailbox: Duration,
}

/// When a wait began, if there is one. In microseconds, plus one: eight bytes, for each connection has several.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Since(Option<NonZeroU64>);

impl Since {
    pub(crate) fn get(self) -> Option<Instant> {
        self.0.map(|micros| Instant::from_micros(micros.get() - 1))
    }

    /// Begins the wait, if it has not begun before.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.0 = self.0.or(NonZeroU64::new(now.as_micros().saturating_add(1)));
    }

    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

impl From<Option<Instant>> for Since {
    fn from(instant: Option<Instant>) -> Self {
        let mut since = Self::default();
        if let Some(instant) = instant {
            since.begin(instant);
        }
        since
    }
}

/// What a connection waits for.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// The actor has not taken the event in hand.
    pub(crate) event: Since,
    /// The socket has taken no byte.
    pub(crate) stuck: Since,
    /// This side wants to close and cannot say so, because the socket is stuck.
    pub(crate) closing: Since,
}

impl Waits {
    /// When the socket has taken too long.
    pub(crate) fn write_deadline(&self, patience: &Patience) -> Option<Instant> {
        let stuck = self.stuck.get()?;
        Some(self.closing.get().map_or(stuck, |closing| closing.min(stuck)).saturating_add(patience.write))
    }

    /// When the actor has.
    pub(crate) fn mailbox_deadline(&self, patience: &Patience) -> Option<Instant> {
        Some(self.event.get()?.saturating_add(patience.mailbox))
    }
}
