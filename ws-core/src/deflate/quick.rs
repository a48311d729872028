//! The compressor of level 1: one pass, greedy matches, the fixed codes (RFC 1951, section 3.2.6).
//!
//! A message is compressed where it stands, and against the history that stands before it. What a state remembers is
//! a table of places, by the hash of the four bytes there. Places are counted on and on: one that is older than the
//! history is known by its number, so that the table is never cleared, and any state can go to the next message of
//! any connection.
//!
//! It keeps 16 KiB for a connection with takeover, and the history; zlib-rs at its level 1 keeps 320 KiB. For JSON of 1 KiB
//! it takes a third of the time of zlib-rs, for as many bytes, or nearly as many.

use std::vec::Vec;

use super::bits::Bits;
use super::blocks::distance_slot;
use super::history::History;
use super::window::Window;

/// A table of places, and the history of the connection that has it.
pub(super) struct Quick {
    /// Where four bytes with this hash stood last; 0 and whatever lies before `origin` is nothing.
    places: Vec<u32>,
    /// The number of the first byte of `history`, or of the message where there is no history.
    origin: u32,
    history: History,
}

/// Bits of a hash: for a single message, and for a connection that keeps its state. The second ones stay in the caches
/// with many connections; more of them, and what they find in a long history is often too short to be worth it.
const FRESH: u32 = 14;
const TAKEOVER: u32 = 12;
/// The shortest match, and what is hashed.
const LEAST: usize = 4;
/// The longest one (RFC 1951, section 3.2.5).
const MOST: usize = 258;
/// So many bytes without a match, and one more is not looked at each time.
const PATIENCE: usize = 64;
/// Maximum number of bytes at once: places are renumbered between two such pieces only.
const PIECE: usize = 1 << 30;

impl Quick {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), origin: 1, history: History::new() }
    }

    /// Forgets everything.
    pub(super) fn renew(&mut self) {
        self.pass(self.history.bytes().len());
        self.history.clear();
    }

    /// Takes over what a connection sent before.
    pub(super) fn arm(&mut self, window: &mut Window) {
        self.renew();
        if window.len() == 0 {
            return;
        }
        self.history.fill(window);
        let origin = self.origin;
        let places = table::<TAKEOVER>(&mut self.places);
        for (at, four) in self.history.bytes().windows(LEAST).enumerate() {
            if let Ok(four) = four.try_into() {
                places[hash::<TAKEOVER>(four)] = origin + at as u32;
            }
        }
    }

    /// Gives back what a connection sent, as much of it as the window takes.
    pub(super) fn disarm(&mut self, window: &mut Window) {
        window.push(self.history.bytes());
        self.renew();
    }

    /// Compresses a message that refers to nothing but itself; `None` if `out` is too short.
    pub(super) fn compress(&mut self, input: &[u8], size: usize, out: &mut [u8]) -> Option<usize> {
        let mut bits = Bits::new(out);
        bits.begin();
        for piece in input.chunks(PIECE) {
            self.encode::<FRESH>(piece, 0, size, &mut bits)?;
            self.pass(piece.len());
        }
        bits.finish()
    }

    /// Compresses the next bytes of a connection.
    pub(super) fn compress_on(&mut self, input: &[u8], size: usize, out: &mut [u8]) -> Option<usize> {
        let mut bits = Bits::new(out);
        bits.begin();
        for piece in input.chunks(size) {
            let (start, gone) = self.history.push(piece, size);
            self.pass(gone);
            let history = core::mem::take(&mut self.history);
            let done = self.encode::<TAKEOVER>(history.bytes(), start, size, &mut bits);
            self.history = history;
            done?;
        }
        bits.finish()
    }

    /// Counts on, past `len` bytes. Numbers stay below 2^31.
    fn pass(&mut self, len: usize) {
        self.origin += len as u32;
        if self.origin > 1 << 30 {
            self.places.fill(0);
            self.origin = 1;
        }
    }

    /// Writes the tokens of `data` from `start` on.
    fn encode<const BITS: u32>(
        &mut self,
        data: &[u8],
        start: usize,
        size: usize,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        let origin = self.origin;
        let places = table::<BITS>(&mut self.places);
        let (mut at, mut plain) = (start, start);
        while let Some(four) = data.get(at..).and_then(<[u8]>::first_chunk::<LEAST>) {
            let here = origin + at as u32;
            let place = core::mem::replace(&mut places[hash::<BITS>(*four)], here);
            let distance = here.wrapping_sub(place) as usize;
            if place >= origin && distance <= size && data[at - distance..].first_chunk() == Some(four) {
                let len = LEAST + alike(&data[at - distance + LEAST..], &data[at + LEAST..]);
                bits.literals(&data[plain..at])?;
                bits.copy(len, distance)?;
                at += len;
                plain = at;
            } else {
                // Where nothing matches, look less and less often.
                at += 1 + (at - plain) / PATIENCE;
            }
        }
        bits.literals(&data[plain..])
    }
}

