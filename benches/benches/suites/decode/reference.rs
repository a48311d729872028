//! The reference: the minimum that a receiver of masked frames does. It checks that the frame is masked and, for text, that
//! it is UTF-8; it knows no fragments, no control frames, no limits and no time.

use super::{Work, digest};

/// A pass over the case's frames.
pub(crate) fn decoder(case: &Work) -> impl FnMut() -> u64 {
    let mut buffer = vec![0; case.buffer];
    move || {
        let (mut sum, mut filled, mut wire) = (0_u64, 0, &case.wire[..]);
        while !wire.is_empty() {
            let n = (buffer.len() - filled).min(wire.len());
            buffer[filled..filled + n].copy_from_slice(&wire[..n]);
            wire = &wire[n..];
            filled += n;
            let mut start = 0;
            while let Some((head, len, key)) = parse(&buffer[start..filled]) {
                let Some(payload) = buffer[start..filled].get_mut(head..head + len) else { break };
                unmask(payload, key);
                if case.text && simdutf8::basic::from_utf8(payload).is_err() {
                    return 0;
                }
                sum = sum.wrapping_add(digest(payload));
                start += head + len;
            }
            buffer.copy_within(start..filled, 0);
            filled -= start;
        }
        sum
    }
}

/// Length of the header, length of the payload, key.
#[inline(always)]
fn parse(bytes: &[u8]) -> Option<(usize, usize, [u8; 4])> {
    let [_, second, rest @ ..] = bytes else { return None };
    if second & 0x80 == 0 {
        return None;
    }
    let (size, len) = match second & 0x7F {
        126 => (2, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        len => (0, usize::from(len)),
    };
    Some((2 + size + 4, len, *rest.get(size..)?.first_chunk()?))
}

#[inline(always)]
fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let key = u32::from_ne_bytes(key);
    let wide = u64::from(key) << 32 | u64::from(key);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}
