//! A connection and the storage that it receives into, which is what adapters drive.
//!
//! Stable Rust rejects a loop that lends an event from the buffer which the loop's next turn would mutate, so this is
//! done in two steps: [`Session::advance`] finds the next event, [`Session::event`] lends it.

use crate::buffer::{Buffer, Storage};
use crate::connection::Connection;
use crate::decoder::{Found, SmallFrame, Step, TextSoFar};
#[cfg(feature = "deflate")]
use crate::deflate::{Agreement, Inflow, Outflow, Pool, Run, Settings, WindowBits};
use crate::error::{Failure, Violation};
use crate::event::Event;
use crate::receiver::{self, Receiver};
use crate::sender::{Reply, Sender};
use crate::time::Instant;

mod adapters;
mod at_rest;

pub use at_rest::AtRest;

/// What [`Session::advance`] came to. Not `#[non_exhaustive]`: a loop must handle every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// An event is there: [`Session::event`] lends it, until the next `advance`.
    Event,
    /// No event without more bytes.
    Read {
        /// How many bytes must be in the buffer, those that are there included, before anything can happen.
        at_least: usize,
    },
    /// Nothing more will come: after the peer's close frame, a failure, or the end of the transport.
    Finished,
}

/// A [`Connection`] with receive storage that is lent for as long as bytes are in flight.
///
/// ```
/// use std::io::Read;
/// use ws_core::{Advance, Config, Connection, Event, Instant, Session};
///
/// static CONFIG: Config = Config::server();
/// let now = Instant::ZERO; // of a clock
/// # let mut socket: &[u8] = b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0";
/// # let mut heard = Vec::new();
/// let mut session = Session::<[u8; 512]>::new(Connection::server(&CONFIG, now));
/// loop {
///     match session.advance(now)? {
///         Advance::Event => match session.event() {
///             Some(Event::Text(text)) => heard.push(text.to_owned()),
///             _ => {} // pings and closes are answered already, by what `transmit` writes
///         },
///         Advance::Read { at_least } => {
///             let n = socket.read(session.space(|| [0; 512], at_least))?;
///             if n == 0 {
///                 session.connection().recv_eof(now)?;
///             }
///             session.received(n);
///         }
///         Advance::Finished => break,
///     }
/// }
/// # assert_eq!(heard, ["hi"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `C` is the [`Connection`], or the [`Receiver`] of a split one.
#[derive(Debug)]
pub struct Session<B, C = Connection> {
    connection: C,
    buffer: Buffer<B>,
    /// The event found, relative to the front of the filled part; what it consumes is consumed by the next `advance`.
    step: Step,
    /// What the front of the storage was left as by the last step: the start of a text, validated so far.
    ///
    /// The caller can show the connection other bytes, or exchange it, and storage can come from anywhere. So a text
    /// is trusted only when the decoder goes on exactly from here, in storage that stayed.
    known: Option<TextSoFar>,
    /// Whether the text of the event was validated from its first to its last byte where it stands.
    trusted: bool,
    /// The decompressor, once permessage-deflate is agreed on.
    #[cfg(feature = "deflate")]
    inflow: Option<Box<Inflow>>,
}

/// What a session drives: a whole connection, or the receiving half of a split one. Sealed.
pub trait Endpoint: sealed::Endpoint {}

impl Endpoint for Connection {}
impl Endpoint for Receiver {}

mod sealed {
    use super::{Connection, Failure, Instant, Receiver, SmallFrame, Step, Violation};

    pub trait Endpoint {
        fn small_frame(&mut self, now: Instant, input: &mut [u8]) -> Option<SmallFrame>;
        fn step(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure>;
        fn receiver(&mut self) -> &mut Receiver;
        #[cfg(feature = "deflate")]
        fn own_sender(&mut self) -> Option<&mut super::Sender>;
        #[cfg(feature = "deflate")]
        fn has_live_deflate(&self) -> bool;
        fn refuse(&mut self, now: Instant, violation: Violation) -> Failure;
    }

    impl Endpoint for Connection {
        #[inline(always)]
        fn small_frame(&mut self, now: Instant, input: &mut [u8]) -> Option<SmallFrame> {
            self.small_frame(now, input)
        }

