//! The queue in front of an actor.
//!
//! Bounded in letters and in bytes. A connection whose event finds no room waits in line, and is not read while it
//! does; connections get room in the order in which they asked. Casts do not wait, and come again when they like: while a
//! connection is in line they get every second place at most, and none that its event needs.
//!
//! Two things pass the bound: a [`Disconnect`](crate::Disconnect), which must never be lost, and what a dying connection
//! had in hand, which is one message, and the `Connect` if it died on its way from another actor. Both are bounded by the
//! number of connections, and connections by [`FULL_TIMES`]: a mailbox that holds so much more than it should takes no
//! new one. The two letters that a Hub writes when it shuts down pass the bound as well.
//!
//! The mailbox knows which connections are attached to it, so that they end with it. Names no runtime.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::conn::now;
use crate::drain::Answer;
use crate::entry::Entry;
use crate::event::{CloseFrame, Disconnect, Event, Reason};
use crate::id::ConnId;
use crate::meters::Meters;
use crate::seat::{Last, Receipt};
use crate::supervise::drop_contained;
use crate::sync::{lock, store, wake};
use crate::waiters::{Ticket, Waiters};

/// Maximum number of letters that wait for an actor.
pub(crate) const MAX_LETTERS: usize = 1_024;

/// Maximum number of bytes that wait for an actor. One larger letter is taken when no other waits.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// A mailbox that holds so many times [`MAX_LETTERS`] or [`MAX_BYTES`] takes no more connections: by the ends of those that
/// come and go it would grow for as long as its actor is slow.
const FULL_TIMES: usize = 4;

/// One letter in this many is timed.
const TIMED_EVERY: u64 = 32;

/// A deque that held more than this is given back when it runs empty.
const KEPT_SLOTS: usize = 64;

/// What an actor finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Letter {
    Event(Event),
    /// The `Disconnect` of a connection that goes on with another actor, which waits for the receipt.
    Farewell(Disconnect, Receipt),
    Cast(Box<dyn Any + Send>),
    /// The Hub shuts down, and will cut what is open then.
    Drain(Instant, Answer),
    /// The Hub has shut down.
    Stop(Answer),
}

impl Letter {
    fn cost(&self) -> usize {
        match self {
            Self::Event(event) => event.cost(),
            Self::Farewell(..) | Self::Cast(_) | Self::Drain(..) | Self::Stop(_) => size_of::<Self>(),
        }
    }

    /// Whether it tells that there is a connection.
    fn is_first(&self) -> bool {
        matches!(self, Self::Event(Event::Connect(_)))
    }

    /// Whether it tells that a connection is gone.
    fn is_last(&self) -> bool {
        matches!(self, Self::Event(Event::Disconnect(_)) | Self::Farewell(..))
    }
}

/// The actor ends or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Down;

/// Why a cast was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CastRefused {
    Full,
    Down,
}

#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    meters: Arc<Meters>,
}

#[derive(Default)]
struct State {
    letters: VecDeque<Letter>,
    bytes: usize,
    phase: Phase,
    attached: HashMap<u64, Attached>,
    last_key: u64,
    reader: Option<Waker>,
    line: Waiters,
    /// What the event of the first in line costs, as far as it has said so.
    first: Option<(Ticket, usize)>,
    /// A cast has got a place since somebody in line did.
    cast_went: bool,
    /// Letters that have been posted, and read.
    posted: u64,
    read: u64,
    /// The number of a letter that is timed, and when it was posted. Reading the clock for each would cost as much as
    /// posting it.
    timed: Option<(u64, ws_core::Instant)>,
}

struct Attached {
    entry: Arc<Entry>,
    /// It is about to go to another actor, and outlives this one.
    leaves: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The actor stops: it is told of the ends of its connections and of nothing else.
    Sealed,
    /// The actor is gone.
    Closed,
}

