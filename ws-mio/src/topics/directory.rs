//! Which topics a loop has members of: looked at by whoever publishes, from any thread.
//!
//! A loop that has no members is not woken for a message, and one that has gets it with the topic's number. The names
//! change when somebody subscribes, which is seldom; so one lock is enough.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ws_core::{Prepared, Spare};

/// Most messages whose memory is kept.
const MOST_SPARE: usize = 16;

/// Longest frame whose memory is kept.
const LONGEST_SPARE: usize = 128 << 10;

/// A loop's number for a topic. It is never used again for another one.
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
    names: Mutex<Names>,
    /// Messages that members' outputs took, since the beginning.
    pub(crate) made: AtomicUsize,
    /// Messages that were dropped instead.
    pub(crate) dropped: AtomicUsize,
}

#[derive(Debug, Default)]
struct Names {
    entries: HashMap<Arc<str>, Entry>,
    spare: Vec<Spare>,
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Entry> {
        self.lock().entries.get(name).copied()
    }

    /// As [`find`](Self::find), with memory for a message to it, if there is some.
    pub(crate) fn find_for(&self, name: &str) -> Option<(Entry, Option<Spare>)> {
        let mut names = self.lock();
        let entry = *names.entries.get(name)?;
        Some((entry, names.spare.pop()))
    }

    pub(crate) fn insert(&self, name: Arc<str>, entry: Entry) {
        self.lock().entries.insert(name, entry);
    }

    /// Sets how many members there are; the last to leave takes the topic with him.
    pub(crate) fn count(&self, name: &str, members: usize) {
        let mut names = self.lock();
        if members == 0 {
            names.entries.remove(name);
            // Many topics that came and went leave no table behind.
            if names.entries.capacity() > 64 && names.entries.len() < names.entries.capacity() / 8 {
                names.entries.shrink_to_fit();
            }
        } else if let Some(entry) = names.entries.get_mut(name) {
            entry.members = members;
        }
    }

    /// Keeps the memory of messages that are done with.
    pub(crate) fn keep(&self, messages: impl Iterator<Item = Prepared>) {
        let mut names = None;
        for spare in messages.filter_map(Prepared::reclaim) {
            let names = names.get_or_insert_with(|| self.lock());
            if names.spare.len() < MOST_SPARE && spare.capacity() <= LONGEST_SPARE {
                names.spare.push(spare);
            }
        }
    }

    pub(crate) fn tally(&self, made: usize, dropped: usize) {
        self.made.fetch_add(made, Relaxed);
        self.dropped.fetch_add(dropped, Relaxed);
    }
}
