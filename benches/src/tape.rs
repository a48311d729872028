//! The messages of a run, built before the clock starts: a ring of frames that every connection sends over and over.
//!
//! Each message differs from its neighbours and each connection starts at a different one, so a server that mixes
//! up messages, connections or mask keys is noticed.

use crate::deflate::Compression;
use crate::workload::Kind;

/// A ring of client frames, and the payloads that a server must send back for them.
pub struct Tape {
    kind: Kind,
    size: usize,
    payloads: Vec<u8>,
    frames: Vec<u8>,
    /// Where each frame begins, and where the last one ends.
    starts: Vec<usize>,
    raw: bool,
    compression: Option<Compression>,
}

impl Tape {
    /// Frames for `in_flight` messages of `size` bytes at a time; `raw` for a server that echoes the bytes themselves.
    pub fn new(kind: Kind, size: usize, in_flight: usize, raw: bool) -> Self {
        Self::compressed(kind, size, in_flight, raw, None)
    }

    /// The same, compressed.
    pub fn compressed(
        kind: Kind,
        size: usize,
        in_flight: usize,
        raw: bool,
        compression: Option<Compression>,
    ) -> Self {
        // A small tape stays in the generator's cache; one round of messages must fit nevertheless.
        let messages = (256 * 1024 / (size + 14)).clamp(2, 64).max(in_flight);
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut payloads = Vec::with_capacity(messages * size);
        let mut frames = Vec::with_capacity(messages * (size + 14));
        let mut starts = vec![0];
        for message in 0..messages {
            let start = payloads.len();
            match kind {
                Kind::Binary => payloads.extend((0..size).map(|_| random.next() as u8)),
                Kind::Text => push_text(&mut payloads, message, size),
                Kind::Json => push_json(&mut payloads, &mut random, size),
            }
            let key = (random.next() as u32).to_be_bytes();
            match compression {
                // RFC 7692, section 6: RSV1 marks a compressed message.
                Some(compression) => {
                    let compressed = compression.compress(&payloads[start..]);
                    push_masked(&mut frames, 0x40 | kind.opcode(), &compressed, key);
                }
                None => push_masked(&mut frames, kind.opcode(), &payloads[start..], key),
            }
            starts.push(frames.len());
        }
        Self { kind, size, payloads, frames, starts, raw, compression }
    }

