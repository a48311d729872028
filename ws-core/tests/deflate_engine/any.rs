//! What must hold for any content, any pieces, any output slices, any parks and resets, and any bytes at all.

use proptest::collection::vec;
use proptest::prelude::*;
use ws_core::deflate::{Deflater, Inflater, NoRoom, Pool, PoolLimits};

use super::audit::Audit;
use super::content::Random;
use super::{bits, deflate, deflater, inflate, inflater};

#[derive(Clone, Debug)]
enum Step {
    /// A message of some content, in pieces of such sizes, that is inflated into such room.
    Message {
        seed: u64,
        pieces: Vec<usize>,
        cut: usize,
        room: usize,
    },
    ParkDeflater,
    ParkInflater,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let message = (
        any::<u64>(),
        vec(prop_oneof![0..4_usize, 0..600_usize, 0..6000_usize], 1..4),
        1..300_usize,
        1..2000_usize,
    );
    prop_oneof![
        4 => message.prop_map(|(seed, pieces, cut, room)| Step::Message { seed, pieces, cut, room }),
        1 => Just(Step::ParkDeflater),
        1 => Just(Step::ParkInflater),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// DP-10, DP-11, DP-12, DP-13, DP-18: what goes in comes out, however it is cut and whichever side is parked when.
    #[test]
    fn dp18_round_trip(
        window in 9..=15_u8, level in 0..=9_u8, ours in any::<bool>(), theirs in any::<bool>(), steps in vec(step(), 1..12),
    ) {
        // A compressor without takeover may face a decompressor with it, not the other way around.
        let (takeover, kept) = (ours && theirs, theirs);
        let pool = Pool::new(PoolLimits::new());
        let mut d = Deflater::new(bits(window), takeover, level, pool.clone());
        let mut i = Inflater::new(bits(window), kept, pool);
        let mut audit = Audit::default();
        for step in steps {
            match step {
                Step::ParkDeflater => d.park(),
                Step::ParkInflater => i.park(),
                Step::Forget => { d.forget(); audit.floor = audit.plain.len(); }
                Step::Message { seed, pieces, cut, room } => {
                    if !takeover {
                        audit.floor = audit.plain.len();
                    }
                    let message = Random::new(seed).content(pieces.iter().sum());
                    let mut rest = &*message;
                    let pieces: Vec<&[u8]> = pieces.iter().map(|&len| rest.split_off(..len).unwrap()).collect();
                    let payload = deflate(&mut d, &pieces);
                    prop_assert_eq!(audit.read(&payload), Some(&*message));
                    prop_assert!(audit.farthest <= 1 << window);
                    let fragments: Vec<&[u8]> = payload.chunks(cut).collect();
                    prop_assert_eq!(inflate(&mut i, &fragments, room).unwrap(), message);
                }
            }
        }
    }

    /// DP-17: any bytes are inflated or refused, in steps that each move on, and what is inflated so is inflated so
    /// with other cuts. The auditing inflater agrees about what is a message.
    #[test]
    fn dp17_any_bytes(
        head in vec(any::<u8>(), 0..60), finals in 0..40_usize, tail in vec(any::<u8>(), 0..200), cut in 1..20_usize, room in 1..50_usize,
    ) {
        let payload = [head, [0x03, 0x00].repeat(finals), tail].concat();
        let fragments: Vec<&[u8]> = payload.chunks(cut).collect();
        let cut = inflate(&mut inflater(9, true), &fragments, room);
        let whole = inflate(&mut inflater(15, false), &[&payload], 1 << 20);
        prop_assert_eq!(&cut, &whole);
        if let Ok(message) = whole {
            let other = Audit::default().read(&payload).map(<[u8]>::to_vec);
            prop_assert!(other.is_none_or(|other| other == message));
        }
    }
}

/// DP-17: what is wrong with a block, at the first call that can know; and nothing is consumed after it.
#[test]
fn dp17_invalid_data_is_refused_for_good() {
    let table: &[(&str, &[u8])] = &[
        ("block type 3", &[0x06, 0x00]),
        ("block type 3, final", &[0x07, 0x00]),
        ("stored lengths that differ", &[0x00, 0x05, 0x00, 0x00, 0x00]),
        ("a distance before the beginning", &[0x02, 0x07, 0x02]),
        ("a literal code of no length", &[0x04, 0x00, 0x00, 0x00, 0x00, 0x00]),
        ("286 literals' codes", &[0xFC, 0xFF, 0xFF, 0xFF]),
    ];
    for takeover in [false, true] {
        for (what, payload) in table {
            let mut i = inflater(15, takeover);
            let mut out = [0; 64];
            assert!(i.inflate(payload, &mut out).and_then(|_| i.finish(&mut out)).is_err(), "{what}");
            assert!(!i.is_live(), "{what}");
            i.inflate(&[0x00], &mut out).unwrap_err();
            i.finish(&mut out).unwrap_err();
            i.park();
            i.finish(&mut out).unwrap_err();
        }
        // The pool's next one is clean.
        assert_eq!(
            inflate(&mut inflater(15, takeover), &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"], 9).unwrap(),
            b"Hello"
        );
    }
}

/// DP-05, DP-06: a valid message is accepted, and its beginnings are refused, with one exception that no receiver can
/// tell: the octet 00 before a stored block's length is the empty message.
#[test]
fn dp06_messages_cut_short() {
    let mut random = Random::new(6);
    let (mut refused, mut empty) = (0, 0);
    for level in 0..=9 {
        for len in [1, 2, 3, 5, 17, 100, 260, 700] {
            for turn in 0..6 {
                let (before, message, takeover) = (random.content(300), random.content(len), turn % 2 == 0);
                let mut d = deflater(12, takeover, level);
                let first = deflate(&mut d, &[&before]);
                let payload = deflate(&mut d, &[&message]);
                let step = payload.len() / 150 + 1;
                let ends = payload.len().saturating_sub(12)..=payload.len();
                for cut in (0..payload.len()).step_by(step).chain(ends) {
                    let mut i = inflater(12, takeover);
                    inflate(&mut i, &[&first], 400).unwrap();
                    match inflate(&mut i, &[&payload[..cut]], 4000) {
                        Ok(all) if cut == payload.len() => assert_eq!(all, message),
                        Ok(none) => {
                            assert_eq!(
                                (cut, payload[0], none),
                                (1, 0, vec![]),
                                "level {level}: {payload:x?}"
                            );
                            empty += 1;
                        }
                        Err(_) => {
                            assert!(cut < payload.len());
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 20_000 && empty < 200, "{refused}, {empty}");
    // No bytes at all are not a message, not even after a final block.
    for payload in [&[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..], &[0x00]] {
        for takeover in [false, true] {
            let mut i = inflater(15, takeover);
            inflate(&mut i, &[payload], 9).unwrap();
            i.finish(&mut [0; 9]).unwrap_err();
        }
    }
}

/// A message that fills its room exactly is not done before there is more of it, for nothing tells that it has ended.
#[test]
fn a_full_room_is_not_the_end() {
    let mut i = inflater(15, true);
    let mut out = [0; 5];
    let payload = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let first = i.inflate(&payload, &mut out).unwrap();
    assert_eq!((first.written, &out), (5, b"Hello"));
    let rest = i.inflate(&payload[first.taken..], &mut []).unwrap();
    assert_eq!((rest.taken, rest.written), (0, 0));
    let rest = i.inflate(&payload[first.taken..], &mut out).unwrap();
    assert_eq!((first.taken + rest.taken, rest.written), (7, 0));
    let end = i.finish(&mut []).unwrap();
    assert_eq!((end.written, end.done), (0, true));
}

/// The bound holds for every level and the worst contents, in pieces of any size, and less room changes nothing.
#[test]
fn the_bound_is_one() {
    let mut random = Random::new(1);
    for level in 0..=9 {
        for window in [8, 9, 12, 15] {
            let mut d = deflater(window, true, level);
            let mut i = inflater(window, true);
            for len in [0, 1, 2, 63, 64, 1000, 65_535, 65_536, 200_000] {
                for content in [
                    random.bytes(len),
                    vec![0; len],
                    (0..len).map(|_| random.below(112) as u8 + 144).collect(),
                ] {
                    let needed = d.bound(len);
                    let mut out = vec![0; needed];
                    assert_eq!(d.deflate(&content, true, &mut out[..needed - 1]), Err(NoRoom { needed }));
                    // `deflate` stays below the bound, for it would not be done with a full slice.
                    let n = d.deflate(&content, true, &mut out).unwrap();
                    assert!(n < needed, "{n} of {needed} for {len} at level {level}, {window} bits");
                    assert_eq!(inflate(&mut i, &[&out[..n]], 70_000).unwrap(), content);
                }
            }
            // One byte a piece: a flush for each.
            let noise = random.bytes(300);
            let pieces: Vec<&[u8]> = noise.chunks(1).collect();
            assert_eq!(inflate(&mut i, &[&deflate(&mut d, &pieces)], 512).unwrap(), noise);
        }
    }
    assert_eq!(deflater(15, true, 6).bound(usize::MAX), usize::MAX);
    assert_eq!(deflater(15, true, 0).bound(usize::MAX), usize::MAX);
}

/// What the pool keeps is bounded, and what it lends is intact.
#[test]
fn the_pool_is_bounded() {
    let mut limits = PoolLimits::new();
    (limits.inflaters, limits.deflaters, limits.buffers, limits.buffer_len) = (2, 2, 2, 100);
    let pool = Pool::new(limits);
    assert_eq!(pool, pool.clone());
    assert_ne!(pool, Pool::new(limits));
    assert_eq!(Pool::shared(), Pool::shared());
    let idle = |inflaters, deflaters, buffers| {
        let debug = format!("{pool:?}");
        assert!(
            debug
                .ends_with(&format!("inflaters: {inflaters}, deflaters: {deflaters}, buffers: {buffers} }}")),
            "{debug}"
        );
    };
    idle(0, 0, 0);
    let mut pairs: Vec<_> = (9..15)
        .map(|w| (Deflater::new(bits(w), true, 6, pool.clone()), Inflater::new(bits(w), true, pool.clone())))
        .collect();
    for (d, i) in &mut pairs {
        assert_eq!(inflate(i, &[&deflate(d, &[b"Hello"])], 9).unwrap(), b"Hello");
    }
    idle(0, 0, 0);
    let mut buffers: Vec<_> = (0..5).map(|_| pool.take_buffer()).collect();
    assert!(buffers.iter().all(|buffer| buffer.len() == 100));
    buffers[0].resize(401, 7);
    buffers[1].truncate(99);
    buffers.truncate(3);
    buffers.into_iter().for_each(|buffer| pool.give_buffer(buffer));
    idle(0, 0, 1);
    // A dropped one gives back too.
    drop(pairs.split_off(3));
    idle(2, 2, 1);
    pairs.iter_mut().for_each(|pair| pair.0.park());
    idle(2, 2, 1);
    for (d, i) in &mut pairs {
        assert_eq!(inflate(i, &[&deflate(d, &[b"Hello"])], 9).unwrap(), b"Hello");
    }
}
