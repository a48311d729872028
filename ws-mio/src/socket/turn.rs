//! What a readiness sets off: reading, delivering events, writing, until there is no more to do.
//!
//! Invariant: a connection takes a bounded time per turn, whatever its peer sends. At most a megabyte is read, which
//! inflates to a few at most; then the state is [`State::Again`], and others have their turn.

use std::io::{self, ErrorKind};

use ws_core::{Advance, Event, Instant, Payload, Timer, Transport};

use super::{Socket, State};
use crate::buffers::{Buffers, SIZE};
use crate::deflate;
use crate::error::Error;
use crate::reply::Reply;
use crate::stream::Stream;
use ws_core::Moment;

/// Maximum number of reads in a row; then other connections have their turn.
pub(crate) const READS: u32 = 16;

/// Maximum number of inflated bytes per turn: a compressed read may hold a thousand times its size.
const INFLATED: usize = READS as usize * SIZE;

/// What a message costs besides its bytes, in bytes.
const EACH: usize = 256;

/// A rest of a message up to this length is kept in memory of its own size while nothing arrives.
const SMALL_REST: usize = 4 << 10;

/// Why no more events are handed over.
enum Pause {
    /// The next event needs so many bytes.
    Read(usize),
    /// The peer does not read the answers.
    NoRoom,
    /// The application has paused the connection.
    Held,
    /// Others have their turn.
    Enough,
}

impl<S: Stream> Socket<S> {
    /// Goes on without news of the stream: after [`State::Again`], or an answer to a request.
    ///
    /// # Errors
    /// As for [`on_ready`](Self::on_ready).
    pub fn proceed<F>(&mut self, buffers: &mut Buffers, now: Instant, mut on_event: F) -> Result<State, Error>
    where
        F: FnMut(Event<'_>, &mut Reply<'_, S>),
    {
        if self.finished {
            return Ok(State::Closed);
        }
        if self.opening.is_some()
            && let Some(state) = self.open(buffers, now)
        {
            return state;
        }
        if self.dial.is_some()
            && let Some(state) = self.go_on_dialling(buffers, now)
        {
            return state;
        }
        let (mut reads, mut inflates) = (0, INFLATED);
        let state = loop {
            let pause = self.deliver(buffers, now, &mut inflates, &mut on_event);
            if self.settle(buffers, now) {
                return self.finish(buffers);
            }
            let need = match pause {
                Pause::Read(need) => need,
                Pause::NoRoom if self.wire.has_room() => continue,
                // The peer has gone, and no other event will tell.
                Pause::Held if self.wire.broken || self.errored => {
                    self.lose(now);
                    continue;
                }
                Pause::Held => {
                    self.session.connection().pause(now);
                    break State::Waiting;
                }
                Pause::NoRoom => {
                    // N-05: a peer that does not read is not read from, and a pong that is not read is not late (C-08).
                    self.session.connection().pause(now);
                    break State::Waiting;
                }
                Pause::Enough => break State::Again,
            };
            if self.resumes_pong() {
                continue;
            }
            if !self.readable || !self.may_read() {
                break State::Waiting;
            }
            if reads == READS {
                break State::Again;
            }
            reads += 1;
            self.fill(buffers, now, need);
        };
        self.hold_pong_deadline(now);
        self.plan_parking(now);
        self.rest(buffers);
        self.wire.steering.end_turn();
        Ok(state)
    }

    /// Hands over events while there is room for their answers.
    #[inline]
    fn deliver<F>(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        inflates: &mut usize,
        on_event: &mut F,
    ) -> Pause
    where
        F: FnMut(Event<'_>, &mut Reply<'_, S>),
    {
        let counts = deflate::is_agreed(&self.session);
        loop {
            if !self.wire.has_room() {
                self.wire.write(buffers);
                if !self.wire.has_room() {
                    return Pause::NoRoom;
                }
            }
            if *inflates == 0 {
                return Pause::Enough;
            }
            if self.wire.steering.paused && self.session.connection_ref().can_recv() {
                return Pause::Held;
            }
            let (event, connection, buffered) = match self.session.lend_small(now) {
                Some(lent) => lent,
                None => match self.session.advance(now) {
                    Ok(Advance::Event) => {
                        let buffered = self.session.buffered();
                        let (Some(event), connection) = self.session.lend() else { continue };
                        (event, connection, buffered)
                    }
                    Ok(Advance::Read { at_least }) => return Pause::Read(at_least),
                    Ok(Advance::Finished) => return Pause::Read(1),
                    Err(failure) => {
                        self.fail(failure);
                        return Pause::Read(1);
                    }
                },
            };
            if counts {
                *inflates = inflates.saturating_sub(len(&event) + EACH);
            }
            on_event(event, &mut Reply { connection, wire: &mut self.wire, buffers, now, buffered });
        }
    }

