//! Checks that content generated from a few bytes, long enough for several blocks and windows, is compressed within the
//! bound, and inflated to the same, at every level and window.

use ws_core::deflate::{Deflater, Inflater, Pool, WindowBits};

/// Two bytes of settings. Then operations of three bytes each, which make content: noise, a few symbols, a repetition from a
/// given distance, or the end of the message.
pub fn check(data: &[u8]) {
    let [setting, level, operations @ ..] = data else { return };
    let window = WindowBits::new(8 + setting % 8).expect("8 to 15");
    let mut d = Deflater::new(window, setting & 8 != 0, 1 + level % 9, Pool::shared());
    let mut i = Inflater::new(window, setting & 8 != 0, Pool::shared());
    let (mut content, mut begin, mut state) = (Vec::new(), 0, 1_u32);
    for (operation, [kind, low, high]) in operations.as_chunks::<3>().0.iter().enumerate() {
        let number = usize::from(*low) | usize::from(*high) << 8;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        match kind % 4 {
            0 => content.extend((0..number / 8).map(|_| noise())),
            1 => content.extend((0..number / 4).map(|_| b"{\"a\":0,}"[usize::from(noise() % 8)])),
            2 => {
                let far = content.len().min(number).max(1);
                (0..4 + usize::from(kind / 4) * 32)
                    .for_each(|_| content.push(*content.iter().nth_back(far - 1).unwrap_or(&7)));
            }
            _ => {
                round_trip(&mut d, &mut i, &content[begin..], number);
                begin = content.len();
            }
        }
        if operation == 64 || content.len() > 1 << 19 {
            break;
        }
    }
    round_trip(&mut d, &mut i, &content[begin..], usize::from(*level));
}

/// One message in two pieces.
fn round_trip(d: &mut Deflater, i: &mut Inflater, message: &[u8], cut: usize) {
    let (first, second) = message.split_at(cut.min(message.len()));
    let mut payload = vec![0; d.bound(first.len()) + d.bound(second.len())];
    let mut len = d.deflate(first, false, &mut payload).expect("room");
    assert!(len < d.bound(first.len()));
    let rest = d.deflate(second, true, &mut payload[len..]).expect("room");
    assert!(rest < d.bound(second.len()));
    len += rest;
    let mut out = vec![0; message.len() + 1];
    let step = i.inflate(&payload[..len], &mut out).expect("valid");
    let end = i.finish(&mut out[step.written..]).expect("valid");
    assert!(end.done && step.taken == len && out[..step.written + end.written] == *message);
}
