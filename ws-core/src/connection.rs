//! Both directions of a connection: the only file that joins them.
//!
//! What the receiving half owes the peer goes straight to the sending half; the caller has nothing to pass on.

use crate::close::CloseFrame;
use crate::config::{ConfigRef, Role};
use crate::decoder::{Found, SmallFrame, Step};
#[cfg(feature = "deflate")]
use crate::deflate::Compress;
use crate::error::{Failure, SendError, Violation};
use crate::event::{Event, Kind, Message, Part, Transport};
use crate::frame::Header;
#[cfg(feature = "alloc")]
use crate::prepared::Prepared;
use crate::receiver::{self, Receiver, Recv};
use crate::sender::{Duty, Reply, Sender};
use crate::time::Instant;

/// A WebSocket connection after its opening handshake: a state machine without a socket, a buffer or a clock.
///
/// It takes bytes and time, and returns events and bytes. No order of calls is forbidden or required.
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    sender: Sender,
}

impl Connection {
    /// The server's side of a connection whose handshake is done.
    pub fn server(config: impl Into<ConfigRef>, now: Instant) -> Self {
        Self::new(Role::Server, config.into(), now, [0; 32])
    }

    /// The client's side of a connection whose handshake is done.
    ///
    /// `seed` is 32 bytes of entropy that no peer can guess: the mask keys come from it (RFC 6455, section 10.3).
    pub fn client(config: impl Into<ConfigRef>, now: Instant, seed: [u8; 32]) -> Self {
        Self::new(Role::Client, config.into(), now, seed)
    }

