//! How far back our compressor refers, as another inflater saw it.

use super::audit::Audit;
use super::content::Random;
use super::{deflate, deflater, inflate, inflater};

/// DP-03, DP-11, DP-12, DP-13: never farther than 2^w, nor beyond what was forgotten; no final block; an empty stored
/// block at the end. At every window and level, with and without takeover, over parks and resets.
#[test]
fn dp11_never_farther_than_the_window() {
    let mut farthest = [0; 16];
    for window in 9..=15 {
        for level in 0..=9 {
            for takeover in [true, false] {
                let mut random =
                    Random::new(u64::from(window) * 100 + u64::from(level) * 2 + u64::from(takeover));
                let (mut d, mut i) = (deflater(window, takeover, level), inflater(window, takeover));
                let mut audit = Audit::default();
                // Larger than the window and its margin, so that there is something to go too far back to.
                for len in
                    [700, 1, 0, 40, 5000, 300, 600, if level % 3 == 1 { 70_000 } else { 9000 }, 2000, 30]
                {
                    if random.below(3) == 0 {
                        d.park();
                        i.park();
                    }
                    let forget = random.below(5) == 0;
                    if forget {
                        d.forget();
                    }
                    if forget || !takeover {
                        audit.floor = audit.plain.len();
                    }
                    let message = random.content(len);
                    let pieces: Vec<&[u8]> =
                        if len == 0 { vec![&[]] } else { message.chunks(len / 2 + 1).collect() };
                    let payload = deflate(&mut d, &pieces);
                    assert_eq!(audit.read(&payload), Some(&*message), "{window} {level} {takeover} {len}");
                    assert!(
                        audit.farthest <= 1 << window,
                        "{} at {window} bits, level {level}",
                        audit.farthest
                    );
                    assert!(audit.blocks.iter().all(|block| !block.1));
                    assert_eq!(audit.blocks.last(), Some(&(0, false)));
                    farthest[usize::from(window)] = audit.farthest.max(farthest[usize::from(window)]);
                    assert_eq!(inflate(&mut i, &[&payload], 3000).unwrap(), message);
                }
            }
        }
    }
    // They do use their windows, up to the margin of the longest reference.
    for (window, farthest) in farthest.into_iter().enumerate().skip(9) {
        assert!(farthest + 1024 >= 1 << window || farthest * 3 >= 1 << window, "{farthest} at {window} bits");
    }
}

/// DP-13, DP-14: what is known to both sides by takeover is still known after both were parked, up to the whole
/// window, and a parked direction holds nothing live.
#[test]
fn dp13_parked_windows_still_count() {
    for window in 9..=15_u8 {
        let mut random = Random::new(window.into());
        for level in 1..=9 {
            let (mut d, mut i) = (deflater(window, true, level), inflater(window, true));
            assert!(!d.is_live() && !i.is_live());
            let noise = random.bytes(200);
            let first = deflate(&mut d, &[&noise]);
            inflate(&mut i, &[&first], 512).unwrap();
            assert!(d.is_live() && i.is_live());
            d.park();
            i.park();
            assert!(!d.is_live() && !i.is_live());
            let second = deflate(&mut d, &[&noise]);
            assert!(second.len() < 20, "{} bytes at {window} bits, level {level}", second.len());
            assert_eq!(inflate(&mut i, &[&second], 512).unwrap(), noise);
            // A park within a message has no effect on the receiver.
            let third = deflate(&mut d, &[&noise]);
            let mut out = [0; 256];
            let step = i.inflate(&third[..1], &mut out).unwrap();
            i.park();
            assert!(i.is_live() && step.taken == 1);
            let rest = i.inflate(&third[1..], &mut out[step.written..]).unwrap();
            assert_eq!(&out[..step.written + rest.written], noise);
            assert!(i.finish(&mut out).unwrap().done);
            // Without takeover nothing is live between messages.
            let (mut d, mut i) = (deflater(window, false, level), inflater(window, false));
            inflate(&mut i, &[&deflate(&mut d, &[&noise])], 512).unwrap();
            assert!(!d.is_live() && !i.is_live());
        }
    }
    // DP-14: 32 768 bytes back, live and parked: a fixed block with that distance, after stored noise.
    for parked in [false, true] {
        let (mut d, mut i) = (deflater(15, false, 0), inflater(15, true));
        let noise = Random::new(9).bytes(32_768);
        inflate(&mut i, &[&deflate(&mut d, &[&noise])], 999).unwrap();
        if parked {
            i.park();
        }
        // 0 01 | length 3: 0000001 | distance 32 768: 11101, 13 ones | end: 0000000 | stored: 0 00.
        assert_eq!(
            inflate(&mut i, &[&bits("010 0000001 11101 1111111111111 0000000 000")], 9).unwrap(),
            noise[..3]
        );
    }
}

/// Octets from bits in the order of a stream.
fn bits(stream: &str) -> Vec<u8> {
    let bits: Vec<u8> = stream.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |octet, bit| octet << 1 | bit)).collect()
}
