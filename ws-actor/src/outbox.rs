//! The queue between all that send to a connection and the one task that writes to its socket.
//!
//! Bounded in messages and in bytes. A sender never waits here unless it asks to ([`Outbox::poll_push`]); when the
//! bound is reached the connection's [`Overflow`] policy decides. Three lanes:
//!
//! - *control*: pings and pongs overtake data and are never dropped; the lane holds [`MAX_CONTROL`], a sender beyond
//!   that is told so;
//! - *data*: messages, in the order they were accepted;
//! - *close*: one frame, behind the data that was accepted before it, or in its place when the connection is cut.
//!
//! Names no runtime: a mutex, a deque and the [`Waker`] of the task that writes to the socket. Wakers are called after the
//! lock is released, and what is dropped is dropped after it: a payload may have an owner whose destructor comes back
//! here (`Bytes::from_owner`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::event::{CloseFrame, Reason};
use crate::outgoing::{Control, Frame};
use crate::sync::{lock, store, wake};
use crate::waiters::{Ticket, Waiters};

/// Maximum number of pings and pongs in a connection's control lane.
pub(crate) const MAX_CONTROL: usize = 64;

/// What a connection's outgoing queue may hold, and what happens when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// Maximum number of messages. Default 256.
    pub max_messages: usize,
    /// Maximum number of bytes, frame heads included. Default 1 MiB. One larger message is taken when no other waits.
    pub max_bytes: usize,
    /// What happens to a message when there is no room. Default [`Overflow::Close`].
    pub overflow: Overflow,
}

impl OutboxLimits {
    /// The defaults named at the fields.
    pub const fn new() -> Self {
        Self { max_messages: 256, max_bytes: 1 << 20, overflow: Overflow::Close }
    }
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// What happens when a connection takes messages more slowly than they are sent to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is closed with 1013, and what waited is dropped: a client either sees every message or knows
    /// that it did not. The sender gets `Full`.
    #[default]
    Close,
    /// The new message is dropped; the sender gets `Full`.
    DropNew,
    /// The oldest messages that wait are dropped to make room.
    DropOld,
    /// A message that waits under the same key ([`Outgoing::keyed`](crate::Outgoing::keyed)) gives its place to the
    /// new one, whether there is room or not: of each key at most one waits, the latest, and none waits longer for
    /// being renewed. If none waits and there is no room, as [`Overflow::DropNew`].
    ///
    /// While the socket takes nothing, everything except the message that was being written can be replaced. What the
    /// system has taken cannot: a small send buffer on the listening socket bounds that, as in the `dashboard` example.
    Conflate,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No room now.
    Full,
    /// The connection closes or is gone.
    Closed,
}

/// What a message has made of an outbox that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing that its sender need think about.
    Steady,
    /// Half full, on its way up: a client that has stopped to read is noticed once.
    HalfFull,
}

/// The next thing to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Data(Frame),
    Control(Control),
    /// Nothing follows it.
    Close(Option<CloseFrame>),
}

pub(crate) struct Outbox {
    /// Shared by all connections of a route.
    limits: Arc<OutboxLimits>,
    state: Mutex<State>,
}

/// What is seldom there is boxed: there is one of these for each connection.
#[derive(Default)]
struct State {
    data: VecDeque<Item>,
    bytes: usize,
    #[expect(clippy::box_collection, reason = "it is mostly not there")]
    control: Option<Box<VecDeque<Control>>>,
    phase: Phase,
    /// Why this side ends the connection, once it does.
    ending: Option<Box<Reason>>,
    /// Messages lost to the overflow policy, or cut off by an end that did not wait for them.
    dropped: u64,
    /// Those of them that were cut off.
    cut_off: u64,
    writer: Option<Waker>,
    senders: Waiters,
}

#[derive(Default)]
enum Phase {
    #[default]
    Open,
    /// No more is taken; the close frame goes when the data before it has gone.
    Closing(Option<Box<CloseFrame>>),
    /// The close frame was handed out, or the connection is gone.
    Closed,
}

struct Item {
    frame: Frame,
    key: Option<Arc<str>>,
}

