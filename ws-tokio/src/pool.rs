//! The buffers of a thread, leased to its connections.
//!
//! A connection leases one for as long as bytes are in flight and gives it back when a read would block. So the
//! kernel copies into memory that is still in the cache, and an idle connection owns nothing. Buffers are filled
//! with zeros once, when they are made.

use std::cell::RefCell;

/// The size of a leased buffer: what one read can bring. Only what is read into is ever touched.
pub(crate) const LEASE: usize = 256 << 10;

/// A rest of up to this many bytes is copied into memory of its size while it waits; a larger one keeps its lease.
pub(crate) const SMALL_REST: usize = 4 << 10;

/// Maximum number of buffers of that size that a thread keeps: 2 MiB.
const MOST: usize = 8;

/// Maximum size of all larger buffers that a thread keeps, in bytes.
const MOST_LARGE: usize = 8 << 20;

struct Pool {
    leases: Vec<Vec<u8>>,
    /// Ascending by size.
    large: Vec<Vec<u8>>,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { leases: Vec::new(), large: Vec::new() }) };
}

/// A buffer of [`LEASE`] bytes.
#[inline]
pub(crate) fn lease() -> Vec<u8> {
    POOL.with_borrow_mut(|pool| pool.leases.pop()).unwrap_or_else(|| vec![0; LEASE])
}

/// A buffer of at least `len` bytes, if the thread holds one already: a peer's word makes none.
pub(crate) fn lease_large(len: usize) -> Option<Vec<u8>> {
    POOL.with_borrow_mut(|pool| {
        let at = pool.large.iter().position(|buffer| buffer.len() >= len)?;
        Some(pool.large.remove(at))
    })
}

/// Takes a buffer back, or drops it when there are enough.
#[inline]
pub(crate) fn give(buffer: Vec<u8>) {
    if buffer.len() == LEASE {
        let full = POOL.try_with(|pool| {
            let leases = &mut pool.borrow_mut().leases;
            if leases.len() == MOST {
                Some(buffer)
            } else {
                leases.push(buffer);
                None
            }
        });
        return drop(full);
    }
    give_large(buffer);
}

fn give_large(buffer: Vec<u8>) {
    if buffer.len() < LEASE {
        return;
    }
    // While the thread ends its pool is gone; then the buffer goes too.
    let _ = POOL.try_with(|pool| {
        let pool = &mut *pool.borrow_mut();
        let kept: usize = pool.large.iter().map(Vec::len).sum();
        if kept + buffer.len() <= MOST_LARGE {
            let at = pool.large.partition_point(|other| other.len() < buffer.len());
            pool.large.insert(at, buffer);
        }
    });
}
