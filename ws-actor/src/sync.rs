//! A mutex that is not poisoned, and the waking of tasks that wait for what it guards.
//!
//! No user code runs under any lock of this crate, so a panic cannot leave a half-changed value behind; and if one
//! could, one broken connection must not take the Hub with it.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::id::ConnId;

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

thread_local! {
    static HALF_FULL: Cell<Option<ConnId>> = const { Cell::new(None) };
}

/// The outbox of this connection has become half full by what this thread does. An actor that goes on and on would fill it
/// before the connection's task had a turn, and a client that reads all it gets would be taken for a slow one.
pub(crate) fn note_half_full(id: ConnId) {
    HALF_FULL.set(Some(id));
}

/// The connection whose outbox that was last, since the last call: then others should have a turn. A hint; what an actor
/// did on another thread before it was moved is not seen.
pub(crate) fn take_half_full() -> Option<ConnId> {
    HALF_FULL.take()
}
