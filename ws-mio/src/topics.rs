//! Topics: what one publishes, all members get.
//!
//! A loop has the members among its own connections, and tells other threads which topics it has ([`Directory`]). A
//! message is framed once, for all loops, and written from where it stands.
//!
//! Publishing writes nothing yet. It notes the message ([`Log`]), and for each member that he is to get it; at the end
//! of the turn each gets all that is noted for him, in one write. So a handler can publish with a connection in hand,
//! whatever else is going on, and a turn's messages share a system call. Whoever sends something of his own before
//! that gets first what was published before.
//!
//! Invariants: a member has a history only if he is in `dirty`. What is noted is bounded: beyond 64 KiB it is delivered
//! when the connection in hand is done with, and beyond [`Settings::max_inbox`](crate::Settings::max_inbox) refused.

use std::io::{self, Write};
use std::sync::Arc;
use std::{fmt, mem};

use ws_core::frame::{Header, MAX_HEADER};
use ws_core::{Message, Part, Prepared};

use crate::deflate;
use crate::link::Link;
use crate::quiet::Quiet;
use crate::remote::{Inbox, RemoteError};
use crate::reply::Reply;
use crate::server::Settings;
use crate::socket::Socket;
use crate::wire::{CORK, Overflow, is_full};

mod directory;
mod log;

pub(crate) use directory::{Directory, Entry, TopicId};
use log::{Log, NIL};

/// The longest name of a topic, in bytes.
pub const MAX_TOPIC: usize = 256;

/// Noted messages beyond this, with what is noted about them, are delivered without waiting for the end of the turn.
const MUCH: usize = CORK;

/// Frames are gathered for one write up to this length, in bytes.
const GATHERED: usize = 256 << 10;

/// Why a connection was not subscribed, or a message not published. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// The name is longer than [`MAX_TOPIC`].
    TooLong,
    /// The connection has as many topics as [`Settings::max_topics`](crate::Settings::max_topics) allows.
    TooMany,
    /// So much was published while one connection was in hand that
    /// [`Settings::max_inbox`](crate::Settings::max_inbox) allows no more.
    Full,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the topic's name is too long",
            Self::TooMany => "the connection has too many topics",
            Self::Full => "too much is published at once",
        })
    }
}

impl std::error::Error for TopicError {}

/// What became of a message to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Members of this loop that get it, with the end of the turn. One whose peer stops reading in this very turn may
    /// still lose it: see [`Remote::deliveries`](crate::Remote::deliveries).
    pub reached: usize,
    /// Members of other loops, for which it was left there.
    pub elsewhere: usize,
    /// Members that do not get it: their peers do not read (as [`Settings::overflow`](crate::Settings::overflow)
    /// says), they are in the middle of a message in parts, or their loop has too much to do.
    pub dropped: usize,
}

/// Messages to topics, all together since the server began: one for each member that was to get one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deliveries {
    /// Written, or queued for a peer that reads slowly.
    pub made: usize,
    /// Dropped, because a peer does not read, or its connection was ending.
    pub dropped: usize,
}

pub(crate) fn check(topic: &str) -> Result<(), TopicError> {
    if topic.len() > MAX_TOPIC { Err(TopicError::TooLong) } else { Ok(()) }
}

/// A message that is framed when it turns out that somebody gets it.
pub(crate) struct Draft<'m> {
    message: Message<'m>,
    prepared: Option<Prepared>,
}

impl<'m> Draft<'m> {
    pub(crate) fn new(message: Message<'m>) -> Self {
        Self { message, prepared: None }
    }

    fn frame(&mut self, directory: &Directory, topic: &str) -> Option<(Entry, &Prepared)> {
        let entry = match self.prepared {
            Some(_) => directory.find(topic)?,
            None => {
                let (entry, spare) = directory.find_for(topic)?;
                self.prepared = Some(match spare {
                    Some(spare) => spare.prepare(self.message),
                    None => Prepared::new(self.message),
                });
                entry
            }
        };
        Some((entry, self.prepared.as_ref()?))
    }

