//! Rooms: named sets of connections.
//!
//! A room is where its members are; it begins with the first of them and ends with the last. Members stand in shards
//! of at most [`MAX_SHARD`], each under its own lock, so that a connection that joins waits for one shard of a
//! broadcast and not for all. A broadcast frames its message once; the room's broadcasts follow one another, so all
//! members see them in the same order.
//!
//! A room may keep a history for newcomers, and tell its members who joins and leaves ([`RoomOptions`]). Joins and
//! leaves then have their place in the order of its broadcasts: a newcomer gets every message once, as history or live.
//!
//! Ownership: a membership and a [`Room`] handle hold the room, the table of names only knows it; the room
//! holds its members' entries until they leave, and a connection's end makes it leave all. Locks are taken in this
//! order: a connection's memberships, a room's order of broadcasts, its list of shards, a shard, an outbox.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crate::conn::now;
use crate::entry::Entry;
use crate::history::{History, Past};
use crate::hub::{Hub, SHARDS, Sent, Shared};
use crate::id::ConnId;
use crate::observer::Note;
use crate::outbox::Lost;
use crate::outgoing::{Lane, Outgoing, Tally};
use crate::presence::{Member, Presence, PresenceEvents, RoomOptions, announce};
use crate::sync::lock;

/// Maximum number of members under one lock.
const MAX_SHARD: usize = 4_096;

/// One broadcast in this many is timed.
const TIMED_EVERY: u32 = 16;

/// Maximum number of rooms that a connection is in, unless its route says otherwise
/// ([`Limits::max_rooms`](crate::Limits::max_rooms)).
pub const MAX_ROOMS: usize = 128;

/// Maximum length of the name of a room that can be joined, in bytes.
pub const MAX_ROOM_NAME: usize = 255;

/// Why a connection did not join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// No connection has this id, or it has ended.
    NotFound,
    /// The connection is in as many rooms as it may be ([`Limits::max_rooms`](crate::Limits::max_rooms)).
    TooManyRooms,
    /// The room's name is longer than [`MAX_ROOM_NAME`] bytes.
    NameTooLong,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such connection"),
            Self::TooManyRooms => f.write_str("the connection is in too many rooms"),
            Self::NameTooLong => write!(f, "a room's name can have {MAX_ROOM_NAME} bytes"),
        }
    }
}

impl std::error::Error for JoinError {}

