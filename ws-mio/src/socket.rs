//! A WebSocket for your own readiness loop: it reads and writes when it is told that it can.
//!
//! Nothing here blocks. One readiness is one read, the events in it, and one write of all answers, again and again until
//! the transport would block. The bytes are in a buffer that the loop lends; the part of a message that is left of them is
//! all that a connection keeps.

use std::io;

use mio::Interest;
use ws_core::{
    CloseFrame, ConfigRef, Connection, Event, Instant, Message, Part, Prepared, Role, ServerHandshake,
    Session, Transport,
};

use crate::buffers::Buffers;
use crate::client::Dial;
use crate::error::Error;
use crate::opening::Opening;
use crate::reply::Reply;
use crate::stream::Stream;
use crate::wire::{Overflow, Wire};
use ws_core::Moment;

mod turn;

pub(crate) use turn::READS;

/// What a loop has to do with a socket next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a socket that is closed is to be dropped, and one that has more to do says so only here"]
pub enum State {
    /// Wait for what [`Socket::interest`] says, or for [`Socket::deadline`].
    Waiting,
    /// There is more to do, of which no event will tell: call [`Socket::proceed`] when others have had their turn.
    Again,
    /// A request awaits an answer: [`Socket::request`].
    Asked,
    /// The server has agreed, and the client's connection is open: [`Socket::response`] is available until you call
    /// [`Socket::proceed`], which goes on. Frames may have come already.
    Answered,
    /// Closed cleanly, and the transport is no longer needed: drop the socket.
    Closed,
}

/// A WebSocket connection over a non-blocking [`Stream`].
///
/// Each call that does something with it returns the [`State`], or the reason for an unclean end, once. Both this error
/// and [`State::Closed`] come when the peer has been told, and the wait for it to end the transport is over: drop the
/// socket then, and not before.
///
/// # Readiness
/// Edge-triggered events suffice: the socket remembers what could not be read or written yet. So register for reading and
/// writing once and call [`on_ready`](Self::on_ready); or, in a level-triggered loop, register anew when
/// [`interest`](Self::interest) changes. A peer that does not read what it is sent is not read from.
///
/// # Memory
/// An idle connection holds no buffer ([`held`](Self::held)). Bounded by the configuration: a message by
/// [`Limits::max_message`](ws_core::Limits::max_message) (its buffer by four times that: the gap of fragments, and
/// growth by doubling); the output by [`Limits::max_queue`](ws_core::Limits::max_queue) and one message (its buffer by
/// twice that); 8 KiB of pongs; during the opening handshake a head and 16 KiB behind it.
///
/// With permessage-deflate there is in addition, while a message is inflated, as much as the message is long (and for a
/// moment twice that, when its buffer grows); state that lives longer is in the table of
#[cfg_attr(feature = "deflate", doc = "[`ws_core::deflate`].")]
#[cfg_attr(not(feature = "deflate"), doc = "`ws_core::deflate`.")]
/// Live state that was not used for `Settings::idle` is parked, which is one of the
/// [deadlines](Self::deadline).
#[derive(Debug)]
pub struct Socket<S> {
    /// The opening handshake, until it is done.
    pub(crate) opening: Option<Box<Opening>>,
    /// The opening handshake of a client, until it is done.
    pub(crate) dial: Option<Box<Dial>>,
    pub(crate) session: Session<Vec<u8>>,
    pub(crate) wire: Wire<S>,
    /// Why the connection failed, until it is reported, which is when the transport is done with.
    failed: Option<Box<Error>>,
    /// Since when the transport takes less than there is.
    stuck_since: Moment,
    /// A pong's deadline stands still until what is stuck has left.
    holds_pong: bool,
    /// When to see whether live compression state is idle.
    park_at: Moment,
    /// There may be something to read: edges are reported once.
    pub(crate) readable: bool,
    /// Whether a short read says that there is no more, not even the end.
    short_reads: bool,
    /// The writing side is shut down.
    pub(crate) shut: bool,
    /// The transport has no more to read.
    pub(crate) eof: bool,
    /// The loop was told that the transport is broken.
    pub(crate) errored: bool,
    /// The application was told how it ended.
    told: bool,
    finished: bool,
}

impl<S: Stream> Socket<S> {
    /// Makes the server's side of a stream that was just accepted. It agrees to every well-formed request for a WebSocket,
    /// on any path and from any origin, and refuses others with the status that the broken rule implies.
    ///
    /// All times given to one socket count from the same epoch.
    pub fn accept(stream: S, config: impl Into<ConfigRef>, now: Instant) -> Self {
        Self::opening(stream, config.into(), now, false)
    }

