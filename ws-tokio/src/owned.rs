//! Messages that own their bytes, as a `Stream` and a `Sink`, for programs that do not want to borrow.
//!
//! A large message takes the receive buffer with it instead of being copied out of it; a small one is copied, so that
//! it never pins a large buffer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{CloseCode, CloseFrame, Endpoint, Event, Message, Part, SendError, Session, Transport, Utf8};

use crate::duo::{READER, WRITER};
use crate::error::Error;
use crate::pool;
use crate::websocket::WebSocket;
use crate::wire::LARGE;

/// A message that owns its bytes; clones share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedMessage {
    /// Text.
    Text(Utf8),
    /// Bytes.
    Binary(Bytes),
}

impl OwnedMessage {
    /// The same message, borrowed.
    pub fn borrow(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(Utf8::from(text)),
            Message::Binary(bytes) => Self::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    fn from(message: &'a OwnedMessage) -> Self {
        message.borrow()
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&str> for OwnedMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for OwnedMessage {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next message, owned. Otherwise like [`recv`](Self::recv).
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// As for [`recv`](Self::recv).
    pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        std::future::poll_fn(|cx| self.poll_owned(cx)).await
    }

    fn poll_owned(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<OwnedMessage>, Error>> {
        if !ready!(self.poll_message(cx))? {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(take_message(&mut self.session)))
    }
}

/// The message that the session holds, taken out of it.
pub(crate) fn take_message<C: Endpoint>(session: &mut Session<Vec<u8>, C>) -> Option<OwnedMessage> {
    let size = session.storage_len();
    // Most of what is kept has to be of use.
    let is_worth_it = |len: usize| len >= LARGE && len >= size / 4;
    let is_text = match session.event()? {
        Event::Text(text) if is_worth_it(text.len()) => true,
        Event::Binary(bytes) if is_worth_it(bytes.len()) => false,
        Event::Text(text) => return Some(Message::Text(text).into()),
        Event::Binary(bytes) => return Some(Message::Binary(bytes).into()),
        _ => return None,
    };
    let (storage, place) = session.detach(pool::lease()).map_err(pool::give).ok()?;
    let bytes = Bytes::from(storage).slice(place);
    Some(match is_text {
        true => OwnedMessage::Text(Utf8::try_from(bytes).ok()?),
        false => OwnedMessage::Binary(bytes),
    })
}

/// The part of a connection's state that the other task may wait for: a deadline that was set, or the end.
#[derive(PartialEq, Eq)]
struct Standing {
    awaits_pong: bool,
    can_send: bool,
    is_broken: bool,
    is_over: bool,
}

/// `StreamExt::split` of futures makes two halves for two tasks, with the connection behind a lock. So the traits poll
/// with a waker for both; else the later of them would have the transport and the timer forget the other.
impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// One poll of the task that reads, or of the one that writes.
    fn poll_half<T>(
        &mut self,
        half: usize,
        cx: &Context<'_>,
        turn: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let duo = self.duo.take().unwrap_or_default();
        duo.register(half, cx);
        let before = self.standing();
        let turned = turn(self, &mut duo.both());
        let after = self.standing();
        if before != after || after.is_over {
            duo.wake(if half == READER { WRITER } else { READER });
        }
        self.duo = Some(duo);
        turned
    }

    fn standing(&self) -> Standing {
        let connection = self.session.connection_ref();
        Standing {
            awaits_pong: connection.awaits_pong_since().is_some(),
            can_send: connection.can_send(),
            is_broken: self.wire.broken,
            is_over: connection.transport() == Transport::Close,
        }
    }
}

/// Messages as they come; after an error, or a clean close, none.
///
/// With the `Sink` it may be used from two tasks, as by `StreamExt::split` of futures; [`WebSocket::split`] does the
/// same without a lock around what is read.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_half(READER, cx, Self::poll_owned).map(Result::transpose)
    }
}

/// A sink that is ready while less than 64 KiB wait; `poll_close` closes with 1000, and is done when the peer has
/// answered and the transport has ended.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<OwnedMessage> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.get_mut().poll_half(WRITER, cx, |this, cx| {
            // Room may never come.
            if !this.session.connection_ref().can_send() {
                return Poll::Ready(Err(SendError::Closed.into()));
            }
            this.reply().poll_room(cx)
        })
    }

    fn start_send(self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
        let this = self.get_mut();
        let before = this.standing();
        let queued = this.wire.queue_in_room(this.session.connection(), message.borrow(), Part::Whole);
        // A ping that waited went before it.
        if before != this.standing()
            && let Some(duo) = &this.duo
        {
            duo.wake(READER);
        }
        queued
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.get_mut().poll_half(WRITER, cx, Self::poll_flush)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        match this.start_close(Some(CloseFrame::new(CloseCode::NORMAL, ""))) {
            Ok(()) | Err(Error::Refused(SendError::Closed)) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        this.session.connection().discard_data();
        this.poll_half(WRITER, cx, Self::poll_end)
    }
}