        fn step(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure> {
            self.step(now, input)
        }

        #[inline(always)]
        fn receiver(&mut self) -> &mut Receiver {
            self.receiver()
        }

        #[cfg(feature = "deflate")]
        fn own_sender(&mut self) -> Option<&mut super::Sender> {
            Some(self.sender())
        }

        #[cfg(feature = "deflate")]
        fn has_live_deflate(&self) -> bool {
            self.has_live_deflate()
        }

        fn refuse(&mut self, now: Instant, violation: Violation) -> Failure {
            self.refuse(now, violation)
        }
    }

    impl Endpoint for Receiver {
        #[inline(always)]
        fn small_frame(&mut self, now: Instant, input: &mut [u8]) -> Option<SmallFrame> {
            self.small_frame(now, input)
        }

        fn step(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure> {
            self.step(now, input)
        }

        #[inline(always)]
        fn receiver(&mut self) -> &mut Receiver {
            self
        }

        #[cfg(feature = "deflate")]
        fn own_sender(&mut self) -> Option<&mut super::Sender> {
            None
        }

        #[cfg(feature = "deflate")]
        fn has_live_deflate(&self) -> bool {
            false
        }

        fn refuse(&mut self, now: Instant, violation: Violation) -> Failure {
            self.refuse(now, violation)
        }
    }
}

impl<B: Storage, C: Endpoint> Session<B, C> {
    /// A session without storage.
    pub fn new(connection: C) -> Self {
        Self {
            connection,
            buffer: Buffer::new(),
            step: Step::NOTHING,
            known: None,
            trusted: false,
            #[cfg(feature = "deflate")]
            inflow: None,
        }
    }

    /// A session with storage, whose first `filled` bytes were received behind the handshake.
    pub fn with_storage(connection: C, storage: B, filled: usize) -> Self {
        let mut session = Self::new(connection);
        session.buffer.put(storage, filled);
        session
    }

    /// Goes on to the next event. The bytes that the last one lent are consumed.
    ///
    /// # Errors
    /// As for [`Connection::recv`], once. [`Violation::MessageTooBig`](crate::Violation::MessageTooBig) also when more
    /// bytes are needed, and the storage is full of one message and cannot grow; [move](Self::move_to) to larger storage
    /// before, where [`Connection::remaining`] says so.
    #[inline(always)]
    pub fn advance(&mut self, now: Instant) -> Result<Advance, Failure> {
        if self.advance_small(now) {
            return Ok(Advance::Event);
        }
        self.advance_by_step(now)
    }

    /// Lends the event that `advance` found, as often as you like, until the next `advance`.
    #[inline(always)]
    pub fn event(&mut self) -> Option<Event<'_>> {
        self.lend().0
    }

    /// Lends the event, and the connection beside it, to answer while the event is lent.
    #[inline(always)]
    pub fn lend(&mut self) -> (Option<Event<'_>>, &mut C) {
        let event = match self.step.found {
            Found::Nothing => None,
            #[cfg(feature = "deflate")]
            Found::Inflated => self.inflow.as_mut().and_then(|inflow| inflow.event()),
            // Text is lent read-only, and free space lies behind it: what was validated here is still valid. Storage
            // that comes or goes takes the event with it.
            _ => receiver::event(self.step, self.buffer.filled(), self.trusted),
        };
        (event, &mut self.connection)
    }

    /// Returns free space to receive into, in storage that `lease` provides when none is held.
    ///
    /// Full storage grows to twice its size, if it can. There is always space after [`Advance::Read`]: where there cannot
    /// be any, `advance` fails. Before that, full storage may have none.
    pub fn space(&mut self, lease: impl FnOnce() -> B, at_least: usize) -> &mut [u8] {
        self.release_event();
        if self.buffer.is_full() {
            // A gap inside a fragmented message is room too. The little behind it moves, never the message: or a peer
            // could have all of that moved for each ping. Where it is small, storage that can grow grows, for larger
            // reads.
            let is_small = self.connection.receiver().gap() < self.buffer.size() / 8;
            if !(is_small && self.buffer.grow()) {
                // It may be that of another connection than the text that was validated here.
                if self.connection.receiver().text_so_far() != self.known {
                    self.known = None;
                }
                let freed = self.connection.receiver().fill_gap(self.buffer.filled());
                self.buffer.shorten(freed);
            }
        }
        self.buffer.space(lease, at_least)
    }

