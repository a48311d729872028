//! A WebSocket over any `AsyncRead + AsyncWrite`: reading, replying, sending, closing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{
    Advance, CloseCode, CloseFrame, ConfigRef, Connection, Event, Message, Part, Prepared, Role, SendError,
    Session, Transport,
};

use crate::deflate::{self, Agreement};
use crate::drive::{Driver, Pace};
use crate::duo::Duo;
use crate::error::Error;
use crate::reply::Reply;
use crate::timer::Clock;
use crate::wire::Wire;

/// What the peer's close frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The code; 1005 for a close frame without one.
    pub code: CloseCode,
    /// The reason, often empty.
    pub reason: String,
    /// Whether a fragmented message was cut short by it.
    pub interrupted: bool,
}

/// A WebSocket connection.
///
/// One task reads and writes; [`split`](Self::split) is for two. It works only while a method is awaited: no hidden task
/// answers pings or keeps time. As long as `recv` or `close` is awaited, pings are answered, the keepalive ping is sent
/// and deadlines are kept. A `send` or `flush` that waits reads nothing meanwhile; a peer that takes nothing for
/// [`Timeouts::write`](ws_core::Timeouts::write) is given up.
///
/// # Memory
/// An idle connection holds no buffer. While bytes are in flight it leases one of its thread's 256 KiB buffers for
/// each direction. The configuration bounds a message by [`Limits::max_message`](ws_core::Limits::max_message) (its
/// buffer by four times that: the gap of fragments, and growth by doubling), and the output by
/// [`Limits::max_queue`](ws_core::Limits::max_queue), one message, and 8 KiB of pongs.
#[derive(Debug)]
pub struct WebSocket<S> {
    pub(crate) session: Session<Vec<u8>>,
    pub(crate) wire: Wire<S>,
    pub(crate) pace: Pace,
    /// The tasks that use it as a `Stream` and as a `Sink`; there may be two.
    pub(crate) duo: Option<Box<Duo>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A connection over a stream that was upgraded elsewhere: by hyper, by axum, by a handshake of your own.
    ///
    /// `leftover` holds the bytes that the peer has sent behind its handshake, as far as they were received.
    ///
    /// # Errors
    /// A client needs entropy for its mask keys; without it there is an error, not a weak fallback.
    pub fn from_upgraded(
        stream: S,
        role: Role,
        leftover: &[u8],
        config: impl Into<ConfigRef>,
    ) -> io::Result<Self> {
        Ok(Self::with_clock(stream, role, leftover, config.into(), Clock::start(), entropy(role)?, None))
    }

    pub(crate) fn with_clock(
        stream: S,
        role: Role,
        leftover: &[u8],
        config: ConfigRef,
        clock: Clock,
        seed: [u8; 32],
        agreement: Option<Agreement>,
    ) -> Self {
        let wire = Wire::new(stream, config.clone());
        let pace = Pace::new(clock);
        let connection = match role {
            Role::Server => Connection::server(config, pace.now),
            Role::Client => Connection::client(config, pace.now, seed),
        };
        let mut session = if leftover.is_empty() {
            Session::new(connection)
        } else {
            Session::with_storage(connection, leftover.to_vec(), leftover.len())
        };
        if let Some(agreement) = agreement {
            deflate::enable(&mut session, &agreement);
        }
        Self { session, wire, pace, duo: None }
    }

    /// Enables compression in both directions, as agreed on (RFC 7692): for a connection
    /// [from elsewhere](Self::from_upgraded). The handshakes of this crate do so by themselves.
    #[cfg(feature = "deflate")]
    pub fn enable_deflate(&mut self, agreement: &ws_core::deflate::Agreement) {
        self.session.enable_deflate(agreement);
    }

    /// Whether live compression state is held. State that is not used for
    /// [`Settings::idle`](ws_core::deflate::Settings::idle) is parked while some method is awaited.
    #[cfg(feature = "deflate")]
    pub fn has_live_deflate(&self) -> bool {
        self.session.has_live_deflate()
    }

