//! The output: encoded bytes that wait, and the transport that takes them.
//!
//! ```text
//! | written | queued | free, leased from the thread |
//! 0         start    end
//! ```

mod payload;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::frame::{Header, MAX_HEADER};
use ws_core::{ConfigRef, Connection, Message, Part, Prepared, SendError, Sender, Timer};

use crate::deflate;
use crate::error::Error;
use crate::pool::{self, SMALL_REST};
use crate::stall::Stall;

pub(crate) use payload::{Large, Payload};

/// Replies are gathered up to this many bytes; then they leave even if more input waits.
pub(crate) const CORK: usize = 64 << 10;

/// From this length on a payload goes out beside the header instead of being copied behind it.
pub(crate) const LARGE: usize = 32 << 10;

/// What frames a message: a connection, or the sending half of one.
pub(crate) trait Encode {
    fn send_part(&mut self, message: Message<'_>, part: Part, out: &mut [u8]) -> Result<usize, SendError>;
    fn header(&mut self, message: Message<'_>, part: Part) -> Result<Header, SendError>;
    fn prepared<'p>(&mut self, prepared: &'p Prepared) -> Result<&'p [u8], SendError>;
    fn transmit(&mut self, out: &mut [u8]) -> usize;
    fn pending(&self) -> usize;
    /// Whether such a part would be compressed, so that it cannot be written from where it stands.
    fn compresses(&self, len: usize, part: Part) -> bool;
}

macro_rules! encode {
    ($($endpoint:ty: $compresses:path),*) => {$(
        impl Encode for $endpoint {
            #[inline]
            fn send_part(&mut self, message: Message<'_>, part: Part, out: &mut [u8]) -> Result<usize, SendError> {
                self.send_part(message, part, out)
            }

            fn header(&mut self, message: Message<'_>, part: Part) -> Result<Header, SendError> {
                self.frame_header(message.kind(), message.as_bytes().len() as u64, part)
            }

            fn prepared<'p>(&mut self, prepared: &'p Prepared) -> Result<&'p [u8], SendError> {
                self.prepared(prepared)
            }

            fn transmit(&mut self, out: &mut [u8]) -> usize {
                self.transmit(out)
            }

            #[inline]
            fn pending(&self) -> usize {
                self.pending()
            }

            fn compresses(&self, len: usize, part: Part) -> bool {
                $compresses(self, len, part)
            }
        }
    )*};
}

encode!(Connection: deflate::connection_compresses, Sender: deflate::compresses);

