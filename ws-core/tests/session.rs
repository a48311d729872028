//! A session: storage that is borrowed, given back, restored, fixed or growing; and which text it trusts.

mod wire;

use wire::*;
use ws_core::{Advance, Connection, Event, Failure, Role, Session, Violation};

type Fixed<const N: usize> = Session<[u8; N]>;

/// Feeds all of `wire` in parts of `step` bytes and returns what came of it.
fn run<const N: usize>(session: &mut Fixed<N>, wire: &[u8], step: usize) -> Result<Vec<Seen>, Failure> {
    let mut events = Vec::new();
    let mut fed = 0;
    loop {
        match session.advance(T0)? {
            Advance::Event => events.push(session.event().expect("an event is there").into()),
            Advance::Finished => return Ok(events),
            Advance::Read { at_least } => {
                if fed == wire.len() {
                    return Ok(events);
                }
                let space = session.space(|| [0; N], at_least);
                assert!(!space.is_empty(), "space after Read");
                let n = space.len().min(step).min(wire.len() - fed);
                space[..n].copy_from_slice(&wire[fed..fed + n]);
                session.received(n);
                fed += n;
            }
        }
    }
}

/// N-01: a message as long as the array fits, whole and in fragments of any size with pings between, as long as the
/// array holds a control frame more: what is done with is compacted away. One byte more than the array does not.
#[test]
fn n01_a_fixed_array_holds_what_it_can() {
    const N: usize = 200;
    let payload: Vec<u8> = (0..N as u8).collect();
    for step in [1, 2, 3, 7, 64, 200] {
        let mut session = Fixed::<N>::new(server());
        let wire = to(Role::Server, 0x82, &payload).repeat(3);
        let events = run(&mut session, &wire, step).unwrap();
        assert_eq!(events, vec![Seen::Binary(payload.clone()); 3], "whole, by {step}");

        for size in [1, 2, 5, 40, 99, 150, 186] {
            let parts: Vec<&[u8]> = payload[..186].chunks(size).collect();
            let mut one = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                let first = if i == 0 { 2 } else { 0 } | if i + 1 == parts.len() { 0x80 } else { 0 };
                one.extend(to(Role::Server, first, part));
                one.extend(to(Role::Server, 0x8A, b"12345678"));
            }
            let mut session = Fixed::<N>::new(server());
            let events = run(&mut session, &one.repeat(2), step).unwrap();
            let messages: Vec<_> =
                events.into_iter().filter(|event| !matches!(event, Seen::Pong(_))).collect();
            assert_eq!(messages, vec![Seen::Binary(payload[..186].to_vec()); 2], "by {size}, read by {step}");
        }

        let mut session = Fixed::<N>::new(server());
        let wire = to(Role::Server, 0x82, &[1; N + 1]);
        let result = run(&mut session, &wire, step);
        assert_eq!(result, Err(Failure::Violation(Violation::MessageTooBig)), "overflow, by {step}");
        assert_eq!(frames(&drain(session.connection()))[0].2[..2], [0x03, 0xF1], "1009");
        assert_eq!(session.advance(T0), Ok(Advance::Finished));
    }
}

/// The storage goes and comes, at every byte, with what it holds at its front.
#[test]
fn rest_and_restore_at_every_byte() {
    let wire: Vec<u8> = [
        to(Role::Server, 0x01, "größe".as_bytes()),
        to(Role::Server, 0x89, b"ping"),
        to(Role::Server, 0x80, " und €".as_bytes()),
        to(Role::Server, 0x82, b"binary"),
        to(Role::Server, 0x88, &close_body(1000, "")),
    ]
    .concat();
    let mut session = Fixed::<128>::new(server());
    let mut events = Vec::new();
    assert!(session.rest().is_none(), "an idle session holds no storage");
    for &byte in &wire {
        session.space(|| [0xFF; 128], 1)[0] = byte;
        session.received(1);
        while session.advance(T0) == Ok(Advance::Event) {
            events.push(Seen::from(session.event().unwrap()));
        }
        let (storage, filled) = session.rest().unwrap();
        assert_eq!(session.buffered(), 0);
        // Only the rest travels; the storage was another one meanwhile.
        let mut other = [0xFF; 128];
        other[..filled].copy_from_slice(&storage[..filled]);
        if filled > 0 {
            session.restore(other, filled);
        }
    }
    let closed = Seen::closed(1000, "");
    let text = Seen::text("größe und €");
    assert_eq!(events, [Seen::Ping(b"ping".to_vec()), text, Seen::Binary(b"binary".to_vec()), closed]);
}

