//! Publishing: messages are noted when they are published, and written at the end of the turn.

use std::io::{self, Write};
use std::mem;

use ws_core::frame::{Header, MAX_HEADER};
use ws_core::{Message, Prepared};

use super::directory::{Entry, TopicId};
use super::log::{Log, NIL};
use super::spares::Spares;
use super::{Last, Member, Published, Standing, TopicError, Topics, check};
use crate::buffers::Buffers;
use crate::link::Link;
use crate::quiet::Quiet;
use crate::remote::{Inbox, RemoteError};
use crate::reply::Reply;
use crate::socket::Socket;
use crate::table::Table;
use crate::wire::{CORK, Overflow, Wire, is_full};

/// Noted messages beyond this, with what is noted about them, are delivered without waiting for the end of the turn.
const MUCH: usize = CORK;

/// Frames are gathered for one write up to this length, in bytes.
const GATHERED: usize = 256 << 10;

/// A message that is framed when it turns out to have receivers.
struct Draft<'m> {
    message: Message<'m>,
    spares: Option<&'m Spares>,
    prepared: Option<Prepared>,
}

impl<'m> Draft<'m> {
    fn new(message: Message<'m>, inboxes: &'m [Inbox]) -> Self {
        Self { message, spares: spares(inboxes), prepared: None }
    }

    fn frame(&mut self, inbox: &Inbox, topic: &str) -> Option<(Entry, &Prepared)> {
        let entry = inbox.topics.find(topic)?;
        let prepared = self.prepared.get_or_insert_with(|| match self.spares {
            Some(spares) => spares.prepare(self.message),
            None => Prepared::new(self.message),
        });
        Some((entry, prepared))
    }

    /// Leaves it for other loops; the last gets it itself, so that the last to be done with it can reuse its memory.
    fn leave<'i>(
        &mut self,
        inboxes: impl Iterator<Item = &'i Inbox>,
        topic: &str,
        published: &mut Published,
    ) -> Result<(), RemoteError> {
        let (mut result, mut last) = (Ok(()), None);
        let mut leave = |inbox: &Inbox, entry: Entry, message| match inbox.publish(entry.topic, message) {
            Ok(()) => published.elsewhere += entry.members,
            Err(error) => {
                if error == RemoteError::Full {
                    published.dropped += entry.members;
                    inbox.topics.tally(0, entry.members);
                }
                result = Err(error);
            }
        };
        for inbox in inboxes {
            if let Some((entry, message)) = self.frame(inbox, topic)
                && let Some((inbox, entry)) = last.replace((inbox, entry))
            {
                leave(inbox, entry, message.clone());
            }
        }
        if let (Some((inbox, entry)), Some(message)) = (last, self.prepared.take()) {
            leave(inbox, entry, message);
        }
        result
    }
}

/// Where the loops keep memory for messages: with the first.
fn spares(inboxes: &[Inbox]) -> Option<&Spares> {
    Some(&inboxes.first()?.spares)
}

