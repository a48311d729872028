//! The in-memory suites: for each part of the protocol a minimal reference, ours, and the peers whose implementation can be
//! called. All entrants of a case get the same bytes, and must produce the same result.
//!
//! `micro` races them, `criterion` watches them over time.

mod decode;
mod deflate;
mod encode;
mod handshake;
mod mask;
mod stream;
mod utf8;

use ws_benches::micro::Case;

/// A table.
pub(crate) struct Suite {
    /// For the command line.
    pub(crate) name: &'static str,
    #[allow(dead_code, reason = "criterion has titles of its own")]
    pub(crate) title: &'static str,
    /// Makes its columns, when they are needed.
    pub(crate) cases: fn() -> Vec<Case<'static>>,
    /// A note below the table.
    #[allow(dead_code, reason = "criterion does not print it")]
    pub(crate) note: fn() -> String,
}

pub(crate) const ALL: [Suite; 6] = [
    Suite {
        name: "decode",
        title: "Masked client frames: copied into a receive buffer, parsed, unmasked, handed out",
        cases: decode::cases,
        note: String::new,
    },
    Suite { name: "encode", title: "Server frames, 64 a flush", cases: encode::cases, note: String::new },
    Suite {
        name: "handshake",
        title: "A browser's opening handshake: parsed, checked, answered",
        cases: handshake::cases,
        note: String::new,
    },
    Suite { name: "mask", title: "Masking in place", cases: mask::cases, note: String::new },
    Suite { name: "utf8", title: "UTF-8 validation", cases: utf8::cases, note: String::new },
    Suite {
        name: "deflate",
        title: "permessage-deflate of JSON, windows of 15 bits",
        cases: deflate::cases,
        note: deflate::sizes,
    },
];