    /// Sets which messages are compressed from now on, where compression was agreed on.
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: ws_core::deflate::Compress) {
        self.session.connection().set_compress(compress);
    }

    /// The next message, and the handle to reply to it while it is lent.
    ///
    /// `None`: the connection was closed cleanly, and the transport has ended; [`close_reason`](Self::close_reason) has
    /// what the peer said. Pings are answered on the way.
    ///
    /// Replies leave together, in one write, when no complete message is left to lend, when 64 KiB of them wait, or
    /// when the oldest has waited 1 ms: looked at with a batch's second message, and then again after as many as
    /// were quick, at most sixteen.
    ///
    /// # Errors
    /// Once, why the connection ended otherwise, after the peer was told; `None` from then on.
    ///
    /// # Cancel safety
    /// If it is dropped before it is ready, no message is lost.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<(Message<'_>, Reply<'_, S>)>, Error>> {
        NextMessage { socket: Some(self) }
    }

    /// Lends the message that was found.
    #[inline(always)]
    fn lend(&mut self) -> Option<(Message<'_>, Reply<'_, S>)> {
        let Self { session, wire, pace, .. } = self;
        let (event, connection) = session.lend();
        let message = match event? {
            Event::Text(text) => Message::Text(text),
            Event::Binary(bytes) => Message::Binary(bytes),
            _ => return None,
        };
        Some((message, Reply { connection, wire, now: pace.now }))
    }

    /// The same when it is time to look after the output.
    #[inline(never)]
    fn lend_in_time(&mut self, cx: &mut Context<'_>) -> Option<(Message<'_>, Reply<'_, S>)> {
        self.drive(|mut driver| driver.hurry(cx));
        self.lend()
    }

    /// The same when there is more to do than to take up the next small message.
    #[inline(never)]
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        self.poll_message(cx)
    }

    /// The next event of any kind, parts of messages, pings, pongs and the close frame included.
    ///
    /// Pings and close frames are answered by the connection itself. After the close frame comes `None`.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// As for [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<(Event<'_>, Reply<'_, S>)>, Error> {
        if !poll_fn(|cx| self.poll_event(cx)).await? {
            return Ok(None);
        }
        let Self { session, wire, pace, .. } = self;
        let (event, connection) = session.lend();
        Ok(event.map(|event| (event, Reply { connection, wire, now: pace.now })))
    }

    /// Waits for a text or binary message; `false`: there will be none.
    #[inline]
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
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
            let need = match self.session.advance(self.pace.now) {
                Ok(Advance::Event) => {
                    self.found(cx);
                    return Poll::Ready(Ok(true));
                }
                Ok(Advance::Read { at_least }) => at_least,
                Ok(Advance::Finished) => 1,
                Err(failure) => {
                    self.pace.fail(failure);
                    1
                }
            };
            if !ready!(self.drive(|mut driver| driver.poll_read(cx, need))) {
                return Poll::Ready(self.pace.verdict());
            }
        }
    }

    /// Looks after the output before an event is lent.
    #[inline]
    fn found(&mut self, cx: &mut Context<'_>) {
        match self.session.event() {
            // Its pong waits among the replies.
            Some(Event::Ping(_)) => {
                self.wire.queue_control(self.session.connection());
                return self.pace.look_soon();
            }
            Some(Event::Close(closed)) => self.pace.note_close(&closed),
            _ => {}
        }
        if self.wire.queued() > 0 && self.pace.looks_up() {
            self.drive(|mut driver| driver.hurry(cx));
        }
    }

    /// Does what needs no event.
    #[inline]
    fn drive<T>(&mut self, turn: impl FnOnce(Driver<'_, S, Connection>) -> T) -> T {
        let Self { session, wire, pace, .. } = self;
        turn(Driver { session, beside: &mut (), wire, pace })
    }

    /// Sends a message and waits until the transport has taken it.
    ///
    /// # Errors
    /// [`Error::Refused`] when the connection is closing, [`Error::Lost`] when the transport fails, [`Error::Timeout`] when it
    /// takes nothing for too long.
    ///
    /// # Cancel safety
    /// If it is dropped while it waits for room, nothing was sent; if later, all of the message is queued and leaves with
    /// the next call. A frame is never cut.
    pub async fn send(&mut self, message: impl Into<Message<'_>>) -> Result<(), Error> {
        self.send_part(message, Part::Whole).await
    }

    /// Sends a part of a message: for messages that should never be held whole.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Error::Refused`] for parts out of order.
    ///
    /// # Cancel safety
    /// As for [`send`](Self::send).
    pub async fn send_part(&mut self, message: impl Into<Message<'_>>, part: Part) -> Result<(), Error> {
        self.reply().send_part(message, part).await?;
        self.flush().await
    }

    /// Sends a message that was prepared for many connections, and waits until the transport has taken it: its frame is
    /// made and compressed once for all of them. See [`Reply::send_prepared`].
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As for [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.reply().send_prepared(prepared).await?;
        self.flush().await
    }

    /// A handle to send with, like the one that `recv` lends: to queue many messages and flush once.
    pub fn reply(&mut self) -> Reply<'_, S> {
        self.date_pings();
        Reply { connection: self.session.connection(), wire: &mut self.wire, now: self.pace.now }
    }

    /// Waits until the transport has taken everything that waits.
    ///
    /// # Errors
    /// [`Error::Lost`] when the transport fails, [`Error::Timeout`] when it takes nothing for too long. Once, like `recv`,
    /// why the connection ended, when it is being closed and the peer takes nothing for as long as a close may last.
    ///
    /// # Cancel safety
    /// If it is dropped early, the rest leaves with the next call.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// What waits may be a ping, and leave now: its answer is due from now on (C-08).
    #[inline]
    fn date_pings(&mut self) {
        if self.session.connection_ref().pending() > 0 {
            self.session.connection().observe(self.pace.clock.now());
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.date_pings();
        loop {
            self.wire.queue_control(self.session.connection());
            match self.wire.poll_flush(cx) {
                // After a failed write nothing more leaves, and what waited has not left.
                Poll::Ready(Ok(())) if self.wire.is_stuck() => return Poll::Ready(Err(self.wire.lost())),
                Poll::Ready(Ok(())) if self.session.connection_ref().pending() == 0 => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Nothing is read meanwhile: what the peer says in the meantime counts later.
                    self.session.connection().pause(self.pace.now);
                    self.wire.waited = true;
                    let is_due = self.drive(|mut driver| driver.poll_time(cx));
                    // The peer took nothing for as long as a close may last, or was given up before.
                    if self.session.connection_ref().transport() == Transport::Close {
                        self.pace.verdict()?;
                        return Poll::Ready(Err(self.wire.lost()));
                    }
                    if !is_due {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Queues a ping; its pong is an event of [`recv_event`](Self::recv_event). It leaves with the next call.
    ///
    /// # Errors
    /// [`Error::Refused`]: more than 125 bytes, too many wait, or the connection is closing.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.session.connection().ping(payload)?)
    }

    /// Queues an unsolicited pong, as a sign of life (RFC 6455, section 5.5.3); the answers to pings are sent anyway. It
    /// leaves with the next call.
    ///
    /// # Errors
    /// As for [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.session.connection().pong(payload)?)
    }

    /// Closes: sends the close frame, waits for the peer's and for the end of the transport. Messages that come
    /// meanwhile are dropped; to receive them, call [`start_close`](Self::start_close) and go on with `recv`.
    ///
    /// A connection that the peer is already closing is brought to its end in the same way.
    ///
    /// # Errors
    /// [`Error::Refused`] for a code or reason that may not travel; otherwise why the end was not clean: a deadline
    /// that passed, or a peer that went without a word.
    ///
    /// # Cancel safety
    /// If it is dropped early, the close frame is queued; any call goes on with it.
    pub async fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Error> {
        match self.start_close(frame) {
            Ok(()) | Err(Error::Refused(SendError::Closed)) => {}
            Err(error) => return Err(error),
        }
        self.session.connection().discard_data();
        poll_fn(|cx| self.poll_end(cx)).await
    }

    /// Goes on until the transport has ended, whatever comes.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while ready!(self.poll_event(cx))? {}
        Poll::Ready(Ok(()))
    }

    /// Queues the close frame, without waiting: it leaves with the next call, and `recv` goes on until the peer's.
    ///
    /// # Errors
    /// [`Error::Refused`]: a code or reason that may not travel, or a connection that is closing already.
    pub fn start_close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Error> {
        self.pace.now = self.pace.clock.now();
        Ok(self.session.connection().close(self.pace.now, frame)?)
    }

    /// What the peer's close frame said, once it came.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.pace.closed.as_deref()
    }

    /// The side this endpoint is on.
    pub fn role(&self) -> Role {
        self.session.connection_ref().role()
    }

    /// The transport, by reference: for its addresses, say.
    pub fn stream(&self) -> &S {
        &self.wire.io
    }

    /// Takes the transport back, with the bytes that were received and not consumed. Queued output is dropped. Inside a
    /// message these bytes are not those of the wire: the payload that has come is already unmasked.
    pub fn into_inner(self) -> (S, Vec<u8>) {
        let (_, rest) = self.session.into_parts();
        let leftover = rest.map_or_else(Vec::new, |(mut storage, filled)| {
            storage.truncate(filled);
            storage
        });
        (self.wire.into_io(), leftover)
    }
}

