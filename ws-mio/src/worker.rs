//! One loop: what a thread of a server does.
//!
//! A turn is: wait, serve what is ready, do what other threads ask, let time pass, let others in. One receive buffer
//! serves them all, one reading of the clock serves the turn.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::mem;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use ws_core::{CloseCode, CloseFrame, ConfigRef, Event, Instant, Kind, Message};

use crate::accept::{Arrival, Door};
use crate::adopt;
use crate::buffers::Buffers;
use crate::deflate;
use crate::error::Error;
use crate::handler::{Handler, Peer};
use crate::later::Answered;
use crate::link::Link;
use crate::remote::{Action, Batch, ConnId, Inbox, Order, Remote};
use crate::reply::Reply;
use crate::server::Settings;
use crate::socket::{Socket, State};
use crate::table::Table;
use crate::topics::Topics;
use crate::wheel::Wheel;

mod call;
mod decide;
mod deliver;
mod tell;

use call::Call;

pub(crate) const LISTENER: Token = Token(usize::MAX);
pub(crate) const WAKER: Token = Token(usize::MAX - 1);

/// So many events are asked for at a time.
const EVENTS: usize = 1024;

pub(crate) struct Worker<H: Handler> {
    poll: Poll,
    /// Shut for good when the server ends.
    door: Option<Door>,
    table: Table<H::State>,
    wheel: Wheel,
    epoch: std::time::Instant,
    /// Those that have more to do than one turn allows.
    again: Vec<u32>,
    due: Vec<u32>,
    batch: Batch,
    /// When whoever is left is dropped.
    ends: Option<Instant>,
    /// It ends with its last connection.
    winds_down: bool,
    /// How many are over for the application, and only wait for their peers to hang up.
    lingering: usize,
    max_connections: usize,
    index: usize,
    desk: Desk<H>,
}

/// What is needed while a socket is in hand.
struct Desk<H> {
    handler: H,
    buffers: Buffers,
    config: ConfigRef,
    client: ConfigRef,
    /// Those that are being connected, by their places.
    calls: HashMap<u32, Call>,
    /// Those whose requests wait for an answer, by their places.
    undecided: HashSet<u32>,
    /// Those that wait for others to be done with an address, by the numbers of their tickets.
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
        let Settings { config, client, max_connections, overflow, loops, epoch, .. } = settings.clone();
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