    /// Writes what waits and does what the core says about the transport; `true`: it is no longer needed.
    pub(super) fn settle(&mut self, buffers: &mut Buffers, now: Instant) -> bool {
        let mut retried = false;
        loop {
            let flushed = self.write(buffers, now);
            if self.wire.steering.aborted {
                self.fail(Error::Aborted);
                return true;
            }
            if !flushed && self.write_deadline().is_some_and(|deadline| deadline <= now) {
                // That there is room may be told by an event which is yet to come: the loop may have been away.
                if !std::mem::replace(&mut retried, true) {
                    self.wire.blocked = false;
                    continue;
                }
                self.fail(Error::Timeout(Timer::Write));
                return true;
            }
            match self.session.connection_ref().transport() {
                Transport::Close => return true,
                // What could be said to a peer that is gone was said.
                Transport::Shutdown if self.eof => return true,
                Transport::Shutdown if flushed && !self.shut && !self.wire.blocked => {
                    self.shut = self.shut_wire();
                    if !self.shut {
                        return false;
                    }
                    self.session.connection().shut_down(now);
                }
                Transport::Open | Transport::Shutdown => return false,
            }
        }
    }

    /// Writes what waits, as far as the transport takes it; whether all of it went.
    fn write(&mut self, buffers: &mut Buffers, now: Instant) -> bool {
        if self.session.connection_ref().pending() > 0 {
            // What waited may be a ping: its answer is due from now on (C-08).
            self.session.connection().observe(now);
        }
        let flushed = self.write_all(buffers);
        self.wire.note_written(flushed, now);
        if flushed {
            self.stuck_since = Moment::NEVER;
        } else {
            self.stuck_since.begin(now);
        }
        flushed
    }

    /// Compression state that is not used for a while goes back to its pool.
    #[inline]
    pub(super) fn plan_parking(&mut self, now: Instant) {
        if !self.park_at.is_set() && deflate::is_live(&self.session) {
            let idle = deflate::idle(self.session.connection_ref().config());
            self.park_at = now.saturating_add(idle).into();
        }
    }

    /// Parks compression state if it was not used since this was planned; otherwise plans it anew.
    pub(super) fn park(&mut self, now: Instant) {
        if self.park_at.get().is_some_and(|at| at <= now) {
            self.park_at = Moment::NEVER;
            deflate::park(&mut self.session);
            self.plan_parking(now);
        }
    }

    fn write_all(&mut self, buffers: &mut Buffers) -> bool {
        loop {
            self.wire.queue_control(buffers, self.session.connection());
            self.wire.write(buffers);
            if let Some(error) = self.wire.failure.take() {
                // The peer may have said more before it went: reading goes on, and finds the end.
                if self.session.connection_ref().can_recv() {
                    self.fail(Error::Lost(error));
                }
                self.readable = true;
            }
            if self.wire.broken {
                return true;
            }
            if !self.wire.is_flushed() {
                return false;
            }
            if self.session.connection_ref().pending() == 0 {
                return true;
            }
        }
    }

    /// While our ping is stuck with the rest of the output nobody can answer it (C-08).
    pub(super) fn hold_pong_deadline(&mut self, now: Instant) {
        let Some(stuck) = self.stuck_since.get() else { return };
        if self.session.connection_ref().awaits_pong_since().is_some_and(|since| since >= stuck) {
            self.session.connection().pause(now);
            self.holds_pong = true;
        }
    }

    /// Whether a pong's deadline stood still and begins now: the next `advance` starts it.
    pub(super) fn resumes_pong(&mut self) -> bool {
        !self.stuck_since.is_set() && std::mem::take(&mut self.holds_pong)
    }

