//! The address a server listens on, and that no other server can share it unasked.

mod support;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use support::nobody;
use ws_mio::{Server, Settings};

fn settings(loops: usize, reuse_port: bool) -> Settings {
    let mut settings = Settings::new();
    (settings.loops, settings.reuse_port) = (loops, reuse_port);
    settings
}

/// An address that a server listens on is taken, however many loops either server has, unless both share it.
#[test]
fn an_address_is_taken_once() {
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let server = Server::bind("127.0.0.1:0", settings(first, false)).expect("a port");
        let address = server.local_addr();
        for reuse_port in [false, true] {
            // Several loops share the address among themselves, and so also with a server that asks for it.
            if reuse_port && first > 1 {
                continue;
            }
            let error = Server::bind(address, settings(second, reuse_port)).expect_err("taken");
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{first} and {second}");
        }
        drop(server);
        // Somebody else may have been given the port meanwhile, but not each time.
        let is_free_again = (0..100).any(|_| {
            let server = Server::bind("127.0.0.1:0", settings(first, false)).expect("a port");
            let address = server.local_addr();
            drop(server);
            Server::bind(address, settings(second, false)).is_ok()
        });
        assert!(is_free_again, "{first} and {second}");
    }
    let foreign = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = foreign.local_addr().expect("bound");
    for loops in [1, 2] {
        let error = Server::bind(address, settings(loops, true)).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_address_is_shared() {
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let server = Server::bind("127.0.0.1:0", settings(first, true)).expect("a port");
        let next = Server::bind(server.local_addr(), settings(second, true)).expect("shared");
        assert_eq!(next.local_addr(), server.local_addr());
        let error = Server::bind(server.local_addr(), settings(2, false)).expect_err("not by this one");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}

/// The first address that is free, as in std; and the last one's error if none is.
#[test]
fn the_first_that_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound");
    // A port that was free a moment ago may be somebody else's by now.
    let server = (0..100).find_map(|_| {
        let (held, free) = nobody();
        drop(held);
        let server = Server::bind(&[taken, free][..], settings(1, false)).ok()?;
        assert_eq!(server.local_addr(), free);
        Some(server)
    });
    let server = server.expect("the second");
    let free = server.local_addr();
    let error = Server::bind(&[free, taken][..], settings(1, false)).expect_err("taken, both");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let none: &[SocketAddr] = &[];
    assert_eq!(Server::bind(none, settings(1, false)).expect_err("nowhere").kind(), ErrorKind::InvalidInput);
    assert!(Server::bind(("localhost", 0), settings(2, false)).is_ok());
}
