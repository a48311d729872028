//! What a compressor that goes on may refer to: the last bytes of a connection, and the next ones behind them.

use std::vec::Vec;

use super::window::Window;

/// At most two windows, so that old bytes are moved away once for as many new ones.
#[derive(Default)]
pub(super) struct History(Vec<u8>);

impl History {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Begins anew with what `window` has, which gives it up.
    pub(super) fn fill(&mut self, window: &mut Window) {
        self.0.clear();
        self.make_room(window.len(), window.bits().size());
        for part in window.last(usize::MAX) {
            self.0.extend_from_slice(part);
        }
        window.take();
    }

    /// Begins anew with these.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(bytes);
    }

    /// Puts a piece of no more than a window, of `size` bytes, behind the rest. Returns where it starts, and how many old
    /// bytes have gone for it.
    pub(super) fn push(&mut self, piece: &[u8], size: usize) -> (usize, usize) {
        let mut gone = 0;
        if self.0.len() + piece.len() > 2 * size {
            gone = self.0.len() - size;
            self.0.copy_within(gone.., 0);
            self.0.truncate(size);
        }
        self.make_room(piece.len(), size);
        let start = self.0.len();
        self.0.extend_from_slice(piece);
        (start, gone)
    }

    /// By doubling, but never beyond what can ever be needed.
    fn make_room(&mut self, more: usize, size: usize) {
        let len = self.0.len() + more;
        if len > self.0.capacity() {
            let capacity = len.next_power_of_two().min(2 * size).max(len);
            self.0.reserve_exact(capacity - self.0.len());
        }
    }
}
