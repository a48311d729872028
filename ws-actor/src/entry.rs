//! What the Hub knows of one connection: who it is, what goes with it, its outbox, its rooms, its counters.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ws_core::{Instant, Role};

use crate::conn::now;
use crate::decision::Relay;
use crate::event::{CloseFrame, Connect, Heartbeat};
use crate::hub::{ConnInfo, SendError};
use crate::id::ConnId;
use crate::limits::Bounds;
use crate::meta::Meta;
use crate::meters::{DropReason, Meters};
use crate::metrics::Totals;
use crate::observer::{Dropped, Note};
use crate::outbox::{Level, Lost, Outbox, Overflow, Refused};
use crate::outgoing::{Frame, Lane};
use crate::path::Params;
use crate::places::{NoPlace, Places};
use crate::room::Memberships;
use crate::seat::Seat;
use crate::sync::{lock, note_half_full, wake};
use crate::target::Target;
use crate::waiters::Ticket;

pub(crate) struct Entry {
    id: ConnId,
    who: Who,
    meters: Arc<Meters>,
    opened: Instant,
    outbox: Outbox,
    max_rooms: u32,
    /// Until the connection ends; boxed, for most need none.
    places: Mutex<Option<Box<Places>>>,
    authenticated: AtomicBool,
    /// It is written by a thread of its own, which may lag behind the senders; not while its peer keeps it
    /// waiting.
    lags: AtomicBool,
    pub(crate) traffic: Traffic,
    pub(crate) memberships: Mutex<Memberships>,
    pub(crate) seat: Mutex<Seat>,
}

/// What does not change while a connection lives.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) remote_addr: SocketAddr,
    /// Shared, for connections that come one after the other mostly come the same way.
    pub(crate) way: Arc<Way>,
}

/// How a connection came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) role: Role,
    pub(crate) local_addr: SocketAddr,
    pub(crate) path: Arc<str>,
    pub(crate) params: Params,
    pub(crate) query: Arc<str>,
    pub(crate) subprotocol: Option<Arc<str>>,
    /// Its messages go out as `{topic, data}`.
    pub(crate) envelope: bool,
}

/// What goes with a connection, and may be changed while it lives.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) topic: Arc<str>,
    pub(crate) meta: Meta,
    pub(crate) heartbeat: Option<Duration>,
}

impl Terms {
    /// Changes what a relay says anything about.
    pub(crate) fn apply(&mut self, relay: Relay) {
        if let Some(topic) = relay.topic {
            self.topic = topic;
        }
        if let Some(meta) = relay.meta {
            self.meta = meta;
        }
        if let Some(heartbeat) = relay.heartbeat {
            self.heartbeat = heartbeat;
        }
    }
}

/// Whole messages and the bytes of their payloads. One task counts, others look.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
    over_rate: AtomicU64,
}

impl Traffic {
    /// A message, or a part of one, has come.
    pub(crate) fn came(&self, bytes: usize, is_last: bool) {
        add(&self.messages_in, u64::from(is_last));
        add(&self.bytes_in, bytes as u64);
    }

    /// A message came too fast.
    pub(crate) fn came_too_fast(&self) {
        add(&self.over_rate, 1);
    }

    pub(crate) fn went(&self, bytes: usize) {
        add(&self.messages_out, 1);
        add(&self.bytes_out, bytes as u64);
    }

    pub(crate) fn totals(&self) -> Totals {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            messages_in: count(&self.messages_in),
            bytes_in: count(&self.bytes_in),
            messages_out: count(&self.messages_out),
            bytes_out: count(&self.bytes_out),
            over_rate: count(&self.over_rate),
        }
    }
}

