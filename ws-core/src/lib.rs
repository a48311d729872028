//! WebSocket (RFC 6455) without IO: bytes and time in, events and bytes out.
//!
//! This crate never reads, writes, sleeps, or asks for the time or for entropy. Any loop of your own (epoll, `io_uring`,
//! embassy, a game, a simulator) drives a [`Connection`] from two byte slices and a clock. The adapters of this
//! workspace do nothing else.
//!
//! # The contract
//!
//! - **You own the receive buffer.** Show [`Connection::recv`] all that has come and is not consumed, from the first
//!   such byte on. It edits the bytes in place and lends views of them; what it did not consume is yours to show again,
//!   unaltered, with more behind it. No event: nothing more can happen without more bytes.
//! - **No copy and no allocation per message.** An unfragmented message is a view of where it arrived; fragments are joined
//!   in your buffer.
//! - **What the RFC demands is done for you:** pongs, the close echo, the close frame of a failure. It waits until you
//!   [`transmit`](Connection::transmit) it or send the next message.
//! - **Any order of calls is right.** Nothing has to be drained before something else.
//! - **Bounded.** Every limit is on by default ([`Limits`]), is checked at the earliest byte that decides, and no memory
//!   is ever sized by what a peer merely announces.
//! - **Timers are data:** sleep until [`deadline`](Connection::deadline), then [`tick`](Connection::tick).
//! - **A close is an event, a failure is an error:** final, reported once, `Copy`, with its code and its section.
//! - **The transport is told what to do** by [`transport`](Connection::transport): go on, shut down and linger, close.
//!
//! ```text
//!      your socket                 Connection                    you
//!   ---------------    +-------------------------------+   -------------------
//!    bytes in  ------> | recv ---> Receiver            | ---> Event<'_>
//!                      |             | pongs, echoes   |
//!                      |             v                 |
//!    bytes out <------ | transmit <- Sender <---- send | <--- Message<'_>
//!    shut, close <---- | transport   Timers            | <--- now / deadline --->
//!                      +-------------------------------+
//! ```
//!
//! # Two connections talk through two arrays
//!
//! ```
//! use ws_core::{CloseFrame, Config, Connection, Event, Instant, Message, Transport};
//!
//! static SERVER: Config = Config::server();
//! static CLIENT: Config = Config::client();
//! let mut now = Instant::ZERO;
//! let mut server = Connection::server(&SERVER, now);
//! let mut client = Connection::client(&CLIENT, now, [7; 32]); // 32 bytes of real entropy
//!
//! let (mut up, mut down) = ([0; 512], [0; 512]); // what is on its way to the server, and to the client
//! let mut sent = client.send(Message::Text("hello"), &mut up).unwrap();
//! let mut heard = Vec::new();
//! while server.transport() == Transport::Open {
//!     // The server echoes, while the message is lent, into the other array.
//!     let (mut at, mut answered) = (0, 0);
//!     loop {
//!         let recv = server.recv(now, &mut up[at..sent]).unwrap();
//!         at += recv.consumed;
//!         let Some(event) = recv.event else { break };
//!         if let Event::Text(text) = event {
//!             answered += server.send(Message::Text(text), &mut down[answered..]).unwrap();
//!         }
//!     }
//!     answered += server.transmit(&mut down[answered..]); // pongs, the close echo
//!     // The client listens, and closes when it has heard itself.
//!     let recv = client.recv(now, &mut down[..answered]).unwrap();
//!     if let Some(Event::Text(text)) = recv.event {
//!         heard.push(text.to_owned());
//!         client.close(now, Some(CloseFrame::new(1000, "bye"))).unwrap();
//!     }
//!     sent = client.transmit(&mut up);
//!     now = server.deadline().unwrap(); // nothing to wait for here: time may fly
//! }
//! assert_eq!(heard, ["hello"]);
//! ```
//!
//! [`Session`] adds the storage to that, for adapters; `examples/blocking-echo.rs` is a server over `std::net` in one
//! short file. The opening handshake is in [`handshake`], as free of IO as the rest.
//!
//! # Where a rule is
//!
//! | rule | file |
//! |---|---|
//! | headers, opcodes, lengths | `frame.rs` |
//! | fragments, masks of the right side, limits, text as it arrives | `decoder.rs`, `decoder/` |
//! | keepalive, pong, close and linger deadlines | `timers.rs`, `receiver.rs` |
//! | what is sent, and in which order | `sender.rs`, `control.rs` |
//! | close codes that may travel | `close.rs` |
//! | storage | `buffer.rs`, `session.rs` |
//! | one message for many connections | `prepared.rs` |
//! | the opening handshake, both roles | `handshake/` |
//! | permessage-deflate | `deflate/` |
//!
//! `CONFORMANCE.md` lists every rule with the test that carries it.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | none | everything but growing storage: over arrays, without an allocator; one pong is held at a time |
//! | `alloc` | `Vec` storage, configuration shared by `Arc`, up to 64 pongs or 8 KiB of them held |
//! | `std` (default) | CPU detection for UTF-8 and masks, conversion of `std::time::Instant` |
//! | `deflate` (default) | permessage-deflate, for configurations that ask for it: see `deflate` |
//! | `bytes` | `Utf8`: checked text in `bytes::Bytes` |
//!
//! A server's `Connection` takes at most 160 bytes with an allocator, asserted at compile time. Its buffers are yours.
//!
//! # Decisions
//!
//! - `Delivery::Chunks` reports every message in parts, also one that arrived whole, so that there is one kind of event
//!   to handle.
//! - The request's head is walked by this crate alone: a walk that can resume, as strict as the rules demand, left
//!   nothing for a general parser to do, and is faster than one that would start over. See [`handshake`].
//! - A [`Reply`] is derived from the event by the receiving half, so that nothing is stored for it.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
// The unit tests are written with `std`, whatever the crate itself has.
#[cfg(all(test, not(feature = "std")))]
extern crate std;

mod backoff;
mod buffer;
mod close;
mod config;
mod connection;
mod control;
mod copy;
mod decoder;
#[cfg(feature = "deflate")]
pub mod deflate;
mod error;
mod event;
pub mod frame;
pub mod handshake;
mod keys;
pub mod mask;
mod moment;
#[cfg(feature = "alloc")]
mod prepared;
mod receiver;
mod sender;
mod session;
#[cfg(feature = "bytes")]
mod text;
mod time;
mod timers;
pub mod utf8;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod vectors;
mod view;

pub use backoff::Backoff;
pub use buffer::Storage;
pub use close::{CloseCode, CloseFrame};
pub use config::{Config, ConfigRef, Delivery, HeadLimits, Limits, Role, Timeouts};
pub use connection::Connection;
pub use error::{Failure, SendError, Timer, Violation};
pub use event::{Chunk, Closed, Event, Kind, Message, Part, Payload, Transport};
pub use handshake::{
    Accept, AnswerError, ClientHandshake, ClientRequest, HandshakeError, Rejection, Request, RequestError,
    Response, ServerHandshake, Uri, UriError, accept_key, same_host,
};
pub use moment::Moment;
#[cfg(feature = "alloc")]
pub use prepared::{Held, Prepared, Spare};
pub use receiver::{Receiver, Recv};
pub use sender::{Reply, Sender};
pub use session::{Advance, AtRest, Endpoint, Session};
#[cfg(feature = "bytes")]
pub use text::Utf8;
pub use time::Instant;
