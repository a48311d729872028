//! Bytes to spans: where in the caller's buffer the next event stands (RFC 6455, sections 5 and 8.1).
//!
//! The decoder owns no bytes. It is shown everything that it has not yet consumed, from the first such byte on, and
//! edits it in place. Between two calls that buffer looks like this:
//!
//! ```text
//! | held            | gap                    | not looked at yet ...
//!   message so far,   headers and control      ^ header, or more payload
//!   unmasked, valid   frames that are done
//! ```
//!
//! An unfragmented message has no gap: its header is consumed before its payload, and the event is the payload where
//! it arrived. A fragment's payload moves left over the gap while it is unmasked. When the gap has grown as large as
//! the message so far, the message moves right and the gap is consumed, so that each byte moves a constant number of
//! times on average and the buffer holds at most twice the message, however many pings and empty fragments come.

use crate::close::CloseFrame;
use crate::config::{Config, Delivery, Role};
use crate::error::Violation;
use crate::event::Kind;
use crate::frame::{First, Opcode, Second};
use crate::mask;
use crate::utf8::Utf8Validator;

mod rules;
mod small;

pub(crate) use small::SmallFrame;

use rules::check_close_so_far;

/// What one call found.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub, reason = "a sealed trait names it")]
pub struct Step {
    /// Bytes from the front of the input that need not be shown again.
    pub(crate) consumed: usize,
    /// Where `found` stands in the input: also within what is consumed.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// With nothing found: how much unconsumed input the next progress takes; always more than there is.
    pub(crate) need: usize,
    pub(crate) found: Found,
}

impl Step {
    pub(crate) const NOTHING: Self = Self { consumed: 0, start: 0, end: 0, need: 0, found: Found::Nothing };

    /// Becomes that frame; `need` stays, which has no meaning beside an event.
    #[inline(always)]
    pub(crate) fn take(&mut self, frame: SmallFrame) {
        self.consumed = frame.end;
        self.start = frame.start;
        self.end = frame.end;
        self.found = frame.found();
    }
}

/// The kind of thing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// `fresh`: all of it was validated in this very call, so that nobody can have changed it since.
    Text {
        fresh: bool,
    },
    Binary,
    Chunk {
        kind: Kind,
        first: bool,
        last: bool,
        fresh: bool,
    },
    /// Payload of a compressed message, for the caller to inflate.
    #[cfg(feature = "deflate")]
    Deflated {
        kind: Kind,
        first: bool,
        last: bool,
    },
    /// What was inflated stands elsewhere.
    #[cfg(feature = "deflate")]
    Inflated,
    Ping,
    Pong,
    Close {
        interrupted: bool,
    },
}

/// A text of which the first `held` bytes stand at the front of the input: another decoder that has validated as many
/// bytes and is in the same state may go on in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextSoFar {
    held: u32,
    utf8: Utf8Validator,
}

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages; nothing is held.
    Ready,
    /// Between two frames of a message.
    Between,
    /// In the payload of a data frame.
    Payload,
    /// The peer's close frame came; what follows is discarded (5.5.1).
    Closed,
    /// The peer broke a rule; what follows is discarded (7.1.7).
    Failed,
}

/// The receiving state machine: frames, fragments, limits, text.
///
/// ```text
///             data header              last byte, not FIN
///   Ready ------------------> Payload -------------------> Between
///     ^                        |   ^                          |
///     |     last byte, FIN     |   |   continuation header    |
///     +------------------------+   +--------------------------+
///
///   any of them -- Close frame --> Closed      any of them -- violation --> Failed
///   control frames leave the state as it is
/// ```
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Payload of the current frame that has not arrived.
    remaining: u64,
    /// Payload of the current message, announced by its headers so far.
    total: u64,
    utf8: Utf8Validator,
    /// Key of the current frame, turned so that it fits the next byte; zero if unmasked.
    key: [u8; 4],
    held: u32,
    gap: u32,
    fragments: u32,
    empty_fragments: u32,
    /// Frames shorter than this are within every limit, and reported whole; zero: look at each.
    quick: u32,
    state: State,
    kind: Kind,
    role: Role,
    /// Whether the current frame ends its message.
    fin: bool,
    /// Whether nothing of the current message has been reported.
    first: bool,
    /// Whether data is checked and dropped instead of reported (X-12).
    muted: bool,
    /// Whether messages may come compressed, which their first frame says by RSV1 (RFC 7692, section 6).
    deflate: bool,
    /// Whether the current one is.
    deflated: bool,
}

impl Decoder {
    pub(crate) fn new(role: Role, config: &Config) -> Self {
        let limit = config.limits.max_frame.min(config.limits.max_message);
        Self {
            remaining: 0,
            total: 0,
            utf8: Utf8Validator::new(),
            key: [0; 4],
            held: 0,
            gap: 0,
            fragments: 0,
            empty_fragments: 0,
            quick: if config.delivery == Delivery::Whole { limit.min(0xFFFF) as u32 + 1 } else { 0 },
            state: State::Ready,
            kind: Kind::Binary,
            role,
            fin: false,
            first: true,
            muted: false,
            deflate: false,
            deflated: false,
        }
    }

