//! The half that writes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{CloseCode, CloseFrame, Message, Part, Prepared, Role, SendError};

use super::{Inner, Shared};
use crate::duo::{READER, WRITER, lock};
use crate::error::Error;
use crate::owned::OwnedMessage;
use crate::timer::Clock;
use crate::wire::{Encode, LARGE, Payload};

/// The writing half of a [`WebSocket`](crate::WebSocket), made by its [`split`](crate::WebSocket::split).
///
/// Dropping it does not close the connection: the reading half goes on, and so do pongs. Use [`close`](Self::close).
/// The reading half keeps the deadlines, as long as it is polled; this half keeps one of its own: it gives up a peer
/// that takes nothing for [`Timeouts::write`](ws_core::Timeouts::write).
#[derive(Debug)]
pub struct WriteHalf<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) clock: Clock,
    pub(super) close_timeout: std::time::Duration,
    pub(super) role: Role,
}
impl<S: AsyncRead + AsyncWrite + Unpin> WriteHalf<S> {
    /// One poll with the transport in hand.
    fn poll_inner<T>(
        &self,
        cx: &Context<'_>,
        turn: impl FnOnce(&mut Inner<S>, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        let shared = &*self.shared;
        shared.duo.register(WRITER, cx);
        let mut inner = lock(&shared.inner);
        let was_broken = inner.wire.broken;
        let turned = turn(&mut inner, &mut shared.duo.both());
        // A sign of life is due, or the end.
        let has_news = inner.ping_left || (inner.wire.broken && !was_broken);
        drop(inner);
        if has_news {
            shared.duo.wake(READER);
        }
        turned
    }

    /// Sends a message and waits until the transport has taken it.
    ///
    /// # Errors
    /// As for [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    /// As for [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send(&mut self, message: impl Into<Message<'_>>) -> Result<(), Error> {
        self.send_part(message, Part::Whole).await
    }

    /// Sends a part of a message: for those that should never be held whole.
    ///
    /// # Errors
    /// As for [`WebSocket::send_part`](crate::WebSocket::send_part).
    ///
    /// # Cancel safety
    /// As for [`WebSocket::send_part`](crate::WebSocket::send_part).
    pub async fn send_part(&mut self, message: impl Into<Message<'_>>, part: Part) -> Result<(), Error> {
        let message = message.into();
        poll_fn(|cx| self.poll_room(cx)).await?;
        let len = message.as_bytes().len();
        if len < LARGE || lock(&self.shared.inner).sender.compresses(len, part) {
            self.queue_in_room(message, part)?;
        } else {
            let mut large = Large::begin(&*self, message, part)?;
            poll_fn(|cx| large.poll(cx)).await?;
        }
        self.flush().await
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_inner(cx, |inner, cx| {
            // Also if a close frame was queued during the wait: room may never come.
            if !inner.sender.is_open() {
                return Poll::Ready(Err(SendError::Closed.into()));
            }
            inner.wire.poll_room(cx)
        })
    }

    fn queue_in_room(&self, message: Message<'_>, part: Part) -> Result<(), Error> {
        let Inner { wire, sender, .. } = &mut *lock(&self.shared.inner);
        wire.queue_in_room(sender, message, part)
    }

