//! A server's loop: what one of its threads does.
//!
//! A turn is: wait, serve what is ready, do what other threads ask, act on deadlines, accept. One receive buffer serves all
//! connections, and one reading of the clock the whole turn.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::mem;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token};
use ws_core::{ConfigRef, Instant};

use crate::accept::Door;
use crate::buffers::Buffers;
use crate::deflate;
use crate::error::Error;
use crate::handler::Handler;
use crate::remote::{Batch, ConnId, Inbox, Remote};
use crate::server::Settings;
use crate::socket::State;
use crate::table::{Table, place_of, token_of};
use crate::topics::Topics;
use crate::wheel::Wheel;

mod call;
mod decide;
mod deliver;
mod end;
mod enter;
mod hand;
mod obey;

use call::Call;
use hand::InHand;

pub(crate) const LISTENER: Token = Token(usize::MAX);
pub(crate) const WAKER: Token = Token(usize::MAX - 1);

pub(crate) struct Worker<H: Handler> {
    poll: Poll,
    /// Shut for good when the server ends.
    door: Option<Door>,
    table: Table<H::State>,
    wheel: Wheel,
    epoch: std::time::Instant,
    /// Connections that have more to do than one turn allows.
    again: Vec<u32>,
    due: Vec<u32>,
    batch: Batch,
    /// When the connections that are left are dropped.
    ends: Option<Instant>,
    /// It ends with its last connection.
    winds_down: bool,
    /// Number of connections that are over for the application, and only wait for their peers to hang up.
    lingering: usize,
    max_connections: usize,
    max_events: usize,
    /// While turns have as many events as one takes: since when, and how many of them there were after that.
    crowd: Option<(Instant, usize)>,
    index: usize,
    desk: Desk<H>,
}

/// What is needed while a socket is in hand.
struct Desk<H> {
    handler: H,
    buffers: Buffers,
    config: ConfigRef,
    client: ConfigRef,
    /// Connections that are being made, by their places.
    calls: HashMap<u32, Call>,
    /// Connections whose requests await an answer, by their places.
    undecided: HashSet<u32>,
    /// Calls that wait for an address, by the numbers of their tickets.
    waiting: HashMap<u64, Call>,
    /// The next ticket's number.
    ticket: u64,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<rustls::ServerConfig>>,
    remote: Remote,
    topics: Topics,
}

impl<H: Handler> Worker<H> {
    pub(crate) fn new(
        index: u16,
        poll: Poll,
        door: Option<Door>,
        settings: &Settings,
        remote: Remote,
        handler: H,
    ) -> Self {
        let Settings { config, client, max_connections, max_events, overflow, loops, epoch, .. } =
            settings.clone();
        let config = deflate::for_a_loop(&config, loops);
        let client = deflate::for_a_loop(&client, loops);
        let topics = Topics::new(remote.inboxes.clone(), usize::from(index), settings);
        let now = Instant::since(epoch, std::time::Instant::now());
        Self {
            poll,
            door,
            table: Table::new(index, config.clone(), overflow),
            wheel: Wheel::new(now),
            epoch,
            again: Vec::new(),
            due: Vec::new(),
            batch: Batch::default(),
            ends: None,
            winds_down: false,
            lingering: 0,
            max_connections,
            max_events: max_events.max(1),
            crowd: None,
            index: usize::from(index),
            desk: Desk {
                handler,
                buffers: Buffers::new(),
                config,
                client,
                calls: HashMap::new(),
                undecided: HashSet::new(),
                waiting: HashMap::new(),
                ticket: 0,
                #[cfg(feature = "tls")]
                tls: settings.tls.clone(),
                remote,
                topics,
            },
        }
    }

