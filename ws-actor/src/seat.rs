//! Which actor has a connection, and how it moves to another while it is open.
//!
//! A move is asked for from anywhere ([`Hub::retarget`]) and done by the connection's own task, between two of its
//! events. In this order, so that nothing is lost, doubled or reordered:
//!
//! 1. The connection is attached to the new actor, and ends with it from now on, no longer with the old one.
//! 2. The old actor gets what the connection has in hand, and a `Disconnect` with [`Reason::Moved`]. The connection
//!    is not read meanwhile.
//! 3. When the old actor has done with that `Disconnect`, which the drop of a [`Receipt`] tells, the new one gets
//!    `Connect`, and then what comes.
//!
//! So both may be owed at a time: the `Disconnect` to the old actor and the `Connect` to the new one. A connection that
//! ends between them owes the new one both `Connect` and `Disconnect`: an actor that was told of a move can rely on the
//! next one being told of the end, unless that one ends before it has heard of the connection. The drop of the receipt
//! posts them then.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::decision::Relay;
use crate::entry::{Entry, Terms};
use crate::hub::Hub;
use crate::id::ConnId;
use crate::mailbox::{Down, Letter};
use crate::sync::{lock, store, wake};
use crate::target::Target;

#[cfg(doc)]
use crate::event::Reason;

/// A connection's place with an actor. Invariant: its owner detaches it, once.
pub(crate) struct Attachment {
    pub(crate) target: Target,
    key: u64,
}

/// The last letters of a connection to an actor; those that it does not take come back.
pub(crate) type Last = [Option<Letter>; 3];

impl Attachment {
    pub(crate) fn new(target: Target, entry: &Arc<Entry>) -> Result<Self, Down> {
        let key = target.mailbox().attach(entry)?;
        Ok(Self { target, key })
    }

    pub(crate) fn detach(self, last: Last) -> Last {
        self.target.mailbox().detach(self.key, last)
    }
}

/// What changes while a connection lives: its actor, and what goes with it.
pub(crate) struct Seat {
    pub(crate) terms: Terms,
    /// Until the connection ends.
    current: Option<Attachment>,
    /// The actor that had it then.
    last: Option<Target>,
    /// Boxed, as it is there only for a moment.
    next: Option<Box<(Attachment, Relay)>>,
    /// An earlier actor has not yet done with its `Disconnect`.
    farewell: bool,
    /// What the last actor gets when it has, if the connection has ended before.
    afterwards: Option<Box<(Attachment, Last)>>,
    /// It is to end at once.
    is_aborted: bool,
    waker: Option<Waker>,
}

/// A move that is to be done now.
pub(crate) struct Move {
    pub(crate) from: Attachment,
    pub(crate) to: Target,
    /// As they were.
    pub(crate) terms: Terms,
}

impl Seat {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            current: None,
            last: None,
            next: None,
            farewell: false,
            afterwards: None,
            is_aborted: false,
            waker: None,
        }
    }

    pub(crate) fn sit(&mut self, attachment: Attachment) {
        self.current = Some(attachment);
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        self.current.as_ref().map(|attachment| &attachment.target)
    }

    /// Has the task of `cx` woken when there is something new here.
    pub(crate) fn attend(&mut self, cx: &Context<'_>) {
        store(&mut self.waker, cx.waker());
    }

    /// Whether an earlier actor has to be waited for.
    pub(crate) fn waits(&self) -> bool {
        self.farewell
    }

    /// Ends the connection at once; returns the task to wake for it.
    pub(crate) fn abort(&mut self) -> Option<Waker> {
        self.is_aborted = true;
        self.waker.take()
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.next.is_some()
    }

    /// Begins a move, if one was asked for. `met`: the old actor has heard of the connection, and will be told that it
    /// goes.
    pub(crate) fn go(&mut self, met: bool) -> Option<Move> {
        let (attachment, relay) = *self.next.take()?;
        let to = attachment.target.clone();
        let from = self.current.replace(attachment)?;
        let terms = self.terms.clone();
        self.terms.apply(relay);
        self.farewell |= met;
        Some(Move { from, to, terms })
    }

    /// Ends for good: gives up what was attached.
    pub(crate) fn rise(&mut self) -> [Option<Attachment>; 2] {
        self.waker = None;
        self.last = self.target().cloned();
        [self.current.take(), self.next.take().map(|next| next.0)]
    }

    /// The actor that had the connection when it ended.
    pub(crate) fn last(&self) -> Option<&Target> {
        self.last.as_ref()
    }

    /// Keeps the last letters until an earlier actor has done with its own; gives them back if there is none.
    pub(crate) fn leave_behind(&mut self, attachment: Attachment, last: Last) -> Option<(Attachment, Last)> {
        if self.farewell {
            self.afterwards = Some(Box::new((attachment, last)));
            return None;
        }
        Some((attachment, last))
    }
}

