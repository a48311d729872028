//! Masking: the exclusive or of a client's payload with its key (RFC 6455, section 5.3).
//!
//! "Octet i of the transformed data is the XOR of octet i of the original data with octet at index i modulo 4 of the
//! masking key." Masking and unmasking are the same step.
//!
//! Every function takes the key in the phase of the first byte it is given; [`rotate`] brings it there when a
//! payload arrives in parts. The loops go by words, of which the compiler makes vector instructions. The last word is
//! read before the others are written and written after them: it overlaps the one before it, so no tail is left to do
//! byte by byte. Blocks of several words in an outer loop were measured: they gain nothing on long payloads, and cost
//! a short one as much again.

use core::ops::Range;

/// What [`mask_within`] moves at once; a multiple of the key.
const BLOCK: usize = 64;

/// The key as it stands `offset` bytes further into the payload.
#[inline]
pub const fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (offset & 3) as u32).to_le_bytes()
}

/// Masks or unmasks `bytes` in place.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let len = bytes.len();
    let Some(last) = bytes.last_chunk().copied() else { return mask_short(bytes, key) };
    let last = xor(last, rotate(key, len));
    for word in bytes.as_chunks_mut().0 {
        *word = xor(*word, key);
    }
    if let Some(end) = bytes.last_chunk_mut() {
        *end = last;
    }
}

/// Copies `src` to the start of `dst`, masked or unmasked. The shorter of the two tells how much.
#[inline]
pub fn mask_copy(src: &[u8], dst: &mut [u8], key: [u8; 4]) {
    let len = src.len().min(dst.len());
    let (src, dst) = (&src[..len], &mut dst[..len]);
    let Some(last) = src.last_chunk().copied() else { return mask_copy_short(src, dst, key) };
    for (from, to) in src.as_chunks().0.iter().zip(dst.as_chunks_mut().0) {
        *to = xor(*from, key);
    }
    if let Some(end) = dst.last_chunk_mut() {
        *end = xor(last, rotate(key, len));
    }
}

/// Moves `bytes[src]` left to `dst` and masks or unmasks it on the way, in one pass; the two places may overlap.
///
/// What `src` names outside `bytes` is left out. With `dst` right of `src` nothing is moved: a fragment only ever
/// moves towards the message that it continues.
pub fn mask_within(bytes: &mut [u8], src: Range<usize>, dst: usize, key: [u8; 4]) {
    let end = src.end.min(bytes.len());
    if dst > src.start || src.start >= end {
        return;
    }
    // From here on the place begins at 0, and the source lies `gap` bytes behind it.
    let (gap, len) = (src.start - dst, end - src.start);
    let bytes = &mut bytes[dst..end];
    let mut at = 0;
    if gap != 0 {
        // The compiler cannot know that the gap is no overlap to the right, and would go by single words. So each
        // block is read whole before it is written; what it overwrites beyond itself has been read before.
        while let Some(block) = bytes.get(at + gap..).and_then(<[u8]>::first_chunk) {
            let block = xor_block(*block, key);
            bytes[at..at + BLOCK].copy_from_slice(&block);
            at += BLOCK;
        }
        bytes.copy_within(at + gap.., at);
    }
    mask(&mut bytes[at..len], key);
}

/// Fewer than 8 bytes: two overlapping half words, or each byte by itself.
#[inline]
fn mask_short(bytes: &mut [u8], key: [u8; 4]) {
    let len = bytes.len();
    let Some(last) = bytes.last_chunk().copied() else {
        for (byte, key) in bytes.iter_mut().zip(key) {
            *byte ^= key;
        }
        return;
    };
    if let Some(start) = bytes.first_chunk_mut() {
        *start = xor_half(*start, key);
    }
    if let Some(end) = bytes.last_chunk_mut() {
        *end = xor_half(last, rotate(key, len));
    }
}

/// The same from `src` to `dst`, of one length; to copy first and mask then would wait for the copy to be written.
#[inline]
fn mask_copy_short(src: &[u8], dst: &mut [u8], key: [u8; 4]) {
    let (Some(first), Some(last)) = (src.first_chunk(), src.last_chunk()) else {
        for ((to, from), key) in dst.iter_mut().zip(src).zip(key) {
            *to = from ^ key;
        }
        return;
    };
    if let Some(start) = dst.first_chunk_mut() {
        *start = xor_half(*first, key);
    }
    if let Some(end) = dst.last_chunk_mut() {
        *end = xor_half(*last, rotate(key, src.len()));
    }
}

#[inline(always)]
fn xor_half(half: [u8; 4], key: [u8; 4]) -> [u8; 4] {
    (u32::from_le_bytes(half) ^ u32::from_le_bytes(key)).to_le_bytes()
}

#[inline(always)]
fn xor(word: [u8; 8], key: [u8; 4]) -> [u8; 8] {
    // In numbers, not as an array of 8 bytes: that would go through the stack.
    let half = u64::from(u32::from_le_bytes(key));
    (u64::from_le_bytes(word) ^ (half | half << 32)).to_le_bytes()
}