/// Messages that were lost to make room, to be let go of when no lock is held.
#[derive(Default)]
pub(crate) struct Lost(Vec<Item>);

impl Lost {
    fn add(&mut self, item: Item) {
        item.frame.note_dropped();
        self.0.push(item);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Outbox {
    pub(crate) fn new(limits: Arc<OutboxLimits>) -> Self {
        Self { limits, state: Mutex::default() }
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.limits.overflow
    }

    /// Queues a message now or says why not. What has to go for it goes to `lost`.
    pub(crate) fn push(
        &self,
        frame: &Frame,
        key: Option<&Arc<str>>,
        lost: &mut Lost,
    ) -> Result<Level, Refused> {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open) {
            return Err(Refused::Closed);
        }
        if self.replace(&mut state, frame, key, lost) {
            let next = state.next_sender(&self.limits);
            drop(state);
            wake(next);
            return Ok(Level::Steady);
        }
        if !self.has_room(&state, frame.len()) {
            match self.limits.overflow {
                Overflow::Close => {
                    let wakers = state.cut(Some(CloseFrame::SLOW_CONSUMER), Reason::SlowConsumer, lost);
                    state.dropped += 1;
                    drop(state);
                    wakers.wake();
                    return Err(Refused::Full);
                }
                Overflow::DropOld => {
                    while !self.has_room(&state, frame.len()) {
                        let Some(old) = state.data.pop_front() else { break };
                        state.bytes -= old.frame.len();
                        state.dropped += 1;
                        lost.add(old);
                    }
                }
                Overflow::DropNew | Overflow::Conflate => {
                    state.dropped += 1;
                    return Err(Refused::Full);
                }
            }
        }
        let was_low = self.is_low(&state);
        let writer = state.accept(frame.clone(), key.cloned());
        let has_risen = was_low && !self.is_low(&state);
        drop(state);
        wake(writer);
        Ok(if has_risen { Level::HalfFull } else { Level::Steady })
    }

    /// Queues a message as soon as there is room, in the order in which senders began to wait.
    ///
    /// A sender that gives up calls [`Outbox::give_up`] with its ticket.
    pub(crate) fn poll_push(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        frame: &Frame,
        key: Option<&Arc<str>>,
    ) -> Poll<Result<(), Refused>> {
        let mut lost = Lost::default();
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open) {
            state.senders.leave(ticket);
            return Poll::Ready(Err(Refused::Closed));
        }
        let is_first = state.senders.is_first(*ticket);
        let is_in_place = is_first && self.replace(&mut state, frame, key, &mut lost);
        if !(is_in_place || is_first && self.has_half(&state, frame.len())) {
            state.senders.wait(ticket, cx.waker());
            return Poll::Pending;
        }
        state.senders.leave(ticket);
        let writer = if is_in_place { None } else { state.accept(frame.clone(), key.cloned()) };
        let next = state.next_sender(&self.limits);
        drop(state);
        wake(writer);
        wake(next);
        Poll::Ready(Ok(()))
    }

