//! A mutex that is not poisoned, and the waking of whoever waits for what it guards.
//!
//! No user code runs under any lock of this crate, so a panic cannot leave a half-changed value behind; and if one
//! could, one broken connection must not take the Hub with it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a task, if one waits; to be called after the lock is released.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Keeps `waker` in `slot`, without a clone if it wakes the same task as the one before.
pub(crate) fn store(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(old) => old.clone_from(waker),
        empty => *empty = Some(waker.clone()),
    }
}
