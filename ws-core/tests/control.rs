//! Pings and pongs (RFC 6455, sections 5.5.2 and 5.5.3), and what waits of them.

mod wire;

use wire::*;
use ws_core::{Message, Role, SendError};

fn ping(connection: &mut ws_core::Connection, payload: &[u8]) {
    let mut wire = to(connection.role(), 0x89, payload);
    let recv = connection.recv(T0, &mut wire).unwrap();
    assert_eq!(recv.event.map(Seen::from), Some(Seen::Ping(payload.to_vec())));
}

fn payloads(wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    frames(wire).into_iter().map(|(first, _, payload)| (first, payload)).collect()
}

/// C-03: the same payload, and before data that is sent later.
#[test]
fn c03_a_pong_goes_before_later_data() {
    for role in [Role::Server, Role::Client] {
        let mut c = connect(role, defaults(role));
        ping(&mut c, b"id");
        let mut out = [0; 64];
        let n = c.send(Message::Text("data"), &mut out).unwrap();
        assert_eq!(payloads(&out[..n]), [(0x8A, b"id".to_vec()), (0x81, b"data".to_vec())]);
    }
}

/// C-05: a ping after our close frame and before the peer's is answered, after our close frame.
#[test]
fn c05_a_ping_after_our_close_is_answered() {
    for drained in [false, true] {
        let mut c = server();
        c.close(T0, None).unwrap();
        let mut out = if drained { drain(&mut c) } else { vec![] };
        ping(&mut c, b"still there");
        out.extend(drain(&mut c));
        assert_eq!(payloads(&out), [(0x88, vec![]), (0x8A, b"still there".to_vec())]);
    }
}

/// C-06: 64 pongs wait; one more takes the place of all of them, but a front that is half sent stays.
#[cfg(feature = "alloc")]
#[test]
fn c06_the_newest_pong_replaces_the_older_ones() {
    for half_sent in [false, true] {
        let mut c = server();
        for i in 0..64_u8 {
            ping(&mut c, &[i]);
        }
        assert_eq!(c.pending(), 64 * 3);
        let mut out = vec![0; usize::from(half_sent)];
        assert_eq!(c.transmit(&mut out), out.len());
        ping(&mut c, b"newest");
        out.extend(drain(&mut c));
        let newest = (0x8A, b"newest".to_vec());
        let front = (0x8A, vec![0]);
        let expected = if half_sent { vec![front, newest] } else { vec![newest] };
        assert_eq!(payloads(&out), expected);
    }
    // A first one that has left completely takes no room: the 63 after it and one more fit.
    let mut c = server();
    (0..64_u8).for_each(|i| ping(&mut c, &[i]));
    assert_eq!(c.transmit(&mut [0; 3]), 3);
    ping(&mut c, &[64]);
    let order: Vec<u8> = payloads(&drain(&mut c)).iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(order, (1..=64).collect::<Vec<_>>());
}

/// C-06: long pongs: 8 KiB of them wait.
#[cfg(feature = "alloc")]
#[test]
fn c06_pongs_wait_in_8_kib() {
    let mut c = server();
    let mut most = 0;
    for i in 0..1000_u32 {
        let mut payload = [0; 125];
        payload[..4].copy_from_slice(&i.to_be_bytes());
        ping(&mut c, &payload);
        most = most.max(c.pending());
    }
    assert!(most > 7 << 10 && most <= 8 << 10, "{most}");
    let sent = payloads(&drain(&mut c));
    assert_eq!(sent.last().unwrap().1[..4], 999_u32.to_be_bytes(), "the newest is among them");
    let numbers: Vec<_> = sent.iter().map(|(_, payload)| payload[..4].to_vec()).collect();
    assert!(numbers.is_sorted(), "in order");
}

/// C-06: without an allocator one pong waits, besides a ping of our own and the close frame.
#[cfg(not(feature = "alloc"))]
#[test]
fn c06_one_pong_waits() {
    let mut c = server();
    let long = |byte| vec![byte; 125];
    ping(&mut c, &long(1));
    ping(&mut c, &long(2));
    assert_eq!(c.transmit(&mut [0]), 1);
    ping(&mut c, &long(3));
    ping(&mut c, &long(4));
    assert_eq!(c.ping(b""), Err(SendError::ControlQueueFull));
    c.close(T0, Some(ws_core::CloseFrame::new(1000, &"r".repeat(123)))).unwrap();
    let mut out = vec![0x8A];
    out.extend(drain(&mut c));
    let close = close_body(1000, &"r".repeat(123));
    assert_eq!(payloads(&out), [(0x8A, long(2)), (0x8A, long(4)), (0x88, close.clone())]);
    let mut c = server();
    c.ping(&long(9)).unwrap();
    assert_eq!(c.transmit(&mut [0]), 1);
    ping(&mut c, &long(1));
    ping(&mut c, &long(2));
    c.close(T0, Some(ws_core::CloseFrame::new(1000, &"r".repeat(123)))).unwrap();
    let out = [vec![0x89], drain(&mut c)].concat();
    assert_eq!(payloads(&out), [(0x89, long(9)), (0x8A, long(2)), (0x88, close)]);
}

