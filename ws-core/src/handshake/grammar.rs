//! Character classes of HTTP (RFC 9110, section 5.6.2; RFC 9112, section 5), and the fast walks over them.

/// `tchar`: what names, methods and tokens are made of.
static TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|'
            | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        byte += 1;
    }
    table
};

#[inline]
pub(super) fn is_tchar(byte: u8) -> bool {
    TCHAR[usize::from(byte)]
}

/// `token = 1*tchar`.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// A byte in all eight of a word.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of each byte from `low` to `high`, in a word of ASCII.
#[inline(always)]
const fn within(ascii: u64, low: u8, high: u8) -> u64 {
    // No byte's sum is carried into the next.
    (ascii + eight(0x80 - low)) & !(ascii + eight(0x7F - high)) & eight(0x80)
}

/// Where the run of `tchar` that starts at `from` ends. Of letters, digits and hyphens, which names are made of, eight at a
/// time.
#[inline]
pub(super) fn skip_tchars(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*word);
            let ascii = word & eight(0x7F);
            let letters = within(ascii | eight(0x20), b'a', b'z');
            let usual = (letters | within(ascii, b'0', b'9') | within(ascii, b'-', b'-')) & !word;
            let others = usual ^ eight(0x80);
            at += others.trailing_zeros() as usize / 8;
            if others != 0 {
                break;
            }
        }
        match bytes.get(at) {
            Some(&byte) if is_tchar(byte) => at += 1,
            _ => return at,
        }
    }
}

/// What a value or a reason phrase may hold: HTAB, SP, VCHAR and obs-text (RFC 9110, section 5.5).
#[inline]
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

/// Whether `bytes` may stand in a field value: no CR, LF, NUL or other control byte.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    skip_text(bytes, 0) == bytes.len()
}

/// Where the run of value bytes that starts at `from` ends; sixteen bytes at a time, and the last of them eight.
#[inline]
pub(super) fn skip_text(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        if !are_all(block, |byte| (byte >= b' ') & (byte != 0x7F)) {
            break;
        }
        at += 16;
    }
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        // A byte below 0x20, or equal to 0x7F. A borrow can only spoil bits above the first hit, so the lowest is true.
        let below = word.wrapping_sub(eight(0x20)) & !word & eight(0x80);
        let other = word ^ eight(0x7F);
        let del = other.wrapping_sub(eight(1)) & !other & eight(0x80);
        let hits = below | del;
        if hits == 0 {
            at += 8;
            continue;
        }
        at += hits.trailing_zeros() as usize / 8;
        if bytes[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    while bytes.get(at).is_some_and(|&byte| is_text(byte)) {
        at += 1;
    }
    at
}

/// Whether all of a block are of this class. One of a few comparisons becomes as many instructions on a vector.
#[inline(always)]
pub(super) fn are_all(block: &[u8; 16], class: impl Fn(u8) -> bool) -> bool {
    block.iter().fold(true, |all, &byte| all & class(byte))
}

/// SP or HTAB.
#[inline]
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Takes optional white space from both ends.
#[inline]
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut start = 0;
    let mut end = bytes.len();
    while start < end && is_blank(bytes[start]) {
        start += 1;
    }
    while start < end && is_blank(bytes[end - 1]) {
        end -= 1;
    }
    &bytes[start..end]
}

/// Text that is ASCII by an earlier check; nothing when it is not.
#[inline]
pub(super) fn ascii(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

/// A piece of the input by its offsets, which stay true when the bytes are shown again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) const NONE: Self = Self { start: 0, end: 0 };

    pub(super) const fn new(start: usize, end: usize) -> Self {
        // A head is never longer than `u32::MAX`: the scanners are shown no more.
        Self { start: start as u32, end: end as u32 }
    }

    /// The piece of `input`; nothing when the caller shows less than before.
    pub(super) fn of(self, input: &[u8]) -> &[u8] {
        input.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_runs_end_where_the_naive_walk_says() {
        for byte in 0..=255u8 {
            for len in 0..40 {
                for at in 0..len {
                    let mut bytes = [b'a'; 40];
                    bytes[at] = byte;
                    let bytes = &bytes[..len];
                    let naive = bytes.iter().position(|&byte| !is_tchar(byte)).unwrap_or(len);
                    assert_eq!(skip_tchars(bytes, 0), naive, "{byte:#x} at {at} of {len}");
                    assert_eq!(skip_tchars(bytes, at), naive.max(at), "{byte:#x} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn text_runs_end_where_the_naive_walk_says() {
        for byte in 0..=255u8 {
            for len in 0..40 {
                for at in 0..len {
                    let mut bytes = [b'a'; 40];
                    bytes[at] = byte;
                    let bytes = &bytes[..len];
                    let naive = bytes.iter().position(|&byte| !is_text(byte)).unwrap_or(len);
                    assert_eq!(skip_text(bytes, 0), naive, "{byte:#x} at {at} of {len}");
                }
            }
        }
        // Two hits in one word, a tab before a control byte, and the borrow that follows a hit.
        for bytes in [
            &b"a\tb\x00cdef"[..],
            b"\x1f\x20\x20\x20\x20\x20\x20\x20",
            b"\t\t\t\t\t\t\t\t\n",
            b"\x7f\x7eaaaaaa",
        ] {
            let naive = bytes.iter().position(|&byte| !is_text(byte)).unwrap_or(bytes.len());
            assert_eq!(skip_text(bytes, 0), naive, "{bytes:?}");
        }
    }
}
