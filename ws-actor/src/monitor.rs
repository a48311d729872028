//! Learning that an actor has ended, and why: [`Target::ended`], [`Target::monitor`].
//!
//! The news is kept with the target, so that no watcher comes too late for it. Names no runtime.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use crate::actor::{self, WsActor};
use crate::mailbox::Letter;
use crate::supervise::contain;
use crate::sync::lock;
use crate::target::{CastError, Target};

/// The end of an actor: it has been called for the last time, and its name is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Why it ended.
    pub cause: EndCause,
    /// Connections that were closed with 1011 because of it.
    pub connections: usize,
    /// Letters that waited in its mailbox and are lost: events of connections and casts.
    pub letters: usize,
}

/// Why an actor has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// It stopped itself ([`Context::stop`](actor::Context::stop)).
    Stopped,
    /// It reported an error ([`Context::fail`](actor::Context::fail)) that was to end it, or one too many.
    Failed,
    /// It panicked, or panicked once too often.
    Panicked,
    /// Its task was dropped, for example when the runtime shut down.
    Aborted,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            EndCause::Stopped => "the actor stopped",
            EndCause::Failed => "the actor failed",
            EndCause::Panicked => "the actor panicked",
            EndCause::Aborted => "the actor's task was dropped",
        })?;
        write!(f, "; {} connections closed, {} letters lost", self.connections, self.letters)
    }
}

/// Puts the news into somebody's mailbox.
struct Monitor {
    watcher: Target,
    tell: Tell,
}

type Tell = Box<dyn FnOnce(&Target, Ended) + Send>;

/// The news of an end, and the tasks that wait for it.
#[derive(Default)]
pub(crate) struct News(Mutex<State>);

#[derive(Default)]
struct State {
    ended: Option<Ended>,
    waiting: BTreeMap<u64, Waker>,
    last_key: u64,
    monitors: Vec<Monitor>,
    /// Watchers that have ended are looked for when there are so many monitors.
    sweep_at: usize,
}

impl News {
    /// Tells everybody; only the first end counts.
    pub(crate) fn tell(&self, ended: Ended) {
        let mut state = lock(&self.0);
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(ended);
        let (waiting, monitors) = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.monitors));
        drop(state);
        waiting.into_values().for_each(Waker::wake);
        for Monitor { watcher, tell } in monitors {
            // The closure is the application's, and its panic nobody else's.
            let _ = contain(|| tell(&watcher, ended));
        }
    }

    fn poll(&self, cx: &Context<'_>, key: &mut Option<u64>) -> Poll<Ended> {
        let mut state = lock(&self.0);
        if let Some(ended) = state.ended {
            return Poll::Ready(ended);
        }
        let key = *key.get_or_insert_with(|| {
            state.last_key += 1;
            state.last_key
        });
        state.waiting.insert(key, cx.waker().clone());
        Poll::Pending
    }

    fn give_up(&self, key: u64) {
        let waker = lock(&self.0).waiting.remove(&key);
        drop(waker);
    }

    /// Keeps a monitor, or gives it back with the news.
    fn watch(&self, monitor: Monitor) -> Option<(Monitor, Ended)> {
        let mut state = lock(&self.0);
        if let Some(ended) = state.ended {
            return Some((monitor, ended));
        }
        let mut gone = Vec::new();
        if state.monitors.len() >= state.sweep_at {
            let (alive, ended) = std::mem::take(&mut state.monitors)
                .into_iter()
                .partition::<Vec<_>, _>(|monitor| monitor.watcher.is_open());
            (state.monitors, gone) = (alive, ended);
            state.sweep_at = (2 * state.monitors.len()).max(MIN_SWEEP);
        }
        state.monitors.push(monitor);
        drop(state);
        // What the closures hold is the application's, and dropped outside the lock.
        drop(gone);
        None
    }
}

/// Fewer monitors than this are not worth a look.
const MIN_SWEEP: usize = 16;

/// A place among the tasks that wait, given up when it is dropped.
struct Place<'a> {
    news: &'a News,
    key: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.news.give_up(key);
        }
    }
}

impl Target {
    /// Waits until the actor has ended, and tells why. An actor that is made again has not ended.
    ///
    /// # Cancel safety
    /// Cancelled, nothing is lost: the next call tells the same.
    pub fn ended(&self) -> impl Future<Output = Ended> + Send + 'static {
        let target = self.clone();
        async move {
            let mut place = Place { news: target.news(), key: None };
            poll_fn(|cx| place.news.poll(cx, &mut place.key)).await
        }
    }

    /// Sends another actor a cast when this one ends: at once if it has ended already, and even if the other's mailbox
    /// is full. An actor that has ended by then is told nothing.
    ///
    /// # Errors
    /// [`CastError::WrongType`]; [`CastError::Down`] if the watcher ends or has ended.
    ///
    /// ```
    /// # use ws_actor::{CastError, Ended, Hub, Target};
    /// enum Cast {
    ///     WorkerEnded(Ended),
    /// }
    /// # fn watch(worker: &Target, boss: &Target) -> Result<(), CastError> {
    /// worker.monitor(boss, Cast::WorkerEnded)
    /// # }
    /// ```
    pub fn monitor<C: Send + 'static>(
        &self,
        watcher: &Self,
        message: impl FnOnce(Ended) -> C + Send + 'static,
    ) -> Result<(), CastError> {
        if TypeId::of::<C>() != watcher.cast_type() {
            return Err(CastError::WrongType);
        }
        if !watcher.is_open() {
            return Err(CastError::Down);
        }
        let tell = Box::new(move |watcher: &Self, ended| {
            watcher.mailbox().tell(Letter::Cast(Box::new(message(ended))));
        });
        if let Some((monitor, ended)) = self.news().watch(Monitor { watcher: watcher.clone(), tell }) {
            (monitor.tell)(watcher, ended);
        }
        Ok(())
    }
}

impl<A: WsActor> actor::Context<A> {
    /// Sends this actor a cast when another one ends ([`Target::monitor`]).
    pub fn monitor(&self, target: &Target, message: impl FnOnce(Ended) -> A::Cast + Send + 'static) {
        // The type is right, and an actor that is about to stop does not listen.
        let _ = target.monitor(self.me(), message);
    }
}