/// C-06: pings of our own and the peer's pongs share the bound: a flood takes nothing away that we asked for.
#[cfg(feature = "alloc")]
#[test]
fn c06_own_pings_are_bounded_and_kept() {
    let mut c = server();
    for i in 0..64_u8 {
        c.ping(&[i]).unwrap();
    }
    assert_eq!(c.ping(b""), Err(SendError::ControlQueueFull));
    assert_eq!(c.pong(b""), Err(SendError::ControlQueueFull));
    for i in 0..200_u8 {
        ping(&mut c, &[i]);
        assert!(c.pending() <= 65 * 3);
    }
    let sent = payloads(&drain(&mut c));
    assert_eq!(sent.len(), 65);
    assert_eq!(sent[63], (0x89, vec![63]));
    assert_eq!(sent[64], (0x8A, vec![199]));
}

/// C-06: an unsolicited pong is one of those that the newest replaces.
#[test]
fn c06_own_pongs_may_be_replaced() {
    let mut c = server();
    c.pong(b"own").unwrap();
    for i in 0..64_u8 {
        ping(&mut c, &[i]);
    }
    assert_eq!(payloads(&drain(&mut c)), [(0x8A, vec![63])]);
    c.pong(b"own").unwrap();
    assert_eq!(payloads(&drain(&mut c)), [(0x8A, b"own".to_vec())]);
}

/// C-07: an unsolicited pong is an event and nothing else.
#[test]
fn c07_an_unsolicited_pong_gets_no_reply() {
    for role in [Role::Server, Role::Client] {
        let mut c = connect(role, defaults(role));
        let outcome = feed(&mut c, &to(role, 0x8A, b"so?"), &[], Drain::Whole);
        assert_eq!(outcome.events, [Seen::Pong(b"so?".to_vec())]);
        assert_eq!(outcome.output, []);
    }
}

/// C-09: our own pings and pongs hold at most 125 bytes.
#[test]
fn c09_own_control_frames_are_short() {
    for len in [0, 1, 125] {
        let mut c = server();
        c.ping(&vec![1; len]).unwrap();
        assert_eq!(payloads(&drain(&mut c)), [(0x89, vec![1; len])]);
        c.pong(&vec![2; len]).unwrap();
        assert_eq!(payloads(&drain(&mut c)), [(0x8A, vec![2; len])]);
    }
    for len in [126, 127, 70_000] {
        let mut c = server();
        assert_eq!(c.ping(&vec![0; len]), Err(SendError::ControlTooLong));
        assert_eq!(c.pong(&vec![0; len]), Err(SendError::ControlTooLong));
        assert_eq!(c.pending(), 0);
    }
}

/// F-21: a control frame that leaves in parts of any size is the same frame, with one key; `pending` counts it down.
#[test]
fn f21_control_frames_leave_in_any_parts() {
    for role in [Role::Server, Role::Client] {
        for size in 1..40 {
            let mut c = connect(role, defaults(role));
            ping(&mut c, b"first");
            let mut wire = Vec::new();
            let mut part = vec![0; size];
            let n = c.transmit(&mut part[..1]);
            wire.extend(&part[..n]);
            c.close(T0, Some(ws_core::CloseFrame::new(3000, "a reason"))).unwrap();
            loop {
                let before = c.pending();
                let n = c.transmit(&mut part);
                assert_eq!(c.pending(), before - n);
                if n == 0 {
                    break;
                }
                wire.extend(&part[..n]);
            }
            assert_eq!(payloads(&wire), [(0x8A, b"first".to_vec()), (0x88, close_body(3000, "a reason"))]);
        }
    }
}

/// C-02 and 7.1.7: a violation while a pong is half transmitted: its rest goes first, then the close frame.
#[test]
fn a_violation_behind_half_a_pong() {
    let mut c = server();
    ping(&mut c, b"half");
    let mut out = vec![0; 3];
    assert_eq!(c.transmit(&mut out), 3);
    c.recv(T0, &mut [0xFF]).unwrap_err();
    out.extend(drain(&mut c));
    let sent = payloads(&out);
    assert_eq!(sent[0], (0x8A, b"half".to_vec()));
    assert_eq!((sent[1].0, &sent[1].1[..2], sent.len()), (0x88, &[0x03, 0xEA][..], 2));
}
