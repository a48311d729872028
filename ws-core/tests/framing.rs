//! Frames and fragments (RFC 6455, sections 5.2 to 5.4), rule by rule and byte by byte.

mod reference;
mod wire;

use proptest::prelude::*;
use wire::*;
use ws_core::{Connection, Event, Failure, Kind, Message, Part, Recv, Role, SendError, Violation};

/// F-01 to F-07, F-09, F-10, F-20, C-01, C-02, X-02, X-03, X-05, U-01, U-04: a prefix after which nothing is decided
/// yet, and the byte that decides. Each row fails at that byte, however its bytes are cut, and not one earlier.
#[test]
fn f20_errors_come_at_the_byte_that_decides() {
    use Role::{Client, Server};
    use Violation as V;
    let rows: &[(Role, &[u8], u8, Violation)] = &[
        // F-01, F-02, C-02: the first byte.
        (Server, &[], 0xC1, V::ReservedBit),
        (Server, &[], 0xA1, V::ReservedBit),
        (Client, &[], 0x92, V::ReservedBit),
        (Client, &[], 0xC9, V::ReservedBit),
        (Server, &[], 0x83, V::ReservedOpcode),
        (Server, &[], 0x07, V::ReservedOpcode),
        (Client, &[], 0x8B, V::ReservedOpcode),
        (Client, &[], 0x0F, V::ReservedOpcode),
        (Server, &[], 0x08, V::FragmentedControl),
        (Server, &[], 0x09, V::FragmentedControl),
        (Client, &[], 0x0A, V::FragmentedControl),
        // F-09, F-10.
        (Server, &[], 0x00, V::UnexpectedContinuation),
        (Server, &[], 0x80, V::UnexpectedContinuation),
        (Client, &[0x81, 0x01, b'a'], 0x80, V::UnexpectedContinuation),
        (Client, &[0x01, 0x01, b'a'], 0x81, V::ContinuationExpected),
        (Client, &[0x01, 0x00, 0x89, 0x00], 0x02, V::ContinuationExpected),
        // F-03, F-04, C-01, X-02: the second byte.
        (Server, &[0x81], 0x00, V::UnmaskedFrame),
        (Server, &[0x8A], 0x00, V::UnmaskedFrame),
        (Server, &[0x82], 0x7F, V::UnmaskedFrame),
        (Client, &[0x81], 0x80, V::MaskedFrame),
        (Client, &[0x88], 0x82, V::MaskedFrame),
        (Server, &[0x89], 0xFE, V::ControlTooLong),
        (Client, &[0x88], 0x7F, V::ControlTooLong),
        (Client, &[0x88], 0x01, V::CloseBodyOfOneByte),
        (Server, &[0x88], 0x81, V::CloseBodyOfOneByte),
        // F-05, F-06, F-07: the length, as far as it decides.
        (Client, &[0x82, 0x7E, 0x00], 0x7D, V::LengthNotMinimal),
        (Client, &[0x82, 0x7E, 0x00], 0x00, V::LengthNotMinimal),
        (Server, &[0x81, 0xFE, 0x00], 0x01, V::LengthNotMinimal),
        (Client, &[0x82, 0x7F, 0, 0, 0, 0, 0], 0x00, V::LengthNotMinimal),
        (Client, &[0x82, 0x7F], 0x80, V::LengthTopBit),
        (Server, &[0x82, 0xFF], 0xFF, V::LengthTopBit),
        (Server, &[0x82, 0xFF], 0x01, V::FrameTooBig),
        (Server, &[0x82, 0xFF, 0, 0, 0, 0], 0x01, V::FrameTooBig),
        (Server, &[0x82, 0xFF, 0, 0, 0, 0, 0], 0x11, V::FrameTooBig),
        (Server, &[0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 0], 0x01, V::FrameTooBig),
        (Client, &[0x02, 0x01, 0x00, 0x80, 0x7F, 0, 0, 0, 0], 0x01, V::MessageTooBig),
        // X-03, X-05: the close frame's body.
        (Client, &[0x88, 0x05, 0x03], 0xED, V::InvalidCloseCode),
        (Client, &[0x88, 0x02, 0x03], 0xE7, V::InvalidCloseCode),
        (Client, &[0x88, 0x05, 0x03, 0xE8, b'a'], 0x80, V::InvalidUtf8),
        (Client, &[0x88, 0x7D, 0x03, 0xE8, 0xED], 0xA0, V::InvalidUtf8),
        (Client, &[0x88, 0x03, 0x03, 0xE8], 0xE2, V::InvalidUtf8),
        (Server, &[0x88, 0x85, 0, 0, 0, 0, 0x03, 0xE8, b'a'], 0xFF, V::InvalidUtf8),
        // U-01, U-02, U-04: text in an unfinished frame, and at its end.
        (Client, &[0x81, 0x7D], 0xC1, V::InvalidUtf8),
        (Client, &[0x81, 0x7D, b'a', 0xE0], 0x9F, V::InvalidUtf8),
        (Client, &[0x81, 0x7D, 0xF0], 0x8F, V::InvalidUtf8),
        (Client, &[0x81, 0x7D, 0xED], 0xA0, V::InvalidUtf8),
        (Client, &[0x81, 0x7D, 0xF4], 0x90, V::InvalidUtf8),
        (Client, &[0x81, 0x7D], 0xF5, V::InvalidUtf8),
        (Client, &[0x81, 0x7D], 0x80, V::InvalidUtf8),
        (Client, &[0x01, 0x01, 0xE2, 0x00, 0x05, 0x82], b'a', V::InvalidUtf8),
        (Client, &[0x81, 0x02, 0xE2], 0x82, V::InvalidUtf8),
        (Server, &[0x81, 0xFE, 0x10, 0x00, 1, 2, 3, 4], 0xFE, V::InvalidUtf8),
    ];
    for &(role, prefix, byte, violation) in rows {
        let whole = [prefix, &[byte]].concat();
        for cuts in all_cuts(whole.len()) {
            let mut connection = connect(role, defaults(role));
            let (len, undecided) = (prefix.len(), feed(&mut connection, prefix, &[], Drain::Whole));
            assert_eq!(undecided.failed, None, "{role:?} {prefix:02X?} is undecided");
            let mut connection = connect(role, defaults(role));
            let outcome = feed(&mut connection, &whole, &cuts, Drain::Whole);
            let failed = Some((Failure::Violation(violation), len + 1));
            assert_eq!(outcome.failed, failed, "{role:?} {whole:02X?} at {cuts:?}");
            // 7.1.7: one close frame, with the code that belongs to the rule.
            let sent = frames(&outcome.output);
            let last = sent.last().unwrap();
            assert_eq!((last.0, &last.2[..2]), (0x88, &violation.close_code().0.to_be_bytes()[..]));
            assert_eq!(sent.iter().filter(|frame| frame.0 == 0x88).count(), 1);
        }
    }
}

