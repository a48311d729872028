//! Masked client frames decoded in memory, the copy into the receive buffer included.
//!
//! Every entrant gets the same bytes, copies them into a buffer of its own as a read would, and takes messages out
//! of it. The reference does as little as one can: copy, parse, unmask in place. Peers take part with the `peers`
//! feature.
//!
//! `--check` ends with status 1 when 16-byte messages cost more than [`MOST`] times the reference. For a profiler,
//! `--case` and `--entrant` leave only those whose name contains a word; ratios are to the first that is left.

mod ours;
#[cfg(feature = "peers")]
mod peers;
mod reference;

use std::process::ExitCode;
use std::time::Duration;

use ws_benches::flags::Flags;
use ws_benches::micro::{Entrant, race};
use ws_benches::tape::{push_masked, push_text};

/// How much more than the reference a 16-byte message may cost.
const MOST: f64 = 3.0;

const REFERENCE: &str = "reference: copy, parse, unmask";
const CONNECTION: &str = "ws-core Connection";

/// What is decoded: one size and kind of message, many times over.
struct Case {
    name: &'static str,
    frames: usize,
    wire: Vec<u8>,
    /// What a receive buffer holds: 16 KiB, or two frames when they are larger.
    buffer: usize,
    text: bool,
    expected: u64,
}

/// What an entrant computes of a message, so that it has to be there, unmasked.
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

impl Case {
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
        Self { name, frames, wire, buffer, text, expected }
    }
}

fn main() -> ExitCode {
    let mut flags = Flags::of_this_process();
    let check = flags.has("--check");
    // `cargo bench` passes this to every harness.
    flags.has("--bench");
    let words = flags.text("--case").and_then(|case| Ok((case, flags.text("--entrant")?)));
    let (case, entrant) = match words.and_then(|words| flags.rest().map(|_| words)) {
        Ok((case, entrant)) => (case.unwrap_or_default(), entrant.unwrap_or_default()),
        Err(reason) => {
            eprintln!("{reason}\nusage: decode [--check] [--case WORD] [--entrant WORD]");
            return ExitCode::from(2);
        }
    };

    let mut cases = vec![
        Case::new("16 B", 16, Content::Binary),
        Case::new("125 B", 125, Content::Binary),
        Case::new("1 KiB", 1 << 10, Content::Binary),
        Case::new("16 KiB", 16 << 10, Content::Binary),
        Case::new("16 B text", 16, Content::Ascii),
        Case::new("1 KiB ASCII text", 1 << 10, Content::Ascii),
        Case::new("1 KiB mixed text", 1 << 10, Content::Mixed),
    ];
    cases.retain(|known| known.name.contains(&case));
    let (mut names, mut columns) = (Vec::new(), Vec::new());
    for case in &cases {
        let mut entrants = entrants(case);
        entrants.retain(|known| known.name.contains(&entrant));
        names = entrants.iter().map(|entrant| entrant.name).collect();
        let best = race(&mut entrants, case.expected, 41, Duration::from_millis(2));
        let nanos = |time: Duration| time.as_nanos() as f64 / case.frames as f64;
        columns.push(best.into_iter().map(nanos).collect::<Vec<_>>());
    }

    println!("Masked client frames, ns per message (÷ reference)\n");
    println!("| | {} |", cases.iter().map(|case| case.name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "--:|".repeat(cases.len()));
    for (row, name) in names.iter().enumerate() {
        let cell = |column: &Vec<f64>| format!("{:.1} ({:.2})", column[row], column[row] / column[0]);
        println!("| {name} | {} |", columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }

    // The verdict is about two rows of one column; a filter may have left others or none.
    let small = cases.iter().position(|case| case.name == "16 B");
    let row = |name: &str| names.iter().position(|known| *known == name);
    let Some(((column, ours), reference)) = small.zip(row(CONNECTION)).zip(row(REFERENCE)) else {
        return if check { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let ratio = columns[column][ours] / columns[column][reference];
    println!("\n{CONNECTION} takes {ratio:.2} × the reference at 16 B; at most {MOST} is allowed.");
    if check && ratio > MOST { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The reference first, ours next, then whoever else is there.
fn entrants(case: &Case) -> Vec<Entrant<'_>> {
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut entrants = vec![
        Entrant::new(REFERENCE, reference::decoder(case)),
        Entrant::new(CONNECTION, ours::connection(case)),
        Entrant::new("ws-core Session", ours::session(case)),
    ];
    #[cfg(feature = "peers")]
    entrants.extend(peers::entrants(case));
    entrants
}
