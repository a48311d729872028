//! How long others may take: the socket, to take a byte; the actor, to take an event; a peer that this side wants to
//! close, to take what was sent before.
//!
//! Time comes in, deadlines go out; nothing here sleeps or names a runtime.

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

/// Who is waited for, and since when.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// The actor has not taken the event in hand.
    pub(crate) event: Option<Instant>,
    /// The socket has taken no byte.
    pub(crate) stuck: Option<Instant>,
    /// This side wants to close and cannot say so, because the socket is stuck.
    pub(crate) closing: Option<Instant>,
}

impl Waits {
    /// When the socket has taken too long.
    pub(crate) fn write_deadline(&self, patience: &Patience) -> Option<Instant> {
        let stuck = self.stuck?;
        Some(self.closing.map_or(stuck, |closing| closing.min(stuck)).saturating_add(patience.write))
    }

    /// When the actor has.
    pub(crate) fn mailbox_deadline(&self, patience: &Patience) -> Option<Instant> {
        Some(self.event?.saturating_add(patience.mailbox))
    }
}
