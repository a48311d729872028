//! The closing handshake (RFC 6455, sections 5.5.1, 7.1 and 7.4): the table of situations, row by row.

mod wire;

use std::time::Duration;

use wire::*;
use ws_core::{
    CloseCode, CloseFrame, Connection, Failure, Instant, Message, Role, SendError, Timer, Transport,
    Violation,
};

/// Something that happens to an endpoint.
enum Step {
    /// We close, with this code.
    Close(Option<u16>),
    /// Bytes come from the peer: an unmasked frame's first byte and payload.
    Hear(u8, Vec<u8>),
    /// Bytes come that break a rule.
    Violate(Violation),
    /// The transport ends; whether that is a clean end.
    Eof(Result<(), Failure>),
    /// This many seconds later, `tick` returns this.
    Tick(u64, Result<(), Failure>),
    /// Output is written: these frames.
    Write(Vec<(u8, Vec<u8>)>),
    /// The adapter shuts its writing side down.
    ShutDown,
    /// This was reported by the last step.
    Event(Seen),
    /// Nothing was.
    Silence,
    Is(Transport),
}

use Step::*;

fn play(about: &str, role: Role, steps: Vec<Step>) {
    let mut c = connect(role, defaults(role));
    let mut now = Instant::ZERO;
    let mut events: Vec<Seen> = Vec::new();
    let mut buffer = Vec::new();
    for (i, step) in steps.into_iter().enumerate() {
        let about = format!("{about}, {role:?}, step {i}");
        match step {
            Close(code) => {
                c.close(now, code.map(|code| CloseFrame::new(code, ""))).expect(&about);
            }
            Hear(first, payload) => {
                buffer.extend(to(role, first, &payload));
                events.clear();
                loop {
                    let recv = c.recv(now, &mut buffer).expect(&about);
                    let (consumed, event) = (recv.consumed, recv.event.map(Seen::from));
                    buffer.drain(..consumed);
                    let Some(event) = event else { break };
                    events.push(event);
                }
            }
            Violate(violation) => {
                buffer.push(0x83);
                let result = c.recv(now, &mut buffer).map(|recv| recv.consumed);
                assert_eq!(result, Err(Failure::Violation(violation)), "{about}");
            }
            Eof(result) => assert_eq!(c.recv_eof(now), result, "{about}"),
            Tick(seconds, result) => {
                now = now.saturating_add(Duration::from_secs(seconds));
                assert_eq!(c.tick(now), result, "{about}");
            }
            Write(expected) => {
                let sent: Vec<_> =
                    frames(&drain(&mut c)).into_iter().map(|(first, _, payload)| (first, payload)).collect();
                assert_eq!(sent, expected, "{about}");
            }
            ShutDown => c.shut_down(now),
            Event(event) => assert_eq!(events, [event], "{about}"),
            Silence => assert_eq!(events, [], "{about}"),
            Is(transport) => {
                assert_eq!(c.transport(), transport, "{about}");
                if transport == Transport::Close {
                    assert_eq!(c.deadline(), None, "{about}: nothing is waited for");
                }
            }
        }
    }
}

fn closes(code: u16) -> (u8, Vec<u8>) {
    (0x88, close_body(code, ""))
}

fn failed(violation: Violation) -> (u8, Vec<u8>) {
    (0x88, close_body(violation.close_code().0, violation.reason()))
}

const LATE: Result<(), Failure> = Err(Failure::Timeout(Timer::Close));
const LOST: Result<(), Failure> = Err(Failure::Eof);

/// the peer closes first.
#[test]
fn x07_the_peer_closes_first() {
    let heard = || Hear(0x88, close_body(1000, "bye"));
    let event = || Event(Seen::closed(1000, "bye"));
    // 7.1.1: the server ends the transport, the client waits for that.
    play(
        "x10 the server lingers at once",
        Role::Server,
        vec![
            heard(),
            event(),
            Is(Transport::Shutdown),
            Write(vec![closes(1000)]),
            Is(Transport::Shutdown),
            ShutDown,
            Is(Transport::Shutdown),
            Eof(Ok(())),
            Is(Transport::Close),
        ],
    );
    play(
        "x10 the client waits",
        Role::Client,
        vec![
            heard(),
            event(),
            Is(Transport::Open),
            Write(vec![closes(1000)]),
            Is(Transport::Open),
            Tick(9, Ok(())),
            Is(Transport::Open),
            Eof(Ok(())),
            Is(Transport::Close),
        ],
    );
    play(
        "x10 the client waits 10 s at the most",
        Role::Client,
        vec![heard(), Write(vec![closes(1000)]), Tick(10, Ok(())), Is(Transport::Close), Eof(Ok(()))],
    );
    play(
        "x10 the server lingers 2 s at the most",
        Role::Server,
        vec![
            heard(),
            Write(vec![closes(1000)]),
            ShutDown,
            Tick(1, Ok(())),
            Is(Transport::Shutdown),
            Tick(1, Ok(())),
            Is(Transport::Close),
        ],
    );
    play(
        "x07 no code, no code",
        Role::Server,
        vec![
            Hear(0x88, vec![]),
            Event(Seen::Close { frame: None, interrupted: false }),
            Write(vec![(0x88, vec![])]),
        ],
    );
}

