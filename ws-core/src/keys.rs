//! Masking keys (RFC 6455, sections 5.3 and 10.3).
//!
//! "The masking key needs to be unpredictable; thus, the masking key MUST be derived from a strong source of entropy":
//! `ChaCha`, seeded by the caller with 32 bytes of the system's entropy. The core itself never asks for any.
//!
//! It is the variant of 12 rounds. A key travels in the same frame as what it masks, so there is no secret to keep
//! for years; what counts is that an attacker who chooses the payload cannot tell the next key from the ones before it. The
//! best attacks known reach 7 rounds, and 20 would cost a sender of small frames more than the rest of the frame.

use core::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The masking keys of one client. Over 300 bytes: its owner keeps it in a box where there is an allocator.
///
/// It is no `Clone`: two streams from the same state would send the same keys.
pub(crate) struct Keys {
    stream: ChaCha12Rng,
    held: [u8; 4],
}

impl Keys {
    /// Keys from a seed that nobody else knows and that was not used before.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { stream: ChaCha12Rng::from_seed(seed), held: [0; 4] }
    }

    /// The key of the next frame.
    #[inline]
    pub(crate) fn draw(&mut self) -> [u8; 4] {
        self.stream.next_u32().to_le_bytes()
    }

    /// Draws a key to be used over several calls.
    pub(crate) fn hold(&mut self) {
        self.held = self.draw();
    }

    /// The key that was drawn for that.
    pub(crate) fn held(&self) -> [u8; 4] {
        self.held
    }
}

impl fmt::Debug for Keys {
    /// Never the state: it tells all keys to come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::format;
    use std::vec::Vec;

    fn keys(seed: u8, n: usize) -> Vec<[u8; 4]> {
        let mut keys = Keys::new([seed; 32]);
        (0..n).map(|_| keys.draw()).collect()
    }

    /// The first block for an all-zero key, nonce and counter, of 12 rounds: the published test vector
    /// (draft-strombergson-chacha-test-vectors, TC1).
    #[test]
    fn the_stream_is_chacha12() {
        let first = [[0x9b, 0xf4, 0x9a, 0x6a], [0x07, 0x55, 0xf9, 0x53], [0x81, 0x1f, 0xce, 0x12]];
        assert_eq!(keys(0, 3), first);
    }

    #[test]
    fn a_seed_decides_all_keys() {
        assert_eq!(keys(7, 500), keys(7, 500));
        assert_ne!(keys(7, 1), keys(8, 1));
    }

    /// F-16: a fresh key for each frame. Among 20 000 draws of 32 bits some 0.05 collisions are expected; and no
    /// stretch comes back after a block of the cipher (16 keys) or of its buffer (64).
    #[test]
    fn f16_keys_do_not_repeat() {
        let keys = keys(1, 20_000);
        let distinct: HashSet<_> = keys.iter().collect();
        assert!(distinct.len() >= keys.len() - 2, "{}", distinct.len());
        for period in [1, 2, 4, 16, 64, 256] {
            assert!(keys.iter().zip(&keys[period..]).filter(|(a, b)| a == b).count() <= 1, "{period}");
        }
    }

    /// F-16: no bit of a key leans to a side, and none follows another: within 5 standard deviations.
    #[test]
    fn f16_bits_are_balanced() {
        let n = 20_000;
        let words: Vec<_> = keys(2, n).into_iter().map(u32::from_le_bytes).collect();
        let slack = 5.0 * (n as f64).sqrt() / 2.0;
        let balanced = |ones: usize| (ones as f64 - n as f64 / 2.0).abs() < slack;
        for bit in 0..32 {
            assert!(balanced(words.iter().filter(|&word| word >> bit & 1 == 1).count()), "{bit}");
            let follows = words.windows(2).filter(|pair| (pair[0] ^ pair[1]) >> bit & 1 == 1).count();
            assert!(balanced(follows), "{bit}");
        }
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", Keys::new([3; 32])), "Keys");
    }
}
