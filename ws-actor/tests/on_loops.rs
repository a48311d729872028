//! The tests of connections over sockets again, with the connections on ws-mio loops.
//!
//! Left out are those that use a paused clock, whose streams are not sockets, or that never open a connection from
//! outside; and the soak, which counts what its process has open: `soak_on_loops.rs`.
#![allow(clippy::duplicate_mod, reason = "each of them has what the tests share")]

#[path = "connections.rs"]
mod connections;
#[path = "decisions.rs"]
mod decisions;
#[cfg(feature = "deflate")]
#[path = "deflate.rs"]
mod deflate;
#[path = "dial.rs"]
mod dial;
#[path = "drain.rs"]
mod drain;
#[path = "engine.rs"]
mod engine;
#[path = "http.rs"]
mod http;
#[path = "inspect.rs"]
mod inspect;
#[path = "interop_tungstenite.rs"]
mod interop_tungstenite;
#[path = "lifecycle.rs"]
mod lifecycle;
#[path = "limits.rs"]
mod limits;
#[path = "manifest.rs"]
mod manifest;
#[path = "metrics.rs"]
mod metrics;
#[path = "moves.rs"]
mod moves;
#[path = "observer.rs"]
mod observer;
#[path = "params.rs"]
mod params;
#[path = "server.rs"]
mod server;
#[path = "supervision/main.rs"]
mod supervision;
#[path = "topics.rs"]
mod topics;
#[path = "typed.rs"]
mod typed;
