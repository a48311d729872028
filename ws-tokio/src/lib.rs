//! WebSocket for tokio: a thin adapter over [`ws_core`].
#![forbid(unsafe_code)]

mod connect;
mod drive;
mod error;
mod handshake;
mod owned;
mod pool;
pub mod proxy;
mod reply;
mod split;
mod stream;
mod timer;
#[cfg(feature = "tls")]
pub mod tls;
mod upgrade;
mod websocket;
mod wire;

pub use connect::{
    ConnectError, ConnectOptions, ConnectRequest, Limiter, MAX_REDIRECTS, RedirectError, connect,
    connect_over, connect_through, connect_with,
};
pub use error::Error;
pub use handshake::{AcceptError, Acceptance, Incoming, Refusal, accept, accept_with};
pub use owned::OwnedMessage;
pub use reply::Reply;
pub use split::{ReadHalf, ReuniteError, WriteHalf};
pub use stream::MaybeTls;
pub use upgrade::answer_upgrade;
pub use websocket::{CloseReason, WebSocket};
pub use ws_core as core;
