//! Counts what an idle connection costs.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::Write;

use counting::process;
use support::{BINARY, REQUEST, TEXT, expect, masked, plain, read_head, sockets};
use ws_mio::core::{Config, ConfigRef, Event, Instant};
use ws_mio::{Buffers, Socket, State};

const CONNECTIONS: usize = 100;

/// N-01: after a handshake, messages of every size and a cut frame that was completed, a connection owns no byte
/// on the heap; and a message on it allocates nothing, once the loop has its buffers.
#[test]
fn an_idle_connection_holds_no_buffer() {
    let config = ConfigRef::from(Config::server());
    let mut peers = Vec::with_capacity(CONNECTIONS);
    let mut ours = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let (peer, our) = sockets();
        peers.push(peer);
        ours.push(our);
    }
    let mut connections: Vec<Socket<mio::net::TcpStream>> = Vec::with_capacity(CONNECTIONS);
    let mut buffers = Buffers::new();
    let big = vec![7; 100_000];
    let (small_frame, big_frame) = (masked(TEXT, b"small"), masked(BINARY, &big));
    let big_echo = plain(BINARY, &big);
    let before = process::live();

    for (peer, our) in peers.iter_mut().zip(ours.drain(..)) {
        let mut socket = Socket::accept(our, config.clone(), Instant::ZERO);
        peer.write_all(REQUEST).expect("written");
        let mut serve = |until: &dyn Fn(usize, &Socket<_>) -> bool| {
            let mut messages = 0;
            while !until(messages, &socket) {
                let state = socket.on_readable(&mut buffers, Instant::ZERO, |event, reply| {
                    messages += 1;
                    match event {
                        Event::Text(text) => reply.send(text).expect("room"),
                        Event::Binary(bytes) => reply.send(&*bytes).expect("room"),
                        _ => {}
                    }
                });
                assert!(matches!(state, Ok(State::Waiting | State::Again)), "{state:?}");
            }
        };
        serve(&|_, socket| socket.is_open());
        read_head(peer);
        peer.write_all(&big_frame[..50]).expect("written");
        serve(&|_, socket| socket.held() > 0);
        peer.write_all(&big_frame[50..]).expect("written");
        serve(&|messages, _| messages == 1);
        expect(peer, &big_echo);
        let calls = process::calls();
        peer.write_all(&small_frame).expect("written");
        serve(&|messages, _| messages == 1);
        // The first connection makes the loop's buffers: one to receive into, one to send from.
        let made = process::calls() - calls;
        assert!(made == 0 || connections.is_empty(), "{made} allocations for a message");
        expect(peer, &plain(TEXT, b"small"));
        assert_eq!(socket.held(), 0);
        connections.push(socket);
    }

    let lent = process::live() - before;
    drop(buffers);
    let kept = process::live().cast_signed() - before.cast_signed();
    assert_eq!(kept, 0, "bytes on the heap that {CONNECTIONS} idle connections own");
    assert!(lent <= 1 << 20, "{lent} bytes in the loop's buffers");
    let size = size_of::<Socket<mio::net::TcpStream>>();
    assert!(size <= 424, "{size}");
    assert_eq!(connections.len(), CONNECTIONS);
}