    /// Messages in the ring.
    pub fn messages(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where the frame at `index` in the ring begins.
    pub fn start(&self, index: usize) -> usize {
        self.starts[index]
    }

    /// Bytes of `count` frames, headers and keys included, from the one at `first` on; at most one round.
    pub fn span(&self, first: usize, count: usize) -> usize {
        let (end, messages) = (first + count, self.messages());
        if end <= messages {
            self.starts[end] - self.starts[first]
        } else {
            self.frames.len() - self.starts[first] + self.starts[end - messages]
        }
    }

    /// Whether a frame begins at this byte of the ring.
    pub fn is_boundary(&self, position: usize) -> bool {
        self.starts.binary_search(&position).is_ok()
    }

    /// One client frame.
    pub fn frame(&self, index: usize) -> &[u8] {
        &self.frames[self.starts[index]..self.starts[index + 1]]
    }

    /// How the messages are compressed, if they are.
    pub fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// Bytes of one message.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The kind of the messages.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the server echoes bytes instead of messages.
    pub fn raw(&self) -> bool {
        self.raw
    }

    /// All frames, one after the other.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// The payload of the message at `index` in the ring.
    pub fn payload(&self, index: usize) -> &[u8] {
        &self.payloads[index * self.size..(index + 1) * self.size]
    }
}

/// Appends a final frame with its payload masked (RFC 6455, sections 5.2 and 5.3).
pub fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends exactly `size` bytes of text in many scripts, filled up with ASCII where no character fits any more.
/// Neighbouring numbers give different texts.
pub fn push_text(out: &mut Vec<u8>, message: usize, size: usize) {
    const WORDS: &str = "plain words, then grüße und straße, ça va très bien, привет мир, γειά σου, 你好世界, こんにちは, 🦀🌍 ";
    let end = out.len() + size;
    let mut characters = WORDS.chars().cycle().skip(message * 7 % 61);
    let mut encoded = [0; 4];
    while let Some(character) = characters.next().filter(|character| out.len() + character.len_utf8() <= end)
    {
        out.extend(character.encode_utf8(&mut encoded).as_bytes());
    }
    out.resize(end, b'.');
}

/// Appends a JSON document of exactly `size` bytes: records with repeated names and values that differ, as a list of
/// orders or ticks has them.
fn push_json(out: &mut Vec<u8>, random: &mut Random, size: usize) {
    const STATES: [&str; 4] = ["open", "filled", "cancelled", "partially_filled"];
    const NAMES: [&str; 6] =
        ["Ada Lovelace", "Grace Hopper", "José Núñez", "Zoë Müller", "李小龙", "Alan Turing"];
    let end = out.len() + size;
    let mut number = |below: u64| random.next() % below;
    out.extend(format!("{{\"type\":\"update\",\"seq\":{},\"items\":[", number(1 << 32)).bytes());
    loop {
        let item = format!(
            "{{\"id\":\"{:08x}-{:04x}\",\"time\":17{:011},\"user\":{{\"name\":\"{}\",\"active\":{}}},\
             \"price\":{}.{:02},\"quantity\":{},\"state\":\"{}\"}},",
            number(1 << 32),
            number(1 << 16),
            number(100_000_000_000),
            NAMES[number(6) as usize],
            number(2) == 1,
            number(1_000),
            number(100),
            number(500),
            STATES[number(4) as usize],
        );
        if out.len() + item.len() + 12 > end {
            break;
        }
        out.extend(item.bytes());
    }
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.extend(b"],\"note\":\"");
    out.truncate(end);
    out.resize(end.saturating_sub(2).max(out.len()), b'.');
    out.extend(&b"\"}"[..end - out.len()]);
}

/// A small generator (xorshift64*): the tape must be the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_valid_mixed_and_of_the_size_asked_for() {
        for size in [1, 2, 3, 4, 31, 32, 125, 126, 1024] {
            let tape = Tape::new(Kind::Text, size, 1, false);
            for index in 0..tape.messages() {
                let text = std::str::from_utf8(tape.payload(index)).expect("valid UTF-8");
                assert_eq!(text.len(), size);
            }
            assert!(size < 100 || tape.payload(0).iter().any(|byte| !byte.is_ascii()), "not mixed at {size}");
        }
    }

    #[test]
    fn frames_unmask_to_their_payloads() {
        for size in [0, 1, 125, 126, 0xFFFF, 0x1_0000] {
            let tape = Tape::new(Kind::Binary, size, 3, false);
            let head = tape.span(0, 1) - size;
            assert_eq!(
                head,
                if size <= 125 {
                    6
                } else if size <= 0xFFFF {
                    8
                } else {
                    14
                }
            );
            for (index, frame) in (0..tape.messages()).map(|index| tape.frame(index)).enumerate() {
                assert_eq!((frame[0], frame[1] & 0x80), (0x82, 0x80));
                let (key, masked) = frame[head - 4..].split_at(4);
                let plain: Vec<u8> =
                    masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
                assert_eq!(plain, tape.payload(index));
            }
        }
    }

    #[test]
    fn json_is_of_the_size_asked_for_and_compresses() {
        for size in [200, 1 << 10, 16 << 10] {
            let compression = Compression { level: 6, window_bits: 15, takeover: false };
            let tape = Tape::compressed(Kind::Json, size, 1, false, Some(compression));
            for index in 0..tape.messages() {
                let text = std::str::from_utf8(tape.payload(index)).expect("valid UTF-8");
                assert_eq!(text.len(), size);
                assert!(text.starts_with("{\"type\":") && text.ends_with("\"}"), "{text}");
                assert_eq!(tape.frame(index)[0], 0xC1);
            }
            assert!(size < 1_000 || tape.span(0, 2) < size, "two of {size} take {}", tape.span(0, 2));
            let round: usize = (0..tape.messages()).map(|index| tape.frame(index).len()).sum();
            assert_eq!(tape.span(1, tape.messages()), round);
            assert!(tape.is_boundary(tape.start(1)) && !tape.is_boundary(tape.start(1) + 1));
        }
    }

    #[test]
    fn neighbours_differ_and_a_round_fits() {
        let tape = Tape::new(Kind::Binary, 1 << 20, 16, false);
        assert!(tape.messages() >= 16);
        assert_ne!(tape.payload(0), tape.payload(1));
    }
}
