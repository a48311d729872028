//! What a hostile peer, or a caller in any order of calls, may try with compressed bytes.

use ws_core::deflate::{Pool, PoolLimits};
use ws_core::{CloseFrame, Transport};

use super::*;

/// A deflate session in parts, with a message in hand of which more is to be inflated.
fn in_the_middle(text: bool) -> (Session<Vec<u8>>, Session<Vec<u8>>, Vec<u8>) {
    let (mut server, mut client) = pair(&agreement(true, 15), Delivery::Chunks, 1 << 20);
    let plain = if text { "größe ".repeat(20_000).into_bytes() } else { vec![7; 160_000] };
    let message = match core::str::from_utf8(&plain) {
        Ok(plain) if text => Message::Text(plain),
        _ => Message::Binary(&plain),
    };
    let mut wire = send(&mut client, message, Part::Whole);
    wire.extend(send(&mut client, Message::Text("next"), Part::Whole));
    feed(&mut server, &wire);
    assert_eq!(server.advance(NOW), Ok(Advance::Event));
    (server, client, plain)
}

fn feed(to: &mut Session<Vec<u8>>, wire: &[u8]) {
    let mut wire = wire;
    while !wire.is_empty() {
        let space = to.space(|| vec![0; 64], wire.len());
        let n = space.len().min(wire.len());
        space[..n].copy_from_slice(&wire[..n]);
        to.received(n);
        wire = &wire[n..];
    }
}

/// Everything still to be received: the bytes of all events, and how many ended a message. Gives up on endless loops.
fn drain<C: ws_core::Endpoint>(session: &mut Session<Vec<u8>, C>) -> (Vec<u8>, usize) {
    let (mut all, mut ends) = (Vec::new(), 0);
    for _ in 0..10_000 {
        let Ok(Advance::Event) = session.advance(NOW) else { return (all, ends) };
        match session.event() {
            Some(Event::Chunk(chunk)) => {
                if let ws_core::Payload::Text(text) = &chunk.payload {
                    assert!(core::str::from_utf8(text.as_bytes()).is_ok());
                }
                all.extend_from_slice(chunk.payload.as_bytes());
                ends += usize::from(chunk.last);
            }
            Some(Event::Text(text)) => {
                assert!(core::str::from_utf8(text.as_bytes()).is_ok());
                all.extend_from_slice(text.as_bytes());
                ends += 1;
            }
            Some(Event::Binary(bytes)) => {
                all.extend_from_slice(bytes);
                ends += 1;
            }
            _ => {}
        }
    }
    panic!("no end of events");
}

fn lent(session: &mut Session<Vec<u8>>) -> Vec<u8> {
    match session.event() {
        Some(Event::Chunk(chunk)) => chunk.payload.as_bytes().to_vec(),
        event => panic!("{event:?}"),
    }
}

/// Storage comes and goes, with compressed bytes at its front, and nothing is lost.
#[test]
fn storage_moves_under_a_message_half_inflated() {
    for text in [true, false] {
        for way in 0..6 {
            let (mut server, _client, plain) = in_the_middle(text);
            let mut all = lent(&mut server);
            match way {
                0 => {
                    let (storage, filled) = server.rest().unwrap();
                    server.restore(storage, filled);
                }
                1 => drop(server.move_to(vec![0; 9000]).unwrap()),
                2 => {
                    let (storage, range) = server.detach(Vec::new()).unwrap();
                    assert_eq!(storage[range], all);
                    assert_eq!(server.event(), None);
                }
                3 => {
                    let (half, sender) = server.split();
                    server = half.join(sender);
                }
                4 => {
                    let (mut half, _sender) = server.split();
                    let (rest, ends) = drain(&mut half);
                    assert!(([all, rest].concat(), ends) == ([&plain, &b"next"[..]].concat(), 2));
                    continue;
                }
                _ => assert!(server.park_idle() | server.park_idle(), "in use"),
            }
            let (rest, ends) = drain(&mut server);
            all.extend(rest);
            assert!((all, ends) == ([&plain, &b"next"[..]].concat(), 2), "{way}");
        }
    }
}

