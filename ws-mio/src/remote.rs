//! The way into a loop from other threads: messages, closes, the shutdown.
//!
//! What is sent is copied, once, into memory that belongs to the target's loop and is reused; the loop is woken if it
//! sleeps. It takes everything that has come at once, in order, and each connection gets its share in one write.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, mem};

use mio::Waker;
use ws_core::{CloseCode, CloseFrame, Kind, Message, Prepared, SendError};

use crate::adopt::Arrival;
use crate::connect::Connect;
use crate::later::Answered;
use crate::lines::{Lines, Turn};
use crate::topics::{self, Deliveries, Directory, Published, Spares, TopicError, TopicId};
use crate::wake::Wake;

/// The id of a connection. It is never reused, so nothing is sent to the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(crate) loop_index: u16,
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

impl ConnId {
    /// An id that no connection has, for one that never got any.
    pub(crate) fn nobodys(loop_index: usize) -> Self {
        Self { loop_index: loop_index as u16, generation: 0, slot: u32::MAX }
    }

    /// The index of its loop.
    pub fn loop_index(self) -> usize {
        usize::from(self.loop_index)
    }
}

/// Why a call of [`Remote`] did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteError {
    /// As much waits for the loop as [`Settings::max_inbox`](crate::Settings::max_inbox) allows.
    Full,
    /// The loop has ended.
    Stopped,
    /// A close frame that may not travel.
    Unsendable(SendError),
    /// A topic that cannot exist.
    Topic(TopicError),
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the loop's inbox is full"),
            Self::Stopped => f.write_str("the loop has ended"),
            Self::Unsendable(error) => error.fmt(f),
            Self::Topic(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemoteError {}

/// What to do with one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Send(Kind),
    Close(Option<CloseCode>),
    /// To the members of a topic: the next of [`Batch::published`].
    Publish(TopicId),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) id: ConnId,
    pub(crate) action: Action,
    start: usize,
    len: usize,
}

impl Order {
    pub(crate) fn is_publish(&self) -> bool {
        matches!(self.action, Action::Publish(_))
    }
}

/// What came since the loop last looked.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) orders: Vec<Order>,
    bytes: Vec<u8>,
    pub(crate) connects: Vec<Connect>,
    /// Their memory.
    connect_bytes: usize,
    /// Answers that were put off.
    pub(crate) answers: Vec<Answered>,
    /// Their memory.
    answer_bytes: usize,
    /// Calls that waited for an address, and have it now.
    pub(crate) turns: Vec<Turn>,
    /// What is published, in order.
    pub(crate) published: Vec<Prepared>,
    published_bytes: usize,
    pub(crate) wakes: Vec<Arc<Wake>>,
    pub(crate) arrivals: Vec<Arrival>,
    /// No more connections come.
    pub(crate) winds_down: bool,
    /// How long connections have to end.
    pub(crate) shutdown: Option<Duration>,
    stopped: bool,
}

/// Memory that a batch keeps from one turn to the next.
const KEPT: usize = 256 << 10;

impl Batch {
    pub(crate) fn payload(&self, order: &Order) -> &[u8] {
        self.bytes.get(order.start..order.start + order.len).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.orders.clear();
        self.bytes.clear();
        self.connects = Vec::new();
        self.connect_bytes = 0;
        self.turns = Vec::new();
        self.answers = Vec::new();
        self.answer_bytes = 0;
        self.published.clear();
        self.published_bytes = 0;
        self.published.shrink_to(KEPT / size_of::<Order>());
        self.orders.shrink_to(KEPT / size_of::<Order>());
        self.bytes.shrink_to(KEPT);
        self.wakes.clear();
        self.wakes.shrink_to(KEPT / size_of::<Arc<Wake>>());
        self.arrivals = Vec::new();
        self.winds_down = false;
        self.shutdown = None;
    }

    fn size(&self) -> usize {
        let orders = self.orders.len() * size_of::<Order>();
        self.bytes.len() + self.published_bytes + orders + self.connect_bytes + self.answer_bytes
    }
}

