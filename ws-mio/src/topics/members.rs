//! Which connection is a member of which topic.
//!
//! Topics know their members and members their topics, each with its place in the other's list: a member that leaves is
//! found at once, and the last of the list takes its place.

use std::sync::Arc;

use super::directory::{Entry, TopicId};
use super::log::NIL;
use super::{Member, Place, Seat, Standing, Topic, TopicError, Topics, check};

impl Topics {
    // Membership.

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
        self.age += 1;
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

    /// Removes a connection that ends, or begins to, from all its topics.
    #[inline]
    pub(crate) fn leave(&mut self, slot: u32) {
        if let Some(member) = self.seated(slot) {
            self.leave_all(slot, member);
        }
    }

    #[cold]
    pub(super) fn leave_all(&mut self, slot: u32, member: u32) {
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

    /// The topics of a connection.
    pub(crate) fn names(&self, slot: u32) -> impl Iterator<Item = &str> {
        let places = self.member(slot).map_or(&[][..], |member| &member.places);
        places.iter().filter_map(|place| self.topics.get(place.topic as usize)?.name.as_deref())
    }

    pub(super) fn place(&self, slot: u32, topic: u32) -> Option<usize> {
        self.member(slot)?.places.iter().position(|place| place.topic == topic)
    }

    fn open_topic(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let slot = self.free_topics.pop().unwrap_or_else(|| {
            self.topics.push(Topic { name: None, generation: 0, seats: Vec::new(), last: None });
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
    pub(super) fn unseat(&mut self, slot: u32) {
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
        self.age += 1;
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
            (topic.seats, topic.last) = (Vec::new(), None);
            self.free_topics.push(at);
        }
    }
}
