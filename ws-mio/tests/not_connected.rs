//! Connections that fail, or fail at the first address: the outcome of each call is reported once.

mod support;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use support::dialling::{ByHand, to};
use support::nobody;
use support::running::Running;
use ws_mio::core::{Config, HandshakeError, RequestError, UriError};
use ws_mio::{Connect, ConnectError, RemoteError};

/// HC-01, HC-04, HC-07, HC-11: each failure is reported once, with its tag, and nothing else is; a refused address is
/// named.
#[test]
fn failures_come_once() {
    let server = Running::called();
    let clients = Running::callers(|_| {});
    let (_kept, nobody) = nobody();
    let by_hand = ByHand::listen();
    let mut with_header = to(server.address, "/", 3);
    with_header.headers = vec![("Host".to_owned(), b"other".to_vec())];
    let mut without_address = to(server.address, "/", 5);
    without_address.addresses.clear();
    let mut both_refused = to(nobody, "/", 6);
    both_refused.addresses.push(nobody);
    for connect in [
        to(nobody, "/", 1),
        to(server.address, "/#x", 2),
        with_header,
        to(server.address, "/no", 4),
        without_address,
        both_refused,
        to(by_hand.address(), "/", 7),
    ] {
        clients.remote.connect(connect).expect("room");
    }
    let (mut peer, _) = by_hand.next();
    peer.write_all(
        b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    )
    .expect("written");
    let mut failures: Vec<_> = (0..7).map(|_| clients.failure()).collect();
    failures.sort_by_key(|(tag, _)| *tag);
    let refused = io::ErrorKind::ConnectionRefused;
    for (at, (tag, error)) in failures.into_iter().enumerate() {
        assert_eq!(tag, at as u64 + 1);
        let expected = match &error {
            ConnectError::Connect(error) if tag == 5 => error.kind() == io::ErrorKind::AddrNotAvailable,
            ConnectError::Connect(error) => {
                matches!(tag, 1 | 6)
                    && error.kind() == refused
                    && error.to_string().starts_with(&format!("{nobody}: "))
            }
            ConnectError::Uri(error) => tag == 2 && *error == UriError::Fragment,
            ConnectError::Request(error) => tag == 3 && *error == RequestError::ReservedHeader,
            ConnectError::Status(refusal) => {
                tag == 4 && refusal.status == 403 && refusal.body == b"not you" && !refusal.headers.is_empty()
            }
            ConnectError::Handshake(error) => tag == 7 && *error == HandshakeError::Accept,
            _ => false,
        };
        assert!(expected, "{tag}: {error:?}");
    }
    assert!(clients.is_silent());
    assert_eq!(clients.remote.connection_count(), 0);
}

/// The first address is refused, the second takes it.
#[test]
fn the_next_address() {
    let server = Running::called();
    let clients = Running::callers(|_| {});
    let (_kept, nobody) = nobody();
    let mut connect = to(nobody, "/echo", 1);
    connect.addresses.push(server.address);
    clients.remote.connect(connect).expect("room");
    clients.connected();
    let resolved = Connect::resolve(format!("ws://localhost:{}/echo", server.address.port())).expect("known");
    assert!(resolved.addresses.contains(&server.address));
    clients.remote.connect(resolved).expect("room");
    clients.connected();
    assert!(matches!(Connect::resolve("http://localhost"), Err(ConnectError::Uri(UriError::Scheme))));
    assert!(matches!(Connect::resolve("ws://name.invalid/"), Err(ConnectError::Resolve(_))));
}

/// An address that never answers takes its share of the time, and the next one is tried.
#[test]
#[cfg(target_os = "linux")]
fn an_address_that_swallows_everything() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&loopback.into()).expect("bound");
    socket.listen(0).expect("listening");
    let full: SocketAddr = socket.local_addr().expect("bound").as_socket().expect("an address");
    // Nobody accepts these, and there is no room for more.
    let _waiting: Vec<_> =
        (0..4).map(|_| TcpStream::connect_timeout(&full, Duration::from_millis(100))).collect();
    let server = Running::called();
    let clients = Running::callers(|settings| {
        let mut config = Config::client();
        config.timeouts.handshake = Duration::from_secs(10);
        settings.client = config.into();
    });
    let started = std::time::Instant::now();
    let mut connect = to(full, "/echo", 1);
    connect.addresses.push(server.address);
    clients.remote.connect(connect).expect("room");
    clients.connected();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(4_900), "{took:?}");
    let mut connect = to(full, "/echo", 2);
    connect.addresses.push(full);
    let mut config = Config::client();
    config.timeouts.handshake = Duration::from_secs(1);
    connect.config = Some(config.into());
    clients.remote.connect(connect).expect("room");
    match clients.failure() {
        (2, ConnectError::Connect(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        (2, ConnectError::Timeout) => {}
        other => panic!("{other:?}"),
    }
}

/// HC-18: a server that does not answer, and one whose backlog accepts but nothing else does.
#[test]
fn hc_18_in_time() {
    let clients = Running::callers(|settings| {
        let mut config = Config::client();
        config.timeouts.handshake = Duration::from_millis(100);
        settings.client = config.into();
    });
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    clients.remote.connect(to(silent.local_addr().expect("bound"), "/", 1)).expect("room");
    assert!(matches!(clients.failure(), (1, ConnectError::Timeout)));
    // The connection's own limits come first.
    let mut patient = to(silent.local_addr().expect("bound"), "/", 2);
    let mut config = Config::client();
    config.timeouts.handshake = Duration::from_secs(60);
    patient.config = Some(config.into());
    clients.remote.connect(patient).expect("room");
    assert!(clients.seen.recv_timeout(Duration::from_millis(300)).is_err());
}

/// Orders wait within bounds.
#[test]
fn a_full_inbox() {
    let clients = Running::callers(|settings| settings.max_inbox = 4 << 10);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let mut fulls = 0;
    for tag in 0..100_000 {
        match clients.remote.connect(to(address, "/", tag)) {
            Ok(()) => {}
            Err(RemoteError::Full) => {
                fulls += 1;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(fulls, 1);
}

/// A shutdown while connections are being made: each call is told, and none is accepted afterwards.
#[test]
fn an_end_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut clients = Running::callers(|_| {});
    for tag in 0..10 {
        clients.remote.connect(to(silent.local_addr().expect("bound"), "/", tag)).expect("room");
    }
    clients.remote.shutdown(Duration::from_secs(10));
    clients.end();
    assert_eq!(clients.stopped(10), (0..10).collect::<Vec<_>>());
    assert!(clients.seen.try_recv().is_err());
    let late = clients.remote.connect(to(silent.local_addr().expect("bound"), "/", 11));
    assert_eq!(late, Err(RemoteError::Stopped));
}
