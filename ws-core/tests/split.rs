//! Two halves that exchange only a small `Reply` do what the whole connection does.

mod wire;

use wire::*;
use ws_core::{
    Advance, CloseFrame, Connection, Failure, Instant, Message, Receiver, Reply, Role, SendError, Sender,
    Session, Timer, Transport, Violation,
};

fn output(sender: &mut Sender) -> Vec<u8> {
    let mut out = vec![0; sender.pending()];
    assert_eq!(sender.transmit(&mut out), out.len());
    out
}

/// Feeds the receiving half, and hands what it owes to the sending one.
fn feed_halves(receiver: &mut Receiver, sender: &mut Sender, wire: &[u8], cuts: &[usize]) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut buffer, mut fed) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&wire.len()]) {
        buffer.extend(&wire[fed..cut]);
        fed = cut;
        loop {
            match receiver.recv(T0, &mut buffer) {
                Ok((recv, reply)) => {
                    if let Some(reply) = reply {
                        sender.reply(reply);
                    }
                    outcome.output.extend(output(sender));
                    let (consumed, event) = (recv.consumed, recv.event.map(Seen::from));
                    buffer.drain(..consumed);
                    let Some(event) = event else { break };
                    outcome.events.push(event);
                }
                Err(failure) => {
                    outcome.failed = Some((failure, fed));
                    sender.reply(failure.reply().expect("a violation is answered"));
                    outcome.output.extend(output(sender));
                }
            }
        }
    }
    outcome
}

/// C-03, X-07, X-17: the same input, the same events and the same output, whole or in halves.
#[test]
fn halves_say_what_the_whole_says() {
    for role in [Role::Server, Role::Client] {
        let message = [to(role, 0x01, b"te"), to(role, 0x89, b"ping"), to(role, 0x80, b"xt")].concat();
        for end in [to(role, 0x88, &close_body(1000, "x")), to(role, 0x88, b""), vec![0x83, 1, 2, 3], vec![]]
        {
            let wire = [&message[..], &end].concat();
            for cuts in all_cuts(wire.len()) {
                let whole = feed(&mut connect(role, defaults(role)), &wire, &cuts, Drain::Whole);
                let (mut receiver, mut sender) = connect(role, defaults(role)).split();
                let halves = feed_halves(&mut receiver, &mut sender, &wire, &cuts);
                assert_eq!(halves, whole);
                let joined = Connection::join(receiver, sender);
                assert_eq!(joined.can_recv(), end.is_empty());
                assert_eq!(joined.can_send(), end.is_empty());
            }
        }
    }
}

/// C-08, X-11: the receiving half keeps the timers; it is told what has left, and what we closed with.
#[test]
fn c08_x11_the_receiver_keeps_the_timers() {
    let at = Instant::from_secs;
    let (mut receiver, mut sender) = server().split();
    assert_eq!(receiver.deadline(), Some(at(20)));
    let reply: Reply = receiver.tick(at(20)).unwrap().expect("a ping is due");
    sender.reply(reply);
    assert!(!sender.take_ping_left());
    assert_eq!(frames(&output(&mut sender))[0].0, 0x89);
    assert!(sender.take_ping_left() && !sender.take_ping_left());
    receiver.ping_left();
    assert_eq!(receiver.deadline(), Some(at(40)));
    assert_eq!(receiver.tick(at(40)), Err(Failure::Timeout(Timer::Pong)));
    assert_eq!(Failure::Timeout(Timer::Pong).reply(), None);
    sender.stop();
    assert_eq!(sender.send(Message::Text("x"), &mut [0; 9]), Err(SendError::Closed));
    assert_eq!(receiver.transport(sender.pending()), Transport::Close);

    let (mut receiver, mut sender) = server().split();
    sender.close(Some(CloseFrame::new(1011, ""))).unwrap();
    receiver.closing(at(1), Some(1011.into()));
    assert_eq!(receiver.deadline(), Some(at(11)));
    let (recv, _) = receiver
        .recv(at(2), &mut to(Role::Server, 0x81, b"dropped"))
        .map(|(recv, reply)| (recv.event.is_none(), reply))
        .unwrap();
    assert!(recv, "X-12");
    assert_eq!(receiver.tick(at(11)), Err(Failure::Timeout(Timer::Close)));
}

/// A session around the receiving half, and the connection whole again afterwards, in the middle of a text.
#[test]
fn a_session_splits_and_joins() {
    let wire = [
        to(Role::Server, 0x01, "grö".as_bytes()),
        to(Role::Server, 0x89, b"p"),
        to(Role::Server, 0x80, "ße".as_bytes()),
    ]
    .concat();
    for cut in 0..wire.len() {
        let mut session = Session::with_storage(server(), [0_u8; 64], 0);
        session.space(|| [0; 64], 1)[..cut].copy_from_slice(&wire[..cut]);
        session.received(cut);
        let mut events = Vec::new();
        while session.advance(T0).unwrap() == Advance::Event {
            events.push(Seen::from(session.event().unwrap()));
        }
        let mut out = drain(session.connection());
        let (mut half, mut sender) = session.split();
        let middle = cut + (wire.len() - cut) / 2;
        for range in [cut..middle, middle..wire.len()] {
            half.space(|| [0; 64], 1)[..range.len()].copy_from_slice(&wire[range.clone()]);
            half.received(range.len());
            while half.advance(T0).unwrap() == Advance::Event {
                if let Some(reply) = half.reply() {
                    sender.reply(reply);
                }
                events.push(Seen::from(half.event().unwrap()));
            }
            out.extend(output(&mut sender));
            let session = half.join(sender);
            (half, sender) = session.split();
        }
        assert_eq!(events, [Seen::Ping(b"p".to_vec()), Seen::text("größe")], "{cut}");
        assert_eq!(out, b"\x8A\x01p");
    }
}

/// a failure's reply closes once, whatever came before it.
#[test]
fn x17_one_close_frame_from_halves() {
    let (_, mut sender) = server().split();
    sender.reply(Failure::Violation(Violation::ReservedBit).reply().unwrap());
    sender.reply(Failure::Violation(Violation::InvalidUtf8).reply().unwrap());
    assert_eq!(sender.close(None), Err(SendError::Closed));
    assert_eq!(frames(&output(&mut sender)).len(), 1);
}