#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) io: S,
    out: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the transport may hold back what it took: TLS does, until it is flushed.
    dirty: bool,
    /// A write failed: nothing leaves from then on, and what is queued is dropped.
    pub(crate) broken: bool,
    /// The application waited for room instead of reading, and has not read since.
    pub(crate) waited: bool,
    /// The payload of a frame is still to come: nothing else may be queued before it.
    pub(crate) cut: bool,
    config: ConfigRef,
    /// Small messages are queued one behind the other up to this size: [`CORK`], or as much as the queue may hold.
    cork: u32,
    /// The deadline of a wait for the transport, from the first of them on.
    stall: Option<Box<Stall>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(io: S, config: ConfigRef) -> Self {
        Self {
            io,
            out: Vec::new(),
            start: 0,
            end: 0,
            dirty: false,
            broken: false,
            waited: false,
            cut: false,
            cork: config.limits.max_queue.min(CORK) as u32,
            config,
            stall: None,
        }
    }

    /// Bytes that wait.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.end - self.start
    }

    /// Encodes a message behind what waits. Never waits.
    #[inline]
    pub(crate) fn queue(
        &mut self,
        from: &mut impl Encode,
        message: Message<'_>,
        part: Part,
    ) -> Result<(), Error> {
        // A lease has more room than a small queue may fill.
        let queued = self.queued();
        let then = queued.saturating_add(message.as_bytes().len() + MAX_HEADER);
        if queued > 0 && then > self.cork as usize && then > self.config.limits.max_queue {
            return Err(Error::QueueFull);
        }
        self.encode(from, message, part, true)
    }

    /// The fast path of a send, to be inlined: a small message behind others that leave soon. `false`: nothing was done.
    #[inline(always)]
    pub(crate) fn queue_small(&mut self, from: &Connection, message: Message<'_>) -> bool {
        if message.as_bytes().len() >= LARGE || self.queued() >= self.cork as usize || self.is_stuck() {
            return false;
        }
        if self.out.is_empty() {
            self.out = pool::lease();
        }
        let sent = self.out.get_mut(self.end..).and_then(|free| from.send_small(message, free));
        match sent {
            Some(n) => self.end += n,
            None if self.queued() == 0 => self.release(),
            None => {}
        }
        sent.is_some()
    }

    /// Encodes a message after a wait for room: a single one, so the limit of the queue does not bind it.
    #[inline]
    pub(crate) fn queue_in_room(
        &mut self,
        from: &mut impl Encode,
        message: Message<'_>,
        part: Part,
    ) -> Result<(), Error> {
        self.encode(from, message, part, false)
    }

    #[inline]
    fn encode(
        &mut self,
        from: &mut impl Encode,
        message: Message<'_>,
        part: Part,
        is_bound: bool,
    ) -> Result<(), Error> {
        // Only after a send that was forgotten, neither finished nor dropped.
        if self.cut {
            return Err(self.lost());
        }
        // Most messages find an empty queue: being refused for lack of room first would double the work.
        if self.out.is_empty() && !self.broken {
            self.out = pool::lease();
        }
        loop {
            match from.send_part(message, part, self.out.get_mut(self.end..).unwrap_or_default()) {
                Ok(n) => {
                    self.end += n;
                    return Ok(());
                }
                Err(SendError::NoSpace { needed }) => self.make_room(needed, is_bound)?,
                Err(error) => {
                    if self.queued() == 0 {
                        self.release();
                    }
                    return Err(error.into());
                }
            }
        }
    }

    /// Copies a frame made for many behind what waits. Never waits.
    pub(crate) fn queue_prepared(
        &mut self,
        from: &mut impl Encode,
        prepared: &Prepared,
    ) -> Result<(), Error> {
        // A compressed frame is never the longer one, and which one it is may be said only once.
        let needed = from.pending().saturating_add(prepared.len() + MAX_HEADER);
        let queued = self.queued();
        if queued > 0 && queued.saturating_add(needed) > self.config.limits.max_queue {
            return Err(Error::QueueFull);
        }
        Payload::begin_prepared(self, from, prepared)?.finish(self);
        Ok(())
    }

    /// Queues all that is owed: nothing may get into a frame that follows.
    fn queue_owed(&mut self, from: &mut impl Encode) {
        while from.pending() > 0 {
            self.reserve(from.pending());
            self.end += from.transmit(&mut self.out[self.end..]);
        }
    }

    /// Makes `needed` bytes of free space. If the limit of the queue binds, no more than that waits then.
    #[cold]
    fn make_room(&mut self, needed: usize, is_bound: bool) -> Result<(), Error> {
        if self.broken {
            return Err(self.lost());
        }
        let queued = self.queued();
        if is_bound && queued > 0 && queued.saturating_add(needed) > self.config.limits.max_queue {
            return Err(Error::QueueFull);
        }
        self.reserve(needed);
        Ok(())
    }

    fn reserve(&mut self, needed: usize) {
        if self.out.is_empty() {
            self.out = pool::lease();
        }
        let queued = self.queued();
        if self.start > 0 {
            self.out.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, queued);
        }
        let len = queued.saturating_add(needed);
        if len > self.out.len() {
            // The large buffers are few, and left to messages that need one.
            let mut larger = if len <= pool::LEASE {
                pool::lease()
            } else {
                pool::lease_large(len).unwrap_or_else(|| vec![0; len.next_power_of_two()])
            };
            larger[..queued].copy_from_slice(&self.out[..queued]);
            pool::give(std::mem::replace(&mut self.out, larger));
        }
    }

    /// Queues control frames, as long as little enough waits before them: a ping counts as sent when it gets here.
    pub(crate) fn queue_control(&mut self, from: &mut impl Encode) {
        while from.pending() > 0 && self.queued() < CORK && !self.broken && !self.cut {
            if self.end == self.out.len() {
                self.reserve(from.pending().min(CORK));
            }
            self.end += from.transmit(&mut self.out[self.end..]);
        }
    }

    /// Writes until less than [`CORK`] bytes wait, and less than the queue may hold.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let most = self.cork.max(1) as usize;
        while self.queued() >= most {
            ready!(self.poll_write(cx)).map_err(|error| self.told(error))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that waits, and has the transport pass it on.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.queued() > 0 {
            ready!(self.poll_write(cx)).map_err(|error| self.told(error))?;
        }
        if self.dirty {
            let flushed = match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => ready!(self.poll_stall(cx)),
            };
            self.dirty = false;
            if let Err(error) = flushed {
                self.broken = true;
                return Poll::Ready(Err(self.told(error)));
            }
            self.took();
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_write(cx, &self.out[self.start..self.end]) {
            Poll::Ready(written) => self.written(written, 0).map(|_| ()).into(),
            Poll::Pending => self.poll_blocked(cx),
        }
    }

    #[inline(never)]
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shrink();
        self.poll_stall(cx)
    }

    /// The transport takes nothing now. `Ready`, with an error, when that has been so for too long.
    #[inline(never)]
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(patience) = self.config.timeouts.write else { return Poll::Pending };
        ready!(self.stall.get_or_insert_default().poll(cx, patience));
        self.abandon();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    #[inline]
    fn took(&mut self) {
        if let Some(stall) = &mut self.stall {
            stall.end();
        }
    }

    /// No timer is held for a transport that has taken all it was given.
    pub(crate) fn rest(&mut self) {
        self.stall.take_if(|stall| stall.is_over());
    }

    /// The same error in the words of the crate.
    #[cold]
    fn told(&self, error: io::Error) -> Error {
        if self.stall.as_ref().is_some_and(|stall| stall.has_rung()) {
            Error::Timeout(Timer::Write)
        } else {
            Error::Lost(error)
        }
    }

    /// What a call says that comes after the transport failed.
    pub(crate) fn lost(&self) -> Error {
        self.told(io::ErrorKind::BrokenPipe.into())
    }

    /// The transport is blocked, perhaps for long: a small rest moves into memory of its size.
    fn shrink(&mut self) {
        let queued = self.queued();
        if queued <= SMALL_REST && self.out.len() > SMALL_REST {
            let rest = self.out[self.start..self.end].to_vec();
            pool::give(std::mem::replace(&mut self.out, rest));
            (self.start, self.end) = (0, queued);
        }
    }

    /// Accounts for a write of what waits, and of a payload behind it; returns how much of the latter it took.
    fn written(&mut self, result: io::Result<usize>, payload: usize) -> io::Result<usize> {
        let result = match result {
            Ok(0) if self.queued() + payload > 0 => Err(io::ErrorKind::WriteZero.into()),
            result => result,
        };
        let n = match result {
            Ok(n) => n,
            Err(error) => {
                self.abandon();
                return Err(error);
            }
        };
        self.dirty = true;
        self.took();
        let queued = n.min(self.queued());
        self.start += queued;
        if self.start == self.end {
            self.release();
        }
        Ok(n - queued)
    }

    fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        pool::give(std::mem::take(&mut self.out));
    }

    /// Whether what is owed can no longer leave.
    #[inline]
    pub(crate) fn is_stuck(&self) -> bool {
        self.broken | self.cut
    }

    /// The transport has ended. What has not left by now never does.
    pub(crate) fn end(&mut self) {
        if self.queued() > 0 || self.dirty || self.cut {
            self.abandon();
        }
    }

    /// What waits is dropped, and nothing follows it.
    pub(crate) fn abandon(&mut self) {
        self.broken = true;
        self.dirty = false;
        self.release();
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Takes the transport, and drops what waits.
    pub(crate) fn into_io(mut self) -> S {
        self.release();
        self.io
    }
}
