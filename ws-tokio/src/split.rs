//! A connection in two owned halves, for a task that reads and another that writes.
//!
//! The reading half owns the session, so that what it lends is behind no lock. The transport, the output and the
//! sending half stand behind a mutex which either half holds while it polls, never across an await. What the reader
//! owes the peer (pongs, the close echo) it puts into the same output; so it leaves with whichever half is polled.
//!
//! A transport keeps one waker for each direction, and TLS may need either direction for both. So both halves poll it
//! with one waker, which wakes both.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{
    Advance, CloseCode, CloseFrame, Event, Instant, Message, Part, Prepared, Receiver, Role, SendError,
    Sender, Session,
};

use crate::drive::{Driver, Pace};
use crate::error::{Error, lost};
use crate::owned::{OwnedMessage, take_message};
use crate::timer::Clock;
use crate::websocket::{CloseReason, WebSocket};
use crate::wire::{Encode, LARGE, Payload, Wire};

const READER: usize = 0;
const WRITER: usize = 1;

/// Who waits for the transport, or for the other half.
#[derive(Debug, Default)]
struct Wakers([Mutex<Option<Waker>>; 2]);

impl Wakers {
    /// Before the poll that may find nothing: whatever happens from there on wakes.
    fn register(&self, half: usize, cx: &Context<'_>) {
        let mut slot = lock(&self.0[half]);
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
    }

    fn wake_half(&self, half: usize) {
        // The lock is given back before: a waker may do anything.
        let waker = lock(&self.0[half]).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_half(READER);
        self.wake_half(WRITER);
    }
}

/// What both halves use.
#[derive(Debug)]
struct Shared<S> {
    inner: Mutex<Inner<S>>,
    /// Whether `Inner::closing` has something: to be looked at without the lock.
    closing: AtomicBool,
    wakers: Arc<Wakers>,
    /// The waker that wakes both, made once.
    both: Waker,
}

#[derive(Debug)]
struct Inner<S> {
    wire: Wire<S>,
    sender: Sender,
    /// The writing half has queued its close frame: then, and with this code.
    closing: Option<(Instant, Option<CloseCode>)>,
    /// A keepalive ping has left.
    ping_left: bool,
}

impl<S> Shared<S> {
    /// Tells the receiver what the writing half has done that its deadlines depend on.
    fn take_news(&self, inner: &mut Inner<S>, receiver: &mut Receiver) {
        if let Some((now, code)) = inner.closing.take() {
            self.closing.store(false, Ordering::Release);
            receiver.closing(now, code);
        }
        if std::mem::take(&mut inner.ping_left) {
            receiver.ping_left();
        }
    }
}

/// A panic of the transport's while it was polled leaves it to be polled again, as without the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reading half of a [`WebSocket`], made by [`WebSocket::split`].
///
/// It goes on reading while the writing half waits for room, unless a kilobyte of pongs cannot leave either.
///
/// It answers pings, echoes the peer's close frame, sends the keepalive ping and keeps all deadlines, as long as it is
/// polled, and shuts the transport down when all is said. Nobody reads once it is dropped.
#[derive(Debug)]
pub struct ReadHalf<S> {
    session: Session<Vec<u8>, Receiver>,
    pace: Pace,
    shared: Arc<Shared<S>>,
    /// Answers were queued since the transport was last looked after.
    owes: bool,
}

