//! Receive storage: free space at the end, consumed bytes at the front, growth with the bytes that arrive.
//!
//! ```text
//! | consumed | filled             | free space |
//! 0          start                end          len
//! ```
//!
//! The storage is lent: an idle connection holds none. It grows only when it is full, to twice its size, so that no
//! length which a peer announced sizes anything (RFC 6455, section 10.4).

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

use crate::frame::MAX_HEADER;

/// Memory that bytes are received into: an array, a boxed or borrowed slice, a vector.
///
/// Sealed, because text that was validated is trusted to stand unchanged in it.
pub trait Storage: sealed::Sealed + AsMut<[u8]> + AsRef<[u8]> {
    /// Makes the storage at least `len` bytes long and keeps what it holds, or returns `false` and changes nothing.
    fn grow(&mut self, len: usize) -> bool {
        len <= self.as_ref().len()
    }
}

impl<const N: usize> Storage for [u8; N] {}

impl Storage for &mut [u8] {}

#[cfg(feature = "alloc")]
impl Storage for Box<[u8]> {}

/// A vector is storage by its length, not its capacity; growing fills the new part with zeros, once.
#[cfg(feature = "alloc")]
impl Storage for Vec<u8> {
    fn grow(&mut self, len: usize) -> bool {
        if self.len() < len {
            self.resize(len, 0);
        }
        true
    }
}

mod sealed {
    pub trait Sealed {
        /// Whether [`grow`](super::Storage::grow) ever makes room.
        const GROWS: bool = false;
    }
    impl<const N: usize> Sealed for [u8; N] {}
    impl Sealed for &mut [u8] {}
    #[cfg(feature = "alloc")]
    impl Sealed for alloc::boxed::Box<[u8]> {}
    #[cfg(feature = "alloc")]
    impl Sealed for alloc::vec::Vec<u8> {
        const GROWS: bool = true;
    }
}

#[derive(Debug)]
pub(crate) struct Buffer<B> {
    storage: Option<B>,
    start: usize,
    end: usize,
}

impl<B: Storage> Buffer<B> {
    pub(crate) const fn new() -> Self {
        Self { storage: None, start: 0, end: 0 }
    }

    /// Bytes received and not consumed.
    #[inline(always)]
    pub(crate) fn filled(&mut self) -> &mut [u8] {
        match &mut self.storage {
            Some(storage) => storage.as_mut().get_mut(self.start..self.end).unwrap_or_default(),
            None => &mut [],
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Free space, so that at least `at_least` bytes can stand in the buffer; as much of that as the storage grants.
    pub(crate) fn space(&mut self, lease: impl FnOnce() -> B, at_least: usize) -> &mut [u8] {
        let (start, end) = (self.start, self.end);
        let storage = self.storage.get_or_insert_with(lease);
        let size = storage.as_ref().len();
        // Move down when the end is near and what is moved is less than what was consumed before it; or else when it
        // must be, which for the first bytes of a large message it seldom is.
        let is_cheap = size - end < size / 2 && end - start <= start;
        if start > 0 && (is_cheap || end == size || start.saturating_add(at_least) > size) {
            storage.as_mut().copy_within(start..end, 0);
            self.start = 0;
            self.end = end - start;
        }
        if self.end == size {
            // Full to the last byte: twice as much, or whatever there is.
            storage.grow(twice(size));
        }
        &mut storage.as_mut()[self.end..]
    }

    /// Makes the storage that is held twice as large, if it can grow.
    pub(crate) fn grow(&mut self) -> bool {
        self.storage.as_mut().is_some_and(|storage| storage.grow(twice(storage.as_ref().len())))
    }

    #[inline]
    pub(crate) fn received(&mut self, n: usize) {
        let size = self.storage.as_ref().map_or(0, |storage| storage.as_ref().len());
        self.end = self.end.saturating_add(n).min(size);
    }

    #[inline(always)]
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Whether storage is held, all of it bytes that are not consumed.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.storage.as_ref().is_some_and(|storage| self.len() == storage.as_ref().len())
    }

    /// Whether it is full and will stay so until something is consumed.
    #[inline]
    pub(crate) fn is_full_for_good(&self) -> bool {
        !B::GROWS && self.is_full()
    }

    /// Takes the last `n` bytes back, which were moved elsewhere.
    pub(crate) fn shorten(&mut self, n: usize) {
        self.end = self.end.saturating_sub(n).max(self.start);
    }

    /// The size of the storage held.
    pub(crate) fn size(&self) -> usize {
        self.storage.as_ref().map_or(0, |storage| storage.as_ref().len())
    }

    #[inline]
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Exchanges the storage, as it is, for one with `filled` bytes at its front.
    pub(crate) fn replace(&mut self, storage: B, filled: usize) -> Option<B> {
        let taken = self.storage.take();
        self.put(storage, filled);
        taken
    }

    /// The same where storage is held; else the one that was handed in comes back.
    pub(crate) fn exchange(&mut self, mut storage: B, filled: usize) -> Result<B, B> {
        let Some(held) = &mut self.storage else { return Err(storage) };
        core::mem::swap(held, &mut storage);
        self.start = 0;
        self.end = filled.min(held.as_ref().len());
        Ok(storage)
    }

    /// Takes the storage out, with what it holds at its front.
    pub(crate) fn take(&mut self) -> Option<(B, usize)> {
        let (start, end) = (core::mem::take(&mut self.start), core::mem::take(&mut self.end));
        let mut storage = self.storage.take()?;
        storage.as_mut().copy_within(start..end, 0);
        Some((storage, end - start))
    }

    /// Puts storage in, with `filled` bytes at its front.
    pub(crate) fn put(&mut self, storage: B, filled: usize) {
        self.start = 0;
        self.end = filled.min(storage.as_ref().len());
        self.storage = Some(storage);
    }
}

/// Twice as much, and a header: messages are often as long as a power of two, and with room for their header none has
/// to be moved over it.
fn twice(size: usize) -> usize {
    size.saturating_mul(2).saturating_add(MAX_HEADER).max(64)
}