    /// Queues a message, and never waits. It leaves with the next call of either half.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when it would be more than [`Limits::max_queue`](ws_core::Limits::max_queue) with what
    /// waits; [`Error::Refused`] when the connection is closing.
    pub fn queue<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        let Inner { wire, sender, .. } = &mut *lock(&self.shared.inner);
        wire.queue(sender, message.into(), Part::Whole)
    }

    /// Sends a message that was prepared for many connections, and waits until the transport has taken it: its frame is
    /// made and compressed once for all of them. See [`Reply::send_prepared`](crate::Reply::send_prepared).
    ///
    /// # Errors
    /// As for [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    /// As for [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        if self.role == Role::Client {
            return self.send(prepared.message()).await;
        }
        poll_fn(|cx| self.poll_room(cx)).await?;
        if let Some(mut large) = Large::begin_prepared(&*self, prepared)? {
            poll_fn(|cx| large.poll(cx)).await?;
        }
        self.flush().await
    }

    /// Queues a message that was prepared for many connections, and never waits. It leaves with the next call of either
    /// half.
    ///
    /// # Errors
    /// As for [`queue`](Self::queue).
    pub fn queue_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        if self.role == Role::Client {
            return self.queue(prepared.message());
        }
        let Inner { wire, sender, .. } = &mut *lock(&self.shared.inner);
        wire.queue_prepared(sender, prepared)
    }

    /// Waits until the transport has taken everything that waits, the reading half's answers included.
    ///
    /// # Errors
    /// [`Error::Lost`] when the transport fails, [`Error::Timeout`] when it takes nothing for too long.
    ///
    /// # Cancel safety
    /// Dropped early, the rest leaves with the next call of either half.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_inner(cx, Inner::poll_flush)
    }

    /// Queues a ping; its pong is an event of [`recv_event`](crate::ReadHalf::recv_event). A reading half that waits
    /// sends it.
    ///
    /// # Errors
    /// [`Error::Refused`]: more than 125 bytes, too many wait, or the connection is closing.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        lock(&self.shared.inner).sender.ping(payload)?;
        self.shared.duo.wake(READER);
        Ok(())
    }

    /// Queues an unsolicited pong, as a sign of life (RFC 6455, section 5.5.3); the answers to pings are sent anyway. A
    /// reading half that waits sends it.
    ///
    /// # Errors
    /// As for [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        lock(&self.shared.inner).sender.pong(payload)?;
        self.shared.duo.wake(READER);
        Ok(())
    }

    /// Closes: queues the close frame and waits until it has left, with all that waited before it. The reading half
    /// sees the end, and brings it about: go on with its `recv` until that says `None`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a code or reason that may not travel; [`Error::Timeout`] when the peer takes nothing for
    /// as long as a close may last; [`Error::Lost`]. None for a connection that is closing already.
    ///
    /// # Cancel safety
    /// Dropped early, the close frame is queued, and leaves with the next call of either half.
    pub async fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Error> {
        match self.start_close(frame) {
            Ok(()) | Err(Error::Refused(SendError::Closed)) => {}
            Err(error) => return Err(error),
        }
        // The reading half keeps the deadlines, but it may not be polled.
        let mut timeout = pin!(tokio::time::sleep(self.close_timeout));
        poll_fn(|cx| match self.poll_flush(cx) {
            Poll::Pending => timeout.as_mut().poll(cx).map(|()| Err(Error::Timeout(ws_core::Timer::Close))),
            flushed => flushed,
        })
        .await
    }

    /// Queues the close frame, without waiting: a reading half that waits sends it, and goes on until the peer's.
    ///
    /// # Errors
    /// [`Error::Refused`]: a code or reason that may not travel, or a connection that is closing already.
    pub fn start_close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Error> {
        {
            let inner = &mut *lock(&self.shared.inner);
            inner.sender.close(frame)?;
            inner.closing = Some((self.clock.now(), frame.map(|frame| frame.code)));
            self.shared.closing.store(true, Ordering::Release);
        }
        self.shared.duo.wake(READER);
        Ok(())
    }

    /// Which of the messages from now on are compressed, where that was agreed on.
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: ws_core::deflate::Compress) {
        lock(&self.shared.inner).sender.set_compress(compress);
    }

    /// The side this endpoint is on.
    pub fn role(&self) -> Role {
        self.role
    }
}

/// A sink that is ready while less than 64 KiB wait; `poll_close` closes with 1000, and is done when that has left.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<OwnedMessage> for WriteHalf<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
        self.queue_in_room(message.borrow(), Part::Whole)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (*self).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.start_close(Some(CloseFrame::new(CloseCode::NORMAL, ""))) {
            Ok(()) | Err(Error::Refused(SendError::Closed)) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        (*self).poll_flush(cx)
    }
}

/// A large payload on its way out of a half: the lock is taken for each poll, and for the rest if it is dropped.
struct Large<'a, S: AsyncRead + AsyncWrite + Unpin> {
    half: &'a WriteHalf<S>,
    payload: Payload<'a>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Large<'a, S> {
    fn begin(half: &'a WriteHalf<S>, message: Message<'a>, part: Part) -> Result<Self, Error> {
        let inner = &mut *lock(&half.shared.inner);
        let payload = Payload::begin(&mut inner.wire, &mut inner.sender, message, part)?;
        Ok(Self { half, payload })
    }

    /// `None`: it was small, and is queued.
    fn begin_prepared(half: &'a WriteHalf<S>, prepared: &'a Prepared) -> Result<Option<Self>, Error> {
        let inner = &mut *lock(&half.shared.inner);
        let payload = Payload::begin_prepared(&mut inner.wire, &mut inner.sender, prepared)?;
        let payload = payload.unless_small(&mut inner.wire);
        Ok(payload.map(|payload| Self { half, payload }))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { half, payload } = self;
        half.poll_inner(cx, |inner, cx| payload.poll(&mut inner.wire, cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Large<'_, S> {
    fn drop(&mut self) {
        let shared = &*self.half.shared;
        {
            let inner = &mut *lock(&shared.inner);
            self.payload.finish(&mut inner.wire);
            if inner.sender.pending() == 0 {
                return;
            }
        }
        // Its answers had to wait for the end of the frame.
        shared.duo.wake(READER);
    }
}
