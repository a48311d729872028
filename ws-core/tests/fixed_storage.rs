//! Storage that cannot grow (rows F-07, N-01, N-05): what it cannot hold ends the connection, and what it holds is not
//! moved about for a peer's pings.

mod wire;

use std::time::{Duration, Instant as Clock};

use proptest::collection::vec;
use proptest::prelude::*;
use wire::*;
use ws_core::{Advance, Event, Failure, Instant, Receiver, Role, Session, Storage, Violation};

const TOO_BIG: Failure = Failure::Violation(Violation::MessageTooBig);

/// The loop of `Session`'s documentation, until the transport ends; the number of messages.
fn documented_loop<B: Storage>(
    session: &mut Session<B>,
    mut socket: &[u8],
    step: usize,
    lease: impl Fn() -> B,
) -> Result<usize, Failure> {
    let mut messages = 0;
    loop {
        match session.advance(T0)? {
            Advance::Event => messages += usize::from(matches!(session.event(), Some(Event::Binary(_)))),
            Advance::Read { at_least } => {
                assert!(at_least > session.buffered());
                let space = session.space(&lease, at_least);
                assert!(!space.is_empty(), "there is always space after `Read`");
                let n = space.len().min(step).min(socket.len());
                space[..n].copy_from_slice(&socket[..n]);
                socket = &socket[n..];
                session.received(n);
                if n == 0 {
                    session.connection().recv_eof(T0)?;
                }
            }
            Advance::Finished => return Ok(messages),
        }
    }
}

/// F-07: a message larger than the storage fails in `advance`, with its close frame; the loop need not look for it.
#[test]
fn f07_a_message_that_the_storage_cannot_hold_is_refused() {
    fn refused<B: Storage>(wire: &[u8], step: usize, lease: impl Fn() -> B) {
        let mut session = Session::new(server());
        assert_eq!(documented_loop(&mut session, wire, step, lease), Err(TOO_BIG), "by {step}");
        let sent = frames(&drain(session.connection()));
        assert_eq!(sent.last().expect("a close frame").2[..2], 1009_u16.to_be_bytes());
        assert_eq!(session.advance(T0), Ok(Advance::Finished));
    }
    let message = |size| to(Role::Server, 0x82, &vec![1; size]);
    let close = to(Role::Server, 0x88, &close_body(1000, ""));
    for size in [65, 100, 126, 200] {
        let wire = [message(size), close.clone()].concat();
        // In two fragments, with a ping between, all of which the storage must hold for the moment.
        let (one, two) = (to(Role::Server, 0x02, &[1; 50]), to(Role::Server, 0x80, &vec![1; size - 50]));
        let fragments = [one, to(Role::Server, 0x89, b"ping"), two].concat();
        for wire in [wire, fragments] {
            for step in [1, 5, 64, 1000] {
                refused(&wire, step, || [0; 64]);
                #[cfg(feature = "alloc")]
                refused(&wire, step, || vec![0; 64].into_boxed_slice());
                refused(&wire, step, || Box::leak(Box::new([0; 64])).as_mut_slice());
                refused(&wire, step, || [0; 3]);
            }
        }
    }
    for size in [0, 1, 60, 63, 64] {
        let wire = [message(size).repeat(3), close.clone()].concat();
        for step in [1, 5, 64, 1000] {
            let mut session = Session::new(server());
            assert_eq!(documented_loop(&mut session, &wire, step, || [0; 64]), Ok(3), "{size} by {step}");
            // What can grow grows.
            #[cfg(feature = "alloc")]
            {
                let mut session = Session::new(server());
                assert_eq!(
                    documented_loop(&mut session, &wire, step, || vec![0; 16]),
                    Ok(3),
                    "{size} by {step}"
                );
            }
        }
    }
}

