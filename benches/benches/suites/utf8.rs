//! Benchmarks UTF-8 validation: a whole text at once, and for ours also as it arrives, in parts of 4 KiB.

use ws_benches::micro::{self, Entrant};
use ws_benches::tape::push_text;
use ws_core::utf8::{Utf8Validator, validate};

const TURNS: usize = 64;

pub(crate) fn cases() -> Vec<micro::Case<'static>> {
    let ascii = |size| b"plain words only".iter().copied().cycle().take(size).collect::<Vec<u8>>();
    let mixed = |size| {
        let mut text = Vec::new();
        push_text(&mut text, 0, size);
        text
    };
    let han = "你好世界".repeat((16 << 10) / 12).into_bytes();
    [
        ("ASCII 16 B", ascii(16)),
        ("ASCII 125 B", ascii(125)),
        ("ASCII 1 KiB", ascii(1 << 10)),
        ("ASCII 16 KiB", ascii(16 << 10)),
        ("ASCII 1 MiB", ascii(1 << 20)),
        ("mixed 16 B", mixed(16)),
        ("mixed 125 B", mixed(125)),
        ("mixed 1 KiB", mixed(1 << 10)),
        ("mixed 16 KiB", mixed(16 << 10)),
        ("Han 16 KiB", han),
    ]
    .map(case)
    .into()
}

fn case((name, text): (&str, Vec<u8>)) -> micro::Case<'static> {
    let turns = if text.len() > 64 << 10 { 2 } else { TURNS };
    let size = text.len();
    let text: &'static [u8] = text.leak();
    let entrant = |name: &'static str, is_valid: fn(&[u8]) -> bool| {
        let mut broken = text.to_vec();
        broken[size / 2] = 0xFF;
        assert!(!is_valid(&broken), "{name} takes anything");
        Entrant::new(name, move || (0..turns).filter(|_| is_valid(std::hint::black_box(text))).count() as u64)
    };
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut entrants = vec![
        entrant("reference: simdutf8", |text| simdutf8::basic::from_utf8(text).is_ok()),
        entrant("ws-core validate", |text| validate(text).is_ok()),
        entrant("ws-core Utf8Validator", |text| {
            let mut validator = Utf8Validator::default();
            text.chunks(4 << 10).all(|part| validator.feed(part).is_ok()) && validator.finish().is_ok()
        }),
        entrant("limit: the standard library, as tungstenite has it", |text| {
            std::str::from_utf8(text).is_ok()
        }),
    ];
    #[cfg(feature = "peers")]
    entrants.push(entrant("sockudo-ws", sockudo_ws::utf8::validate_utf8));
    micro::Case { name: name.to_owned(), messages: turns, size, expected: turns as u64, entrants, most: None }
}
