//! What was published in a turn of the loop, and who is to get what of it.
//!
//! A thousand members that get the same messages share one history: a message goes to its end once, however many they
//! are. A member that does not get a message has a history of its own from there.
//!
//! ```text
//! messages   m0  m1  m2
//! histories  [m0] <- [m0 m1] <- [m0 m1 m2]      most members
//!                \__ [m0 m2]                    the publisher of m1
//! ```
//!
//! So the bytes to write are the same for one member after another, and gathered once.

use std::mem;

use ws_core::{Connection, Prepared};

pub(super) const NIL: u32 = u32::MAX;

/// Memory of either list that is kept from one turn to the next, in items.
const KEPT: usize = 4096;

/// Memory of gathered frames that is kept, in bytes.
const KEPT_BYTES: usize = 64 << 10;

/// The end of a history.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// What came before.
    prev: u32,
    message: u32,
    /// How many messages it has.
    depth: u32,
    /// The history that was last made from it.
    child: u32,
    /// The length of all its frames, uncompressed.
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Log {
    messages: Vec<Prepared>,
    /// Their length, in bytes.
    bytes: usize,
    nodes: Vec<Node>,
    /// The plain frames of the history `joined_for`; of none, if that is [`NIL`].
    joined: Vec<u8>,
    joined_for: u32,
    order: Vec<u32>,
}

impl Log {
    pub(super) fn new() -> Self {
        let (messages, nodes, joined, order) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { messages, bytes: 0, nodes, joined, joined_for: NIL, order }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The memory in use, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.nodes.len() * size_of::<Node>()
    }

    /// Whether histories have parted: then members with the same one are to be served one after the other.
    pub(super) fn is_diverse(&self) -> bool {
        self.nodes.len() > self.messages.len()
    }

    /// Appends a message. Members get it by [`extend`](Self::extend).
    pub(super) fn push(&mut self, message: Prepared) {
        self.bytes += message.len();
        self.messages.push(message);
    }

    /// A history with the last message at its end. `first` is where one that begins with it is kept meanwhile.
    #[inline]
    pub(super) fn extend(&mut self, history: u32, first: &mut u32, frame_len: usize) -> u32 {
        let message = self.messages.len() as u32;
        let (depth, bytes) = match self.nodes.get(history as usize) {
            None if *first != NIL => return *first,
            None => (0, 0),
            Some(node) => match self.nodes.get(node.child as usize) {
                Some(child) if child.message == message => return node.child,
                _ => (node.depth, node.bytes),
            },
        };
        let next = self.nodes.len() as u32;
        let depth = depth + 1;
        self.nodes.push(Node { prev: history, message, depth, child: NIL, bytes: bytes + frame_len });
        match self.nodes.get_mut(history as usize) {
            Some(node) => node.child = next,
            None => *first = next,
        }
        next
    }

    /// All members with this history get the message that is pushed next, too; `false`: some have gone on to another one.
    pub(super) fn lengthen(&mut self, history: u32, frame_len: usize) -> bool {
        let (message, next) = (self.messages.len() as u32, self.nodes.len() as u32);
        let Some(node) = self.nodes.get_mut(history as usize).filter(|node| node.child == NIL) else {
            return false;
        };
        let before = *node;
        *node =
            Node { prev: next, message, depth: before.depth + 1, bytes: before.bytes + frame_len, ..before };
        self.nodes.push(before);
        self.joined_for = NIL;
        true
    }

    /// The length of a history's frames, uncompressed.
    pub(super) fn bytes(&self, history: u32) -> usize {
        self.nodes.get(history as usize).map_or(0, |node| node.bytes)
    }

    /// How many messages a history has.
    pub(super) fn depth(&self, history: u32) -> usize {
        self.nodes.get(history as usize).map_or(0, |node| node.depth as usize)
    }

    /// The messages of a history, in order.
    pub(super) fn history(&mut self, history: u32) -> impl Iterator<Item = &Prepared> {
        self.order.clear();
        let mut at = history;
        while let Some(node) = self.nodes.get(at as usize) {
            self.order.push(node.message);
            at = node.prev;
        }
        self.order.iter().rev().filter_map(|&message| self.messages.get(message as usize))
    }

    /// Gathers the plain frames of a history.
    pub(super) fn gather(&mut self, history: u32) {
        if self.depth(history) > 1 && self.joined_for != history {
            let mut joined = mem::take(&mut self.joined);
            joined.clear();
            self.history(history).for_each(|message| joined.extend_from_slice(message.plain()));
            (self.joined, self.joined_for) = (joined, history);
        }
    }

    /// Its plain frames, [gathered](Self::gather) before.
    pub(super) fn gathered(&self, history: u32) -> &[u8] {
        match self.nodes.get(history as usize) {
            Some(node) if node.depth == 1 => {
                self.messages.get(node.message as usize).map_or(&[], Prepared::plain)
            }
            Some(_) if self.joined_for == history => &self.joined,
            _ => &[],
        }
    }

    /// The frames of a history as one connection is to get them. `None`: it gets none now, and nothing has changed.
    pub(super) fn frames(&mut self, connection: &mut Connection, history: u32) -> Option<&[u8]> {
        let node = *self.nodes.get(history as usize)?;
        if node.depth == 1 {
            return connection.prepared(self.messages.get(node.message as usize)?).ok();
        }
        let mut joined = mem::take(&mut self.joined);
        joined.clear();
        let mut allows = true;
        for message in self.history(history) {
            // What forbids one message forbids all.
            match connection.prepared(message) {
                Ok(frame) => joined.extend_from_slice(frame),
                Err(_) => allows = false,
            }
        }
        (self.joined, self.joined_for) = (joined, NIL);
        allows.then_some(&self.joined)
    }

    /// All members have got all messages.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Prepared> {
        self.nodes.clear();
        self.nodes.shrink_to(KEPT);
        self.order.shrink_to(KEPT);
        self.joined.clear();
        self.joined.shrink_to(KEPT_BYTES);
        self.joined_for = NIL;
        self.bytes = 0;
        self.messages.drain(..)
    }
}