    /// Serves until the server is shut down.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "a method by its path is one of a single lifetime"
    )]
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(self.max_events);
        let result = loop {
            let wait = self.wait();
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
                Err(error) => {
                    self.drop_the_rest();
                    break Err(error);
                }
                Ok(()) => {}
            }
            self.inbox().wake_up();
            let now = self.now();
            for slot in self.those_with_more_to_do() {
                self.work(slot, now, |hand| hand.proceed());
            }
            let mut ready = 0;
            for event in &events {
                ready += 1;
                self.deliver_much(now);
                match event.token() {
                    WAKER => {}
                    LISTENER => self.door.iter_mut().for_each(|door| door.knocked = true),
                    token => self.work(place_of(token), now, |hand| {
                        if token_of(hand.id) == token { hand.on_ready(event) } else { Ok(State::Waiting) }
                    }),
                }
            }
            self.obey(now);
            if let Some(until) = self.heard_until(ready, now) {
                self.pass_time(until);
            }
            self.let_in(now);
            self.deliver(now);
            let is_empty = self.table.count() == 0;
            if self.winds_down && is_empty || self.ends.is_some_and(|ends| is_empty || ends <= now) {
                self.drop_the_rest();
                break Ok(());
            }
        };
        let rest = self.inbox().stop();
        self.turn_away(rest);
        result
    }

    fn inbox(&self) -> &Inbox {
        &self.desk.remote.inboxes[self.index]
    }

    fn now(&self) -> Instant {
        Instant::since(self.epoch, std::time::Instant::now())
    }

    /// How long the loop may sleep.
    fn wait(&mut self) -> Option<Duration> {
        if !self.inbox().may_sleep() || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut soonest = self.wheel.next().into_iter().chain(self.ends).min();
        let is_full = self.table.count() >= self.max_connections;
        if let Some(door) = self.door.as_ref().filter(|door| door.knocked && !is_full) {
            let now = Instant::since(self.epoch, std::time::Instant::now());
            soonest = soonest.into_iter().chain(door.deadline(now)).min();
        }
        soonest.map(|soonest| soonest.saturating_since(self.now()))
    }

    /// Up to when deadlines may pass, after a turn with so many events: a sign of life that came before comes first (C-08).
    /// So in a crowd, of which one turn serves a part, time stands still until all that were ready have been served; the
    /// system tells of them in the order in which they became so. It goes on however long the crowd lasts.
    fn heard_until(&mut self, ready: usize, now: Instant) -> Option<Instant> {
        if ready < self.max_events {
            self.crowd = None;
            return Some(now);
        }
        let Some((since, turns)) = self.crowd else {
            self.crowd = Some((now, 0));
            return None;
        };
        // The listener and the waker are told of, too.
        let heard_all = (turns + 1).saturating_mul(self.max_events) >= self.table.count() + 2;
        self.crowd = Some(if heard_all { (now, 0) } else { (since, turns + 1) });
        heard_all.then_some(since)
    }

    fn those_with_more_to_do(&mut self) -> Vec<u32> {
        let mut again = mem::take(&mut self.again);
        again.sort_unstable();
        again.dedup();
        again
    }

    /// Has a connection do something, and does what it says.
    #[inline]
    fn work(&mut self, at: u32, now: Instant, work: impl FnOnce(&mut InHand<'_, H>) -> Result<State, Error>) {
        // A connection that ended earlier in the turn may still have an event.
        let Some((socket, id, kept)) = self.table.lend(at) else { return };
        let was_stalled = socket.is_stalled();
        let mut hand = InHand { desk: &mut self.desk, socket: &mut *socket, now, id, state: &mut *kept };
        let mut result = work(&mut hand);
        if matches!(result, Ok(State::Asked)) {
            result = hand.decide();
        }
        if matches!(result, Ok(State::Answered)) {
            result = hand.greet();
        }
        if was_stalled != hand.socket.is_stalled() {
            result = hand.tell_flow(result);
        }
        if result.is_ok()
            && socket.is_over()
            && let Some(kept) = kept.take()
        {
            let end = socket.tell_end();
            self.desk.topics.leave(at);
            self.lingering += 1;
            let inbox = &self.desk.remote.inboxes[self.index];
            inbox.connections.fetch_sub(1, Ordering::Relaxed);
            self.desk.handler.closed(id, kept, end);
        }
        let is_told = socket.is_told();
        match result {
            Ok(State::Closed) => self.remove(at, id, is_told, Ok(())),
            Err(error) => self.remove(at, id, is_told, Err(error)),
            Ok(state) => {
                if state == State::Again {
                    self.again.push(at);
                }
                let own = kept.as_ref().and_then(|kept| self.desk.handler.deadline(kept));
                if let Some(deadline) = sooner(socket.deadline(), own) {
                    self.wheel.set(at, deadline);
                }
                self.desk.topics.review(at, socket);
                self.table.give_back(at);
            }
        }
    }

    /// Tells others how many connections there are.
    fn note_count(&self) {
        let count = self.table.count().saturating_sub(self.lingering);
        self.inbox().connections.store(count, Ordering::Relaxed);
    }

    #[cold]
    fn remove(&mut self, at: u32, id: ConnId, is_told: bool, end: Result<(), Error>) {
        self.wheel.clear(at);
        self.desk.topics.leave(at);
        let state = self.table.remove(at);
        self.lingering -= usize::from(is_told);
        self.note_count();
        if let Some(call) = self.desk.calls.remove(&at) {
            return self.hang_up(call, end);
        }
        if self.desk.undecided.remove(&at) {
            let error = end.err().unwrap_or_else(|| Error::Lost(ErrorKind::ConnectionAborted.into()));
            return self.desk.handler.left(id, error);
        }
        match (state, end) {
            (Some(state), end) => self.desk.handler.closed(id, state, end),
            (None, Err(error)) => self.desk.handler.failed(error),
            (None, Ok(())) => {}
        }
    }

    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "a method by its path is one of a single lifetime"
    )]
    fn pass_time(&mut self, now: Instant) {
        let mut due = mem::take(&mut self.due);
        let (table, handler) = (&mut self.table, &self.desk.handler);
        self.wheel.expire(now, |wheel, at| match table.deadline(at, |state| handler.deadline(state)) {
            Some(deadline) if deadline <= now => due.push(at),
            // It moved later since the wheel was set.
            Some(deadline) => wheel.set(at, deadline),
            None => {}
        });
        for at in due.drain(..) {
            self.work(at, now, |hand| hand.tick());
            self.tell_who_left(at);
        }
        self.due = due;
    }
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn fields(headers: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}