/// Storage that was taken away is waited for, not spun on.
#[test]
fn storage_that_is_gone_is_waited_for() {
    let (mut server, _client, plain) = in_the_middle(true);
    let mut all = lent(&mut server);
    let (storage, filled) = server.rest().unwrap();
    // What stands in the back end comes out without it.
    let (some, ends) = drain(&mut server);
    all.extend(some);
    assert_eq!(ends, 0);
    let Ok(Advance::Read { at_least }) = server.advance(NOW) else { panic!() };
    assert!(at_least > server.buffered());
    server.restore(storage, filled);
    let (rest, ends) = drain(&mut server);
    all.extend(rest);
    assert!((all, ends) == ([&plain, &b"next"[..]].concat(), 2));
}

/// after a close with a code that ends listening, no more parts are reported; the close frame is.
#[test]
fn x12_a_muted_connection_reports_no_more_parts() {
    for way in 0..2 {
        let (mut server, mut client, _) = in_the_middle(true);
        match way {
            0 => server.connection().close(NOW, Some(CloseFrame::new(1008, ""))).unwrap(),
            _ => server.connection().discard_data(),
        }
        let wire = [
            send(&mut client, Message::Text(&"more, compressed ".repeat(100)), Part::Whole),
            send(&mut client, Message::Text("plain"), Part::Whole),
            b"\x88\x80\x00\x00\x00\x00".to_vec(),
        ]
        .concat();
        feed(&mut server, &wire);
        assert_eq!(server.advance(NOW), Ok(Advance::Event));
        assert!(matches!(server.event(), Some(Event::Close(_))), "{way}");
    }
}

/// A failure is final: what is half inflated then is not reported.
#[test]
fn nothing_comes_after_a_failure() {
    let (mut server, _client, _) = in_the_middle(true);
    assert_eq!(server.connection().recv_eof(NOW), Err(Failure::Eof));
    assert_eq!(server.advance(NOW), Ok(Advance::Finished));
    assert_eq!(server.event(), None);
    assert_eq!(server.buffered(), 0);
}

/// Buffers of any size, and any delivery: there is always progress.
#[test]
fn small_buffers_make_progress() {
    for buffer_len in 0..6 {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let mut limits = PoolLimits::new();
            limits.buffer_len = buffer_len;
            let mut config = Config::client();
            config.delivery = delivery;
            let mut settings = Settings::client();
            settings.pool = Some(Pool::new(limits));
            config.deflate = Some(settings);
            let mut client = Session::new(Connection::client(config, NOW, [7; 32]));
            let (mut server, _) = pair(&agreement(true, 15), delivery, 1 << 20);
            client.enable_deflate(&agreement(true, 15));
            let text = "a€𝄞ß".repeat(50);
            feed(&mut client, &send(&mut server, Message::Text(&text), Part::Whole));
            assert_eq!(drain(&mut client), (text.into_bytes(), 1), "{buffer_len} {delivery:?}");
        }
    }
}

/// A character cut by a failure is not continued by another connection's message.
#[test]
fn connections_swapped_after_a_failure_make_no_text() {
    // Stored blocks: 3 bytes that fit, and half a character, then more than the limit.
    let stored = |first: u8, bytes: &[u8], end: &[u8]| {
        let len = bytes.len() as u8;
        [&[first, 5 + len + end.len() as u8, 0, len, 0, !len, 0xFF], bytes, end].concat()
    };
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let (_, mut a) = pair(&agreement(true, 15), delivery, 10);
        let (_, mut b) = pair(&agreement(true, 15), delivery, 1000);
        feed(&mut a, &stored(0x41, b"abc\xC3", b""));
        feed(&mut b, &stored(0x41, b"abc", b""));
        for session in [&mut a, &mut b] {
            drain(session);
        }
        feed(&mut a, &stored(0x00, &[b'x'; 20], b""));
        assert_eq!(a.advance(NOW), Err(Violation::MessageTooBig.into()));
        core::mem::swap(a.connection(), b.connection());
        a.rest();
        feed(&mut a, &stored(0x80, b"\xA9", b"\x00"));
        // An event with text that is none would panic in `drain`.
        drain(&mut a);
    }
}

