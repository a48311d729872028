//! Deadlines (RFC 6455, sections 5.5.2 and 7.1.1; rows C-08, X-10, X-11, N-06), on a virtual clock.

mod wire;

use std::time::Duration;

use wire::*;
use ws_core::{
    Advance, CloseFrame, Config, Connection, Event, Failure, Instant, Message, Role, Session, Timer,
    Transport,
};

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn hear(c: &mut Connection, now: Instant, first: u8, payload: &[u8]) {
    let mut wire = to(c.role(), first, payload);
    assert!(c.recv(now, &mut wire).unwrap().event.is_some());
    assert_eq!(c.recv(now, &mut []).unwrap().event, None);
}

const PONG_LATE: Result<(), Failure> = Err(Failure::Timeout(Timer::Pong));

/// C-08: a ping after 20 s of silence; 20 s for any sign of life; then 1006.
#[test]
fn c08_a_silent_peer_is_given_up() {
    for role in [Role::Server, Role::Client] {
        let mut c = connect(role, defaults(role));
        assert_eq!(c.deadline(), Some(at(20)));
        assert_eq!((c.tick(Instant::from_micros(19_999_999)), c.pending()), (Ok(()), 0), "early is harmless");
        c.tick(at(20)).unwrap();
        assert_eq!(c.deadline(), None, "the ping waits in the output");
        c.tick(at(25)).unwrap();
        let sent = frames(&drain(&mut c));
        assert_eq!((sent.len(), sent[0].0, sent[0].2.len()), (1, 0x89, 0));
        assert_eq!(c.deadline(), Some(at(45)), "counted from when it has left");
        assert_eq!(c.tick(Instant::from_micros(44_999_999)), Ok(()));
        assert_eq!(c.tick(at(45)), PONG_LATE);
        assert_eq!((c.tick(at(99)), c.deadline(), c.transport()), (Ok(()), None, Transport::Close));
        assert_eq!(Failure::Timeout(Timer::Pong).close_code().0, 1006);
        assert!(!c.can_send() && !c.can_recv());
        // 7.1.7: a failure is final.
        let mut wire = to(role, 0x81, b"too late");
        assert_eq!(c.recv(at(99), &mut wire).unwrap().event, None);
    }
}

/// C-08: "Any received byte counts as life": half a header, a part of a frame, a pong.
#[test]
fn c08_any_byte_is_a_sign_of_life() {
    let whole = to(Role::Server, 0x82, &[1; 300]);
    for n in [1, 2, 5, 100, whole.len()] {
        let mut c = server();
        c.tick(at(20)).unwrap();
        drain(&mut c);
        let mut wire = whole[..n].to_vec();
        c.recv(at(39), &mut wire).unwrap();
        c.recv(at(39), &mut []).unwrap();
        c.tick(at(40)).unwrap();
        assert_eq!(c.deadline(), Some(at(59)), "{n} bytes");
    }
    // The same bytes shown again are none.
    let mut c = server();
    c.recv(at(5), &mut [0x82]).unwrap();
    c.recv(at(9), &mut [0x82]).unwrap();
    assert_eq!(c.deadline(), Some(at(25)));
}

/// C-08: a byte that comes before the ping has left makes the answer to it unnecessary; one ping waits, not many.
#[test]
fn c08_pings_do_not_pile_up_in_a_blocked_output() {
    let mut c = server();
    for round in 1..100_u64 {
        c.tick(at(20 * round)).unwrap();
        hear(&mut c, at(20 * round), 0x8A, b"");
    }
    assert_eq!(frames(&drain(&mut c)).len(), 1);
    assert_eq!(c.deadline(), Some(at(99 * 20 + 20)), "no pong is due");
}

/// C-08: the ping may leave before a message, and byte by byte: it has left with its last byte.
#[test]
fn c08_the_ping_leaves_with_its_last_byte() {
    let mut c = server();
    c.tick(at(20)).unwrap();
    assert_eq!(c.transmit(&mut [0]), 1);
    assert_eq!(c.deadline(), None);
    assert_eq!(c.transmit(&mut [0]), 1);
    assert_eq!(c.deadline(), Some(at(40)));
    let mut c = server();
    c.tick(at(20)).unwrap();
    let mut out = [0; 16];
    assert_eq!(c.send(Message::Text("x"), &mut out), Ok(2 + 3));
    assert_eq!(c.deadline(), Some(at(40)));
    // A ping of the user's own is not the keepalive's, whether it leaves before it or alone.
    let mut c = connect(Role::Server, defaults(Role::Server));
    c.pause(T0);
    c.ping(b"own").unwrap();
    c.tick(at(20)).unwrap();
    c.recv(at(20), &mut []).unwrap();
    assert_eq!(c.transmit(&mut [0; 5]), 5);
    assert_eq!(c.deadline(), None, "the keepalive's still waits");
    assert_eq!((c.transmit(&mut [0; 5]), c.deadline()), (2, Some(at(40))));
    let mut c = server();
    c.ping(b"own").unwrap();
    drain(&mut c);
    assert_eq!(c.deadline(), Some(at(20)));
}

