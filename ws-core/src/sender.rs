//! Messages to bytes: headers, masks, fragments, and the control frames that wait (RFC 6455, sections 5.2 to 5.5).
//!
//! Lengths are exact, so whether the output has room is decided before anything changes. What waits in the control
//! queue goes first, except that nothing gets between the fragments' frames themselves.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use crate::close::{CloseCode, CloseFrame};
use crate::config::Role;
use crate::control::ControlQueue;
use crate::copy::copy_short;
#[cfg(feature = "deflate")]
use crate::deflate::{Compress, Outflow};
use crate::error::{SendError, Violation};
use crate::event::{Event, Kind, Message, Part};
#[cfg(feature = "deflate")]
use crate::frame::RSV1;
use crate::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode};
use crate::keys::Keys;
use crate::mask;
#[cfg(feature = "alloc")]
use crate::prepared::Prepared;

/// What the receiving half obliges the sending half to do; at most 128 bytes, and `Copy`.
///
/// A [`Connection`](crate::Connection) passes it on by itself. Only the halves of a split one have to be told.
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
    /// What an event obliges the sending half to do, if anything.
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
    /// A close frame waits to leave: no data any more.
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
    /// What compresses, once that is agreed on.
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

    /// The fast path of [`send`](Sender::send), to be inlined where messages are handed on: a server's message below
    /// 64 KiB, uncompressed, with nothing before it, and there is room.
    ///
    /// `None` is no verdict, and nothing has changed: `send` goes rule by rule.
    #[inline(always)]
    pub fn send_small(&self, message: Message<'_>, out: &mut [u8]) -> Option<usize> {
        #[cfg(feature = "deflate")]
        let is_plain = self.keys.is_none() && self.outflow.is_none();
        #[cfg(not(feature = "deflate"))]
        let is_plain = self.keys.is_none();
        if !is_plain || self.state != State::Open || self.message.is_some() || self.pending > 0 {
            return None;
        }
        let payload = message.as_bytes();
        let first = match message.kind() {
            Kind::Text => 0x81,
            Kind::Binary => 0x82,
        };
        match payload.len() {
            len @ 0..=125 => {
                let (head, out) = out.get_mut(..len + 2)?.split_first_chunk_mut()?;
                *head = [first, len as u8];
                copy_short(payload, out);
                Some(len + 2)
            }
            len @ 126..=0xFFFF => {
                let (head, out) = out.get_mut(..len + 4)?.split_first_chunk_mut()?;
                let [high, low] = (len as u16).to_be_bytes();
                *head = [first, 126, high, low];
                out.copy_from_slice(payload);
                Some(len + 4)
            }
            _ => None,
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

    /// The header for a payload that the caller writes himself, vectored or masked in place.
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

    /// The frame of a message for many connections, to be written as it is; servers only.
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

    /// Whether [`prepared`](Sender::prepared) would lend the [plain](Prepared::plain) frame of any message now. Who writes
    /// that to many connections asks only this of each, and has sent it then.
    #[cfg(feature = "alloc")]
    #[inline]
    pub fn shares_plain(&self) -> bool {
        #[cfg(feature = "deflate")]
        if self.outflow.is_some() {
            return false;
        }
        self.keys.is_none() && self.state == State::Open && self.message.is_none() && self.sent == 0
    }

    /// Whether such a part of a message would be compressed.
    #[cfg(feature = "deflate")]
    #[inline]
    pub fn will_compress(&self, len: usize, part: Part) -> bool {
        self.outflow.as_ref().is_some_and(|outflow| outflow.takes(len, part))
    }

    /// Which of the messages from now on are compressed; without an agreement to permessage-deflate none is.
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: Compress) {
        if let Some(outflow) = &mut self.outflow {
            outflow.mode = compress;
        }
    }

    /// Whether a compressed message may refer to those before it: then none of them may be dropped on its way alone.
    #[cfg(feature = "deflate")]
    pub fn has_context(&self) -> bool {
        self.outflow.as_ref().is_some_and(|outflow| !outflow.forgets)
    }

    /// From here on nothing refers to what was encoded before: it may have been dropped instead of sent.
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        if let Some(outflow) = &mut self.outflow {
            outflow.deflater.forget();
        }
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn allow_deflate(&mut self, outflow: Outflow) {
        self.outflow = Some(Box::new(outflow));
    }

    /// Whether a live compressor is held.
    #[cfg(feature = "deflate")]
    pub fn has_live_deflate(&self) -> bool {
        self.outflow.as_ref().is_some_and(|outflow| outflow.deflater.is_live())
    }

    /// Parks the compressor if it was not used since the last call; whether it is still live. See
    /// [`Session::park_idle`](crate::Session::park_idle).
    #[cfg(feature = "deflate")]
    pub fn park_idle(&mut self) -> bool {
        self.outflow.as_mut().is_some_and(|outflow| outflow.park_idle())
    }

    /// 7692, 6.1: compresses the payload, and sets RSV1 on the first frame of the message.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    fn send_compressed(
        &mut self,
        opcode: Opcode,
        kind: Kind,
        payload: &[u8],
        part: Part,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let Some(outflow) = &mut self.outflow else {
            return self.send_plain(opcode, kind, payload, part, out);
        };
        let most = outflow.deflater.bound(payload.len());
        let head_most = Header::len_for(most as u64, self.keys.is_some());
        let needed = self.pending as usize + head_most + most;
        if out.len() < needed {
            return Err(SendError::NoSpace { needed });
        }
        let at = if self.pending > 0 { self.transmit(out) } else { 0 };
        let Some(out) = out.get_mut(at..) else { return Err(SendError::NoSpace { needed }) };
        let Some(outflow) = &mut self.outflow else { return Ok(at) };
        let Some(len) = outflow.deflate(payload, part, &mut out[head_most..]) else {
            return Err(SendError::NoSpace { needed });
        };
        // What did not shrink goes as it is, where the compressor keeps nothing of it.
        if part == Part::Whole && outflow.forgets && len > payload.len() {
            return Ok(at + self.send_plain(opcode, kind, payload, part, out)?);
        }
        let mut header = self.begin(opcode, kind, len as u64, part);
        header.rsv = if part.is_first() { RSV1 } else { 0 };
        let mut head = [0; MAX_HEADER];
        let head_len = header.encode(&mut head);
        out[..head_len].copy_from_slice(&head[..head_len]);
        // The header was not known before; a short one has its payload moved up.
        if head_len < head_most {
            out.copy_within(head_most..head_most + len, head_len);
        }
        if let Some(key) = header.mask {
            mask::mask(&mut out[head_len..head_len + len], key);
        }
        Ok(at + head_len + len)
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

    /// Queues a ping; [`transmit`](Sender::transmit) or the next message sends it.
    ///
    /// # Errors
    /// [`SendError::ControlTooLong`] for more than 125 bytes; [`SendError::ControlQueueFull`] when 64 control frames
    /// or 8 KiB of them wait (1 without an allocator); [`SendError::Closed`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.own_control(Opcode::Ping, payload)
    }

    /// Queues a pong that nobody asked for: a sign of life (section 5.5.3).
    ///
    /// # Errors
    /// As for [`Sender::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.own_control(Opcode::Pong, payload)
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

    /// Does what the receiving half was obliged to.
    pub fn reply(&mut self, reply: Reply) {
        match reply.0 {
            Duty::Pong { len, payload } => self.answer_ping(&payload[..usize::from(len)]),
            Duty::Ping => self.keepalive(),
            Duty::Echo(code) => self.echo_close(code),
            Duty::Fail(violation) => self.fail(violation),
        }
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

    /// The transport is gone: nothing more is taken. What waits may still be transmitted.
    pub fn stop(&mut self) {
        if self.state == State::Open {
            self.state = State::Closed;
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

    /// Whether a part of this kind may be sent now: `Whole` for a message.
    ///
    /// # Errors
    /// What [`send_part`](Sender::send_part) would say of it, but for [`SendError::NoSpace`].
    #[inline]
    pub fn accepts(&self, kind: Kind, part: Part) -> Result<(), SendError> {
        self.check(kind, part).map(drop)
    }

    /// Whether a message is open for more parts: none but these, and control frames, can be sent meanwhile.
    #[inline]
    pub fn has_open_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether a keepalive ping has left since this was last asked; the receiving half wants to know
    /// ([`Receiver::ping_left`](crate::Receiver::ping_left)).
    #[inline]
    pub fn take_ping_left(&mut self) -> bool {
        core::mem::take(&mut self.ping_left)
    }
}