impl Mailbox {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self { state: Mutex::default(), meters }
    }

    pub(crate) fn is_open(&self) -> bool {
        lock(&self.state).phase == Phase::Open
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).letters.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn attached_count(&self) -> usize {
        lock(&self.state).attached.len()
    }

    /// Makes that connection end with this mailbox, under a key that was never used here. One that is full
    /// several times over counts as down.
    pub(crate) fn attach(&self, entry: &Arc<Entry>) -> Result<u64, Down> {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open || state.is_overfull() {
            return Err(Down);
        }
        state.last_key += 1;
        let key = state.last_key;
        state.attached.insert(key, Attached { entry: Arc::clone(entry), leaves: false });
        Ok(key)
    }

    /// Says whether an attached connection is about to go to another actor.
    pub(crate) fn mark(&self, key: u64, leaves: bool) -> Result<(), Down> {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return Err(Down);
        }
        let attached = state.attached.get_mut(&key).ok_or(Down)?;
        attached.leaves = leaves;
        Ok(())
    }

    /// Undoes [`Mailbox::attach`], and posts the connection's last letters, whatever the bound says. Those that nobody
    /// will read come back.
    pub(crate) fn detach(&self, key: u64, mut last: Last) -> Last {
        let mut state = lock(&self.state);
        let attached = state.attached.remove(&key);
        let leaves = attached.as_ref().is_some_and(|attached| attached.leaves);
        // An actor that stops is told of the ends of the connections it knows, and meets no new ones.
        let is_new = last.iter().flatten().any(Letter::is_first);
        for slot in &mut last {
            let wanted = slot.take_if(|letter| match state.phase {
                Phase::Open => true,
                Phase::Sealed => leaves || letter.is_last() && !is_new,
                Phase::Closed => false,
            });
            if let Some(letter) = wanted {
                state.post(letter);
            }
        }
        // A sealed mailbox has its reader look again even if nothing was posted: this may have been the last one.
        let reader = state.reader.take();
        drop(state);
        drop(attached);
        wake(reader);
        last
    }

    /// Moves `hand` into the mailbox as soon as there is room. With nothing in hand it is ready at once. A mailbox that
    /// is down leaves it in hand.
    pub(crate) fn poll_post(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        hand: &mut Option<Event>,
    ) -> Poll<Result<(), Down>> {
        let Some(event) = hand.take() else { return Poll::Ready(Ok(())) };
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            state.line.leave(ticket);
            *hand = Some(event);
            return Poll::Ready(Err(Down));
        }
        let is_first = state.line.is_first(*ticket);
        if !is_first || !state.has_room(event.cost()) {
            state.line.wait(ticket, cx.waker());
            if is_first {
                state.first = ticket.map(|ticket| (ticket, event.cost()));
            }
            *hand = Some(event);
            return Poll::Pending;
        }
        state.line.leave(ticket);
        state.cast_went = false;
        state.post(Letter::Event(event));
        let (reader, next) = (state.reader.take(), state.next_in_line());
        drop(state);
        wake(reader);
        wake(next);
        Poll::Ready(Ok(()))
    }

    /// Leaves the line of [`Mailbox::poll_post`].
    pub(crate) fn give_up(&self, ticket: &mut Option<Ticket>) {
        if ticket.is_none() {
            return;
        }
        let mut state = lock(&self.state);
        state.line.leave(ticket);
        let next = state.next_in_line();
        drop(state);
        wake(next);
    }

    /// Posts a message of the program itself, now or not at all.
    pub(crate) fn cast(&self, message: Box<dyn Any + Send>) -> Result<(), CastRefused> {
        let letter = Letter::Cast(message);
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return Err(CastRefused::Down);
        }
        if !state.has_room(letter.cost()) || !state.may_pass(letter.cost()) {
            return Err(CastRefused::Full);
        }
        state.cast_went = true;
        state.post(letter);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Posts a letter of the Hub, whatever the bound says; not to an actor that ends.
    pub(crate) fn tell(&self, letter: Letter) {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            // Its destructor tells others.
            drop(state);
            drop(letter);
            return;
        }
        state.post(letter);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// The next letter; `None` when the mailbox is sealed, all its connections are gone and it is empty.
    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<Option<Letter>> {
        let mut state = lock(&self.state);
        let Some(letter) = state.letters.pop_front() else {
            if state.phase != Phase::Open && state.attached.is_empty() {
                return Poll::Ready(None);
            }
            store(&mut state.reader, cx.waker());
            return Poll::Pending;
        };
        state.bytes -= letter.cost();
        state.read += 1;
        let read = state.read;
        let timed = state.timed.take_if(|(number, _)| *number == read);
        if state.letters.is_empty() && state.letters.capacity() > KEPT_SLOTS {
            state.letters = VecDeque::new();
        }
        let next = state.next_in_line();
        drop(state);
        wake(next);
        if let Some((_, since)) = timed {
            self.meters.mailbox_wait.record(now().saturating_since(since));
        }
        Poll::Ready(Some(letter))
    }

    /// Takes only the ends of connections from now on, and closes those that are attached with 1011; all but those
    /// that leave for another actor or have left. Their letters are still to be read: it returns whose they are, and how
    /// many connections were closed.
    pub(crate) fn seal(&self) -> (HashSet<ConnId>, usize) {
        let mut moved = HashSet::new();
        let state = lock(&self.state);
        moved.extend(state.attached.values().filter(|one| one.leaves).map(|one| one.entry.id()));
        moved.extend(state.letters.iter().filter_map(|letter| match letter {
            Letter::Farewell(gone, _) => Some(gone.id),
            _ => None,
        }));
        let (closed, _) = Self::leave_open(state, Phase::Sealed);
        (moved, closed)
    }

    /// Takes nothing from now on, forgets what waits, and closes the attached connections with 1011, but for those
    /// that leave for another actor. Returns how many it closed and how many letters are lost.
    pub(crate) fn close(&self) -> (usize, usize) {
        Self::leave_open(lock(&self.state), Phase::Closed)
    }

    fn leave_open(mut state: MutexGuard<'_, State>, phase: Phase) -> (usize, usize) {
        state.phase = phase;
        let staying = state.attached.values().filter(|attached| !attached.leaves);
        let staying: Vec<_> = staying.map(|attached| Arc::clone(&attached.entry)).collect();
        let mut forgotten = (VecDeque::new(), HashMap::new());
        if phase == Phase::Closed {
            state.bytes = 0;
            forgotten = (std::mem::take(&mut state.letters), std::mem::take(&mut state.attached));
        }
        let (line, reader) = (state.line.all(), state.reader.take());
        drop(state);
        // Refused when the connection is closing anyway.
        let cut = |entry: &Arc<Entry>| entry.outbox().cut(CloseFrame::TARGET_DOWN, Reason::TargetDown);
        let closed = staying.iter().filter(|entry| cut(entry).is_ok()).count();
        let lost = forgotten.0.len();
        line.into_iter().for_each(Waker::wake);
        wake(reader);
        // Casts are values of the program, and receipts tell others; their destructors run here, outside the lock.
        forgotten.0.into_iter().for_each(drop_contained);
        drop(forgotten.1);
        (closed, lost)
    }
}

