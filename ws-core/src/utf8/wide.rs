//! UTF-8 by vectors of 64 bytes, where the processor has them.
//!
//! To check a text of all kinds of characters costs as much as all else that is done with it. simdutf8 goes by 32 bytes;
//! this goes by 64, and takes little more than half of its time.
//!
//! The algorithm is the one of simdutf8 (Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte", 2021).
//! Whether a byte is in order is decided by itself and the three before it: three tables are looked up, by both halves of
//! the byte before and the first half of this one. Each gives the set of mistakes that it allows for, and what is in all
//! three sets was made. The bytes before are not shifted into place but loaded again from where they stand: the ports that
//! shift are the ones that look up.
//!
//! Only for processors that have the bytewise permutations of AVX-512 (since 2019): those before them slow down for vectors
//! so wide.

use core::arch::x86_64::{
    __m512i, _mm_set_epi64x, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_maskz_permutexvar_epi8,
    _mm512_max_epu8, _mm512_movepi8_mask, _mm512_or_si512, _mm512_permutexvar_epi8, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_srli_epi16, _mm512_sub_epi8, _mm512_subs_epu8, _mm512_test_epi8_mask,
    _mm512_xor_si512,
};

use crate::vectors::{load, where_found};

/// What is looked at together.
const BLOCK: usize = 64;

/// A block, and the three bytes before it.
const WINDOW: usize = BLOCK + 3;

/// Whether `bytes` are UTF-8; `None`: not by this processor, or too short for it.
#[inline]
pub(super) fn validate(bytes: &[u8]) -> Option<bool> {
    if bytes.len() < WINDOW {
        return None;
    }
    where_found!("avx512f" && "avx512bw" && "avx512vbmi", fn(bytes: &[u8]) -> bool { is_utf8(bytes) })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn is_utf8(bytes: &[u8]) -> bool {
    let tables = Tables::new();
    let mut at = ascii_blocks(bytes);
    let mut mistakes = _mm512_setzero_si512();
    if at == 0
        && let Some(first) = bytes.first_chunk()
    {
        mistakes = tables.mistakes_at_start(load(first));
        at = BLOCK;
    }
    while let Some(window) = bytes.get(at - 3..).and_then(<[u8]>::first_chunk) {
        if is_ascii(block::<3>(window)) {
            // The tables would find nothing here but that the character before it is not complete.
            if ends_inside(&bytes[..at]) {
                return false;
            }
            at += ascii_blocks(&bytes[at..]);
        } else {
            mistakes = _mm512_or_si512(mistakes, tables.mistakes(window));
            at += BLOCK;
        }
    }
    // The last block overlaps the one before: that the same bytes are looked at twice does not matter.
    if at < bytes.len()
        && let Some(window) = bytes.last_chunk()
    {
        mistakes = _mm512_or_si512(mistakes, tables.mistakes(window));
    }
    !ends_inside(bytes) && _mm512_test_epi8_mask(mistakes, mistakes) == 0
}

/// How many bytes at the front are blocks of ASCII.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn ascii_blocks(bytes: &[u8]) -> usize {
    let mut at = 0;
    // Four with one test as long as it goes: one by one the tests would take longer than the loads.
    for four in bytes.as_chunks::<{ 4 * BLOCK }>().0 {
        let [a, b, c, d] = four.as_chunks().0 else { break };
        let [a, b, c, d] = [load(a), load(b), load(c), load(d)];
        if !is_ascii(_mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d))) {
            break;
        }
        at += 4 * BLOCK;
    }
    for block in bytes[at..].as_chunks().0 {
        if !is_ascii(load(block)) {
            break;
        }
        at += BLOCK;
    }
    at
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn is_ascii(bytes: __m512i) -> bool {
    _mm512_movepi8_mask(bytes) == 0
}

/// Whether the text ends inside a character.
#[inline(always)]
fn ends_inside(bytes: &[u8]) -> bool {
    bytes.last_chunk().is_some_and(|&[a, b, c]| a >= 0xF0 || b >= 0xE0 || c >= 0xC0)
}