/// F-07: with limits below the longer forms of the length, too.
#[test]
fn f07_small_limits_hold_at_the_header() {
    for limit in [0_u64, 1, 7, 124, 125, 126, 127, 1000, 65_535, 65_536, 70_000] {
        for role in [Role::Server, Role::Client] {
            let config = lasting(limited(role, limit));
            for (len, ok) in [(limit.saturating_sub(1), true), (limit, true), (limit + 1, false)] {
                let payload = vec![b'x'; len as usize];
                let wire = to(role, 0x82, &payload);
                let head = wire.len() - payload.len() - if role == Role::Server { 4 } else { 0 };
                let mut connection = connect_shared(role, config);
                let outcome =
                    feed(&mut connection, &wire, &(1..wire.len().min(40)).collect::<Vec<_>>(), Drain::Whole);
                if ok {
                    assert_eq!(outcome.events, [Seen::Binary(payload)], "{limit} {len}");
                } else {
                    let (failure, at) = outcome.failed.unwrap();
                    assert_eq!(failure, Failure::Violation(Violation::FrameTooBig));
                    assert!(at <= head, "{limit}: decided at {at} of {head}");
                }
            }
        }
    }
}

/// F-08: the encoder is minimal at every boundary, in both directions, and the decoder exact.
#[test]
fn f08_boundary_lengths_in_both_directions() {
    for len in [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        for role in [Role::Client, Role::Server] {
            let peer = if role == Role::Client { Role::Server } else { Role::Client };
            let mut sender = connect(role, defaults(role));
            let mut wire = vec![0; len + 14];
            let n = sender.send(Message::Binary(&payload), &mut wire).unwrap();
            let head = match len {
                0..=125 => 2,
                126..=65_535 => 4,
                _ => 10,
            };
            assert_eq!(n, head + len + if role == Role::Client { 4 } else { 0 });
            let sent = frames(&wire[..n]);
            assert_eq!((sent[0].0, &sent[0].2), (0x82, &payload));
            let mut receiver = connect(peer, defaults(peer));
            let outcome = feed(&mut receiver, &wire[..n], &[], Drain::Whole);
            assert_eq!(outcome.events, [Seen::Binary(payload.clone())]);
        }
    }
}

