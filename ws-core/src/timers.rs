//! Deadlines as data (RFC 6455, sections 5.5.2 and 7.1.1). The loop that drives the core sleeps until the next one.
//!
//! At any moment a connection waits for at most one thing: for silence to last so long that we ping, for a sign of life
//! after that, for the peer's close frame, or for the end of the transport. So there is one alarm, and what it stands for.

use crate::config::Timeouts;
use crate::time::Instant;

/// What the alarm stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    /// Silence since `heard` lasts too long. The instant is not used: it follows from `heard`.
    Keepalive,
    /// Our ping waits in the output: nothing to wait for until it has left.
    PingQueued,
    /// No sign of life since our ping left.
    Pong,
    /// The closing handshake takes too long.
    Close,
    /// The peer does not end the transport.
    Linger,
    /// Nothing is due.
    Off,
}

/// Maximum number of bytes discarded after our side was shut down, before the transport is closed all the same.
const LINGER_BYTES: u32 = 64 << 10;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    PongTimeout,
    CloseTimeout,
    LingerOver,
}

#[derive(Debug)]
pub(crate) struct Timers {
    /// The latest time told by the caller: `now` never goes back (N-06).
    now: Instant,
    /// When the peer was last heard.
    heard: Instant,
    /// When the alarm was set off.
    since: Instant,
    /// Bytes that came while lingering.
    discarded: u32,
    alarm: Alarm,
    /// Whether what arrived waits for its consumer: then a missing pong says nothing about the peer (C-08).
    busy: bool,
}

impl Timers {
    pub(crate) fn new(now: Instant) -> Self {
        Self { now, heard: now, since: now, discarded: 0, alarm: Alarm::Keepalive, busy: false }
    }

    #[inline]
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// New bytes came: any of them is a sign of life.
    #[inline]
    pub(crate) fn hear(&mut self) {
        self.heard = self.now;
        if matches!(self.alarm, Alarm::PingQueued | Alarm::Pong) {
            self.alarm = Alarm::Keepalive;
        }
    }

    /// Reading has paused, because the consumer is behind: until `wake`, a missing pong is not the peer's fault.
    #[inline]
    pub(crate) fn doze(&mut self) {
        self.busy = true;
    }

    /// Whether what arrived waits for its consumer.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Reading goes on. A pong that is due gets its full time again, since it may stand in what was not read.
    #[inline]
    pub(crate) fn wake(&mut self) {
        if core::mem::replace(&mut self.busy, false) && self.alarm == Alarm::Pong {
            self.since = self.now;
        }
    }

    /// Our ping has left: from now on a sign of life is due.
    pub(crate) fn ping_left(&mut self) {
        if self.alarm == Alarm::PingQueued {
            self.alarm = Alarm::Pong;
            self.since = self.now;
        }
    }

    /// Since when a sign of life is due.
    pub(crate) fn awaits_pong_since(&self) -> Option<Instant> {
        (self.alarm == Alarm::Pong).then_some(self.since)
    }

    /// The closing handshake begins, or is half done: ours is on its way, or the peer's came.
    pub(crate) fn close(&mut self) {
        if !matches!(self.alarm, Alarm::Linger | Alarm::Off) {
            self.alarm = Alarm::Close;
            self.since = self.now;
        }
    }

    /// Our writing side is shut down.
    pub(crate) fn linger(&mut self) {
        if self.alarm != Alarm::Linger {
            self.alarm = Alarm::Linger;
            self.since = self.now;
        }
    }

    pub(crate) fn is_lingering(&self) -> bool {
        self.alarm == Alarm::Linger
    }

    /// Counts `bytes` that came; whether they are too many for a peer that is only waited for to leave.
    #[inline]
    pub(crate) fn linger_is_over(&mut self, bytes: u32) -> bool {
        if self.alarm != Alarm::Linger {
            return false;
        }
        self.discarded = self.discarded.saturating_add(bytes);
        self.discarded > LINGER_BYTES
    }

    /// How many bytes may still come before lingering is over; `None`: it has not begun.
    pub(crate) fn linger_room(&self) -> Option<usize> {
        self.is_lingering().then(|| LINGER_BYTES.saturating_sub(self.discarded) as usize)
    }

    pub(crate) fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        Some(match self.alarm {
            Alarm::Keepalive => self.heard.saturating_add(timeouts.keepalive?),
            Alarm::Pong if !self.busy => self.since.saturating_add(timeouts.pong),
            Alarm::Close => self.since.saturating_add(timeouts.close),
            Alarm::Linger => self.since.saturating_add(timeouts.linger),
            Alarm::Pong | Alarm::PingQueued | Alarm::Off => return None,
        })
    }

    /// What is due at `now`; each answer but `Nothing` is given once.
    pub(crate) fn tick(&mut self, timeouts: &Timeouts) -> Due {
        if self.deadline(timeouts).is_none_or(|deadline| self.now < deadline) {
            return Due::Nothing;
        }
        let (alarm, due) = match self.alarm {
            Alarm::Keepalive => (Alarm::PingQueued, Due::Ping),
            Alarm::Pong => (Alarm::Off, Due::PongTimeout),
            Alarm::Close => (Alarm::Off, Due::CloseTimeout),
            Alarm::Linger => (Alarm::Off, Due::LingerOver),
            Alarm::PingQueued | Alarm::Off => return Due::Nothing,
        };
        self.alarm = alarm;
        due
    }
}