/// we close first.
#[test]
fn x09_we_close_first() {
    for role in [Role::Server, Role::Client] {
        let end = if role == Role::Server { Transport::Shutdown } else { Transport::Open };
        play(
            "the peer answers",
            role,
            vec![
                Close(Some(1000)),
                Is(Transport::Open),
                Write(vec![closes(1000)]),
                Is(Transport::Open),
                Hear(0x88, close_body(1000, "")),
                Event(Seen::closed(1000, "")),
                Write(vec![]),
                Is(end),
                Eof(Ok(())),
                Is(Transport::Close),
            ],
        );
        play(
            "x09 both close at once: one frame each, the peer's code counts",
            role,
            vec![
                Close(Some(1001)),
                Hear(0x88, close_body(4000, "me too")),
                Event(Seen::closed(4000, "me too")),
                Write(vec![closes(1001)]),
                Is(end),
                Eof(Ok(())),
            ],
        );
        play(
            "x11 the peer never answers",
            role,
            vec![
                Close(None),
                Write(vec![(0x88, vec![])]),
                Tick(9, Ok(())),
                Is(Transport::Open),
                Tick(1, LATE),
                Is(Transport::Close),
                Tick(100, Ok(())),
                Hear(0x88, close_body(1000, "")),
                Silence,
                Eof(Ok(())),
            ],
        );
        play(
            "x13 the transport ends instead of an answer",
            role,
            vec![
                Close(Some(1000)),
                Write(vec![closes(1000)]),
                Eof(LOST),
                Is(Transport::Close),
                Eof(Ok(())),
                Tick(100, Ok(())),
            ],
        );
    }
}

/// ends of the transport.
#[test]
fn x13_ends_of_the_transport() {
    for role in [Role::Server, Role::Client] {
        play("x13 out of the blue", role, vec![Eof(LOST), Is(Transport::Close), Write(vec![]), Eof(Ok(()))]);
        play("x13 nothing comes after", role, vec![Eof(LOST), Hear(0x81, b"late".to_vec()), Silence]);
        play(
            "x14 with a pong pending: lost all the same",
            role,
            vec![Hear(0x89, b"?".to_vec()), Eof(LOST), Is(Transport::Close)],
        );
        play(
            "x14 half close: the echo is still written",
            role,
            vec![
                Hear(0x88, close_body(1000, "")),
                Eof(Ok(())),
                Is(Transport::Shutdown),
                Write(vec![closes(1000)]),
                Is(Transport::Close),
            ],
        );
        play(
            "x14 and given up when nobody takes it",
            role,
            vec![
                Hear(0x88, close_body(1000, "")),
                Eof(Ok(())),
                Is(Transport::Shutdown),
                Tick(9, Ok(())),
                Is(Transport::Shutdown),
                Tick(1, Ok(())),
                Is(Transport::Close),
            ],
        );
        play(
            "our close frame in the output, nobody takes it, the peer closes",
            role,
            vec![Close(Some(1000)), Hear(0x88, close_body(1000, "")), Tick(10, Ok(())), Is(Transport::Close)],
        );
    }
}

