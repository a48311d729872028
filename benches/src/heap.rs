//! An allocator that counts, once asked to: what a process holds now, and the most it held.
//!
//! Servers that take part in comparisons of speed have it too, switched off: then it costs a load and a branch that is
//! never taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::thread;

use crate::flags::Flags;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, counting the bytes requested. For `#[global_allocator]`.
pub struct Counting;

#[inline]
fn account(bytes: isize) {
    if COUNTS.load(Relaxed) {
        let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
        if bytes > 0 {
            PEAK.fetch_max(live, Relaxed);
        }
    }
}

// SAFETY: all calls go to the system's allocator, unchanged. No layout is larger than `isize::MAX`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) };
        account(-(layout.size() as isize));
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at the same time for a moment, and are counted as if they did.
        account(size as isize);
        // SAFETY: the caller's promise is passed on.
        let new = unsafe { System.realloc(at, layout, size) };
        account(-(layout.size() as isize));
        new
    }
}

/// Counts from now on, and answers questions: each byte on standard input is one, the answer a line, `heap: LIVE bytes,
/// PEAK at most`, PEAK since the previous question. The answering thread allocates nothing while it waits.
pub fn count() {
    COUNTS.store(true, Relaxed);
    thread::spawn(answer);
}

/// [`count`], if the command line has `--count-heap`.
pub fn count_if_asked(flags: &mut Flags) {
    if flags.has("--count-heap") {
        count();
    }
}

/// What the process holds, in bytes; nothing unless it counts.
pub fn live() -> isize {
    LIVE.load(Relaxed).max(0)
}

/// The last line of a program that could not be asked in time: like the answer to a question, and the most that the system
/// counted for the process, `RSS BYTES at most`, where known.
pub fn report() {
    let live = live();
    let peak = PEAK.load(Relaxed).max(0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let most: u64 = most.unwrap_or(0);
    println!("heap: {live} bytes, {peak} at most, RSS {} at most", most << 10);
}

fn answer() -> io::Result<()> {
    let mut question = [0];
    while io::stdin().read(&mut question)? > 0 {
        let live = live();
        let peak = PEAK.swap(live, Relaxed);
        writeln!(io::stdout(), "heap: {live} bytes, {peak} at most")?;
    }
    Ok(())
}