/// Connections swapped at any time: nothing panics, no text is anything else, and there is an end.
#[test]
fn connections_swapped_at_any_time() {
    let (mut server, mut client, _) = in_the_middle(true);
    let (mut other, mut peer, _) = in_the_middle(false);
    for turn in 0..40 {
        core::mem::swap(server.connection(), other.connection());
        let text = "größe".repeat(turn * 100);
        feed(&mut server, &send(&mut client, Message::Text(&text), Part::Whole));
        feed(&mut other, &send(&mut peer, Message::Text(&text), Part::Whole));
        let _ = server.advance(NOW);
        if turn % 3 == 0 {
            drain(&mut other);
        }
        if turn % 7 == 6 {
            *server.connection() = Connection::server(Config::server(), NOW);
        }
    }
    drain(&mut server);
    drain(&mut other);
}

/// A connection that agreed to deflate, without the session that inflates: it fails, and drops nothing in silence.
#[test]
fn recv_without_a_session_fails() {
    let compressed = b"\xC1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let (_, client) = pair(&agreement(true, 15), Delivery::Whole, 1000);
    let (mut connection, _) = client.into_parts();
    let mut wire = compressed.to_vec();
    assert_eq!(connection.recv(NOW, &mut wire), Err(Violation::InvalidDeflate.into()));
    assert_eq!(connection.transport(), Transport::Shutdown);
    assert!(connection.pending() > 0, "the close frame");
    let mut wire = compressed.to_vec();
    assert_eq!(connection.recv(NOW, &mut wire).unwrap().consumed, wire.len());

    let (_, client) = pair(&agreement(true, 15), Delivery::Whole, 1000);
    let (mut receiver, _sender) = client.into_parts().0.split();
    let mut wire = compressed.to_vec();
    assert_eq!(receiver.recv(NOW, &mut wire), Err(Violation::InvalidDeflate.into()));
}

/// A session taken apart within a compressed message leaves no payload that could be taken for frames.
#[test]
fn into_parts_leaves_whole_frames() {
    let (server, mut client, _) = in_the_middle(true);
    let (connection, rest) = server.into_parts();
    let (storage, filled) = rest.unwrap();
    let mut server = Session::with_storage(connection, storage, filled);
    assert_eq!(drain(&mut server).0, b"next");
    feed(&mut server, &send(&mut client, Message::Text(&"compressed ".repeat(50)), Part::Whole));
    assert_eq!(server.advance(NOW), Err(Violation::InvalidDeflate.into()));
}

/// Saying it twice changes nothing.
#[test]
fn deflate_is_enabled_once() {
    let (mut server, _client, plain) = in_the_middle(true);
    let mut all = lent(&mut server);
    server.enable_deflate(&agreement(false, 9));
    let (rest, ends) = drain(&mut server);
    all.extend(rest);
    assert!((all, ends) == ([&plain, &b"next"[..]].concat(), 2));
}

/// DP-16, DP-18: a message of exactly the limit arrives in parts of any size, though each adds some compressed bytes.
#[test]
fn dp16_the_limit_is_not_that_of_the_parts() {
    let noise: Vec<u8> = (0..1000_u32).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    for size in [1, 2, 3, 10, 333] {
        for takeover in [true, false] {
            let (mut server, mut client) = pair(&agreement(takeover, 15), Delivery::Whole, 1000);
            let mut wire = send(&mut client, Message::Binary(&[]), Part::First);
            for piece in noise.chunks(size) {
                wire.extend(send(&mut client, Message::Binary(piece), Part::Middle));
            }
            wire.extend(send(&mut client, Message::Binary(&[]), Part::Last));
            assert_eq!(receive(&mut server, &wire, 100).unwrap(), [(false, noise.clone())], "{size}");
        }
    }
}