/// F-15: unmasking at any offset in the buffer, any phase of the key, over any read, also of fragments that move.
#[test]
fn f15_any_offset_any_phase() {
    let text: Vec<u8> = (0..100).collect();
    for lead in 0..9 {
        for first in [0, 1, 2, 3, 5, 8, 33] {
            let wire = [
                to(Role::Server, 0x82, &vec![0xEE; lead]),
                to(Role::Server, 0x02, &text[..first]),
                to(Role::Server, 0x89, &vec![1; lead]),
                to(Role::Server, 0x80, &text[first..]),
            ]
            .concat();
            for cut in 0..wire.len() {
                let outcome = feed(&mut server(), &wire, &[cut], Drain::Whole);
                assert_eq!(outcome.events.last(), Some(&Seen::Binary(text.clone())), "{lead} {first} {cut}");
            }
        }
    }
}

/// F-16: every frame of a client is masked, each with its own key, empty and control frames too; a server's never is.
#[test]
fn f16_clients_mask_every_frame_afresh() {
    for role in [Role::Client, Role::Server] {
        let mut connection = connect(role, defaults(role));
        let mut wire = Vec::new();
        let mut out = [0; 64];
        let mut add = |n: usize, out: &[u8]| wire.extend(&out[..n]);
        for text in ["", "a", "hello"] {
            let n = connection.send(Message::Text(text), &mut out).unwrap();
            add(n, &out);
            connection.ping(b"").unwrap();
            let n = connection.transmit(&mut out);
            add(n, &out);
            connection.pong(text.as_bytes()).unwrap();
            let n = connection.transmit(&mut out);
            add(n, &out);
            let header = connection.frame_header(Kind::Binary, 0, Part::Whole).unwrap();
            let mut head = [0; 14];
            let n = header.encode(&mut head);
            add(n, &head);
        }
        connection.close(T0, None).unwrap();
        let n = connection.transmit(&mut out);
        add(n, &out);
        let sent = frames(&wire);
        let mut keys: Vec<_> = sent.iter().filter_map(|frame| frame.1).collect();
        assert_eq!(keys.len(), if role == Role::Client { 13 } else { 0 });
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), if role == Role::Client { 13 } else { 0 }, "all different");
    }
}

