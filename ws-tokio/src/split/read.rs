//! The half that reads, and keeps the deadlines.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{Advance, Event, Message, Receiver, Role, Session};

use super::{Inner, ReuniteError, Shared, WriteHalf};
use crate::drive::{Driver, Pace};
use crate::duo::{READER, WRITER, lock};
use crate::error::Error;
use crate::owned::{OwnedMessage, take_message};
use crate::websocket::{CloseReason, WebSocket, is_message};

/// The reading half of a [`WebSocket`], made by [`WebSocket::split`].
///
/// It goes on reading while the writing half waits for room, unless a kilobyte of pongs cannot leave either.
///
/// It answers pings, echoes the peer's close frame, sends the keepalive ping and keeps all deadlines, as long as it is
/// polled, and shuts the transport down at the end. Nothing is read once it is dropped.
#[derive(Debug)]
pub struct ReadHalf<S> {
    pub(super) session: Session<Vec<u8>, Receiver>,
    pub(super) pace: Pace,
    pub(super) shared: Arc<Shared<S>>,
    /// Answers were queued since the transport was last looked after.
    pub(super) owes: bool,
}
impl<S: AsyncRead + AsyncWrite + Unpin> ReadHalf<S> {
    /// The next message. As [`WebSocket::recv`], without the handle to reply.
    ///
    /// # Errors
    /// As for [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// As for [`WebSocket::recv`].
    #[inline]
    pub async fn recv(&mut self) -> Result<Option<Message<'_>>, Error> {
        if !poll_fn(|cx| self.poll_message(cx)).await? {
            return Ok(None);
        }
        Ok(match self.session.event() {
            Some(Event::Text(text)) => Some(Message::Text(text)),
            Some(Event::Binary(bytes)) => Some(Message::Binary(bytes)),
            _ => None,
        })
    }

    /// The next event of any kind. As [`WebSocket::recv_event`], without the handle to reply.
    ///
    /// # Errors
    /// As for [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// As for [`WebSocket::recv`].
    pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if !poll_fn(|cx| self.poll_event(cx)).await? {
            return Ok(None);
        }
        Ok(self.session.event())
    }

    /// The next message, owned.
    ///
    /// # Errors
    /// As for [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// As for [`WebSocket::recv`].
    pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        poll_fn(|cx| self.poll_owned(cx)).await
    }

    fn poll_owned(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<OwnedMessage>, Error>> {
        if !ready!(self.poll_message(cx))? {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(take_message(&mut self.session)))
    }

    #[inline]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        while ready!(self.poll_event(cx))? {
            if let Some(verdict) = is_message(self.session.event()) {
                return Poll::Ready(verdict.map(|()| true));
            }
        }
        Poll::Ready(Ok(false))
    }

    #[inline]
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        loop {
            if self.shared.closing.load(Ordering::Acquire) {
                self.shared.take_news(&mut lock(&self.shared.inner), self.session.connection());
            }
            let need = match self.session.advance(self.pace.now) {
                Ok(Advance::Event) => {
                    self.found();
                    return Poll::Ready(Ok(true));
                }
                Ok(Advance::Read { at_least }) => at_least,
                Ok(Advance::Finished) => 1,
                Err(failure) => {
                    if let Some(reply) = failure.reply() {
                        lock(&self.shared.inner).sender.reply(reply);
                    }
                    self.pace.fail(failure);
                    1
                }
            };
            if !ready!(self.poll_read(cx, need)) {
                return Poll::Ready(self.pace.verdict());
            }
        }
    }

    /// Passes on what the event obliges to, and looks after the output before the event is lent.
    #[inline]
    fn found(&mut self) {
        match self.session.event() {
            Some(Event::Ping(_)) => {
                self.answer();
                return self.pace.look_soon();
            }
            Some(Event::Close(closed)) => {
                self.pace.note_close(&closed);
                self.answer();
            }
            _ => {}
        }
        if self.owes && self.pace.looks_up() {
            let Self { session, pace, shared, .. } = self;
            let inner = &mut *lock(&shared.inner);
            let mut cx = shared.duo.both();
            let Inner { wire, sender, .. } = inner;
            Driver { session, beside: sender, wire, pace }.hurry(&mut cx);
            self.owes = wire.queued() > 0;
        }
    }

    #[inline(never)]
    fn answer(&mut self) {
        if let Some(reply) = self.session.reply() {
            let inner = &mut *lock(&self.shared.inner);
            inner.sender.reply(reply);
            inner.queue_control();
            self.owes = true;
        }
    }

    /// One turn without an event, with the transport in hand; `false`: it has ended.
    #[inline(never)]
    fn poll_read(&mut self, cx: &mut Context<'_>, need: usize) -> Poll<bool> {
        let Self { session, pace, shared, owes } = self;
        shared.duo.register(READER, cx);
        let mut inner = lock(&shared.inner);
        // Also with what was only queued.
        inner.ping_left |= inner.sender.take_ping_left();
        if inner.ping_left {
            session.connection().observe(pace.clock.now());
        }
        shared.take_news(&mut inner, session.connection());
        let mut cx = shared.duo.both();
        let Inner { wire, sender, .. } = &mut *inner;
        let read = Driver { session, beside: sender, wire, pace }.poll_read(&mut cx, need);
        *owes = false;
        if read == Poll::Ready(false) {
            if sender.pending() > 0 {
                wire.abandon();
            } else {
                wire.end();
            }
            drop(inner);
            // The writer may wait for room that will not come.
            shared.duo.wake(WRITER);
        }
        read
    }

    /// What the peer's close frame said, once it came.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.pace.closed.as_deref()
    }

    /// The side this endpoint is on.
    pub fn role(&self) -> Role {
        self.session.connection_ref().role()
    }

    /// The connection in one piece again.
    ///
    /// # Errors
    /// [`ReuniteError`], with both halves, when they are of different connections.
    pub fn reunite(mut self, write: WriteHalf<S>) -> Result<WebSocket<S>, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.shared, &write.shared) {
            return Err(ReuniteError(Box::new((self, write))));
        }
        self.shared.take_news(&mut lock(&write.shared.inner), self.session.connection());
        let Self { session, pace, shared, owes } = self;
        drop(write);
        match Arc::try_unwrap(shared) {
            Ok(shared) => {
                let Inner { wire, sender, .. } =
                    shared.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok(WebSocket { session: session.join(sender), wire, pace, duo: None })
            }
            // There are only two halves, and both were here.
            Err(shared) => {
                let write = WriteHalf {
                    clock: pace.clock,
                    close_timeout: session.connection_ref().config().timeouts.close,
                    role: session.connection_ref().role(),
                    shared: Arc::clone(&shared),
                };
                Err(ReuniteError(Box::new((Self { session, pace, shared, owes }, write))))
            }
        }
    }
}

/// Messages as they come; after an error, or a clean close, none.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for ReadHalf<S> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_owned(cx).map(Result::transpose)
    }
}
