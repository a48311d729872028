//! Methods of a sender that only adapters need.

use super::{Sender, State};
use crate::copy::copy_short;
use crate::error::SendError;
use crate::event::{Kind, Message, Part};

/// For adapters: the short way for small messages, what may be sent now, and what the receiving half or a pool needs.
impl Sender {
    /// Encodes a message by the fast path of [`send`](Sender::send), to be inlined where messages are handed on: a
    /// server's message below 64 KiB, uncompressed, with nothing before it, and with room in `out`.
    ///
    /// `None` is no verdict, and nothing has changed: ask `send`, which goes rule by rule.
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

    /// Whether [`prepared`](Sender::prepared) would lend the [plain](crate::Prepared::plain) frame of any message now. A
    /// loop that writes that frame to many connections asks only this of each; writing it then counts as sending it.
    #[cfg(feature = "alloc")]
    #[inline]
    pub fn shares_plain(&self) -> bool {
        #[cfg(feature = "deflate")]
        if self.outflow.is_some() {
            return false;
        }
        self.keys.is_none() && self.state == State::Open && self.message.is_none() && self.sent == 0
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

    /// Whether such a part of a message would be compressed.
    #[cfg(feature = "deflate")]
    #[inline]
    pub fn will_compress(&self, len: usize, part: Part) -> bool {
        self.outflow.as_ref().is_some_and(|outflow| outflow.takes(len, part))
    }

    /// Whether a compressed message may refer to those before it: then none of them may be dropped by itself.
    #[cfg(feature = "deflate")]
    pub fn has_context(&self) -> bool {
        self.outflow.as_ref().is_some_and(|outflow| !outflow.forgets)
    }

    /// Makes the next message refer to nothing before it: what was encoded may then be dropped instead of sent.
    #[cfg(feature = "deflate")]
    pub fn forget_context(&mut self) {
        if let Some(outflow) = &mut self.outflow {
            outflow.deflater.forget();
        }
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

    /// Whether a keepalive ping has left since the last call; then tell the receiving half by
    /// [`Receiver::ping_left`](crate::Receiver::ping_left).
    #[inline]
    pub fn take_ping_left(&mut self) -> bool {
        core::mem::take(&mut self.ping_left)
    }

    /// Says that the transport is gone: nothing more is taken. What waits may still be transmitted.
    pub fn stop(&mut self) {
        if self.state == State::Open {
            self.state = State::Closed;
        }
    }
}
