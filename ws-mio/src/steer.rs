//! What an application does with a connection besides sending: pause reading, see what is stuck, end it at once.
//!
//! This is for applications that pass messages on to something that may be slow, a task or another thread. Meanwhile the
//! connection is not read, and TCP pushes back on that peer alone; writing goes on. When the receiver has caught up, it
//! wakes the connection ([`Remote::waker`](crate::Remote::waker)), and reading goes on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ws_core::{Instant, Part};

use crate::deflate;
use crate::error::Error;
use crate::handler::Peer;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::wire::Wire;
use ws_core::Moment;

/// What was asked of a connection, and what it tells. It stands with the way out, which every handle reaches.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    /// Nothing is handed over, and nothing is read.
    pub(crate) paused: bool,
    /// It was paused, and goes on: events may wait for which no edge comes.
    resumed: bool,
    /// It ends now.
    pub(crate) aborted: bool,
    /// The transport has taken something since the last look.
    pub(crate) took: bool,
    /// Since when it has taken nothing.
    stalled_since: Moment,
    /// How long the peer took for a sign of life, in microseconds; 0: unknown.
    round_trip: u32,
}

impl Steering {
    /// Whether an idle connection would need it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.paused || self.resumed || self.aborted
    }

    pub(crate) fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// All events were handed over, as far as that is allowed.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        self.resumed = false;
        self.round_trip = 0;
    }

    /// Something has come, and a sign of life was awaited since then.
    #[inline]
    pub(crate) fn note_heard(&mut self, awaited_since: Option<Instant>, now: Instant) {
        self.round_trip = awaited_since.map_or(0, |since| {
            u32::try_from(now.saturating_since(since).as_micros()).unwrap_or(u32::MAX).max(1)
        });
    }

    /// After an attempt to write: whether all has gone. `sent` is what a transport with a buffer of its own knows better.
    #[inline]
    fn note_written(&mut self, flushed: bool, sent: Option<bool>, now: Instant) {
        let took = sent.unwrap_or(self.took);
        self.took = false;
        if flushed {
            self.stalled_since = Moment::NEVER;
        } else if took || !self.stalled_since.is_set() {
            self.stalled_since = now.into();
        }
    }
}

impl<S: Stream> Wire<S> {
    /// After an attempt to write: whether all has gone.
    #[inline]
    pub(crate) fn note_written(&mut self, flushed: bool, now: Instant) {
        let sent = self.io.take_sent();
        self.steering.note_written(flushed, sent, now);
    }
}

impl<S: Stream> Socket<S> {
    /// The time since which no byte of the output that waits has left; `None`: nothing waits. A peer that reads slowly is
    /// not stalled.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.wire.steering.stalled_since.get()
    }

    /// When it is given up because no byte leaves.
    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        let since = self.stalled_since()?;
        Some(since.saturating_add(self.session.connection_ref().config().timeouts.write?))
    }

    /// Whether reading was paused and goes on.
    pub(crate) fn takes_up(&mut self) -> bool {
        self.wire.steering.take_resumed()
    }

    /// Whether output waits for a transport that takes no more.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.wire.steering.stalled_since.is_set()
    }

    /// Whether the application is done with it: both close frames are through, or it failed.
    ///
    /// 7.1.1: a client waits for the server to end the transport. That takes time, and does not concern the application.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        let connection = self.session.connection_ref();
        !connection.can_recv()
            && (self.has_failed()
                || !connection.can_send() && connection.pending() == 0 && self.wire.is_flushed())
    }
}

impl<D> Peer<'_, D> {
    /// Pauses the connection: no more events after this one, and no more reading, until [`resume`](Self::resume). Writing
    /// goes on. Meanwhile a pong that is not read is not late (C-08), and an orderly end by the peer is noticed later; but a
    /// reset, or a write that fails, is noticed at once, and events not yet delivered are lost.
    ///
    /// It has no effect on a connection that the peer has closed, or that has failed.
    pub fn pause(&mut self) {
        let steering = &mut self.reply.wire.steering;
        (steering.paused, steering.resumed) = (true, false);
    }

    /// Resumes reading.
    pub fn resume(&mut self) {
        let steering = &mut self.reply.wire.steering;
        steering.resumed |= steering.paused;
        steering.paused = false;
    }

    /// Whether it is [paused](Self::pause).
    pub fn is_paused(&self) -> bool {
        self.reply.wire.steering.paused
    }

    /// Writes what waits, as far as the transport takes it now; `true` if nothing is left.
    ///
    /// You need not call it: what was sent leaves when the handler returns. It is for applications that have much to send,
    /// and would rather keep it than have it queued here.
    pub fn flush(&mut self) -> bool {
        let reply = &mut self.reply;
        if reply.connection.pending() > 0 {
            // What waited may be a ping: its answer is due from now on (C-08).
            reply.connection.observe(reply.now);
        }
        reply.wire.queue_control(reply.buffers, reply.connection);
        reply.wire.write(reply.buffers);
        let flushed = reply.wire.is_flushed();
        reply.wire.note_written(flushed, reply.now);
        flushed
    }

    /// The time since which no byte of the output that waits has left; `None`: nothing waits. A peer that reads slowly is
    /// not stalled.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.reply.wire.steering.stalled_since.get()
    }

    /// Whether messages may still be sent: until a close frame is queued.
    pub fn can_send(&self) -> bool {
        self.reply.connection.can_send()
    }

    /// Whether a message of this length would be compressed, if it were sent now.
    pub fn compresses(&self, len: usize) -> bool {
        deflate::compresses(self.reply.connection, len, Part::Whole)
    }

    /// Drops the peer's messages from now on, after checking them. Its close frame is still delivered.
    pub fn discard_data(&mut self) {
        self.reply.connection.discard_data();
    }

    /// Ends the connection when the handler returns, without waiting for anything: what the transport takes at once leaves,
    /// and the rest is lost. [`Handler::closed`](crate::Handler::closed) gets [`Error::Aborted`].
    pub fn abort(&mut self) {
        let steering = &mut self.reply.wire.steering;
        (steering.paused, steering.aborted) = (true, true);
    }

    /// Queues a pong that answers no ping: a sign of life (RFC 6455, section 5.5.3).
    ///
    /// # Errors
    /// As for [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.reply.connection.pong(payload)?)
    }

    /// How long the peer took for a sign of life after a keepalive ping. It is known, once, while the handler gets the
    /// events that came with that sign, such as the pong.
    pub fn round_trip(&mut self) -> Option<Duration> {
        let micros = std::mem::take(&mut self.reply.wire.steering.round_trip);
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// The time of this turn, counted from [`Settings::epoch`](crate::Settings::epoch).
    pub fn now(&self) -> Instant {
        self.reply.now
    }

    /// The address of this end of the connection.
    ///
    /// # Errors
    /// The peer has gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.reply.wire.io.local_addr()
    }
}
