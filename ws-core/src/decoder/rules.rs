//! The rules that a header breaks or keeps beside those of a single frame: order, side, limits (RFC 6455, sections 5 and
//! 10.4).

use super::{Decoder, State};
use crate::close::CloseCode;
use crate::config::{Config, Delivery, Role};
use crate::error::Violation;
use crate::frame::{First, MAX_CONTROL, Opcode, RSV1, Second};
use crate::mask;
use crate::utf8::Utf8Validator;

/// The largest message held whole: its buffer, at most twice as large with the gap, is counted in 32 bits.
const MAX_WHOLE: u64 = if usize::BITS < 64 { (usize::MAX / 4) as u64 } else { (u32::MAX / 2 - 1024) as u64 };

impl Decoder {
    /// What the first byte decides: reserved bits and the order of fragments.
    #[inline]
    pub(super) fn check_first(&self, config: &Config, first: First) -> Result<(), Violation> {
        // 5.2: RSV bits "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values".
        // 7692, 6: RSV1 is set "on the first frame" of a compressed message, and on no other.
        let may_be_deflated = self.deflate && matches!(first.opcode, Opcode::Text | Opcode::Binary);
        if first.rsv != 0 && !(may_be_deflated && first.rsv == RSV1) {
            return Err(Violation::ReservedBit);
        }
        match (first.opcode, self.state) {
            (Opcode::Continuation, State::Ready) => Err(Violation::UnexpectedContinuation),
            (Opcode::Continuation, _) if self.fragments >= config.limits.max_fragments => {
                Err(Violation::TooManyFragments)
            }
            // 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
            (Opcode::Text | Opcode::Binary, State::Between) => Err(Violation::ContinuationExpected),
            _ => Ok(()),
        }
    }

    /// What the second byte decides: the mask bit, and lengths that no rule allows.
    #[inline]
    pub(super) fn check_second(
        &self,
        config: &Config,
        first: First,
        second: Second,
    ) -> Result<(), Violation> {
        // 5.1: "The server MUST close the connection upon receiving a frame that is not masked", and
        // "A client MUST close a connection if it detects a masked frame".
        match (self.role, second.masked) {
            (Role::Server, false) => return Err(Violation::UnmaskedFrame),
            (Role::Client, true) => return Err(Violation::MaskedFrame),
            _ => {}
        }
        if first.opcode == Opcode::Close && second.len7 == 1 {
            return Err(Violation::CloseBodyOfOneByte);
        }
        // An empty message in one frame has no fragments.
        let is_fragment = !(first.opcode.is_control() || first.fin && self.state == State::Ready);
        let before = if self.state == State::Ready { 0 } else { self.empty_fragments };
        if is_fragment && second.len7 == 0 && before >= config.limits.max_empty_fragments {
            return Err(Violation::TooManyEmptyFragments);
        }
        Ok(())
    }

    /// What the length decides, or the smallest one that it can still become.
    #[inline]
    pub(super) fn check_len(&self, config: &Config, len: u64, deflated: bool) -> Result<(), Violation> {
        let before = if self.state == State::Ready { 0 } else { self.total };
        // The limits mean what is inflated, which is counted as it is. What does not compress takes a little more.
        // So does each part that its sender flushed.
        let parts = if self.state == State::Ready { 1 } else { u64::from(self.fragments) + 1 };
        let most = |limit: u64| match deflated {
            true => limit.saturating_add((limit >> 3) + (limit >> 6)).saturating_add(64 * parts),
            false => limit,
        };
        if len > most(config.limits.max_frame) {
            return Err(Violation::FrameTooBig);
        }
        let total = before.checked_add(len).ok_or(Violation::MessageTooBig)?;
        // A message that is held whole must be addressable, gaps included.
        let whole = config.delivery == Delivery::Whole && !self.muted && !deflated;
        if total > most(config.limits.max_message) || whole && total > MAX_WHOLE {
            return Err(Violation::MessageTooBig);
        }
        Ok(())
    }
}

/// Judges the first bytes of a close frame's body as far as they decide.
pub(super) fn check_close_so_far(body: &[u8], key: [u8; 4]) -> Result<(), Violation> {
    let mut plain = [0; MAX_CONTROL];
    let len = body.len().min(MAX_CONTROL);
    mask::mask_copy(&body[..len], &mut plain[..len], key);
    let Some((code, reason)) = plain[..len].split_first_chunk() else { return Ok(()) };
    if !CloseCode(u16::from_be_bytes(*code)).may_travel() {
        return Err(Violation::InvalidCloseCode);
    }
    Utf8Validator::new().feed(reason).map_err(|_| Violation::InvalidUtf8)
}
