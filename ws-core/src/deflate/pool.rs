//! Idle states, for the next connection that needs one.
//!
//! A compressor costs 28 to 210 KiB (at level 1: 16 to 128) and a decompressor 47, so connections hold them only while they
//! are busy. What waits here is bounded in number; what is given beyond that is freed.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use zlib_rs::Inflate;

use super::chains::Chains;
use super::quick::Quick;
use super::settings::WindowBits;

/// How many states a [`Pool`] has lent: what is live, and how often somebody began to compress or inflate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lent {
    /// Decompressors that are out now.
    pub inflaters: usize,
    /// Compressors that are out now.
    pub deflaters: usize,
    /// Decompressors that were ever taken; it wraps around.
    pub inflaters_taken: usize,
    /// Compressors that were ever taken; it wraps around. A [`Prepared`](crate::Prepared) message takes one for each
    /// window that it is compressed for.
    pub deflaters_taken: usize,
}

/// Taken and given back, of one kind. Two counts, so that neither is ever wrong by the other's turn.
#[derive(Default)]
struct Tally {
    taken: AtomicUsize,
    back: AtomicUsize,
}

impl Tally {
    fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn give(&self) {
        self.back.fetch_add(1, Ordering::Release);
    }

    /// How many are out, and how many ever were.
    fn read(&self) -> (usize, usize) {
        // What is back was taken before; read in this order, the difference is never below zero.
        let back = self.back.load(Ordering::Acquire);
        let taken = self.taken.load(Ordering::Relaxed);
        (taken.wrapping_sub(back), taken)
    }
}

/// How much a [`Pool`] keeps. What is lent out is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Idle decompressors: 47 KiB each, and a window of up to 32 KiB.
    pub inflaters: usize,
    /// Idle compressors: at most 210 KiB each, once they were used with windows of 15 bits; of level 1 at most 128.
    pub deflaters: usize,
    /// Idle output buffers.
    pub buffers: usize,
    /// The length of an output buffer, in bytes; at least 64.
    pub buffer_len: usize,
}

impl PoolLimits {
    /// 64 decompressors, 32 compressors and 64 buffers of 16 KiB, or 64 KiB once they have grown: at most 16 MiB.
    pub const fn new() -> Self {
        Self { inflaters: 64, deflaters: 32, buffers: 64, buffer_len: 16 << 10 }
    }
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Idle states and buffers, shared by any number of connections. Cheap to clone; two are equal if they are the same.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

#[expect(clippy::vec_box, reason = "they go in and out by their boxes")]
struct Shared {
    limits: PoolLimits,
    lent_inflaters: Tally,
    lent_deflaters: Tally,
    inflaters: Mutex<Vec<Box<Inflating>>>,
    deflaters: Mutex<Vec<Box<Deflating>>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// A decompressor, whatever window it is for: the back end's always has 32 KiB.
pub(super) struct Inflating {
    pub(super) zlib: Inflate,
    /// Memory of a window whose owner keeps none between messages.
    pub(super) spare: Vec<u8>,
}

/// A compressor, which can take on any window: of level 1, or of 2 to 9.
pub(super) enum Deflating {
    Quick(Quick),
    Chains(Chains),
}

impl Pool {
    /// An empty pool.
    pub fn new(mut limits: PoolLimits) -> Self {
        // With less than a character there would be no progress.
        limits.buffer_len = limits.buffer_len.max(64);
        Self(Arc::new(Shared {
            limits,
            lent_inflaters: Tally::default(),
            lent_deflaters: Tally::default(),
            inflaters: Mutex::default(),
            deflaters: Mutex::default(),
            buffers: Mutex::default(),
        }))
    }

    /// The pool of the process, with the default limits.
    pub fn shared() -> Self {
        static SHARED: OnceLock<Pool> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(PoolLimits::new())).clone()
    }

    /// What it keeps.
    pub fn limits(&self) -> PoolLimits {
        self.0.limits
    }

    /// What it has lent to connections.
    pub fn lent(&self) -> Lent {
        let (inflaters, inflaters_taken) = self.0.lent_inflaters.read();
        let (deflaters, deflaters_taken) = self.0.lent_deflaters.read();
        Lent { inflaters, deflaters, inflaters_taken, deflaters_taken }
    }

    /// A buffer of at least [`PoolLimits::buffer_len`] bytes, all of them initialised.
    pub fn take_buffer(&self) -> Vec<u8> {
        take(&self.0.buffers).unwrap_or_else(|| vec![0; self.0.limits.buffer_len])
    }

    /// Takes a buffer back. One that has grown to more than four times [`PoolLimits::buffer_len`] is freed.
    pub fn give_buffer(&self, buffer: Vec<u8>) {
        let len = self.0.limits.buffer_len;
        if buffer.len() >= len && buffer.capacity() <= len.saturating_mul(4) {
            give(&self.0.buffers, buffer, self.0.limits.buffers);
        }
    }

    /// A decompressor for a new stream.
    pub(super) fn take_inflater(&self) -> Box<Inflating> {
        self.0.lent_inflaters.take();
        if let Some(mut idle) = take(&self.0.inflaters) {
            idle.zlib.reset(false);
            return idle;
        }
        Box::new(Inflating { zlib: Inflate::new(false, WindowBits::MAX.bits()), spare: Vec::new() })
    }

    pub(super) fn give_inflater(&self, idle: Box<Inflating>) {
        self.0.lent_inflaters.give();
        give(&self.0.inflaters, idle, self.0.limits.inflaters);
    }

    /// A compressor for a new stream, of a level of 1 or more.
    pub(super) fn take_deflater(&self, level: u8) -> Box<Deflating> {
        self.0.lent_deflaters.take();
        let idle = {
            let mut idle = lock(&self.0.deflaters);
            let fits = idle.iter().rposition(|state| matches!(**state, Deflating::Quick(_)) == (level == 1));
            fits.map(|at| idle.swap_remove(at))
        };
        let mut state = idle.unwrap_or_else(|| {
            Box::new(match level {
                1 => Deflating::Quick(Quick::new()),
                _ => Deflating::Chains(Chains::new()),
            })
        });
        if let Deflating::Chains(chains) = &mut *state {
            chains.set_level(level);
        }
        state
    }

    pub(super) fn give_deflater(&self, idle: Box<Deflating>) {
        self.0.lent_deflaters.give();
        give(&self.0.deflaters, idle, self.0.limits.deflaters);
    }

    /// One that is not to be used again is not coming back.
    pub(super) fn lose_deflater(&self) {
        self.0.lent_deflaters.give();
    }
}

fn lock<T>(idle: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    // A list of idle things is in order whatever panicked beside it.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<T>(idle: &Mutex<Vec<T>>) -> Option<T> {
    lock(idle).pop()
}

/// Keeps `thing` for the next one. If there are too many, the one that came first goes: it may be of a kind that
/// is no longer asked for.
fn give<T>(idle: &Mutex<Vec<T>>, thing: T, most: usize) {
    let surplus = {
        let mut idle = lock(idle);
        if most == 0 {
            Some(thing)
        } else {
            let surplus = (idle.len() >= most).then(|| idle.swap_remove(0));
            idle.push(thing);
            surplus
        }
    };
    // Freed outside of the lock.
    drop(surplus);
}

impl PartialEq for Pool {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Pool {}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.0.limits)
            .field("inflaters", &lock(&self.0.inflaters).len())
            .field("deflaters", &lock(&self.0.deflaters).len())
            .field("buffers", &lock(&self.0.buffers).len())
            .finish()
    }
}
