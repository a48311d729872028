//! permessage-deflate through sessions: what one side sends, the other receives.
#![cfg(feature = "deflate")]

mod attack;
#[path = "../deflate_engine/audit.rs"]
mod audit;
mod prepared;

use ws_core::deflate::{Agreement, Compress, Pool, PoolLimits, Settings, WindowBits};
use ws_core::{
    Advance, Config, Connection, Delivery, Event, Failure, Instant, Message, Part, Session, Violation,
};

const NOW: Instant = Instant::ZERO;

fn agreement(takeover: bool, bits: u8) -> Agreement {
    let window = WindowBits::new(bits).unwrap();
    Agreement {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: window,
        client_max_window_bits: window,
    }
}

fn pair(agreement: &Agreement, delivery: Delivery, max: u64) -> (Session<Vec<u8>>, Session<Vec<u8>>) {
    let mut config = Config::server();
    config.delivery = delivery;
    config.limits.max_message = max;
    config.limits.max_frame = max;
    config.deflate = Some(Settings::server());
    let mut server = Session::new(Connection::server(config.clone(), NOW));
    let mut client = Session::new(Connection::client(config, NOW, [7; 32]));
    server.enable_deflate(agreement);
    client.enable_deflate(agreement);
    (server, client)
}

fn send(from: &mut Session<Vec<u8>>, message: Message<'_>, part: Part) -> Vec<u8> {
    let mut out = vec![0; 64 + message.as_bytes().len() * 2];
    let len = from.connection().send_part(message, part, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Feeds `wire` in pieces, and gathers each message that comes of it.
fn receive(to: &mut Session<Vec<u8>>, wire: &[u8], step: usize) -> Result<Vec<(bool, Vec<u8>)>, Failure> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for piece in wire.chunks(step) {
        let space = to.space(|| vec![0; 64], piece.len());
        let mut piece = piece;
        // Space may be shorter than asked for: what is left goes next.
        let n = space.len().min(piece.len());
        space[..n].copy_from_slice(&piece[..n]);
        to.received(n);
        piece = &piece[n..];
        loop {
            match to.advance(NOW)? {
                Advance::Event => match to.event().unwrap() {
                    Event::Text(text) => found.push((true, text.as_bytes().to_vec())),
                    Event::Binary(bytes) => found.push((false, bytes.to_vec())),
                    Event::Chunk(chunk) => {
                        if chunk.first {
                            open.clear();
                        }
                        open.extend_from_slice(chunk.payload.as_bytes());
                        if chunk.last {
                            let is_text = matches!(chunk.payload, ws_core::Payload::Text(_));
                            found.push((is_text, open.clone()));
                        }
                    }
                    _ => {}
                },
                _ if piece.is_empty() => break,
                _ => {
                    let space = to.space(|| vec![0; 64], 1);
                    let n = space.len().min(piece.len());
                    space[..n].copy_from_slice(&piece[..n]);
                    to.received(n);
                    piece = &piece[n..];
                }
            }
        }
    }
    Ok(found)
}

/// DP-02, DP-09, DP-13, DP-18: compressed and plain messages, whole and in parts, in any pieces, either way.
#[test]
fn what_is_sent_arrives() {
    let text = "Grüße an {\"name\":\"値\",\"n\":1}, ".repeat(40);
    let long = text.repeat(90);
    for takeover in [true, false] {
        for bits in [9, 12, 15] {
            for delivery in [Delivery::Whole, Delivery::Chunks] {
                for step in [1, 7, 4096] {
                    let (mut server, mut client) = pair(&agreement(takeover, bits), delivery, 1 << 20);
                    for to_server in [true, false] {
                        let (from, to) =
                            if to_server { (&mut client, &mut server) } else { (&mut server, &mut client) };
                        let mut wire = send(from, Message::Text(&text), Part::Whole);
                        assert!(wire.len() < text.len() / 3, "{} of {}", wire.len(), text.len());
                        // The other way, the answer to a ping goes first.
                        assert!(!to_server || wire[0] & 0x70 == 0x40, "RSV1");
                        wire.extend(send(from, Message::Text("short"), Part::Whole));
                        from.connection().set_compress(Compress::Always);
                        wire.extend(send(from, Message::Binary(b""), Part::Whole));
                        from.connection().set_compress(Compress::Never);
                        wire.extend(send(from, Message::Text(&text), Part::Whole));
                        from.connection().set_compress(Compress::Auto);
                        let (a, b) = long.split_at(text.len() * 45);
                        wire.extend(send(from, Message::Text(a), Part::First));
                        from.connection().ping(b"between").unwrap();
                        wire.extend(send(from, Message::Text(""), Part::Middle));
                        wire.extend(send(from, Message::Text(b), Part::Last));
                        let found = receive(to, &wire, step).unwrap();
                        let expected: Vec<(bool, Vec<u8>)> = vec![
                            (true, text.clone().into()),
                            (true, "short".into()),
                            (false, vec![]),
                            (true, text.clone().into()),
                            (true, long.clone().into()),
                        ];
                        let ctx = format!("{takeover} {bits} {delivery:?} {step} {to_server}");
                        assert_eq!(found.len(), expected.len(), "{ctx}");
                        for (found, expected) in found.iter().zip(&expected) {
                            assert!(found == expected, "{ctx}");
                        }
                    }
                }
            }
        }
    }
}

/// DP-15, DP-16: the limit counts inflated bytes; exactly that many are accepted.
#[test]
fn the_limit_is_that_of_inflated_bytes() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for (len, fits) in [(100_000, true), (100_001, false), (5_000_000, false)] {
            let (mut server, mut client) = pair(&agreement(true, 15), delivery, 100_000);
            let wire = send(&mut client, Message::Binary(&vec![b'x'; len]), Part::Whole);
            assert!(wire.len() < len / 50);
            let found = receive(&mut server, &wire, 100);
            match fits {
                true => assert_eq!(found.unwrap()[0].1.len(), len),
                false => assert_eq!(found, Err(Violation::MessageTooBig.into())),
            }
        }
    }
}

