//! The RFC's own examples, and what must be refused.

use super::{deflate, deflater, inflate, inflater};

/// Name, fragments, message.
fn vectors() -> impl Iterator<Item = (&'static str, Vec<Vec<u8>>, &'static str)> {
    include_str!("vectors.txt").lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut columns = line.split('|').map(str::trim);
        let mut column = || columns.next().expect("three columns");
        let (name, payload, message) = (column(), column(), column());
        let octets = |part: &str| {
            part.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).expect("hex")).collect()
        };
        (name, payload.split('/').map(octets).collect(), message)
    })
}

fn octets(name: &str) -> Vec<u8> {
    vectors().find(|vector| vector.0 == name).expect("a vector of that name").1.concat()
}

/// DP-04, DP-07, DP-08, DP-09, DP-10, DP-18: every vector, with the RFC's fragments, whole and octet by octet, into
/// any room, with and without takeover, and every time the next message works.
#[test]
fn dp09_vectors_inflate() {
    let mut seen = 0;
    for (name, fragments, message) in vectors().filter(|vector| vector.0 != "takeover") {
        for takeover in [false, true] {
            for room in [1, 2, 5, 6, 100] {
                let whole = fragments.concat();
                let mut i = inflater(9, takeover);
                for parts in
                    [fragments.iter().map(Vec::as_slice).collect(), vec![&*whole], whole.chunks(1).collect()]
                {
                    assert_eq!(inflate(&mut i, &parts, room).as_deref(), Ok(message.as_bytes()), "{name}");
                    // The next message may refer to this one, also across a final block.
                    if takeover && message.ends_with("Hello") {
                        assert_eq!(
                            inflate(&mut i, &[&octets("takeover")], room).unwrap(),
                            b"Hello",
                            "{name}"
                        );
                    }
                    assert_eq!(inflate(&mut i, &[&octets("plain")], room).unwrap(), b"Hello", "{name}");
                }
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 14);
    // DP-12: without takeover nothing is referred to.
    let mut i = inflater(15, false);
    assert_eq!(inflate(&mut i, &[&octets("plain")], 100).unwrap(), b"Hello");
    inflate(&mut i, &[&octets("takeover")], 100).unwrap_err();
}

/// DP-03, DP-04, DP-09, DP-12: what we send for the RFC's examples is what the RFC sends, or shorter.
#[test]
fn dp09_vectors_deflate() {
    for level in 1..=9 {
        for window in 9..=15 {
            let (mut d, mut i) = (deflater(window, true, level), inflater(window, true));
            let first = deflate(&mut d, &[b"Hello"]);
            assert_eq!(first, octets("plain"), "level {level}");
            assert_eq!(inflate(&mut i, &[&first], 100).unwrap(), b"Hello");
            // The RFC's compressor did not see that all of it is one reference.
            let second = deflate(&mut d, &[b"Hello"]);
            assert!(second.len() <= octets("takeover").len(), "{second:x?}");
            assert_eq!(inflate(&mut i, &[&second], 100).unwrap(), b"Hello");
            assert_eq!(deflate(&mut d, &[b""]), octets("empty"));
            d.forget();
            assert_eq!(deflate(&mut d, &[b"Hello"]), octets("plain"), "level {level}");
            let mut d = deflater(window, false, level);
            for _ in 0..3 {
                assert_eq!(deflate(&mut d, &[b"Hello"]), octets("plain"), "level {level}");
                assert_eq!(deflate(&mut d, &[b""]), octets("empty"));
            }
        }
    }
    assert_eq!(deflate(&mut deflater(15, true, 0), &[b"Hello"]), octets("stored"));
    assert_eq!(deflate(&mut deflater(8, true, 9), &[b"Hello"]), octets("stored"));
}

/// DP-08: any number of final blocks, each with a reference as far back as the window reaches while they are apart, and
/// a near one however close they are.
#[test]
fn dp08_references_across_many_final_blocks() {
    // A final fixed block: length 3, distance 5 (code 4, one extra bit), end, padding.
    let near = [0b0000_0011, 0b0001_0010, 0b0000_0000, 0b0000_0000];
    let mut i = inflater(15, true);
    let message = inflate(&mut i, &[&octets("plain")], 9).unwrap();
    assert_eq!(message, b"Hello");
    let near = &near[..near.len() - 1];
    let message = inflate(&mut i, &[&near.repeat(5000)], 100).unwrap();
    assert_eq!(message.len(), 15_000);
    assert!(message.starts_with(b"HelloHello"));
    // Nothing of that is missing for the next one.
    assert_eq!(inflate(&mut i, &[near], 100).unwrap(), message[15_000 - 5..15_000 - 2]);
}
