//! WebSocket for tokio: a thin adapter over [`ws_core`].
//!
//! ```no_run
//! # async fn serve(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! let mut ws = ws_tokio::accept(stream).await?;
//! while let Some((message, mut reply)) = ws.recv().await? {
//!     reply.send(message).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! A message is lent from the buffer it arrived in, with the handle to answer it. Replies made while messages are there
//! leave in one write. `None` is a clean close; an [`Error`] says how the connection ended otherwise.
//!
//! | to | take |
//! |---|---|
//! | accept | [`accept`], [`accept_with`] (decides by the request), [`Incoming`] (takes its time, or speaks HTTP too) |
//! | connect | [`connect`], [`connect_with`], [`connect_over`] a stream of your own |
//! | read and write in two tasks | [`WebSocket::split`] |
//! | send one message to many, framed and compressed once | [`WebSocket::send_prepared`], [`core::Prepared`] |
//! | own messages | [`WebSocket::recv_owned`], `Stream` and `Sink` |
//! | take over a connection of hyper's or axum's | [`answer_upgrade`], [`WebSocket::from_upgraded`] |
//!
//! Nothing happens while nobody calls: there is no hidden task. The feature `tls` adds `wss`, through rustls.
#![forbid(unsafe_code)]

mod connect;
mod deflate;
mod drive;
mod duo;
mod endpoint;
mod error;
mod handshake;
mod owned;
mod pool;
pub mod proxy;
mod reply;
mod split;
mod stall;
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