    /// Leaves it for a loop; `false`: the loop has ended.
    pub(crate) fn leave(&mut self, inbox: &Inbox, topic: &str, published: &mut Published) -> bool {
        let Some((Entry { topic, members }, prepared)) = self.frame(&inbox.topics, topic) else {
            return true;
        };
        match inbox.publish(topic, prepared) {
            Ok(()) => published.elsewhere += members,
            Err(RemoteError::Stopped) => return false,
            Err(_) => {
                published.dropped += members;
                inbox.topics.tally(0, members);
            }
        }
        true
    }
}

/// What stands between a member and a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ready,
    /// Its peer does not read: so many bytes wait, of so many that may.
    Stuck {
        queued: usize,
        most: usize,
    },
    /// It is in the middle of a message that is sent in parts.
    Midway,
    /// Its queue has overflown, and it is to be closed for that.
    Overflown,
}

/// A connection with topics.
#[derive(Debug)]
struct Member {
    slot: u32,
    /// What was published for it in this turn.
    history: u32,
    standing: Standing,
    places: Vec<Place>,
}

/// A member's place in a topic.
#[derive(Clone, Copy, Debug)]
struct Place {
    topic: u32,
    /// Which of the topic's seats it is.
    seat: u32,
}

/// A topic's member.
#[derive(Clone, Copy, Debug)]
struct Seat {
    member: u32,
    /// Which of the member's places it is.
    place: u32,
}

#[derive(Debug)]
struct Topic {
    /// `None`: nobody is in it, and its number is free.
    name: Option<Arc<str>>,
    generation: u32,
    seats: Vec<Seat>,
}

/// One loop's topics.
#[derive(Debug)]
pub(crate) struct Topics {
    inboxes: Arc<[Inbox]>,
    index: usize,
    max_topics: usize,
    max_noted: usize,
    overflow: Overflow,
    /// Which member a connection is, by its number; as long as it has to be.
    seated: Vec<u32>,
    members: Vec<Member>,
    free_members: Vec<u32>,
    topics: Vec<Topic>,
    free_topics: Vec<u32>,
    log: Log,
    /// Members for whom something is noted.
    dirty: Vec<u32>,
    made: usize,
    dropped: usize,
}

/// What came of writing to a connection at rest.
pub(crate) enum Written<'a> {
    /// Everything has left.
    All,
    /// It takes a socket to do it.
    Unfit,
    /// The transport took a part of these frames, or failed.
    Part(&'a [u8], io::Result<usize>),
}

impl Topics {
    pub(crate) fn new(inboxes: Arc<[Inbox]>, index: usize, settings: &Settings) -> Self {
        Self {
            inboxes,
            index,
            max_topics: settings.max_topics,
            max_noted: settings.max_inbox,
            overflow: settings.overflow,
            seated: Vec::new(),
            members: Vec::new(),
            free_members: Vec::new(),
            topics: Vec::new(),
            free_topics: Vec::new(),
            log: Log::default(),
            dirty: Vec::new(),
            made: 0,
            dropped: 0,
        }
    }

    fn directory(&self) -> Option<&Directory> {
        Some(&self.inboxes.get(self.index)?.topics)
    }

    /// Which member a connection is, if it has topics.
    #[inline]
    fn seated(&self, slot: u32) -> Option<u32> {
        self.seated.get(slot as usize).copied().filter(|&member| member != NIL)
    }

    #[inline]
    fn member(&self, slot: u32) -> Option<&Member> {
        self.members.get(self.seated(slot)? as usize)
    }

    // Who is in.

    /// `false`: it was in before.
    pub(crate) fn subscribe(&mut self, slot: u32, name: &str) -> Result<bool, TopicError> {
        check(name)?;
        let Some(directory) = self.directory() else { return Ok(false) };
        let topic = directory.find(name).map(|entry| entry.topic.slot);
        if topic.is_some_and(|topic| self.place(slot, topic).is_some()) {
            return Ok(false);
        }
        if self.member(slot).map_or(0, |member| member.places.len()) >= self.max_topics {
            return Err(TopicError::TooMany);
        }
        let topic = topic.unwrap_or_else(|| self.open_topic(name));
        let member = self.seated(slot).unwrap_or_else(|| self.seat(slot));
        if let (Some(Topic { name: Some(name), seats, .. }), Some(Member { places, .. })) =
            (self.topics.get_mut(topic as usize), self.members.get_mut(member as usize))
        {
            let (seat, place) = (seats.len() as u32, places.len() as u32);
            seats.push(Seat { member, place });
            places.push(Place { topic, seat });
            if let Some(inbox) = self.inboxes.get(self.index) {
                inbox.topics.count(name, seats.len());
            }
        }
        Ok(true)
    }

