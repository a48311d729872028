//! An allocator that counts, for one thread at a time: how often, how much at once, and how much remains.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(by: isize) {
    // A thread that ends has no counters left; it counts nothing then.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + usize::from(by > 0)));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + by);
        PEAK.try_with(|peak| peak.set(peak.get().max(held.get())))
    });
}

// SAFETY: all calls go to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new may stand beside each other for a moment.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Allocations of this thread so far.
pub fn calls() -> usize {
    CALLS.get()
}

/// Bytes that this thread allocated and has not freed.
pub fn held() -> isize {
    HELD.get()
}

/// The most that was held since the last call, beyond what is held now.
pub fn restart_peak() -> isize {
    let peak = PEAK.get() - HELD.get();
    PEAK.set(HELD.get());
    peak
}

/// The most that was held since [`restart_peak`], in bytes beyond `base`.
pub fn peak_above(base: isize) -> isize {
    PEAK.get() - base
}