/// The block that begins at a byte of a window.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn block<const AT: usize>(window: &[u8; WINDOW]) -> __m512i {
    match window[AT..].first_chunk() {
        Some(bytes) => load(bytes),
        None => _mm512_setzero_si512(),
    }
}

/// Mistakes that two bytes in a row can be, RFC 3629, section 4. One bit each; the last two share one, as no pair is both.
const TOO_SHORT: u8 = 1 << 0;
const TOO_LONG: u8 = 1 << 1;
const OVERLONG_3: u8 = 1 << 2;
const TOO_LARGE: u8 = 1 << 3;
const SURROGATE: u8 = 1 << 4;
const OVERLONG_2: u8 = 1 << 5;
const OVERLONG_4: u8 = 1 << 6;
const FAR_TOO_LARGE: u8 = 1 << 6;
/// No mistake by itself: the byte before decides whether a third or fourth byte of a character stands here.
const TWO_FOLLOW: u8 = 1 << 7;
/// What the second half of the first byte says nothing about.
const ANY: u8 = TOO_SHORT | TOO_LONG | TWO_FOLLOW;

/// By the first half of the byte before.
const BEFORE_HIGH: [u8; 16] = {
    let mut table = [TOO_LONG; 16];
    let mut i = 0x8;
    while i < 0xC {
        table[i] = TWO_FOLLOW;
        i += 1;
    }
    table[0xC] = TOO_SHORT | OVERLONG_2;
    table[0xD] = TOO_SHORT;
    table[0xE] = TOO_SHORT | OVERLONG_3 | SURROGATE;
    table[0xF] = TOO_SHORT | TOO_LARGE | FAR_TOO_LARGE | OVERLONG_4;
    table
};

/// By its second half.
const BEFORE_LOW: [u8; 16] = {
    let mut table = [ANY | TOO_LARGE | FAR_TOO_LARGE; 16];
    table[0x0] = ANY | OVERLONG_2 | OVERLONG_3 | OVERLONG_4;
    table[0x1] = ANY | OVERLONG_2;
    table[0x2] = ANY;
    table[0x3] = ANY;
    table[0x4] = ANY | TOO_LARGE;
    table[0xD] |= SURROGATE;
    table
};

/// By the first half of the byte itself.
const HIGH: [u8; 16] = {
    const FOLLOWS: u8 = TOO_LONG | OVERLONG_2 | TWO_FOLLOW;
    let mut table = [TOO_SHORT; 16];
    table[0x8] = FOLLOWS | OVERLONG_3 | OVERLONG_4 | FAR_TOO_LARGE;
    table[0x9] = FOLLOWS | OVERLONG_3 | TOO_LARGE;
    table[0xA] = FOLLOWS | SURROGATE | TOO_LARGE;
    table[0xB] = FOLLOWS | SURROGATE | TOO_LARGE;
    table
};

/// The tables, in registers.
struct Tables {
    before_high: __m512i,
    before_low: __m512i,
    high: __m512i,
}

impl Tables {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn new() -> Self {
        Self { before_high: spread(BEFORE_HIGH), before_low: spread(BEFORE_LOW), high: spread(HIGH) }
    }