    /// Queues the last of these messages, the oldest first: as many as half of the outbox has room for. What comes next
    /// has the other half.
    pub(crate) fn push_last<'a, M>(&self, messages: M, lost: &mut Lost)
    where
        M: DoubleEndedIterator<Item = (&'a Frame, Option<&'a Arc<str>>)> + ExactSizeIterator + Clone,
    {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open) {
            return;
        }
        let (mut waiting, mut bytes) = (state.data.len(), state.bytes);
        let fitting = messages.clone().rev().take_while(|(frame, _)| {
            let fits = waiting == 0
                || waiting < self.limits.max_messages / 2 && bytes + frame.len() <= self.limits.max_bytes / 2;
            waiting += 1;
            bytes += frame.len();
            fits
        });
        let skipped = messages.len() - fitting.count();
        let mut writer = None;
        for (frame, key) in messages.skip(skipped) {
            if !self.replace(&mut state, frame, key, lost) {
                writer = state.accept(frame.clone(), key.cloned()).or(writer);
            }
        }
        drop(state);
        wake(writer);
    }

    /// Ready when less than half is taken, or nobody will take more. It waits in the line of [`Outbox::poll_push`].
    pub(crate) fn poll_low(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<()> {
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Open) && !self.is_low(&state) {
            state.senders.wait(ticket, cx.waker());
            return Poll::Pending;
        }
        state.senders.leave(ticket);
        let next = state.next_sender(&self.limits);
        drop(state);
        wake(next);
        Poll::Ready(())
    }

    /// Wakes all in that line.
    #[cfg(feature = "mio")]
    pub(crate) fn wake_senders(&self) {
        let senders = lock(&self.state).senders.all();
        senders.into_iter().for_each(Waker::wake);
    }

    /// Leaves the line of [`Outbox::poll_push`].
    pub(crate) fn give_up(&self, ticket: &mut Option<Ticket>) {
        if ticket.is_none() {
            return;
        }
        let mut state = lock(&self.state);
        state.senders.leave(ticket);
        let next = state.next_sender(&self.limits);
        drop(state);
        wake(next);
    }

    /// Queues a ping or a pong, which overtakes data.
    pub(crate) fn push_control(&self, control: Control) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open) {
            return Err(Refused::Closed);
        }
        let lane = state.control.get_or_insert_default();
        if lane.len() == MAX_CONTROL {
            return Err(Refused::Full);
        }
        lane.push_back(control);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(())
    }

    /// Takes no more messages, and closes when those that were taken are written.
    pub(crate) fn close(&self, frame: Option<CloseFrame>) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open) {
            return Err(Refused::Closed);
        }
        state.ending = Some(Box::new(Reason::Local(frame.clone())));
        state.phase = Phase::Closing(frame.map(Box::new));
        let wakers = Wakers { writer: state.writer.take(), senders: state.senders.all() };
        drop(state);
        wakers.wake();
        Ok(())
    }

    /// Drops what waits and closes at once, for `reason`.
    pub(crate) fn cut(&self, frame: CloseFrame, reason: Reason) -> Result<(), Refused> {
        let mut lost = Lost::default();
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Open) {
            return Err(Refused::Closed);
        }
        let wakers = state.cut(Some(frame), reason, &mut lost);
        drop(state);
        wakers.wake();
        Ok(())
    }

    /// Drops what waits; the close frame that waits behind it, or else this one, is all that still goes.
    pub(crate) fn abandon(&self, frame: &CloseFrame) {
        let mut lost = Lost::default();
        let mut state = lock(&self.state);
        let (frame, reason) = match &mut state.phase {
            Phase::Open => (Some(frame.clone()), Reason::Local(Some(frame.clone()))),
            Phase::Closing(closing) => {
                let frame = closing.take().map(|frame| *frame);
                (frame, state.ending.take().map_or(Reason::Aborted, |ending| *ending))
            }
            Phase::Closed => return,
        };
        let wakers = state.cut(frame, reason, &mut lost);
        drop(state);
        wakers.wake();
    }

    /// The connection is gone: nothing is taken or handed out any more. Returns how many messages never were.
    pub(crate) fn end(&self) -> u64 {
        let mut state = lock(&self.state);
        let left = state.data.len() as u64;
        state.dropped += left;
        state.cut_off += left;
        let cut_off = state.cut_off;
        let lost = (std::mem::take(&mut state.data), std::mem::take(&mut state.control));
        state.bytes = 0;
        state.phase = Phase::Closed;
        let wakers = Wakers { writer: state.writer.take(), senders: state.senders.all() };
        drop(state);
        wakers.wake();
        drop(lost);
        cut_off
    }

    /// The next thing to write; `Pending` when there is nothing, and the task of `cx` is woken when there is.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Out> {
        let mut state = lock(&self.state);
        let out = if let Some(control) = state.control.as_mut().and_then(|lane| lane.pop_front()) {
            state.control.take_if(|lane| lane.is_empty());
            Out::Control(control)
        } else if let Some(Item { frame, .. }) = state.data.pop_front() {
            state.bytes -= frame.len();
            if state.data.is_empty() {
                // Making it anew costs 25 ns; keeping it would be a tenth of an idle connection.
                state.data = VecDeque::new();
            }
            Out::Data(frame)
        } else if let Phase::Closing(frame) = &mut state.phase {
            let frame = frame.take().map(|frame| *frame);
            state.phase = Phase::Closed;
            Out::Close(frame)
        } else {
            store(&mut state.writer, cx.waker());
            return Poll::Pending;
        };
        let next = state.next_sender(&self.limits);
        drop(state);
        wake(next);
        Poll::Ready(out)
    }

    /// Has the task of `cx` woken when something is queued, or the end begins. A message that replaces one wakes nobody.
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        store(&mut lock(&self.state).writer, cx.waker());
    }

    /// Whether messages are taken still.
    pub(crate) fn is_open(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Open)
    }

    /// Why this side ends the connection, if it does.
    pub(crate) fn ending(&self) -> Option<Reason> {
        lock(&self.state).ending.as_deref().cloned()
    }

    /// Messages that wait, their bytes, and messages lost so far.
    pub(crate) fn load(&self) -> (usize, usize, u64) {
        let state = lock(&self.state);
        (state.data.len(), state.bytes, state.dropped)
    }

    /// Room for a sender that waits: half of all. The other half is for those that do not, else a producer that is as
    /// fast as its client would keep the outbox full, and the next plain send would overflow it.
    fn has_half(&self, state: &State, len: usize) -> bool {
        state.data.is_empty()
            || state.data.len() < self.limits.max_messages / 2
                && state.bytes + len <= self.limits.max_bytes / 2
    }

    /// Puts a message in the place of the one that waits under the same key, if the policy is to and its room is enough.
    fn replace(&self, state: &mut State, frame: &Frame, key: Option<&Arc<str>>, lost: &mut Lost) -> bool {
        if self.limits.overflow != Overflow::Conflate || key.is_none() {
            return false;
        }
        let is_alone = state.data.len() == 1;
        let Some(item) = state.data.iter_mut().find(|item| item.key.as_ref() == key) else { return false };
        let bytes = state.bytes - item.frame.len() + frame.len();
        if !is_alone && bytes > self.limits.max_bytes {
            return false;
        }
        lost.add(Item { frame: std::mem::replace(&mut item.frame, frame.clone()), key: None });
        state.bytes = bytes;
        state.dropped += 1;
        true
    }

    /// Whether less than half is taken.
    fn is_low(&self, state: &State) -> bool {
        state.data.len() < self.limits.max_messages.div_ceil(2)
            && state.bytes < self.limits.max_bytes.div_ceil(2)
    }

    fn has_room(&self, state: &State, len: usize) -> bool {
        state.data.is_empty()
            || state.data.len() < self.limits.max_messages && state.bytes + len <= self.limits.max_bytes
    }
}

