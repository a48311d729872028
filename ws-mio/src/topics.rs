//! Topics: what is published to one goes to all its members.
//!
//! A loop knows the members among its own connections, and tells other threads which topics it has ([`Directory`]). A
//! message is framed once, for all loops, and written from where it is.
//!
//! Publishing writes nothing yet. It notes the message ([`Log`]), and for each member that it is to get it; at the end
//! of the turn each member gets all that is noted for it, in one write. So a handler can publish during any callback, and
//! the messages of a turn share a system call. If a connection is sent a message of its own before that, it first gets
//! what was published before.
//!
//! Invariants: a member has a history only if it is in `dirty`. What is noted is bounded: beyond 64 KiB it is delivered
//! when the current callback has returned, and beyond [`Settings::max_inbox`](crate::Settings::max_inbox) refused.

use std::fmt;
use std::sync::Arc;

use crate::remote::Inbox;
use crate::server::Settings;
use crate::wire::Overflow;

mod directory;
mod log;
mod members;
mod publish;
mod spares;

pub(crate) use directory::{Directory, TopicId};
use log::{Log, NIL};
pub(crate) use publish::{Written, publish};
pub(crate) use spares::Spares;

/// Maximum length of a topic's name, in bytes.
pub const MAX_TOPIC: usize = 256;

/// Why a connection was not subscribed, or a message not published. Then nothing has changed.
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

/// How many members a published message goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Members on this loop that get it, at the end of the turn. One whose peer stops reading in this very turn may still
    /// lose it: see [`Remote::deliveries`](crate::Remote::deliveries).
    pub reached: usize,
    /// Members on other loops, for which it was left there.
    pub elsewhere: usize,
    /// Members that do not get it: their peers do not read (as [`Settings::overflow`](crate::Settings::overflow)
    /// says), they are in the middle of a message in parts, or their loop has too much to do.
    pub dropped: usize,
}

/// Counts of published messages since the server began: one for each member that was to get one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deliveries {
    /// Written, or queued for a peer that reads slowly.
    pub made: usize,
    /// Dropped, because a peer does not read, or its connection was ending.
    pub dropped: usize,
}

fn check(topic: &str) -> Result<(), TopicError> {
    if topic.len() > MAX_TOPIC { Err(TopicError::TooLong) } else { Ok(()) }
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
    /// `None`: it has no members, and its number is free.
    name: Option<Arc<str>>,
    generation: u32,
    seats: Vec<Seat>,
    last: Option<Last>,
}

/// What the last publish to a topic came to, where all members but one at most got it and share a history with nobody else.
/// The next one is the same in a single step, as long as nothing has changed.
#[derive(Clone, Copy, Debug)]
struct Last {
    age: u64,
    except: u32,
    history: u32,
    reached: usize,
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
    /// Grows with each change of what stands between members and messages.
    age: u64,
    made: usize,
    dropped: usize,
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
            log: Log::new(),
            dirty: Vec::new(),
            age: 0,
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
}