/// What a text that was begun is believed to be. Each of these ways puts other bytes under a decoder that has
/// validated the first ones; none of them may come out as text. (They are all wrong uses, and all of them safe.)
#[test]
fn u03_a_text_is_trusted_only_where_it_was_validated() {
    const BAD: [u8; 64] = [0xFF; 64];
    let begun = [0x01, 0x04, b'a', b'b', b'c', b'd'];
    let end = [0x80, 0x01, b'e'];
    let feed = |session: &mut Fixed<64>, bytes: &[u8]| {
        session.space(|| BAD, bytes.len())[..bytes.len()].copy_from_slice(bytes);
        session.received(bytes.len());
        session.advance(T0)
    };
    let started = || {
        let mut session = Fixed::<64>::new(client());
        assert!(matches!(feed(&mut session, &begun), Ok(Advance::Read { .. })));
        session
    };
    let no_text = |mut session: Fixed<64>, bytes: &[u8], how: &str| {
        if feed(&mut session, bytes) == Ok(Advance::Event) {
            assert_eq!(session.event(), None, "{how}");
        }
    };
    // Without interference all is well.
    let mut session = started();
    assert_eq!(feed(&mut session, &end), Ok(Advance::Event));
    assert_eq!(session.event(), Some(Event::Text("abcde")));

    let held = || {
        let mut connection = client();
        assert_eq!(connection.recv(T0, &mut begun.clone()).unwrap().event, None);
        connection
    };
    let junk = [&[0xFF; 4][..], &end].concat();
    no_text(Fixed::new(held()), &junk, "a connection that has begun elsewhere");
    no_text(Fixed::with_storage(held(), BAD, 4), &end, "the same, with storage");

    let mut session = started();
    session.rest();
    no_text(session, &junk, "storage taken away and not restored");

    let mut session = started();
    let (_, filled) = session.rest().unwrap();
    session.restore(BAD, filled);
    no_text(session, &end, "other storage restored");

    let mut session = started();
    session.restore(BAD, 4);
    no_text(session, &end, "storage replaced");

    let mut session = Fixed::<64>::new(client());
    *session.connection() = held();
    no_text(session, &junk, "the connection exchanged");

    let mut session = started();
    *session.connection() = held();
    // As much text, and validated as far: this one may go on where the other was.
    assert_eq!(feed(&mut session, &end), Ok(Advance::Event));
    assert_eq!(session.event(), Some(Event::Text("abcde")));

    // Bytes shown to the connection behind the session's back.
    let mut session = Fixed::<64>::new(client());
    feed(&mut session, &[0x02, 0x04, 0xFF, 0xFE, 0xFD, 0xFC]).unwrap();
    session.connection().recv(T0, &mut [0xFF, 0xFE, 0xFD, 0xFC, 0x80, 0x00]).unwrap();
    session.connection().recv(T0, &mut begun.clone()).unwrap();
    no_text(session, &end, "another text in the place of binary");

    let mut session = started();
    session.connection().recv(T0, &mut [b'a', b'b', b'c', b'd', 0x00, 0x01, b'e']).unwrap();
    no_text(session, &[0xFF, 0x80, 0x00], "more text shown elsewhere");

    // An event in hand does not survive its storage.
    let mut session = Fixed::<64>::new(client());
    assert_eq!(feed(&mut session, &[0x81, 2, b'o', b'k']), Ok(Advance::Event));
    session.restore(BAD, 64);
    assert_eq!(session.event(), None);
}

