//! The memory of messages that all loops are done with, for the next ones.
//!
//! The last loop to be done with a message puts it here, which may be any; so they share one place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ws_core::{Message, Prepared, Spare};

/// Maximum number of messages whose memory is kept.
const MOST: usize = 16;

/// Maximum length of a frame whose memory is kept, in bytes.
const LONGEST: usize = 128 << 10;

#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<Spare>>);

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames a message.
    pub(crate) fn prepare(&self, message: Message<'_>) -> Prepared {
        // A statement of its own: the lock is not held while the message is copied.
        let spare = self.lock().pop();
        match spare {
            Some(spare) => spare.prepare(message),
            None => Prepared::new(message),
        }
    }

    /// Takes back those that nobody else holds.
    pub(crate) fn keep(&self, messages: impl Iterator<Item = Prepared>) {
        for spare in messages.filter_map(Prepared::reclaim) {
            let mut spares = self.lock();
            if spares.len() < MOST && spare.capacity() <= LONGEST {
                spares.push(spare);
            }
        }
    }
}