/// The writing half of a [`WebSocket`], made by [`WebSocket::split`].
///
/// To drop it does not close the connection: the reading half goes on, and so do pongs. Use [`close`](Self::close).
/// It keeps no deadlines: that is the reading half's, as long as it is polled. Without that a `send` waits for a peer that
/// takes nothing as long as the transport does.
#[derive(Debug)]
pub struct WriteHalf<S> {
    shared: Arc<Shared<S>>,
    clock: Clock,
    close_timeout: std::time::Duration,
    role: Role,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Two owned halves, for two tasks.
    pub fn split(self) -> (ReadHalf<S>, WriteHalf<S>) {
        let Self { session, wire, pace } = self;
        let role = session.connection_ref().role();
        let close_timeout = session.connection_ref().config().timeouts.close;
        let clock = pace.clock;
        let (session, sender) = session.split();
        let wakers = Arc::<Wakers>::default();
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner { wire, sender, closing: None, ping_left: false }),
            closing: AtomicBool::new(false),
            both: Waker::from(Arc::clone(&wakers)),
            wakers,
        });
        let write = WriteHalf { shared: Arc::clone(&shared), clock, close_timeout, role };
        (ReadHalf { session, pace, shared, owes: false }, write)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ReadHalf<S> {
    /// The next message. As [`WebSocket::recv`], without the handle to reply.
    ///
    /// # Errors
    /// # Cancel safety
    /// Both as for [`WebSocket::recv`].
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
    /// # Cancel safety
    /// Both as for [`WebSocket::recv`].
    pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if !poll_fn(|cx| self.poll_event(cx)).await? {
            return Ok(None);
        }
        Ok(self.session.event())
    }

    /// The next message, owned.
    ///
    /// # Errors
    /// # Cancel safety
    /// Both as for [`WebSocket::recv`].
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
            match self.session.event() {
                Some(Event::Text(_) | Event::Binary(_)) => return Poll::Ready(Ok(true)),
                Some(Event::Chunk(_)) => return Poll::Ready(Err(Error::InChunks)),
                _ => {}
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
            let mut cx = Context::from_waker(&shared.both);
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

    /// One turn without an event, with the transport in hand; `false`: it is done with.
    #[inline(never)]
    fn poll_read(&mut self, cx: &mut Context<'_>, need: usize) -> Poll<bool> {
        let Self { session, pace, shared, owes } = self;
        shared.wakers.register(READER, cx);
        let mut inner = lock(&shared.inner);
        if inner.ping_left {
            session.connection().observe(pace.clock.now());
        }
        shared.take_news(&mut inner, session.connection());
        let mut cx = Context::from_waker(&shared.both);
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
            // It may wait for room that will not come.
            shared.wakers.wake_half(WRITER);
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
                Ok(WebSocket { session: session.join(sender), wire, pace })
            }
            // There are two halves, and both were here.
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

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    fn queue_control(&mut self) {
        self.wire.queue_control(&mut self.sender);
        self.ping_left |= self.sender.take_ping_left();
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.queue_control();
            ready!(self.wire.poll_flush(cx)).map_err(Error::Lost)?;
            if self.wire.is_stuck() {
                return Poll::Ready(Err(lost()));
            }
            if self.sender.pending() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WriteHalf<S> {
    /// One poll with the transport in hand.
    fn poll_inner<T>(
        &self,
        cx: &Context<'_>,
        turn: impl FnOnce(&mut Inner<S>, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        let shared = &*self.shared;
        shared.wakers.register(WRITER, cx);
        let mut inner = lock(&shared.inner);
        let turned = turn(&mut inner, &mut Context::from_waker(&shared.both));
        let has_news = inner.ping_left;
        drop(inner);
        if has_news {
            shared.wakers.wake_half(READER);
        }
        turned
    }

    /// Sends a message and waits until the transport has taken it.
    ///
    /// # Errors
    /// # Cancel safety
    /// Both as for [`WebSocket::send`].
    pub async fn send(&mut self, message: impl Into<Message<'_>>) -> Result<(), Error> {
        self.send_part(message, Part::Whole).await
    }

    /// Sends a part of a message: for those that should never be held whole.
    ///
    /// # Errors
    /// # Cancel safety
    /// Both as for [`WebSocket::send_part`].
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
            // Also if a close frame was queued during the wait: room may not come any more.
            if !inner.sender.is_open() {
                return Poll::Ready(Err(SendError::Closed.into()));
            }
            inner.wire.poll_room(cx).map_err(Error::Lost)
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
    /// # Cancel safety
    /// Both as for [`WebSocket::send`].
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
    /// [`Error::Lost`] when the transport fails.
    ///
    /// # Cancel safety
    /// Dropped early, the rest leaves with the next call of either half.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_inner(cx, Inner::poll_flush)
    }

    /// Queues a ping; its pong is an event of [`ReadHalf::recv_event`]. A reading half that waits sends it.
    ///
    /// # Errors
    /// [`Error::Refused`]: more than 125 bytes, too many wait, or the connection is closing.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        lock(&self.shared.inner).sender.ping(payload)?;
        self.shared.wakers.wake_half(READER);
        Ok(())
    }

    /// Queues a pong that nobody asked for, as a sign of life (RFC 6455, section 5.5.3); those that somebody did ask for
    /// are sent anyway. A reading half that waits sends it.
    ///
    /// # Errors
    /// As for [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        lock(&self.shared.inner).sender.pong(payload)?;
        self.shared.wakers.wake_half(READER);
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
        // The reading half keeps the deadlines, but nobody may be polling it.
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
        self.shared.wakers.wake_half(READER);
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

/// A sink that is ready as long as less than 64 KiB wait; `poll_close` closes with 1000, and is done when that has left.
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
        half.poll_inner(cx, |inner, cx| payload.poll(&mut inner.wire, cx).map_err(Error::Lost))
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
        shared.wakers.wake_half(READER);
    }
}

/// The halves given to [`ReadHalf::reunite`] are of different connections.
pub struct ReuniteError<S>(Box<(ReadHalf<S>, WriteHalf<S>)>);

impl<S> ReuniteError<S> {
    /// The halves, as they were.
    pub fn into_halves(self) -> (ReadHalf<S>, WriteHalf<S>) {
        *self.0
    }
}

impl<S> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are of different connections")
    }
}

impl<S> std::error::Error for ReuniteError<S> {}
