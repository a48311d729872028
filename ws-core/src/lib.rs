//! Sans-IO WebSocket protocol (RFC 6455).
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
// Tests are hosted at every feature level.
#[cfg(all(test, not(feature = "std")))]
extern crate std;

mod backoff;
mod buffer;
mod close;
mod config;
mod connection;
mod control;
mod decoder;
mod error;
mod event;
pub mod frame;
pub mod handshake;
mod keys;
pub mod mask;
mod receiver;
mod sender;
mod session;
#[cfg(feature = "bytes")]
mod text;
mod time;
mod timers;
pub mod utf8;
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
pub use receiver::{Receiver, Recv};
pub use sender::{Reply, Sender};
pub use session::{Advance, Endpoint, Session};
#[cfg(feature = "bytes")]
pub use text::Utf8;
pub use time::Instant;
