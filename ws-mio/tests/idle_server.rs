//! What an idle connection of a server costs: counted, not claimed.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use counting::process;
use support::{BINARY, REQUEST, TEXT, expect, masked, plain, read_head};
use ws_mio::core::Event;
use ws_mio::{Acceptance, Handler, Peer, Refusal, Server, Settings, Visitor};

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

/// N-01: a connection at rest costs its loop less than 256 bytes, all told, after messages of any size; and a message
/// on it allocates nothing.
#[test]
fn an_idle_connection_costs_less_than_256_bytes() {
    let mut settings = Settings::new();
    settings.loops = 1;
    let server = Server::bind("127.0.0.1:0".parse().expect("an address"), settings).expect("bound");
    let (address, remote) = (server.local_addr(), server.remote());
    let thread = std::thread::spawn(move || server.run(|_| Echo));

    let big = vec![7; 16 << 10];
    let (small_frame, big_frame) = (masked(TEXT, &[b'x'; 32]), masked(BINARY, &big));
    let (small_echo, big_echo) = (plain(TEXT, &[b'x'; 32]), plain(BINARY, &big));
    let talk = |peer: &mut TcpStream| {
        peer.write_all(&small_frame).expect("written");
        expect(peer, &small_echo);
        peer.write_all(&big_frame).expect("written");
        expect(peer, &big_echo);
    };
    let open = || {
        let mut peer = TcpStream::connect(address).expect("connected");
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        peer.write_all(REQUEST).expect("written");
        read_head(&mut peer);
        peer
    };
    // What the loop needs once is there after the first.
    let mut peers = Vec::with_capacity(CONNECTIONS + 1);
    peers.push(open());
    talk(&mut peers[0]);
    std::thread::sleep(Duration::from_millis(50));
    let before = process::live();
    for _ in 0..CONNECTIONS {
        let mut peer = open();
        talk(&mut peer);
        peers.push(peer);
    }
    std::thread::sleep(Duration::from_millis(50));
    let each = (process::live() - before) / CONNECTIONS;
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
    remote.shut_down(Duration::ZERO);
    thread.join().expect("no panic").expect("no error");
}