    /// `false`: it was not in.
    pub(crate) fn unsubscribe(&mut self, slot: u32, name: &str) -> bool {
        let topic = self.directory().and_then(|directory| directory.find(name));
        let Some(place) = topic.and_then(|entry| self.place(slot, entry.topic.slot)) else { return false };
        let Some(member) = self.seated(slot) else { return false };
        self.vacate(member, place);
        if self.members.get(member as usize).is_some_and(|member| member.places.is_empty()) {
            self.unseat(slot);
        }
        true
    }

    /// A connection ends, or begins to: it is in no topic any more.
    #[inline]
    pub(crate) fn leave(&mut self, slot: u32) {
        if let Some(member) = self.seated(slot) {
            self.leave_all(slot, member);
        }
    }

    #[cold]
    fn leave_all(&mut self, slot: u32, member: u32) {
        while let Some(last) =
            self.members.get(member as usize).and_then(|member| member.places.len().checked_sub(1))
        {
            self.vacate(member, last);
        }
        self.drop_noted(member);
        if let Some(member) = self.members.get_mut(member as usize) {
            member.standing = Standing::Ready;
        }
        self.unseat(slot);
    }

    /// What a connection is in.
    pub(crate) fn names(&self, slot: u32) -> impl Iterator<Item = &str> {
        let places = self.member(slot).map_or(&[][..], |member| &member.places);
        places.iter().filter_map(|place| self.topics.get(place.topic as usize)?.name.as_deref())
    }

    fn place(&self, slot: u32, topic: u32) -> Option<usize> {
        self.member(slot)?.places.iter().position(|place| place.topic == topic)
    }

    fn open_topic(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let slot = self.free_topics.pop().unwrap_or_else(|| {
            self.topics.push(Topic { name: None, generation: 0, seats: Vec::new() });
            self.topics.len() as u32 - 1
        });
        if let Some(topic) = self.topics.get_mut(slot as usize) {
            topic.name = Some(name.clone());
            let topic = TopicId { slot, generation: topic.generation };
            if let Some(directory) = self.directory() {
                directory.insert(name, Entry { topic, members: 0 });
            }
        }
        slot
    }

    fn seat(&mut self, slot: u32) -> u32 {
        let at = slot as usize;
        if self.seated.len() <= at {
            self.seated.resize(at + 1, NIL);
        }
        let member = self.free_members.pop().unwrap_or_else(|| {
            self.members.push(Member { slot, history: NIL, standing: Standing::Ready, places: Vec::new() });
            self.members.len() as u32 - 1
        });
        self.seated[at] = member;
        if let Some(member) = self.members.get_mut(member as usize) {
            (member.slot, member.standing) = (slot, Standing::Ready);
        }
        member
    }

    /// A connection without topics owns nothing here, unless something is on its way to it.
    fn unseat(&mut self, slot: u32) {
        let Some(member) = self.seated(slot) else { return };
        let Some(Member { history, standing, places, .. }) = self.members.get_mut(member as usize) else {
            return;
        };
        if *history == NIL && *standing != Standing::Overflown {
            *places = Vec::new();
            self.seated[slot as usize] = NIL;
            self.free_members.push(member);
        }
    }

    /// Takes a member from a place: the last of either list comes to stand in the gap.
    fn vacate(&mut self, member: u32, place: usize) {
        let Some(places) = self.members.get_mut(member as usize).map(|member| &mut member.places) else {
            return;
        };
        if place >= places.len() {
            return;
        }
        let Place { topic: at, seat } = places.swap_remove(place);
        let moved = places.get(place).copied();
        if let Some(moved) = moved
            && let Some(seat) = self
                .topics
                .get_mut(moved.topic as usize)
                .and_then(|topic| topic.seats.get_mut(moved.seat as usize))
        {
            seat.place = place as u32;
        }
        let Some(topic) = self.topics.get_mut(at as usize) else { return };
        if (seat as usize) < topic.seats.len() {
            topic.seats.swap_remove(seat as usize);
        }
        let (moved, left) = (topic.seats.get(seat as usize).copied(), topic.seats.len());
        if let Some(moved) = moved
            && let Some(place) = self
                .members
                .get_mut(moved.member as usize)
                .and_then(|member| member.places.get_mut(moved.place as usize))
        {
            place.seat = seat;
        }
        if let Some(name) = &topic.name
            && let Some(inbox) = self.inboxes.get(self.index)
        {
            inbox.topics.count(name, left);
        }
        if left == 0 {
            topic.name = None;
            topic.generation = topic.generation.wrapping_add(1);
            topic.seats = Vec::new();
            self.free_topics.push(at);
        }
    }