/// What [`WebSocket::recv`] awaits.
///
/// Written by hand, because stable Rust lets an async function lend what it found only at one place, behind all it may
/// have had to wait for; and what it keeps across a wait it keeps in memory. Here a message that has already arrived is
/// found and lent in one go, which saves a sixth of the cost of a small message.
struct NextMessage<'a, S> {
    /// Taken when a message is lent to the caller.
    socket: Option<&'a mut WebSocket<S>>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Future for NextMessage<'a, S> {
    type Output = Result<Option<(Message<'a>, Reply<'a, S>)>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Like the future of an async function: saying that the connection is closed would be untrue.
        let socket = self.socket.take().expect("`recv` is polled again after it was ready");
        // What is rare after this is out of line, so that little has to be kept in registers.
        if socket.session.advance_small(socket.pace.now) {
            if socket.wire.queued() > 0 && socket.pace.looks_up() {
                return Poll::Ready(Ok(socket.lend_in_time(cx)));
            }
            return Poll::Ready(Ok(socket.lend()));
        }
        match socket.poll_lend(cx) {
            Poll::Ready(Ok(true)) => Poll::Ready(Ok(socket.lend())),
            Poll::Ready(Ok(false)) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.socket = Some(socket);
                Poll::Pending
            }
        }
    }
}

/// Whether a caller who takes whole messages gets this event; `None`: not this one.
#[inline]
pub(crate) fn is_message(event: Option<Event<'_>>) -> Option<Result<(), Error>> {
    match event? {
        Event::Text(_) | Event::Binary(_) => Some(Ok(())),
        Event::Chunk(_) => Some(Err(Error::InChunks)),
        _ => None,
    }
}

/// 32 bytes for a client's mask keys (RFC 6455, section 10.3); a server needs none.
pub(crate) fn entropy(role: Role) -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    if role == Role::Client {
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
    }
    Ok(seed)
}