    /// From now on messages may come compressed.
    #[cfg(feature = "deflate")]
    pub(crate) fn allow_deflate(&mut self) {
        self.deflate = true;
    }

    /// Whether frames are still taken.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed | State::Failed)
    }

    /// Whether nothing is held, and the next byte begins a message or a control frame.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        self.state == State::Ready && self.held == 0 && self.gap == 0
    }

    /// Whether the peer's close frame came.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Payload that the current data frame still owes.
    pub(crate) fn remaining(&self) -> u64 {
        if self.state == State::Payload { self.remaining } else { 0 }
    }

    /// The text that is held at the front of the input, if there is one.
    #[inline(always)]
    pub(crate) fn text_so_far(&self) -> Option<TextSoFar> {
        let is_text = self.held > 0 && self.kind == Kind::Text;
        is_text.then_some(TextSoFar { held: self.held, utf8: self.utf8 })
    }

    /// From now on discards everything.
    pub(crate) fn fail(&mut self) {
        self.state = State::Failed;
    }

    /// From now on checks data without reporting it.
    pub(crate) fn mute(&mut self) {
        self.muted = true;
        self.quick = 0;
    }

    /// Whether data is dropped instead of reported.
    #[cfg(feature = "deflate")]
    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Every rule, at the byte that decides.
    pub(crate) fn step(&mut self, config: &Config, input: &mut [u8]) -> Result<Step, Violation> {
        let result = self.walk(config, input);
        if result.is_err() {
            // 7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a responding Close
            // frame) from the remote endpoint after being instructed to _Fail the WebSocket Connection_".
            self.state = State::Failed;
        }
        result
    }

    fn walk(&mut self, config: &Config, input: &mut [u8]) -> Result<Step, Violation> {
        // Bytes held from an earlier call were in the caller's hands since.
        let fresh = self.held == 0;
        let mut base = 0;
        loop {
            if !self.is_open() {
                return Ok(Step { consumed: input.len(), start: 0, end: 0, need: 1, found: Found::Nothing });
            }
            if self.gap >= self.held {
                base += self.close_gap(input.get_mut(base..).unwrap_or_default());
            }
            let progress = if self.state == State::Payload {
                self.payload(config, input, &mut base, fresh)?
            } else {
                self.header(config, input, &mut base)?
            };
            match progress {
                Progress::On => {}
                Progress::Found(step) => return Ok(step),
                Progress::Need(more) => {
                    // Counted from the end of what is held and gone over.
                    let need = (self.held + self.gap) as usize + more;
                    let have = input.len().saturating_sub(base);
                    return Ok(Step {
                        consumed: base.min(input.len()),
                        start: 0,
                        end: 0,
                        need: need.max(have + 1),
                        found: Found::Nothing,
                    });
                }
            }
        }
    }

    pub(crate) fn gap(&self) -> usize {
        self.gap as usize
    }

    /// Moves the message so far to the right, over the gap, and returns how many bytes at the front are free by that.
    pub(crate) fn close_gap(&mut self, work: &mut [u8]) -> usize {
        let (held, gap) = (self.held as usize, self.gap as usize);
        if gap == 0 || work.len() < held + gap {
            return 0;
        }
        work.copy_within(..held, gap);
        self.gap = 0;
        gap
    }

    /// Moves what stands behind the gap to the left, over it, and returns how many bytes at the end are free by that.
    ///
    /// Where nothing more can happen without more bytes, that is half a header or half a control frame at the most.
    pub(crate) fn fill_gap(&mut self, work: &mut [u8]) -> usize {
        let (held, gap) = (self.held as usize, self.gap as usize);
        if work.len() < held + gap {
            return 0;
        }
        work.copy_within(held + gap.., held);
        self.gap = 0;
        gap
    }

    /// Takes what has arrived of a data frame's payload.
    fn payload(
        &mut self,
        config: &Config,
        input: &mut [u8],
        base: &mut usize,
        fresh: bool,
    ) -> Result<Progress, Violation> {
        let (held, gap) = (self.held as usize, self.gap as usize);
        let Some(work) = input.get_mut(*base..) else { return Ok(Progress::Need(1)) };
        let at = held + gap;
        let there = work.len().saturating_sub(at);
        let n = usize::try_from(self.remaining).map_or(there, |remaining| remaining.min(there));
        if n == 0 && self.remaining > 0 {
            return Ok(Progress::Need(1));
        }
        match self.role {
            Role::Server => {
                mask::mask_within(work, at..at + n, held, self.key);
                self.key = mask::rotate(self.key, n);
            }
            Role::Client if gap > 0 => work.copy_within(at..at + n, held),
            Role::Client => {}
        }
        // Checked while it is hot, and before the rest is waited for (8.1).
        if self.kind == Kind::Text && !self.deflated && self.utf8.feed(&work[held..held + n]).is_err() {
            return Err(Violation::InvalidUtf8);
        }
        let whole = config.delivery == Delivery::Whole && !self.muted && !self.deflated;
        if whole {
            self.held += n as u32;
        }
        self.remaining -= n as u64;
        let last = self.fin && self.remaining == 0;
        if self.remaining == 0 {
            self.state = if last { State::Ready } else { State::Between };
        }
        if last && self.kind == Kind::Text && !self.deflated && self.utf8.finish().is_err() {
            return Err(Violation::InvalidUtf8);
        }
        if whole && !last {
            return Ok(Progress::On);
        }
        // In parts, a character whose end has not arrived stays behind.
        let carry = if self.kind == Kind::Text && !self.deflated { self.utf8.pending() } else { 0 };
        let len = held + n - carry;
        let (start, end) = (*base, *base + len);
        *base = end;
        self.held = carry as u32;
        if carry == 0 {
            *base += gap;
            self.gap = 0;
        }
        if self.muted || (len == 0 && !last) {
            return Ok(Progress::On);
        }
        let found = if whole {
            if self.kind == Kind::Text { Found::Text { fresh } } else { Found::Binary }
        } else {
            let first = core::mem::replace(&mut self.first, false);
            #[cfg(feature = "deflate")]
            if self.deflated {
                let found = Found::Deflated { kind: self.kind, first, last };
                return Ok(Progress::Found(Step { consumed: *base, start, end, need: 0, found }));
            }
            Found::Chunk { kind: self.kind, first, last, fresh }
        };
        Ok(Progress::Found(Step { consumed: *base, start, end, need: 0, found }))
    }

    /// Takes a frame's header, and the whole of a control frame.
    fn header(&mut self, config: &Config, input: &mut [u8], base: &mut usize) -> Result<Progress, Violation> {
        let at = *base + (self.held + self.gap) as usize;
        let Some(frame) = input.get_mut(at..) else { return Ok(Progress::Need(1)) };
        let Some(&byte) = frame.first() else { return Ok(Progress::Need(2)) };
        let first = First::decode(byte)?;
        self.check_first(config, first)?;
        let Some(&byte) = frame.get(1) else { return Ok(Progress::Need(2)) };
        let second = Second::decode(first.opcode, byte)?;
        self.check_second(config, first, second)?;
        let (len, most) = second.len_range(frame)?;
        if !first.opcode.is_control() {
            let deflated = if self.state == State::Ready { first.rsv != 0 } else { self.deflated };
            self.check_len(config, len, deflated)?;
        }
        let header_len = second.header_len();
        if len != most || frame.len() < header_len {
            return Ok(Progress::Need(header_len));
        }
        let key = match frame[second.len_end()..header_len].first_chunk() {
            Some(key) => *key,
            None => [0; 4],
        };
        if first.opcode.is_control() {
            return self.control(first.opcode, key, header_len, len as usize, input, base);
        }
        if self.state == State::Ready {
            self.kind = if first.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
            self.total = 0;
            self.fragments = 0;
            self.empty_fragments = 0;
            self.first = true;
            self.deflated = first.rsv != 0;
            self.utf8 = Utf8Validator::new();
        }
        self.total += len;
        self.fragments += 1;
        self.empty_fragments += u32::from(len == 0);
        self.fin = first.fin;
        self.key = key;
        self.remaining = len;
        self.gap += header_len as u32;
        self.state = State::Payload;
        Ok(Progress::On)
    }

    /// A control frame whose header is there. It is taken when all of it is, and a close frame is judged before.
    fn control(
        &mut self,
        opcode: Opcode,
        key: [u8; 4],
        header_len: usize,
        len: usize,
        input: &mut [u8],
        base: &mut usize,
    ) -> Result<Progress, Violation> {
        let start = *base + (self.held + self.gap) as usize + header_len;
        let end = start + len;
        let Some(body) = input.get_mut(start..end) else {
            if opcode == Opcode::Close {
                check_close_so_far(&input[start..], key)?;
            }
            return Ok(Progress::Need(header_len + len));
        };
        mask::mask(body, key);
        let found = match opcode {
            Opcode::Ping => Found::Ping,
            Opcode::Pong => Found::Pong,
            _ => {
                CloseFrame::decode(body)?;
                let interrupted = self.state != State::Ready;
                self.state = State::Closed;
                // 5.5.1: after a close frame the peer "MUST NOT send any more data frames"; whatever comes is dropped.
                let found = Found::Close { interrupted };
                return Ok(Progress::Found(Step { consumed: input.len(), start, end, need: 0, found }));
            }
        };
        self.gap += (header_len + len) as u32;
        if self.held == 0 {
            *base += self.gap as usize;
            self.gap = 0;
        }
        Ok(Progress::Found(Step { consumed: *base, start, end, need: 0, found }))
    }
}

/// How the walk goes on.
enum Progress {
    On,
    Found(Step),
    /// So many bytes from the start of the current frame, or of the payload that is left.
    Need(usize),
}
