//! A queue of tasks that wait for room in a bounded queue: first come, first woken, none forgotten.
//!
//! The bounded queue owns a [`Waiters`] under its own lock. A task that finds no room takes a [`Ticket`] and stays in
//! line under it until it gets room or gives up. Invariant: as long as there is room and a task waits, at least one of
//! those that wait has been woken and has not yet come back. It holds because each of the three events that could
//! break it (room appears, a woken task takes its room, a woken task gives up) wakes the next in line.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::sync::store;

/// A place in the line. Numbers only grow, so the smallest is the one that waits longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The line. It takes a pointer until a task waits, for mostly none ever does, and stays then: numbers must not begin again
/// while a task may have one.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Option<Box<Line>>);

/// `None` marks a task that was woken and has not come back yet; it keeps its place.
#[derive(Debug, Default)]
struct Line {
    line: BTreeMap<Ticket, Option<Waker>>,
    next: u64,
}

impl Waiters {
    /// Puts a task in line, or renews its waker at the place it has.
    pub(crate) fn wait(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) {
        let Line { line, next } = &mut **self.0.get_or_insert_default();
        let place = *ticket.get_or_insert_with(|| {
            *next += 1;
            Ticket(*next)
        });
        store(line.entry(place).or_default(), waker);
    }

    /// Takes a task out of the line, because it got room or gave up. The caller then wakes [`Waiters::next`] if
    /// there is (still) room.
    pub(crate) fn leave(&mut self, ticket: &mut Option<Ticket>) {
        if let (Some(place), Some(waiters)) = (ticket.take(), &mut self.0) {
            waiters.line.remove(&place);
        }
    }

    /// Whether nothing is in line before `ticket` (or a newcomer).
    pub(crate) fn is_first(&self, ticket: Option<Ticket>) -> bool {
        match (self.first(), ticket) {
            (None, _) => true,
            (Some(first), Some(ticket)) => ticket <= first,
            (Some(_), None) => false,
        }
    }

    /// The ticket whose turn is next.
    pub(crate) fn first(&self) -> Option<Ticket> {
        Some(*self.0.as_ref()?.line.first_key_value()?.0)
    }

    /// The first task in line, to be woken outside the lock; nothing if it has been woken already.
    pub(crate) fn next(&mut self) -> Option<Waker> {
        self.0.as_mut()?.line.first_entry()?.get_mut().take()
    }

    /// All tasks in line, when waiting has become pointless.
    pub(crate) fn all(&mut self) -> Vec<Waker> {
        let line = self.0.as_mut().map(|waiters| std::mem::take(&mut waiters.line));
        line.into_iter().flat_map(BTreeMap::into_values).flatten().collect()
    }
}