/// A handle on the room of this name, which is any UTF-8 text.
#[derive(Clone)]
pub struct Room {
    hub: Hub,
    inner: Arc<Inner>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("name", &self.name()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Hub {
    /// The room of this name. It need not exist: the first member makes it.
    pub fn room(&self, name: impl AsRef<str>) -> Room {
        Room { hub: self.clone(), inner: self.shared.rooms.inner(name.as_ref(), &self.shared) }
    }

    /// The room of this name, with these options from now on. They hold as long as the room does: while it has members, or
    /// a [`Room`] handle is held.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use ws_actor::{Hub, Presence, RoomOptions};
    ///
    /// let mut options = RoomOptions::new();
    /// options.history = Some((50, Duration::from_secs(600)));
    /// options.presence_events = Some(Arc::new(|presence| {
    ///     Some(match presence {
    ///         Presence::Joined(member) => format!("{} is here", member.id).into(),
    ///         Presence::Left(member) => format!("{} is gone", member.id).into(),
    ///     })
    /// }));
    /// let room = Hub::new().room_with("kitchen", options);
    /// assert_eq!(room.broadcast("kept for those who come").delivered, 0);
    /// assert_eq!(room.info().history, 1);
    /// ```
    pub fn room_with(&self, name: impl AsRef<str>, options: RoomOptions) -> Room {
        let room = self.room(name);
        room.inner.set(options);
        room
    }

    /// The number of rooms: those with members, and those of which a [`Room`] handle is held.
    pub fn room_count(&self) -> usize {
        self.shared.rooms.names.iter().map(|shard| lock(shard).len()).sum()
    }
}

impl Room {
    /// The room's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Makes a connection a member. Joining twice has no further effect.
    ///
    /// If the room keeps a history, it is queued to the newcomer before anything that is broadcast later.
    ///
    /// # Errors
    /// [`JoinError`] tells the cases.
    pub fn join(&self, id: ConnId) -> Result<(), JoinError> {
        if self.inner.name.len() > MAX_ROOM_NAME {
            return Err(JoinError::NameTooLong);
        }
        let entry = self.hub.entry(id).ok_or(JoinError::NotFound)?;
        let news = self.inner.news_of(&entry, Presence::Joined);
        let mut gone = Gone::default();
        let mut memberships = lock(&entry.memberships);
        match &mut *memberships {
            // The connection ended after it was looked up.
            Memberships::Ended => Err(JoinError::NotFound),
            Memberships::Of(rooms) if rooms.iter().any(|room| room.is(&self.inner)) => Ok(()),
            Memberships::Of(rooms) if rooms.len() >= entry.max_rooms() => Err(JoinError::TooManyRooms),
            Memberships::Of(rooms) => {
                let shard = self.inner.admit(Arc::clone(&entry), news.as_ref(), &mut gone);
                self.inner.settle();
                rooms.push(Membership { room: Arc::clone(&self.inner), shard });
                Ok(())
            }
        }
    }

    /// Ends a membership, and tells whether there was one.
    pub fn leave(&self, id: ConnId) -> bool {
        let Some(entry) = self.hub.entry(id) else { return false };
        let news = self.inner.news_of(&entry, Presence::Left);
        let mut gone = Gone::default();
        let mut memberships = lock(&entry.memberships);
        let Memberships::Of(rooms) = &mut *memberships else { return false };
        let Some(at) = rooms.iter().position(|room| room.is(&self.inner)) else { return false };
        rooms.swap_remove(at).end(id, news.as_ref(), &mut gone);
        true
    }

    /// Queues a message to every member.
    pub fn broadcast(&self, message: impl Into<Outgoing>) -> Sent {
        self.inner.broadcast(&message.into(), None, &self.hub.shared)
    }

    /// Queues a message to every member but one, usually the one that said it.
    pub fn broadcast_except(&self, except: ConnId, message: impl Into<Outgoing>) -> Sent {
        self.inner.broadcast(&message.into(), Some(except), &self.hub.shared)
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.inner.len.load(Ordering::Relaxed)
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this connection is a member.
    pub fn contains(&self, id: ConnId) -> bool {
        let Some(entry) = self.hub.entry(id) else { return false };
        let memberships = lock(&entry.memberships);
        matches!(&*memberships, Memberships::Of(rooms) if rooms.iter().any(|room| room.is(&self.inner)))
    }

    /// The members: a snapshot, in no order.
    pub fn members(&self) -> Vec<ConnId> {
        let mut ids = Vec::with_capacity(self.len());
        for shard in lock(&self.inner.shards).iter() {
            ids.extend(lock(shard).members.iter().map(|entry| entry.id()));
        }
        ids
    }

    /// The members and the values that go with them: a snapshot, in no order.
    pub fn roster(&self) -> Vec<Member> {
        let mut entries = Vec::with_capacity(self.len());
        for shard in lock(&self.inner.shards).iter() {
            entries.extend(lock(shard).members.iter().cloned());
        }
        entries.iter().map(|entry| Member::of(entry)).collect()
    }

    /// The present state of the room.
    pub fn info(&self) -> RoomInfo {
        let Tally { sent, accepted, dropped } = &*self.inner.tally;
        RoomInfo {
            members: self.len(),
            broadcasts: sent.load(Ordering::Relaxed),
            delivered: accepted.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            history: lock(&self.inner.order).history.len(),
        }
    }
}

/// The present state of a room: its size, and the fate of its messages since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomInfo {
    /// Its members.
    pub members: usize,
    /// Messages broadcast to it, presence events included.
    pub broadcasts: u64,
    /// How often one of them was accepted by a member's outbox.
    pub delivered: u64,
    /// How often one of them was not accepted, or was dropped later: by the [`Overflow`](crate::Overflow) policy of an
    /// outbox, or by a close that did not wait for what it held.
    pub dropped: u64,
    /// Messages kept for newcomers.
    pub history: usize,
}

/// The rooms that a connection is in. Most are in a few, so a list does.
pub(crate) enum Memberships {
    Of(Vec<Membership>),
    /// The connection ended; it joins no more rooms.
    Ended,
}

impl Default for Memberships {
    fn default() -> Self {
        Self::Of(Vec::new())
    }
}

pub(crate) struct Membership {
    room: Arc<Inner>,
    shard: Arc<Mutex<Shard>>,
}

impl Membership {
    fn is(&self, room: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.room, room)
    }

    fn end(self, id: ConnId, news: Option<&Lane>, gone: &mut Gone) {
        let told = news.map(|news| (news, lock(&self.room.order)));
        if lock(&self.shard).remove(id) {
            self.room.len.fetch_sub(1, Ordering::AcqRel);
            self.room.settle();
        }
        if let Some((news, _order)) = told {
            self.room.tell(news, None, &mut gone.lost);
        }
    }
}

impl Entry {
    /// Ends all memberships, for good.
    pub(crate) fn leave_rooms(&self) {
        let mut memberships = lock(&self.memberships);
        let left = std::mem::replace(&mut *memberships, Memberships::Ended);
        // It joins no more rooms, so nothing can come between the ends of its memberships and the news of them.
        drop(memberships);
        let Memberships::Of(rooms) = left else { return };
        for room in rooms {
            let news = room.room.news_of(self, Presence::Left);
            room.end(self.id(), news.as_ref(), &mut Gone::default());
        }
    }
}

/// The table of names. It does not keep a room alive.
pub(crate) struct Rooms {
    names: [Mutex<HashMap<Arc<str>, Weak<Inner>>>; SHARDS],
    hasher: RandomState,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { names: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Rooms {
    fn shard(&self, name: &str) -> &Mutex<HashMap<Arc<str>, Weak<Inner>>> {
        &self.names[self.hasher.hash_one(name) as usize % SHARDS]
    }

    fn inner(&self, name: &str, shared: &Arc<Shared>) -> Arc<Inner> {
        let mut names = lock(self.shard(name));
        if let Some(inner) = names.get(name).and_then(Weak::upgrade) {
            return inner;
        }
        let name: Arc<str> = name.into();
        let inner = Arc::new(Inner {
            name: Arc::clone(&name),
            len: AtomicUsize::new(0),
            extras: Mutex::default(),
            order: Mutex::default(),
            shards: Mutex::default(),
            tally: Arc::default(),
            is_inhabited: Mutex::default(),
            shared: Arc::downgrade(shared),
        });
        names.insert(name, Arc::downgrade(&inner));
        inner
    }
}

struct Inner {
    name: Arc<str>,
    len: AtomicUsize,
    extras: Mutex<Extras>,
    /// Held while a message goes to all.
    order: Mutex<Order>,
    shards: Mutex<Vec<Arc<Mutex<Shard>>>>,
    tally: Arc<Tally>,
    /// Whether others were told that it has members.
    is_inhabited: Mutex<bool>,
    shared: Weak<Shared>,
}

/// What joins and leaves have to know. Held for no longer than that takes.
#[derive(Default)]
struct Extras {
    /// Whether joins and leaves have a place in the order of broadcasts.
    in_order: bool,
    presence_events: Option<PresenceEvents>,
}

#[derive(Default)]
struct Order {
    history: History,
    /// Counts them.
    broadcasts: u32,
}

/// What was let go of under locks. To be dropped when none is held.
#[derive(Default)]
struct Gone {
    lost: Lost,
    past: Vec<Past>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut names = lock(shared.rooms.shard(&self.name));
        // Another thread may have asked for the name between the last handle's end and this line, and made a new room.
        if names.get(&self.name).is_some_and(|inner| inner.strong_count() == 0) {
            names.remove(&self.name);
        }
    }
}

impl Inner {
    fn set(&self, RoomOptions { history, presence_events }: RoomOptions) {
        let in_order = history.is_some() || presence_events.is_some();
        let past = lock(&self.order).history.bind(now(), history);
        let old = std::mem::replace(&mut *lock(&self.extras), Extras { in_order, presence_events });
        drop((past, old));
    }