/// F-17, F-18, and the refusals of the sending side: each leaves everything as it was.
#[test]
fn f17_f18_refused_sends_change_nothing() {
    let hi = Message::Text("hi");
    let bytes = Message::Binary(b"hi");
    let mut out = [0; 64];
    let mut c = server();
    // F-18: a continuation of nothing, another message inside a message, the wrong kind.
    assert_eq!(c.send_part(hi, Part::Middle, &mut out), Err(SendError::NoMessageOpen));
    assert_eq!(c.send_part(hi, Part::Last, &mut out), Err(SendError::NoMessageOpen));
    assert_eq!(c.send_part(hi, Part::First, &mut out), Ok(4));
    assert_eq!(c.send(bytes, &mut out), Err(SendError::MessageOpen));
    assert_eq!(c.send_part(bytes, Part::First, &mut out), Err(SendError::MessageOpen));
    assert_eq!(c.send_part(bytes, Part::Last, &mut out), Err(SendError::NoMessageOpen));
    assert_eq!(c.frame_header(Kind::Text, 1, Part::First), Err(SendError::MessageOpen));
    // Control frames may go between.
    c.ping(b"p").unwrap();
    assert_eq!(c.send_part(hi, Part::Middle, &mut out), Ok(3 + 4));
    assert_eq!(&out[..7], &[0x89, 1, b'p', 0x00, 2, b'h', b'i']);
    // Too little space: nothing is written, and what is needed is told exactly.
    c.ping(b"q").unwrap();
    let mut short = [0xEE; 6];
    assert_eq!(c.send_part(hi, Part::Last, &mut short), Err(SendError::NoSpace { needed: 7 }));
    assert_eq!((short, c.pending()), ([0xEE; 6], 3));
    assert_eq!(c.send_part(hi, Part::Last, &mut out[..7]), Ok(7));
    // A control frame that left in part comes first, whatever is called.
    c.ping(b"r").unwrap();
    assert_eq!(c.transmit(&mut out[..1]), 1);
    assert_eq!(c.frame_header(Kind::Text, 1, Part::Whole), Err(SendError::ControlFrameCut));
    assert_eq!(c.send(hi, &mut out), Ok(2 + 4));
    assert_eq!(&out[..6], &[1, b'r', 0x81, 2, b'h', b'i']);
    assert_eq!(c.frame_header(Kind::Text, 1 << 63, Part::Whole), Err(SendError::FrameTooLong));
    // F-17: after close, in Closing and in Closed.
    c.close(T0, None).unwrap();
    for _ in 0..2 {
        assert_eq!(c.send(hi, &mut out), Err(SendError::Closed));
        assert_eq!(c.send_part(hi, Part::First, &mut out), Err(SendError::Closed));
        assert_eq!(c.frame_header(Kind::Text, 1, Part::Whole), Err(SendError::Closed));
        assert_eq!(c.ping(b""), Err(SendError::Closed));
        assert_eq!(c.pong(b""), Err(SendError::Closed));
        assert_eq!(c.close(T0, None), Err(SendError::Closed));
        c.transmit(&mut out);
    }
}

/// F-13: the limits of fragments count for one message, not for the connection, and control frames are none.
#[test]
fn f13_limits_count_per_message() {
    let mut config = defaults(Role::Client);
    config.limits.max_fragments = 4;
    config.limits.max_empty_fragments = 2;
    let message: &[u8] = &[0x02, 0, 0x00, 0, 0x89, 0, 0x8A, 0, 0x89, 0, 0x00, 1, b'a', 0x80, 1, b'b'];
    let wire = message.repeat(50);
    let outcome = feed(&mut connect(Role::Client, config.clone()), &wire, &[], Drain::Whole);
    assert_eq!(outcome.failed, None);
    let whole = outcome.events.iter().filter(|event| **event == Seen::Binary(b"ab".to_vec())).count();
    assert_eq!(whole, 50);
    // Whole empty messages are not fragments at all.
    let empties = [0x81, 0].repeat(5000);
    let outcome = feed(&mut connect(Role::Client, config), &empties, &[], Drain::Whole);
    assert_eq!((outcome.events.len(), outcome.failed), (5000, None));
}