    // What they get.

    /// Publishes a message of a connection that is in hand. It gets the message itself only if `own` is there, at once.
    pub(crate) fn publish(
        &mut self,
        inboxes: &[Inbox],
        slot: u32,
        name: &str,
        message: Message<'_>,
        own: Option<&mut Reply<'_, Link>>,
    ) -> Result<Published, TopicError> {
        check(name)?;
        if !self.log.is_empty() && self.log.size().saturating_add(message.as_bytes().len()) > self.max_noted {
            return Err(TopicError::Full);
        }
        let mut published = Published::default();
        let mut draft = Draft::new(message);
        if let Some(inbox) = inboxes.get(self.index)
            && let Some((Entry { topic, .. }, prepared)) = draft.frame(&inbox.topics, name)
        {
            if let Some(reply) = own
                && self.place(slot, topic.slot).is_some()
            {
                self.catch_up(slot, reply);
                match reply.send_prepared(prepared) {
                    Ok(()) => (published.reached, self.made) = (1, self.made + 1),
                    Err(_) => (published.dropped, self.dropped) = (1, self.dropped + 1),
                }
            }
            let (reached, dropped) = self.note(topic, prepared, Some(slot));
            published.reached += reached;
            published.dropped += dropped;
        }
        for (_, inbox) in inboxes.iter().enumerate().filter(|(index, _)| *index != self.index) {
            draft.leave(inbox, name, &mut published);
        }
        if published == Published::default()
            && let Some(directory) = self.directory()
        {
            directory.keep(draft.prepared.into_iter());
        }
        Ok(published)
    }

    /// Notes a message for the members of a topic: how many get it, and how many do not.
    pub(crate) fn note(&mut self, topic: TopicId, message: &Prepared, except: Option<u32>) -> (usize, usize) {
        let Self { topics, members, log, dirty, overflow, .. } = self;
        let Some(topic) =
            topics.get(topic.slot as usize).filter(|other| other.generation == topic.generation)
        else {
            return (0, 0);
        };
        let needed = message.len().saturating_add(MAX_HEADER);
        let frame_len = Header::len_for(message.len() as u64, false).saturating_add(message.len());
        let (mut reached, mut dropped, mut first) = (0, 0, NIL);
        for seat in &topic.seats {
            let Some(member) = members.get_mut(seat.member as usize) else { continue };
            if Some(member.slot) == except {
                continue;
            }
            match member.standing {
                Standing::Ready => {}
                Standing::Stuck { queued, most } => {
                    let queued = queued.saturating_add(log.bytes(member.history));
                    if *overflow != Overflow::DropOld && is_full(queued, needed, most) {
                        dropped += 1;
                        if *overflow == Overflow::Close {
                            member.standing = Standing::Overflown;
                            dirty.push(seat.member);
                        }
                        continue;
                    }
                }
                Standing::Midway | Standing::Overflown => {
                    dropped += 1;
                    continue;
                }
            }
            reached += 1;
            if member.history == NIL {
                dirty.push(seat.member);
            }
            member.history = log.extend(member.history, &mut first, frame_len);
        }
        if reached > 0 {
            log.push(message.clone());
        }
        self.dropped += dropped;
        (reached, dropped)
    }

    /// Whether there is something to deliver.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Whether it should not wait for the end of the turn.
    #[inline]
    pub(crate) fn is_much(&self) -> bool {
        self.log.size() >= MUCH
    }

    /// Whether a connection is to get something before it sends anything else.
    #[inline]
    pub(crate) fn owes(&self, slot: u32) -> bool {
        self.member(slot)
            .is_some_and(|member| member.history != NIL || member.standing == Standing::Overflown)
    }

