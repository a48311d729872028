//! The fast path: whole messages in small frames, as most are.

use super::{Decoder, Found, State};
use crate::config::Role;
use crate::mask;
use crate::utf8;

/// A whole message in a small frame: it ends what is consumed.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub, reason = "a sealed trait names it")]
pub struct SmallFrame {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) is_text: bool,
}

impl SmallFrame {
    #[inline(always)]
    pub(crate) fn found(self) -> Found {
        if self.is_text { Found::Text { fresh: true } } else { Found::Binary }
    }
}

impl Decoder {
    /// The fast path: an unfragmented data frame of at most 64 KiB, all of it there, between messages.
    ///
    /// `None` is no verdict, and nothing has changed: whatever is unusual is looked at by [`step`](Self::step), rule by
    /// rule. It is inlined into the caller and answers in three words, because a whole [`Step`](super::Step) costs more to
    /// hand up than a small frame to decode.
    #[inline(always)]
    pub(crate) fn small_frame(&mut self, input: &mut [u8]) -> Option<SmallFrame> {
        if self.state != State::Ready {
            return None;
        }
        let &[b0, b1, b2, b3, ..] = &*input else { return None };
        let is_text = b0 == 0x81;
        if !is_text && b0 != 0x82 || (b1 & 0x80 != 0) != (self.role == Role::Server) {
            return None;
        }
        match b1 & 0x7F {
            127 => None,
            126 => match u16::from_be_bytes([b2, b3]) {
                0..=125 => None,
                len => self.whole_frame(input, 4, usize::from(len), is_text),
            },
            len => self.whole_frame(input, 2, usize::from(len), is_text),
        }
    }

    /// The rest of [`small_frame`](Self::small_frame), for either form of the length: inlined twice, long and short
    /// payloads need not be told apart again where they are unmasked and validated.
    #[inline(always)]
    fn whole_frame(
        &self,
        input: &mut [u8],
        mut start: usize,
        len: usize,
        is_text: bool,
    ) -> Option<SmallFrame> {
        if len >= self.quick as usize {
            return None;
        }
        let mut key = [0; 4];
        if self.role == Role::Server {
            key = *input.get(start..)?.first_chunk()?;
            start += 4;
        }
        let end = start + len;
        let payload = input.get_mut(start..end)?;
        if self.role == Role::Server {
            mask::mask(payload, key);
        }
        if is_text && utf8::validate(payload).is_err() {
            mask_again(payload, key);
            return None;
        }
        Some(SmallFrame { start, end, is_text })
    }
}

/// Leaves a payload as it came.
#[cold]
#[inline(never)]
fn mask_again(payload: &mut [u8], key: [u8; 4]) {
    mask::mask(payload, key);
}