/// F-13: the defaults: 131 072 fragments, 1 024 of them empty, and not one more.
#[test]
fn f13_default_limits_are_exact() {
    for (fragment, most, violation) in [
        (&[0x00, 0x01, b'x'][..], 131_072, Violation::TooManyFragments),
        (&[0x00, 0x00][..], 1_024, Violation::TooManyEmptyFragments),
    ] {
        let mut wire = fragment.to_vec();
        wire[0] = 0x02;
        wire.extend(fragment.repeat(most - 1));
        let ok = feed(&mut client(), &wire, &[], Drain::Whole);
        assert_eq!(ok.failed, None, "{most} are allowed");
        wire.extend(fragment);
        let outcome = feed(&mut client(), &wire, &[], Drain::Whole);
        assert_eq!(outcome.violation(), Some(violation));
    }
}

/// F-21: no bytes, no change; asking again changes nothing either.
#[test]
fn f21_nothing_in_nothing_out() {
    let wire = to(Role::Server, 0x81, "héllo".as_bytes());
    let mut c = server();
    for end in 0..wire.len() {
        let mut shown = wire[..end].to_vec();
        // The bytes that were consumed are not shown again.
        let mut consumed = 0;
        for _ in 0..3 {
            let recv: Recv<'_> = c.recv(T0, &mut shown[consumed..]).unwrap();
            assert_eq!(recv.event, None);
            assert!(recv.need > end - consumed - recv.consumed);
            consumed += recv.consumed;
            assert_eq!((c.pending(), c.transmit(&mut [0; 9])), (0, 0));
        }
        c = server();
    }
    assert_eq!(c.recv(T0, &mut []).unwrap().event, None);
}

/// Callers that show fewer, other or older bytes get garbage or an error: never a panic.
#[test]
fn f21_a_broken_contract_is_no_panic() {
    let wire: Vec<u8> = [
        to(Role::Server, 0x01, "größe".as_bytes()),
        to(Role::Server, 0x89, b"ping"),
        to(Role::Server, 0x00, &[b'x'; 200]),
        to(Role::Server, 0x80, "€".as_bytes()),
        to(Role::Server, 0x88, &close_body(1000, "reason")),
    ]
    .concat();
    for chunks in [false, true] {
        for first in 0..wire.len() {
            for second in [0, 1, 2, 7, first / 2, first.saturating_sub(1)] {
                let mut c = match chunks {
                    true => connect(Role::Server, in_chunks(Role::Server)),
                    false => server(),
                };
                for len in [first, second, first, second, wire.len()] {
                    for _ in 0..4 {
                        let mut shown = wire[..len].to_vec();
                        match c.recv(T0, &mut shown) {
                            Ok(recv) if recv.event.is_none() => assert!(recv.need + recv.consumed > len),
                            Ok(_) | Err(_) => {}
                        }
                        c.compact(&mut shown);
                    }
                }
            }
        }
    }
}

/// A text whose bytes the caller changed between two calls is not trusted: it is dropped.
#[test]
fn f21_a_changed_text_is_not_believed() {
    let mut c = client();
    let mut wire = vec![0x81, 0x04, b'a', b'b'];
    let recv = c.recv(T0, &mut wire).unwrap();
    assert_eq!((recv.consumed, recv.event), (2, None));
    let mut rest = vec![0xFF, 0xFE, b'c', b'd', 0x81];
    let recv = c.recv(T0, &mut rest).unwrap();
    assert_eq!((recv.consumed, recv.need, recv.event), (4, 2, None));
}

#[derive(Clone, Debug)]
enum Piece {
    Frame { first: u8, payload: Vec<u8>, flip_mask: bool },
    Raw(Vec<u8>),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let first = prop_oneof![
        6 => prop_oneof![Just(0x01), Just(0x02), Just(0x00), Just(0x80), Just(0x81), Just(0x82)],
        3 => prop_oneof![Just(0x89_u8), Just(0x8A)],
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-z€é😀]{0,40}".prop_map(String::into_bytes),
        1 => (100..300_usize).prop_map(|len| vec![b'x'; len]),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u16>(), "[a-zé]{0,9}").prop_map(|(code, reason)| close_body(code, &reason)),
        1 => (0..6_usize).prop_map(|cut| "é😀"[..].as_bytes()[..cut].to_vec()),
    ];
    let piece = prop_oneof![
        20 => (first, payload, proptest::bool::weighted(0.02))
            .prop_map(|(first, payload, flip_mask)| Piece::Frame { first, payload, flip_mask }),
        1 => proptest::collection::vec(any::<u8>(), 0..12).prop_map(Piece::Raw),
    ];
    proptest::collection::vec(piece, 0..12)
}

