//! The `io-uring` example, driven by clients over real sockets. Where the kernel refuses `io_uring` this says so, past the
//! capture of test output, and proves nothing.
#![cfg(target_os = "linux")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ws_core::Config;

#[path = "../examples/io-uring.rs"]
#[allow(dead_code, reason = "its main function is not for here")]
mod example;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A server on its own thread, for as long as the test runs; `None` where there is no `io_uring`.
fn serve(config: Config) -> Option<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (told, tells) = std::sync::mpsc::channel();
    // A ring is worked off by the thread that made it.
    thread::spawn(move || match example::Server::new(listener, config) {
        Ok(mut server) => {
            told.send(None).expect("somebody listens");
            let Err(error) = server.run();
            panic!("{error}");
        }
        Err(error) => told.send(Some(error)).expect("somebody listens"),
    });
    match tells.recv().expect("an answer") {
        None => Some(address),
        Some(error) => {
            let _ = writeln!(io::stderr(), "skipped: this kernel refuses io_uring: {error}");
            None
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    stream.write_all(REQUEST.as_bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("ASCII");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream
}

fn head(first: u8, len: usize, mask: u8) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask | len as u8],
        126..=0xFFFF => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// A client's frame.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x11, 0x22, 0x33, 0x44];
    let mut frame = head(first, payload.len(), 0x80);
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The server's.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len(), 0), payload.to_vec()].concat()
}

fn expect(stream: &mut TcpStream, due: &[u8]) {
    let mut came = vec![0; due.len()];
    stream.read_exact(&mut came).expect("all of it");
    assert!(came == due, "other bytes than {:02x?}...", &due[..due.len().min(16)]);
}

/// Whole, in pieces and in fragments, on many connections at once: all comes back.
#[test]
fn messages_come_back() {
    let Some(address) = serve(Config::server()) else { return };
    let mut streams: Vec<TcpStream> = (0..40).map(|_| connect(address)).collect();
    for (first, size) in
        [(0x82, 0), (0x81, 5), (0x82, 125), (0x82, 126), (0x81, 16 << 10), (0x82, 70_000), (0x82, 1 << 20)]
    {
        let payload: Vec<u8> = (0..size).map(|at| b'a' + (at % 23) as u8).collect();
        let frame = masked(first, &payload);
        thread::scope(|scope| {
            for (index, stream) in streams.iter_mut().enumerate() {
                let (frame, due) = (&frame, plain(first, &payload));
                scope.spawn(move || {
                    let cut = frame.len() * index / 40;
                    stream.write_all(&frame[..cut]).expect("sent");
                    thread::sleep(Duration::from_millis(2));
                    stream.write_all(&frame[cut..]).expect("sent");
                    expect(stream, &due);
                });
            }
        });
    }
    let stream = &mut streams[0];
    let parts = [masked(0x01, "grü".as_bytes()), masked(0x89, b"hi"), masked(0x80, "ße".as_bytes())].concat();
    for byte in parts {
        stream.write_all(&[byte]).expect("sent");
    }
    expect(stream, &[plain(0x8A, b"hi"), plain(0x81, "grüße".as_bytes())].concat());
}

/// A close is answered, then the server hangs up; and a broken rule has its code.
#[test]
fn connections_end_as_they_should() {
    let Some(address) = serve(Config::server()) else { return };
    for (sent, due) in [
        (masked(0x88, &1000_u16.to_be_bytes()), plain(0x88, &1000_u16.to_be_bytes())),
        (vec![0x82, 5], plain(0x88, &1002_u16.to_be_bytes())[..1].to_vec()),
        (masked(0x81, b"\xFF"), plain(0x88, &1007_u16.to_be_bytes())[..1].to_vec()),
    ] {
        let mut stream = connect(address);
        stream.write_all(&sent).expect("sent");
        let mut came = Vec::new();
        stream.read_to_end(&mut came).expect("an end");
        assert!(came.starts_with(&due), "{came:02x?}");
    }
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut came = String::new();
    stream.read_to_string(&mut came).expect("an end");
    assert!(came.starts_with("HTTP/1.1 4"), "{came}");
}

/// Deadlines are kept even if nothing arrives.
#[test]
fn who_says_nothing_is_let_go() {
    let mut config = Config::server();
    config.timeouts.handshake = Duration::from_millis(300);
    config.timeouts.linger = Duration::from_millis(300);
    let Some(address) = serve(config) else { return };
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.write_all(b"GET / HT").expect("sent");
    let mut came = String::new();
    stream.read_to_string(&mut came).expect("an end");
    assert!(came.starts_with("HTTP/1.1 408 "), "{came}");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
}

/// A client that sends and does not read is no longer read from, and continues when it reads.
#[test]
fn who_does_not_read_is_not_read_from() {
    let Some(address) = serve(Config::server()) else { return };
    let mut stream = connect(address);
    let payload = vec![7; 60_000];
    let (frame, due) = (masked(0x82, &payload), plain(0x82, &payload));
    stream.set_nonblocking(true).expect("a mode");
    let (mut sent, mut quiet) = (0_usize, Instant::now());
    while quiet.elapsed() < Duration::from_millis(500) {
        match stream.write(&frame[sent % frame.len()..]) {
            Ok(written) => (sent, quiet) = (sent + written, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 64 << 20, "all is taken, and held");
    }
    stream.set_nonblocking(false).expect("a mode");
    let mut writer = stream.try_clone().expect("a handle");
    thread::scope(|scope| {
        let messages = sent.div_ceil(frame.len());
        scope.spawn(move || {
            let rest = &frame[sent % frame.len()..];
            writer.write_all(if rest.len() == frame.len() { &[] } else { rest }).expect("sent");
        });
        (0..messages).for_each(|_| expect(&mut stream, &due));
    });
}