    /// The order of broadcasts, held by this thread from here on, if joins and leaves have a place in it.
    fn in_order(&self) -> Option<MutexGuard<'_, Order>> {
        let in_order = lock(&self.extras).in_order;
        in_order.then(|| lock(&self.order))
    }

    /// What members are told of one that joins or leaves; no lock may be held.
    fn news_of(&self, entry: &Entry, presence: impl FnOnce(Member) -> Presence) -> Option<Lane> {
        let events = lock(&self.extras).presence_events.clone()?;
        announce(&events, presence(Member::of(entry)), &self.tally)
    }

    /// Makes a connection that is not a member one: it gets the history, and the others the news.
    fn admit(&self, entry: Arc<Entry>, news: Option<&Lane>, gone: &mut Gone) -> Arc<Mutex<Shard>> {
        let Some(mut order) = self.in_order() else { return self.place(entry) };
        gone.past.append(&mut order.history.trim(now()));
        entry.take_past(order.history.iter(), &mut gone.lost);
        let id = entry.id();
        let shard = self.place(entry);
        if let Some(news) = news {
            self.tell(news, Some(id), &mut gone.lost);
        }
        shard
    }

    /// Puts a connection into the first shard that has a place.
    fn place(&self, entry: Arc<Entry>) -> Arc<Mutex<Shard>> {
        let mut shards = lock(&self.shards);
        for shard in shards.iter() {
            let mut members = lock(shard);
            if members.members.len() < MAX_SHARD {
                members.insert(entry);
                self.len.fetch_add(1, Ordering::AcqRel);
                return Arc::clone(shard);
            }
        }
        let mut shard = Shard::default();
        shard.insert(entry);
        let shard = Arc::new(Mutex::new(shard));
        shards.push(Arc::clone(&shard));
        self.len.fetch_add(1, Ordering::AcqRel);
        shard
    }

