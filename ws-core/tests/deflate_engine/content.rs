//! Contents that compressors treat differently, without entropy.

/// A small generator of numbers (xorshift), so that a run can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }

    /// Text, noise, noise that comes again from afar, zeros, few symbols, upper half only.
    pub(crate) fn content(&mut self, len: usize) -> Vec<u8> {
        match self.below(6) {
            0 => {
                let words = ["\"price\":", "1027", ".5,", "{\"symbol\":\"", "ABC\"", "},", "null,", "\"€\""];
                let mut text = Vec::new();
                while text.len() < len {
                    text.extend(words[self.below(words.len())].bytes());
                }
                text.truncate(len);
                text
            }
            1 => self.bytes(len),
            2 => {
                let period = [64, 250, 251, 512, 768, 3835, 3836, 4096, 32_506, 32_768][self.below(10)];
                let noise = self.bytes(period);
                noise.into_iter().cycle().take(len).collect()
            }
            3 => vec![0; len],
            4 => (0..len).map(|_| b"ab"[self.below(2)]).collect(),
            _ => (0..len).map(|_| self.below(112) as u8 + 144).collect(),
        }
    }
}