impl State {
    fn has_room(&self, cost: usize) -> bool {
        self.letters.is_empty() || self.letters.len() < MAX_LETTERS && self.bytes + cost <= MAX_BYTES
    }

    /// Whether there is so much more than should be that no connection is to come.
    fn is_overfull(&self) -> bool {
        let (letters, bytes) = (FULL_TIMES * MAX_LETTERS, FULL_TIMES * MAX_BYTES);
        // One letter may be larger than all that.
        let largest = || self.letters.iter().map(Letter::cost).max().unwrap_or(0);
        self.letters.len() >= letters || self.bytes >= bytes && self.bytes - largest() >= bytes
    }

    /// Whether a cast may have a place before the connections in line, if there are any. Without this, casts that come again
    /// at once would have every place before a connection's task is awake.
    fn may_pass(&self, cost: usize) -> bool {
        let Some(first) = self.line.first() else { return true };
        let needed = self.first.filter(|(ticket, _)| *ticket == first).map_or(0, |(_, cost)| cost);
        !self.cast_went && self.bytes + cost + needed <= MAX_BYTES
    }

    fn post(&mut self, letter: Letter) {
        self.bytes += letter.cost();
        self.letters.push_back(letter);
        self.posted += 1;
        if self.posted % TIMED_EVERY == 1 && self.timed.is_none() {
            self.timed = Some((self.posted, now()));
        }
    }

