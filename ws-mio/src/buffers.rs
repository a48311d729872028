//! Buffers belong to the loop, not to the connection.
//!
//! A connection borrows one for as long as bytes are in flight and leaves it behind when a read would block. With one
//! connection served at a time this is one buffer to receive into and one to send from, hot in the cache; there are
//! more only while messages are half received or peers do not read.

/// The size of a buffer: one read takes what a batch of small messages, or one of 16 KiB, is made of.
pub(crate) const SIZE: usize = 64 << 10;

/// Maximum number of buffers of that size that are kept.
const MOST: usize = 8;

/// Maximum number of bytes in larger buffers that are kept.
const MOST_LARGE: usize = 8 << 20;

/// The memory that all connections of a loop share, to receive into and to send from.
///
/// Make one per loop and lend it to every call. Of the buffers that connections give back it keeps at most 8 of 64 KiB,
/// and 8 MiB of larger ones.
#[derive(Debug, Default)]
pub struct Buffers {
    spare: Vec<Vec<u8>>,
    /// Ascending by size.
    large: Vec<Vec<u8>>,
}

impl Buffers {
    /// Makes an empty set: the first connection makes the first buffer.
    pub const fn new() -> Self {
        Self { spare: Vec::new(), large: Vec::new() }
    }

    /// A buffer of [`SIZE`] bytes, filled with zeros when it was made.
    pub(crate) fn lease(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| vec![0; SIZE])
    }

    /// A buffer of at least `len` bytes, if there is one already: a peer's word makes none (N-03).
    pub(crate) fn lease_large(&mut self, len: usize) -> Option<Vec<u8>> {
        let at = self.large.iter().position(|buffer| buffer.len() >= len)?;
        Some(self.large.remove(at))
    }

    /// Takes a buffer back, or drops it when there are enough.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() == SIZE {
            if self.spare.len() < MOST {
                self.spare.push(buffer);
            }
        } else if buffer.len() > SIZE {
            let kept: usize = self.large.iter().map(Vec::len).sum();
            if kept + buffer.len() <= MOST_LARGE {
                let at = self.large.partition_point(|other| other.len() < buffer.len());
                self.large.insert(at, buffer);
            }
        }
    }
}