/// F-07: the receiving half of a split connection reports it too, and its sender is told what to send.
#[test]
fn f07_half_a_session_refuses_it_too() {
    let session = Session::<[u8; 8]>::new(server());
    let (mut half, mut sender): (Session<[u8; 8], Receiver>, _) = session.split();
    let wire = to(Role::Server, 0x82, &[0; 9]);
    let mut fed = 0;
    let failure = loop {
        match half.advance(T0) {
            Ok(Advance::Read { at_least }) => {
                let space = half.space(|| [0; 8], at_least);
                let n = space.len().min(wire.len() - fed);
                space[..n].copy_from_slice(&wire[fed..fed + n]);
                fed += n;
                half.received(n);
            }
            Err(failure) => break failure,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failure, TOO_BIG);
    sender.reply(failure.reply().expect("a close frame"));
    let mut out = [0; 64];
    let n = sender.transmit(&mut out);
    assert_eq!(frames(&out[..n])[0].2[..2], 1009_u16.to_be_bytes());
}

/// Moved to larger storage in time, a message goes on there.
#[cfg(feature = "alloc")]
#[test]
fn storage_is_exchanged_before_it_is_full() {
    let mut session = Session::<Box<[u8]>>::new(server());
    let wire = to(Role::Server, 0x82, &[7; 1000]);
    let (mut fed, mut most) = (0, 0);
    while session.advance(T0).expect("room") != Advance::Event {
        let owed = usize::try_from(session.connection().remaining()).unwrap();
        if session.storage_len() > 0 && session.buffered() + owed > session.storage_len() {
            let larger = vec![0; session.buffered() + owed].into_boxed_slice();
            session.move_to(larger).expect("larger");
        }
        let space = session.space(|| vec![0; 64].into(), 1);
        let n = space.len().min(60).min(wire.len() - fed);
        space[..n].copy_from_slice(&wire[fed..fed + n]);
        fed += n;
        session.received(n);
        most = most.max(session.storage_len());
    }
    assert_eq!(session.event(), Some(Event::Binary(&mut [7; 1000])));
    assert!((1000..1100).contains(&most), "{most}");
}

/// Receives empty pings after a fragment that leaves room for just one of them; returns how long they took.
fn flood(size: usize, pings: u32) -> Duration {
    let mut storage = vec![0; size];
    let mut session = Session::with_storage(server(), &mut storage[..], 0);
    let mut wire: &[u8] = &to(Role::Server, 0x02, &vec![5; size - 6]);
    while !wire.is_empty() {
        assert!(matches!(session.advance(T0), Ok(Advance::Read { .. })));
        let space = session.space(|| unreachable!(), 1);
        let n = space.len().min(wire.len());
        space[..n].copy_from_slice(&wire[..n]);
        session.received(n);
        wire = &wire[n..];
    }
    let ping = to(Role::Server, 0x89, b"");
    let started = Clock::now();
    for second in 0..pings {
        let now = Instant::ZERO.saturating_add(Duration::from_secs(second.into()));
        assert!(matches!(session.advance(now), Ok(Advance::Read { .. })));
        let space = session.space(|| unreachable!(), 1);
        assert_eq!(space.len(), ping.len());
        space.copy_from_slice(&ping);
        session.received(ping.len());
        assert_eq!(session.advance(now), Ok(Advance::Event));
        assert_eq!(session.event(), Some(Event::Ping(&[])));
        assert_eq!(session.connection().transmit(&mut [0; 8]), 2);
        // Each is a sign of life.
        let keepalive = session.connection().config().timeouts.keepalive.unwrap();
        assert_eq!(session.connection().deadline(), Some(now.saturating_add(keepalive)));
    }
    let took = started.elapsed();
    let end = to(Role::Server, 0x80, b"");
    assert!(matches!(session.advance(T0), Ok(Advance::Read { .. })));
    session.space(|| unreachable!(), 1).copy_from_slice(&end);
    session.received(end.len());
    assert_eq!(session.advance(T0), Ok(Advance::Event));
    assert_eq!(session.event(), Some(Event::Binary(&mut vec![5; size - 6][..])), "untouched");
    took
}

/// N-05: 6 bytes from a peer cost the work of 6 bytes, even after a message that fills its storage: after 1 MiB they take
/// no longer than after 64 KiB. If the message were moved for each, they would take sixteen times as long.
#[test]
fn n05_pings_into_full_storage_move_no_message() {
    let pings = if cfg!(miri) { 20 } else { 20_000 };
    let mut best = [Duration::MAX; 2];
    for _ in 0..20 {
        let turn = [flood(64 << 10, pings), flood(1 << 20, pings)];
        best = std::array::from_fn(|at| best[at].min(turn[at]));
        if cfg!(miri) || best[1] < best[0] * 4 {
            return;
        }
    }
    panic!("{:?} behind 64 KiB, {:?} behind 1 MiB", best[0], best[1]);
}

/// All events of `wire` in reads of at most `reads` bytes, in turn, and how it ended.
fn events<B: Storage>(wire: &[u8], reads: &[usize], lease: impl Fn() -> B) -> (Vec<Seen>, Option<Failure>) {
    let mut session = Session::new(server());
    let (mut seen, mut rest, mut reads) = (Vec::new(), wire, reads.iter().cycle());
    loop {
        match session.advance(T0) {
            Ok(Advance::Event) => seen.extend(session.event().map(Seen::from)),
            Ok(Advance::Read { at_least }) if !rest.is_empty() => {
                let space = session.space(&lease, at_least);
                let n = space.len().min(*reads.next().unwrap()).min(rest.len());
                assert!(n > 0);
                space[..n].copy_from_slice(&rest[..n]);
                session.received(n);
                rest = &rest[n..];
            }
            Ok(_) => return (seen, None),
            Err(failure) => return (seen, Some(failure)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 2_000 }, ..ProptestConfig::default() })]

    /// F-11, F-21: over fragments and control frames of any size, in any reads, small storage gives the events that large and
    /// growing storage give, up to the message that it cannot hold.
    #[test]
    fn f11_fixed_storage_gives_the_same_events(
        frames in vec((0_u8..8, 0_usize..60), 1..40),
        reads in vec(1_usize..90, 1..20),
        is_text in any::<bool>(),
    ) {
        let (mut wire, mut open) = (Vec::new(), false);
        for (kind, len) in frames {
            let payload = "ab€d".repeat(len / 5);
            let (first, payload) = match kind {
                0 => (0x89, payload),
                1 => (0x8A, payload),
                2 => (0x89, String::new()),
                _ => {
                    let opcode = if open { 0 } else { 2 - u8::from(is_text) };
                    open = kind < 6;
                    (opcode | if open { 0 } else { 0x80 }, payload)
                }
            };
            wire.extend(to(Role::Server, first, payload.as_bytes()));
        }
        let (expected, end) = events(&wire, &reads, || [0xFF; 40 * 80]);
        prop_assert_eq!(end, None);
        let (seen, end) = events(&wire, &reads, || [0xFF; 128]);
        prop_assert!(expected.starts_with(&seen));
        prop_assert!(end == Some(TOO_BIG) || end.is_none() && seen == expected, "{:?}", end);
        #[cfg(feature = "alloc")]
        prop_assert_eq!(events(&wire, &reads, || vec![0xFF; 8]), (expected, None));
    }
}
