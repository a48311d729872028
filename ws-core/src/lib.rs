//! Sans-IO WebSocket protocol (RFC 6455).
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod backoff;
mod close;
mod config;
mod error;
mod event;
pub mod frame;
pub mod handshake;
mod time;

pub use backoff::Backoff;
pub use close::{CloseCode, CloseFrame};
pub use config::{Config, ConfigRef, Delivery, HeadLimits, Limits, Role, Timeouts};
pub use error::{Failure, SendError, Timer, Violation};
pub use event::{Chunk, Closed, Event, Kind, Message, Part, Payload, Transport};
pub use handshake::{
    Accept, AnswerError, ClientHandshake, ClientRequest, HandshakeError, Rejection, Request, RequestError,
    Response, ServerHandshake, Uri, UriError, accept_key, same_host,
};
pub use time::Instant;