/// DP-10: a literal 00 00 ff ff within a message is payload, wherever its fragments end.
#[test]
fn dp10_the_tail_is_only_that_of_the_message() {
    let (first, rest): (&[u8], &[u8]) =
        (b"\xf2\x48\x05\x00\x00\x00\xff\xff", b"\xca\xc9\xc9\x07\x00\x00\x00\xff\xff\x00");
    for cut in 0..=rest.len() {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let (_, mut client) = pair(&agreement(true, 15), delivery, 1000);
            let (middle, last) = rest.split_at(cut);
            let mut wire = Vec::new();
            for (byte, part) in [(0x41, first), (0x00, middle), (0x80, last)] {
                wire.extend([byte, part.len() as u8]);
                wire.extend_from_slice(part);
            }
            // What follows refers to it.
            wire.extend(b"\xC1\x05\xf2\x00\x11\x00\x00");
            let hello = (true, b"Hello".to_vec());
            assert_eq!(receive(&mut client, &wire, 3).unwrap(), [hello.clone(), hello], "{cut}");
        }
    }
}

/// DP-13: the window is kept over plain messages, control frames, and a park; the limit of one is not that of the next.
#[test]
fn dp13_the_window_outlives_what_is_between() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let (_, mut client) = pair(&agreement(true, 15), delivery, 1000);
        let hello = (true, b"Hello".to_vec());
        for turn in 0..3 {
            let wire: &[u8] = match turn {
                0 => b"\xC1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x05plain\x89\x01p",
                _ => b"\xC1\x05\xf2\x00\x11\x00\x00\x82\x00",
            };
            assert_eq!(receive(&mut client, wire, 2).unwrap()[0], hello, "{turn}");
            assert_eq!(client.storage_len(), 64);
            client.park_idle();
            assert!(!client.park_idle());
        }
    }
}

/// What is received after a borrowed event does not affect it, nor does what the caller writes to the event
/// reach the window.
#[test]
fn a_lent_event_is_its_own() {
    let (_, mut client) = pair(&agreement(true, 15), Delivery::Whole, 1000);
    feed(&mut client, b"\xC2\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xC1\x05\xf2\x00\x11\x00\x00");
    assert_eq!(client.advance(NOW), Ok(Advance::Event));
    let Some(Event::Binary(bytes)) = client.event() else { panic!() };
    bytes.fill(0xFF);
    assert_eq!(client.advance(NOW), Ok(Advance::Event));
    assert_eq!(client.event(), Some(Event::Text("Hello")));
}

/// A connection with a lower limit meets a session whose buffer is beyond it.
#[test]
fn a_connection_in_place_of_another_has_its_own_limit() {
    let half = |max| {
        let mut limits = PoolLimits::new();
        limits.buffer_len = 64;
        let mut settings = Settings::server();
        settings.pool = Some(Pool::new(limits));
        let mut config = Config::server();
        config.limits.max_message = max;
        config.deflate = Some(settings);
        let mut server = Session::<Vec<u8>>::new(Connection::server(config, NOW));
        server.enable_deflate(&agreement(true, 15));
        let (_, mut client) = pair(&agreement(true, 15), Delivery::Whole, 1 << 20);
        let len = usize::try_from(max).unwrap().min(64);
        feed(&mut server, &send(&mut client, Message::Binary(&vec![7; len]), Part::First));
        assert!(matches!(server.advance(NOW), Ok(Advance::Read { .. })));
        (server, client)
    };
    let ((mut server, mut client), (mut other, _)) = (half(1000), half(40));
    core::mem::swap(server.connection(), other.connection());
    feed(&mut server, &send(&mut client, Message::Binary(b"end"), Part::Last));
    assert_eq!(server.advance(NOW), Err(Violation::MessageTooBig.into()));
}
