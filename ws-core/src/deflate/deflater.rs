//! Our direction: plain bytes in, compressed payloads out (RFC 7692, section 7.2.1).
//!
//! Invariants:
//! - After every piece the output stands on a byte boundary between two blocks, and nothing is held back. So a piece
//!   can be read as soon as it arrives, its size has a bound of its own, and the state may be given away at any time.
//! - With context takeover the last plain bytes that were fed are in the live state, or else in `window`.

use core::fmt;

use super::pool::{Deflating, Pool};
use super::settings::WindowBits;
use super::window::Window;

/// Compresses the messages of one direction, piece by piece.
///
/// A state is taken from the pool at the first use. Without context takeover it goes back after each
/// message; with it, [`park`](Self::park) gives it back and keeps the last 2^w bytes.
///
/// Level 0 needs no state: its messages are stored blocks. So are those of a window of 8 bits, for which there is no
/// compressor.
pub struct Deflater {
    window: Window,
    state: Option<Box<Deflating>>,
    pool: Pool,
    level: u8,
    takeover: bool,
}

/// The output slice is shorter than [`Deflater::bound`]. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoRoom {
    /// The length that the output slice must have.
    pub needed: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "compressing this may need {} bytes of room", self.needed)
    }
}

impl core::error::Error for NoRoom {}

/// The end of what is flushed: the lengths of an empty stored block. A message leaves them out.
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// All of a message with no more to say: an empty stored block without its lengths (section 7.2.3.6).
const EMPTY: u8 = 0x00;

/// Maximum number of bytes in a stored block (RFC 1951, section 3.2.4).
pub(super) const STORED: usize = 0xFFFF;

impl Deflater {
    /// Compresses with a window of `window`, at `level` 0 (not at all) to 9, and with the context of earlier messages
    /// or not.
    pub fn new(window: WindowBits, takeover: bool, level: u8, pool: Pool) -> Self {
        let level = if window == WindowBits::MIN { 0 } else { level.min(9) };
        Self { window: Window::new(window), state: None, pool, level, takeover: takeover && level > 0 }
    }

    /// The maximum number of bytes that [`deflate`](Self::deflate) may need for a piece of `len` bytes, the end of a
    /// message included, whatever the content.
    pub fn bound(&self, len: usize) -> usize {
        // A literal costs at most 9 bits, blocks have some headers, and a flush takes at most 5 bytes.
        let headers = if self.level == 0 { len / STORED * 5 } else { (len >> 3) + (len >> 6) };
        len.saturating_add(headers).saturating_add(24)
    }

    /// Compresses a piece of a message into `out` and returns the length; with `last`, ends the message.
    ///
    /// Everything that was fed can be inflated from what was written. A piece without input that is not the last one
    /// writes nothing; a message without any is the one byte 00.
    ///
    /// # Errors
    ///
    /// `out` is shorter than [`bound`](Self::bound) of the input's length. Nothing has changed.
    pub fn deflate(&mut self, input: &[u8], last: bool, out: &mut [u8]) -> Result<usize, NoRoom> {
        let needed = self.bound(input.len());
        if out.len() < needed {
            return Err(NoRoom { needed });
        }
        let (mut len, mut closed) = (0, false);
        if !input.is_empty() {
            (len, closed) = self.compress(input, out);
        }
        if last {
            // "If the resulting data does not end with an empty DEFLATE block with no compression [...], append" one,
            // then "remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end".
            if closed {
                len -= TAIL.len();
            } else {
                out[len] = EMPTY;
                len += 1;
            }
            if !self.takeover {
                self.park();
            }
        }
        Ok(len)
    }

    /// Starts the next message from nothing: the peer's window has seen something that this compressor has not, such
    /// as a message that was compressed once for many.
    pub fn forget(&mut self) {
        match self.state.as_deref_mut() {
            Some(Deflating::Quick(state)) => state.renew(),
            Some(Deflating::Chains(state)) => state.renew(),
            None => {}
        }
        self.park();
        self.window.clear();
    }

    /// One that compresses as this one does, a single message in a window of its own.
    pub(crate) fn fresh(&self, window: WindowBits) -> Self {
        Self::new(window, false, self.level, self.pool.clone())
    }

    /// Whether a message may refer to those before it. Stored blocks do not.
    pub(crate) const fn has_context(&self) -> bool {
        self.takeover
    }

    /// The window that is never exceeded.
    pub(crate) const fn window(&self) -> WindowBits {
        self.window.bits()
    }

    /// Whether a state is held.
    pub fn is_live(&self) -> bool {
        self.state.is_some()
    }

    /// Gives the live state back to the pool and keeps the window, with takeover. Right at any time: amid a message
    /// that is compressed without takeover, its next piece cannot refer to the last one.
    pub fn park(&mut self) {
        if let Some(mut state) = self.state.take() {
            match &mut *state {
                Deflating::Quick(state) => state.disarm(&mut self.window),
                Deflating::Chains(state) => state.disarm(&mut self.window),
            }
            self.pool.give_deflater(state);
        }
    }

    /// Writes whole blocks, up to a byte boundary: how many bytes, and whether an empty stored block is the last.
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> (usize, bool) {
        if self.level > 0 {
            let (size, takeover) = (self.window.bits().size(), self.takeover);
            let len = match self.live() {
                Deflating::Quick(state) if takeover => state.compress_on(input, size, out),
                Deflating::Quick(state) => state.compress(input, size, out),
                Deflating::Chains(state) if takeover => state.compress_on(input, size, out),
                Deflating::Chains(state) => state.compress(input, size, out),
            };
            match len {
                // A stored block may be smaller; what refers to its bytes does not see the difference.
                Some(len) if len <= stored(input.len()) + TAIL.len() => return (len, true),
                Some(_) => {}
                // It did not keep its promise. What it wrote does not count, and it is not asked again; stored blocks
                // are right behind any others, and do not refer to anything.
                None => {
                    self.state = None;
                    self.pool.lose_deflater();
                }
            }
        }
        (store(input, out), false)
    }

    fn live(&mut self) -> &mut Deflating {
        self.state.get_or_insert_with(|| {
            let mut state = self.pool.take_deflater(self.level);
            match &mut *state {
                Deflating::Quick(state) => state.arm(&mut self.window),
                Deflating::Chains(state) => state.arm(&mut self.window),
            }
            state
        })
    }
}

/// How long [`store`] makes `len` bytes.
const fn stored(len: usize) -> usize {
    len + len.div_ceil(STORED) * 5
}

/// Stored blocks (RFC 1951, section 3.2.4).
fn store(input: &[u8], out: &mut [u8]) -> usize {
    let mut len = 0;
    for block in input.chunks(STORED) {
        // At most 2^16 - 1.
        let size = block.len() as u16;
        out[len] = 0;
        out[len + 1..len + 3].copy_from_slice(&size.to_le_bytes());
        out[len + 3..len + 5].copy_from_slice(&(!size).to_le_bytes());
        out[len + 5..len + 5 + block.len()].copy_from_slice(block);
        len += 5 + block.len();
    }
    len
}

impl Drop for Deflater {
    fn drop(&mut self) {
        self.park();
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window", &self.window.bits())
            .field("level", &self.level)
            .field("takeover", &self.takeover)
            .field("live", &self.is_live())
            .finish_non_exhaustive()
    }
}
