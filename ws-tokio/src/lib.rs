//! WebSocket for tokio: a thin adapter over [`ws_core`].
#![forbid(unsafe_code)]

mod error;
mod handshake;
mod owned;
mod pool;
mod reply;
mod timer;
mod websocket;
mod wire;

pub use error::Error;
pub use handshake::{AcceptError, Acceptance, Incoming, Refusal, accept, accept_with};
pub use owned::OwnedMessage;
pub use reply::Reply;
pub use websocket::{CloseReason, WebSocket};
pub use ws_core as core;
