//! Actors of other frameworks behind WebSocket connections: ws-actor has the connections, ractor or kameo the actor.
//!
//! What takes five lines is [`ws_actor::Target::from_fn`]. The rest of each file is an actor as its framework has it: it
//! counts the messages of all its clients, and answers with the count.

pub mod with_kameo;
pub mod with_ractor;
