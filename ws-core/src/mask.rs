//! Masking: the exclusive or of a client's payload with its key (RFC 6455, section 5.3).
//!
//! "Octet i of the transformed data is the XOR of octet i of the original data with octet at index i modulo 4 of the
//! masking key." Masking and unmasking are the same step.
//!
//! Every function takes the key in the phase of the first byte it is given; [`rotate`] brings it there when a
//! payload arrives in parts.
//!
//! There is no tail to do byte by byte: a payload is a chunk at its front and one at its end, each of 4, 8, 16, 32 or 64
//! bytes, and these may overlap; both are read before either is written. So up to 128 bytes there is no loop either. What is
//! longer is worth a call, to loops that go by the widest vectors of the processor.

mod long;

use core::ops::Range;

/// Up to this length two chunks do.
const SHORT: usize = 2 * 64;

/// The key as it stands `offset` bytes further into the payload.
#[inline]
pub const fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (offset & 3) as u32).to_le_bytes()
}

/// Masks or unmasks `bytes` in place.
#[inline(always)]
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    match bytes.len() {
        8..=16 => mask_ends::<8>(bytes, key, xor),
        len if len > SHORT => long::mask(bytes, key),
        len if len > 64 => mask_ends::<64>(bytes, key, xor),
        len if len > 32 => mask_ends::<32>(bytes, key, xor),
        len if len > 16 => mask_ends::<16>(bytes, key, xor),
        len if len >= 4 => mask_ends(bytes, key, xor_half),
        _ => bytes.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key),
    }
}

/// Copies `src` to the start of `dst`, masked or unmasked. The shorter of the two tells how much.
#[inline]
pub fn mask_copy(src: &[u8], dst: &mut [u8], key: [u8; 4]) {
    let len = src.len().min(dst.len());
    let (src, dst) = (&src[..len], &mut dst[..len]);
    match len {
        8..=16 => copy_ends::<8>(src, dst, key, xor),
        len if len > SHORT => long::mask_copy(src, dst, key),
        len if len > 64 => copy_ends::<64>(src, dst, key, xor),
        len if len > 32 => copy_ends::<32>(src, dst, key, xor),
        len if len > 16 => copy_ends::<16>(src, dst, key, xor),
        len if len >= 4 => copy_ends(src, dst, key, xor_half),
        _ => dst.iter_mut().zip(src).zip(key).for_each(|((to, from), key)| *to = from ^ key),
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
    if gap != 0 && len > SHORT {
        return long::mask_left(bytes, gap, key);
    }
    bytes.copy_within(gap.., 0);
    mask(&mut bytes[..len], key);
}

/// Masks a chunk at either end: all of `bytes`, if there are no more than two chunks of them.
#[inline(always)]
fn mask_ends<const N: usize>(bytes: &mut [u8], key: [u8; 4], xor: impl Fn([u8; N], [u8; 4]) -> [u8; N]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (xor(*first, key), xor(*last, rotate(key, bytes.len())));
        put_ends(bytes, first, last);
    }
}

/// The same from `src` to `dst`, of one length.
#[inline(always)]
fn copy_ends<const N: usize>(
    src: &[u8],
    dst: &mut [u8],
    key: [u8; 4],
    xor: impl Fn([u8; N], [u8; 4]) -> [u8; N],
) {
    if let (Some(first), Some(last)) = (src.first_chunk(), src.last_chunk()) {
        put_ends(dst, xor(*first, key), xor(*last, rotate(key, src.len())));
    }
}

#[inline(always)]
fn put_ends<const N: usize>(bytes: &mut [u8], first: [u8; N], last: [u8; N]) {
    if let Some(start) = bytes.first_chunk_mut() {
        *start = first;
    }
    if let Some(end) = bytes.last_chunk_mut() {
        *end = last;
    }
}

#[inline(always)]
fn xor_half(half: [u8; 4], key: [u8; 4]) -> [u8; 4] {
    (u32::from_le_bytes(half) ^ u32::from_le_bytes(key)).to_le_bytes()
}

/// A multiple of 8 bytes.
#[inline(always)]
fn xor<const N: usize>(mut chunk: [u8; N], key: [u8; 4]) -> [u8; N] {
    let half = u64::from(u32::from_le_bytes(key));
    for word in chunk.as_chunks_mut().0 {
        // In numbers, not as an array of 8 bytes: that would go through the stack.
        *word = (u64::from_le_bytes(*word) ^ (half | half << 32)).to_le_bytes();
    }
    chunk
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