/// With one writer, a load and a store lose nothing, and cost less than a locked addition.
fn add(count: &AtomicU64, n: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Entry {
    pub(crate) fn new(id: ConnId, bounds: Bounds, who: Who, terms: Terms, meters: Arc<Meters>) -> Self {
        let Bounds { outbox, max_rooms, places, .. } = bounds;
        Self {
            id,
            who,
            meters,
            opened: now(),
            outbox: Outbox::new(outbox),
            max_rooms: u32::try_from(max_rooms).unwrap_or(u32::MAX),
            authenticated: AtomicBool::new(places.user().is_some()),
            places: Mutex::new((!places.is_empty()).then(|| Box::new(places))),
            lags: AtomicBool::new(false),
            traffic: Traffic::default(),
            memberships: Mutex::default(),
            seat: Mutex::new(Seat::new(terms)),
        }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn max_rooms(&self) -> usize {
        usize::try_from(self.max_rooms).unwrap_or(usize::MAX)
    }

    /// Whose connection it is, if that is known.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        lock(&self.places).as_ref()?.user().cloned()
    }

    /// Marks it as authenticated, and as this user's if one is named.
    pub(crate) fn authenticate(&self, user: Option<&Arc<str>>) -> Result<(), NoPlace> {
        if let Some(user) = user {
            lock(&self.places).get_or_insert_default().name_user(user)?;
        }
        self.authenticated.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Makes room for others. The user's name goes with the place.
    pub(crate) fn free_places(&self) -> Option<Box<Places>> {
        lock(&self.places).take()
    }

    /// Says whether the connection is written by another thread than those that send.
    #[cfg(feature = "mio")]
    pub(crate) fn set_lags(&self, lags: bool) {
        self.lags.store(lags, Ordering::Relaxed);
        if !lags {
            self.outbox.wake_senders();
        }
    }

    /// Ready when a sender that goes on and on need not wait for the thread that writes.
    pub(crate) fn poll_relieved(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<()> {
        if self.lags.load(Ordering::Relaxed) { self.outbox.poll_low(cx, ticket) } else { Poll::Ready(()) }
    }

    pub(crate) fn terms(&self) -> Terms {
        lock(&self.seat).terms.clone()
    }

    /// The actor that had the connection when it ended.
    pub(crate) fn last_target(&self) -> Option<Target> {
        lock(&self.seat).last().cloned()
    }

    /// Ready when no actor that the connection has left has to be waited for.
    pub(crate) fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut seat = lock(&self.seat);
        seat.attend(cx);
        if seat.waits() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Queues a message. What has to go for it goes to `lost`, which outlives all locks.
    pub(crate) fn take(&self, lane: &Lane, lost: &mut Lost) -> Result<(), SendError> {
        let result = match lane {
            Lane::Data(frame, key) => {
                let before = lost.len();
                let level = self.outbox.push(&self.dress(frame), key.as_ref(), lost);
                if level == Ok(Level::HalfFull) {
                    note_half_full(self.id);
                }
                let result = level.map(drop);
                if result == Err(Refused::Full) || lost.len() > before {
                    self.count_drops(result, lost.len() - before);
                }
                result
            }
            Lane::Control(control) => self.outbox.push_control(control.clone()),
            Lane::Close(frame) => self.outbox.close(frame.clone()),
        };
        result.map_err(SendError::from)
    }

    /// Queues what was said in a room before this connection came, the oldest first: as much of its end as half of the
    /// outbox has room for.
    pub(crate) fn take_past<'a, M>(&self, past: M, lost: &mut Lost)
    where
        M: DoubleEndedIterator<Item = (&'a Frame, Option<&'a Arc<str>>)> + ExactSizeIterator + Clone,
    {
        let before = lost.len();
        if self.who.way.envelope {
            let dressed: Vec<_> = past.map(|(frame, key)| (self.dress(frame), key)).collect();
            self.outbox.push_last(dressed.iter().map(|(frame, key)| (&**frame, *key)), lost);
        } else {
            self.outbox.push_last(past, lost);
        }
        if lost.len() > before {
            self.count_drops(Ok(()), lost.len() - before);
        }
    }

    /// Counts what an overflow has cost: this message, or `lost` others.
    #[cold]
    fn count_drops(&self, result: Result<(), Refused>, lost: usize) {
        let (reason, count) = match (result, self.outbox.overflow()) {
            (Err(_), _) => (DropReason::Full, 1),
            (Ok(()), Overflow::Conflate) => (DropReason::Replaced, lost as u64),
            (Ok(()), _) => (DropReason::Oldest, lost as u64),
        };
        self.meters.dropped.add(reason, count);
        let (_, _, total) = self.outbox.load();
        let has_doubled = total.checked_ilog2() > total.saturating_sub(count).checked_ilog2();
        if has_doubled {
            self.meters.observers.tell(|| Note::Dropped(Dropped { id: self.id, reason, total }));
        }
    }

    /// Has the connection's task end the connection in its next turn, with this close frame if the socket takes it at
    /// once.
    pub(crate) fn abort(&self, frame: &CloseFrame) {
        self.outbox.abandon(frame);
        let mut seat = lock(&self.seat);
        let waker = seat.abort();
        drop(seat);
        wake(waker);
    }

    /// A message as this client wants it.
    pub(crate) fn dress<'a>(&self, frame: &'a Frame) -> Cow<'a, Frame> {
        if self.who.way.envelope {
            Cow::Owned(frame.enveloped(|| Arc::clone(&lock(&self.seat).terms.topic)))
        } else {
            Cow::Borrowed(frame)
        }
    }

    pub(crate) fn connect(&self) -> Connect {
        let remote_addr = self.who.remote_addr;
        let Way { role, local_addr, path, params, query, subprotocol, .. } = Way::clone(&self.who.way);
        let Terms { topic, meta, .. } = self.terms();
        let (id, user) = (self.id, self.user());
        Connect {
            id,
            role,
            remote_addr,
            local_addr,
            path,
            params,
            query,
            subprotocol,
            user,
            topic,
            meta,
            restarted: false,
        }
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        let info = self.info();
        Heartbeat {
            id: self.id,
            uptime: info.uptime,
            messages_in: info.messages_in,
            messages_out: info.messages_out,
            bytes_in: info.bytes_in,
            bytes_out: info.bytes_out,
            queued: info.queued,
            topic: info.topic,
            meta: info.meta,
        }
    }

    pub(crate) fn info(&self) -> ConnInfo {
        let target = lock(&self.seat).target().map(|target| target.name().into());
        let remote_addr = self.who.remote_addr;
        let Way { role, local_addr, path, params, query, subprotocol, .. } = Way::clone(&self.who.way);
        let Terms { topic, meta, .. } = self.terms();
        let (queued, queued_bytes, dropped) = self.outbox.load();
        let traffic = self.traffic.totals();
        ConnInfo {
            role,
            remote_addr,
            local_addr,
            path,
            params,
            query,
            subprotocol,
            user: self.user(),
            target,
            topic,
            meta,
            uptime: now().saturating_since(self.opened),
            messages_in: traffic.messages_in,
            bytes_in: traffic.bytes_in,
            messages_out: traffic.messages_out,
            bytes_out: traffic.bytes_out,
            queued,
            queued_bytes,
            dropped,
            over_rate: traffic.over_rate,
        }
    }
}