    /// As [`accept`](Self::accept), but the application answers: the state is [`State::Asked`] when the request has come,
    /// and the answer may take any time.
    pub fn accept_asking(stream: S, config: impl Into<ConfigRef>, now: Instant) -> Self {
        Self::opening(stream, config.into(), now, true)
    }

    fn opening(stream: S, config: ConfigRef, now: Instant, asks: bool) -> Self {
        let handshake = ServerHandshake::new(now, config.clone());
        let opening = Box::new(Opening::new(handshake, asks));
        Self { opening: Some(opening), ..Self::open_over(stream, Connection::server(config, now)) }
    }

    /// Makes a connection over a stream whose handshake is done.
    ///
    /// `leftover` is what was received from the peer behind its handshake; call [`proceed`](Self::proceed) to have it
    /// handled.
    ///
    /// # Errors
    /// A client needs entropy for its mask keys, and there is none: there is no weak fallback.
    pub fn from_upgraded(
        stream: S,
        role: Role,
        leftover: &[u8],
        config: impl Into<ConfigRef>,
        now: Instant,
    ) -> io::Result<Self> {
        let connection = match role {
            Role::Server => Connection::server(config, now),
            Role::Client => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(io::Error::other)?;
                Connection::client(config, now, seed)
            }
        };
        let mut socket = Self::open_over(stream, connection);
        if !leftover.is_empty() {
            socket.session.restore(leftover.to_vec(), leftover.len());
        }
        Ok(socket)
    }

    pub(crate) fn open_over(stream: S, connection: Connection) -> Self {
        Self::over(stream, Session::new(connection))
    }

    pub(crate) fn over(stream: S, session: Session<Vec<u8>>) -> Self {
        let max_queue = session.connection_ref().config().limits.max_queue;
        Self {
            opening: None,
            dial: None,
            session,
            wire: Wire::new(stream, max_queue),
            failed: None,
            stuck_since: Moment::NEVER,
            holds_pong: false,
            park_at: Moment::NEVER,
            readable: false,
            short_reads: false,
            shut: false,
            eof: false,
            errored: false,
            told: false,
            finished: false,
        }
    }

    /// Does what an event of mio allows: reads, hands each event of the connection to `on_event` with the handle to
    /// answer it, writes the answers.
    ///
    /// Pings and close frames are answered without your help. The event is a view of the loop's buffer.
    ///
    /// # Errors
    /// Why the connection ended, once: drop the socket.
    #[inline]
    pub fn on_ready<F>(
        &mut self,
        event: &mio::event::Event,
        buffers: &mut Buffers,
        now: Instant,
        on_event: F,
    ) -> Result<State, Error>
    where
        F: FnMut(Event<'_>, &mut Reply<'_, S>),
    {
        // The end raises no edge of its own if it came together with data: then it is found by reading up to it.
        let ends = event.is_read_closed() || event.is_error();
        if event.is_readable() || ends {
            self.readable = true;
            self.short_reads = !ends && self.wire.io.short_means_blocked();
        }
        self.errored |= event.is_error();
        // A transport with something of its own to say may have waited for the peer.
        if event.is_writable() || self.wire.blocked && !self.wire.io.short_means_blocked() {
            self.wire.blocked = false;
        }
        self.proceed(buffers, now, on_event)
    }

    /// The stream can be read: as [`on_ready`](Self::on_ready), for loops without mio. Reads until it would block.
    ///
    /// # Errors
    /// As for [`on_ready`](Self::on_ready).
    pub fn on_readable<F>(&mut self, buffers: &mut Buffers, now: Instant, on_event: F) -> Result<State, Error>
    where
        F: FnMut(Event<'_>, &mut Reply<'_, S>),
    {
        self.readable = true;
        self.short_reads = false;
        self.proceed(buffers, now, on_event)
    }

    /// The stream can be written. Events that waited for that come to `on_event`, too.
    ///
    /// # Errors
    /// As for [`on_ready`](Self::on_ready).
    pub fn on_writable<F>(&mut self, buffers: &mut Buffers, now: Instant, on_event: F) -> Result<State, Error>
    where
        F: FnMut(Event<'_>, &mut Reply<'_, S>),
    {
        self.wire.blocked = false;
        self.proceed(buffers, now, on_event)
    }

    /// Whether it neither ends nor waits for what is stuck. One whose end was told may only wait for its peer to hang up,
    /// but it is not one of those that the application has.
    pub(crate) fn is_untroubled(&self) -> bool {
        let ends =
            self.told || self.failed.is_some() || self.shut || self.eof || self.errored || self.finished;
        !ends && !self.stuck_since.is_set() && !self.holds_pong
    }

    pub(crate) fn fail(&mut self, error: impl Into<Error>) {
        // The first failure is the cause; those that follow are consequences.
        self.failed.get_or_insert_with(|| Box::new(error.into()));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// How it ended, for an application that is not told again.
    pub(crate) fn tell_end(&mut self) -> Result<(), Error> {
        self.told = true;
        self.failed.take().map_or(Ok(()), |error| Err(*error))
    }

    /// Whether it only waits for the peer to hang up.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// Gives everything back to the loop, and says how it ended.
    pub(crate) fn finish(&mut self, buffers: &mut Buffers) -> Result<State, Error> {
        self.finished = true;
        self.opening = None;
        self.dial = None;
        self.wire.release(buffers);
        if let Some((storage, _)) = self.session.rest() {
            buffers.give(storage);
        }
        match self.failed.take() {
            Some(error) if !self.told => Err(*error),
            _ => Ok(State::Closed),
        }
    }

    /// What to register for; `None`: for nothing, because a request awaits its answer or all is over.
    pub fn interest(&self) -> Option<Interest> {
        if self.finished {
            return None;
        }
        if let Some(dial) = &self.dial {
            return dial.interest(self.wire.is_flushed());
        }
        let (reads, writes) = match &self.opening {
            Some(opening) => match opening.handshake.transport() {
                Transport::Open => (opening.handshake.deadline().is_some(), !self.wire.is_flushed()),
                Transport::Shutdown => (!self.eof, !self.shut),
                Transport::Close => (false, false),
            },
            None => {
                let connection = self.session.connection_ref();
                let owes = connection.pending() > 0 || !self.wire.is_flushed();
                let shuts = connection.transport() == Transport::Shutdown && !self.shut;
                (self.may_read(), owes || shuts)
            }
        };
        match (reads, writes) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        }
    }

    /// When to call [`tick`](Self::tick); `None`: not before something else happens.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(dial) = &self.dial {
            return dial.deadline();
        }
        match &self.opening {
            _ if self.finished => None,
            Some(opening) => opening.handshake.deadline().or(opening.decide_by.get()),
            None => {
                let deadline = self.session.connection_ref().deadline();
                [deadline, self.write_deadline(), self.park_at.get()].into_iter().flatten().min()
            }
        }
    }

    /// Acts on deadlines that have passed: sends the keepalive ping, gives up on peers that are silent or take
    /// nothing, parks idle state. Harmless when early.
    ///
    /// Handle the loop's events first, also those that did not fit into one poll: a sign of life may be among them.
    ///
    /// # Errors
    /// As for [`on_ready`](Self::on_ready).
    pub fn tick(&mut self, buffers: &mut Buffers, now: Instant) -> Result<State, Error> {
        if self.finished {
            return Ok(State::Closed);
        }
        if self.opening.is_some() {
            self.tick_put_off(buffers, now);
        }
        if let Some(opening) = &mut self.opening {
            if let Err(rejection) = opening.handshake.tick(now) {
                let _ = self.reject_as(buffers, now, rejection);
            }
            // What comes behind a request needs its consumer.
            return self.open(buffers, now).unwrap_or(Ok(State::Again));
        }
        if self.dial.is_some() {
            return self.tick_dial(buffers, now);
        }
        self.park(now);
        if let Err(failure) = self.session.connection().tick(now) {
            self.fail(failure);
        }
        self.flush(buffers, now)
    }

    /// Writes what was sent outside of an event, as far as the transport takes it.
    ///
    /// # Errors
    /// As for [`on_ready`](Self::on_ready).
    pub fn flush(&mut self, buffers: &mut Buffers, now: Instant) -> Result<State, Error> {
        if self.finished {
            return Ok(State::Closed);
        }
        self.enter();
        if !self.is_open() {
            return Ok(State::Waiting);
        }
        let had_room = self.wire.has_room();
        if self.settle(buffers, now) {
            return self.finish(buffers);
        }
        self.hold_pong_deadline(now);
        self.plan_parking(now);
        self.wire.rest(buffers);
        // Events that waited for room, or the end that a broken transport has, come by no edge.
        let resumes =
            !had_room && self.wire.has_room() || self.wire.broken && !self.eof || self.resumes_pong();
        let resumes = self.wire.steering.take_resumed() || resumes;
        Ok(if resumes { State::Again } else { State::Waiting })
    }

    /// Sends a message outside of an event, and never waits: [`flush`](Self::flush) writes it.
    ///
    /// # Errors
    /// [`Error::NotOpen`] before the handshake is done; otherwise as for [`Reply::send`].
    pub fn send<'m>(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Error> {
        self.send_part(buffers, now, message, Part::Whole)
    }

    /// Sends a part of a message, as [`send`](Self::send) does a whole one.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Error::Refused`] for parts out of order.
    pub fn send_part<'m>(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        message: impl Into<Message<'m>>,
        part: Part,
    ) -> Result<(), Error> {
        self.reply(buffers, now)?.send_part(message, part)
    }

    /// Sends a message that was prepared for many, as [`send`](Self::send) does one of its own; see
    /// [`Reply::send_prepared`].
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_prepared(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        prepared: &Prepared,
    ) -> Result<(), Error> {
        self.reply(buffers, now)?.send_prepared(prepared)
    }

    /// Queues our close frame; see [`Reply::close`]. [`flush`](Self::flush) sends it, and events go on until the peer's.
    ///
    /// # Errors
    /// [`Error::NotOpen`] before the handshake is done; otherwise as for [`Reply::close`].
    pub fn close(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        frame: Option<CloseFrame<'_>>,
    ) -> Result<(), Error> {
        self.reply(buffers, now)?.close(frame)
    }

    /// A handle to send with outside of an event.
    ///
    /// # Errors
    /// [`Error::NotOpen`]: nothing is sent before the handshake is done (HS-38, HC-05).
    pub fn reply<'a>(&'a mut self, buffers: &'a mut Buffers, now: Instant) -> Result<Reply<'a, S>, Error> {
        self.enter();
        if !self.is_open() {
            return Err(Error::NotOpen);
        }
        let (connection, wire, buffered) = (self.session.connection(), &mut self.wire, usize::MAX);
        Ok(Reply { connection, wire, buffers, now, buffered })
    }

    /// Sets what happens to messages for which the output queue has no room. By default they are refused.
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.wire.overflow = overflow;
    }

    /// Lets messages be compressed from now on, both ways, as `agreement` says (RFC 7692): for a stream that was
    /// [upgraded elsewhere](Self::from_upgraded), or for an answer whose `extensions` were
    /// [your own](Self::agree).
    #[cfg(feature = "deflate")]
    pub fn enable_deflate(&mut self, agreement: &ws_core::deflate::Agreement) {
        self.enter();
        self.session.enable_deflate(agreement);
    }

    /// The agreement on permessage-deflate, if there is one.
    #[cfg(feature = "deflate")]
    pub fn agreement(&self) -> Option<&ws_core::deflate::Agreement> {
        match &self.dial {
            Some(dial) => dial.agreement.as_ref(),
            None => self.session.agreement(),
        }
    }

    /// Whether it holds live compression state. State that is not used for
    /// [`Settings::idle`](ws_core::deflate::Settings::idle) is parked by [`tick`](Self::tick), one to two such times
    /// after its last use.
    #[cfg(feature = "deflate")]
    pub fn has_live_deflate(&self) -> bool {
        self.session.has_live_deflate()
    }

    /// Sets which messages are compressed from now on, if compression was agreed on.
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: ws_core::deflate::Compress) {
        self.session.connection().set_compress(compress);
    }

    /// Whether the opening handshake is done.
    pub fn is_open(&self) -> bool {
        self.opening.is_none() && self.dial.as_ref().is_none_or(|dial| dial.is_answered()) && !self.finished
    }

    /// The size of the buffers that this connection holds, in bytes: 0 while it is idle. Compression state, and a message
    /// that is half inflated, are not counted.
    pub fn held(&self) -> usize {
        let opening = self.opening.as_ref().map_or(0, |opening| opening.held());
        let dial = self.dial.as_ref().map_or(0, |dial| dial.held());
        self.session.storage_len() + self.wire.held() + opening + dial
    }

    /// The transport, to read its addresses for example.
    pub fn stream(&self) -> &S {
        &self.wire.io
    }

    /// The transport, to register it.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.wire.io
    }
}