fn wire_of(role: Role, pieces: &[Piece]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|piece| match piece {
            Piece::Frame { first, payload, flip_mask } => {
                let key = ((role == Role::Server) != *flip_mask).then_some(KEY);
                frame(*first, key, payload)
            }
            Piece::Raw(bytes) => bytes.clone(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// F-14: on arbitrary input, for both roles and however it is cut, the connection and the session say what the
    /// naive reference says of the same bytes: the same events, and a failure exactly when the prefix fed decides it.
    #[test]
    fn f14_agrees_with_the_reference(
        pieces in pieces(),
        server in any::<bool>(),
        limit in prop_oneof![Just(1_u64 << 20), Just(300), Just(60), Just(5)],
        cuts in proptest::collection::vec(0..2000_usize, 0..12),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let wire = wire_of(role, &pieces);
        let mut config = limited(role, limit);
        config.limits.max_message = limit * 2;
        config.limits.max_fragments = 5;
        config.limits.max_empty_fragments = 2;
        let (events, violation) = reference::decode(role, &config.limits, &wire);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (wire.len() + 1)).collect();
        cuts.sort_unstable();
        for delivery in [ws_core::Delivery::Whole, ws_core::Delivery::Chunks] {
            config.delivery = delivery;
            let config = lasting(config.clone());
            let mut storage = vec![0; 2 * wire.len() + 64];
            for cuts in [vec![], cuts.clone(), (1..wire.len()).collect()] {
                let fed = |outcome: &Outcome| outcome.failed.map_or(wire.len(), |(_, fed)| fed);
                let direct = feed(&mut connect_shared(role, config), &wire, &cuts, Drain::Whole);
                let (session, _) =
                    feed_session(connect_shared(role, config), &mut storage, &wire, &cuts, Drain::Whole);
                prop_assert_eq!(&direct, &session);
                prop_assert_eq!(direct.violation(), violation, "{:02X?}", wire);
                // One part earlier nothing was decided.
                let before = cuts.iter().copied().rev().find(|&cut| cut < fed(&direct)).unwrap_or(0);
                if violation.is_some() {
                    let early = reference::decode(role, &config.limits, &wire[..before]);
                    prop_assert_eq!(early.1, None, "decided by {} already", before);
                }
                prop_assert_eq!(join_chunks(direct.events), events.clone());
            }
        }
    }
}

/// F-12, section 5.6: one whole message and its fragments are the same to a receiver.
#[test]
fn f12_fragments_of_any_size_are_one_message() {
    let text = "Grüße, 世界! 😀";
    for size in 1..text.len() + 1 {
        let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let mut wire = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let first = if i == 0 { 1 } else { 0 } | if i + 1 == parts.len() { 0x80 } else { 0 };
            wire.extend(to(Role::Server, first, part));
        }
        let outcome = feed(&mut server(), &wire, &(1..wire.len()).collect::<Vec<_>>(), Drain::Whole);
        assert_eq!(outcome.events, [Seen::text(text)], "{size}");
    }
}

/// F-14: an unfragmented message is a view into the input, not a copy.
#[test]
fn f14_a_message_is_a_view() {
    let mut wire = to(Role::Server, 0x82, &[9; 64]);
    let place = wire[6..].as_ptr();
    let mut c: Connection = server();
    let Ok(Recv { event: Some(Event::Binary(bytes)), .. }) = c.recv(T0, &mut wire) else {
        panic!("no event")
    };
    assert_eq!((bytes.as_ptr(), bytes.len()), (place, 64));
}
