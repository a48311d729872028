//! Replays the seeds of the fuzz targets, and what every run of them begins with.
#![cfg(feature = "alloc")]

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "the same file is a library where the fuzzer runs it")]
mod targets;

/// Runs `check` on each file of its corpus, and on each of their beginnings: a seed cut short is another seed.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).expect("a folder of seeds") {
        let path = entry.expect("a readable folder").path();
        let seed = fs::read(&path).expect("a readable seed");
        println!("{}", path.display());
        let step = seed.len() / 200 + 1;
        (0..seed.len()).step_by(step).for_each(|len| check(&seed[..len]));
        check(&seed);
        seeds += 1;
    }
    assert!(seeds >= 3, "{target}: {seeds} seeds");
}

#[test]
fn close() {
    replay("close", targets::close::check);
}

#[test]
fn connection() {
    replay("connection", targets::connection::check);
}

/// DP-11: messages of several blocks and windows.
#[cfg(feature = "deflate")]
#[test]
fn deflate_blocks() {
    replay("deflate_blocks", targets::deflate_blocks::check);
}

#[cfg(feature = "deflate")]
#[test]
fn deflate_round_trip() {
    replay("deflate_round_trip", targets::deflate_round_trip::check);
}

/// DP-02, DP-18: any frames, compressed or not.
#[cfg(feature = "deflate")]
#[test]
fn deflate_session() {
    replay("deflate_session", targets::deflate_session::check);
}

#[test]
fn extensions() {
    replay("extensions", targets::extensions::check);
}

#[test]
fn frame() {
    replay("frame", targets::frame::check);
}

/// DN-01 to DN-16: any offers, any settings, any answer.
#[cfg(feature = "deflate")]
#[test]
fn negotiation() {
    replay("negotiation", targets::negotiation::check);
}

#[cfg(feature = "deflate")]
#[test]
fn inflate() {
    replay("inflate", targets::inflate::check);
}

/// DP-20: messages for many, mixed with own ones.
#[cfg(feature = "deflate")]
#[test]
fn prepared() {
    replay("prepared", targets::prepared::check);
}

#[test]
fn request() {
    replay("request", targets::request::check);
}

#[test]
fn response() {
    replay("response", targets::response::check);
}

#[test]
fn session() {
    replay("session", targets::session::check);
}

#[test]
fn utf8() {
    replay("utf8", targets::utf8::check);
}
