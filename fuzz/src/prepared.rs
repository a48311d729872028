//! Sends a server's own messages, whole and in parts, mixed with messages prepared for many, to two clients with different
//! agreements: both receive everything, whatever is parked when, and however it arrives.

use ws_core::deflate::{Agreement, Compress, Settings, WindowBits};
use ws_core::{Advance, Config, Connection, Event, Instant, Message, Part, Prepared, Session};

use super::cuts::Cuts;

const NOW: Instant = Instant::ZERO;

struct Pair {
    server: Session<Vec<u8>>,
    client: Session<Vec<u8>>,
    wire: Vec<u8>,
}

/// Three bytes of settings; then operations, each a byte followed by the length and the bytes of a message.
pub fn check(data: &[u8]) {
    let [one, other, how, ops @ ..] = data else { return };
    let mut pairs = [pair(*one, how % 10), pair(*other, how % 10)];
    let (mut cuts, mut expected, mut ops) = (Cuts::new(*how), Vec::new(), ops);
    while let [op, len, behind @ ..] = ops {
        let (payload, behind) = behind.split_at(behind.len().min((*len).into()));
        ops = behind;
        let payload = payload.repeat(usize::from(op >> 4) + 1);
        let prepared = Prepared::new(Message::Binary(&payload));
        for Pair { server, wire, .. } in &mut pairs {
            match op % 8 {
                0 | 1 => push(server, wire, &payload, Part::Whole),
                2 | 3 => {
                    let frame = server.connection().prepared(&prepared).expect("open, and a server");
                    wire.extend_from_slice(frame);
                }
                4 => {
                    let (first, rest) = payload.split_at(payload.len() / 3);
                    push(server, wire, first, Part::First);
                    assert!(server.connection().prepared(&prepared).is_err());
                    server.connection().ping(b"between").expect("room");
                    push(server, wire, b"", Part::Middle);
                    push(server, wire, rest, Part::Last);
                }
                5 => {
                    server.park_idle();
                }
                6 => server
                    .connection()
                    .set_compress([Compress::Auto, Compress::Always, Compress::Never][usize::from(*len) % 3]),
                _ => {}
            }
        }
        if op % 8 < 5 {
            expected.push(payload);
        }
        if op % 8 == 7 {
            pairs.iter_mut().for_each(|pair| deliver(pair, &mut cuts, &expected));
            expected.clear();
            for pair in &mut pairs {
                pair.client.park_idle();
            }
        }
    }
    pairs.iter_mut().for_each(|pair| deliver(pair, &mut cuts, &expected));
}

fn pair(how: u8, level: u8) -> Pair {
    let window = WindowBits::new(8 + how % 8).expect("8 to 15");
    let agreement = Agreement {
        server_no_context_takeover: how & 8 != 0,
        client_no_context_takeover: false,
        server_max_window_bits: window,
        client_max_window_bits: window,
    };
    let mut config = Config::server();
    let mut settings = Settings::server();
    (settings.level, settings.threshold) = (level, usize::from(how >> 4) * 8);
    config.deflate = Some(settings);
    let mut server = Session::new(Connection::server(config.clone(), NOW));
    let mut client = Session::new(Connection::client(config, NOW, [7; 32]));
    server.enable_deflate(&agreement);
    client.enable_deflate(&agreement);
    Pair { server, client, wire: Vec::new() }
}

fn push(server: &mut Session<Vec<u8>>, wire: &mut Vec<u8>, payload: &[u8], part: Part) {
    let mut out = vec![0; 2 * payload.len() + 256];
    let len = server.connection().send_part(Message::Binary(payload), part, &mut out).expect("room");
    wire.extend_from_slice(&out[..len]);
}

/// Gives the client what is on the wire, in pieces, and checks what it receives.
fn deliver(pair: &mut Pair, cuts: &mut Cuts, expected: &[Vec<u8>]) {
    let (mut wire, mut heard) = (&pair.wire[..], Vec::new());
    while !wire.is_empty() {
        let space = pair.client.space(|| vec![0; 64], 1);
        let n = cuts.next(space.len()).min(space.len()).min(wire.len());
        space[..n].copy_from_slice(&wire[..n]);
        pair.client.received(n);
        wire = &wire[n..];
        while pair.client.advance(NOW).expect("all of it was right") == Advance::Event {
            match pair.client.event().expect("one was found") {
                Event::Binary(bytes) => heard.push(bytes.to_vec()),
                Event::Ping(payload) => assert_eq!(payload, b"between"),
                other => panic!("{other:?} was not sent"),
            }
            pair.client.connection().transmit(&mut [0; 256]);
        }
    }
    assert_eq!(heard, expected);
    pair.wire.clear();
}
