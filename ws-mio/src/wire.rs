//! The way out: encoded bytes that wait, and the transport that takes them.
//!
//! ```text
//! | written | queued | free, leased from the loop |
//! 0         start    end
//! ```
//!
//! At most [`Limits::max_queue`](ws_core::Limits::max_queue) bytes are queued, and one message. What happens beyond that
//! is the application's choice: [`Overflow`].

use std::io::{self, ErrorKind, IoSlice};

use ws_core::frame::{Header, MAX_HEADER, Opcode};
use ws_core::{Connection, Kind, Message, Part, Prepared, Role, SendError};

use crate::buffers::{Buffers, SIZE};
use crate::deflate;
use crate::error::Error;
use crate::parts::Parts;
use crate::steer::Steering;
use crate::stream::Stream;

/// Replies are gathered up to this many bytes; then they leave even if more input waits.
pub(crate) const CORK: usize = SIZE;

/// From this length on a payload goes out beside the header instead of being copied behind it.
pub(crate) const LARGE: usize = 32 << 10;

/// The same for the answer to an event behind which nothing was received: no other answer will share its write.
const LARGE_ALONE: usize = 8 << 10;

/// What waits up to this length, while the peer does not read, stands in memory of its own size.
const SMALL: usize = 4 << 10;

/// What happens to a message for which the queue of a peer that does not read has no room. (N-02)
///
/// Answers to a peer's own messages seldom meet this: while they wait, the peer is not read from. It is for messages that
/// others cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// It is refused, with [`Error::QueueFull`].
    #[default]
    DropNew,
    /// The oldest whole messages that wait are dropped to make room for it, an eighth of the queue at a time. Control
    /// frames, and messages that were sent in parts, stay. Compressed messages with context takeover are dropped together,
    /// all that wait: none can be read without those before it.
    DropOld,
    /// The connection is closed with 1013, and the messages that wait are dropped.
    Close,
}

/// While fewer bytes than this wait, another message is taken, however long.
fn room(max_queue: usize) -> usize {
    max_queue.clamp(1, CORK)
}

/// Whether a queue that `queued` bytes wait in has no room for `needed` more.
pub(crate) fn is_full(queued: usize, needed: usize, max_queue: usize) -> bool {
    queued >= room(max_queue) && queued.saturating_add(needed) > max_queue
}

#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) io: S,
    out: Vec<u8>,
    start: usize,
    end: usize,
    /// How much of the queue's front belongs to a frame that the transport has the beginning of. More than there is:
    /// nobody knows, and nothing may be dropped.
    cut: usize,
    /// While fewer bytes than this wait, another message is taken, however long, and input is read (C-06, N-05).
    room: u32,
    pub(crate) overflow: Overflow,
    /// The first write that failed, until it is reported.
    pub(crate) failure: Option<io::Error>,
    /// The transport takes no more, until the loop says that it does.
    pub(crate) blocked: bool,
    /// Whether the transport may hold back what it took, until it is flushed.
    dirty: bool,
    /// A write failed: nothing more leaves, and what is queued is dropped.
    pub(crate) broken: bool,
    pub(crate) steering: Steering,
    /// The prepared message that is being sent in parts.
    pub(crate) parts: Option<Parts>,
    /// Bytes of its payload that are still to be put.
    pub(crate) parts_left: usize,
}

impl<S: Stream> Wire<S> {
    pub(crate) fn new(io: S, max_queue: usize) -> Self {
        Self {
            io,
            out: Vec::new(),
            start: 0,
            end: 0,
            cut: 0,
            room: room(max_queue) as u32,
            overflow: Overflow::DropNew,
            failure: None,
            blocked: false,
            dirty: false,
            broken: false,
            steering: Steering::default(),
            parts: None,
            parts_left: 0,
        }
    }

