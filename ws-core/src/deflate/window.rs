//! The last plain bytes of a direction: all that a parked connection keeps, and what a new state is armed with.
//!
//! A live decompressor cannot be read back, so the bytes are kept a second time beside it; a live compressor has them in its
//! own history. RFC 7692, section 7.2.1: with context takeover a message may refer to the 2^w bytes before it, over all
//! messages.

use super::settings::WindowBits;

/// A ring of at most 2^w bytes, as large as what went through it. Nothing is allocated before the first byte.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Where the oldest byte stands; 0 until the ring is full.
    oldest: u16,
    bits: WindowBits,
}

impl Window {
    pub(super) const fn new(bits: WindowBits) -> Self {
        Self { bytes: Vec::new(), oldest: 0, bits }
    }

    pub(super) const fn bits(&self) -> WindowBits {
        self.bits
    }

    /// Keeps the last 2^w bytes of what it has and `bytes`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let size = self.bits.size();
        if bytes.len() >= size {
            self.clear();
        }
        let bytes = &bytes[bytes.len().saturating_sub(size)..];
        let (grown, wrapped) = bytes.split_at(bytes.len().min(size - self.bytes.len()));
        let len = self.bytes.len() + grown.len();
        if len > self.bytes.capacity() {
            // By doubling, but never beyond what can ever be needed.
            let capacity = len.next_power_of_two().clamp(MIN, size);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(grown);

        let oldest = usize::from(self.oldest);
        let (end, start) = wrapped.split_at(wrapped.len().min(size - oldest));
        self.bytes[oldest..oldest + end.len()].copy_from_slice(end);
        self.bytes[..start.len()].copy_from_slice(start);
        // At most 2^15 - 1.
        self.oldest = ((oldest + wrapped.len()) & (size - 1)) as u16;
    }

    /// How much it holds.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What it holds, or the last `most` bytes of it, the older part first.
    pub(super) fn last(&self, most: usize) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(usize::from(self.oldest));
        let skip = self.bytes.len().saturating_sub(most);
        [&older[skip.min(older.len())..], &newer[skip.saturating_sub(older.len())..]]
    }

    /// Forgets the bytes and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.oldest = 0;
    }

    /// Gives the memory away.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.clear();
        core::mem::take(&mut self.bytes)
    }

    /// Takes over memory that another window gave away.
    pub(super) fn reuse(&mut self, mut memory: Vec<u8>) {
        memory.clear();
        self.bytes = memory;
        self.oldest = 0;
    }
}

/// The smallest allocation: that of the smallest window.
const MIN: usize = WindowBits::MIN.size();

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a list that forgets nothing.
    #[test]
    fn it_holds_the_last_bytes_and_not_more() {
        for bits in 8..=15 {
            let bits = WindowBits::new(bits).unwrap();
            for step in [1, 7, 100, bits.size() - 1, bits.size(), bits.size() + 3, 3 * bits.size()] {
                let (mut window, mut all) = (Window::new(bits), Vec::new());
                assert_eq!(window.bytes.capacity(), 0);
                for turn in 0..(3 * bits.size() / step + 3) {
                    let piece: Vec<u8> = (0..step).map(|i| (i * 31 + turn * 7) as u8).collect();
                    window.push(&piece);
                    all.extend(piece);
                    let kept = &all[all.len().saturating_sub(bits.size())..];
                    if turn % 50 < 3 {
                        assert_eq!(window.last(usize::MAX).concat(), kept, "{bits:?} by {step}");
                        for most in [0, 1, kept.len() / 2, kept.len()] {
                            assert_eq!(window.last(most).concat(), kept[kept.len() - most..]);
                        }
                    }
                    assert!(window.bytes.capacity() <= (2 * kept.len()).clamp(MIN, bits.size()));
                }
            }
        }
    }
}