/// X-17 and 7.1.7: violations, before and after our close frame: one close frame in a connection's life.
#[test]
fn x17_violations() {
    let rule = Violation::ReservedOpcode;
    for role in [Role::Server, Role::Client] {
        play(
            "x17 while open",
            role,
            vec![
                Violate(rule),
                Is(Transport::Shutdown),
                Hear(0x81, b"late".to_vec()),
                Silence,
                Write(vec![failed(rule)]),
                ShutDown,
                Is(Transport::Shutdown),
                Eof(Ok(())),
                Is(Transport::Close),
            ],
        );
        play(
            "x17 after our close frame",
            role,
            vec![
                Close(Some(1000)),
                Write(vec![closes(1000)]),
                Violate(rule),
                Write(vec![]),
                Is(Transport::Shutdown),
                Eof(Ok(())),
                Is(Transport::Close),
            ],
        );
        play(
            "x17 while our close frame waits",
            role,
            vec![Close(Some(1000)), Violate(rule), Write(vec![closes(1000)])],
        );
        play(
            "the peer does not read: given up after the close timeout",
            role,
            vec![
                Violate(rule),
                Tick(9, Ok(())),
                Is(Transport::Shutdown),
                Tick(1, Ok(())),
                Is(Transport::Close),
            ],
        );
        play(
            "x08 garbage after the peer's close frame",
            role,
            vec![
                Hear(0x88, close_body(1000, "")),
                Hear(0xFF, vec![0xFF; 50]),
                Silence,
                Write(vec![closes(1000)]),
                Tick(9, Ok(())),
                Eof(Ok(())),
            ],
        );
    }
}

/// data between our close frame and the peer's: delivered in a drain, otherwise read, checked and dropped.
#[test]
fn x12_data_after_our_close_frame() {
    let message = || Hear(0x81, b"late".to_vec());
    let rows = [
        (None, true),
        (Some(1000), true),
        (Some(1001), true),
        (Some(1012), true),
        (Some(1002), false),
        (Some(1008), false),
        (Some(1011), false),
        (Some(1013), false),
        (Some(3000), false),
        (Some(4999), false),
    ];
    for (code, delivered) in rows {
        for role in [Role::Server, Role::Client] {
            let after = || if delivered { Event(Seen::text("late")) } else { Silence };
            play(
                &format!("x12 {code:?}"),
                role,
                vec![
                    Close(code),
                    message(),
                    after(),
                    Hear(0x89, b"!".to_vec()),
                    Event(Seen::Ping(b"!".to_vec())),
                    Hear(0x01, b"la".to_vec()),
                    Hear(0x80, b"te".to_vec()),
                    after(),
                    Hear(0x88, close_body(1000, "")),
                    Event(Seen::closed(1000, "")),
                ],
            );
        }
    }
}

/// "Size limits stay enforced", and so does the rest; also for a message that was half held when we closed.
#[test]
fn x12_dropped_data_is_checked() {
    let muted = |begun: &[u8]| {
        let mut c = connect(Role::Client, limited(Role::Client, 100));
        let mut held = begun.to_vec();
        let consumed = c.recv(T0, &mut held).unwrap().consumed;
        c.close(T0, Some(CloseFrame::new(1008, ""))).unwrap();
        (c, held[consumed..].to_vec())
    };
    let rows: [(&[u8], Vec<u8>, Option<Violation>); 6] = [
        (&[], header(0x82, false, 101), Some(Violation::FrameTooBig)),
        (&[], frame(0x81, None, &[0xFF]), Some(Violation::InvalidUtf8)),
        (&[0x01, 4, b'a', b'b'], vec![b'c', 0xC3, 0x80, 1, 0xA9], None),
        (&[0x01, 4, b'a', b'b'], vec![b'c', 0xC3, 0x80, 1, b'x'], Some(Violation::InvalidUtf8)),
        (&[0x02, 2, b'a', b'b'], frame(0x80, None, &[1; 98]), None),
        (&[0x02, 2, b'a', b'b', 0x89, 0], frame(0x80, None, &[1; 99]), Some(Violation::MessageTooBig)),
    ];
    for (begun, then, violation) in rows {
        for step in [1, 2, 3, 200] {
            let (mut c, mut buffer) = muted(begun);
            let mut failure = None;
            for part in then.chunks(step) {
                buffer.extend(part);
                loop {
                    match c.recv(T0, &mut buffer) {
                        Ok(recv) => {
                            assert_eq!(
                                recv.event.filter(|event| !matches!(event, ws_core::Event::Ping(_))),
                                None
                            );
                            let consumed = recv.consumed;
                            buffer.drain(..consumed);
                            if consumed == 0 || buffer.is_empty() {
                                break;
                            }
                        }
                        Err(error) => failure = Some(error),
                    }
                }
            }
            assert_eq!(failure, violation.map(Failure::Violation), "{begun:02X?} {then:02X?} by {step}");
            if violation.is_none() {
                assert_eq!(buffer, [], "dropped at once");
            }
        }
    }
}

