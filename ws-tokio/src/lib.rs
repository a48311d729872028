//! WebSocket for tokio: a thin adapter over [`ws_core`].
//!
//! ```no_run
//! # async fn serve(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! stream.set_nodelay(true)?; // or a small message may wait 40 ms for the acknowledgement of the one before
//! let mut ws = ws_tokio::accept(stream).await?;
//! while let Some((message, mut reply)) = ws.recv().await? {
//!     reply.send(message).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! A message is lent from the buffer it arrived in, with the handle to answer it. Replies made while more messages are at
//! hand leave in one write. `None` is a clean close; an [`Error`] says how the connection ended otherwise.
//!
//! | to | use |
//! |---|---|
//! | accept | [`accept`], [`accept_with`] (decides by the request), [`Incoming`] (takes its time, or speaks HTTP too) |
//! | connect | [`connect`], [`connect_with`], [`connect_over`] a stream of your own |
//! | read and write in two tasks | [`WebSocket::split`] |
//! | send one message to many, framed and compressed once | [`WebSocket::send_prepared`], [`core::Prepared`] |
//! | own messages | [`WebSocket::recv_owned`], `Stream` and `Sink` |
//! | take over a connection from hyper or axum | [`answer_upgrade`], [`WebSocket::from_upgraded`] |
//!
//! A connection works only while one of its methods is awaited: there is no hidden task.
//!
//! A [`WebSocket`] is a `Stream` and a `Sink`, so `StreamExt::split` of futures works too, from two tasks. Its halves take
//! turns at a lock around the whole connection and own their messages; those of [`WebSocket::split`] lend them, and share
//! only the transport.
//!
//! # Limits and deadlines
//! On by default, and set in a [`core::Config`]. A server takes messages of up to 1 MiB, a client of up to 16 MiB
//! ([`Limits::max_message`](core::Limits::max_message)); 1 MiB of output waits at most
//! ([`Limits::max_queue`](core::Limits::max_queue)). A peer is pinged after 20 s of silence and given up 20 s later; one
//! that takes no byte of what waits for it is given up after 60 s ([`Timeouts::write`](core::Timeouts::write)).
//!
//! # Features
//! - `deflate` (default): permessage-deflate (RFC 7692), for configurations that ask for it in
//!   `Config::deflate`; without that nothing is compressed.
//! - `tls`: `wss` addresses, and TLS servers (module `tls`), through rustls with the ring provider.
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