/// C-08: "the application pauses 60 s (virtual) behind 1 MiB of data, and the connection lives": its pong is
/// behind data that has not been read yet.
#[test]
fn c08_a_pause_behind_1_mib_kills_nobody() {
    let mut wire = to(Role::Server, 0x82, &[5; 1000]).repeat(1048);
    wire.extend(to(Role::Server, 0x8A, b""));
    let mut storage = vec![0; 16 << 10];
    let mut session = Session::with_storage(server(), &mut storage[..], 0);
    let (mut now, mut fed, mut messages, mut pongs, mut pings) = (T0, 0, 0, 0, 0);
    loop {
        match session.advance(now).unwrap() {
            Advance::Event => {
                match session.event() {
                    Some(Event::Binary(_)) => messages += 1,
                    Some(Event::Pong(_)) => pongs += 1,
                    other => panic!("{other:?}"),
                }
                // The application takes its time over two of them, and the adapter wakes for every deadline.
                if messages == 1 || messages == 500 {
                    let until = now.saturating_add(Duration::from_secs(60));
                    while let Some(deadline) = session.connection().deadline().filter(|&due| due < until) {
                        assert!(deadline > now, "no busy loop");
                        now = deadline;
                        session.connection().tick(now).expect("the peer is not to blame");
                        pings += frames(&drain(session.connection())).len();
                    }
                    now = until;
                    session.connection().tick(now).expect("nor at the end of the pause");
                }
            }
            Advance::Read { .. } if fed == wire.len() => break,
            Advance::Read { at_least } => {
                let space = session.space(|| unreachable!(), at_least);
                let n = space.len().min(wire.len() - fed);
                space[..n].copy_from_slice(&wire[fed..fed + n]);
                session.received(n);
                fed += n;
            }
            Advance::Finished => panic!("finished"),
        }
    }
    assert_eq!((messages, pongs, pings), (1048, 1, 2));
    assert_eq!(session.connection().deadline(), Some(now.saturating_add(Duration::from_secs(20))));
}

/// C-08: the same with an adapter that stops reading and reports it.
#[test]
fn c08_pause_stops_the_pong_deadline() {
    let mut c = server();
    c.tick(at(20)).unwrap();
    drain(&mut c);
    c.pause(at(30));
    assert_eq!((c.deadline(), c.tick(at(100))), (None, Ok(())));
    // Reading again: the pong has its full time.
    c.recv(at(100), &mut []).unwrap();
    assert_eq!(c.deadline(), Some(at(120)));
    assert_eq!(c.tick(at(120)), PONG_LATE);
}

/// which deadline applies in which state; each is reported once.
#[test]
fn x10_x11_close_and_linger_deadlines() {
    let mut c = server();
    c.close(at(5), None).unwrap();
    assert_eq!(c.deadline(), Some(at(15)), "no keepalive while closing");
    hear(&mut c, at(7), 0x8A, b"");
    assert_eq!(c.deadline(), Some(at(15)), "life is no answer");
    assert_eq!(c.tick(at(15)), Err(Failure::Timeout(Timer::Close)));
    assert_eq!((c.tick(at(16)), c.deadline()), (Ok(()), None));

    let mut c = server();
    hear(&mut c, at(3), 0x88, &close_body(1000, ""));
    assert_eq!(c.deadline(), Some(at(13)));
    drain(&mut c);
    c.shut_down(at(4));
    assert_eq!(c.deadline(), Some(at(6)));
    c.shut_down(at(5));
    assert_eq!(c.deadline(), Some(at(6)), "once is enough");
    assert_eq!((c.tick(at(6)), c.transport(), c.deadline()), (Ok(()), Transport::Close, None));
}

/// lingering discards 64 KiB, whatever came before it; then it is over.
#[test]
fn x10_lingering_is_bounded_in_bytes() {
    for failed in [false, true] {
        let mut c = server();
        // What came in the same read as the end counts for nothing.
        let mut wire = if failed { vec![0x83] } else { to(Role::Server, 0x88, &close_body(1000, "")) };
        wire.resize(200_000, 0xEE);
        assert_eq!(c.recv(T0, &mut wire).is_err(), failed);
        drain(&mut c);
        c.shut_down(T0);
        let mut shown = if failed { wire } else { vec![] };
        assert_eq!(c.recv(T0, &mut shown).unwrap().consumed, shown.len());
        assert_eq!(c.transport(), Transport::Shutdown, "failed: {failed}");
        assert_eq!(c.linger_room(), Some(64 << 10));
        for _ in 0..64 {
            let mut more = [0; 1024];
            assert_eq!(c.recv(T0, &mut more).unwrap().consumed, 1024);
            assert_eq!(c.transport(), Transport::Shutdown);
        }
        assert_eq!(c.linger_room(), Some(0));
        c.recv(T0, &mut [0]).unwrap();
        assert_eq!(c.transport(), Transport::Close);
    }
}

/// N-06: a `now` that goes back is replaced by the latest one; the end of time does not overflow.
#[test]
fn n06_time_does_not_go_back() {
    let mut c = server();
    hear(&mut c, at(50), 0x8A, b"");
    assert_eq!(c.deadline(), Some(at(70)));
    c.tick(at(1)).unwrap();
    hear(&mut c, at(2), 0x8A, b"");
    assert_eq!(c.deadline(), Some(at(70)));
    c.close(at(3), None).unwrap();
    assert_eq!(c.deadline(), Some(at(60)));
    let end = Instant::from_micros(u64::MAX);
    let mut c = Connection::server(lasting(Config::server()), end);
    c.tick(end).unwrap();
    drain(&mut c);
    assert_eq!(c.tick(end), PONG_LATE);
    let _ = c.close(end, Some(CloseFrame::new(1000, "")));
}

/// Without a keepalive there is nothing to wait for while the connection is open.
#[test]
fn no_keepalive_no_deadline() {
    let mut config = defaults(Role::Server);
    config.timeouts.keepalive = None;
    let mut c = connect(Role::Server, config);
    assert_eq!((c.deadline(), c.tick(at(1_000_000)), c.pending()), (None, Ok(()), 0));
}
