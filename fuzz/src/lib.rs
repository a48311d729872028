//! Properties that must hold for any bytes: one module per fuzz target, each with a `check` that panics if one does not.
//!
//! The checks compare the code with a second opinion: the standard library, a model that is written for clarity alone,
//! or the other side of a connection. An ordinary test, `ws-core/tests/corpus.rs`, replays the seeds in `corpus/`
//! through the same functions. To search for more, with a nightly compiler and `cargo-fuzz`:
//!
//! ```text
//! cargo +nightly fuzz run connection -- -max_len=2048
//! ```

pub mod close;
pub mod connection;
pub mod cuts;
#[cfg(feature = "deflate")]
pub mod deflate_blocks;
#[cfg(feature = "deflate")]
pub mod deflate_round_trip;
#[cfg(feature = "deflate")]
pub mod deflate_session;
pub mod extensions;
pub mod frame;
#[cfg(feature = "deflate")]
pub mod inflate;
pub mod model;
#[cfg(feature = "deflate")]
pub mod negotiation;
#[cfg(feature = "deflate")]
pub mod prepared;
pub mod request;
pub mod response;
#[cfg(feature = "deflate")]
pub mod rfc7692;
pub mod session;
pub mod utf8;
