//! The handle that comes with an event, to answer it.

use ws_core::{CloseCode, CloseFrame, Connection, Instant, Message, Part, Prepared};

use crate::buffers::Buffers;
use crate::error::Error;
use crate::stream::Stream;
use crate::wire::{Overflow, Wire};

/// Sends on a connection while one of its messages is borrowed. What is sent leaves together, in one write, when
/// everything received has been handled, or when 64 KiB wait.
#[derive(Debug)]
pub struct Reply<'a, S> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) wire: &'a mut Wire<S>,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) now: Instant,
    /// Received bytes that are not done with, those of the event included.
    pub(crate) buffered: usize,
}

impl<S: Stream> Reply<'_, S> {
    /// Encodes a message into the output, and never blocks. A server's payload of 32 KiB or more, or of 8 KiB if nothing
    /// else seems to follow, is written at once, from where it is, and only what the transport does not take is copied.
    ///
    /// These lengths are those before compression.
    ///
    /// The first message sent in answer to an event always finds room, unless the queue was filled from outside.
    ///
    /// # Errors
    /// [`Error::QueueFull`]: more than 64 KiB wait, and with this message it would be more than
    /// [`Limits::max_queue`](ws_core::Limits::max_queue), unless [`Overflow`] says otherwise. [`Error::Refused`]: the
    /// connection is closing. [`Error::Lost`]: the transport failed. In each case nothing was sent.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.send_part(message, Part::Whole)
    }

    /// Sends a part of a message, as [`send`](Self::send) does a whole one.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Error::Refused`] for parts out of order.
    #[inline]
    pub fn send_part<'m>(&mut self, message: impl Into<Message<'m>>, part: Part) -> Result<(), Error> {
        match self.wire.send(self.buffers, self.connection, message.into(), part, self.buffered) {
            Err(Error::QueueFull) => Err(self.overflow()),
            result => result,
        }
    }

    /// Sends a message that was prepared for many connections: its frame is made and compressed once for all of them. A
    /// client, which has to mask, sends the message in it.
    ///
    /// [`Sender::prepared`](ws_core::Sender::prepared) says which connections get it compressed, and what that does to their
    /// other messages.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        match self.wire.send_prepared(self.buffers, self.connection, prepared, self.buffered) {
            Err(Error::QueueFull) => Err(self.overflow()),
            result => result,
        }
    }

    #[cold]
    pub(crate) fn overflow(&mut self) -> Error {
        if self.wire.overflow == Overflow::Close {
            self.wire.drop_oldest(self.buffers, self.connection, usize::MAX);
            let frame = CloseFrame { code: CloseCode::TRY_AGAIN, reason: "" };
            // Refused when it is closing already.
            let _ = self.connection.close(self.now, Some(frame));
        }
        Error::QueueFull
    }

    /// Sets which messages are compressed from now on, if compression was agreed on.
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: ws_core::deflate::Compress) {
        self.connection.set_compress(compress);
    }

    /// Queues a ping of at most 125 bytes.
    ///
    /// # Errors
    /// [`Error::Refused`]: it is too long, too many wait, or the connection is closing.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.connection.ping(payload)?)
    }

    /// Queues our close frame. Messages that come before the peer's are still delivered, unless the code says that
    /// something is wrong; see [`Connection::close`].
    ///
    /// # Errors
    /// [`Error::Refused`]: a code or reason that may not travel, or a connection that is closing already.
    pub fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Error> {
        Ok(self.connection.close(self.now, frame)?)
    }

    /// The same handle, lent once more.
    #[inline(always)]
    pub(crate) fn again(&mut self) -> Reply<'_, S> {
        let Self { now, buffered, .. } = *self;
        Reply { connection: self.connection, wire: self.wire, buffers: self.buffers, now, buffered }
    }

    /// The number of bytes that wait for the peer to read.
    pub fn queued(&self) -> usize {
        self.wire.queued()
    }
}
