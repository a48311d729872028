//! Text on a connection (RFC 6455, sections 5.6 and 8.1; rows U-01 to U-06, U-08, and U-03 in chunks).

mod wire;

use wire::*;
use ws_core::{Connection, Failure, Message, Part, Role, Violation};

/// U-01 and U-02: bytes that are no text, and the index of the byte that decides; the length if only the end does.
const BAD: &[(&[u8], usize)] = &[
    (&[0xC0, 0x80], 0),
    (&[0xC1, 0xBF], 0),
    (&[0xE0, 0x80, 0x80], 1),
    (&[0xE0, 0x9F, 0xBF], 1),
    (&[0xF0, 0x80, 0x80, 0x80], 1),
    (&[0xF0, 0x8F, 0xBF, 0xBF], 1),
    (&[0xED, 0xA0, 0x80], 1),
    (&[0xED, 0xBF, 0xBF], 1),
    (&[0xF4, 0x90, 0x80, 0x80], 1),
    (&[0xF5, 0x80, 0x80, 0x80], 0),
    (&[0xFE], 0),
    (&[0xFF], 0),
    (&[0x80], 0),
    (&[0xBF], 0),
    (&[0xE2, 0x82, b'x'], 2),
    (&[0xF0, 0x9F, 0x98, b'x'], 3),
    (&[0xC3, b'x'], 1),
    (&[0xC3], 1),
    (&[0xE2, 0x82], 2),
    (&[0xF0, 0x9F, 0x98], 3),
];

/// U-01, U-02, U-04: after any prefix, in one frame or at any place in two fragments, whole or in chunks: 1007, and at
/// the byte that decides, although the frame goes on.
#[test]
fn u01_u02_u04_no_text_fails_at_its_byte() {
    let configs = [lasting(defaults(Role::Client)), lasting(in_chunks(Role::Client))];
    for &(bytes, decides) in BAD {
        for prefix in
            ["", "a", "é", "long enough to leave the path for short text, and then some more of it 😀"]
        {
            let text = [prefix.as_bytes(), bytes].concat();
            let deciding = prefix.len() + decides;
            for cut in 0..=text.len() {
                let wire = [frame(0x01, None, &text[..cut]), frame(0x80, None, &text[cut..])].concat();
                // Where the deciding byte stands on the wire; the end of the message decides when it goes on.
                let at = if deciding < cut { 2 + deciding + 1 } else { (4 + deciding + 1).min(wire.len()) };
                for config in configs {
                    for cuts in [vec![], (1..wire.len()).collect(), vec![at - 1], vec![at]] {
                        let mut c = connect_shared(Role::Client, config);
                        let outcome = feed(&mut c, &wire, &cuts, Drain::Whole);
                        let fed = cuts.iter().copied().find(|&cut| cut >= at).unwrap_or(wire.len());
                        let failed = Some((Failure::Violation(Violation::InvalidUtf8), fed));
                        assert_eq!(
                            outcome.failed, failed,
                            "{text:02X?} in fragments at {cut}, cut at {cuts:?}"
                        );
                        assert_eq!(frames(&outcome.output)[0].2[..2], [0x03, 0xEF], "1007");
                    }
                }
            }
        }
    }
}

/// U-06: the same bytes as binary are accepted.
#[test]
fn u06_the_same_bytes_as_binary() {
    for &(bytes, _) in BAD {
        for role in [Role::Client, Role::Server] {
            let outcome = feed(&mut connect(role, defaults(role)), &to(role, 0x82, bytes), &[], Drain::Whole);
            assert_eq!(outcome.events, [Seen::Binary(bytes.to_vec())]);
        }
    }
}

/// U-03, U-05: what is text arrives unchanged, over fragments, reads and phases of the mask.
#[test]
fn u03_u05_text_arrives_unchanged() {
    let texts = [
        "\u{FFFE}\u{FFFF}\0\u{FEFF}\u{10FFFF}\u{1FFFF}",
        "κόσμε",
        "aé€😀",
        "\u{7F}\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}",
    ];
    for text in texts {
        for role in [Role::Client, Role::Server] {
            for cut in 0..=text.len() {
                let (a, b) = text.as_bytes().split_at(cut);
                let wire = [to(role, 0x01, a), to(role, 0x89, b"?"), to(role, 0x80, b)].concat();
                for cuts in all_cuts(wire.len()) {
                    let outcome = feed(&mut connect(role, defaults(role)), &wire, &cuts, Drain::Whole);
                    assert_eq!(outcome.events, [Seen::Ping(b"?".to_vec()), Seen::text(text)]);
                }
            }
        }
    }
}

/// U-03: chunks of a text are whole characters; what is cut stays behind, over fragments and pings, and comes once.
#[test]
fn u03_chunks_are_whole_characters() {
    let config = lasting(in_chunks(Role::Server));
    let text = "a€é😀z";
    for first in 0..=text.len() {
        for second in first..=text.len() {
            let bytes = text.as_bytes();
            let wire = [
                to(Role::Server, 0x01, &bytes[..first]),
                to(Role::Server, 0x8A, b"!"),
                to(Role::Server, 0x00, &bytes[first..second]),
                to(Role::Server, 0x8A, b"!!"),
                to(Role::Server, 0x80, &bytes[second..]),
                to(Role::Server, 0x82, b"next"),
            ]
            .concat();
            for cuts in all_cuts(wire.len()) {
                let mut storage = [0; 128];
                let c = connect_shared(Role::Server, config);
                let (outcome, _) = feed_session(c, &mut storage, &wire, &cuts, Drain::Whole);
                for event in &outcome.events {
                    if let Seen::Chunk { text: true, bytes, last, .. } = event {
                        assert!(core::str::from_utf8(bytes).is_ok());
                        assert!(*last || !bytes.is_empty(), "an empty chunk says nothing");
                    }
                }
                let mut joined = join_chunks(outcome.events);
                joined.retain(|event| !matches!(event, Seen::Pong(_)));
                assert_eq!(
                    joined,
                    [Seen::text(text), Seen::Binary(b"next".to_vec())],
                    "{first} {second} {cuts:?}"
                );
            }
        }
    }
}

/// U-08: what we send as text is text by type, and may be cut between characters.
#[test]
fn u08_text_that_is_sent_is_valid_by_type() {
    let mut c: Connection = client();
    let mut wire = vec![0; 256];
    let mut n = 0;
    for (i, ch) in "aé€😀".chars().enumerate() {
        let part = [Part::First, Part::Middle, Part::Middle, Part::Last][i];
        n += c.send_part(Message::Text(ch.encode_utf8(&mut [0; 4])), part, &mut wire[n..]).unwrap();
    }
    let outcome = feed(&mut server(), &wire[..n], &[], Drain::Whole);
    assert_eq!(outcome.events, [Seen::text("aé€😀")]);
}
