//! Bits on their way out, the first one lowest (RFC 1951, section 3.1.1).

use super::deflater::TAIL;

/// A writer of bits into a slice. `None` says that something did not fit, and nothing is ever written behind the slice.
pub(super) struct Bits<'a> {
    out: &'a mut [u8],
    at: usize,
    hold: u64,
    /// Below 8 between calls of others, 63 at most before a flush.
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0, hold: 0, count: 0 }
    }

    #[inline(always)]
    pub(super) const fn put(&mut self, value: u64, count: u32) {
        self.hold |= value << self.count;
        self.count += count;
    }

    /// Lets whole bytes go.
    #[inline(always)]
    pub(super) fn flush(&mut self) -> Option<()> {
        *self.out.get_mut(self.at..)?.first_chunk_mut()? = self.hold.to_le_bytes();
        let whole = self.count / 8;
        self.at += whole as usize;
        self.hold >>= whole * 8;
        self.count %= 8;
        Some(())
    }

    /// A stored block (section 3.2.4), not the final one, of at most 2^16 - 1 bytes.
    pub(super) fn stored(&mut self, bytes: &[u8]) -> Option<()> {
        self.put(0, 3 + 7);
        self.count &= !7;
        let len = bytes.len() as u16;
        self.put(u64::from(len) | u64::from(!len) << 16, 32);
        self.flush()?;
        self.out.get_mut(self.at..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    /// An empty stored block: where the output stands then.
    pub(super) fn end(mut self) -> Option<usize> {
        // Its header and what is left of a byte are zeros.
        self.put(0, 3 + 7);
        self.count &= !7;
        self.flush()?;
        *self.out.get_mut(self.at..)?.first_chunk_mut()? = TAIL;
        Some(self.at + TAIL.len())
    }
}
