//! Counts what an idle connection of a server costs.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::Write;
use std::net::TcpStream;

use counting::process;
use support::running::Running;
use support::{BINARY, REQUEST, TEXT, expect, masked, plain};
use ws_mio::core::Event;
use ws_mio::{Acceptance, Handler, Peer, Refusal, Visitor};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        match event {
            Event::Text(text) => peer.send(text).expect("room"),
            Event::Binary(bytes) => peer.send(&*bytes).expect("room"),
            _ => {}
        }
    }
}

const CONNECTIONS: usize = 400;

/// N-01: a connection at rest costs its loop less than 256 bytes in total, after messages of any size; and a message
/// on it allocates nothing.
#[test]
fn an_idle_connection_costs_less_than_256_bytes() {
    let server = Running::<()>::serve(|_| {}, |_| Echo);
    let big = vec![7; 16 << 10];
    let (small_frame, big_frame) = (masked(TEXT, &[b'x'; 32]), masked(BINARY, &big));
    let (small_echo, big_echo) = (plain(TEXT, &[b'x'; 32]), plain(BINARY, &big));
    let talk = |peer: &mut TcpStream| {
        peer.write_all(&small_frame).expect("written");
        expect(peer, &small_echo);
        peer.write_all(&big_frame).expect("written");
        expect(peer, &big_echo);
    };
    // Whatever the loop was doing is done once it has answered again.
    let settled = |peer: &mut TcpStream| {
        peer.write_all(&small_frame).expect("written");
        expect(peer, &small_echo);
        process::live()
    };
    // What the loop needs once is there after the first connection.
    let mut peers = Vec::with_capacity(CONNECTIONS + 1);
    peers.push(server.greet(REQUEST).0);
    talk(&mut peers[0]);
    let before = settled(&mut peers[0]);
    for _ in 0..CONNECTIONS {
        let (mut peer, _) = server.greet(REQUEST);
        talk(&mut peer);
        peers.push(peer);
    }
    let each = (settled(&mut peers[0]) - before) / CONNECTIONS;
    assert!((150..256).contains(&each), "{each} bytes");

    // The test allocates for the bytes it expects, and nothing else does.
    let mut got = vec![0; small_echo.len()];
    let calls = process::calls();
    for peer in &mut peers {
        peer.write_all(&small_frame).expect("written");
        std::io::Read::read_exact(peer, &mut got).expect("an echo");
        assert_eq!(got, small_echo);
    }
    assert_eq!(process::calls() - calls, 0, "allocations for {} messages", peers.len());
}
