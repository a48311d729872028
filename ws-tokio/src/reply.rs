//! The handle that comes with a lent message, to answer it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{Connection, Instant, Message, Part, Prepared, Role, SendError};

use crate::error::Error;
use crate::wire::{Encode, LARGE, Large, Wire};

/// Sends on a connection while one of its messages is lent.
#[derive(Debug)]
pub struct Reply<'a, S> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) wire: &'a mut Wire<S>,
    pub(crate) now: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reply<'_, S> {
    /// Sends a message: encodes it at once when there is room, otherwise waits until there is.
    ///
    /// It leaves with the next call of `recv`, together with other replies; or with `flush`. A payload of 32 KiB and
    /// more is written from where it stands. While it waits, nothing is read, and the only deadline that is kept is
    /// [`Timeouts::write`](ws_core::Timeouts::write).
    ///
    /// Compression happens at once, into one frame. In parts ([`send_part`](Self::send_part)) a large message is never
    /// held whole, and control frames get in between.
    ///
    /// # Errors
    /// [`Error::Refused`] when the connection is closing, [`Error::Lost`] when the transport fails, [`Error::Timeout`] when it
    /// takes nothing for too long.
    ///
    /// # Cancel safety
    /// If it is dropped while it waits for room, nothing was sent; if later, all of the message is queued. A frame is
    /// never cut.
    #[inline]
    pub async fn send(&mut self, message: impl Into<Message<'_>>) -> Result<(), Error> {
        let message = message.into();
        if self.wire.queue_small(self.connection, message) {
            return Ok(());
        }
        self.send_part(message, Part::Whole).await
    }

    /// Sends a part of a message, in the way that [`send`](Self::send) sends a whole one.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Error::Refused`] for parts out of order.
    ///
    /// # Cancel safety
    /// As for [`send`](Self::send).
    #[inline]
    pub async fn send_part(&mut self, message: impl Into<Message<'_>>, part: Part) -> Result<(), Error> {
        let message = message.into();
        // Room may never come.
        if !self.connection.can_send() {
            return Err(SendError::Closed.into());
        }
        poll_fn(|cx| self.poll_room(cx)).await?;
        let len = message.as_bytes().len();
        if len < LARGE || self.connection.compresses(len, part) {
            return self.wire.queue_in_room(self.connection, message, part);
        }
        let large = Large::begin(self.wire, self.connection, message, part)?;
        write_out(large, self.connection, self.now).await
    }

    /// Sends a message that was prepared for many: its frame, which is made and compressed once for all of them.
    /// Otherwise like [`send`](Self::send); a client, which has to mask, sends the message in it.
    ///
    /// [`Sender::prepared`](ws_core::Sender::prepared) tells which connections get it compressed, and what that does to
    /// their own messages.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As for [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        if self.connection.role() == Role::Client {
            return self.send(prepared.message()).await;
        }
        if !self.connection.can_send() {
            return Err(SendError::Closed.into());
        }
        poll_fn(|cx| self.poll_room(cx)).await?;
        match Large::begin_prepared(self.wire, self.connection, prepared)? {
            Some(large) => write_out(large, self.connection, self.now).await,
            None => Ok(()),
        }
    }

    /// Waits for room behind what is queued.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let room = self.wire.poll_room(cx);
        if room.is_pending() {
            self.wait();
        }
        room
    }

    /// Nothing is read meanwhile: what the peer says counts later.
    fn wait(&mut self) {
        self.connection.pause(self.now);
        self.wire.waited = true;
    }

    /// Queues a message, and never waits.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when it would be more than [`Limits::max_queue`](ws_core::Limits::max_queue) with what
    /// waits; [`Error::Refused`] when the connection is closing.
    #[inline]
    pub fn queue<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.wire.queue(self.connection, message.into(), Part::Whole)
    }

    /// Queues a message that was prepared for many, and never waits.
    ///
    /// # Errors
    /// As for [`queue`](Self::queue).
    pub fn queue_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        match self.connection.role() {
            Role::Client => self.queue(prepared.message()),
            Role::Server => self.wire.queue_prepared(self.connection, prepared),
        }
    }

    /// Waits until the transport has taken everything that waits.
    ///
    /// # Errors
    /// [`Error::Lost`] when the transport fails, [`Error::Timeout`] when it takes nothing for too long.
    ///
    /// # Cancel safety
    /// If it is dropped early, the rest leaves with the next call.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            loop {
                self.wire.queue_control(self.connection);
                let flushed = self.wire.poll_flush(cx);
                if flushed.is_pending() {
                    self.wait();
                }
                ready!(flushed)?;
                if self.wire.is_stuck() {
                    // Nothing more leaves, and what waited has not left.
                    return Poll::Ready(Err(self.wire.lost()));
                }
                if self.connection.pending() == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }
}

/// Writes a large frame to its end.
async fn write_out<S: AsyncRead + AsyncWrite + Unpin>(
    mut large: Large<'_, S>,
    connection: &mut Connection,
    now: Instant,
) -> Result<(), Error> {
    poll_fn(|cx| {
        let sent = large.poll(cx);
        if sent.is_pending() {
            connection.pause(now);
        }
        sent
    })
    .await
}
