//! An allocator that counts: for the process, and for each thread by itself. Tests of every crate share this file.
#![allow(dead_code, unreachable_pub, reason = "no test needs each of the counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn grow(size: usize) {
    process::grow(size);
    thread::grow(size);
}

fn shrink(size: usize) {
    process::shrink(size);
    thread::shrink(size);
}

// SAFETY: every call goes to the system's allocator unchanged; besides that only counters change.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at the same time for a moment, and are counted as if they did.
        process::beside(size);
        thread::beside(size);
        shrink(layout.size());
        grow(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// All threads together: for tests that are alone in their process, or take turns.
pub mod process {
    use super::*;

    static LIVE: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);
    static PEAK_IN_PLACE: AtomicUsize = AtomicUsize::new(0);
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static TOTAL: AtomicUsize = AtomicUsize::new(0);

    /// One test at a time, where several of a program count the process.
    pub fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn grow(size: usize) {
        CALLS.fetch_add(1, SeqCst);
        TOTAL.fetch_add(size, SeqCst);
        let live = LIVE.fetch_add(size, SeqCst) + size;
        PEAK.fetch_max(live, SeqCst);
        PEAK_IN_PLACE.fetch_max(live, SeqCst);
    }

    pub(super) fn beside(size: usize) {
        PEAK.fetch_max(live() + size, SeqCst);
    }

    pub(super) fn shrink(size: usize) {
        LIVE.fetch_sub(size, SeqCst);
    }

    /// Bytes that are allocated now.
    pub fn live() -> usize {
        LIVE.load(SeqCst)
    }

    /// Begins a new [`peak`] and tells what is [`live`].
    pub fn restart_peak() -> usize {
        let live = live();
        PEAK.store(live, SeqCst);
        PEAK_IN_PLACE.store(live, SeqCst);
        live
    }

    /// The most bytes that were allocated at a time since [`restart_peak`].
    pub fn peak() -> usize {
        PEAK.load(SeqCst)
    }

    /// The same if buffers grow in place, as large ones do: what was asked for, not how it was obtained.
    pub fn peak_in_place() -> usize {
        PEAK_IN_PLACE.load(SeqCst)
    }

    /// Allocations so far.
    pub fn calls() -> usize {
        CALLS.load(SeqCst)
    }

    /// Bytes of all allocations so far.
    pub fn total() -> usize {
        TOTAL.load(SeqCst)
    }
}

/// The thread that asks, whatever the others do meanwhile.
pub mod thread {
    use super::*;

    std::thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
        static HELD: Cell<isize> = const { Cell::new(0) };
        static PEAK: Cell<isize> = const { Cell::new(0) };
        static PEAK_IN_PLACE: Cell<isize> = const { Cell::new(0) };
    }

    // A thread that ends has no counters left; it counts nothing then.
    pub(super) fn grow(size: usize) {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        let _ = HELD.try_with(|held| {
            held.set(held.get() + size.cast_signed());
            for peak in [&PEAK, &PEAK_IN_PLACE] {
                let _ = peak.try_with(|peak| peak.set(peak.get().max(held.get())));
            }
        });
    }

    pub(super) fn beside(size: usize) {
        let _ = HELD
            .try_with(|held| PEAK.try_with(|peak| peak.set(peak.get().max(held.get() + size.cast_signed()))));
    }

    pub(super) fn shrink(size: usize) {
        let _ = HELD.try_with(|held| held.set(held.get() - size.cast_signed()));
    }

    /// Allocations of this thread so far.
    pub fn calls() -> usize {
        CALLS.get()
    }

    /// Bytes that this thread allocated less those that it freed.
    pub fn held() -> isize {
        HELD.get()
    }

    /// Begins a new [`peak`] and tells what is [`held`].
    pub fn restart_peak() -> isize {
        PEAK.set(HELD.get());
        PEAK_IN_PLACE.set(HELD.get());
        HELD.get()
    }

    /// The most bytes that this thread held at a time since [`restart_peak`].
    pub fn peak() -> isize {
        PEAK.get()
    }

    /// The same if buffers grow in place.
    pub fn peak_in_place() -> isize {
        PEAK_IN_PLACE.get()
    }
}
