//! Realtime applications over WebSocket: actors, rooms, and a Hub that reaches every connection.
#![forbid(unsafe_code)]

mod actor;
mod conn;
mod event;
#[cfg(test)]
mod fixture;
mod hub;
mod id;
mod link;
mod mailbox;
mod outbox;
mod outgoing;
mod pool;
mod rewind;
mod room;
mod route;
mod server;
mod sync;
mod target;
mod upgrade;
mod waiters;

pub use actor::{Context, SpawnError, WsActor};
pub use event::{CloseFrame, Connect, Disconnect, Inbound, Message, Reason};
pub use hub::{ConnInfo, Hub, SendError, Sent};
pub use id::{ConnId, NodeId, ParseConnIdError};
pub use outbox::{OutboxLimits, Overflow};
pub use outgoing::Outgoing;
pub use room::{JoinError, MAX_ROOM_NAME, MAX_ROOMS, Room};
pub use route::{Origins, Route};
pub use server::{Listening, Server, Settings};
pub use target::{CastError, Target};
pub use upgrade::Refusal;
pub use ws_core::{CloseCode, Utf8};