    /// Looks at `input`: every byte received and not yet consumed, from the first one on.
    ///
    /// At most one event comes back; call again, with what is not consumed, until there is none. The connection
    /// edits `input` in place and owns none of it: show it the rest again, unaltered, with more behind it. Pongs and
    /// the close echo are queued by this call; [`transmit`](Self::transmit) or the next message sends them.
    ///
    /// A text that arrived over several calls is checked once more as a whole; [`Session`](crate::Session), which
    /// owns the bytes, spares that.
    ///
    /// # Errors
    /// The peer broke a rule or a limit: reported once and final, the close frame is queued. From then on input is
    /// consumed and discarded.
    #[inline(always)]
    pub fn recv<'b>(&mut self, now: Instant, input: &'b mut [u8]) -> Result<Recv<'b>, Failure> {
        match self.small_frame(now, input) {
            Some(frame) => Ok(receiver::view_small(frame, input)),
            None => Ok(receiver::view(self.step_alone(now, input)?, input, false)),
        }
    }

    /// Says that the transport reached its end. Fetch the events that came before it first: none comes after.
    ///
    /// # Errors
    /// [`Failure::Eof`], once, when the peer had sent no close frame (RFC 6455, section 7.1.5: code 1006).
    pub fn recv_eof(&mut self, now: Instant) -> Result<(), Failure> {
        self.sender.stop();
        self.receiver.recv_eof(now)
    }

    /// Encodes a message into `out`, pending control frames before it, and returns how many bytes that took.
    ///
    /// # Errors
    /// As for [`Sender::send`]: nothing was written and nothing changed.
    #[inline(always)]
    pub fn send(&mut self, message: Message<'_>, out: &mut [u8]) -> Result<usize, SendError> {
        // Before a small message no control frame leaves, so there is no ping to tell the receiver of.
        match self.sender.send_small(message, out) {
            Some(n) => Ok(n),
            None => self.send_any(message.kind(), message.as_bytes(), Part::Whole, out),
        }
    }

    /// Encodes a part of a message; see [`Sender::send_part`].
    ///
    /// # Errors
    /// As for [`Sender::send_part`].
    pub fn send_part(
        &mut self,
        message: Message<'_>,
        part: Part,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        match part {
            Part::Whole => self.send(message, out),
            part => self.send_any(message.kind(), message.as_bytes(), part, out),
        }
    }

    /// Queues a ping of at most 125 bytes.
    ///
    /// # Errors
    /// As for [`Sender::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.sender.ping(payload)
    }

    /// Queues an unsolicited pong, which a flood of pings may replace; see [`Sender::pong`].
    ///
    /// # Errors
    /// As for [`Sender::pong`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.sender.pong(payload)
    }

    /// Begins the closing handshake: queues our close frame, and starts the close deadline.
    ///
    /// After 1000, 1001, 1012 or no code, messages that the peer sends before its own close frame are still
    /// reported; after any other code they are dropped.
    ///
    /// # Errors
    /// As for [`Sender::close`].
    pub fn close(&mut self, now: Instant, frame: Option<CloseFrame<'_>>) -> Result<(), SendError> {
        self.sender.close(frame)?;
        self.receiver.closing(now, frame.map(|frame| frame.code));
        Ok(())
    }

    /// Writes pending control frames into `out`, and returns how many bytes that took; see [`Sender::transmit`].
    pub fn transmit(&mut self, out: &mut [u8]) -> usize {
        let n = self.sender.transmit(out);
        if self.sender.take_ping_left() {
            self.receiver.ping_left();
        }
        n
    }

    /// How many bytes [`transmit`](Self::transmit) has to write.
    #[inline]
    pub fn pending(&self) -> usize {
        self.sender.pending()
    }

    /// When [`tick`](Self::tick) is due; `None`: not before something else happens.
    pub fn deadline(&self) -> Option<Instant> {
        if self.transport() == Transport::Close { None } else { self.receiver.deadline() }
    }

    /// Lets time pass: queues the keepalive ping, gives up on silent peers. Harmless when early.
    ///
    /// Read what the transport holds first; a sign of life may be waiting there.
    ///
    /// # Errors
    /// [`Failure::Timeout`], once: no sign of life after a ping, or no answer to our close frame.
    pub fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        match self.receiver.tick(now) {
            Ok(Some(reply)) => self.sender.reply(reply),
            Ok(None) => {}
            Err(failure) => {
                self.sender.stop();
                return Err(failure);
            }
        }
        Ok(())
    }

    /// What the caller should do with the transport now.
    #[inline]
    pub fn transport(&self) -> Transport {
        self.receiver.transport(self.sender.pending())
    }

    /// Says that everything was written and the writing side is shut down, as [`Transport::Shutdown`] demands.
    pub fn shut_down(&mut self, now: Instant) {
        self.receiver.shut_down(now);
    }

    /// Whether messages may still be sent: until a close frame is queued.
    pub fn can_send(&self) -> bool {
        self.sender.is_open()
    }

    /// Whether messages may still come: until the peer's close frame, a failure or the end of the transport.
    pub fn can_recv(&self) -> bool {
        self.receiver.is_open()
    }

    /// The side this endpoint is on.
    pub fn role(&self) -> Role {
        self.receiver.role()
    }

    /// The settings.
    pub fn config(&self) -> &ConfigRef {
        self.receiver.config()
    }

    /// Makes the header for a payload that the caller writes itself; see [`Sender::frame_header`].
    ///
    /// # Errors
    /// As for [`Sender::frame_header`].
    #[inline]
    pub fn frame_header(&mut self, kind: Kind, len: u64, part: Part) -> Result<Header, SendError> {
        self.sender.frame_header(kind, len, part)
    }

    /// Returns the frame of a message for many connections, to be written as it is; see [`Sender::prepared`].
    ///
    /// # Errors
    /// As for [`Sender::prepared`].
    #[cfg(feature = "alloc")]
    pub fn prepared<'p>(&mut self, prepared: &'p Prepared) -> Result<&'p [u8], SendError> {
        self.sender.prepared(prepared)
    }

    /// Sets which of the messages from now on are compressed; see [`Sender::set_compress`].
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: Compress) {
        self.sender.set_compress(compress);
    }

    /// Takes both directions apart. The receiver keeps the timers; what it owes the peer is a small [`Reply`].
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }

    /// Puts the halves of one connection together again.
    pub fn join(receiver: Receiver, sender: Sender) -> Self {
        Self { receiver, sender }
    }
}

/// For adapters: what a loop over many sockets asks a connection beside driving it.
impl Connection {
    /// The fast path of [`send`](Self::send); see [`Sender::send_small`].
    #[inline(always)]
    pub fn send_small(&self, message: Message<'_>, out: &mut [u8]) -> Option<usize> {
        self.sender.send_small(message, out)
    }

    /// Whether any message for many connections goes out plain now; see [`Sender::shares_plain`].
    #[cfg(feature = "alloc")]
    #[inline]
    pub fn shares_plain(&self) -> bool {
        self.sender.shares_plain()
    }

    /// Whether a part of this kind may be sent now; see [`Sender::accepts`].
    ///
    /// # Errors
    /// As for [`Sender::accepts`].
    pub fn accepts(&self, kind: Kind, part: Part) -> Result<(), SendError> {
        self.sender.accepts(kind, part)
    }

    /// Whether a message is open for more parts; see [`Sender::has_open_message`].
    pub fn has_open_message(&self) -> bool {
        self.sender.has_open_message()
    }

    /// Whether such a part of a message would be compressed; see [`Sender::will_compress`].
    #[cfg(feature = "deflate")]
    #[inline]
    pub fn will_compress(&self, len: usize, part: Part) -> bool {
        self.sender.will_compress(len, part)
    }

    /// Whether a compressed message may refer to those before it; see [`Sender::has_context`].
    #[cfg(feature = "deflate")]
    pub fn has_context(&self) -> bool {
        self.sender.has_context()
    }

