//! UTF-8 as it arrives (RFC 6455, sections 5.6 and 8.1; RFC 3629).
//!
//! [`Utf8Validator`] checks text in whatever parts the transport delivers. It fails at the earliest byte after which
//! no continuation could be valid, so `E0 80` and `ED A0` fail at their second byte and `C0` at once, and it keeps
//! no more than the beginning of one character: at most 3 bytes.
//!
//! The bulk goes through simdutf8, or by wider vectors where there are any. Short text is mostly ASCII, and for that a
//! loop over words is faster than the call: it comes first, up to 128 bytes.

#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod wide;

use core::fmt;

use crate::error::Violation;

/// Up to this length ASCII is looked for by words before anything else.
const SHORT: usize = 128;

/// Bytes that are not UTF-8, or that end inside a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Violation::from(*self).fmt(f)
    }
}

impl core::error::Error for InvalidUtf8 {}

impl From<InvalidUtf8> for Violation {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        // 8.1: "the endpoint MUST _Fail the WebSocket Connection_".
        Self::InvalidUtf8
    }
}

/// Whether `bytes` are UTF-8 from end to end.
#[inline]
pub fn validate(bytes: &[u8]) -> Result<(), InvalidUtf8> {
    if is_short_ascii(bytes) { Ok(()) } else { bulk(bytes) }
}

/// Checks text that arrives in parts. A copy is a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Validator {
    /// The bytes of a character that is not complete, `pending` of them, valid as far as they go; then zeros.
    carry: [u8; 3],
    pending: u8,
}

impl Utf8Validator {
    /// At the start of a text.
    pub const fn new() -> Self {
        Self { carry: [0; 3], pending: 0 }
    }

    /// Takes the next bytes of the text.
    ///
    /// # Errors
    /// With these bytes the text cannot become valid, whatever follows. The validator is of no use from then on.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        if self.pending == 0 && is_short_ascii(bytes) { Ok(()) } else { self.feed_any(bytes) }
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The text ends inside a character.
    #[inline]
    pub const fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.pending == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// How many bytes at the end belong to a character that is not complete: 0 to 3.
    #[inline]
    pub const fn pending(&self) -> usize {
        self.pending as usize
    }

    #[inline(never)]
    fn feed_any(&mut self, mut bytes: &[u8]) -> Result<(), InvalidUtf8> {
        if self.pending != 0 {
            while self.pending != 0 {
                let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
                self.push(byte)?;
                bytes = rest;
            }
            if is_short_ascii(bytes) {
                return Ok(());
            }
        }
        let (whole, begun) = bytes.split_at(bytes.len() - incomplete(bytes));
        bulk(whole)?;
        begun.iter().try_for_each(|&byte| self.push(byte))
    }

    /// Takes one byte of a character of two to four bytes.
    fn push(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let held = self.pending();
        let lead = if held == 0 { byte } else { self.carry[0] };
        let fits = match held {
            0 => width(lead) != 0,
            1 => second(lead).contains(&byte),
            _ => (0x80..=0xBF).contains(&byte),
        };
        if !fits {
            return Err(InvalidUtf8);
        }
        match self.carry.get_mut(held) {
            Some(place) if held + 1 < width(lead) => {
                *place = byte;
                self.pending += 1;
            }
            _ => *self = Self::new(),
        }
        Ok(())
    }
}

/// How many bytes a character has that begins with `lead`; 0 for a byte that begins none, or only itself.
///
/// C0 and C1 could only begin overlong forms, F5 and above only what lies beyond U+10FFFF (RFC 3629, section 4).
const fn width(lead: u8) -> usize {
    match lead {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 0,
    }
}

/// Which second bytes may follow `lead` (RFC 3629, section 4): the rest is overlong, a surrogate or too large.
const fn second(lead: u8) -> core::ops::RangeInclusive<u8> {
    match lead {
        0xE0 => 0xA0..=0xBF,
        0xED => 0x80..=0x9F,
        0xF0 => 0x90..=0xBF,
        0xF4 => 0x80..=0x8F,
        _ => 0x80..=0xBF,
    }
}

/// How many bytes at the end look like the beginning of a character with more to come.
fn incomplete(bytes: &[u8]) -> usize {
    for (i, &byte) in bytes.iter().rev().take(3).enumerate() {
        if byte & 0xC0 != 0x80 {
            return if width(byte) > i + 1 { i + 1 } else { 0 };
        }
    }
    0
}

/// Whether `bytes` are short and all ASCII. By words, the last of which overlaps the one before.
#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    if bytes.len() > SHORT {
        return false;
    }
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let all = bytes
        .as_chunks()
        .0
        .iter()
        .fold(u64::from_ne_bytes(*last), |all, word| all | u64::from_ne_bytes(*word));
    all & HIGH == 0
}