/// every code there is, received.
#[test]
fn x03_x04_every_received_code() {
    let config = lasting(defaults(Role::Client));
    for code in 0..=u16::MAX {
        let ok = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let mut c = connect_shared(Role::Client, config);
        let mut wire = frame(0x88, None, &code.to_be_bytes());
        let result = c.recv(T0, &mut wire).map(|recv| recv.event.map(Seen::from));
        let sent = frames(&drain(&mut c));
        if ok {
            assert_eq!(result, Ok(Some(Seen::closed(code, ""))));
            assert_eq!(sent[0].2, code.to_be_bytes(), "echoed");
        } else {
            assert_eq!(result, Err(Failure::Violation(Violation::InvalidCloseCode)));
            assert_eq!(sent[0].2[..2], [0x03, 0xEA], "1002");
        }
        assert_eq!(sent.len(), 1);
    }
}

/// codes that may not travel and reasons that are too long are refused at the call; nothing changes.
#[test]
fn x06_unsendable_close_frames() {
    let mut c = server();
    for code in (0..=u16::MAX).filter(|code| !CloseCode(*code).may_travel()) {
        assert_eq!(c.close(T0, Some(CloseFrame::new(code, ""))), Err(SendError::UnsendableCode));
    }
    let long = "é".repeat(62);
    assert_eq!(c.close(T0, Some(CloseFrame::new(1000, &long))), Err(SendError::ReasonTooLong));
    assert!(c.can_send());
    assert_eq!((c.pending(), c.deadline()), (0, server().deadline()));
    let reason = format!("{}a", "é".repeat(61));
    c.close(T0, Some(CloseFrame::new(1000, &reason))).unwrap();
    assert_eq!(frames(&drain(&mut c))[0].2, close_body(1000, &reason));
}

/// a server that goes down sends 1001, or 1012 before a restart; both may be sent.
#[test]
fn x18_shutdown_codes() {
    for code in [CloseCode::GOING_AWAY, CloseCode::RESTART] {
        let mut c = server();
        c.close(T0, Some(CloseFrame::new(code, ""))).unwrap();
        assert_eq!(frames(&drain(&mut c))[0].2, code.0.to_be_bytes());
    }
}

/// "no data afterwards": from the peer's close frame on.
#[test]
fn x07_no_data_after_the_echo() {
    let mut c = server();
    c.recv(T0, &mut to(Role::Server, 0x88, &close_body(1000, ""))).unwrap();
    assert!(!c.can_send() && !c.can_recv());
    assert_eq!(c.send(Message::Text("x"), &mut [0; 64]), Err(SendError::Closed));
    assert_eq!(c.ping(b""), Err(SendError::Closed));
    assert_eq!(c.close(T0, None), Err(SendError::Closed));
}

/// a close frame inside a fragmented message is reported as such, in chunks too; the message is lost.
#[test]
fn x19_a_cut_message_is_told() {
    for config in [defaults(Role::Server), in_chunks(Role::Server)] {
        let config = lasting(config);
        for (before, interrupted) in [
            (to(Role::Server, 0x01, b"half"), true),
            (to(Role::Server, 0x02, b""), true),
            (to(Role::Server, 0x82, b"whole"), false),
            (vec![], false),
        ] {
            let wire = [before, to(Role::Server, 0x88, &close_body(1001, ""))].concat();
            let outcome = feed(&mut connect_shared(Role::Server, config), &wire, &[], Drain::Whole);
            let close = Seen::Close { frame: Some((1001, String::new())), interrupted };
            assert_eq!(outcome.events.last(), Some(&close));
            assert!(!outcome.events.iter().any(|event| matches!(event, Seen::Text(_))));
        }
    }
}

/// wherever the transport ends, inside a header, a payload or a control frame, it is lost, once, and the part
/// that came is not delivered.
#[test]
fn x13_eof_at_every_byte() {
    let wire = [to(Role::Server, 0x01, b"abc"), to(Role::Server, 0x89, b"p"), to(Role::Server, 0x80, b"def")]
        .concat();
    for end in 0..=wire.len() {
        let mut c: Connection = server();
        let outcome = feed(&mut c, &wire[..end], &[], Drain::Whole);
        let texts = outcome.events.iter().filter(|event| matches!(event, Seen::Text(_))).count();
        assert_eq!(texts, usize::from(end == wire.len()));
        assert_eq!(c.recv_eof(T0), LOST);
        assert_eq!(c.recv_eof(T0), Ok(()));
        assert!(!c.can_send() && !c.can_recv());
        assert_eq!(Failure::Eof.close_code(), CloseCode::ABNORMAL);
    }
}
