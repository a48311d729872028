//! The opening handshake of a socket in a loop, over real TCP, against bytes written by hand.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;

use mio::Interest;
use support::streams::Counted;
use support::{Host, REQUEST, TEXT, expect, expect_end, masked, plain, read_head, sockets};
use ws_mio::core::{Accept, AnswerError, Config, Instant, Rejection};
use ws_mio::{Error, Socket, State};

/// HS-20: the handshake resumes after every byte, and after each of them the read would block.
#[test]
fn the_handshake_resumes_at_every_byte() {
    let (mut peer, io) = sockets();
    let (reads, writes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counted = Counted { io, reads: reads.clone(), writes: writes.clone() };
    let mut host = Host::new(Socket::accept(counted, Config::server(), Instant::ZERO));
    for byte in REQUEST {
        assert_eq!((host.socket.is_open(), writes.get()), (false, 0));
        let before = reads.get();
        peer.write_all(&[*byte]).expect("written");
        host.until("a read", |_| reads.get() > before);
    }
    assert!(host.socket.is_open());
    assert!(read_head(&mut peer).contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_eq!(host.socket.held(), 0);
}

/// HS-32: frames that came with the request are looked at, after the 101.
#[test]
fn early_frames_are_kept() {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept_asking(ours, Config::server(), Instant::ZERO));
    peer.write_all(&[REQUEST, &masked(TEXT, b"early")].concat()).expect("written");
    host.until("the request", |host| matches!(host.last, Ok(State::Asked)));
    assert_eq!(host.socket.interest(), None);
    assert_eq!(host.socket.deadline(), None, "HS-31: a decision may take its time");
    host.socket.agree(&mut host.buffers, host.now, Accept::default()).expect("agreed");
    host.last = Ok(State::Again);
    host.until("the text", |host| !host.seen.is_empty());
    read_head(&mut peer);
    expect(&mut peer, &plain(TEXT, b"early"));
}

/// HS-39, HS-33: a refusal is sent completely. It survives what the peer still sends, which is not a second request.
#[test]
fn a_refusal_lingers() {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept(ours, Config::server(), Instant::ZERO));
    let bad = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n";
    peer.write_all(&[bad, REQUEST].concat()).expect("written");
    host.until("the refusal", |host| {
        host.socket.interest() == Some(Interest::READABLE) && host.socket.held() == 0
    });
    peer.write_all(&[b'x'; 4096]).expect("still open");
    host.settle();
    assert!(matches!(host.last, Ok(State::Waiting)), "{:?}", host.last);
    let head = read_head(&mut peer);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let mut rest = String::new();
    peer.read_to_string(&mut rest).expect("FIN, not a reset");
    assert!(!rest.contains("HTTP"), "{rest}");
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Err(Error::Request(Rejection::KeyMissing))), "{:?}", host.last);
    assert_eq!(host.socket.interest(), None);
}

/// HS-31: one deadline for the whole head.
#[test]
fn a_slow_request_is_told_so() {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept(ours, Config::server(), Instant::ZERO));
    peer.write_all(&REQUEST[..20]).expect("written");
    host.settle();
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(10)));
    host.tick(Instant::from_millis(9_999));
    assert!(matches!(host.last, Ok(State::Waiting)));
    host.tick(Instant::from_secs(10));
    assert!(read_head(&mut peer).starts_with("HTTP/1.1 408 "));
    // And the wait for the peer's end has a deadline too.
    host.tick(Instant::from_secs(13));
    assert!(matches!(host.last, Err(Error::Request(Rejection::Timeout))), "{:?}", host.last);
}

/// HS-16, HS-38: a subprotocol that was not offered cannot be chosen, and nothing is sent before the 101.
#[test]
fn the_application_answers() {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept_asking(ours, Config::server(), Instant::ZERO));
    peer.write_all(REQUEST).expect("written");
    host.until("the request", |host| matches!(host.last, Ok(State::Asked)));
    let Host { socket, buffers, now, .. } = &mut host;
    assert!(matches!(socket.send(buffers, *now, "too early"), Err(Error::NotOpen)));
    assert!(matches!(socket.close(buffers, *now, None), Err(Error::NotOpen)));
    assert_eq!(socket.request(*now).expect("a request").path(), b"/chat");
    let choose = |protocol| Accept { protocol: Some(protocol), ..Accept::default() };
    assert_eq!(socket.agree(buffers, *now, choose("other")), Err(AnswerError::ProtocolNotOffered));
    socket.agree(buffers, *now, choose("echo")).expect("offered");
    host.last = Ok(State::Again);
    host.turn();
    assert!(read_head(&mut peer).contains("Sec-WebSocket-Protocol: echo\r\n"));
}

/// HS-36: the application may also refuse, with its own answer.
#[test]
fn the_application_refuses() {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept_asking(ours, Config::server(), Instant::ZERO));
    peer.write_all(REQUEST).expect("written");
    host.until("the request", |host| matches!(host.last, Ok(State::Asked)));
    let Host { socket, buffers, now, .. } = &mut host;
    let split: [(&str, &[u8]); 1] = [("X", b"a\r\nb")];
    assert_eq!(socket.reject(buffers, *now, 401, &split, b""), Err(AnswerError::InvalidHeader));
    socket.reject(buffers, *now, 401, &[("WWW-Authenticate", b"Basic")], b"who?").expect("may be sent");
    host.last = Ok(State::Again);
    host.turn();
    assert!(read_head(&mut peer).starts_with("HTTP/1.1 401 "));
    expect(&mut peer, b"who?");
    expect_end(&mut peer);
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Err(Error::Rejected(401))));
}

/// and an end within the request also ends the connection.
#[test]
fn an_end_inside_the_request() {
    let (mut peer, ours) = sockets();
    let mut host = Host::new(Socket::accept(ours, Config::server(), Instant::ZERO));
    peer.write_all(&REQUEST[..50]).expect("written");
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Err(Error::Lost(_))), "{:?}", host.last);
}