    /// Until the server is shut down.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
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
                self.work(slot, now, |socket, desk, id, state| {
                    let Desk { handler, buffers, remote, topics, .. } = desk;
                    socket.proceed(buffers, now, heard(handler, remote, topics, id, state))
                });
            }
            for event in &events {
                self.deliver_much(now);
                match event.token() {
                    WAKER => {}
                    LISTENER => self.door.iter_mut().for_each(|door| door.knocked = true),
                    Token(slot) => self.work(slot as u32, now, |socket, desk, id, state| {
                        let Desk { handler, buffers, remote, topics, .. } = desk;
                        socket.on_ready(event, buffers, now, heard(handler, remote, topics, id, state))
                    }),
                }
            }
            self.obey(now);
            self.pass_time(now);
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

    /// Tells of what came too late for the loop, and of what waits.
    fn turn_away(&mut self, rest: Batch) {
        self.hang_up_all(rest.connects, &rest.turns);
        for adopt::Arrival { state, .. } in rest.arrivals {
            if let Some(state) = self.desk.handler.adopt(state) {
                let end = Err(Error::Lost(ErrorKind::ConnectionAborted.into()));
                self.desk.handler.closed(ConnId::nobodys(self.index), state, end);
            }
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.desk.remote.inboxes[self.index]
    }

    fn now(&self) -> Instant {
        Instant::since(self.epoch, std::time::Instant::now())
    }

    /// How long there is nothing to do.
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

    fn those_with_more_to_do(&mut self) -> Vec<u32> {
        let mut again = mem::take(&mut self.again);
        again.sort_unstable();
        again.dedup();
        again
    }

    /// Has a connection do something, and does what it says.
    #[inline]
    fn work(
        &mut self,
        at: u32,
        now: Instant,
        work: impl FnOnce(&mut Socket<Link>, &mut Desk<H>, ConnId, &mut Option<H::State>) -> Result<State, Error>,
    ) {
        // What ended earlier in the turn may still have an event.
        let Some((socket, id, kept)) = self.table.lend(at) else { return };
        let was_stalled = socket.is_stalled();
        let mut result = work(socket, &mut self.desk, id, kept);
        if matches!(result, Ok(State::Asked)) {
            result = self.desk.decide(socket, now, id, kept);
        }
        if matches!(result, Ok(State::Answered)) {
            result = self.desk.greet(at, socket, now, id, kept);
        }
        if was_stalled != socket.is_stalled() {
            result = self.desk.tell_flow(socket, now, id, kept, result);
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

    /// Does what other threads ask: each connection gets all of its own at once.
    fn obey(&mut self, now: Instant) {
        let mut batch = mem::take(&mut self.batch);
        if self.inbox().take(&mut batch) {
            let mut orders = mem::take(&mut batch.orders);
            let mut published = mem::take(&mut batch.published);
            let mut messages = published.drain(..);
            for run in orders.chunk_by_mut(|one, other| one.is_publish() == other.is_publish()) {
                if run.first().is_some_and(Order::is_publish) {
                    run.iter()
                        .zip(&mut messages)
                        .for_each(|(order, message)| self.publish(order, &message, now));
                    continue;
                }
                // Stable: what one thread sends to a connection keeps its order.
                run.sort_by_key(|order| order.id.slot);
                for group in run.chunk_by(|one, other| one.id.slot == other.id.slot) {
                    self.obey_for(group, &batch, now);
                }
            }
            drop(messages);
            batch.published = published;
            batch.orders = orders;
            for connect in std::mem::take(&mut batch.connects) {
                self.call(connect, now);
            }
            for turn in std::mem::take(&mut batch.turns) {
                self.take_turn(turn, now);
            }
            for Answered { id: of, answer } in std::mem::take(&mut batch.answers) {
                self.work(of.slot, now, |socket, desk, id, state| {
                    if id == of { desk.answer(socket, now, id, state, answer) } else { Ok(State::Waiting) }
                });
            }
            for arrival in std::mem::take(&mut batch.arrivals) {
                self.take_in(arrival, now);
            }
            for wake in batch.wakes.drain(..) {
                let of = wake.hear();
                self.work(of.slot, now, |socket, desk, id, state| {
                    if id == of { desk.wake(socket, now, id, state) } else { Ok(State::Waiting) }
                });
            }
            if let Some(grace) = batch.shutdown {
                self.deliver(now);
                self.begin_shutdown(grace, now);
            }
            if batch.winds_down {
                self.winds_down = true;
                self.shut_door();
            }
            batch.clear();
        }
        self.batch = batch;
    }

    fn obey_for(&mut self, group: &[Order], batch: &Batch, now: Instant) {
        let Some(at) = group.first().map(|order| order.id.slot) else { return };
        self.work(at, now, |socket, desk, id, state| {
            if state.is_none() {
                return Ok(State::Waiting);
            }
            for order in group.iter().filter(|order| order.id == id) {
                let Ok(mut reply) = socket.reply(&mut desk.buffers, now) else { break };
                desk.topics.catch_up(at, &mut reply);
                follow(&mut reply, order, batch.payload(order));
            }
            socket.flush(&mut desk.buffers, now)
        });
    }

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
            self.work(at, now, |socket, desk, id, state| desk.tick(socket, now, id, state));
        }
        self.due = due;
    }

    fn let_in(&mut self, now: Instant) {
        let Some(mut door) = self.door.take() else { return };
        door.begin_turn(now);
        while self.table.count() < self.max_connections {
            match door.accept(now) {
                Arrival::Stream(stream) => {
                    if let Err(error) = self.welcome(stream, now) {
                        self.desk.handler.failed(Error::Lost(error));
                    }
                }
                Arrival::Nobody => break,
                Arrival::Refused(error) => self.desk.handler.refused(error),
            }
        }
        self.door = Some(door);
    }

    fn welcome(&mut self, stream: TcpStream, now: Instant) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(not(feature = "tls"))]
        let link = Link::Tcp(stream);
        #[cfg(feature = "tls")]
        let link = match &self.desk.tls {
            None => Link::Tcp(stream),
            Some(config) => {
                let stream = crate::tls::Stream::accept(stream, config.clone()).map_err(io::Error::other)?;
                Link::Tls(Box::new(stream))
            }
        };
        let socket = Socket::accept_asking(link, self.desk.config.clone(), now);
        self.seat(socket).map(drop)
    }

    /// Goes on with a connection that was opened elsewhere.
    fn take_in(&mut self, arrival: adopt::Arrival, now: Instant) {
        let adopt::Arrival { stream, session, state } = arrival;
        self.inbox().arriving.fetch_sub(1, Ordering::Relaxed);
        let Some(state) = self.desk.handler.adopt(state) else { return };
        let socket = Socket::over(Link::Tcp(TcpStream::from_std(stream)), session);
        match self.seat(socket) {
            Ok(at) => {
                self.work(at, now, |socket, desk, id, slot| desk.open(socket, now, id, slot, state));
                if self.ends.is_some() {
                    self.say_good_bye(at, now);
                }
            }
            Err(error) => {
                self.desk.handler.closed(ConnId::nobodys(self.index), state, Err(Error::Lost(error)));
            }
        }
    }

    /// Gives a socket a place, and has its events told.
    fn seat(&mut self, mut socket: Socket<Link>) -> io::Result<u32> {
        socket.set_overflow(self.table.overflow());
        let at = self.table.take_place().ok_or(ErrorKind::OutOfMemory)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered =
            socket.stream_mut().tcp().and_then(|tcp| registry.register(tcp, Token(at as usize), interest));
        if let Err(error) = registered {
            self.table.remove(at);
            return Err(error);
        }
        if let Some(deadline) = socket.deadline() {
            self.wheel.set(at, deadline);
        }
        self.table.put(at, socket);
        self.note_count();
        Ok(at)
    }

    fn shut_door(&mut self) {
        if let Some(mut door) = self.door.take() {
            // Dropped, it is closed; an error here would mean the same.
            let _ = self.poll.registry().deregister(door.listener());
        }
    }

    /// nobody is let in, each connection gets a close frame, and what is no connection yet ends.
    fn begin_shutdown(&mut self, grace: Duration, now: Instant) {
        self.shut_door();
        let ends = now.saturating_add(grace);
        self.ends = Some(self.ends.map_or(ends, |other| other.min(ends)));
        (0..self.table.end()).for_each(|at| self.say_good_bye(at, now));
    }

    fn say_good_bye(&mut self, at: u32, now: Instant) {
        self.work(at, now, |socket, desk, _, state| {
            if state.is_none() {
                return if socket.is_told() {
                    Ok(State::Waiting)
                } else {
                    Err(Error::Lost(ErrorKind::ConnectionAborted.into()))
                };
            }
            let frame = CloseFrame { code: CloseCode::GOING_AWAY, reason: "" };
            // Refused where the closing handshake is under way.
            let _ = socket.close(&mut desk.buffers, now, Some(frame));
            socket.flush(&mut desk.buffers, now)
        });
    }

    fn drop_the_rest(&mut self) {
        // Nothing is begun any more, such as connecting to the next address.
        self.ends.get_or_insert(Instant::ZERO);
        for at in 0..self.table.end() {
            if let Some((id, is_told)) = self.table.lend(at).map(|(socket, id, _)| (id, socket.is_told())) {
                let end = if is_told { Ok(()) } else { Err(Error::Timeout(ws_core::Timer::Close)) };
                self.remove(at, id, is_told, end);
            }
        }
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

/// What hands a connection's events to the application.
#[inline(always)]
fn heard<'a, H: Handler>(
    handler: &'a mut H,
    remote: &'a Remote,
    topics: &'a mut Topics,
    id: ConnId,
    state: &'a mut Option<H::State>,
) -> impl FnMut(Event<'_>, &mut Reply<'_, Link>) + 'a {
    move |event, reply| {
        if let Some(state) = state {
            handler.event(event, &mut Peer { reply: reply.again(), id, state, remote, topics });
        }
    }
}

/// One order from another thread. What cannot be done is not: the connection is closing, or its peer does not read.
fn follow(reply: &mut Reply<'_, Link>, order: &Order, payload: &[u8]) {
    let _ = match order.action {
        Action::Send(Kind::Binary) => reply.send(payload),
        Action::Send(Kind::Text) => match str::from_utf8(payload) {
            Ok(text) => reply.send(Message::Text(text)),
            Err(_) => Ok(()),
        },
        Action::Publish(_) => Ok(()),
        Action::Close(code) => {
            let reason = str::from_utf8(payload).unwrap_or_default();
            reply.close(code.map(|code| CloseFrame { code, reason }))
        }
    };
}