/// The part of a table that hashes of so many bits have.
#[inline(always)]
fn table<const BITS: u32>(places: &mut Vec<u32>) -> &mut [u32] {
    if places.len() < 1 << BITS {
        places.resize(1 << BITS, 0);
    }
    &mut places[..1 << BITS]
}

#[inline(always)]
fn hash<const BITS: u32>(four: [u8; LEAST]) -> usize {
    (u32::from_le_bytes(four).wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as usize
}

/// How many bytes are alike, up to what makes the longest match.
#[inline(always)]
fn alike(old: &[u8], new: &[u8]) -> usize {
    let most = new.len().min(MOST - LEAST);
    let (old, new) = (&old[..most], &new[..most]);
    let mut len = 0;
    // Most end here, and which of its bytes is the last one is no branch.
    if let (Some(a), Some(b)) = (old.first_chunk(), new.first_chunk()) {
        let differ = u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b);
        if differ != 0 {
            return (differ.trailing_zeros() / 8) as usize;
        }
        len = 16;
    }
    while let (Some(a), Some(b)) = (old[len..].first_chunk(), new[len..].first_chunk()) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + old[len..].iter().zip(&new[len..]).take_while(|(a, b)| a == b).count()
}

/// The fixed codes, each symbol with its extra bits in one step.
impl Bits<'_> {
    /// A block with the fixed codes, not the final one.
    fn begin(&mut self) {
        self.put(0b010, 3);
    }

    /// The block's end, and an empty stored block behind it: where the output stands then.
    fn finish(mut self) -> Option<usize> {
        self.put(0, 7);
        self.end()
    }

    #[inline(always)]
    fn literals(&mut self, bytes: &[u8]) -> Option<()> {
        for some in bytes.chunks(4) {
            for &byte in some {
                let code = LITERALS[usize::from(byte)];
                self.put(u64::from(code & 0xFFF), u32::from(code >> 12));
            }
            self.flush()?;
        }
        Some(())
    }

    #[inline(always)]
    fn copy(&mut self, len: usize, distance: usize) -> Option<()> {
        // At most 8 + 5 bits, and 5 + 13.
        let code = LENGTHS[(len - 3) & 0xFF];
        self.put(u64::from(code & 0xFF_FFFF), code >> 24);

        let less = (distance - 1) as u32;
        let (code, extra) = distance_slot(less);
        self.put(u64::from(code.reverse_bits() >> 27), 5);
        self.put(u64::from(less & ((1 << extra) - 1)), extra);
        self.flush()
    }
}

/// RFC 1951, section 3.2.6: the code of each byte, first bit lowest, and above 12 bits how long it is.
const LITERALS: [u16; 256] = {
    let mut codes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (code, count) = if byte < 144 { (0x30 + byte, 8) } else { (0x190 + byte - 144, 9) };
        codes[byte as usize] = (code as u16).reverse_bits() >> (16 - count) | count << 12;
        byte += 1;
    }
    codes
};

