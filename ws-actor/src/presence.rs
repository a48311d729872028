//! The members of a room, and how they learn of each other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::id::ConnId;
use crate::meta::Meta;
use crate::outgoing::{Lane, Outgoing, Tally};
use crate::supervise::contain;

/// A member of a room.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Its connection.
    pub id: ConnId,
    /// The values that go with the connection.
    pub meta: Meta,
}

impl Member {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { id: entry.id(), meta: entry.terms().meta }
    }
}

/// A member joins or leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// A connection has become a member.
    Joined(Member),
    /// A connection is no longer a member: it left, or ended.
    Left(Member),
}

/// Makes the message that tells the other members of a joining or leaving one; `None` tells them nothing.
///
/// It is called where a connection joins, leaves or ends, sometimes in vain, and must not block. If it panics, they are
/// told nothing.
pub type PresenceEvents = Arc<dyn Fn(Presence) -> Option<Outgoing> + Send + Sync>;

/// What a room does beyond passing messages on: see [`Hub::room_with`](crate::Hub::room_with).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RoomOptions {
    /// How many of its last messages the room keeps, and for how long; newcomers get them before all else. Default `None`.
    ///
    /// Of messages under a [key](Outgoing::keyed), the latest of each is kept. Together they hold at most 1 MiB, or one
    /// larger message. A newcomer gets the end of it that fits into half of its outbox.
    pub history: Option<(usize, Duration)>,
    /// Tells the other members who joins and leaves. Not part of the history. Default `None`.
    pub presence_events: Option<PresenceEvents>,
}

impl RoomOptions {
    /// Neither history nor events.
    pub const fn new() -> Self {
        Self { history: None, presence_events: None }
    }
}

impl fmt::Debug for RoomOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomOptions")
            .field("history", &self.history)
            .field("presence_events", &self.presence_events.is_some())
            .finish()
    }
}

/// Calls the program's function; no lock may be held.
pub(crate) fn announce(events: &PresenceEvents, presence: Presence, tally: &Arc<Tally>) -> Option<Lane> {
    // The end of a connection is told to its actor, whatever this does.
    let outgoing = contain(|| events(presence))??;
    Lane::for_many(outgoing, Some(tally)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Relay;
    use crate::fixture::{link, target, written};
    use crate::hub::{Hub, SendError};
    use crate::link::Link;
    use crate::outbox::OutboxLimits;
    use crate::room::JoinError;

    fn names(hub: &Hub, names: &[&str]) -> Vec<Link> {
        let target = target();
        let named = |name: &&str| {
            let link = link(hub, &target, OutboxLimits::new());
            let relay = Relay::new().meta(Meta::new().set("name", *name));
            assert_eq!(hub.retarget(link.id(), relay), Ok(()));
            link
        };
        names.iter().map(named).collect()
    }

    fn aloud() -> RoomOptions {
        let mut options = RoomOptions::new();
        options.presence_events = Some(Arc::new(|presence| {
            let (sign, member) = match presence {
                Presence::Joined(member) => ('+', member),
                Presence::Left(member) => ('-', member),
            };
            let name = member.meta.text("name")?;
            assert_ne!(name, "Mallory");
            (name != "nobody").then(|| format!("{sign}{name}").into())
        }));
        options
    }

    /// D6: size and members with their values, those of the moment.
    #[test]
    fn roster() {
        let hub = Hub::new();
        let links = names(&hub, &["Ann", "Bob", "Eve"]);
        let room = hub.room("r");
        for link in &links[..2] {
            assert_eq!(room.join(link.id()), Ok(()));
        }
        let roster = || {
            let mut roster: Vec<_> = hub
                .room("r")
                .roster()
                .into_iter()
                .map(|member| (member.id, member.meta.text("name").unwrap_or_default().to_owned()))
                .collect();
            roster.sort();
            roster
        };
        let [ann, bob] = [0, 1].map(|n: usize| links[n].id());
        assert_eq!(roster(), [(ann, "Ann".into()), (bob, "Bob".into())]);
        let renamed = Relay::new().meta(Meta::new().set("name", "Rob"));
        assert_eq!(hub.retarget(bob, renamed), Ok(()));
        assert!(room.leave(ann));
        assert_eq!((roster(), room.info().members), (vec![(bob, "Rob".into())], 1));
        drop(links);
        assert_eq!((roster(), room.len()), (vec![], 0));
    }

    /// D6: the others are told who comes and goes, in the order in which it happens; by a leave, and by an end.
    #[test]
    fn comings_and_goings() {
        let hub = Hub::new();
        let mut links = names(&hub, &["Ann", "Bob", "nobody", "Mallory", "Eve"]);
        let room = hub.room_with("r", aloud());
        for link in &links {
            assert_eq!([room.join(link.id()), hub.room("r").join(link.id())], [Ok(()); 2]);
        }
        room.broadcast("hello");
        assert!(room.leave(links[1].id()) && !room.leave(links[1].id()));
        links.truncate(4);
        assert_eq!(room.len(), 3);
        let heard: Vec<_> = links.iter().map(written).collect();
        assert_eq!(heard[0], ["+Bob", "+Eve", "hello", "-Bob", "-Eve"]);
        assert_eq!(heard[1], ["+Eve", "hello"]);
        assert_eq!(heard[2], ["+Eve", "hello", "-Bob", "-Eve"]);
        assert_eq!(heard[3], heard[2]);
        // 0 to Ann's, 1 to Bob's, 4 to Eve's coming; 5 to the greeting; 4 and 3 to the goings.
        let info = room.info();
        assert_eq!((info.broadcasts, info.delivered, info.dropped), (6, 17, 0));
        // What the function does to the Hub meanwhile is not in anybody's way.
        let mut options = RoomOptions::new();
        let (handle, other) = (hub.clone(), links[2].id());
        options.presence_events = Some(Arc::new(move |presence| {
            let (Presence::Joined(member) | Presence::Left(member)) = presence;
            if member.id != other {
                handle.room("r").leave(other);
            }
            handle.room("other").broadcast("x");
            assert_eq!(handle.send(member.id, "you"), Ok::<(), SendError>(()));
            None
        }));
        let room = hub.room_with("r", options);
        assert!(room.leave(links[0].id()));
        assert_eq!(room.join(links[0].id()), Ok::<(), JoinError>(()));
        assert!(!room.contains(other));
        assert_eq!(written(&links[0]), ["you", "you"]);
    }
}
