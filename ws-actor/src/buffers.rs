//! Buffers that belong to the thread, and are lent to a connection while bytes are in flight.
//!
//! So an idle connection holds none, and those in use stay warm in the cache. The pool of a thread is bounded.

use std::cell::RefCell;

/// The size of a fresh buffer, in bytes: what one read takes at most, as long as messages are smaller.
pub(crate) const SIZE: usize = 64 << 10;

/// The number of buffers that a thread keeps.
const KEPT: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] initialised bytes.
pub(crate) fn lease() -> Vec<u8> {
    let kept = POOL.try_with(|pool| pool.try_borrow_mut().ok()?.pop()).ok().flatten();
    kept.unwrap_or_else(|| vec![0; SIZE])
}

/// Takes a buffer back. A buffer that has grown is freed, and so is one too many.
pub(crate) fn give_back(buffer: Vec<u8>) {
    if buffer.len() == SIZE {
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && pool.len() < KEPT
            {
                pool.push(buffer);
            }
        });
    }
}
