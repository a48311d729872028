//! Benchmarks the receive path alone.
//!
//! Every entrant gets the same bytes, copies them into its own buffer as a read would, and takes messages out of it.
//! The reference does the minimum: copy, parse, unmask in place.

mod ours;
#[cfg(feature = "peers")]
mod peers;
mod reference;

use ws_benches::micro::{self, Entrant};
use ws_benches::tape::{push_masked, push_text};

/// What is decoded: one size and kind of message, many times over.
struct Work {
    name: &'static str,
    size: usize,
    frames: usize,
    wire: Vec<u8>,
    /// Size of a receive buffer: 16 KiB, or two frames when they are larger.
    buffer: usize,
    text: bool,
    expected: u64,
}

/// What an entrant computes from a message, so that it must be there, unmasked.
#[inline(always)]
fn digest(payload: &[u8]) -> u64 {
    let ends = payload.first().zip(payload.last());
    payload.len() as u64 + ends.map_or(0, |(first, last)| u64::from(*first) << 8 ^ u64::from(*last) << 24)
}

#[derive(Clone, Copy)]
enum Content {
    Binary,
    Ascii,
    Mixed,
}

impl Work {
    fn new(name: &'static str, size: usize, content: Content) -> Self {
        let frames = (256 * 1024 / (size + 8)).clamp(16, 2048);
        let text = !matches!(content, Content::Binary);
        let (mut wire, mut expected) = (Vec::new(), 0_u64);
        for frame in 0..frames {
            let mut payload = Vec::new();
            match content {
                Content::Binary => payload.extend((0..size).map(|at| (at * 7 + frame * 31) as u8)),
                Content::Ascii => payload.extend(b"plain words only".iter().cycle().take(size)),
                Content::Mixed => push_text(&mut payload, frame, size),
            }
            let key = (frame as u32).wrapping_mul(0x9E37_79B9).to_be_bytes();
            push_masked(&mut wire, if text { 0x1 } else { 0x2 }, &payload, key);
            expected = expected.wrapping_add(digest(&payload));
        }
        let buffer = (16 * 1024).max(2 * wire.len() / frames);
        Self { name, size, frames, wire, buffer, text, expected }
    }
}

pub(crate) fn cases() -> Vec<micro::Case<'static>> {
    let case = |most, work| {
        // Lives as long as the process, as its entrants do.
        let work: &'static Work = Box::leak(Box::new(work));
        micro::Case {
            name: work.name.to_owned(),
            messages: work.frames,
            size: work.size,
            expected: work.expected,
            entrants: entrants(work),
            most,
        }
    };
    vec![
        case(Some(2.0), Work::new("16 B", 16, Content::Binary)),
        case(None, Work::new("125 B", 125, Content::Binary)),
        case(Some(1.3), Work::new("1 KiB", 1 << 10, Content::Binary)),
        case(Some(1.3), Work::new("16 KiB", 16 << 10, Content::Binary)),
        case(None, Work::new("1 MiB", 1 << 20, Content::Binary)),
        case(None, Work::new("16 B text", 16, Content::Ascii)),
        case(None, Work::new("1 KiB ASCII text", 1 << 10, Content::Ascii)),
        case(None, Work::new("1 KiB mixed text", 1 << 10, Content::Mixed)),
    ]
}

/// The reference first, ours next, then the peers.
fn entrants(case: &Work) -> Vec<Entrant<'_>> {
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut entrants = vec![
        Entrant::new("reference: copy, parse, unmask", reference::decoder(case)),
        Entrant::new("ws-core Connection", ours::connection(case)),
        Entrant::new("ws-core Session", ours::session(case)),
        Entrant::new("ws-core Session, small messages first", ours::small(case, usize::MAX)),
        Entrant::new("ws-core Session, reads of 8 KiB", ours::small(case, 8 << 10)),
    ];
    #[cfg(feature = "peers")]
    entrants.extend(peers::entrants(case));
    entrants
}