/// Section 3.2.5: the code of each length from 3 on with its extra bits, and above 24 bits how many these are together.
const LENGTHS: [u32; 256] = {
    let mut codes = [0; 256];
    let mut less = 0_u32;
    while less < 256 {
        // As for distances, with two bits below the leading one.
        let (symbol, extra) = if less == 255 {
            (285, 0)
        } else if less < 8 {
            (257 + less, 0)
        } else {
            let log = less.ilog2();
            (257 + 4 * (log - 1) + (less >> (log - 2) & 3), log - 2)
        };
        let (code, count) = if symbol < 280 { (symbol - 256, 7) } else { (0xC0 + symbol - 280, 8) };
        let code = code.reverse_bits() >> (32 - count);
        codes[less as usize] = code | (less & ((1 << extra) - 1)) << count | (count + extra) << 24;
        less += 1;
    }
    codes
};

#[cfg(test)]
pub(super) mod tests {
    use super::super::pool::{Pool, PoolLimits};
    use super::super::{Inflater, WindowBits};
    use super::*;

    /// What comes out of `payload`, of which the last four octets do not travel.
    pub(in super::super) fn inflate(inflater: &mut Inflater, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 1 << 20];
        let step = inflater.inflate(&payload[..payload.len() - 4], &mut out).unwrap();
        let end = inflater.finish(&mut out[step.written..]).unwrap();
        assert!(end.done);
        out.truncate(step.written + end.written);
        out
    }

    /// Matches of each length and at distances about each power of two, in messages of many sizes.
    fn messages() -> Vec<Vec<u8>> {
        let noise: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 13) as u8).collect();
        let mut messages = vec![b"a".to_vec(), b"abc".to_vec(), noise[..5000].to_vec()];
        for distance in [1, 2, 3, 4, 5, 8, 9, 257, 1024, 4097, 32_767, 32_768, 32_769] {
            let mut message = Vec::new();
            for len in (3..40).chain(250..270) {
                message.extend_from_slice(&noise[len..len + distance.min(2000)]);
                for _ in 0..len {
                    message.push(message[message.len() - distance.min(message.len())]);
                }
            }
            messages.push(message);
        }
        messages.push([&noise[..32_768], &noise[..32_768]].concat());
        messages.push(vec![0; 100_000]);
        messages
    }

    /// Places are renumbered now and then, which must cost matches and nothing else.
    #[test]
    fn numbers_begin_anew() {
        let pool = Pool::new(PoolLimits::new());
        for bits in [9, 12, 15] {
            let window = WindowBits::new(bits).unwrap();
            for begin in [1, (1 << 30) - 70_000, (1 << 30) - 1] {
                let mut alone = Inflater::new(window, false, pool.clone());
                let mut on = Inflater::new(window, true, pool.clone());
                let (mut fresh, mut kept) = (Quick::new(), Quick::new());
                (fresh.origin, kept.origin) = (begin, begin);
                let mut out = vec![0; 200_000];
                for message in messages() {
                    let len = fresh.compress(&message, window.size(), &mut out).unwrap();
                    assert!(inflate(&mut alone, &out[..len]) == message);
                    let len = kept.compress_on(&message, window.size(), &mut out).unwrap();
                    assert!(inflate(&mut on, &out[..len]) == message);
                    assert!(kept.history.bytes().len() <= 2 * window.size());
                    assert!(fresh.origin <= 1 << 30 && kept.origin <= 1 << 30);
                }
            }
        }
    }

    /// Output that is too short is reported, and confuses no state.
    #[test]
    fn too_short() {
        for message in messages() {
            for len in [0, 1, 7, 8, 9, message.len() / 20] {
                let mut out = vec![0; len];
                if let Some(len) = Quick::new().compress(&message, 1 << 15, &mut out) {
                    let mut inflater = Inflater::new(WindowBits::MAX, false, Pool::shared());
                    assert!(inflate(&mut inflater, &out[..len]) == message);
                }
            }
        }
    }
}