/// The same for a connection that was exchanged after a failure in the middle of a step.
#[test]
fn u03_a_failed_step_leaves_no_trust_behind() {
    let two = |tail: u8| {
        let mut connection = client();
        connection
            .recv(T0, &mut [0x01, 2, 0xC3, 0xA9, 0x00, 1, tail])
            .map(|recv| assert_eq!(recv.event, None))
            .unwrap();
        connection
    };
    let mut session: Fixed<64> = Session::with_storage(client(), [0xFF; 64], 0);
    let put = |session: &mut Fixed<64>, bytes: &[u8]| {
        session.space(|| [0xFF; 64], 1)[..bytes.len()].copy_from_slice(bytes);
        session.received(bytes.len());
        session.advance(T0)
    };
    put(&mut session, &[0x01, 2, 0xC3, 0xA9, 0x00, 1, b'x']).unwrap();
    put(&mut session, &[0x00, 0, 0x83]).unwrap_err();
    *session.connection() = two(b'x');
    if put(&mut session, &[0x80, 0]) == Ok(Advance::Event)
        && let Some(Event::Text(text)) = session.event()
    {
        assert!(core::str::from_utf8(text.as_bytes()).is_ok());
    }
}

/// The reply goes out while the event is borrowed; the event is the same however often it is read.
#[test]
fn an_event_is_lent_beside_its_connection() {
    let mut session = Fixed::<64>::new(server());
    let wire = to(Role::Server, 0x81, b"hello");
    session.space(|| [0; 64], 1)[..wire.len()].copy_from_slice(&wire);
    session.received(wire.len());
    assert_eq!(session.advance(T0), Ok(Advance::Event));
    let mut out = [0; 64];
    let (Some(Event::Text(text)), connection) = session.lend() else { panic!("no text") };
    let n = connection.send(text.into(), &mut out).unwrap();
    assert_eq!(&out[..n], b"\x81\x05hello");
    assert_eq!(session.event(), Some(Event::Text("hello")));
    assert_eq!(session.advance(T0), Ok(Advance::Read { at_least: 2 }));
    assert_eq!(session.event(), None);
}

/// Bytes after the handshake are the first to be read.
#[test]
fn storage_to_begin_with() {
    let mut storage = [0; 64];
    let wire = to(Role::Server, 0x81, b"early");
    storage[..wire.len()].copy_from_slice(&wire);
    let mut session = Session::with_storage(server(), storage, wire.len());
    assert_eq!(session.advance(T0), Ok(Advance::Event));
    assert_eq!(session.event(), Some(Event::Text("early")));
    let (_, rest) = session.into_parts();
    assert_eq!(rest.unwrap().1, 0);
}

/// Nonsense from the caller: counts that were never read, spaces without end. No panic.
#[test]
fn f21_nonsense_from_the_caller_is_no_panic() {
    let mut session = Fixed::<32>::new(server());
    session.received(1000);
    assert_eq!(session.buffered(), 0);
    let _ = session.space(|| [0; 32], usize::MAX).len();
    session.received(usize::MAX);
    assert_eq!(session.buffered(), 32);
    assert!(session.advance(T0).is_err(), "zeros are a continuation of nothing");
    let mut session = Fixed::<32>::with_storage(server(), [0x82; 32], usize::MAX);
    assert_eq!(session.buffered(), 32);
    let _ = session.advance(T0);
    let _ = session.space(|| [0; 32], usize::MAX).len();
    let mut empty = Session::<[u8; 0]>::new(server());
    assert!(empty.space(|| [], 1).is_empty());
    assert_eq!(empty.advance(T0), Err(Failure::Violation(Violation::MessageTooBig)), "no byte will ever fit");
}

/// N-03: storage grows with the bytes that arrive, to at most twice what a message needs, never on a peer's word.
#[cfg(feature = "alloc")]
#[test]
fn n03_growth_follows_the_bytes() {
    for size in [0_usize, 1, 1000, 100_000, 1 << 20] {
        let mut session = Session::<Vec<u8>>::new(server());
        let wire = to(Role::Server, 0x82, &vec![3; size]);
        let mut fed = 0;
        let mut messages = 0;
        loop {
            match session.advance(T0).unwrap() {
                Advance::Event => messages += 1,
                Advance::Read { .. } if fed == wire.len() => break,
                Advance::Read { at_least } => {
                    let space = session.space(|| vec![0; 512], at_least);
                    let n = space.len().min(wire.len() - fed).min(1500);
                    space[..n].copy_from_slice(&wire[fed..fed + n]);
                    session.received(n);
                    fed += n;
                    let (storage, filled) = session.rest().unwrap();
                    assert!(storage.len() <= 512.max(2 * fed), "{} for {fed} bytes", storage.len());
                    session.restore(storage, filled);
                }
                Advance::Finished => panic!("finished"),
            }
        }
        assert_eq!(messages, 1);
    }
}

