//! The topics that a loop has members of, for publishers on any thread.
//!
//! A loop that has no members is not woken for a message, and one that has gets it with the topic's number. The names
//! change when a connection subscribes, which is seldom; so one lock is enough.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A loop's number for a topic. It is never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What is known of a topic from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) topic: TopicId,
    pub(crate) members: usize,
}

/// One loop's topics, by name.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    entries: Mutex<HashMap<Arc<str>, Entry>>,
    /// Messages that members' outputs took, since the beginning.
    pub(crate) made: AtomicUsize,
    /// Messages that were dropped instead.
    pub(crate) dropped: AtomicUsize,
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Entry> {
        self.lock().get(name).copied()
    }

    pub(crate) fn insert(&self, name: Arc<str>, entry: Entry) {
        self.lock().insert(name, entry);
    }

    /// Sets how many members there are; without members the topic is removed.
    pub(crate) fn count(&self, name: &str, members: usize) {
        let mut entries = self.lock();
        if members == 0 {
            entries.remove(name);
            // Many topics that came and went leave no table behind.
            if entries.capacity() > 64 && entries.len() < entries.capacity() / 8 {
                entries.shrink_to_fit();
            }
        } else if let Some(entry) = entries.get_mut(name) {
            entry.members = members;
        }
    }

    pub(crate) fn tally(&self, made: usize, dropped: usize) {
        self.made.fetch_add(made, Relaxed);
        self.dropped.fetch_add(dropped, Relaxed);
    }
}
