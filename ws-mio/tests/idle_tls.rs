//! Counts what an idle connection costs over TLS.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use counting::thread;
use support::certificates::{for_client, for_server};
use support::{BINARY, REQUEST, TEXT, dial, masked, plain, read_head};
use ws_mio::core::{Config, ConfigRef, Event, Instant};
use ws_mio::tls::rustls::pki_types::ServerName;
use ws_mio::tls::rustls::{ClientConnection, StreamOwned};
use ws_mio::{Buffers, Socket, State, tls};

const CONNECTIONS: usize = 100;

/// The peers: each sends a small and a large message, has its echoes, and stays.
fn peers(address: std::net::SocketAddr) -> Vec<StreamOwned<ClientConnection, TcpStream>> {
    let config = for_client();
    let large = vec![7; 100_000];
    (0..CONNECTIONS)
        .map(|_| {
            let name = ServerName::try_from("localhost").expect("a name");
            let tls = ClientConnection::new(config.clone(), name).expect("usable");
            let mut peer = StreamOwned::new(tls, dial(address));
            peer.write_all(REQUEST).expect("written");
            read_head(&mut peer);
            for (first, payload) in [(BINARY, &large[..]), (TEXT, b"small")] {
                peer.write_all(&masked(first, payload)).expect("written");
                let mut echo = vec![0; plain(first, payload).len()];
                peer.read_exact(&mut echo).expect("an echo");
                assert!(echo == plain(first, payload));
            }
            peer
        })
        .collect()
}

/// N-01: after a handshake and messages of every size it owns what rustls keeps, and no buffer of ours: 8 KiB at most,
/// when no message is in flight.
#[test]
fn an_idle_connection_behind_tls() {
    let tls = for_server();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let peers = std::thread::spawn(move || peers(address));

    let config = ConfigRef::from(Config::server());
    let mut buffers = Buffers::new();
    let mut connections = Vec::with_capacity(CONNECTIONS);
    let mut first = 0;
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().expect("somebody");
        stream.set_nonblocking(true).expect("set");
        stream.set_nodelay(true).expect("set");
        let stream = tls::Stream::accept(mio::net::TcpStream::from_std(stream), tls.clone()).expect("usable");
        let mut socket = Socket::accept(stream, config.clone(), Instant::ZERO);
        let mut messages = 0;
        while messages < 2 || socket.held() > 0 {
            let mut echo = |event: Event<'_>, reply: &mut ws_mio::Reply<'_, _>| {
                messages += 1;
                match event {
                    Event::Text(text) => reply.send(text).expect("room"),
                    Event::Binary(bytes) => reply.send(&*bytes).expect("room"),
                    _ => {}
                }
            };
            let state = socket.on_writable(&mut buffers, Instant::ZERO, &mut echo);
            assert!(matches!(state, Ok(State::Waiting | State::Again)), "{state:?}");
            let state = socket.on_readable(&mut buffers, Instant::ZERO, &mut echo);
            assert!(matches!(state, Ok(State::Waiting | State::Again)), "{state:?}");
        }
        connections.push(socket);
        if connections.len() == 1 {
            // The loop's buffers are there, and the thread's.
            first = thread::held();
        }
    }
    let each = (thread::held() - first) / (CONNECTIONS as isize - 1);
    assert!(connections.iter().all(|socket| socket.held() == 0));
    assert!(each <= 8 << 10, "{each} bytes");
    assert!(each >= 1 << 10, "{each} bytes: they are not counted");
    drop(peers.join().expect("all of them"));
}
