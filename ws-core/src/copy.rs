//! Copies of a few bytes.

/// Copies at most 125 bytes by a chunk at either end, which may overlap: for so few a call of `memcpy` costs as much again.
#[inline(always)]
pub(crate) fn copy_short(src: &[u8], dst: &mut [u8]) {
    match src.len() {
        8..=16 => copy_ends::<8>(src, dst),
        len if len > 64 => copy_ends::<64>(src, dst),
        len if len > 32 => copy_ends::<32>(src, dst),
        len if len > 16 => copy_ends::<16>(src, dst),
        len if len >= 4 => copy_ends::<4>(src, dst),
        len if len >= 2 => copy_ends::<2>(src, dst),
        _ => copy_ends::<1>(src, dst),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(src: &[u8], dst: &mut [u8]) {
    if let (Some(first), Some(start)) = (src.first_chunk::<N>(), dst.first_chunk_mut()) {
        *start = *first;
    }
    if let (Some(last), Some(end)) = (src.last_chunk::<N>(), dst.last_chunk_mut()) {
        *end = *last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_and_nothing_else() {
        let src: [u8; 125] = core::array::from_fn(|i| i as u8 + 1);
        for len in 0..=125 {
            let mut dst = [0; 130];
            copy_short(&src[..len], &mut dst[..len]);
            assert_eq!(dst[..len], src[..len]);
            assert!(dst[len..].iter().all(|&byte| byte == 0), "{len}");
        }
    }
}
