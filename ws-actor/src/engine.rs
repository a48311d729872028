//! What joins a [`Hub`](crate::Hub) to those of other nodes; [`Local`] joins it to none.
//!
//! A Hub does by itself what concerns its own connections. It asks its engine where other nodes may be concerned: a
//! message for an id that another node gave, a broadcast, the first member of a room here and the last one. So a program
//! that is written for one node runs on several with another engine, and no other change.
//!
//! An engine that does join nodes also brings what they say: messages for connections and rooms here, nodes that come
//! and go, lists of members. That way in, and [`SendError`] for a node that is down, come with the first such engine.

mod local;

pub use local::Local;

use crate::hub::SendError;
use crate::id::{ConnId, NodeId};
use crate::outgoing::Outgoing;

/// The link to other nodes, as a Hub sees it ([`Hub::with_engine`](crate::Hub::with_engine)).
///
/// Every method is called on the task that sends, joins or leaves, some under a lock of the Hub. So none may wait, and
/// none may call the Hub: what takes time goes through a queue of the engine's own.
pub trait Engine: Send + Sync + 'static {
    /// The incarnation of this node: all ids of connections here bear it. It is asked for once, and must be unique
    /// among all Hubs, now and later ([`NodeId::draw`]).
    fn node(&self) -> NodeId;

    /// Takes a message to a connection of another node.
    ///
    /// # Errors
    /// `NotFound` when there is no such node.
    fn send(&self, to: ConnId, message: &Outgoing) -> Result<(), SendError>;

    /// Takes a broadcast to the connections of other nodes: to all of them, or to the members of a room, but for one that is
    /// left out. The broadcasts to a room, and those to all, come in the order in which connections here get them.
    fn publish(&self, room: Option<&str>, message: &Outgoing, except: Option<ConnId>);

    /// A room has a first member here: what others publish to it is wanted.
    fn join(&self, room: &str);

    /// The last member of a room has left. Calls of this and of [`Engine::join`] alternate for each room.
    fn leave(&self, room: &str);
}