    /// A connection in hand gets what is noted for it.
    #[inline]
    pub(crate) fn catch_up(&mut self, slot: u32, reply: &mut Reply<'_, Link>) {
        if self.owes(slot) {
            self.hand_over(slot, reply);
        }
    }

    #[cold]
    fn hand_over(&mut self, slot: u32, reply: &mut Reply<'_, Link>) {
        let Some(member) = self.seated(slot) else { return };
        let Some(member) = self.members.get_mut(member as usize) else { return };
        let history = mem::replace(&mut member.history, NIL);
        for message in self.log.history(history) {
            match reply.send_prepared(message) {
                Ok(()) => self.made += 1,
                Err(_) => self.dropped += 1,
            }
        }
        if member.standing == Standing::Overflown {
            member.standing = Standing::Midway;
            reply.overflow();
        }
        if member.places.is_empty() {
            self.unseat(slot);
        }
    }

    /// A connection was worked with: how it stands with its members' messages from now on.
    #[inline]
    pub(crate) fn review(&mut self, slot: u32, socket: &Socket<Link>) {
        let Some(member) = self.seated(slot) else { return };
        let connection = socket.session.connection_ref();
        if !connection.can_send() {
            return self.leave_all(slot, member);
        }
        if let Some(member) = self.members.get_mut(member as usize)
            && member.standing != Standing::Overflown
        {
            member.standing = if connection.has_open_message() {
                Standing::Midway
            } else if socket.wire.is_flushed() && !socket.wire.blocked {
                Standing::Ready
            } else {
                Standing::Stuck {
                    queued: socket.wire.queued().saturating_add(connection.pending()),
                    most: connection.config().limits.max_queue,
                }
            };
        }
    }

    /// Those who are to get something, in the best order.
    pub(crate) fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = mem::take(&mut self.dirty);
        if self.log.is_diverse() {
            let history =
                |member: &u32| self.members.get(*member as usize).map_or(NIL, |member| member.history);
            dirty.sort_unstable_by_key(history);
        }
        dirty
    }

    /// The connection of a member that is to get something.
    #[inline]
    pub(crate) fn addressee(&self, member: u32) -> Option<u32> {
        let member = self.members.get(member as usize)?;
        (member.history != NIL || member.standing == Standing::Overflown).then_some(member.slot)
    }

    /// Writes to a connection at rest what is noted for it, from where it stands.
    #[inline]
    pub(crate) fn write(&mut self, member: u32, quiet: &mut Quiet<Link>) -> Written<'_> {
        let Some(Member { history, standing, places, .. }) = self.members.get_mut(member as usize) else {
            return Written::Unfit;
        };
        let depth = self.log.depth(*history);
        let fits = depth == 1 || self.log.bytes(*history) <= GATHERED;
        if *standing != Standing::Ready || places.is_empty() || !fits {
            return Written::Unfit;
        }
        let is_plain = !deflate::compresses(quiet.session.connection_ref(), usize::MAX, Part::Whole);
        let Some(frames) = self.log.frames(quiet.session.connection(), *history, is_plain) else {
            return Written::Unfit;
        };
        *history = NIL;
        self.made += depth;
        let written = quiet.io.write(frames);
        if written.as_ref().is_ok_and(|&n| n == frames.len()) && quiet.io.flush().is_ok() {
            return Written::All;
        }
        Written::Part(frames, written)
    }

    /// Nothing is noted for a member any more, whatever became of it.
    pub(crate) fn drop_noted(&mut self, member: u32) {
        if let Some(Member { history, .. }) = self.members.get_mut(member as usize)
            && *history != NIL
        {
            self.dropped += self.log.depth(mem::replace(history, NIL));
        }
    }

    /// The turn's messages are delivered. `dirty` is what [`take_dirty`](Self::take_dirty) lent.
    pub(crate) fn end_turn(&mut self, mut dirty: Vec<u32>) {
        dirty.clear();
        dirty.shrink_to(4096);
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        if let Some(inbox) = self.inboxes.get(self.index) {
            inbox.topics.keep(self.log.clear());
        }
    }

    /// Makes the counts known.
    pub(crate) fn tell(&mut self) {
        if (self.made, self.dropped) != (0, 0)
            && let Some(inbox) = self.inboxes.get(self.index)
        {
            inbox.topics.tally(mem::take(&mut self.made), mem::take(&mut self.dropped));
        }
    }
}
