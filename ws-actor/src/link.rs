//! One connection's dealings with the Hub, without a runtime: events out, outbox in.
//!
//! A task drives a socket (`conn.rs`), or a loop does (`loops/driver.rs`). Either opens a [`Link`] when the connection
//! is open and obeys four rules:
//!
//! 1. It reads from the socket only while [`Link::is_free`]: there is at most **one** event in hand that its actor
//!    has not taken. So a slow actor stops the reading, and TCP pushes back on that client alone.
//! 2. It goes on writing what [`Link::poll_outgoing`] gives, also while an event waits. This prevents the old
//!    deadlock in which an actor waits for a client's full queue and the client's task for the actor's.
//! 3. It begins each of its turns with [`Link::attend`], where a connection moves to another actor (`seat.rs`).
//! 4. It calls [`Link::finish`] at the end, or drops the link. Either way the actor gets what was in hand and one
//!    `Disconnect`, if and only if it got the `Connect`; the connection has left its rooms and the registry before.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ws_core::{Instant, Part};

use crate::conduct::{Conduct, Verdict, over_rate};
use crate::conn::now;
use crate::entry::{Entry, Terms, Who};
use crate::event::{CloseFrame, Disconnect, Event, Inbound, Message, Reason};
use crate::hub::Hub;
use crate::id::ConnId;
use crate::limits::Bounds;
use crate::mailbox::{Down, Letter};
use crate::meters::DropReason;
use crate::observer::{Closed, Note};
use crate::outbox::{Out, Overflow};
use crate::seat::{Attachment, Last, Move, Receipt};
use crate::sync::lock;
use crate::target::{Pool, Target};
use crate::waiters::Ticket;

pub(crate) struct Link {
    hub: Hub,
    entry: Arc<Entry>,
    /// The actor that has the connection; the seat has the attachment.
    target: Target,
    topic: Arc<str>,
    /// The event that the actor has not taken yet. Boxed, for most are taken at once.
    hand: Option<Box<Event>>,
    /// A message that an earlier actor did not live to take; it follows the `Connect` in hand.
    carried: Option<Box<Event>>,
    ticket: Option<Ticket>,
    /// Whether the actor has the `Connect`.
    met: bool,
    /// An actor was told that the connection goes on with another, which has not heard of it yet.
    promised: bool,
    /// An earlier actor has not done with its `Disconnect`.
    waits: bool,
    /// The peer's close frame has come.
    heard_close: bool,
    is_aborted: bool,
    reason: Option<Box<Reason>>,
    /// The interval of its heartbeats, and when the next one is due; boxed, for most connections have none.
    beat: Option<Box<(Duration, Instant)>>,
    /// The limits of the connection; boxed, for most have none.
    conduct: Option<Box<Conduct>>,
    shows_control: bool,
}

impl Link {
    /// Registers a connection with the next actor of a pool, with its `Connect` in hand.
    pub(crate) fn open(
        hub: &Hub,
        pool: &Pool,
        bounds: impl Into<Bounds>,
        who: Who,
        terms: Terms,
    ) -> Result<Self, Down> {
        let (topic, every) = (Arc::clone(&terms.topic), terms.heartbeat);
        let mut bounds = bounds.into();
        let (conduct, shows_control) = (bounds.conduct.take(), bounds.shows_control);
        let entry = hub.new_entry(bounds, who, terms);
        let attachment = pool.deal(&hub.shared.names, |target| Attachment::new(target, &entry))?;
        let target = attachment.target.clone();
        lock(&entry.seat).sit(attachment);
        if let Err(Down) = hub.register(&entry) {
            let [current, _] = lock(&entry.seat).rise();
            if let Some(attachment) = current {
                attachment.detach(Last::default());
            }
            return Err(Down);
        }
        let connect = entry.connect();
        hub.shared.meters.observers.tell(|| Note::Opened(connect.clone()));
        let hand = Some(Box::new(Event::Connect(Box::new(connect))));
        let mut link = Self {
            hub: hub.clone(),
            entry,
            target,
            topic,
            hand,
            carried: None,
            ticket: None,
            met: false,
            promised: false,
            waits: false,
            heard_close: false,
            is_aborted: false,
            reason: None,
            beat: None,
            conduct,
            shows_control,
        };
        link.set_beat(every, now());
        Ok(link)
    }

    /// Does what others have asked for since the last call, a move above all, and has the task of `cx` woken when there is
    /// more. To be called at the beginning of each turn; tells whether the connection has moved.
    pub(crate) fn attend(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        let mut seat = lock(&self.entry.seat);
        seat.attend(cx);
        let to_do = seat.go(self.met);
        self.waits = seat.waits();
        self.is_aborted = seat.is_aborted();
        if !Arc::ptr_eq(&self.topic, &seat.terms.topic) {
            self.topic = Arc::clone(&seat.terms.topic);
        }
        let every = seat.terms.heartbeat;
        drop(seat);
        self.set_beat(every, now);
        to_do.map(|to_do| self.go(to_do)).is_some()
    }

