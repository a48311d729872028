//! Messages to bytes: headers, masks, fragments, and the control frames that wait (RFC 6455, sections 5.2 to 5.5).
//!
//! Lengths are exact, so whether the output has room is decided before anything changes. What waits in the control
//! queue goes first, except that nothing gets between the fragments' frames themselves.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use crate::close::{CloseCode, CloseFrame};
use crate::config::Role;
use crate::control::ControlQueue;
#[cfg(feature = "deflate")]
use crate::deflate::{Compress, Outflow};
use crate::error::{SendError, Violation};
use crate::event::{Event, Kind, Message, Part};
use crate::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode};
use crate::keys::Keys;
use crate::mask;
#[cfg(feature = "alloc")]
use crate::prepared::Prepared;

mod adapters;
#[cfg(feature = "deflate")]
mod compressed;

/// A duty that the receiving half hands to the sending half, such as a pong; `Copy`, and at most 128 bytes.
///
/// A [`Connection`](crate::Connection) passes it on by itself. With the halves of a split one, the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply(pub(crate) Duty);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    Pong { len: u8, payload: [u8; MAX_CONTROL] },
    Ping,
    Echo(Option<CloseCode>),
    Fail(Violation),
}

impl Reply {
    /// What the sending half has to do about an event, if anything.
    pub(crate) fn to(event: &Event<'_>) -> Option<Self> {
        match event {
            Event::Ping(ping) => {
                let mut payload = [0; MAX_CONTROL];
                payload.get_mut(..ping.len())?.copy_from_slice(ping);
                Some(Self(Duty::Pong { len: ping.len() as u8, payload }))
            }
            Event::Close(closed) => Some(Self(Duty::Echo(closed.frame.map(|frame| frame.code)))),
            _ => None,
        }
    }
}

/// Whether the close frame is still to come, waits, or has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame waits to leave: no more data.
    Closing,
    /// It has left.
    Closed,
}

/// The sending direction of a connection.
#[derive(Debug)]
pub struct Sender {
    /// A client's source of mask keys; a server has none.
    #[cfg(feature = "alloc")]
    keys: Option<Box<Keys>>,
    #[cfg(not(feature = "alloc"))]
    keys: Option<Keys>,
    /// The compressor, once permessage-deflate is agreed on.
    #[cfg(feature = "deflate")]
    outflow: Option<Box<Outflow>>,
    queue: ControlQueue,
    /// What `transmit` would write, in bytes.
    pending: u32,
    /// How much of the front control frame has left, a client's under the key that `keys` holds.
    sent: u8,
    state: State,
    /// The message that is open for more fragments.
    message: Option<Kind>,
    ping_left: bool,
}

impl Sender {
    /// Encodes a message into `out` and returns how many bytes that took, pending control frames included.
    ///
    /// # Errors
    /// [`SendError::Closed`] after a close frame was queued; [`SendError::MessageOpen`] inside a fragmented message;
    /// [`SendError::NoSpace`] when `out` is too short. In each case nothing was written and nothing changed.
    #[inline(always)]
    pub fn send(&mut self, message: Message<'_>, out: &mut [u8]) -> Result<usize, SendError> {
        match self.send_small(message, out) {
            Some(n) => Ok(n),
            None => self.send_any(message.kind(), message.as_bytes(), Part::Whole, out),
        }
    }

    /// Encodes a part of a message into `out`, as [`Sender::send`] does a whole one (section 5.4).
    ///
    /// The parts of a text message may be cut anywhere between two characters. Control frames may go between them.
    ///
    /// # Errors
    /// As for `send`, and [`SendError::NoMessageOpen`] for a middle or last part without a first one of its kind.
    #[inline]
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

