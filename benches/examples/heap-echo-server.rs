//! The `echo-server` of ws-tokio, the same file, with an allocator that counts: `heap-echo-server [ADDRESS]`.
//!
//! Each byte on its standard input is a question. The answer is a line, `heap: LIVE bytes, PEAK at most`: what the
//! process holds by now, and the most it held since the question before. `.ci/hostile` asks, to bound what a hostile
//! peer costs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

#[path = "../../ws-tokio/examples/echo-server.rs"]
mod echo_server;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn add(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

fn subtract(bytes: usize) {
    LIVE.fetch_sub(bytes, Relaxed);
}

// SAFETY: all calls go to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) };
        subtract(layout.size());
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new may stand beside each other for a moment, and count as if they did.
        add(size);
        // SAFETY: the caller's promise is passed on.
        let new = unsafe { System.realloc(at, layout, size) };
        subtract(layout.size());
        new
    }
}

fn main() -> io::Result<()> {
    // It allocates nothing while it waits, so that the figures are the server's.
    thread::spawn(answer);
    echo_server::main()
}

fn answer() -> io::Result<()> {
    let mut question = [0];
    while io::stdin().read(&mut question)? > 0 {
        let live = LIVE.load(Relaxed);
        let peak = PEAK.swap(live, Relaxed);
        writeln!(io::stdout(), "heap: {live} bytes, {peak} at most")?;
    }
    Ok(())
}
