//! WebSocket for [mio](https://docs.rs/mio): a thin, non-blocking adapter over [`ws_core`].
//!
//! # What is here
//! [`Server`] is a complete server: one event loop per core, a [`Handler`] that is called with borrowed messages, and a
//! [`Remote`] to send from other threads, with timers, limits and an orderly shutdown. Its loops can make connections
//! themselves ([`Remote::connect`]); a program that is only a client has loops [without a listener](Server::unbound).
//!
//! If messages are passed on to something slow, a connection can be paused ([`Peer::pause`]), woken by what it waits for
//! ([`Remote::waker`]), told when its output has left ([`Handler::drained`]), and have deadlines of its own
//! ([`Handler::deadline`]). The answer to a request may come later, from another thread ([`Decision`]). A connection that
//! was opened elsewhere, by an HTTP server for example, can be moved to a loop ([`Remote::adopt`]).
//!
//! [`Socket`] is a single connection for a loop that you already have. It reads and writes when the loop says that it
//! can, and hands messages to a callback as views of the loop's single receive buffer. It includes the opening handshake,
//! as a server ([`Socket::accept`]) and as a client ([`Socket::connect`]).
//!
//! # Topics
//! What is published to a topic goes to all its members, on all loops: [`Peer::subscribe`], [`Peer::publish`], and
//! [`Remote::publish`] from any thread. A message is framed once, and compressed at most once for each window in use. It is
//! written at the end of the loop's turn together with everything else published in that turn: one write per member. Members
//! that do not read are treated as [`Settings::overflow`] says; [`Published`] and [`Remote::deliveries`] count what they
//! miss. There is no allocation per message, and a connection without topics owns no memory for them.
//!
//! ```
//! use ws_mio::core::Event;
//! use ws_mio::{Acceptance, Handler, Peer, Refusal, Visitor};
//!
//! struct Chat;
//!
//! impl Handler for Chat {
//!     type State = ();
//!
//!     fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
//!         Ok(Acceptance::default())
//!     }
//!
//!     fn open(&mut self, peer: &mut Peer<'_, ()>) {
//!         let _ = peer.subscribe("lobby");
//!     }
//!
//!     fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
//!         if let Event::Text(text) = event {
//!             let _ = peer.publish("lobby", text); // to all others; `publish_to_all` to this one as well
//!         }
//!     }
//! }
//! ```
//!
//! # What is not here
//! Loops do not resolve names: [`Connect::resolve`] does so beforehand, on a thread that may block. Redirects are not
//! followed: [`ConnectError::Status`] has all that is needed to connect again.
//!
//! # TLS
//! Use it for anything beyond loopback. The feature `tls` is rustls with the ring provider: servers take a configuration
//! (`Settings::tls`), clients a `wss` address, and your own loops `tls::Stream`. [`Stream`] can be implemented for another
//! TLS library.
//!
//! # permessage-deflate
//! The feature `deflate` (default) provides it and [`Config::deflate`](ws_core::Config) turns it on; then it is negotiated
//! in the opening handshake. [`Visitor`] tells a handler what will be agreed on; [`Peer`] and [`Reply`] choose what is
//! compressed. An idle connection keeps its windows and 300 bytes, or nothing without context takeover; its live state is
//! parked by the loop's timers. Compressed input is bounded by its inflated size, per message and per turn.
//!
//! # A loop of your own
//! ```no_run
//! use mio::{Events, Interest, Poll, Token, net::TcpListener};
//! use ws_mio::core::{Config, Event, Instant};
//! use ws_mio::{Buffers, Reply, Socket, State, Stream};
//!
//! fn echo<S: Stream>(event: Event<'_>, reply: &mut Reply<'_, S>) {
//!     if let Event::Text(text) = event {
//!         let _ = reply.send(text);
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut listener = TcpListener::bind("127.0.0.1:9001".parse().unwrap())?;
//! poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
//! let (epoch, mut events, mut buffers) = (std::time::Instant::now(), Events::with_capacity(64), Buffers::new());
//! let mut only: Option<Socket<mio::net::TcpStream>> = None;
//! loop {
//!     let now = || Instant::since(epoch, std::time::Instant::now());
//!     let deadline = only.as_ref().and_then(Socket::deadline);
//!     poll.poll(&mut events, deadline.map(|deadline| deadline.saturating_since(now())))?;
//!     for event in &events {
//!         if event.token() == Token(0) {
//!             let (mut stream, _) = listener.accept()?;
//!             poll.registry().register(&mut stream, Token(1), Interest::READABLE | Interest::WRITABLE)?;
//!             only = Some(Socket::accept(stream, Config::server(), now()));
//!         } else if let Some(socket) = &mut only {
//!             let mut state = socket.on_ready(event, &mut buffers, now(), echo);
//!             while let Ok(State::Again) = state {
//!                 state = socket.proceed(&mut buffers, now(), echo);
//!             }
//!             if !matches!(state, Ok(State::Waiting)) {
//!                 only = None;
//!             }
//!         }
//!     }
//!     if let Some(socket) = &mut only
//!         && matches!(socket.tick(&mut buffers, now()), Ok(State::Closed) | Err(_))
//!     {
//!         only = None;
//!     }
//! }
//! # }
//! ```
//!
//! The example `custom-loop` is a complete echo server for any number of connections.
#![forbid(unsafe_code)]

mod accept;
mod adopt;
mod buffers;
mod client;
mod connect;
mod deflate;
mod error;
mod handler;
mod later;
mod lines;
mod link;
mod opening;
mod parts;
mod quiet;
mod remote;
mod reply;
mod server;
mod socket;
mod steer;
mod stream;
mod table;
#[cfg(feature = "tls")]
pub mod tls;
mod topics;
mod wake;
mod wheel;
mod wire;
mod worker;

pub use adopt::NotAdopted;
pub use buffers::Buffers;
pub use connect::{Answer, Connect, ConnectError};
pub use error::Error;
pub use handler::{Acceptance, Handler, Peer, Refusal, Visitor};
pub use later::Decision;
pub use remote::{ConnId, Remote, RemoteError};
pub use reply::Reply;
pub use server::{Server, Settings};
pub use socket::{Socket, State};
pub use stream::Stream;
pub use topics::{Deliveries, MAX_TOPIC, Published, TopicError};
pub use wire::Overflow;
pub use ws_core as core;
