//! The peer's direction: compressed payloads in, plain bytes out (RFC 7692, section 7.2.2).
//!
//! Invariants:
//! - Between messages a live state stands on a block boundary with no bit left over, or behind a final block.
//! - `window` holds the last plain bytes whenever a state is armed anew: between messages with context takeover, and
//!   behind a final block, which may come anywhere. In between the last `unkept` ones stand in the output only, so
//!   that a message inflated into one piece of memory does not cost that copy.
//! - After an error nothing is live and every call fails.

use core::fmt;

use zlib_rs::{InflateError, InflateFlush, Status};

use super::pool::{Inflating, Pool};
use super::settings::WindowBits;
use super::window::Window;

/// Inflates the messages of one direction, piece by piece.
///
/// A state of the back end is taken from the pool at the first use. Without context takeover it goes back after each
/// message; with it, [`park`](Self::park) gives it back and keeps the last 2^w bytes.
///
/// A peer that refers farther back than was agreed is not policed: the reference is followed as far as its bytes are
/// still there, which is 32 KiB while live and the agreed window after a [`park`](Self::park), and refused beyond.
///
/// Final blocks may come anywhere and in any number, and references across them are followed through the whole window.
/// Only where a message has more than four of them, closer together than 64 bytes on the average (in a window of 32 KiB;
/// 8 bytes in one of 4 KiB), such references may be refused beyond 1 KiB: else two bytes could cost the work of copying
/// the window.
pub struct Inflater {
    window: Window,
    state: Option<Box<Inflating>>,
    pool: Pool,
    takeover: bool,
    /// The open message has had a byte of payload.
    begun: bool,
    /// The last block was a final one: whatever comes next starts a new stream (section 7.2.3.4).
    ended: bool,
    /// The last output slice was filled, so that there may be more.
    full: bool,
    failed: bool,
    /// How many of the last bytes have not gone into the window.
    unkept: usize,
    /// How many bytes of the window may still be copied for the final blocks of this message.
    credit: usize,
}

/// What [`Inflater::inflate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// Bytes of input that are used up.
    pub taken: usize,
    /// Bytes at the beginning of `out` that are plain payload.
    pub written: usize,
}

/// What [`Inflater::finish`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Bytes at the beginning of `out` that are plain payload.
    pub written: usize,
    /// Whether that was the rest of the message. If not, there is more than `out` could take.
    pub done: bool,
}

/// Invalid compressed data: what RFC 7692 makes of no message; to be answered with close code 1007.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidDeflate;

impl fmt::Display for InvalidDeflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a compressed message is no valid DEFLATE data, or is incomplete")
    }
}

impl core::error::Error for InvalidDeflate {}

/// "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message" (section 7.2.2), and then a
/// whole empty block, which changes nothing and tells where the first part ended.
const TAIL: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0xFF, 0xFF];

/// The first [`credit`](Inflater::credit) of a message: four of the largest windows.
const CREDIT: usize = 4 << 15;
/// What a byte of payload adds to it.
const CREDIT_PER_BYTE: usize = 512;
/// What is copied for a final block in any case. It costs no more than the final block itself.
const CREDIT_LEAST: usize = 1 << 10;

impl Inflater {
    /// For a peer whose compressor has a window of at most `window`, and keeps its context between messages or not.
    pub fn new(window: WindowBits, takeover: bool, pool: Pool) -> Self {
        Self {
            window: Window::new(window),
            state: None,
            pool,
            takeover,
            begun: false,
            ended: false,
            full: false,
            failed: false,
            unkept: 0,
            credit: CREDIT,
        }
    }

    /// Inflates a piece of a message's payload into `out`: until the input is used up or `out` is full.
    ///
    /// When `out` was filled there may be more: show the rest of the input again, even if there is none.
    ///
    /// # Errors
    ///
    /// The data is invalid (section 6.2 of RFC 7692). What was written before that is lost; every later call fails.
    pub fn inflate(&mut self, input: &[u8], out: &mut [u8]) -> Result<Inflated, InvalidDeflate> {
        let inflated = self.inflate_behind(0, input, out)?;
        self.keep(&out[..inflated.written]);
        Ok(inflated)
    }

    /// As [`inflate`](Self::inflate), behind the first `at` bytes of `out`, where all of the message so far stands.
    pub(super) fn inflate_behind(
        &mut self,
        at: usize,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<Inflated, InvalidDeflate> {
        if self.failed {
            return Err(InvalidDeflate);
        }
        let (mut taken, mut written) = (0, 0);
        while at + written < out.len() {
            let rest = &input[taken..];
            if rest.is_empty() && !self.full {
                break;
            }
            if self.ended {
                // "...a block with the BFINAL bit set to 1": another stream begins at the next byte, over the same
                // window. Not before there is such a byte.
                self.keep(&out[..at + written]);
                self.rearm();
            }
            let room = &mut out[at + written..];
            let step = self.step(rest, room, InflateFlush::NoFlush);
            let Ok(step) = step else { return Err(self.fail()) };
            taken += step.taken;
            written += step.written;
            self.begun |= step.taken > 0;
            self.credit = self.credit.saturating_add(step.taken.saturating_mul(CREDIT_PER_BYTE));
            self.ended = step.status == Status::StreamEnd;
            self.full = step.written == room.len() && !self.ended;
            self.unkept += step.written;
            if step.taken == 0 && step.written == 0 && !self.ended && !rest.is_empty() {
                // With input and with room it always moves. If not, the caller must not wait for it.
                return Err(self.fail());
            }
        }
        Ok(Inflated { taken, written })
    }

    /// Ends a message after the last byte of its payload, and writes what of it is left.
    ///
    /// With `done: false` the message has not ended yet: `out` is full, call again with more room. An `out` without
    /// any room ends a message only if the last one was not filled.
    ///
    /// # Errors
    ///
    /// The message has no payload at all, or does not end where a block ends, once the four octets that its sender
    /// removed are appended. Those octets are not appended to a payload that ends with a final block.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<Finished, InvalidDeflate> {
        let finished = self.finish_behind(0, out)?;
        self.keep(&out[..finished.written]);
        Ok(finished)
    }