    /// Queues a ping; [`transmit`](Sender::transmit) or the next message sends it.
    ///
    /// # Errors
    /// [`SendError::ControlTooLong`] for more than 125 bytes; [`SendError::ControlQueueFull`] when 64 pings and
    /// pongs or 8 KiB of them wait (1 without an allocator); [`SendError::Closed`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.own_control(Opcode::Ping, payload)
    }

    /// Queues an unsolicited pong: a sign of life (section 5.5.3).
    ///
    /// It may never leave: when 64 pings and pongs or 8 KiB of them wait (1 without an allocator), the pong for the peer's
    /// next ping replaces all pongs before it, this one included.
    ///
    /// # Errors
    /// As for [`Sender::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.own_control(Opcode::Pong, payload)
    }

    /// Queues our close frame: after it no data is sent. Tell the receiving half by
    /// [`Receiver::closing`](crate::Receiver::closing).
    ///
    /// # Errors
    /// [`SendError::UnsendableCode`], [`SendError::ReasonTooLong`]; [`SendError::Closed`] when a close frame was queued
    /// before, also as the answer to the peer's.
    pub fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), SendError> {
        if let Some(frame) = &frame {
            frame.check()?;
        }
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        match frame {
            Some(frame) => self.queue_close(Some(frame.code), frame.reason),
            None => self.queue_close(None, ""),
        }
        Ok(())
    }

    /// Does what the receiving half has found to be due.
    pub fn reply(&mut self, reply: Reply) {
        match reply.0 {
            Duty::Pong { len, payload } => self.answer_ping(&payload[..usize::from(len)]),
            Duty::Ping => self.keepalive(),
            Duty::Echo(code) => self.echo_close(code),
            Duty::Fail(violation) => self.fail(violation),
        }
    }

    /// Writes control frames that wait into `out` and returns how many bytes that took; 0 when there is nothing to say.
    ///
    /// With a short `out` a frame may leave in parts; the rest goes first, whatever is called next.
    pub fn transmit(&mut self, out: &mut [u8]) -> usize {
        let mut at = 0;
        while at < out.len() {
            let Some(front) = self.queue.front() else { break };
            let begins = self.sent == 0;
            let mask = self.keys.as_mut().map(|keys| {
                if begins {
                    keys.hold();
                }
                keys.held()
            });
            let len = front.payload.len();
            let header = Header { fin: true, rsv: 0, opcode: front.opcode, mask, len: len as u64 };
            let mut frame = [0; MAX_HEADER + MAX_CONTROL];
            let mut head = [0; MAX_HEADER];
            let head_len = header.encode(&mut head);
            let total = head_len + len;
            frame[..head_len].copy_from_slice(&head[..head_len]);
            mask::mask_copy(front.payload, &mut frame[head_len..total], mask.unwrap_or_default());

            let rest = &frame[usize::from(self.sent)..total];
            let n = rest.len().min(out.len() - at);
            out[at..at + n].copy_from_slice(&rest[..n]);
            at += n;
            self.pending -= n as u32;
            if n < rest.len() {
                self.sent += n as u8;
                break;
            }
            self.sent = 0;
            self.ping_left |= front.keepalive;
            if front.opcode == Opcode::Close {
                self.state = State::Closed;
            }
            self.queue.pop();
        }
        at
    }

    /// How many bytes [`transmit`](Sender::transmit) has to write.
    #[inline]
    pub fn pending(&self) -> usize {
        self.pending as usize
    }

    /// Whether messages may still be sent.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Makes the header for a payload that the caller writes itself, vectored or masked in place.
    ///
    /// The frame counts as sent: header and payload, masked with the header's key if it has one, must follow whatever
    /// was encoded before, with nothing in between. Control frames that wait go first, through
    /// [`transmit`](Sender::transmit), or after it.
    ///
    /// # Errors
    /// As for [`Sender::send_part`]; [`SendError::ControlFrameCut`] when the last `transmit` left half a frame behind.
    pub fn frame_header(&mut self, kind: Kind, len: u64, part: Part) -> Result<Header, SendError> {
        let opcode = self.check(kind, part)?;
        #[cfg(feature = "deflate")]
        if !part.is_first() && self.outflow.as_ref().is_some_and(|outflow| outflow.open) {
            return Err(SendError::Compressed);
        }
        if self.sent > 0 {
            return Err(SendError::ControlFrameCut);
        }
        // 5.2: the most significant bit of a 64-bit length "MUST be 0".
        if len >> 63 != 0 {
            return Err(SendError::FrameTooLong);
        }
        Ok(self.begin(opcode, kind, len, part))
    }

    /// Returns the frame of a message for many connections, to be written as it is; servers only.
    ///
    /// It counts as sent, as after [`frame_header`](Sender::frame_header): all of it must follow whatever was encoded
    /// before, with nothing in between. Control frames that wait are not in it: they leave by
    /// [`transmit`](Sender::transmit) before or after it, or with the next message.
    ///
    /// It is compressed where [`send`](Sender::send) would compress such a message
    #[cfg_attr(feature = "deflate", doc = "([`will_compress`](Sender::will_compress)),")]
    #[cfg_attr(not(feature = "deflate"), doc = "(feature `deflate`),")]
    /// unless it does not shrink by that. A compressor with context takeover then starts anew: its next message refers to
    /// nothing before it. Where broadcasts and a connection's own messages alternate, the latter shrink less.
    ///
    /// # Errors
    /// [`SendError::Unmasked`] for a client, which [sends](Sender::send) the [`message`](Prepared::message) instead;
    /// [`SendError::Closed`], [`SendError::MessageOpen`], [`SendError::ControlFrameCut`] as for `frame_header`.
    #[cfg(feature = "alloc")]
    pub fn prepared<'p>(&mut self, prepared: &'p Prepared) -> Result<&'p [u8], SendError> {
        if self.keys.is_some() {
            return Err(SendError::Unmasked);
        }
        self.check(prepared.kind(), Part::Whole)?;
        if self.sent > 0 {
            return Err(SendError::ControlFrameCut);
        }
        #[cfg(feature = "deflate")]
        if let Some(frame) = self.outflow.as_mut().and_then(|outflow| outflow.share(prepared)) {
            return Ok(frame);
        }
        Ok(prepared.plain())
    }

    /// Sets which messages are compressed from now on; without an agreement to permessage-deflate none is.
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: Compress) {
        if let Some(outflow) = &mut self.outflow {
            outflow.mode = compress;
        }
    }
}

