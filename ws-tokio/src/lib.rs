//! WebSocket for tokio: a thin adapter over [`ws_core`].
#![forbid(unsafe_code)]

mod error;
mod pool;
mod reply;
mod timer;
mod websocket;
mod wire;

pub use error::Error;
pub use reply::Reply;
pub use websocket::{CloseReason, WebSocket};
pub use ws_core as core;