/// U-07, DP-01, DP-05, DP-06: what breaks the rules of compressed messages.
#[test]
fn broken_messages_are_refused() {
    let cases: &[(&[u8], Violation)] = &[
        // No payload; the last octet cut; block type 3.
        (b"\xC1\x00", Violation::InvalidDeflate),
        (b"\xC1\x06\xf2\x48\xcd\xc9\xc9\x07", Violation::InvalidDeflate),
        (b"\xC1\x01\xff", Violation::InvalidDeflate),
        // RSV1 on a continuation, on a control frame; RSV2.
        (b"\x41\x03\xf2\x48\xcd\xC0\x04", Violation::ReservedBit),
        (b"\xC9\x00", Violation::ReservedBit),
        (b"\xA1\x00", Violation::ReservedBit),
        // A stored block that holds FF, which is not UTF-8. And one that ends within a character.
        (b"\xC1\x07\x00\x01\x00\xfe\xff\xff\x00", Violation::InvalidUtf8),
        (b"\xC1\x07\x00\x01\x00\xfe\xff\xc3\x00", Violation::InvalidUtf8),
    ];
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for (wire, violation) in cases {
            let (_, mut client) = pair(&agreement(true, 15), delivery, 1000);
            assert_eq!(receive(&mut client, wire, 1), Err((*violation).into()), "{wire:02x?}");
        }
    }
    // Nothing was agreed on.
    let mut client = Session::new(Connection::client(Config::client(), NOW, [7; 32]));
    assert_eq!(receive(&mut client, b"\xC1\x00", 1), Err(Violation::ReservedBit.into()));
}

/// DP-19: what did not shrink goes plain where the compressor keeps nothing of it, and compressed where it keeps its
/// context; what is sent plain does not get into that.
#[test]
fn dp19_what_is_sent_plain_is_not_kept() {
    let noise: Vec<u8> =
        (0..3000_u32).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let text = (0..300).map(|i| (i * i % 997).to_string()).collect::<String>();
    for takeover in [true, false] {
        let (mut server, mut client) = pair(&agreement(takeover, 15), Delivery::Whole, 1 << 20);
        let mut wire = send(&mut server, Message::Binary(&noise), Part::Whole);
        assert_eq!(wire[0], if takeover { 0xC2 } else { 0x82 });
        server.connection().set_compress(Compress::Never);
        wire.extend(send(&mut server, Message::Text(&text), Part::Whole));
        server.connection().set_compress(Compress::Auto);
        let first = send(&mut server, Message::Text(&text), Part::Whole);
        assert!(
            first[0] == 0xC1 && first.len() > text.len() / 4,
            "{}: no reference to the plain one",
            first.len()
        );
        let again = send(&mut server, Message::Text(&text), Part::Whole);
        assert_eq!(again.len() < 60, takeover, "{}", again.len());
        wire.extend([first, again].concat());
        let text = (true, text.clone().into_bytes());
        let expected = [(false, noise.clone()), text.clone(), text.clone(), text];
        assert!(receive(&mut client, &wire, 100).unwrap() == expected);
    }
}