impl State {
    fn accept(&mut self, frame: Frame, key: Option<Arc<str>>) -> Option<Waker> {
        self.bytes += frame.len();
        if self.data.capacity() == 0 {
            // Most messages find nothing before them.
            self.data.reserve_exact(1);
        }
        self.data.push_back(Item { frame, key });
        self.writer.take()
    }

    fn cut(&mut self, frame: Option<CloseFrame>, reason: Reason, lost: &mut Lost) -> Wakers {
        self.dropped += self.data.len() as u64;
        self.cut_off += self.data.len() as u64;
        std::mem::take(&mut self.data).into_iter().for_each(|item| lost.add(item));
        self.bytes = 0;
        self.ending = Some(Box::new(reason));
        self.phase = Phase::Closing(frame.map(Box::new));
        Wakers { writer: self.writer.take(), senders: self.senders.all() }
    }

    /// The first sender in line, if it is worth its while to look again.
    fn next_sender(&mut self, limits: &OutboxLimits) -> Option<Waker> {
        let room = self.data.is_empty()
            || self.data.len() < limits.max_messages / 2 && self.bytes < limits.max_bytes / 2;
        if room { self.senders.next() } else { None }
    }
}

struct Wakers {
    writer: Option<Waker>,
    senders: Vec<Waker>,
}

impl Wakers {
    fn wake(self) {
        wake(self.writer);
        self.senders.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