impl Sender {
    pub(crate) fn new(role: Role, seed: [u8; 32]) -> Self {
        let keys = match role {
            Role::Server => None,
            #[cfg(feature = "alloc")]
            Role::Client => Some(Box::new(Keys::new(seed))),
            #[cfg(not(feature = "alloc"))]
            Role::Client => Some(Keys::new(seed)),
        };
        Self {
            keys,
            #[cfg(feature = "deflate")]
            outflow: None,
            queue: ControlQueue::new(),
            pending: 0,
            sent: 0,
            state: State::Open,
            message: None,
            ping_left: false,
        }
    }

    #[inline(never)]
    pub(crate) fn send_any(
        &mut self,
        kind: Kind,
        payload: &[u8],
        part: Part,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let opcode = self.check(kind, part)?;
        #[cfg(feature = "deflate")]
        if self.will_compress(payload.len(), part) {
            return self.send_compressed(opcode, kind, payload, part, out);
        }
        self.send_plain(opcode, kind, payload, part, out)
    }

    #[inline(always)]
    fn send_plain(
        &mut self,
        opcode: Opcode,
        kind: Kind,
        payload: &[u8],
        part: Part,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let len = Header::len_for(payload.len() as u64, self.keys.is_some()) + payload.len();
        let needed = self.pending as usize + len;
        if out.len() < needed {
            return Err(SendError::NoSpace { needed });
        }
        let at = if self.pending > 0 { self.transmit(out) } else { 0 };
        let header = self.begin(opcode, kind, payload.len() as u64, part);
        let Some(out) = out.get_mut(at..at + len) else { return Err(SendError::NoSpace { needed }) };
        let head_len = match out.first_chunk_mut() {
            Some(head) => header.encode(head),
            None => {
                let mut head = [0; MAX_HEADER];
                let head_len = header.encode(&mut head);
                out[..head_len].copy_from_slice(&head[..head_len]);
                head_len
            }
        };
        let payload_out = &mut out[head_len..];
        match header.mask {
            Some(key) => mask::mask_copy(payload, payload_out, key),
            None => payload_out.copy_from_slice(payload),
        }
        Ok(at + len)
    }

    /// Whether a part of this kind may be sent now, and under which opcode.
    #[inline]
    fn check(&self, kind: Kind, part: Part) -> Result<Opcode, SendError> {
        // 5.5.1: an endpoint "MUST NOT send any more data frames after sending a Close frame".
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        match (self.message, part.is_first()) {
            (None, true) => Ok(match kind {
                Kind::Text => Opcode::Text,
                Kind::Binary => Opcode::Binary,
            }),
            (Some(_), true) => Err(SendError::MessageOpen),
            (Some(open), false) if open == kind => Ok(Opcode::Continuation),
            (_, false) => Err(SendError::NoMessageOpen),
        }
    }

    #[inline]
    fn begin(&mut self, opcode: Opcode, kind: Kind, len: u64, part: Part) -> Header {
        self.message = if part.is_last() { None } else { Some(kind) };
        Header { fin: part.is_last(), rsv: 0, opcode, mask: self.next_key(), len }
    }

    /// 5.3: "a fresh masking key" for each frame, "from the set of allowed 32-bit values".
    #[inline]
    fn next_key(&mut self) -> Option<[u8; 4]> {
        Some(self.keys.as_mut()?.draw())
    }

    fn own_control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > MAX_CONTROL {
            return Err(SendError::ControlTooLong);
        }
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        if !self.queue.push_own(opcode, payload) {
            return Err(SendError::ControlQueueFull);
        }
        self.recount();
        Ok(())
    }

    /// 5.5.2: "an endpoint MUST send a Pong frame in response, unless it already received a Close frame".
    pub(crate) fn answer_ping(&mut self, payload: &[u8]) {
        self.queue.push_pong(payload, self.sent > 0);
        self.recount();
    }

    pub(crate) fn keepalive(&mut self) {
        if self.state == State::Open {
            self.queue.push_keepalive();
            self.recount();
        }
    }

    /// 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it received."
    pub(crate) fn echo_close(&mut self, code: Option<CloseCode>) {
        if self.state == State::Open {
            self.queue_close(code, "");
        }
    }

    /// 7.1.7: an endpoint that fails a connection "SHOULD send a Close frame with an appropriate status code".
    pub(crate) fn fail(&mut self, violation: Violation) {
        if self.state == State::Open {
            self.queue_close(Some(violation.close_code()), violation.reason());
        }
    }

    fn queue_close(&mut self, code: Option<CloseCode>, reason: &str) {
        match code {
            Some(code) => self.queue.push_close(&code.0.to_be_bytes(), reason.as_bytes()),
            None => self.queue.push_close(&[], &[]),
        }
        self.state = State::Closing;
        self.recount();
    }

    fn recount(&mut self) {
        self.pending = self.queue.wire_len(self.keys.is_some()) as u32 - u32::from(self.sent);
    }
}