    /// Counts the first `n` bytes of the [`space`](Self::space) as received.
    #[inline]
    pub fn received(&mut self, n: usize) {
        self.buffer.received(n);
    }

    /// Gives the storage back, with the number of unconsumed bytes at its front; to be called when a read would block.
    ///
    /// To keep a short rest elsewhere, copy it and [`restore`](Self::restore) it later.
    pub fn rest(&mut self) -> Option<(B, usize)> {
        self.release_event();
        self.known = None;
        self.buffer.take()
    }

    /// The connection: to send, to close, for its timers.
    #[inline]
    pub fn connection(&mut self) -> &mut C {
        &mut self.connection
    }

    /// The connection, to look at.
    #[inline]
    pub fn connection_ref(&self) -> &C {
        &self.connection
    }

    /// Takes the session apart: the connection, and the storage with its unconsumed bytes.
    ///
    /// What is not yet inflated of the current frame is dropped, and so is the peer's context
    #[cfg_attr(feature = "deflate", doc = "([`enable_deflate`](Session::enable_deflate)).")]
    #[cfg_attr(not(feature = "deflate"), doc = "(feature `deflate`).")]
    pub fn into_parts(mut self) -> (C, Option<(B, usize)>) {
        self.release_event();
        #[cfg(feature = "deflate")]
        if let Some(inflow) = self.inflow.as_mut().filter(|inflow| inflow.is_busy()) {
            inflow.drop_message(&mut self.buffer);
        }
        let rest = self.rest();
        (self.connection, rest)
    }
}

#[cfg(feature = "deflate")]
impl<B: Storage> Session<B> {
    /// Lets messages be compressed from now on, both ways, as `agreement` says (RFC 7692);
    /// [`Config::deflate`](crate::Config::deflate) says how.
    ///
    /// Without it a compressed message is [`Violation::ReservedBit`]. It is the session that inflates, with the context
    /// of all messages before: once agreed on, a connection belongs to it. Another one that is put in its place, or
    /// [`Connection::recv`], fails at a compressed message ([`Violation::InvalidDeflate`]). A second call changes
    /// nothing.
    pub fn enable_deflate(&mut self, agreement: &Agreement) {
        if self.inflow.is_some() {
            return;
        }
        let config = self.connection.config().clone();
        let defaults = Settings::server();
        let settings = config.deflate.as_ref().unwrap_or(&defaults);
        let pool = settings.pool.clone().unwrap_or_else(Pool::shared);
        let (own, peer) = agreement.directions(self.connection.role());
        self.inflow = Some(Box::new(Inflow::new(*agreement, peer, pool)));
        self.connection.receiver().allow_deflate();
        // DN-16: there is no compressor of 256 bytes. What is not compressed is always right.
        if own.window > WindowBits::MIN {
            let takeover = own.takeover && settings.deflate_takeover;
            self.connection.sender().allow_deflate(Outflow::new(settings, own.window, takeover));
        }
    }
}

impl<B: Storage> Session<B> {
    /// Takes both directions apart, for two tasks: the receiving one keeps storage and timers.
    pub fn split(self) -> (Session<B, Receiver>, Sender) {
        let (receiver, sender) = self.connection.split();
        let session = Session {
            connection: receiver,
            buffer: self.buffer,
            step: self.step,
            known: self.known,
            trusted: self.trusted,
            #[cfg(feature = "deflate")]
            inflow: self.inflow,
        };
        (session, sender)
    }
}

impl<B: Storage> Session<B, Receiver> {
    /// What the sending half has to do about the current event; after a failure ask [`Failure::reply`].
    pub fn reply(&mut self) -> Option<Reply> {
        self.event().and_then(|event| Reply::to(&event))
    }

    /// Puts the two halves together again.
    pub fn join(self, sender: Sender) -> Session<B> {
        Session {
            connection: Connection::join(self.connection, sender),
            buffer: self.buffer,
            step: self.step,
            known: self.known,
            trusted: self.trusted,
            #[cfg(feature = "deflate")]
            inflow: self.inflow,
        }
    }
}

impl<B: Storage, C: Endpoint> Session<B, C> {
    #[inline(never)]
    fn advance_by_step(&mut self, now: Instant) -> Result<Advance, Failure> {
        loop {
            if let Some(advance) = self.take_step(now)? {
                return Ok(advance);
            }
        }
    }