fn bulk(bytes: &[u8]) -> Result<(), InvalidUtf8> {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if let Some(valid) = wide::validate(bytes) {
        return if valid { Ok(()) } else { Err(InvalidUtf8) };
    }
    simdutf8::basic::from_utf8(bytes).map(|_| ()).map_err(|_| InvalidUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::str::from_utf8;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// What the standard library says of a text that may go on.
    fn hopeless(bytes: &[u8]) -> bool {
        from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
    }

    fn pending(bytes: &[u8]) -> usize {
        from_utf8(bytes).map_or_else(|error| bytes.len() - error.valid_up_to(), |_| 0)
    }

    /// The index of the byte after which no continuation is valid.
    fn deciding(bytes: &[u8]) -> Option<usize> {
        let error = from_utf8(bytes).err()?;
        let (start, len) = (error.valid_up_to(), error.error_len()?);
        // `error_len` counts the bytes that were fine up to the one that decides; a byte that begins nothing
        // counts itself.
        Some(if width(bytes[start]) == 0 { start } else { start + len })
    }

    fn fed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Utf8Validator, InvalidUtf8> {
        let mut validator = Utf8Validator::new();
        for part in parts {
            validator.feed(part)?;
        }
        Ok(validator)
    }

    /// The same verdict as the standard library, fed whole and in the two parts of every split.
    fn check(bytes: &[u8]) {
        assert_eq!(validate(bytes).is_ok(), from_utf8(bytes).is_ok(), "{bytes:02X?}");
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            match fed([a, b]) {
                Ok(validator) => {
                    assert!(!hopeless(bytes), "{bytes:02X?} cut at {cut}");
                    assert_eq!(validator.pending(), pending(bytes), "{bytes:02X?} cut at {cut}");
                    assert_eq!(validator.finish().is_ok(), from_utf8(bytes).is_ok(), "{bytes:02X?}");
                }
                Err(InvalidUtf8) => assert!(hopeless(bytes), "{bytes:02X?} cut at {cut}"),
            }
        }
    }

    /// The byte at which feeding one byte after another fails.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        let mut validator = Utf8Validator::new();
        bytes.iter().position(|&byte| validator.feed(&[byte]).is_err())
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Utf8Validator>(), 4);
    }

    /// U-01, U-04: each class of invalid bytes fails at the byte that decides, with the text unfinished.
    #[test]
    fn u01_u04_hopeless_prefixes_fail_at_the_byte_that_decides() {
        let at_once = (0x80..=0xC1).chain(0xF5..=0xFF).map(|lead| Vec::from([lead]));
        let overlong = [(0xE0, 0x80..=0x9F), (0xF0, 0x80..=0x8F)];
        let surrogates = [(0xED, 0xA0..=0xBF)];
        let beyond = [(0xF4, 0x90..=0xBF)];
        let second = overlong.into_iter().chain(surrogates).chain(beyond);
        let second = second.flat_map(|(lead, bytes)| bytes.map(move |byte| Vec::from([lead, byte])));
        let cut_short =
            [&[0xC3, 0x28][..], &[0xE2, 0x82, 0x28], &[0xF0, 0x9F, 0x98, 0x28], &[0xF0, 0x9F, 0xC3]]
                .map(Vec::from);
        for text in at_once.chain(second).chain(cut_short) {
            for before in ["", "a", "κόσμε", "0123456789abcdef"] {
                let bytes = [before.as_bytes(), &text].concat();
                assert_eq!(fails_at(&bytes), Some(bytes.len() - 1), "{bytes:02X?}");
                assert!(fed([&bytes[..]]).is_err(), "{bytes:02X?}");
                assert!(validate(&bytes).is_err(), "{bytes:02X?}");
            }
        }
    }

    /// U-02: a text that ends inside a character, whatever the character and the place.
    #[test]
    fn u02_a_text_cut_inside_a_character_does_not_finish() {
        for text in ["é", "€", "😀", "\u{10FFFF}"] {
            for cut in 1..text.len() {
                let validator = fed([&text.as_bytes()[..cut]]).expect("valid as far as it goes");
                assert_eq!(validator.pending(), cut);
                assert_eq!(validator.finish(), Err(InvalidUtf8));
                assert!(validate(&text.as_bytes()[..cut]).is_err());
            }
        }
    }

    /// U-03: characters of every length, split at every two places.
    #[test]
    fn u03_characters_may_be_split_anywhere() {
        let text = "aé€😀\u{7FF}\u{800}\u{FFFF}\u{10000}".as_bytes();
        for a in 0..=text.len() {
            for b in a..=text.len() {
                let validator = fed([&text[..a], &text[a..b], &text[b..]]).expect("valid");
                assert_eq!(validator.finish(), Ok(()), "{a} {b}");
            }
        }
    }

    /// U-05: noncharacters, NUL and a byte order mark are text like any other.
    #[test]
    fn u05_noncharacters_are_accepted() {
        for text in
            ["\u{FFFE}", "\u{FFFF}", "\u{FDD0}", "\u{1FFFF}", "\u{10FFFE}", "\0", "\u{FEFF}", "\u{FEFF}a\0"]
        {
            assert_eq!(fails_at(text.as_bytes()), None, "{text:?}");
            check(text.as_bytes());
        }
    }

    /// U-09: all strings, byte by byte, of at most 4 bytes, and with them of any length.
    ///
    /// One validator walks the tree of prefixes and is compared with the standard library at every node. A branch
    /// ends where nothing new can come: at a hopeless prefix, as `from_utf8` looks no further than its first error;
    /// and at the end of a character, where the validator is again the one that every text begins with, as the test
    /// asserts, so that what follows is a shorter string. What remains are the beginnings of one character, and no
    /// character has more than 4 bytes.
    #[test]
    fn u09_all_strings_byte_by_byte() {
        let mut open = Vec::from([(Utf8Validator::new(), [0; 4], 0)]);
        let mut seen = 0;
        while let Some((validator, mut bytes, len)) = open.pop() {
            for byte in 0..=255 {
                bytes[len] = byte;
                seen += 1;
                match step(validator, &bytes[..=len]) {
                    Some(next) if next.pending() != 0 => {
                        assert!(len < 3, "no character has a fifth byte");
                        open.push((next, bytes, len + 1));
                    }
                    Some(next) => assert_eq!(next, Utf8Validator::new()),
                    None => {}
                }
            }
        }
        // The nodes with branches: the empty string, 51 leads, 16 * 64 - 2 * 32 and 4 * 64 first pairs of longer
        // characters, and those 4 * 64 with each third byte.
        assert_eq!(seen, 256 * (1 + 51 + 960 + 256 + 256 * 64));
    }

    /// U-09: strings of at most 4 bytes at every split, whole parts at a time, and behind enough ASCII for the bulk.
    ///
    /// RFC 3629 tells bytes apart only by the ranges in this table; each stands in it by its first and its last byte.
    #[test]
    fn u09_all_classes_of_bytes_at_every_split() {
        let ranges = [
            0x00..=0x7F,
            0x80..=0x8F,
            0x90..=0x9F,
            0xA0..=0xBF,
            0xC0..=0xC1,
            0xC2..=0xDF,
            0xE0..=0xE0,
            0xE1..=0xEC,
            0xED..=0xED,
            0xEE..=0xEF,
            0xF0..=0xF0,
            0xF1..=0xF3,
            0xF4..=0xF4,
            0xF5..=0xFF_u8,
        ];
        let mut bytes: Vec<_> = ranges.iter().flat_map(|range| [*range.start(), *range.end()]).collect();
        bytes.dedup();
        let mut long = [b'x'; 200];
        for i in 0..bytes.len().pow(4) {
            let text = [0, 1, 2, 3].map(|place| bytes[i / bytes.len().pow(place) % bytes.len()]);
            for len in 1..=4 {
                // Shorter strings, once each: those with zeros in the places left.
                if text[len..].iter().all(|&byte| byte == 0) {
                    check(&text[..len]);
                }
            }
            if i % 7 == 0 {
                long[160..164].copy_from_slice(&text);
                let bytes = &long[..164 + i % 3];
                assert_eq!(fed([bytes]).is_err(), hopeless(bytes), "{text:02X?}");
                assert_eq!(validate(bytes).is_ok(), from_utf8(bytes).is_ok(), "{text:02X?}");
            }
        }
    }

    /// Feeds the last byte of `bytes` to a validator that has seen the others, and compares.
    fn step(mut validator: Utf8Validator, bytes: &[u8]) -> Option<Utf8Validator> {
        match validator.feed(&bytes[bytes.len() - 1..]) {
            Ok(()) => {
                assert!(!hopeless(bytes), "{bytes:02X?}");
                assert_eq!(validator.pending(), pending(bytes), "{bytes:02X?}");
                Some(validator)
            }
            Err(InvalidUtf8) => {
                assert_eq!(deciding(bytes), Some(bytes.len() - 1), "{bytes:02X?}");
                None
            }
        }
    }

    proptest! {
        /// U-09: arbitrary bytes, and text with one byte changed, at every split.
        #[test]
        fn u09_longer_strings_at_every_split(
            noise in proptest::collection::vec(any::<u8>(), 0..40),
            text in "\\PC{0,80}",
            at: prop::sample::Index,
            with: u8,
        ) {
            check(&noise);
            let mut bytes = text.into_bytes();
            check(&bytes);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = with;
                check(&bytes);
                prop_assert_eq!(fails_at(&bytes), deciding(&bytes));
            }
        }
    }
}