#[inline(always)]
fn xor_block(mut block: [u8; BLOCK], key: [u8; 4]) -> [u8; BLOCK] {
    for word in block.as_chunks_mut().0 {
        *word = xor(*word, key);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    /// The rule of section 5.3, letter by letter.
    fn by_bytes(bytes: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ key[(i + phase) % 4]).collect()
    }

    /// Bytes in which no two neighbourhoods look alike.
    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 131 + i / 7 + 3) as u8).collect()
    }

    #[test]
    fn rotate_follows_the_payload() {
        for offset in 0..9 {
            let expected = [0, 1, 2, 3].map(|i| KEY[(i + offset) % 4]);
            assert_eq!(rotate(KEY, offset), expected, "{offset}");
        }
        assert_eq!(rotate(KEY, usize::MAX), rotate(KEY, 3));
    }

    /// F-15: in place, at every length, offset in the buffer and phase of the key; nothing beside it changes.
    #[test]
    fn f15_mask_equals_the_bytewise_rule() {
        for len in 0..200 {
            for offset in 0..8 {
                for phase in 0..4 {
                    let before = sample(offset + len + 9);
                    let mut bytes = before.clone();
                    mask(&mut bytes[offset..offset + len], rotate(KEY, phase));
                    assert_eq!(bytes[..offset], before[..offset]);
                    assert_eq!(
                        bytes[offset..offset + len],
                        by_bytes(&before[offset..offset + len], KEY, phase)
                    );
                    assert_eq!(bytes[offset + len..], before[offset + len..]);
                }
            }
        }
    }

    /// F-15: while copying; the shorter side decides, and nothing beside it changes.
    #[test]
    fn f15_mask_copy_equals_the_bytewise_rule() {
        for len in 0..200 {
            for phase in 0..4 {
                let src = sample(len);
                for room in [len, len + 11, len.saturating_sub(5)] {
                    let mut dst = std::vec![0x55; room];
                    mask_copy(&src, &mut dst, rotate(KEY, phase));
                    let n = len.min(room);
                    assert_eq!(dst[..n], by_bytes(&src[..n], KEY, phase));
                    assert!(dst[n..].iter().all(|&byte| byte == 0x55));
                }
            }
        }
    }

    /// F-15: while moving left, over every small gap and some large ones; nothing beyond the place changes.
    #[test]
    fn f15_mask_within_equals_the_bytewise_rule() {
        for len in 0..200 {
            for gap in (0..20).chain([31, 32, 33, 63, 64, 65, 250]) {
                for dst in [0, 3] {
                    let phase = len + gap;
                    let before = sample(dst + gap + len + 9);
                    let mut bytes = before.clone();
                    let src = dst + gap..dst + gap + len;
                    mask_within(&mut bytes, src.clone(), dst, rotate(KEY, phase));
                    assert_eq!(bytes[..dst], before[..dst]);
                    assert_eq!(bytes[dst..dst + len], by_bytes(&before[src], KEY, phase), "{len} {gap}");
                    assert_eq!(bytes[dst + len..][gap..], before[dst + len..][gap..]);
                }
            }
        }
    }

    #[test]
    fn mask_within_takes_odd_ranges_without_a_panic() {
        for (src, dst) in [
            (0..0, 0),
            (Range { start: 5, end: 3 }, 0),
            (2..9, 3),
            (40..50, 0),
            (usize::MAX..usize::MAX, 0),
            (3..5, 9),
        ] {
            let mut bytes = sample(32);
            mask_within(&mut bytes, src, dst, KEY);
            assert_eq!(bytes, sample(32));
        }
        let mut bytes = sample(32);
        mask_within(&mut bytes, 8..usize::MAX, 0, KEY);
        assert_eq!(bytes[..24], by_bytes(&sample(32)[8..], KEY, 0));
    }

    proptest! {
        /// F-15: a payload unmasked in parts, wherever it is cut, equals the payload unmasked at once.
        #[test]
        fn f15_parts_equal_the_whole(
            payload in proptest::collection::vec(any::<u8>(), 0..600),
            key: [u8; 4],
            cuts in proptest::collection::vec(0usize..600, 0..6),
        ) {
            let whole = by_bytes(&payload, key, 0);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(payload.len())).collect();
            cuts.sort_unstable();
            cuts.push(payload.len());
            let mut parts = payload;
            let mut at = 0;
            for cut in cuts {
                mask(&mut parts[at..cut], rotate(key, at));
                at = cut;
            }
            prop_assert_eq!(parts, whole);
        }

        /// F-15: moving with a mask equals moving, then masking.
        #[test]
        fn f15_within_equals_move_then_mask(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            key: [u8; 4],
            start in 0usize..600,
            len in 0usize..600,
            gap in 0usize..600,
        ) {
            let start = start.min(bytes.len());
            let end = (start + len).min(bytes.len());
            let dst = start.saturating_sub(gap);
            let mut moved = bytes.clone();
            moved.copy_within(start..end, dst);
            let expected = by_bytes(&moved[dst..dst + end - start], key, 0);
            let mut bytes = bytes;
            mask_within(&mut bytes, start..end, dst, key);
            prop_assert_eq!(&bytes[dst..dst + end - start], &expected[..]);
        }
    }
}