    /// From here on nothing refers to what was encoded before; see [`Sender::forget_context`].
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        self.sender.forget_context();
    }

    /// Parks the compressor if it was not used since the last call; see [`Sender::park_idle`].
    ///
    /// [`Session::park_idle`](crate::Session::park_idle) parks both directions.
    #[cfg(feature = "deflate")]
    pub fn park_idle(&mut self) -> bool {
        self.sender.park_idle()
    }

    /// Tells the connection the time, and nothing else; see [`Receiver::observe`].
    pub fn observe(&mut self, now: Instant) {
        self.receiver.observe(now);
    }

    /// Says that reading has paused, because the consumer is behind; see [`Receiver::pause`].
    pub fn pause(&mut self, now: Instant) {
        self.receiver.pause(now);
    }

    /// Since when a sign of life is due, if one is; see [`Receiver::awaits_pong_since`].
    pub fn awaits_pong_since(&self) -> Option<Instant> {
        self.receiver.awaits_pong_since()
    }

    /// Checks and drops data from now on; see [`Receiver::discard_data`].
    pub fn discard_data(&mut self) {
        self.receiver.discard_data();
    }

    /// While lingering: the maximum number of bytes to read; see [`Receiver::linger_room`].
    pub fn linger_room(&self) -> Option<usize> {
        self.receiver.linger_room()
    }

    /// Payload of the current frame that has not arrived; see [`Receiver::remaining`].
    pub fn remaining(&self) -> u64 {
        self.receiver.remaining()
    }

    /// Closes the gap inside a fragmented message at the front of `input`; see [`Receiver::compact`].
    pub fn compact(&mut self, input: &mut [u8]) -> usize {
        self.receiver.compact(input)
    }
}

impl Connection {
    fn new(role: Role, config: ConfigRef, now: Instant, seed: [u8; 32]) -> Self {
        Self { receiver: Receiver::new(role, config, now), sender: Sender::new(role, seed) }
    }

    #[inline(always)]
    pub(crate) fn small_frame(&mut self, now: Instant, input: &mut [u8]) -> Option<SmallFrame> {
        self.receiver.small_frame(now, input)
    }

    pub(crate) fn step(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure> {
        let step = self.receiver.step(now, input).inspect_err(|&failure| self.fail(failure))?;
        if matches!(step.found, Found::Ping | Found::Close { .. }) {
            self.answer(step, input);
        }
        Ok(step)
    }

    /// [`step`](Self::step) for a caller that cannot inflate: nothing may get lost silently.
    fn step_alone(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure> {
        let step = self.step(now, input)?;
        #[cfg(feature = "deflate")]
        if let Found::Deflated { .. } = step.found {
            return Err(self.refuse(now, Violation::InvalidDeflate));
        }
        Ok(step)
    }

    #[inline(never)]
    fn answer(&mut self, step: Step, input: &mut [u8]) {
        match receiver::event(step, input, false) {
            Some(Event::Ping(payload)) => self.sender.answer_ping(payload),
            Some(Event::Close(closed)) => self.sender.echo_close(closed.frame.map(|frame| frame.code)),
            _ => {}
        }
    }

    #[cold]
    fn fail(&mut self, failure: Failure) {
        if let Some(reply) = failure.reply() {
            self.sender.reply(reply);
        }
    }

    #[inline(never)]
    fn send_any(
        &mut self,
        kind: Kind,
        payload: &[u8],
        part: Part,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let result = self.sender.send_any(kind, payload, part, out);
        if self.sender.take_ping_left() {
            self.receiver.ping_left();
        }
        result
    }

    /// Fails the connection from our side of the buffer.
    pub(crate) fn refuse(&mut self, now: Instant, violation: Violation) -> Failure {
        let failure = self.receiver.refuse(now, violation);
        self.fail(failure);
        failure
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn has_live_deflate(&self) -> bool {
        self.sender.has_live_deflate()
    }

    /// The sending direction. Not public: what closes, sends or transmits there alone tells the timers nothing.
    #[cfg(feature = "deflate")]
    pub(crate) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    #[inline(always)]
    pub(crate) fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }
}

impl Failure {
    /// What the sending half of a split connection has to do about a failure; a [`Connection`] does it by itself.
    pub const fn reply(self) -> Option<Reply> {
        match self {
            Self::Violation(violation) => Some(Reply(Duty::Fail(violation))),
            Self::Timeout(_) | Self::Eof => None,
        }
    }
}

// What an idle connection costs.
const _: () = assert!(size_of::<Reply>() <= 128);
#[cfg(all(feature = "alloc", target_pointer_width = "64"))]
const _: () = assert!(size_of::<Connection>() <= 160);