    /// `None`: a compressed payload was taken up, and there is more to find.
    #[inline]
    fn take_step(&mut self, now: Instant) -> Result<Option<Advance>, Failure> {
        #[cfg(feature = "deflate")]
        if let Some(advance) = self.advance_inflow(now)? {
            return Ok(Some(advance));
        }
        // What a task meets twice between any two messages of a quiet peer.
        if self.buffer.len() == 0 && self.connection.receiver().is_between_messages(now) {
            self.known = None;
            return self.read(now, 2);
        }
        self.trusted = self.knows_text();
        self.step = self.connection.step(now, self.buffer.filled())?;
        if let Some(text) = self.connection.receiver().text_so_far() {
            self.known = self.trusted.then_some(text);
        }
        #[cfg(feature = "deflate")]
        if let Found::Deflated { kind, first, last } = self.step.found {
            let step = core::mem::replace(&mut self.step, Step::NOTHING);
            // Another connection was put in place of the one that agreed.
            let Some(inflow) = &mut self.inflow else {
                return Err(self.connection.refuse(now, Violation::InvalidDeflate));
            };
            inflow.begin(step, kind, first, last, &mut self.buffer);
            return Ok(None);
        }
        if self.step.found != Found::Nothing {
            return Ok(Some(Advance::Event));
        }
        let at_least = self.step.need;
        self.release_event();
        if !self.connection.receiver().is_open() {
            return Ok(Some(Advance::Finished));
        }
        self.read(now, at_least)
    }

    /// Asks for more bytes, if there is or can be room for any.
    #[inline(always)]
    fn read(&mut self, now: Instant, at_least: usize) -> Result<Option<Advance>, Failure> {
        if self.buffer.is_full_for_good() && self.connection.receiver().gap() == 0 {
            return Err(self.connection.refuse(now, Violation::MessageTooBig));
        }
        Ok(Some(Advance::Read { at_least }))
    }

    /// Goes on inflating what has arrived; `None`: all of that was used up.
    #[cfg(feature = "deflate")]
    #[inline]
    fn advance_inflow(&mut self, now: Instant) -> Result<Option<Advance>, Failure> {
        if self.inflow.is_none() {
            return Ok(None);
        }
        self.inflate(now)
    }

    #[cfg(feature = "deflate")]
    fn inflate(&mut self, now: Instant) -> Result<Option<Advance>, Failure> {
        let Some(inflow) = &mut self.inflow else { return Ok(None) };
        let receiver = self.connection.receiver();
        if receiver.drops_data() || !receiver.is_open() {
            inflow.drop_message(&mut self.buffer);
        }
        if !inflow.is_busy() {
            return Ok(None);
        }
        let config = self.connection.receiver().config().clone();
        match inflow.run(&config, &mut self.buffer) {
            Ok(Run::Event) => {
                self.step.found = Found::Inflated;
                Ok(Some(Advance::Event))
            }
            Ok(Run::Idle) => Ok(None),
            Ok(Run::Gone(at_least)) => Ok(Some(Advance::Read { at_least })),
            Err(violation) => {
                inflow.drop_message(&mut self.buffer);
                Err(self.connection.refuse(now, violation))
            }
        }
    }

    /// Whether the text that the decoder holds, if it holds one, was validated where it stands. What was known is
    /// forgotten: a step that fails half-way leaves something else there.
    fn knows_text(&mut self) -> bool {
        let known = self.known.take();
        match self.connection.receiver().text_so_far() {
            None => true,
            text => text == known,
        }
    }

    #[inline(always)]
    fn release_event(&mut self) {
        if self.step.consumed == 0 && self.step.found == Found::Nothing {
            return;
        }
        #[cfg(feature = "deflate")]
        if let (Found::Inflated, Some(inflow)) = (self.step.found, &mut self.inflow) {
            inflow.release();
        }
        self.buffer.consume(self.step.consumed);
        self.step = Step::NOTHING;
    }
}
