//! What the levels promise: bytes that any inflater accepts, as few as zlib-rs makes at the same level, in the cheapest
//! blocks.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use super::audit::Audit;
use super::content::Random;
use super::{deflate, deflater};

/// Records that look alike, with numbers and words that do not.
fn json(random: &mut Random, len: usize) -> Vec<u8> {
    let words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];
    let mut text = String::from("[");
    while text.len() < len {
        text.push_str(&format!(
            "{{\"id\":{},\"name\":\"{}\",\"price\":{}.{:02},\"tags\":[\"{}\",\"{}\"],\"active\":{}}},",
            random.below(1 << 20),
            words[random.below(8)],
            random.below(1000),
            random.below(100),
            words[random.below(8)],
            words[random.below(8)],
            random.below(2) == 0,
        ));
    }
    text.truncate(len);
    text.into_bytes()
}

struct Zlib {
    deflate: Deflate,
    takeover: bool,
}

impl Zlib {
    fn new(level: u8, window: u8, takeover: bool) -> Self {
        let config = DeflateConfig {
            level: level.into(),
            window_bits: -i32::from(window),
            ..DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), takeover }
    }

    /// The length of a message compressed by it, without the four octets.
    fn len(&mut self, message: &[u8]) -> usize {
        if !self.takeover {
            self.deflate.reset();
        }
        let (before, mut out) = (self.deflate.total_out(), vec![0; 2 * message.len() + 100]);
        self.deflate.compress(message, &mut out, DeflateFlush::SyncFlush).unwrap();
        (self.deflate.total_out() - before) as usize - 4
    }
}

/// A payload as zlib-rs alone compresses it.
fn inflate(inflate: &mut Inflate, payload: &[u8], len: usize) -> Vec<u8> {
    let (before, mut out) = (inflate.total_out(), vec![0; len + 1]);
    inflate
        .decompress(&[payload, &[0x00, 0x00, 0xFF, 0xFF]].concat(), &mut out, InflateFlush::SyncFlush)
        .unwrap();
    out.truncate((inflate.total_out() - before) as usize);
    out
}

/// At each level not more than 3 % larger than zlib-rs, and mostly smaller, with windows of 12 and 15 bits, with and
/// without takeover; and a higher level is not worse for what it costs.
#[test]
fn no_level_is_larger_than_zlibs() {
    for (size, count) in [(128, 100), (1 << 10, 60), (16 << 10, 6)] {
        for window in [12, 15] {
            for takeover in [false, true] {
                let (mut last, mut row) = (usize::MAX >> 20, Vec::new());
                let mut worse = Vec::new();
                for level in 2..=9 {
                    let mut random = Random::new(size as u64);
                    let (mut ours, mut zlib) =
                        (deflater(window, takeover, level), Zlib::new(level, window, takeover));
                    let mut back = Inflate::new(false, 15);
                    let (mut sum, mut other) = (0, 0);
                    for _ in 0..count {
                        let message = json(&mut random, size);
                        let payload = deflate(&mut ours, &[&message]);
                        if !takeover {
                            back.reset(false);
                        }
                        assert!(inflate(&mut back, &payload, size) == message);
                        sum += payload.len();
                        other += zlib.len(&message);
                    }
                    row.push(format!("{} ({:.3})", sum / count, sum as f64 / other as f64));
                    if sum * 100 > other * 103 || sum * 1000 > last * 1002 {
                        worse.push(format!("level {level}"));
                    }
                    last = sum;
                }
                println!("{size} B, {window} bits, takeover {takeover}: {}", row.join(", "));
                assert!(worse.is_empty(), "{worse:?}");
            }
        }
    }
}

/// Messages that are longer than any block and than any window, of all kinds that a block may be.
#[test]
fn long_messages() {
    let mut random = Random::new(5);
    let mut messages: Vec<(&str, Vec<u8>)> = vec![
        ("zeros", vec![0; 1_300_000]),
        ("noise", random.bytes(100_000)),
        ("text", json(&mut random, 120_000)),
        ("letters", (0..90_000).map(|_| b"abcdefgh"[random.below(8)]).collect()),
        // Literals of few kinds, where no four bytes come again.
        ("digits", (0..20_000_u32).flat_map(|i| i.to_be_bytes().map(|byte| byte & 15)).collect()),
    ];
    let mixed =
        [&messages[1].1[..67_000], &messages[2].1[..30_000], &messages[1].1[..40_000], &vec![7; 90_000]]
            .concat();
    messages.push(("all of them", mixed));
    for level in [2, 6, 9] {
        for (window, takeover) in [(9, true), (12, false), (15, true), (15, false)] {
            let mut d = deflater(window, takeover, level);
            let (mut audit, mut back) = (Audit::default(), Inflate::new(false, 15));
            for (what, message) in &messages {
                if !takeover {
                    audit.floor = audit.plain.len();
                    back.reset(false);
                }
                let payload = deflate(&mut d, &[message]);
                assert!(inflate(&mut back, &payload, message.len()) == *message, "{what}");
                assert!(audit.read(&payload) == Some(message), "{what} at level {level}, {window} bits");
                assert!(audit.farthest <= 1 << window);
                let most = message.len() + message.len() / 1000 + 10;
                assert!(payload.len() <= most, "{what} at level {level}: {}", payload.len());
            }
        }
    }
}

/// RFC 1951, section 3.2.3: each kind of block where it is the cheapest. The last one is the flush.
#[test]
fn blocks_are_of_the_cheapest_kind() {
    let mut random = Random::new(8);
    let table: &[(&str, Vec<u8>, &[u32])] = &[
        ("a word", b"Hello".to_vec(), &[1, 0]),
        ("noise", random.bytes(300), &[0, 0]),
        ("noise for two stored blocks", random.bytes(70_000), &[0, 0, 0, 0, 0, 0]),
        ("text", json(&mut random, 1000), &[2, 0]),
        ("zeros", vec![0; 1000], &[1, 0]),
        ("letters", (0..1000).map(|_| b"abcdefgh"[random.below(8)]).collect(), &[2, 0]),
    ];
    for level in 2..=9 {
        for (what, message, kinds) in table {
            let payload = deflate(&mut deflater(15, false, level), &[message]);
            let mut audit = Audit::default();
            assert_eq!(audit.read(&payload), Some(&message[..]));
            let found: Vec<u32> = audit.blocks.iter().map(|block| block.0).collect();
            assert!(
                found == *kinds || what.ends_with("stored blocks") && found.iter().all(|&kind| kind == 0),
                "{what} at level {level}: {found:?}"
            );
        }
    }
}