    /// Whether the connection is to end in this turn, whatever its peer does.
    pub(crate) fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// The peer has sent its close frame: the connection ends cleanly.
    pub(crate) fn hear_close(&mut self) {
        self.heard_close = true;
    }

    /// Records how long the peer took for a sign of life after a ping.
    pub(crate) fn hear_after(&self, rtt: Duration) {
        self.hub.shared.meters.rtt.record(rtt);
    }

    fn set_beat(&mut self, every: Option<Duration>, now: Instant) {
        if self.beat.as_ref().map(|beat| beat.0) != every {
            self.beat = every.map(|every| Box::new((every, now.saturating_add(every))));
        }
    }

    /// Leaves one actor, with a `Disconnect` if it has the `Connect`, and has a `Connect` in hand for the next.
    fn go(&mut self, Move { from, to, terms }: Move) {
        from.target.mailbox().give_up(&mut self.ticket);
        let hand = self.hand.take();
        let last = if self.met {
            let gone = Disconnect { id: self.entry.id(), reason: Reason::Moved, meta: terms.meta };
            let farewell = Letter::Farewell(gone, Receipt(Arc::clone(&self.entry)));
            [hand.map(|event| Letter::Event(*event)), Some(farewell), None]
        } else {
            Last::default()
        };
        let [untaken, ..] = from.detach(last);
        if let Some(Letter::Event(event @ Event::Message(_))) = untaken {
            self.carried = Some(Box::new(event));
        }
        self.promised |= self.met;
        self.met = false;
        self.target = to;
        self.hand = Some(Box::new(Event::Connect(Box::new(self.entry.connect()))));
    }

    pub(crate) fn id(&self) -> ConnId {
        self.entry.id()
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Whether the actor has taken all that there was: the socket may be read.
    pub(crate) fn is_free(&self) -> bool {
        self.hand.is_none()
    }

    #[cfg(test)]
    pub(crate) fn hold(&mut self, message: Message) -> Result<(), Message> {
        if self.hand.is_some() {
            return Err(message);
        }
        self.hand = Some(Box::new(self.inbound(message, Part::Whole)));
        Ok(())
    }

    /// Gives a message, a part of one, or a control frame to the actor, or has it in hand until there is room. To be
    /// called only while [`Link::is_free`], or for what was read when a move began: it follows the `Connect` in hand.
    /// Otherwise it is dropped.
    pub(crate) fn give(&mut self, cx: &Context<'_>, message: Message, part: Part) {
        let event = self.inbound(message, part);
        if self.is_free() {
            let _ = self.post(cx, Some(event));
        } else if !self.met && self.carried.is_none() {
            self.carried = Some(Box::new(event));
        }
    }

    fn inbound(&self, message: Message, part: Part) -> Event {
        if message.is_data() {
            self.entry.traffic.came(message.len(), part.is_last());
        }
        Event::Message(Inbound { id: self.entry.id(), topic: Arc::clone(&self.topic), message, part })
    }

    /// Whether the actor wants to see control frames.
    pub(crate) fn shows_control(&self) -> bool {
        self.shows_control
    }

    /// Judges a message, or a part of one, of `len` bytes that has come: whether it is to be delivered. One that comes too
    /// fast is counted, and may end the connection.
    pub(crate) fn admits(&mut self, len: usize, part: Part, now: Instant) -> bool {
        let Some(conduct) = &mut self.conduct else { return true };
        let verdict = conduct.came(len, part.is_first(), now);
        if verdict != Verdict::Take && part.is_first() {
            self.entry.traffic.came_too_fast();
        }
        if verdict == Verdict::Close {
            let (frame, reason) = over_rate();
            self.cut(frame, reason);
        }
        verdict == Verdict::Take
    }

    /// A message goes to the peer.
    pub(crate) fn went(&mut self, now: Instant) {
        if let Some(conduct) = &mut self.conduct {
            conduct.went(now);
        }
    }

    /// Whether the socket is to be left alone for now, because the peer was too fast.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.conduct.as_ref().is_some_and(|conduct| conduct.is_paused(now))
    }

