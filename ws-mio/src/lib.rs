//! WebSocket for [mio](https://docs.rs/mio): a thin, non-blocking adapter over [`ws_core`].
//!
//! # What is here
//! [`Server`], the whole of a server: a loop per core with a [`Handler`] that is called with messages where they stand,
//! and a [`Remote`] to send from other threads. It has timers, limits, an orderly end. Its loops make connections of
//! their own, too ([`Remote::connect`]); a program of clients alone has loops [without a listener](Server::unbound).
//!
//! Where messages go on to somebody who may be slow: a connection can be held back ([`Peer::pause`]), woken by whoever it
//! waits for ([`Remote::waker`]), told when its output has left ([`Handler::drained`]), and have times of its own
//! ([`Handler::deadline`]). The answer to a request may come later, from elsewhere ([`Decision`]). One that was opened elsewhere, by an HTTP server, say, can go on here ([`Remote::adopt`]).
//!
//! [`Socket`], for a loop that you already have. It reads and writes when the loop says that it can, and calls you back
//! with messages that stand in the loop's one receive buffer. The opening handshake is part of it, a server's
//! ([`Socket::accept`]) and a client's ([`Socket::connect`]).
//!
//! # Topics
//! What one says, all members get, on all loops: [`Peer::subscribe`], [`Peer::publish`], and [`Remote::publish`] from
//! anywhere. A message is framed once, and compressed at most once for each window in use; it is written at the end of the
//! loop's turn, with all that was published in it: one write for each member. Members that do not read are dealt with as
//! [`Settings::overflow`] says, [`Published`] and [`Remote::deliveries`] count what they miss. There is no allocation for a
//! message, and a connection without topics owns nothing for them.
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
//! # What is not
//! Nothing resolves names on a loop: [`Connect::resolve`] does it before, where waiting harms nobody. Redirects are not
//! followed: [`ConnectError::Status`] has what it takes to connect again.
//!
//! # TLS
//! Anything beyond loopback should have it. The feature `tls` is rustls with the ring provider: servers get a
//! configuration (`Settings::tls`), clients a `wss` address, and loops of your own `tls::Stream`. [`Stream`] can be implemented
//! for another one.
//!
//! # permessage-deflate
//! The feature `deflate` (default) has it, and [`Config::deflate`](ws_core::Config) turns it on: it is agreed on in the
//! opening handshake, and off it is not accepted. [`Visitor`] tells a handler what will be agreed on, [`Peer`] and
//! [`Reply`] say what is compressed. A connection at rest keeps its windows and 300 bytes, and nothing without context
//! takeover; its live state is parked by the loop's timers. What comes compressed is bounded by what it inflates to,
//! message by message and turn by turn.
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
//! The example `custom-loop` is a whole echo server for any number of connections.
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
mod moment;
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