    /// The first in line, if it is worth its while to look again.
    fn next_in_line(&mut self) -> Option<Waker> {
        if self.has_room(0) { self.line.next() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Inbound, Message};
    use crate::fixture::{Count, entry, noop};
    use crate::hub::Hub;

    fn event(id: ConnId, len: usize) -> Option<Event> {
        let (topic, message, part) = ("".into(), Message::binary(vec![0; len]), ws_core::Part::Whole);
        Some(Event::Message(Inbound { id, topic, message, part }))
    }

    fn id() -> ConnId {
        entry(&Hub::new()).id()
    }

    fn fill(mailbox: &Mailbox) {
        for _ in 0..MAX_LETTERS {
            assert_eq!(mailbox.poll_post(&noop(), &mut None, &mut event(id(), 0)), Poll::Ready(Ok(())));
        }
    }

    /// B5, B14, N-04: a full mailbox takes no event and no cast; the event stays in the connection's hand.
    #[test]
    fn bounded_in_letters_and_bytes() {
        let mailbox = Mailbox::default();
        fill(&mailbox);
        let (mut hand, mut ticket) = (event(id(), 0), None);
        assert_eq!(mailbox.poll_post(&noop(), &mut ticket, &mut hand), Poll::Pending);
        assert!(hand.is_some() && ticket.is_some());
        assert_eq!(mailbox.cast(Box::new(1_u32)), Err(CastRefused::Full));
        assert!(mailbox.poll_read(&noop()).is_ready());
        assert_eq!(mailbox.poll_post(&noop(), &mut ticket, &mut hand), Poll::Ready(Ok(())));
        assert!(hand.is_none() && ticket.is_none());

        let mailbox = Mailbox::default();
        let more = 2 * MAX_BYTES;
        assert_eq!(mailbox.poll_post(&noop(), &mut None, &mut event(id(), more)), Poll::Ready(Ok(())));
        assert_eq!(mailbox.poll_post(&noop(), &mut None, &mut event(id(), 1)), Poll::Pending);
    }

    /// B4: connections get room in the order in which they asked; one that dies in line costs no other its turn.
    #[test]
    fn connections_take_turns() {
        let mailbox = Mailbox::default();
        fill(&mailbox);
        let counts: [Arc<Count>; 3] = Default::default();
        let mut tickets = [None; 3];
        let post = |n: usize, ticket: &mut Option<Ticket>| {
            let waker = Waker::from(Arc::clone(&counts[n]));
            mailbox.poll_post(&Context::from_waker(&waker), ticket, &mut event(id(), n))
        };
        for (n, ticket) in tickets.iter_mut().enumerate() {
            assert_eq!(post(n, ticket), Poll::Pending);
        }
        assert!(mailbox.poll_read(&noop()).is_ready());
        assert!(mailbox.poll_read(&noop()).is_ready());
        assert_eq!(counts.each_ref().map(|count| count.woken()), [1, 0, 0]);
        // There is room for two, but not for a newcomer.
        let mut newcomer = None;
        let poll = mailbox.poll_post(&noop(), &mut newcomer, &mut event(id(), 9));
        assert_eq!(poll, Poll::Pending);
        mailbox.give_up(&mut newcomer);
        mailbox.give_up(&mut tickets[0]);
        assert_eq!(counts.each_ref().map(|count| count.woken()), [1, 1, 0]);
        assert_eq!(post(2, &mut tickets[2]), Poll::Pending);
        assert_eq!(post(1, &mut tickets[1]), Poll::Ready(Ok(())));
        // There was room for two: the turn is passed on.
        assert_eq!(counts.each_ref().map(|count| count.woken()), [1, 1, 1]);
        assert_eq!(post(2, &mut tickets[2]), Poll::Ready(Ok(())));
    }

    /// C7, N-04: a mailbox that holds four times what it should takes no connection, until it is read; one large
    /// message that it may hold is not that.
    #[test]
    fn takes_connections_up_to_a_bound() {
        let (hub, mailbox) = (Hub::new(), Mailbox::default());
        let large = FULL_TIMES * MAX_BYTES;
        let mut keys: Vec<_> = (0..2).map(|_| mailbox.attach(&entry(&hub)).unwrap()).collect();
        assert_eq!(mailbox.poll_post(&noop(), &mut None, &mut event(id(), large)), Poll::Ready(Ok(())));
        keys.push(mailbox.attach(&entry(&hub)).unwrap());
        let mut end =
            |len| mailbox.detach(keys.pop().unwrap(), [event(id(), len).map(Letter::Event), None, None]);
        end(MAX_BYTES);
        end(0);
        assert!(mailbox.attach(&entry(&hub)).is_ok());
        end(large);
        assert_eq!(mailbox.attach(&entry(&hub)), Err(Down));
        assert!(mailbox.poll_read(&noop()).is_ready());
        assert!(mailbox.attach(&entry(&hub)).is_ok());
    }

    /// B5, N-04: casters that come again as soon as there is room keep no connection out: neither one that waits for a place
    /// nor one whose event needs most of the mailbox, or all of it.
    #[test]
    fn casts_leave_places() {
        for len in [0, MAX_BYTES - 10_000, 2 * MAX_BYTES] {
            let mailbox = Mailbox::default();
            fill(&mailbox);
            let (mut ticket, mut hand) = (None, event(id(), len));
            let mut casts = 0;
            assert_eq!(mailbox.poll_post(&noop(), &mut ticket, &mut hand), Poll::Pending);
            let rounds = (1..=2 * MAX_LETTERS).find(|_| {
                assert!(mailbox.poll_read(&noop()).is_ready());
                while mailbox.cast(Box::new(1_u32)).is_ok() {
                    casts += 1;
                }
                mailbox.poll_post(&noop(), &mut ticket, &mut hand).is_ready()
            });
            let rounds = rounds.unwrap_or_else(|| panic!("an event of {len} bytes never got in"));
            assert!(rounds <= if len == 0 { 2 } else { MAX_LETTERS }, "{rounds}");
            assert!(len > 0 || casts > 0, "casts have their turn as well");
            // Nobody waits any more: what is free is theirs.
            assert!(mailbox.poll_read(&noop()).is_ready());
            assert_eq!(mailbox.cast(Box::new(1_u32)), Ok(()));
        }
    }

    /// B3: a full mailbox takes the last events of a connection all the same.
    #[test]
    fn last_events_pass_the_bound() {
        let mailbox = Mailbox::default();
        fill(&mailbox);
        let key = mailbox.attach(&entry(&Hub::new())).unwrap();
        let last = || event(id(), 0).map(Letter::Event);
        assert!(mailbox.detach(key, [last(), last(), None]).iter().all(Option::is_none));
        let mut read = 0;
        while mailbox.poll_read(&noop()).is_ready() {
            read += 1;
        }
        assert_eq!(read, MAX_LETTERS + 2);
    }

    /// Those in line wake when the actor ends, and learn of it.
    #[test]
    fn the_line_learns_of_the_end() {
        for end in [(|mailbox| drop(mailbox.seal())) as fn(&Mailbox), |mailbox| _ = mailbox.close()] {
            let mailbox = Mailbox::default();
            fill(&mailbox);
            let count = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&count));
            let (cx, mut ticket, mut hand) = (Context::from_waker(&waker), None, event(id(), 0));
            assert_eq!(mailbox.poll_post(&cx, &mut ticket, &mut hand), Poll::Pending);
            end(&mailbox);
            assert_eq!(count.woken(), 1);
            assert_eq!(mailbox.poll_post(&cx, &mut ticket, &mut hand), Poll::Ready(Err(Down)));
            assert!(hand.is_some());
            assert_eq!(mailbox.cast(Box::new(1_u32)), Err(CastRefused::Down));
        }
    }
}
