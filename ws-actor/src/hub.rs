//! The [`Hub`]: one handle on all connections, for any task and any thread.
//!
//! Here is the registry: 64 shards, each a mutex around a map from a connection's number to its [`Entry`]. A send
//! takes one of them for as long as a look-up takes, then the connection's own outbox. Nothing here waits but
//! [`Hub::send_acked`], and nothing names a runtime. Actors and their names are in `actor.rs`, rooms in `room.rs`.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ws_core::Role;

use crate::drain::Gate;
use crate::engine::{Engine, Local};
use crate::entry::{Entry, Terms, Who};
use crate::event::{CloseFrame, Message};
use crate::id::{ConnId, NodeId};
use crate::limits::Bounds;
use crate::mailbox::Down;
use crate::meta::Meta;
use crate::meters::Meters;
use crate::metrics::Totals;
use crate::outbox::{Lost, Refused};
use crate::outgoing::{Frame, Lane, Outgoing};
use crate::path::Params;
use crate::room::Rooms;
use crate::supervise::Failures;
use crate::sync::lock;
use crate::target::Names;
use crate::waiters::Ticket;

/// Shards of the registry and of the table of rooms.
pub(crate) const SHARDS: usize = 64;

/// A handle on all connections of a program, its rooms, and the names of its actors.
///
/// A clone is another handle on the same.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    node: NodeId,
    pub(crate) engine: Box<dyn Engine>,
    last_seq: AtomicU64,
    count: AtomicUsize,
    pub(crate) connections: [Mutex<Shard>; SHARDS],
    /// Held while a message goes to all, so that all get the messages of several senders in the same order.
    broadcasting: Mutex<()>,
    pub(crate) rooms: Rooms,
    pub(crate) names: Names,
    pub(crate) failures: Mutex<Failures>,
    pub(crate) gate: Gate,
    pub(crate) meters: Arc<Meters>,
}

/// A part of the registry.
#[derive(Default)]
pub(crate) struct Shard {
    pub(crate) entries: HashMap<u64, Arc<Entry>>,
    /// What connections that are gone have sent and got.
    pub(crate) gone: Totals,
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// No connection has this id: it has ended, or belonged to another start of the program.
    NotFound,
    /// The connection is closing and takes no more.
    Closed,
    /// The connection's outbox is full. Its [`Overflow`](crate::Overflow) policy says what else happens.
    Full,
    /// It may not be sent to any peer: a control frame that is too long, or a close code that may not travel.
    Invalid(ws_core::SendError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such connection",
            Self::Closed => "the connection is closing",
            Self::Full => "the connection's outgoing queue is full",
            Self::Invalid(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for SendError {}

impl From<Refused> for SendError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Closed => Self::Closed,
        }
    }
}

/// The outcome of a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Connections that accepted the message.
    pub delivered: usize,
    /// Connections that did not: their outbox was full, or they were closing.
    pub dropped: usize,
}

impl Sent {
    pub(crate) fn count(&mut self, result: Result<(), SendError>) {
        match result {
            Ok(()) => self.delivered += 1,
            Err(_) => self.dropped += 1,
        }
    }
}