/// One loop's inbox.
pub(crate) struct Inbox {
    batch: Mutex<Batch>,
    /// Whether the batch has anything in it.
    any: AtomicBool,
    /// Whether the loop will look without being woken.
    awake: AtomicBool,
    waker: Waker,
    max: usize,
    pub(crate) connections: AtomicUsize,
    pub(crate) topics: Directory,
    pub(crate) spares: Spares,
    /// Those that are on their way here.
    pub(crate) arriving: AtomicUsize,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    pub(crate) fn new(waker: Waker, max: usize) -> Self {
        let (batch, any) = (Mutex::default(), AtomicBool::new(false));
        let (awake, connections, arriving) =
            (AtomicBool::new(true), AtomicUsize::new(0), AtomicUsize::new(0));
        let (topics, spares) = (Directory::default(), Spares::default());
        Self { batch, any, awake, waker, max, connections, arriving, topics, spares }
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop is about to wait; whether it may. From here on whatever is left for it wakes it.
    pub(crate) fn may_sleep(&self) -> bool {
        self.awake.store(false, Ordering::SeqCst);
        !self.any.load(Ordering::SeqCst)
    }

    /// The loop has woken up.
    pub(crate) fn wake_up(&self) {
        self.awake.store(true, Ordering::SeqCst);
    }

    /// Takes what there is, and leaves `spare` to be filled next; `false`: there is nothing.
    pub(crate) fn take(&self, spare: &mut Batch) -> bool {
        if !self.any.load(Ordering::SeqCst) {
            return false;
        }
        let mut batch = self.lock();
        mem::swap(&mut *batch, spare);
        batch.stopped = spare.stopped;
        self.any.store(false, Ordering::SeqCst);
        true
    }

    /// The loop has ended, and takes nothing more. What it has not taken is returned, to be reported; dropped, if it is,
    /// without the lock, for its drop may call this again.
    pub(crate) fn stop(&self) -> Batch {
        mem::replace(&mut *self.lock(), Batch { stopped: true, ..Batch::default() })
    }

    fn connect(&self, connect: Connect) -> Result<(), RemoteError> {
        let size = connect.size();
        self.leave(|batch| {
            if !batch.connects.is_empty() && batch.size() + size > self.max {
                return Err(RemoteError::Full);
            }
            batch.connect_bytes += size;
            batch.connects.push(connect);
            Ok(())
        })
    }

    /// Leaves an answer to a request, unless it is refused: then it is still there.
    pub(crate) fn answer(&self, answered: &mut Option<Answered>) -> Result<(), RemoteError> {
        let size = answered.as_ref().map_or(0, Answered::size);
        self.leave(|batch| {
            if !batch.answers.is_empty() && batch.size() + size > self.max {
                return Err(RemoteError::Full);
            }
            batch.answer_bytes += size;
            batch.answers.extend(answered.take());
            Ok(())
        })
    }

    pub(crate) fn leave(
        &self,
        change: impl FnOnce(&mut Batch) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        {
            let mut batch = self.lock();
            if batch.stopped {
                return Err(RemoteError::Stopped);
            }
            change(&mut batch)?;
            self.any.store(true, Ordering::SeqCst);
        }
        if !self.awake.swap(true, Ordering::SeqCst) {
            // The descriptor lives as long as this; there is nothing that a failure could mean.
            let _: io::Result<()> = self.waker.wake();
        }
        Ok(())
    }

    /// Leaves a message for a topic of this loop.
    pub(crate) fn publish(&self, topic: TopicId, message: Prepared) -> Result<(), RemoteError> {
        self.leave(|batch| {
            if !batch.orders.is_empty() && batch.size() + message.len() + size_of::<Order>() > self.max {
                return Err(RemoteError::Full);
            }
            let id = ConnId::nobodys(0);
            batch.orders.push(Order { id, action: Action::Publish(topic), start: 0, len: 0 });
            batch.published_bytes += message.len();
            batch.published.push(message);
            Ok(())
        })
    }

    fn order(&self, id: ConnId, action: Action, payload: &[u8]) -> Result<(), RemoteError> {
        self.leave(|batch| {
            // An empty batch takes anything, or a long message could never be sent.
            if !batch.orders.is_empty() && batch.size() + payload.len() + size_of::<Order>() > self.max {
                return Err(RemoteError::Full);
            }
            batch.orders.push(Order { id, action, start: batch.bytes.len(), len: payload.len() });
            batch.bytes.extend_from_slice(payload);
            Ok(())
        })
    }
}

/// A handle to a server's loops for other threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(crate) inboxes: Arc<[Inbox]>,
    /// Which loop connects next.
    pub(crate) turn: Arc<AtomicUsize>,
    /// The calls that wait for others before they connect.
    pub(crate) lines: Arc<Lines>,
    /// For `wss` URLs without a configuration of their own.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Remote {
    /// Sends a message on a connection of any loop, without blocking. Messages from one thread to one connection keep their
    /// order.
    ///
    /// `Ok` says nothing about the peer: the connection may have ended, and a peer that does not read is treated as
    /// [`Settings::overflow`](crate::Settings::overflow) says. A connection in the middle of a message in parts takes no
    /// other (RFC 6455, section 5.4): the message is dropped.
    ///
    /// # Errors
    /// [`RemoteError::Full`] and [`RemoteError::Stopped`]; then nothing was sent.
    pub fn send<'m>(&self, id: ConnId, message: impl Into<Message<'m>>) -> Result<(), RemoteError> {
        let message = message.into();
        self.inbox(id)?.order(id, Action::Send(message.kind()), message.as_bytes())
    }

    /// Publishes a message to a topic's members on all loops, without blocking. Messages from one thread keep their order,
    /// including those that it [sends](Self::send) to a member. The message is framed once for all loops; a loop without
    /// members is not woken.
    ///
    /// [`deliveries`](Self::deliveries) counts what could be delivered.
    ///
    /// It also works in a handler, but is done at the end of the turn only, after [`Peer::publish`](crate::Peer::publish).
    ///
    /// # Errors
    /// [`RemoteError::Topic`] for a name that is too long; [`RemoteError::Full`] if no loop with members takes it (if some
    /// do, [`Published::dropped`] says how many members of the others do not get it); [`RemoteError::Stopped`].
    pub fn publish<'m>(
        &self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<Published, RemoteError> {
        topics::publish(&self.inboxes, topic, message.into())
    }

    /// The number of members that a topic has, on all loops.
    pub fn topic_len(&self, topic: &str) -> usize {
        self.inboxes.iter().filter_map(|inbox| inbox.topics.find(topic)).map(|entry| entry.members).sum()
    }

    /// Counts the messages delivered to members, and those dropped, on all loops since the server began.
    pub fn deliveries(&self) -> Deliveries {
        let mut sum = Deliveries::default();
        for inbox in &*self.inboxes {
            sum.made += inbox.topics.made.load(Ordering::Relaxed);
            sum.dropped += inbox.topics.dropped.load(Ordering::Relaxed);
        }
        sum
    }

    /// Begins the closing handshake of a connection of any loop.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`RemoteError::Unsendable`].
    pub fn close(&self, id: ConnId, frame: Option<CloseFrame<'_>>) -> Result<(), RemoteError> {
        if let Some(frame) = frame {
            frame.check().map_err(RemoteError::Unsendable)?;
        }
        let reason = frame.map_or("", |frame| frame.reason);
        self.inbox(id)?.order(id, Action::Close(frame.map(|frame| frame.code)), reason.as_bytes())
    }

    /// Connects to a server, without blocking, on each loop in turn (requests to the same address that go
    /// [one at a time](Connect::one_at_a_time) use the same loop, in order). The loop's handler is told the outcome, once:
    /// [`Handler::connected`](crate::Handler::connected) or
    /// [`Handler::not_connected`](crate::Handler::not_connected).
    ///
    /// # Errors
    /// [`RemoteError::Full`] and [`RemoteError::Stopped`]; then nothing is done, and the handler is not told.
    pub fn connect(&self, connect: Connect) -> Result<(), RemoteError> {
        let turn = match connect.addresses.first() {
            // On one loop they keep their order.
            Some(address) if connect.one_at_a_time => {
                let mut hasher = DefaultHasher::new();
                address.hash(&mut hasher);
                hasher.finish() as usize
            }
            _ => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        self.connect_on(turn % self.inboxes.len().max(1), connect)
    }

    /// Connects to a server like [`connect`](Self::connect), on the loop with this index: for example on that of another
    /// connection ([`ConnId::loop_index`]) whose messages are passed on.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); a loop that does not exist counts as one that has ended.
    pub fn connect_on(&self, loop_index: usize, connect: Connect) -> Result<(), RemoteError> {
        let inbox = self.inboxes.get(loop_index).ok_or(RemoteError::Stopped)?;
        #[cfg(feature = "tls")]
        let connect = self.with_tls(connect);
        inbox.connect(connect)
    }

    /// The roots of the system are read here, once, where that does not block the loop.
    #[cfg(feature = "tls")]
    fn with_tls(&self, mut connect: Connect) -> Connect {
        if connect.tls.is_none() && ws_core::Uri::parse(&connect.url).is_ok_and(|uri| uri.is_secure()) {
            connect.tls = self.tls.clone().or_else(|| crate::tls::system_config().ok());
        }
        connect
    }

    /// Ends the server: nothing more is accepted, each connection is closed with 1001, and after `grace` those that are left
    /// are dropped. [`Server::run`](crate::Server::run) then returns.
    pub fn shutdown(&self, grace: Duration) {
        for inbox in &*self.inboxes {
            // A loop that has ended has done it already.
            let _ = inbox.leave(|batch| {
                batch.shutdown = Some(batch.shutdown.map_or(grace, |other| other.min(grace)));
                Ok(())
            });
        }
    }

    /// The number of connections on all loops, including those in their opening handshake, but not those that only wait for
    /// their peers to hang up.
    pub fn connection_count(&self) -> usize {
        self.inboxes.iter().map(|inbox| inbox.connections.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn inbox(&self, id: ConnId) -> Result<&Inbox, RemoteError> {
        self.inboxes.get(usize::from(id.loop_index)).ok_or(RemoteError::Stopped)
    }
}