    /// When [`Link::tick`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let check = self.conduct.as_ref().and_then(|conduct| conduct.deadline());
        self.beat.as_ref().map(|beat| beat.1).into_iter().chain(check).min()
    }

    /// Does what is due: takes a heartbeat in hand, ends the connection if it has not kept to what it is held to.
    /// Harmless when early; tells whether anything was due.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let is_due = self.deadline().is_some_and(|deadline| deadline <= now);
        if is_due {
            self.beat(now);
            self.check(now);
        }
        is_due
    }

    /// Ends the connection if it has not kept to what it is held to.
    fn check(&mut self, now: Instant) {
        let Some(conduct) = &mut self.conduct else { return };
        if let Some((frame, reason)) = conduct.tick(now, || self.entry.is_authenticated()) {
            self.cut(frame, reason);
        }
    }

    /// Takes a heartbeat in hand if one is due and nothing else is in hand.
    fn beat(&mut self, now: Instant) {
        let Some((every, at)) = self.beat.as_deref_mut().filter(|(_, at)| *at <= now) else { return };
        // In step with the first, but for those that were slept through.
        let next = at.saturating_add(*every);
        *at = if next > now { next } else { now.saturating_add(*every) };
        if self.hand.is_none() {
            self.hand = Some(Box::new(Event::Heartbeat(Box::new(self.entry.heartbeat()))));
        }
    }

    /// Gives what is in hand to the actor as soon as its mailbox has room; ready at once with nothing in hand.
    ///
    /// When the actor is down, the event is lost with it, unless the connection is about to move; the outbox has the
    /// close frame already.
    pub(crate) fn poll_deliver(&mut self, cx: &Context<'_>) -> Poll<Result<(), Down>> {
        let hand = self.hand.take().map(|event| *event);
        self.post(cx, hand)
    }

    /// Gives an event to the actor, or has it in hand until there is room.
    fn post(&mut self, cx: &Context<'_>, mut hand: Option<Event>) -> Poll<Result<(), Down>> {
        if self.waits {
            // The receipt wakes the task, and `attend` looks again.
            self.hand = hand.map(Box::new);
            return Poll::Pending;
        }
        let delivered = self.target.mailbox().poll_post(cx, &mut self.ticket, &mut hand);
        match delivered {
            Poll::Ready(Ok(())) => {
                self.met = true;
                self.promised = false;
                self.hand = self.carried.take();
                return delivered;
            }
            // The move was asked for after this turn began, so that there will be another.
            Poll::Ready(Err(Down)) if lock(&self.entry.seat).is_leaving() => {}
            Poll::Ready(Err(Down)) => {
                // An actor that was not told of the beginning is not told of the end either.
                self.promised = false;
                return delivered;
            }
            Poll::Pending => {}
        }
        self.hand = hand.map(Box::new);
        Poll::Pending
    }

    /// The next thing to write to the socket. After [`Out::Close`] nothing comes.
    pub(crate) fn poll_outgoing(&self, cx: &Context<'_>) -> Poll<Out> {
        let out = self.entry.outbox().poll_take(cx);
        if let Poll::Ready(Out::Data(frame)) = &out {
            self.entry.traffic.went(frame.payload_len());
        }
        out
    }

    /// Whether a message that waits may give way to a newer one.
    pub(crate) fn keeps_latest(&self) -> bool {
        self.entry.outbox().overflow() == Overflow::Conflate
    }

    /// Takes nothing, and has the task of `cx` woken as [`Link::poll_outgoing`] does.
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        self.entry.outbox().watch(cx);
    }

    /// Drops what waits to be written and has the connection closed by this frame, for this reason, if it is not
    /// closing yet.
    pub(crate) fn cut(&self, frame: CloseFrame, reason: Reason) {
        let _ = self.entry.outbox().cut(frame, reason);
    }

    /// The peer takes no more: senders are told so, and what waits is dropped.
    pub(crate) fn hang_up(&self) {
        self.entry.outbox().end();
    }

    /// Why this side ends the connection, if it does: a caller of the Hub closed it, its outbox overflowed, its actor
    /// ended.
    pub(crate) fn ending(&self) -> Option<Reason> {
        self.entry.outbox().ending()
    }

    /// The connection is over, for this reason.
    pub(crate) fn finish(mut self, reason: Reason) {
        self.reason = Some(Box::new(reason));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let id = self.entry.id();
        let undelivered = self.entry.outbox().end();
        self.hub.unregister(&self.entry, self.heard_close, undelivered);
        self.entry.free_places();
        self.entry.leave_rooms();
        let reason = self.reason.take().map_or(Reason::Aborted, |reason| *reason);
        let meters = &self.hub.shared.meters;
        meters.dropped.add(DropReason::Ended, undelivered);
        if let Some(ending) = reason.ending() {
            meters.closed.add(ending, 1);
        }
        let closed = || Closed { id, reason: reason.clone(), info: self.entry.info() };
        meters.observers.tell(|| Note::Closed(closed()));
        if !self.target.is_open() {
            // The actor that it was to move to may still take what it has in hand.
            let to_do = lock(&self.entry.seat).go(self.met);
            if let Some(to_do) = to_do {
                self.go(to_do);
            }
        }
        let mut seat = lock(&self.entry.seat);
        let [current, next] = seat.rise();
        let meta = seat.terms.meta.clone();
        drop(seat);
        if let Some(next) = next {
            next.detach(Last::default());
        }
        let Some(current) = current else { return };
        current.target.mailbox().give_up(&mut self.ticket);
        if !(self.met || self.promised) {
            // The actor never heard of this connection, and need not now.
            current.detach(Last::default());
            return;
        }
        let gone = Event::Disconnect(Disconnect { id, reason, meta });
        let last = [self.hand.take(), self.carried.take(), Some(Box::new(gone))]
            .map(|event| event.map(|event| Letter::Event(*event)));
        let now = lock(&self.entry.seat).leave_behind(current, last);
        if let Some((current, last)) = now {
            current.detach(last);
        }
    }
}

#[cfg(test)]
mod tests;