    /// Tells the engine and the observers of the first member and of the end of the last. To be called after each
    /// change of the number; the last call sees the present number, so that what was told is right in the end, and
    /// alternates.
    fn settle(&self) {
        let mut is_inhabited = lock(&self.is_inhabited);
        let now = self.len.load(Ordering::Acquire) > 0;
        if now == *is_inhabited {
            return;
        }
        let Some(shared) = self.shared.upgrade() else { return };
        *is_inhabited = now;
        let observers = &shared.meters.observers;
        if now {
            shared.engine.join(&self.name);
            observers.tell(|| Note::RoomCreated(Arc::clone(&self.name)));
        } else {
            shared.engine.leave(&self.name);
            observers.tell(|| Note::RoomRemoved(Arc::clone(&self.name)));
        }
    }

    fn broadcast(&self, message: &Outgoing, except: Option<ConnId>, hub: &Shared) -> Sent {
        let Ok(lane) = Lane::for_many(message.clone(), Some(&self.tally)) else {
            return Sent { dropped: self.len.load(Ordering::Relaxed), delivered: 0 };
        };
        let mut gone = Gone::default();
        let mut order = lock(&self.order);
        let began = order.broadcasts.is_multiple_of(TIMED_EVERY).then(now);
        order.broadcasts = order.broadcasts.wrapping_add(1);
        hub.engine.publish(Some(&self.name), message, except);
        if let Lane::Data(frame, key) = &lane {
            gone.past = order.history.push(frame, key.as_ref(), now);
        }
        let sent = self.tell(&lane, except, &mut gone.lost);
        if let Some(began) = began {
            hub.meters.fan_out.record(now().saturating_since(began));
        }
        sent
    }

    /// Queues a message to all but one. The caller holds the [`Order`].
    fn tell(&self, lane: &Lane, except: Option<ConnId>, lost: &mut Lost) -> Sent {
        let mut sent = Sent::default();
        let shards = lock(&self.shards).clone();
        for shard in shards {
            for entry in &lock(&shard).members {
                if Some(entry.id()) != except {
                    sent.count(entry.take(lane, lost));
                }
            }
        }
        self.tally.sent.fetch_add(1, Ordering::Relaxed);
        self.tally.accepted.fetch_add(sent.delivered as u64, Ordering::Relaxed);
        self.tally.dropped.fetch_add(sent.dropped as u64, Ordering::Relaxed);
        sent
    }
}

#[derive(Default)]
pub(crate) struct Shard {
    members: Vec<Arc<Entry>>,
    /// The place of a connection in `members`.
    places: HashMap<ConnId, usize>,
}

impl Shard {
    fn insert(&mut self, entry: Arc<Entry>) {
        self.places.insert(entry.id(), self.members.len());
        self.members.push(entry);
    }

    fn remove(&mut self, id: ConnId) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(moved.id(), place);
        }
        true
    }
}

#[cfg(test)]
mod tests;
