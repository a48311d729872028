//! Watching a Hub: the [`Observer`] trait, and the queue between an observer and everything that happens.
//!
//! ```text
//!  connections' tasks, senders, actors ──notes──▶ bounded queue ──▶ a thread of the observer's own
//! ```
//!
//! So an observer may write to a disk that is full or to a pipe that nobody reads, and no connection waits. What finds the
//! queue full is left out and counted; a panic of an observer is caught and counted. Both counts are in
//! [`Metrics`](crate::Metrics). Without an observer, a note costs one load and is not made.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::drain::Answer;
use crate::event::{Connect, Reason};
use crate::hub::{ConnInfo, Hub};
use crate::id::ConnId;
use crate::meters::{Count, DropReason};
use crate::sync::lock;
use crate::upgrade::Refusal;

/// Maximum number of notes that wait for an observer.
const MAX_NOTES: usize = 8_192;

/// Called for what happens on a Hub ([`Hub::observe`]): for a trace, a log, an audit. Each method does nothing by default.
///
/// It has a thread of its own, and is called in the order in which things reached it, shortly after they happened. What
/// one connection does comes in order; of two connections, either may come first.
pub trait Observer: Send + 'static {
    /// An upgrade was refused. In a flood, this is called for each of them:
    /// [`Server::on_refusal`](crate::Server::on_refusal) is for a log.
    fn refused(&mut self, refusal: &Refusal) {
        let _ = refusal;
    }

    /// A connection is open.
    fn opened(&mut self, connection: &Connect) {
        let _ = connection;
    }

    /// A connection has ended; [`Reason::SlowConsumer`] is a slow client's.
    fn closed(&mut self, connection: &Closed) {
        let _ = connection;
    }

    /// Messages for a connection were dropped. Called for the first one, and then each time their number has
    /// doubled.
    fn dropped(&mut self, drops: &Dropped) {
        let _ = drops;
    }

    /// A room has its first member.
    fn room_created(&mut self, name: &str) {
        let _ = name;
    }

    /// The last member has left a room.
    fn room_removed(&mut self, name: &str) {
        let _ = name;
    }

    /// This many notes were left out here, because they came faster than this observer took them.
    fn missed(&mut self, notes: u64) {
        let _ = notes;
    }
}

/// A connection that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// Its id.
    pub id: ConnId,
    /// How it ended.
    pub reason: Reason,
    /// Its state at the end.
    pub info: ConnInfo,
}

/// Messages that were dropped for want of room.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// The connection's id.
    pub id: ConnId,
    /// Why the latest message was dropped.
    pub reason: DropReason,
    /// How many messages of this connection were dropped so far.
    pub total: u64,
}

/// What an observer is told.
#[derive(Debug)]
pub(crate) enum Note {
    Refused(Refusal),
    Opened(Connect),
    Closed(Closed),
    Dropped(Dropped),
    RoomCreated(Arc<str>),
    RoomRemoved(Arc<str>),
    /// All notes before this one have been told, when it is dropped.
    Flush(#[expect(dead_code, reason = "its drop is what it is for")] Answer),
}

impl Note {
    fn tell(&self, observer: &mut impl Observer) {
        match self {
            Self::Refused(refusal) => observer.refused(refusal),
            Self::Opened(connect) => observer.opened(connect),
            Self::Closed(closed) => observer.closed(closed),
            Self::Dropped(dropped) => observer.dropped(dropped),
            Self::RoomCreated(name) => observer.room_created(name),
            Self::RoomRemoved(name) => observer.room_removed(name),
            Self::Flush(_) => {}
        }
    }
}

/// The observers of a Hub. They end with it, when they have been told what there was.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    are_any: AtomicBool,
    queues: Mutex<Vec<Arc<Queue>>>,
    pub(crate) counts: Arc<ObserverCounts>,
}

/// What observers failed to do.
#[derive(Debug, Default)]
pub(crate) struct ObserverCounts {
    pub(crate) missed: Count,
    pub(crate) panics: Count,
}

impl Observers {
    /// Tells all of them, if there are any.
    pub(crate) fn tell(&self, note: impl FnOnce() -> Note) {
        if self.are_any.load(Ordering::Acquire) {
            self.push(&Arc::new(note()));
        }
    }

    fn push(&self, note: &Arc<Note>) {
        for queue in lock(&self.queues).iter() {
            if !queue.push(Arc::clone(note)) {
                self.counts.missed.add(1);
            }
        }
    }

    /// Has the answer dropped when all have been told what there is now.
    pub(crate) fn flush(&self, answer: Answer) {
        self.tell(|| Note::Flush(answer));
    }

    fn add(&self, mut observer: impl Observer) -> io::Result<()> {
        let queue = Arc::<Queue>::default();
        let (of_thread, counts) = (Arc::clone(&queue), Arc::clone(&self.counts));
        std::thread::Builder::new().name("ws-observer".into()).spawn(move || {
            while let Some((missed, note)) = of_thread.next() {
                // The observer goes on; what a panic left half done is its own.
                let told = catch_unwind(AssertUnwindSafe(|| {
                    if missed > 0 {
                        observer.missed(missed);
                    }
                    note.tell(&mut observer);
                }));
                if told.is_err() {
                    counts.panics.add(1);
                }
            }
        })?;
        lock(&self.queues).push(queue);
        self.are_any.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        for queue in lock(&self.queues).iter() {
            lock(&queue.state).is_over = true;
            queue.changed.notify_all();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    notes: VecDeque<Arc<Note>>,
    missed: u64,
    is_over: bool,
}

impl Queue {
    /// `false`: there was no room.
    fn push(&self, note: Arc<Note>) -> bool {
        let mut state = lock(&self.state);
        if state.notes.len() >= MAX_NOTES && !matches!(*note, Note::Flush(_)) {
            state.missed += 1;
            return false;
        }
        state.notes.push_back(note);
        let was_empty = state.notes.len() == 1;
        drop(state);
        if was_empty {
            self.changed.notify_one();
        }
        true
    }

    /// The next note, with the number of those left out before it; `None` when there will be no more.
    fn next(&self) -> Option<(u64, Arc<Note>)> {
        let mut state = lock(&self.state);
        loop {
            if let Some(note) = state.notes.pop_front() {
                return Some((std::mem::take(&mut state.missed), note));
            }
            if state.is_over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Hub {
    /// Adds an observer, which is called for what happens from now on, on a thread of its own that ends with the Hub.
    /// Several observers see the same.
    ///
    /// [`Hub::shutdown`] waits until observers have been told all, as long as there is time.
    ///
    /// # Errors
    /// The system has no thread for it.
    ///
    /// ```
    /// use ws_actor::{Closed, Connect, Hub, Observer};
    ///
    /// struct Trace;
    ///
    /// impl Observer for Trace {
    ///     fn opened(&mut self, connection: &Connect) {
    ///         println!("{} from {} at {}", connection.id, connection.remote_addr, connection.path);
    ///     }
    ///
    ///     fn closed(&mut self, Closed { id, reason, info, .. }: &Closed) {
    ///         println!("{id} after {:?} and {} messages: {reason}", info.uptime, info.messages_in);
    ///     }
    /// }
    ///
    /// let hub = Hub::new();
    /// hub.observe(Trace)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn observe(&self, observer: impl Observer) -> io::Result<()> {
        self.shared.meters.observers.add(observer)
    }
}