    /// The mistakes in a block, by place; zeros where there is none.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn mistakes(&self, window: &[u8; WINDOW]) -> __m512i {
        self.judge(block::<3>(window), block::<2>(window), block::<1>(window), block::<0>(window))
    }

    /// The same of the first block, before which there is nothing.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn mistakes_at_start(&self, bytes: __m512i) -> __m512i {
        const PLACES: [u8; BLOCK] = {
            let mut places = [0; BLOCK];
            let mut i = 0;
            while i < BLOCK {
                places[i] = i as u8;
                i += 1;
            }
            places
        };
        let one = _mm512_set1_epi8(1);
        let by_one = _mm512_sub_epi8(load(&PLACES), one);
        let by_two = _mm512_sub_epi8(by_one, one);
        let by_three = _mm512_sub_epi8(by_two, one);
        self.judge(
            bytes,
            _mm512_maskz_permutexvar_epi8(!0b1, by_one, bytes),
            _mm512_maskz_permutexvar_epi8(!0b11, by_two, bytes),
            _mm512_maskz_permutexvar_epi8(!0b111, by_three, bytes),
        )
    }

    /// `before[n]` stands `n + 1` bytes before each of `bytes`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn judge(&self, bytes: __m512i, before: __m512i, before2: __m512i, before3: __m512i) -> __m512i {
        // Only the last six bits of a place count here, and the tables repeat after four: what is above may stay.
        let high = |bytes| _mm512_srli_epi16::<4>(bytes);
        let a = _mm512_permutexvar_epi8(high(before), self.before_high);
        let b = _mm512_permutexvar_epi8(before, self.before_low);
        let c = _mm512_permutexvar_epi8(high(bytes), self.high);
        let pairs = _mm512_and_si512(_mm512_and_si512(a, b), c);
        // The first bit is set where the byte two before is at least E0, or the one three before at least F0: there a
        // third or fourth byte must stand, and two that follow are right there and nowhere else.
        let lead = _mm512_max_epu8(before2, _mm512_subs_epu8(before3, _mm512_set1_epi8(0x10)));
        let must_follow = _mm512_subs_epu8(lead, _mm512_set1_epi8(0xE0_u8.wrapping_sub(0x80) as i8));
        let must_follow = _mm512_and_si512(must_follow, _mm512_set1_epi8(TWO_FOLLOW as i8));
        _mm512_xor_si512(must_follow, pairs)
    }
}

/// A table in each of the four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn spread(table: [u8; 16]) -> __m512i {
    let number = u128::from_le_bytes(table);
    _mm512_broadcast_i32x4(_mm_set_epi64x((number >> 64) as i64, number as i64))
}

#[cfg(test)]
mod tests {
    use crate::utf8::validate;
    use core::str::from_utf8;
    use std::vec::Vec;

    /// The first and the last byte of each range that RFC 3629 tells from others.
    const CLASSES: [u8; 24] = [
        0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
        0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ];

    /// U-09: four bytes of all classes across the ends of blocks and of the text, in ASCII and in text of every width.
    ///
    /// Where the processor has no such vectors this compares what stands in for them.
    #[test]
    fn u09_mistakes_are_found_wherever_blocks_begin_and_end() {
        // The widths of its characters have their ends at any place of a block.
        let mixed: Vec<u8> = "aé€😀".bytes().cycle().take(330).collect();
        for text in [&[b'x'; 330][..], &mixed] {
            for at in [0, 60, 61, 62, 63, 64, 125, 189, 253, 256, 317] {
                // Cut and put in between two characters.
                let start = (at..).find(|&at| text[at] & 0xC0 != 0x80).unwrap_or(at);
                for i in 0..CLASSES.len().pow(4) {
                    if i % 7 != at % 7 {
                        continue;
                    }
                    let four =
                        [0, 1, 2, 3].map(|place| CLASSES[i / CLASSES.len().pow(place) % CLASSES.len()]);
                    let mut bytes = [&text[..start], &four, &text[start..]].concat();
                    for len in [bytes.len(), start + 4, start + 2].into_iter().filter(|&len| len > 66) {
                        bytes.truncate(len);
                        assert_eq!(
                            validate(&bytes).is_ok(),
                            from_utf8(&bytes).is_ok(),
                            "{four:02X?} at {start} of {len}"
                        );
                    }
                }
            }
        }
    }

    /// U-02, U-09: every length from the shortest one on, with its last character whole and cut.
    #[test]
    fn u02_texts_of_every_length_end_between_characters() {
        let mixed: Vec<u8> = "aé€😀 and plain text".bytes().cycle().take(400).collect();
        for len in 60..mixed.len() {
            let bytes = &mixed[..len];
            assert_eq!(validate(bytes).is_ok(), from_utf8(bytes).is_ok(), "{len}");
        }
    }
}
