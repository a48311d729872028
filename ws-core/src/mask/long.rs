//! Payloads that are worth a call: by the widest vectors that the processor has, and by aligned ones.
//!
//! A payload begins wherever its header ends. A vector that straddles two cache lines is written at half the speed, so all
//! vectors but the first and the last are aligned. These two are read before the others are written and written after them,
//! wherever they stand: they overlap their neighbours, and both write the same.
//!
//! Each function is compiled twice, for the vectors that every processor of the target has, and for the 32 bytes of AVX2.
//! Which of them runs is decided at run time, for each payload.

use super::{SHORT, copy_ends, mask_ends, put_ends, rotate, xor};
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use crate::vectors::where_found;

/// What a loop takes at once: the vector of AVX2, two of those that every x86-64 has.
const VECTOR: usize = 32;

type Vector = [u8; VECTOR];

/// Up to this length alignment costs more than it brings.
const MEDIUM: usize = 2 * SHORT;

/// A function that is compiled twice, and chooses.
macro_rules! by_widest_vectors {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        #[inline(never)]
        pub(super) fn $name($($arg: $type),*) {
            #[inline(always)]
            fn run($($arg: $type),*) $body

            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            if where_found!("avx2", fn($($arg: $type),*) -> () { run($($arg),*) }).is_some() {
                return;
            }
            run($($arg),*);
        }
    };
}

by_widest_vectors! {
    /// Masks `bytes`, of which there are more than [`SHORT`].
    fn mask(bytes: &mut [u8], key: [u8; 4]) {
        if bytes.len() <= MEDIUM {
            return mask_ends::<SHORT>(bytes, key, xor);
        }
        let Some((first, last)) = ends(bytes) else { return };
        let (first, last) = (xor(*first, key), xor(*last, rotate(key, bytes.len())));
        let head = until_aligned(bytes);
        let turned = rotate(key, head);
        for vector in bytes[head..].as_chunks_mut::<VECTOR>().0 {
            *vector = xor(*vector, turned);
        }
        put_ends(bytes, first, last);
    }
}

by_widest_vectors! {
    /// Masks `src` into `dst`, which is as long: more than [`SHORT`].
    fn mask_copy(src: &[u8], dst: &mut [u8], key: [u8; 4]) {
        if src.len() <= MEDIUM {
            return copy_ends::<SHORT>(src, dst, key, xor);
        }
        let head = until_aligned(dst);
        let turned = rotate(key, head);
        let (from, to) = (src[head..].as_chunks::<VECTOR>().0, dst[head..].as_chunks_mut::<VECTOR>().0);
        for (from, to) in from.iter().zip(to) {
            *to = xor(*from, turned);
        }
        copy_ends::<VECTOR>(src, dst, key, xor);
    }
}

by_widest_vectors! {
    /// Moves `bytes[gap..]`, of which there are more than [`SHORT`], to the front of `bytes` and masks it on the way.
    ///
    /// The compiler cannot know that a place never lies to the right of what is moved there, and would go by single words.
    /// So each vector is read whole before it is written; what that overwrites beyond itself has been read before.
    fn mask_left(bytes: &mut [u8], gap: usize, key: [u8; 4]) {
        let src = &bytes[gap..];
        let Some((first, last)) = ends(src) else { return };
        let len = src.len();
        let (first, last) = (xor(*first, key), xor(*last, rotate(key, len)));
        let mut at = until_aligned(bytes);
        let turned = rotate(key, at);
        while let Some(vector) = bytes.get(at + gap..).and_then(<[u8]>::first_chunk::<VECTOR>) {
            let vector = xor(*vector, turned);
            bytes[at..at + VECTOR].copy_from_slice(&vector);
            at += VECTOR;
        }
        put_ends(&mut bytes[..len], first, last);
    }
}

#[inline(always)]
fn ends(bytes: &[u8]) -> Option<(&Vector, &Vector)> {
    bytes.first_chunk().zip(bytes.last_chunk())
}

/// How many bytes are before the first aligned vector behind the first byte: 1 to `VECTOR`.
#[inline(always)]
fn until_aligned(bytes: &[u8]) -> usize {
    VECTOR - bytes.as_ptr().addr() % VECTOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    /// The rule of section 5.3, letter by letter.
    fn by_bytes(bytes: &[u8], key: [u8; 4]) -> Vec<u8> {
        bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    /// Calls `check` for lengths about each bound, offsets about that of a vector, and phases of the key, with a buffer
    /// whose payload lies at the offset. Fewer of them under Miri, which has no AVX2: there it is the other copy that runs.
    fn each(mut check: impl FnMut(usize, usize, [u8; 4], &[u8])) {
        let (len_step, step) = if cfg!(miri) { (47, 13) } else { (1, 1) };
        let lens = [SHORT + 1..SHORT + 70, MEDIUM - 3..MEDIUM + 70, 1000..1003];
        for len in lens.into_iter().flatten().step_by(len_step) {
            for offset in (0..2 * VECTOR + 2).step_by(step) {
                let buffer: Vec<u8> = (0..offset + len + 9).map(|i| (i * 131 + i / 7 + 3) as u8).collect();
                check(offset, len, rotate(KEY, offset + len / 3), &buffer);
            }
        }
    }

    /// F-15: in place, by whichever copy this processor runs; nothing beside the payload changes.
    #[test]
    fn f15_a_long_mask_equals_the_bytewise_rule() {
        each(|offset, len, key, before| {
            let (mut bytes, end) = (Vec::from(before), offset + len);
            mask(&mut bytes[offset..end], key);
            assert_eq!(bytes[..offset], before[..offset], "{len} at {offset}");
            assert_eq!(bytes[offset..end], by_bytes(&before[offset..end], key), "{len} at {offset}");
            assert_eq!(bytes[end..], before[end..], "{len} at {offset}");
        });
    }

    /// F-15: while copying, from and to any alignment.
    #[test]
    fn f15_a_long_mask_copy_equals_the_bytewise_rule() {
        each(|offset, len, key, src| {
            for dst_offset in [0, 1, VECTOR - 1, VECTOR] {
                let mut dst = std::vec![0x55; dst_offset + len + 9];
                mask_copy(&src[offset..offset + len], &mut dst[dst_offset..dst_offset + len], key);
                assert_eq!(
                    dst[dst_offset..][..len],
                    by_bytes(&src[offset..offset + len], key),
                    "{len} {offset}"
                );
                assert!(dst[..dst_offset].iter().chain(&dst[dst_offset + len..]).all(|&byte| byte == 0x55));
            }
        });
    }

    /// F-15: while moving left, over gaps less than a vector and greater.
    #[test]
    fn f15_a_long_mask_left_equals_the_bytewise_rule() {
        each(|gap, len, key, before| {
            for start in [0, 1, VECTOR - 1] {
                let mut bytes = [&[0x55; VECTOR][..start], before].concat();
                mask_left(&mut bytes[start..start + gap + len], gap, key);
                assert!(bytes[..start].iter().all(|&byte| byte == 0x55));
                assert_eq!(bytes[start..][..len], by_bytes(&before[gap..gap + len], key), "{len} over {gap}");
                assert_eq!(bytes[start + len..][gap..], before[gap + len..], "{len} over {gap}");
            }
        });
    }
}
