//! Sans-IO WebSocket protocol (RFC 6455).
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(all(test, not(feature = "std")))]
extern crate std;

mod close;
mod config;
mod error;
mod event;
pub mod frame;
mod keys;
pub mod mask;
#[cfg(feature = "bytes")]
mod text;
mod time;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use config::{Config, ConfigRef, Delivery, HeadLimits, Limits, Role, Timeouts};
pub use error::{Failure, SendError, Timer, Violation};
pub use event::{Chunk, Closed, Event, Kind, Message, Part, Payload, Transport};
pub use keys::Keys;
#[cfg(feature = "bytes")]
pub use text::Utf8;
pub use time::Instant;
pub use utf8::{InvalidUtf8, Utf8Validator};
