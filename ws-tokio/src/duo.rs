//! One waker for two tasks that use the same transport.
//!
//! A transport keeps one waker for each direction, and TLS may need either direction for both; a timer keeps one. So
//! both tasks poll with one waker, which wakes both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// The task that reads.
pub(crate) const READER: usize = 0;
/// The task that writes.
pub(crate) const WRITER: usize = 1;

/// Two tasks, and the waker that wakes both.
#[derive(Debug)]
pub(crate) struct Duo {
    wakers: Arc<Wakers>,
    /// Made once.
    both: Waker,
}

impl Default for Duo {
    fn default() -> Self {
        let wakers = Arc::<Wakers>::default();
        Self { both: Waker::from(Arc::clone(&wakers)), wakers }
    }
}

impl Duo {
    /// The task of this half is polled: before the poll that may find nothing, so that whatever happens from there on
    /// wakes it.
    pub(crate) fn register(&self, half: usize, cx: &Context<'_>) {
        let mut slot = lock(&self.wakers.0[half]);
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
    }

    /// What the transport and the timer are polled with.
    pub(crate) fn both(&self) -> Context<'_> {
        Context::from_waker(&self.both)
    }

    /// Wakes one of them.
    pub(crate) fn wake(&self, half: usize) {
        self.wakers.wake_half(half);
    }
}

/// The tasks that wait for the transport, or for the other half.
#[derive(Debug, Default)]
struct Wakers([Mutex<Option<Waker>>; 2]);

impl Wakers {
    fn wake_half(&self, half: usize) {
        // The lock is given back before: a waker may do anything.
        let waker = lock(&self.0[half]).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_half(READER);
        self.wake_half(WRITER);
    }
}

/// A panic of the transport's while it was polled leaves it to be polled again, as without the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
