//! Connections at rest, and one session that works for all of them.
#![cfg(feature = "deflate")]

use ws_core::deflate::{Agreement, Compress, Settings, WindowBits};
use ws_core::{Advance, AtRest, Config, ConfigRef, Connection, Event, Instant, Message, Part, Session};

const NOW: Instant = Instant::ZERO;

const AGREEMENT: Agreement = Agreement {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: WindowBits::MAX,
    client_max_window_bits: WindowBits::MAX,
};

fn config() -> ConfigRef {
    let mut config = Config::server();
    config.deflate = Some(Settings::client());
    config.into()
}

fn client() -> Session<Vec<u8>> {
    let mut session = Session::new(Connection::client(config(), NOW, [7; 32]));
    session.enable_deflate(&AGREEMENT);
    session.connection().set_compress(Compress::Always);
    session
}

fn server() -> Session<Vec<u8>> {
    let mut session = Session::new(Connection::server(config(), NOW));
    assert_eq!(session.agreement(), None);
    session.enable_deflate(&AGREEMENT);
    assert_eq!(session.agreement(), Some(&AGREEMENT));
    session
}

fn hear(session: &mut Session<Vec<u8>>, bytes: &[u8]) -> String {
    session.space(|| vec![0; 4096], bytes.len())[..bytes.len()].copy_from_slice(bytes);
    session.received(bytes.len());
    assert_eq!(session.advance(NOW), Ok(Advance::Event));
    let Some(Event::Text(text)) = session.event() else { panic!("a text was sent") };
    text.to_owned()
}

/// DP-13: each connection that the session serves continues in its own context, without anything from the others.
#[test]
fn dp13_exchanged_connections_keep_their_context() {
    let mut clients: Vec<_> = (0..3).map(|_| client()).collect();
    let mut resting: Vec<AtRest> = (0..3).map(|_| server().into_at_rest()).collect();
    let mut bench = Session::<Vec<u8>>::new(Connection::server(config(), NOW));
    for round in 0..4 {
        for (at, (client, rest)) in clients.iter_mut().zip(&mut resting).enumerate() {
            let text = format!("what number {at} says, he says again and again");
            let mut out = [0; 256];
            let len = client.connection().send(Message::Text(&text), &mut out).expect("room");
            assert!(round == 0 || len < 30, "{len} bytes");

            assert!(bench.is_at_rest());
            bench.exchange(rest);
            assert_eq!(hear(&mut bench, &out[..len]), text);
            assert!(!bench.is_at_rest(), "an event is lent, and the state is live");
            assert_eq!(bench.advance(NOW), Ok(Advance::Read { at_least: 2 }));
            bench.rest();
            assert!(!bench.is_at_rest(), "the state is live");
            // Twice: what was used since the last look is kept.
            while bench.park_idle() {}
            assert!(bench.is_at_rest());
            bench.exchange(rest);
            assert_eq!(bench.agreement(), None);
        }
    }
}

/// DP-13: after a message that is lost on its way, the next refers to nothing before it.
#[test]
fn what_is_not_sent_is_forgotten() {
    let (mut client, mut server) = (client(), server());
    let mut out = [0; 256];
    let said = "a message that is lost, and then another one like it";
    assert!(client.connection().has_context());
    client.connection().send(Message::Text(said), &mut out).expect("room");
    client.connection().forget_context();
    let len = client.connection().send(Message::Text(said), &mut out).expect("room");
    assert_eq!(hear(&mut server, &out[..len]), said);
    // Amid a message too: what was encoded of it stands.
    let one = client.connection().send_part(Message::Text(said), Part::First, &mut out).expect("room");
    client.connection().forget_context();
    let two = client.connection().send_part(Message::Text(said), Part::Last, &mut out[one..]).expect("room");
    assert_eq!(hear(&mut server, &out[..one + two]), said.repeat(2));
}