    /// Bytes that wait.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.end - self.start
    }

    /// The size of the memory that they stand in.
    pub(crate) fn held(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.queued() < self.room as usize
    }

    /// Whether everything has left, also from inside the transport.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queued() == 0 && !self.is_dirty()
    }

    #[inline]
    fn is_dirty(&self) -> bool {
        (self.dirty || self.io.wants_flush()) && !self.broken
    }

    /// Whether there is anything to it but the transport.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.out.is_empty()
            || self.is_dirty()
            || self.broken
            || self.blocked
            || self.failure.is_some()
            || self.steering.is_in_use()
            || self.parts.is_some()
    }

    /// Sends a message: behind what waits, or, a large one, straight from where it stands. Never waits.
    #[inline(always)]
    pub(crate) fn send(
        &mut self,
        buffers: &mut Buffers,
        connection: &mut Connection,
        message: Message<'_>,
        part: Part,
        buffered: usize,
    ) -> Result<(), Error> {
        // Most messages: small, and there is room for them in memory that is there; a broken transport has none.
        if part == Part::Whole
            && message.as_bytes().len() < LARGE_ALONE
            && self.has_room()
            && let Some(free) = self.out.get_mut(self.end..)
            && let Some(n) = connection.send_small(message, free)
        {
            self.end += n;
            return Ok(());
        }
        self.send_any(buffers, connection, message, part, buffered)
    }

    #[inline(never)]
    fn send_any(
        &mut self,
        buffers: &mut Buffers,
        connection: &mut Connection,
        message: Message<'_>,
        part: Part,
        buffered: usize,
    ) -> Result<(), Error> {
        // What is open is none of its message; whole ones and first parts the core refuses by itself.
        if part != Part::Whole && self.parts.is_some() {
            return Err(SendError::MessageOpen.into());
        }
        let len = message.as_bytes().len();
        if len >= LARGE_ALONE
            && (len >= LARGE || buffered <= len + MAX_HEADER)
            && !self.blocked
            && connection.role() == Role::Server
            && !deflate::compresses(connection, len, part)
        {
            return self.send_beside(buffers, connection, message, part);
        }
        if self.broken || !self.has_room() {
            self.check_room(
                buffers,
                connection,
                (connection.pending() + MAX_HEADER).saturating_add(len),
                (message.kind(), part),
            )?;
        }
        loop {
            match connection.send_part(message, part, self.out.get_mut(self.end..).unwrap_or_default()) {
                Ok(n) => {
                    self.end += n;
                    return Ok(());
                }
                Err(SendError::NoSpace { needed }) => self.reserve(buffers, needed),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The header goes behind what waits; all of that and the payload leave in one write. What the transport does not
    /// take is copied.
    fn send_beside(
        &mut self,
        buffers: &mut Buffers,
        connection: &mut Connection,
        message: Message<'_>,
        part: Part,
    ) -> Result<(), Error> {
        let payload = message.as_bytes();
        self.check_room(
            buffers,
            connection,
            (connection.pending() + MAX_HEADER).saturating_add(payload.len()),
            (message.kind(), part),
        )?;
        self.queue_owed(buffers, connection);
        let header = connection.frame_header(message.kind(), payload.len() as u64, part)?;
        let mut head = [0; MAX_HEADER];
        let len = header.encode(&mut head);
        self.copy(buffers, &head[..len]);

        self.write_beside(buffers, payload);
        Ok(())
    }

    /// Sends the frame of a prepared message: written from where it is if it is large, copied otherwise.
    pub(crate) fn send_prepared(
        &mut self,
        buffers: &mut Buffers,
        connection: &mut Connection,
        prepared: &Prepared,
        buffered: usize,
    ) -> Result<(), Error> {
        if connection.role() == Role::Client {
            return self.send(buffers, connection, prepared.message(), Part::Whole, buffered);
        }
        if self.broken || !self.has_room() {
            let needed = (connection.pending() + MAX_HEADER).saturating_add(prepared.len());
            self.check_room(buffers, connection, needed, (prepared.kind(), Part::Whole))?;
        }
        self.queue_owed(buffers, connection);
        let frame = connection.prepared(prepared)?;
        if frame.len() >= LARGE && !self.blocked {
            // Where it ends is read from the queue, if the transport takes a part of it.
            let (head, behind) = frame.split_at(MAX_HEADER);
            self.copy(buffers, head);
            self.write_beside(buffers, behind);
        } else {
            self.copy(buffers, frame);
        }
        Ok(())
    }

    /// What is owed goes before a frame that is not encoded here, all of it.
    pub(crate) fn queue_owed(&mut self, buffers: &mut Buffers, connection: &mut Connection) {
        while connection.pending() > 0 {
            self.reserve(buffers, connection.pending());
            self.end += connection.transmit(&mut self.out[self.end..]);
        }
    }

    /// Writes what waits and `bytes` behind it, and copies what the transport does not take.
    pub(crate) fn write_beside(&mut self, buffers: &mut Buffers, bytes: &[u8]) {
        let parts = [IoSlice::new(&self.out[self.start..self.end]), IoSlice::new(bytes)];
        let wanted = self.queued() + bytes.len();
        let written = self.io.write_vectored(&parts);
        let taken = self.written(buffers, written, wanted);
        if !self.broken {
            self.copy(buffers, &bytes[taken..]);
        }
    }

    /// Takes over from a write that was made past it, with nothing queued: of whole frames, which were sent.
    pub(crate) fn resume(&mut self, buffers: &mut Buffers, frames: &[u8], written: io::Result<usize>) {
        self.copy(buffers, frames);
        self.written(buffers, written, frames.len());
    }

    /// Whether the bound of the queue allows `needed` bytes more. What waits is written first, if it does not.
    ///
    /// No message is dropped, and no connection closed, for a part that is refused anyway.
    #[cold]
    pub(crate) fn check_room(
        &mut self,
        buffers: &mut Buffers,
        connection: &mut Connection,
        needed: usize,
        (kind, part): (Kind, Part),
    ) -> Result<(), Error> {
        let max_queue = connection.config().limits.max_queue;
        if is_full(self.queued(), needed, max_queue) {
            self.write(buffers);
        }
        if self.broken {
            return Err(Error::Lost(ErrorKind::BrokenPipe.into()));
        }
        if !is_full(self.queued(), needed, max_queue) {
            return Ok(());
        }
        connection.accepts(kind, part)?;
        if self.overflow == Overflow::DropOld {
            let excess = self.queued().saturating_add(needed).saturating_sub(max_queue);
            self.drop_oldest(buffers, connection, excess.max(max_queue / 8));
        }
        if is_full(self.queued(), needed, max_queue) { Err(Error::QueueFull) } else { Ok(()) }
    }

    /// Drops whole messages from the queue, the oldest first, until `wanted` bytes are free or there is none left.
    ///
    /// Of messages that refer to each other, compressed with context takeover, all go or none: what follows then
    /// refers to nothing before it.
    #[cold]
    pub(crate) fn drop_oldest(&mut self, buffers: &mut Buffers, connection: &mut Connection, wanted: usize) {
        let (base, queued) = (self.start, self.queued());
        let is_chained = deflate::has_context(connection);
        let unchained = if is_chained { self.end_of_parts() } else { 0 };
        let mut broke = false;
        // Up to `at` everything was looked at, and up to `kept` it stays.
        let (mut at, mut kept) = (self.cut, self.cut);
        while at < queued && (at - kept < wanted || broke) {
            let Some((header, len)) = self.frame_at(at) else { break };
            let is_whole = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
            let drops = if is_chained && header.rsv != 0 {
                at >= unchained && (at - kept < wanted || broke)
            } else {
                at - kept < wanted
            };
            if is_whole && drops {
                broke |= is_chained && header.rsv != 0;
            } else {
                self.out.copy_within(base + at..base + at + len, base + kept);
                kept += len;
            }
            at += len;
        }
        if broke {
            deflate::forget_context(connection);
        }
        if at > kept {
            self.start = base + at - kept;
            self.out.copy_within(base..base + kept, self.start);
            if self.queued() == 0 {
                self.release(buffers);
            }
        }
    }

    /// A frame of the queue: its header, and its whole length. `None` where there is none that is whole.
    fn frame_at(&self, at: usize) -> Option<(Header, usize)> {
        let frame = self.out.get(self.start.checked_add(at)?..self.end)?;
        let (header, head_len) = Header::decode(frame).ok()??;
        let len = usize::try_from(header.len).ok()?.checked_add(head_len)?;
        (len <= frame.len()).then_some((header, len))
    }

    /// Where the last part of a message ends that was sent in parts. These stay, and so does what they may refer to.
    fn end_of_parts(&self) -> usize {
        let (mut at, mut end) = (self.cut, 0);
        while let Some((header, len)) = self.frame_at(at) {
            at += len;
            if !header.fin || header.opcode == Opcode::Continuation {
                end = at;
            }
        }
        end
    }

    /// How much of the frame that `n` bytes of the queue end in has not left.
    #[cold]
    fn cut_after(&self, n: usize) -> usize {
        let mut boundary = self.cut;
        while boundary < n {
            let frame = self.out.get(self.start.saturating_add(boundary)..self.end).unwrap_or_default();
            let Ok(Some((header, len))) = Header::decode(frame) else { return usize::MAX };
            let payload = usize::try_from(header.len).unwrap_or(usize::MAX);
            boundary = boundary.saturating_add(len).saturating_add(payload);
        }
        boundary - n
    }

    /// Makes `needed` bytes of free space.
    fn reserve(&mut self, buffers: &mut Buffers, needed: usize) {
        let queued = self.queued();
        let len = queued.saturating_add(needed);
        if len > self.out.len() {
            let other = if len <= SIZE {
                buffers.lease()
            } else {
                buffers.lease_large(len).unwrap_or_else(|| vec![0; len.next_power_of_two()])
            };
            let mut old = std::mem::replace(&mut self.out, other);
            self.out[..queued].copy_from_slice(&old[self.start..self.end]);
            buffers.give(std::mem::take(&mut old));
        } else if self.start > 0 && self.out.len() - self.end < needed {
            self.out.copy_within(self.start..self.end, 0);
        } else {
            return;
        }
        (self.start, self.end) = (0, queued);
    }

    pub(crate) fn copy(&mut self, buffers: &mut Buffers, bytes: &[u8]) {
        self.reserve(buffers, bytes.len());
        self.out[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Has an answer of the opening handshake written behind what waits. `encode` names the space it misses.
    pub(crate) fn put<E>(
        &mut self,
        buffers: &mut Buffers,
        mut encode: impl FnMut(&mut [u8]) -> Result<usize, E>,
        missing: impl Fn(&E) -> Option<usize>,
    ) -> Result<(), E> {
        // An answer that finds no room is worked out twice, its SHA-1 included.
        if self.out.is_empty() {
            self.out = buffers.lease();
        }
        loop {
            match encode(&mut self.out[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    // No frame: it leaves as a whole.
                    self.cut = self.queued();
                    return Ok(());
                }
                Err(error) => match missing(&error) {
                    Some(needed) => self.reserve(buffers, needed),
                    None => {
                        if self.queued() == 0 {
                            self.release(buffers);
                        }
                        return Err(error);
                    }
                },
            }
        }
    }

    /// Has a client's request wait until the transport is connected.
    pub(crate) fn hold(&mut self, request: Vec<u8>) {
        (self.start, self.end) = (0, request.len());
        self.cut = request.len();
        self.out = request;
        self.blocked = true;
    }

    /// Another connection is served, with a limit of its own.
    #[inline]
    pub(crate) fn set_max_queue(&mut self, max_queue: usize) {
        self.room = room(max_queue) as u32;
    }

    /// Queues control frames, as long as little enough waits before them: a ping counts as sent when it gets here.
    pub(crate) fn queue_control(&mut self, buffers: &mut Buffers, connection: &mut Connection) {
        while connection.pending() > 0 && self.queued() < CORK && !self.broken {
            // All of it, or the queue would end in half a frame.
            if self.out.len() - self.end < connection.pending() {
                self.reserve(buffers, connection.pending());
            }
            self.end += connection.transmit(&mut self.out[self.end..]);
        }
    }

    /// Writes as much as the transport takes.
    pub(crate) fn write(&mut self, buffers: &mut Buffers) {
        while self.queued() > 0 && !self.blocked {
            let wanted = self.queued();
            let written = self.io.write(&self.out[self.start..self.end]);
            self.written(buffers, written, wanted);
        }
        while self.queued() == 0 && self.is_dirty() && !self.blocked {
            match self.io.flush() {
                Ok(()) => self.dirty = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) => self.fail(buffers, error),
            }
        }
    }

    /// Accounts for a write of what waits, and of a payload behind it; returns how much of the latter it took.
    fn written(&mut self, buffers: &mut Buffers, result: io::Result<usize>, wanted: usize) -> usize {
        let n = match result {
            Ok(0) => {
                self.fail(buffers, ErrorKind::WriteZero.into());
                return 0;
            }
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => return 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                return 0;
            }
            Err(error) => {
                self.fail(buffers, error);
                return 0;
            }
        };
        self.dirty = true;
        self.steering.took = true;
        self.cut = if n < wanted { self.cut_after(n) } else { 0 };
        self.blocked = n < wanted && self.io.short_means_blocked();
        let queued = n.min(self.queued());
        self.start += queued;
        if self.start == self.end {
            self.release(buffers);
        }
        n - queued
    }

    fn fail(&mut self, buffers: &mut Buffers, error: io::Error) {
        self.broken = true;
        self.dirty = false;
        self.failure.get_or_insert(error);
        self.release(buffers);
    }

    /// The peer does not read: a short rest moves to memory of its size, and the buffer goes back to the loop. So does
    /// one that was large enough for whatever a message might be compressed to.
    pub(crate) fn rest(&mut self, buffers: &mut Buffers) {
        let (queued, size) = (self.queued(), self.out.len());
        if queued > 0 && (queued <= SMALL && size >= SIZE || size > SIZE && queued <= size / 4) {
            let small = self.out[self.start..self.end].to_vec();
            buffers.give(std::mem::replace(&mut self.out, small));
            (self.start, self.end) = (0, queued);
        }
    }

    pub(crate) fn release(&mut self, buffers: &mut Buffers) {
        (self.start, self.end) = (0, 0);
        buffers.give(std::mem::take(&mut self.out));
    }
}
