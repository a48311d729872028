//! Benchmarks masking (RFC 6455, section 5.3) in place, on payloads that begin two bytes off a word boundary, as they do
//! after most headers.

use ws_benches::bare;
use ws_benches::micro::{self, Entrant};

const KEY: [u8; 4] = [0x11, 0xA2, 0x33, 0xC4];
const OFF: usize = 2;

pub(crate) fn cases() -> Vec<micro::Case<'static>> {
    let sizes = [("16 B", 16), ("125 B", 125), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];
    sizes.map(case).into()
}

fn case((name, size): (&str, usize)) -> micro::Case<'static> {
    // An even number, so that the payload ends as it was.
    let turns = if size > 64 << 10 { 2 } else { 64 };
    let plain: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
    let masked: Vec<u8> = plain.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let entrant = |name: &'static str, mask: fn(&mut [u8], [u8; 4])| {
        let mut buffer = vec![0; OFF + size];
        buffer[OFF..].copy_from_slice(&plain);
        mask(&mut buffer[OFF..], KEY);
        assert!(buffer[OFF..] == masked, "{name} masks otherwise");
        mask(&mut buffer[OFF..], KEY);
        Entrant::new(name, move || {
            for _ in 0..turns {
                mask(std::hint::black_box(&mut buffer[OFF..]), KEY);
            }
            u64::from(buffer[OFF]) | u64::from(buffer[OFF + size - 1]) << 8
        })
    };
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut entrants = vec![
        entrant("reference: a loop of words", bare::unmask),
        entrant("ws-core", ws_core::mask::mask),
        entrant("limit: a loop of bytes, as web-socket has it", |bytes, key| {
            bytes.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }),
    ];
    #[cfg(feature = "peers")]
    entrants.extend([
        entrant("fastwebsockets", fastwebsockets::unmask),
        entrant("sockudo-ws", sockudo_ws::simd::apply_mask),
        entrant("yawc", yawc::mask::apply_mask),
    ]);
    let expected = u64::from(plain[0]) | u64::from(plain[size - 1]) << 8;
    micro::Case { name: name.to_owned(), messages: turns, size, expected, entrants, most: None }
}