/// Goes with the `Disconnect` of a move. Its drop says that the actor has done with it, or is gone.
#[derive(Debug)]
pub(crate) struct Receipt(pub(crate) Arc<Entry>);

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut seat = lock(&self.0.seat);
        seat.farewell = false;
        let (waker, afterwards) = (seat.waker.take(), seat.afterwards.take());
        drop(seat);
        if let Some((attachment, last)) = afterwards.map(|afterwards| *afterwards) {
            attachment.detach(last);
        }
        wake(waker);
    }
}

/// Why a connection was not moved or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetargetError {
    /// No connection has this id, or it has ended.
    NotFound,
    /// The connection is closing.
    Closed,
    /// None of the actors that were named runs, or has room for connections: a mailbox that holds four times what it should
    /// takes no more. The connection stays where it is.
    NoTarget,
}

impl fmt::Display for RetargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such connection",
            Self::Closed => "the connection is closing",
            Self::NoTarget => "no actor takes the connection",
        })
    }
}

impl std::error::Error for RetargetError {}

/// The relation of an actor of a pool to a connection.
enum Choice {
    /// It has it.
    Stay,
    /// The connection is about to move there already.
    Same,
    Move(Attachment),
}

impl Hub {
    /// Moves a live connection to another actor, or changes its topic, its values, its heartbeat: what the relay does not
    /// mention stays. Its rooms and what waits in its outbox stay with it in any case.
    ///
    /// The old actor gets the messages that were read before, and [`Disconnect`](crate::Disconnect) with
    /// [`Reason::Moved`](crate::Reason::Moved); when it has done with that, the new one gets
    /// [`Connect`](crate::Connect), and the messages that follow. So every message is seen once, and in order, by one or
    /// the other. Terms that are changed along with the actor change when it does. An actor that had not heard of the
    /// connection yet never does.
    ///
    /// From this call on, the connection does not end with the old actor: it may hand over its connections and stop. If
    /// it takes longer than the mailbox timeout to come to that `Disconnect`, the connection is closed with 1013, as
    /// any that waits so long. What a panicking actor has in its mailbox is lost with it, as ever.
    ///
    /// Moves that are asked for faster than they are done are done as one, to the last. To the actor that has the
    /// connection, only the rest changes.
    ///
    /// # Errors
    /// [`RetargetError`] tells the cases; nothing has changed.
    pub fn retarget(&self, id: ConnId, relay: Relay) -> Result<(), RetargetError> {
        let entry = self.entry(id).ok_or(RetargetError::NotFound)?;
        let given_up = entry.retarget(self, relay)?;
        if let Some(attachment) = given_up {
            attachment.detach(Last::default());
        }
        Ok(())
    }
}

impl Entry {
    /// Returns an attachment that is no longer needed.
    fn retarget(self: &Arc<Self>, hub: &Hub, mut relay: Relay) -> Result<Option<Attachment>, RetargetError> {
        if !self.outbox().is_open() {
            return Err(RetargetError::Closed);
        }
        let mut seat = lock(&self.seat);
        let Seat { current: Some(current), next, terms, .. } = &mut *seat else {
            return Err(RetargetError::NotFound);
        };
        let mut given_up = None;
        let Some(pool) = relay.pool.take() else {
            match next {
                Some(next) => next.1.merge(relay),
                None => terms.apply(relay),
            }
            let waker = seat.waker.take();
            drop(seat);
            wake(waker);
            return Ok(None);
        };
        let choice = pool.deal(&hub.shared.names, |target| {
            if target.is(&current.target) {
                current.target.mailbox().mark(current.key, false).map(|()| Choice::Stay)
            } else if next.as_ref().is_some_and(|next| target.is(&next.0.target)) {
                Ok(Choice::Same)
            } else {
                Attachment::new(target, self).map(Choice::Move)
            }
        });
        match (choice.map_err(|Down| RetargetError::NoTarget)?, next.take().map(|next| *next)) {
            (Choice::Stay, None) => terms.apply(relay),
            (Choice::Stay, Some((attachment, pending))) => {
                terms.apply(pending);
                terms.apply(relay);
                given_up = Some(attachment);
            }
            (Choice::Same, pending) => {
                *next = pending.map(|(attachment, mut pending)| {
                    pending.merge(relay);
                    Box::new((attachment, pending))
                });
            }
            (Choice::Move(attachment), Some((superseded, mut pending))) => {
                pending.merge(relay);
                *next = Some(Box::new((attachment, pending)));
                given_up = Some(superseded);
            }
            (Choice::Move(attachment), None) => {
                if current.target.mailbox().mark(current.key, true).is_err() {
                    // Its actor has ended, and has cut it before this call.
                    drop(seat);
                    attachment.detach(Last::default());
                    return Err(RetargetError::Closed);
                }
                *next = Some(Box::new((attachment, relay)));
            }
        }
        let waker = seat.waker.take();
        drop(seat);
        wake(waker);
        Ok(given_up)
    }
}