    /// Whether to read what there is. Not from a peer that does not read; and a peer in full flow, once our side is
    /// shut down, is left to fill its window: closing on it would reset it before it has read our close frame. It has
    /// until the deadline.
    pub(super) fn may_read(&self) -> bool {
        !self.eof && self.wire.has_room() && self.session.connection_ref().linger_room() != Some(0)
    }

    /// Whether our side is shut down. An error means that the peer has ended it before us.
    pub(crate) fn shut_wire(&mut self) -> bool {
        match self.wire.io.shut_down() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.wire.blocked = true;
                false
            }
            _ => true,
        }
    }

    /// One read, into the loop's buffer or behind what the connection kept.
    fn fill(&mut self, buffers: &mut Buffers, now: Instant, need: usize) {
        let most = self.session.connection_ref().linger_room().unwrap_or(usize::MAX);
        self.fit_storage(buffers);
        let space = self.session.space(|| buffers.lease(), need);
        let len = space.len().min(most);
        match self.wire.io.read(&mut space[..len]) {
            Ok(0) => self.end(now, None),
            Ok(n) => {
                let awaited = self.session.connection_ref().awaits_pong_since();
                self.wire.steering.note_heard(awaited, now);
                self.session.received(n);
                self.note_short(n, len);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                if self.wire.broken {
                    // Nothing more can be sent, and nothing is left to read.
                    self.end(now, Some(ErrorKind::BrokenPipe.into()));
                }
            }
            Err(error) => self.end(now, Some(error)),
        }
    }

    /// A short read has emptied the socket, unless its end may stand behind it.
    pub(crate) fn note_short(&mut self, n: usize, len: usize) {
        if self.short_reads && n < len && !self.wire.broken {
            self.readable = false;
        }
    }

    /// Moves a small rest into the loop's buffer, and a part of a message that does not fit there into a spare buffer which
    /// takes all of the message, if there is one; otherwise the storage grows by doubling.
    fn fit_storage(&mut self, buffers: &mut Buffers) {
        let (size, filled) = (self.session.storage_len(), self.session.buffered());
        if size == 0 {
            return;
        }
        let remaining = usize::try_from(self.session.connection_ref().remaining()).unwrap_or(usize::MAX);
        let wanted = filled.saturating_add(remaining);
        let larger = if wanted > size.max(SIZE) { buffers.lease_large(wanted) } else { None };
        let other = larger.or_else(|| (size < SIZE && filled < SIZE).then(|| buffers.lease()));
        if let Some(storage) = other {
            match self.session.move_to(storage) {
                Ok(old) => old.into_iter().for_each(|old| buffers.give(old)),
                Err(unfit) => buffers.give(unfit),
            }
        }
    }

    /// Nothing arrives: the buffer goes back to the loop, and a short rest of a message into memory of its size.
    fn rest(&mut self, buffers: &mut Buffers) {
        self.wire.rest(buffers);
        let (size, filled) = (self.session.storage_len(), self.session.buffered());
        if size > 0 && filled == 0 {
            if let Some((storage, _)) = self.session.rest() {
                buffers.give(storage);
            }
        } else if size >= SIZE
            && filled <= SMALL_REST
            && let Ok(Some(storage)) = self.session.move_to(vec![0; filled])
        {
            buffers.give(storage);
        }
    }

    /// The transport is broken: what could still be read from it is lost.
    fn lose(&mut self, now: Instant) {
        let error = match self.wire.io.take_error() {
            Ok(Some(error)) | Err(error) => error,
            // It was reported, and cleared, before.
            Ok(None) => ErrorKind::ConnectionReset.into(),
        };
        self.end(now, Some(error));
    }

    /// The transport has no more to read.
    fn end(&mut self, now: Instant, error: Option<io::Error>) {
        self.eof = true;
        if let Err(failure) = self.session.connection().recv_eof(now) {
            match error {
                Some(error) => self.fail(Error::Lost(error)),
                None => self.fail(failure),
            }
        }
    }
}

/// The length of what is handed over, in bytes.
fn len(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Binary(bytes) => bytes.len(),
        Event::Chunk(chunk) => match &chunk.payload {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        },
        Event::Ping(_) | Event::Pong(_) | Event::Close(_) => 0,
    }
}