/// The present state of a connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Which side this program is on: a server's, or a client's that was dialled ([`Hub::dial`]).
    pub role: Role,
    /// The peer's end of the socket. Behind a proxy this is the proxy.
    pub remote_addr: SocketAddr,
    /// This end of the socket.
    pub local_addr: SocketAddr,
    /// The path that the client asked for, as sent.
    pub path: Arc<str>,
    /// The values of the parameters in the route's path, decoded.
    pub params: Params,
    /// The query: what followed the path's question mark, as sent.
    pub query: Arc<str>,
    /// The subprotocol, if one was agreed upon.
    pub subprotocol: Option<Arc<str>>,
    /// The user of the connection, if the program has named one ([`Relay::user`](crate::Relay::user),
    /// [`Hub::authenticate`]).
    pub user: Option<Arc<str>>,
    /// The name of the actor that has it; `None` when it has just ended.
    pub target: Option<Arc<str>>,
    /// The topic that its messages come under.
    pub topic: Arc<str>,
    /// The values that go with it.
    pub meta: Meta,
    /// How long it has been open.
    pub uptime: Duration,
    /// Messages that have come, whole.
    pub messages_in: u64,
    /// The bytes of their payloads.
    pub bytes_in: u64,
    /// Messages that have gone from the outbox towards the socket.
    pub messages_out: u64,
    /// The bytes of their payloads.
    pub bytes_out: u64,
    /// Messages that wait in its outbox.
    pub queued: usize,
    /// Their bytes, frame heads included.
    pub queued_bytes: usize,
    /// Messages that its overflow policy has dropped.
    pub dropped: u64,
    /// Messages of the peer that came too fast and were not delivered ([`Limits::rate`](crate::Limits::rate)).
    pub over_rate: u64,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("node", &self.shared.node)
            .field("connections", &self.connection_count())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Creates a Hub without connections, on one node, under an incarnation of its own.
    pub fn new() -> Self {
        Self::with_engine(Local::new())
    }

    /// Creates a Hub without connections that an engine joins to other nodes.
    pub fn with_engine(engine: impl Engine) -> Self {
        let shared = Shared {
            node: engine.node(),
            engine: Box::new(engine),
            last_seq: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            connections: std::array::from_fn(|_| Mutex::default()),
            broadcasting: Mutex::default(),
            rooms: Rooms::default(),
            names: Names::default(),
            gate: Gate::default(),
            meters: Arc::default(),
            failures: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The incarnation that is part of the ids of all connections of this Hub.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Queues a message to one connection. It never waits.
    ///
    /// Messages of one task arrive in the order in which it sent them. `Ok` means accepted, not arrived: a socket
    /// that breaks takes with it what was on the way.
    ///
    /// # Errors
    /// [`SendError`] tells the cases.
    pub fn send(&self, to: ConnId, message: impl Into<Outgoing>) -> Result<(), SendError> {
        let message = message.into();
        if to.node() != self.shared.node {
            return self.shared.engine.send(to, &message);
        }
        let lane = Lane::of(message).map_err(SendError::Invalid)?;
        self.entry(to).ok_or(SendError::NotFound)?.take(&lane, &mut Lost::default())
    }

    /// Queues a message to one connection as soon as its outbox has room. Senders get room in the order in which
    /// they began to wait.
    ///
    /// Room means half of the outbox here: the other half is for senders that do not wait.
    ///
    /// For tasks of their own that produce faster than a client reads. An actor that waits here serves nobody
    /// else meanwhile; it should use [`Hub::send`].
    ///
    /// # Cancel safety
    /// Cancelled, nothing was queued.
    ///
    /// # Errors
    /// As [`Hub::send`], except that only pings and pongs get `Full`.
    pub async fn send_acked(&self, to: ConnId, message: impl Into<Outgoing>) -> Result<(), SendError> {
        let message = message.into();
        if to.node() != self.shared.node {
            return self.shared.engine.send(to, &message);
        }
        let lane = Lane::of(message).map_err(SendError::Invalid)?;
        let entry = self.entry(to).ok_or(SendError::NotFound)?;
        match lane {
            Lane::Data(frame, key) => {
                let frame = entry.dress(&frame).into_owned();
                Acked { entry, ticket: None, frame, key }.accepted().await.map_err(SendError::from)
            }
            lane => entry.take(&lane, &mut Lost::default()),
        }
    }

    /// Queues a message to every connection. It is framed once, and everybody gets the messages of several senders
    /// in the same order. A connection that is full or slow delays nobody.
    pub fn broadcast(&self, message: impl Into<Outgoing>) -> Sent {
        let mut sent = Sent::default();
        let message = message.into();
        let Ok(lane) = Lane::for_many(message.clone(), None) else {
            return Sent { dropped: self.connection_count(), ..sent };
        };
        let mut lost = Lost::default();
        let _order = lock(&self.shared.broadcasting);
        self.shared.engine.publish(None, &message, None);
        for shard in &self.shared.connections {
            for entry in lock(shard).entries.values() {
                sent.count(entry.take(&lane, &mut lost));
            }
        }
        sent
    }

    /// Closes one connection: what was sent before goes out first, then this close frame, and the peer has the
    /// close timeout to answer it.
    ///
    /// # Errors
    /// `NotFound`; `Closed` when it closes already; `Invalid` for a frame that may not travel.
    pub fn close(&self, id: ConnId, frame: CloseFrame) -> Result<(), SendError> {
        self.send(id, Message::Close(Some(frame)))
    }

    /// The state of one connection.
    pub fn inspect(&self, id: ConnId) -> Option<ConnInfo> {
        Some(self.entry(id)?.info())
    }

    /// The ids of all connections: a snapshot, in no order.
    pub fn connections(&self) -> Vec<ConnId> {
        let mut ids = Vec::with_capacity(self.connection_count());
        for shard in &self.shared.connections {
            ids.extend(lock(shard).entries.values().map(|entry| entry.id()));
        }
        ids
    }

    /// The number of connections, known without counting them.
    pub fn connection_count(&self) -> usize {
        self.shared.count.load(Ordering::Acquire)
    }

    pub(crate) fn entry(&self, id: ConnId) -> Option<Arc<Entry>> {
        if id.node() != self.shared.node {
            return None;
        }
        lock(self.shard(id)).entries.get(&id.seq()).cloned()
    }

    pub(crate) fn new_entry(&self, bounds: Bounds, who: Who, terms: Terms) -> Arc<Entry> {
        let seq = self.shared.last_seq.fetch_add(1, Ordering::Relaxed) + 1;
        let id = ConnId::new(self.shared.node, seq);
        Arc::new(Entry::new(id, bounds, who, terms, Arc::clone(&self.shared.meters)))
    }

    /// `Down`: the Hub is shutting down.
    pub(crate) fn register(&self, entry: &Arc<Entry>) -> Result<(), Down> {
        let id = entry.id();
        let mut shard = lock(self.shard(id));
        if !self.shared.gate.is_open() {
            return Err(Down);
        }
        shard.entries.insert(id.seq(), Arc::clone(entry));
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        self.shared.meters.opened.add(1);
        Ok(())
    }

    /// Forgets a connection whose outbox has ended, and keeps its counts.
    pub(crate) fn unregister(&self, entry: &Entry, is_clean: bool, undelivered: u64) {
        let id = entry.id();
        let mut shard = lock(self.shard(id));
        if let Some(entry) = shard.entries.remove(&id.seq()) {
            shard.gone.add(entry.traffic.totals());
            self.shared.gate.count(is_clean, undelivered);
            self.shared.count.fetch_sub(1, Ordering::AcqRel);
        }
        drop(shard);
        self.shared.gate.note_end();
    }

    fn shard(&self, id: ConnId) -> &Mutex<Shard> {
        // Consecutive numbers go to different shards.
        &self.shared.connections[id.seq() as usize % SHARDS]
    }
}

/// A message that waits for room, and leaves the line when it is dropped.
struct Acked {
    entry: Arc<Entry>,
    ticket: Option<Ticket>,
    frame: Frame,
    key: Option<Arc<str>>,
}

impl Acked {
    async fn accepted(mut self) -> Result<(), Refused> {
        let this = &mut self;
        poll_fn(|cx| this.entry.outbox().poll_push(cx, &mut this.ticket, &this.frame, this.key.as_ref()))
            .await
    }
}

impl Drop for Acked {
    fn drop(&mut self) {
        self.entry.outbox().give_up(&mut self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutboxLimits;
    use crate::fixture::{link, noop, target, written};
    use std::collections::BTreeSet;
    use std::pin::pin;
    use std::task::Poll;

    /// B9: the list is a snapshot, the count costs nothing and agrees with it.
    #[test]
    fn list_and_count() {
        let (hub, target) = (Hub::new(), target());
        let mut links: Vec<_> = (0..200).map(|_| link(&hub, &target, OutboxLimits::new())).collect();
        let ids: BTreeSet<_> = links.iter().map(crate::link::Link::id).collect();
        assert_eq!(hub.connection_count(), 200);
        assert_eq!(hub.connections().into_iter().collect::<BTreeSet<_>>(), ids);
        links.truncate(10);
        assert_eq!((hub.connection_count(), hub.connections().len()), (10, 10));
    }

    /// B10: what a send says, for every state that a connection can be in.
    #[test]
    fn send_errors() {
        let (hub, target) = (Hub::new(), target());
        let tight = OutboxLimits { max_messages: 1, ..OutboxLimits::new() };
        let full = link(&hub, &target, tight);
        assert_eq!(hub.send(full.id(), "1"), Ok(()));
        assert_eq!(hub.send(full.id(), "2"), Err(SendError::Full));
        // An overflow closes by default.
        assert_eq!(hub.send(full.id(), "3"), Err(SendError::Closed));
        let id = full.id();
        drop(full);
        assert_eq!(hub.send(id, "4"), Err(SendError::NotFound));
        // The same number in another incarnation is another connection.
        let other = Hub::new();
        let stranger = link(&other, &target, OutboxLimits::new());
        assert_eq!((stranger.id().seq(), stranger.id() == id), (id.seq(), false));
        assert_eq!(other.send(id, "5"), Err(SendError::NotFound));
        assert_eq!(written(&stranger), [""; 0]);
    }

    /// B8, X-06, C-09: a frame that may not travel is refused at the call, and changes nothing.
    #[test]
    fn invalid_frames_are_refused() {
        let (hub, target) = (Hub::new(), target());
        let link = link(&hub, &target, OutboxLimits::new());
        let table: [(Message, ws_core::SendError); 4] = [
            (CloseFrame::new(1005, "").into(), ws_core::SendError::UnsendableCode),
            (CloseFrame::new(1000, "x".repeat(124)).into(), ws_core::SendError::ReasonTooLong),
            (Message::Ping(vec![0; 126].into()), ws_core::SendError::ControlTooLong),
            (Message::Pong(vec![0; 126].into()), ws_core::SendError::ControlTooLong),
        ];
        for (message, error) in table {
            assert_eq!(hub.send(link.id(), message.clone()), Err(SendError::Invalid(error)));
            assert_eq!(hub.broadcast(message), Sent { delivered: 0, dropped: 1 });
        }
        assert_eq!(hub.send(link.id(), "fine"), Ok(()));
        assert_eq!(written(&link), ["fine"]);
    }

    /// B10: an awaited send waits for room; cancelled, it has queued nothing and blocks nobody.
    #[test]
    fn awaited_send() {
        let (hub, target) = (Hub::new(), target());
        let link = link(&hub, &target, OutboxLimits { max_messages: 1, ..OutboxLimits::new() });
        assert_eq!(hub.send(link.id(), "1"), Ok(()));
        let mut cx = noop();
        {
            let mut cancelled = pin!(hub.send_acked(link.id(), "2"));
            assert_eq!(cancelled.as_mut().poll(&mut cx), Poll::Pending);
        }
        let mut third = pin!(hub.send_acked(link.id(), "3"));
        assert_eq!(third.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(written(&link), ["1"]);
        assert_eq!(third.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
        assert_eq!(written(&link), ["3"]);
        assert_eq!(hub.send(link.id(), "4"), Ok(()));
        let mut fifth = pin!(hub.send_acked(link.id(), "5"));
        assert_eq!(fifth.as_mut().poll(&mut cx), Poll::Pending);
        drop(link);
        assert_eq!(fifth.as_mut().poll(&mut cx), Poll::Ready(Err(SendError::Closed)));
    }
}