/// A connection survives a session around it.
#[test]
fn into_parts_gives_back_all() {
    let mut session = Fixed::<64>::new(server());
    session.space(|| [0; 64], 1)[..2].copy_from_slice(&[0x81, 0x85]);
    session.received(2);
    session.advance(T0).unwrap();
    let (connection, rest): (Connection, _) = session.into_parts();
    let (storage, filled) = rest.unwrap();
    assert_eq!(&storage[..filled], &[0x81, 0x85]);
    assert!(connection.can_recv());
}

/// The storage of an event is taken away with it; what came after it stays, and continues in other storage, at every
/// place, also in the middle of a text.
#[test]
fn an_event_leaves_with_its_storage() {
    let wire = [
        to(Role::Server, 0x01, "grö".as_bytes()),
        to(Role::Server, 0x89, b"ping"),
        to(Role::Server, 0x80, "ße".as_bytes()),
        to(Role::Server, 0x82, b"binary"),
    ]
    .concat();
    for config in [defaults(Role::Server), in_chunks(Role::Server)] {
        for cut in 0..=wire.len() {
            let mut session = Fixed::<64>::new(connect(Role::Server, config.clone()));
            let mut events = Vec::new();
            assert!(session.detach([0; 64]).is_err(), "without an event there is nothing to take");
            for part in [&wire[..cut], &wire[cut..]] {
                session.space(|| [0xFF; 64], 1)[..part.len()].copy_from_slice(part);
                session.received(part.len());
                while session.advance(T0) == Ok(Advance::Event) {
                    let event = Seen::from(session.event().unwrap());
                    let payload = match &event {
                        Seen::Text(text) => text.as_bytes(),
                        Seen::Binary(bytes) | Seen::Ping(bytes) | Seen::Chunk { bytes, .. } => bytes,
                        other => panic!("{other:?}"),
                    };
                    let (storage, range) = session.detach([0xFF; 64]).unwrap();
                    assert_eq!(&storage[range], payload);
                    assert_eq!(session.event(), None, "it is gone");
                    events.push(event);
                }
                assert_eq!(session.move_to([0xFF; 64]).map(|old| old.is_some()), Ok(true));
            }
            let mut events = join_chunks(events);
            events.retain(|event| !matches!(event, Seen::Ping(_)));
            assert_eq!(events, [Seen::text("größe"), Seen::Binary(b"binary".to_vec())], "{cut}");
        }
    }
}

/// U-03: a text is trusted only where it was validated: making room on behalf of another connection moves other bytes there.
#[test]
fn u03_room_made_for_another_connection_is_not_trusted() {
    let mut session = Session::<[u8; 16]>::new(client());
    let mut other = client();
    let mut binary = [0x02, 4, 1, 2, 3, 4, 0x00, 5];
    assert_eq!(other.recv(T0, &mut binary).unwrap().consumed, 2);
    let feed = |session: &mut Session<[u8; 16]>, bytes: &[u8]| {
        session.space(|| [0; 16], 1)[..bytes.len()].copy_from_slice(bytes);
        session.received(bytes.len());
    };
    feed(&mut session, b"\x01\x05abc\xC3\xA9");
    assert!(matches!(session.advance(T0), Ok(Advance::Read { .. })));
    feed(&mut session, b"_z\x80\x00_____");
    feed(&mut session, b"__");
    std::mem::swap(session.connection(), &mut other);
    assert_eq!(session.space(|| [0; 16], 1).len(), 2);
    std::mem::swap(session.connection(), &mut other);
    let _ = session.advance(T0);
    // "abc\xC3z" is not UTF-8.
    assert_eq!(session.event(), None);
}