    /// As [`finish`](Self::finish), behind the first `at` bytes of `out`, where all of the message so far stands.
    pub(super) fn finish_behind(&mut self, at: usize, out: &mut [u8]) -> Result<Finished, InvalidDeflate> {
        let written = self.inflate_behind(at, &[], out)?.written;
        if self.full {
            return Ok(Finished { written, done: false });
        }
        // A compressed message has at least the octet 00 (section 7.2.3.6). Without any, the blocks of this message
        // and of the next one would be taken for each other.
        if !self.begun || (!self.ended && !self.ends_a_block()) {
            return Err(self.fail());
        }
        self.begun = false;
        self.credit = CREDIT;
        if self.takeover {
            self.keep(&out[..at + written]);
        } else {
            self.unkept = 0;
            self.ended = false;
            self.park();
        }
        Ok(Finished { written, done: true })
    }

    /// Whether a state of the back end is held.
    pub fn is_live(&self) -> bool {
        self.state.is_some()
    }

    /// Gives the live state back to the pool and keeps the window, with takeover. Does nothing amid a message.
    pub fn park(&mut self) {
        if !self.begun {
            self.ended = false;
            self.release();
        }
    }

    /// Whether the payload ended just before the length of an empty stored block, which the tail then provides.
    ///
    /// The back end stops at a block's end: it must do so after the four octets, and not earlier, and they must not
    /// have produced anything. Bits left over at that place are ones (from the last ff) and make of the block behind
    /// the tail a final one or an invalid one.
    fn ends_a_block(&mut self) -> bool {
        let mut none = [0];
        let tail = self.step(&TAIL, &mut none, InflateFlush::Block);
        if !matches!(tail, Ok(Step { taken: 4, written: 0, status: Status::Ok })) {
            return false;
        }
        match self.step(&TAIL[4..], &mut none, InflateFlush::Block) {
            Ok(Step { taken: 5, written: 0, status: Status::Ok }) => true,
            // That stored block was a final one itself.
            Ok(Step { taken: 0, written: 0, status: Status::StreamEnd }) => {
                self.ended = true;
                true
            }
            _ => false,
        }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8], stop: InflateFlush) -> Result<Step, InflateError> {
        let zlib = &mut self.live().zlib;
        let (taken, written) = (zlib.total_in(), zlib.total_out());
        let status = zlib.decompress(input, out, stop)?;
        // Both are at most the lengths of the slices.
        let (taken, written) = ((zlib.total_in() - taken) as usize, (zlib.total_out() - written) as usize);
        Ok(Step { taken, written, status })
    }

    fn live(&mut self) -> &mut Inflating {
        self.state.get_or_insert_with(|| {
            let mut state = self.pool.take_inflater();
            if self.takeover {
                arm(&mut state, &self.window, usize::MAX);
            } else {
                self.window.reuse(core::mem::take(&mut state.spare));
            }
            state
        })
    }

    /// Puts what is not in the window there: the last bytes of `out`.
    fn keep(&mut self, out: &[u8]) {
        let unkept = core::mem::take(&mut self.unkept);
        self.window.push(&out[out.len().saturating_sub(unkept)..]);
    }

    /// Begins a new stream over the same window.
    fn rearm(&mut self) {
        match &mut self.state {
            Some(state) => {
                let most = self.credit.max(CREDIT_LEAST).min(self.window.len());
                self.credit = self.credit.saturating_sub(most);
                state.zlib.reset(false);
                arm(state, &self.window, most);
            }
            None => drop(self.live()),
        }
        self.ended = false;
    }

    fn fail(&mut self) -> InvalidDeflate {
        self.release();
        self.window.take();
        self.failed = true;
        InvalidDeflate
    }

    fn release(&mut self) {
        if let Some(mut state) = self.state.take() {
            if !self.takeover {
                state.spare = self.window.take();
            }
            self.pool.give_inflater(state);
        }
    }
}

struct Step {
    taken: usize,
    written: usize,
    status: Status,
}

/// Gives a fresh state the bytes before it, or as many of them.
fn arm(state: &mut Inflating, window: &Window, most: usize) {
    for part in window.last(most) {
        if !part.is_empty() {
            // Refused only amid a stream with a header, and these have none.
            let _ = state.zlib.set_dictionary(part);
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("window", &self.window.bits())
            .field("takeover", &self.takeover)
            .field("live", &self.is_live())
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