/// Leaves a message to all loops that have members of a topic.
pub(crate) fn publish(
    inboxes: &[Inbox],
    topic: &str,
    message: Message<'_>,
) -> Result<Published, RemoteError> {
    check(topic).map_err(RemoteError::Topic)?;
    let mut published = Published::default();
    match Draft::new(message, inboxes).leave(inboxes.iter(), topic, &mut published) {
        Err(error) if published.elsewhere == 0 => Err(error),
        _ => Ok(published),
    }
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

impl Member {
    /// Whether a member that is not simply ready gets a message nevertheless.
    #[cold]
    fn has_room(&self, log: &Log, overflow: Overflow, needed: usize) -> bool {
        match self.standing {
            Standing::Ready => true,
            // Older ones make room.
            Standing::Stuck { .. } if overflow == Overflow::DropOld => true,
            Standing::Stuck { queued, most } => {
                !is_full(queued.saturating_add(log.bytes(self.history)), needed, most)
            }
            Standing::Midway | Standing::Overflown => false,
        }
    }

    /// It has no room: whether it is to be closed for that, from now on.
    #[cold]
    fn overflows(&mut self, overflow: Overflow) -> bool {
        let closes = overflow == Overflow::Close && matches!(self.standing, Standing::Stuck { .. });
        if closes {
            self.standing = Standing::Overflown;
        }
        closes
    }
}

impl Topics {
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
        let mut draft = Draft::new(message, inboxes);
        if let Some(inbox) = inboxes.get(self.index)
            && let Some((Entry { topic, .. }, prepared)) = draft.frame(inbox, name)
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
        let others = inboxes.iter().enumerate().filter(|(index, _)| *index != self.index);
        // Messages that are not left there are counted.
        let _ = draft.leave(others.map(|(_, inbox)| inbox), name, &mut published);
        // Nobody got it: its memory goes to the next message.
        if let Some(spares) = draft.spares {
            spares.keep(draft.prepared.into_iter());
        }
        Ok(published)
    }

    /// Notes a message for the members of a topic: how many get it, and how many do not.
    pub(crate) fn note(&mut self, topic: TopicId, message: &Prepared, except: Option<u32>) -> (usize, usize) {
        let Self { topics, members, log, dirty, overflow, age, .. } = self;
        let Some(topic) =
            topics.get_mut(topic.slot as usize).filter(|other| other.generation == topic.generation)
        else {
            return (0, 0);
        };
        let needed = message.len().saturating_add(MAX_HEADER);
        let frame_len = Header::len_for(message.len() as u64, false).saturating_add(message.len());
        let except = except.unwrap_or(NIL);
        if let Some(Last { history, reached, .. }) =
            topic.last.filter(|last| (last.age, last.except) == (*age, except))
            && log.lengthen(history, frame_len)
        {
            log.push(message.clone());
            return (reached, 0);
        }
        let (mut reached, mut dropped, mut first) = (0, 0, NIL);
        // Most members have the same history, and get the same one.
        let (mut before, mut after, mut is_uniform) = (NIL, NIL, true);
        for seat in &topic.seats {
            let Some(member) = members.get_mut(seat.member as usize) else { continue };
            if member.slot == except {
                continue;
            }
            if member.standing != Standing::Ready {
                is_uniform = false;
                if !member.has_room(log, *overflow, needed) {
                    dropped += 1;
                    if member.overflows(*overflow) {
                        dirty.push(seat.member);
                    }
                    continue;
                }
            }
            reached += 1;
            if member.history == NIL {
                dirty.push(seat.member);
            }
            if member.history != before || after == NIL {
                is_uniform &= after == NIL;
                before = member.history;
                after = log.extend(before, &mut first, frame_len);
            }
            member.history = after;
        }
        topic.last = None;
        if reached > 0 {
            log.push(message.clone());
            if is_uniform {
                topic.last = Some(Last { age: *age, except, history: after, reached });
            }
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
        self.age += 1;
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

    /// Notes after work with a connection whether it can take published messages from now on.
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
            let standing = if connection.has_open_message() {
                Standing::Midway
            } else if socket.wire.is_flushed() && !socket.wire.blocked {
                Standing::Ready
            } else {
                Standing::Stuck {
                    queued: socket.wire.queued().saturating_add(connection.pending()),
                    most: connection.config().limits.max_queue,
                }
            };
            if standing != member.standing {
                member.standing = standing;
                self.age += 1;
            }
        }
    }

    /// The members that are to get something, in the best order.
    pub(crate) fn take_dirty(&mut self) -> Option<Vec<u32>> {
        if self.dirty.is_empty() {
            return None;
        }
        let mut dirty = mem::take(&mut self.dirty);
        if self.log.is_diverse() {
            let history =
                |member: &u32| self.members.get(*member as usize).map_or(NIL, |member| member.history);
            dirty.sort_unstable_by_key(history);
        }
        Some(dirty)
    }

    /// Takes that list back, for its memory.
    pub(crate) fn give_dirty(&mut self, mut dirty: Vec<u32>) {
        if self.dirty.is_empty() {
            dirty.clear();
            // It is as long as the members are many, or a few times that.
            dirty.shrink_to(self.members.len().saturating_mul(4));
            self.dirty = dirty;
        }
    }

    /// The connection of a member that is to get something.
    #[inline]
    pub(crate) fn addressee(&self, member: u32) -> Option<u32> {
        let member = self.members.get(member as usize)?;
        (member.history != NIL || member.standing == Standing::Overflown).then_some(member.slot)
    }

    /// Writes to those of `dirty` that are idle and compress nothing: each gets the gathered bytes, and nothing else is
    /// touched. Returns how many are done, and the result of writing to the next one, if that was tried.
    pub(crate) fn write_plain<D>(
        &mut self,
        dirty: &[u32],
        table: &mut Table<D>,
    ) -> (usize, Option<io::Result<usize>>) {
        // A member that has got its messages has no history, and no longer equals the others.
        self.age += 1;
        let Self { members, log, made, .. } = self;
        let (mut run, mut depth, mut frames) = (NIL, 0, &[][..]);
        for (done, &member) in dirty.iter().enumerate() {
            let Some(member) = members.get_mut(member as usize) else { return (done, None) };
            if member.standing != Standing::Ready || member.places.is_empty() {
                return (done, None);
            }
            if member.history != run {
                if member.history == NIL {
                    continue;
                }
                if log.bytes(member.history) > GATHERED && log.depth(member.history) > 1 {
                    return (done, None);
                }
                run = member.history;
                log.gather(run);
                (depth, frames) = (log.depth(run), log.gathered(run));
            }
            let Some(quiet) = table.at_rest(member.slot) else { return (done, None) };
            if !quiet.session.connection_ref().shares_plain() {
                return (done, None);
            }
            let written = quiet.io.write(frames);
            if !written.as_ref().is_ok_and(|&n| n == frames.len()) || quiet.io.flush().is_err() {
                return (done, Some(written));
            }
            member.history = NIL;
            *made += depth;
        }
        (dirty.len(), None)
    }

    /// Has a socket go on where [`write_plain`](Self::write_plain) stopped.
    #[cold]
    pub(crate) fn resume_plain(
        &mut self,
        member: u32,
        wire: &mut Wire<Link>,
        buffers: &mut Buffers,
        written: io::Result<usize>,
    ) {
        if let Some(Member { history, .. }) = self.members.get_mut(member as usize) {
            self.age += 1;
            wire.resume(buffers, self.log.gathered(*history), written);
            self.made += self.log.depth(mem::replace(history, NIL));
        }
    }

    /// Writes to a connection at rest what is noted for it, in the form in which it gets it.
    pub(crate) fn write(&mut self, member: u32, quiet: &mut Quiet<Link>) -> Written<'_> {
        let Some(Member { history, standing, places, .. }) = self.members.get_mut(member as usize) else {
            return Written::Unfit;
        };
        let depth = self.log.depth(*history);
        let fits = depth == 1 || self.log.bytes(*history) <= GATHERED;
        if *standing != Standing::Ready || places.is_empty() || !fits {
            return Written::Unfit;
        }
        let Some(frames) = self.log.frames(quiet.session.connection(), *history) else {
            return Written::Unfit;
        };
        *history = NIL;
        self.age += 1;
        self.made += depth;
        let written = quiet.io.write(frames);
        if written.as_ref().is_ok_and(|&n| n == frames.len()) && quiet.io.flush().is_ok() {
            return Written::All;
        }
        Written::Part(frames, written)
    }

    /// Drops what is noted for a member, whatever became of it.
    pub(crate) fn drop_noted(&mut self, member: u32) {
        if let Some(Member { history, .. }) = self.members.get_mut(member as usize)
            && *history != NIL
        {
            self.dropped += self.log.depth(mem::replace(history, NIL));
            self.age += 1;
        }
    }

    /// The turn's messages are delivered: nothing is noted for any member.
    pub(crate) fn end_turn(&mut self) {
        self.age += 1;
        let done = self.log.clear();
        if let Some(spares) = spares(&self.inboxes) {
            spares.keep(done);
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
