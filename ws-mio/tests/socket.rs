//! A socket in a loop, over real TCP, against bytes written by hand.

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use mio::Interest;
use support::streams::{Counted, Narrow};
use support::{
    BINARY, CLOSE, Host, PING, PONG, TEXT, expect, expect_end, masked, open, plain, shake_hands, sockets,
};
use ws_mio::core::{CloseCode, CloseFrame, Config, Instant, Role, SendError, Timer, Violation};
use ws_mio::{Buffers, Error, Overflow, Socket, State, Stream};

/// F-14: frames cut anywhere give the same events and the same answers, and between the reads no buffer is held but
/// what a cut frame needs.
#[test]
fn f14_frames_split_anywhere() {
    let input =
        [masked(TEXT, "grüße".as_bytes()), masked(PING, b"hi"), masked(0x02, b"ab"), masked(0x80, b"cd")]
            .concat();
    let output = [plain(TEXT, "grüße".as_bytes()), plain(PONG, b"hi"), plain(BINARY, b"abcd")].concat();
    let (mut peer, mut host) = open(Config::server());
    for cut in 0..input.len() {
        host.seen.clear();
        peer.write_all(&input[..cut]).expect("written");
        host.turn();
        assert!(host.socket.held() <= cut, "{} bytes held at {cut}", host.socket.held());
        peer.write_all(&input[cut..]).expect("written");
        host.until("the last message", |host| host.seen.len() == 3);
        assert_eq!(host.seen, ["text 7", "ping 2", "binary 4"], "cut at {cut}");
        expect(&mut peer, &output);
        assert_eq!(host.socket.held(), 0);
    }
}

/// A hundred messages that came together are one read and one write.
#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_readiness_is_one_read_and_one_write() {
    let (mut peer, io) = sockets();
    let (reads, writes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counted = Counted { io, reads: reads.clone(), writes: writes.clone() };
    let mut host = Host::new(Socket::accept(counted, Config::server(), Instant::ZERO));
    shake_hands(&mut peer, &mut host);
    host.settle();
    reads.set(0);
    writes.set(0);
    peer.write_all(&masked(TEXT, b"0123456789abcdef").repeat(100)).expect("written");
    host.until("all", |host| host.seen.len() == 100);
    expect(&mut peer, &plain(TEXT, b"0123456789abcdef").repeat(100));
    assert_eq!((reads.get(), writes.get()), (1, 1));
}

/// N-02, N-05, C-06: a peer that does not read is not read from, and what waits for it is bounded; when it reads
/// again, nothing is lost.
#[test]
fn n02_a_stalled_reader_costs_what_the_limit_says() {
    const MESSAGES: usize = 2_000;
    const LEN: usize = 20_000;
    let mut config = Config::server();
    config.limits.max_queue = 256 << 10;
    let (mut peer, mut host) = open(config);
    let payload: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    let frame = masked(BINARY, &payload);
    let mut writer = peer.try_clone().expect("cloned");
    let writing = std::thread::spawn(move || (0..MESSAGES).try_for_each(|_| writer.write_all(&frame)));
    host.until("a full queue", |host| host.socket.interest() == Some(Interest::WRITABLE));
    (0..20).for_each(|_| host.turn());
    assert!(host.seen.len() < MESSAGES, "40 MB fit into the sockets: the test shows nothing");
    assert!(matches!(host.last, Ok(State::Waiting)));

    let expected = plain(BINARY, &payload);
    let reading = std::thread::spawn(move || {
        (0..MESSAGES).for_each(|_| expect(&mut peer, &expected));
        peer
    });
    host.until("all messages", |host| {
        host.seen.len() == MESSAGES && host.socket.interest() == Some(Interest::READABLE)
    });
    writing.join().expect("no panic").expect("written");
    let _peer = reading.join().expect("every byte");
    // The queue, in a buffer of at most twice its size, and the loop's buffer with what was read before.
    assert!(host.most <= 2 * (256 << 10) + (64 << 10), "{} bytes", host.most);
    assert_eq!(host.socket.held(), 0);
}

/// C-06: pings from a peer that reads nothing cost a bounded queue.
#[test]
fn c06_a_ping_flood_is_bounded() {
    let (mut peer, mut host) = open(Config::server());
    let mut writer = peer.try_clone().expect("cloned");
    let flood = masked(PING, &[7; 100]).repeat(200_000);
    let writing = std::thread::spawn(move || writer.write_all(&flood));
    host.until("silence", |host| {
        host.socket.interest() == Some(Interest::WRITABLE) || host.seen.len() == 200_000
    });
    (0..10).for_each(|_| host.turn());
    assert!(host.most <= 256 << 10, "{} bytes", host.most);
    peer.set_read_timeout(None).expect("set");
    let reading = std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()));
    host.until("all pings", |host| host.seen.len() == 200_000);
    writing.join().expect("no panic").expect("written");
    host.until("all pongs", |host| host.socket.interest() == Some(Interest::READABLE));
    assert!(host.most <= 256 << 10, "{} bytes", host.most);
    let Host { socket, buffers, now, .. } = &mut host;
    socket.close(buffers, *now, None).expect("open");
    let _ = socket.flush(buffers, *now);
    drop(host);
    let _ = reading.join();
}

/// Messages larger than the loop's buffer, whole and in fragments, go both ways; the memory for them is given back.
#[test]
fn large_messages_come_and_go() {
    let mut config = Config::server();
    config.limits.max_message = 4 << 20;
    config.limits.max_frame = 4 << 20;
    let (mut peer, mut host) = open(config);
    let payload: Vec<u8> = (0..3 << 20).map(|at| (at % 253) as u8).collect();
    let (one, two) = payload.split_at(1_000_001);
    let input = [masked(BINARY, &payload), masked(0x02, one), masked(PING, b"in between"), masked(0x80, two)]
        .concat();
    let output = [plain(BINARY, &payload), plain(PONG, b"in between"), plain(BINARY, &payload)].concat();
    let mut writer = peer.try_clone().expect("cloned");
    let writing = std::thread::spawn(move || writer.write_all(&input));
    let reading = std::thread::spawn(move || {
        expect(&mut peer, &output);
        peer
    });
    host.until("both", |host| host.seen.len() == 3 && host.socket.held() == 0);
    writing.join().expect("no panic").expect("written");
    let _peer = reading.join().expect("every byte");
}

/// the close is echoed, our side ends first, and what the peer still sends is read and thrown away
/// until it ends too.
#[test]
fn x10_a_close_lingers_for_the_peer() {
    let (mut peer, mut host) = open(Config::server());
    peer.write_all(&[masked(TEXT, b"last"), masked(CLOSE, b"\x03\xe8bye"), masked(TEXT, b"late")].concat())
        .expect("written");
    host.until("the close", |host| host.seen.len() == 2);
    assert_eq!(host.seen, ["text 4", "close Some(1000)"]);
    peer.write_all(&masked(TEXT, b"later")).expect("no reset");
    host.settle();
    assert!(matches!(host.last, Ok(State::Waiting)), "{:?}", host.last);
    expect(&mut peer, &[plain(TEXT, b"last"), plain(CLOSE, b"\x03\xe8")].concat());
    expect_end(&mut peer);
    assert!(matches!(
        host.socket.send(&mut host.buffers, host.now, "no"),
        Err(Error::Refused(SendError::Closed))
    ));
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Ok(State::Closed)), "{:?}", host.last);
    assert_eq!(host.seen.len(), 2);
    assert_eq!(host.socket.deadline(), None);
}

/// a peer that does not end its side is waited for 2 s. No more than 64 KiB are read from it, and if it was in
/// full flow it still reads why it was closed on, because what it sends stays in its window.
#[test]
fn x10_the_linger_is_bounded() {
    for talkative in [false, true] {
        let (mut peer, mut host) = open(Config::server());
        peer.write_all(&masked(CLOSE, b"\x03\xe8")).expect("written");
        host.until("the close", |host| host.seen.len() == 1);
        assert_eq!(host.socket.deadline(), Some(Instant::from_secs(2)));
        assert_eq!(host.socket.interest(), Some(Interest::READABLE));
        if talkative {
            peer.write_all(&[0; 200_000]).expect("no reset");
            host.until("a full measure", |host| host.socket.interest().is_none());
            host.settle();
        }
        host.tick(Instant::from_millis(1_999));
        assert!(matches!(host.last, Ok(State::Waiting)), "{:?}", host.last);
        expect(&mut peer, &plain(CLOSE, b"\x03\xe8"));
        expect_end(&mut peer);
        host.tick(Instant::from_secs(2));
        assert!(matches!(host.last, Ok(State::Closed)), "{:?}", host.last);
    }
}

/// a peer that does not answer our close frame is given up after 10 s.
#[test]
fn x11_a_close_without_an_answer() {
    let (mut peer, mut host) = open(Config::server());
    let Host { socket, buffers, now, .. } = &mut host;
    socket.close(buffers, *now, Some(CloseFrame { code: CloseCode::GOING_AWAY, reason: "" })).expect("open");
    host.last = socket.flush(buffers, *now);
    expect(&mut peer, &plain(CLOSE, b"\x03\xe9"));
    // what was on its way still comes.
    peer.write_all(&masked(PING, b"")).expect("written");
    host.until("the ping", |host| host.seen == ["ping 0"]);
    host.tick(Instant::from_secs(10));
    assert!(matches!(host.last, Err(Error::Timeout(Timer::Close))), "{:?}", host.last);
}

/// F-03, X-17: a broken rule ends in one close frame with its code, after the answers to what came before (F-19).
#[test]
fn f03_a_violation_is_told_and_reported_at_the_end() {
    let (mut peer, mut host) = open(Config::server());
    peer.write_all(&[masked(TEXT, b"good"), plain(TEXT, b"unmasked"), masked(TEXT, b"no more")].concat())
        .expect("written");
    host.until_said(&peer);
    assert!(matches!(host.last, Ok(State::Waiting)), "told first: {:?}", host.last);
    expect(&mut peer, &plain(TEXT, b"good"));
    let mut close = Vec::new();
    peer.read_to_end(&mut close).expect("FIN, not a reset");
    assert_eq!((close[0], &close[2..4]), (CLOSE, &b"\x03\xea"[..]));
    assert_eq!(close.len(), 2 + usize::from(close[1]), "one frame");
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Err(Error::Violation(Violation::UnmaskedFrame))), "{:?}", host.last);
    assert_eq!(host.seen, ["text 4"]);
}

/// an end without a close frame is a loss, even when it raises no edge of its own, because it came with data.
#[test]
fn x13_an_end_without_a_close_frame() {
    let (mut peer, mut host) = open(Config::server());
    host.settle();
    peer.write_all(&masked(TEXT, b"and off")).expect("written");
    peer.shutdown(Shutdown::Write).expect("shut down");
    host.until("the end", Host::is_over);
    assert_eq!(host.seen, ["text 7"]);
    match &host.last {
        Err(Error::Lost(error)) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
        other => panic!("{other:?}"),
    }
    // what was accepted is flushed once.
    expect(&mut peer, &plain(TEXT, b"and off"));
    assert_eq!(host.socket.held(), 0);
}

/// C-08: silence leads to a ping, any sign of life counts, and silence after the ping ends the connection.
#[test]
fn c08_a_silent_peer_is_asked_and_given_up() {
    let (mut peer, mut host) = open(Config::server());
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(20)));
    host.tick(Instant::from_secs(20));
    expect(&mut peer, &plain(PING, b""));
    host.now = Instant::from_secs(30);
    peer.write_all(&masked(PONG, b"")).expect("written");
    host.until("the pong", |host| host.seen == ["pong 0"]);
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(50)));
    host.tick(Instant::from_secs(50));
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(70)));
    host.tick(Instant::from_secs(70));
    assert!(matches!(host.last, Err(Error::Timeout(Timer::Pong))), "{:?}", host.last);
}

/// C-08: a ping behind output that is stuck has not left. Its answer is due from when it does.
#[test]
fn c08_a_ping_behind_stuck_output_has_not_left() {
    let (mut peer, io) = sockets();
    let room = Rc::new(Cell::new(3));
    let stream = Narrow { io, room: room.clone(), read: usize::MAX };
    let mut config = Config::server();
    config.timeouts.write = None;
    let mut socket =
        Socket::from_upgraded(stream, Role::Server, &[], config, Instant::ZERO).expect("a server");
    let mut buffers = Buffers::new();
    let at = Instant::from_secs;
    socket.send(&mut buffers, at(1), "stuck").expect("room");
    assert!(matches!(socket.flush(&mut buffers, at(1)), Ok(State::Waiting)));
    assert!(matches!(socket.tick(&mut buffers, at(20)), Ok(State::Waiting)));
    assert_eq!(socket.deadline(), None, "the ping is behind the text");
    assert!(matches!(socket.on_writable(&mut buffers, at(50), |_, _| {}), Ok(State::Waiting)));
    assert_eq!(socket.deadline(), None, "and still is");
    assert!(matches!(socket.tick(&mut buffers, at(1_000)), Ok(State::Waiting)));

    room.set(usize::MAX);
    assert!(matches!(socket.on_writable(&mut buffers, at(1_000), |_, _| {}), Ok(State::Waiting)));
    expect(&mut peer, &[plain(TEXT, b"stuck"), plain(PING, b"")].concat());
    assert_eq!(socket.deadline(), Some(at(1_020)));
    assert!(matches!(socket.tick(&mut buffers, at(1_019)), Ok(State::Waiting)));
    let last = socket.tick(&mut buffers, at(1_020));
    assert!(matches!(last, Err(Error::Timeout(Timer::Pong))), "{last:?}");
}

/// First byte and payload of each frame that is unmasked.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        let (len, rest) = match len {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            len => (usize::from(*len), rest),
        };
        frames.push((*first, rest[..len].to_vec()));
        bytes = &rest[len..];
    }
    frames
}

/// N-02: a full queue refuses, drops the oldest, or closes, as configured. What the peer then reads is whole
/// frames in order, wherever the transport got stuck, and no control frame is lost.
#[test]
fn n02_overflow_is_dealt_with_as_told() {
    const MESSAGES: u8 = 100;
    for overflow in [Overflow::DropNew, Overflow::DropOld, Overflow::Close] {
        for (len, first_room) in
            [(100, 3), (100, 0), (100, 102), (100, 250), (300, 1), (9_000, 5), (40_000, 20_000)]
        {
            let mut config = Config::server();
            config.limits.max_queue = len * 20;
            let (mut peer, io) = sockets();
            let room = Rc::new(Cell::new(first_room));
            let stream = Narrow { io, room: room.clone(), read: usize::MAX };
            let mut socket =
                Socket::from_upgraded(stream, Role::Server, &[], config, Instant::ZERO).expect("a server");
            socket.set_overflow(overflow);
            let (mut buffers, now, mut refused) = (Buffers::new(), Instant::ZERO, 0);
            for at in 0..MESSAGES {
                refused += u8::from(socket.send(&mut buffers, now, &vec![at; len]).is_err());
                if at == 4 {
                    socket.reply(&mut buffers, now).expect("open").ping(b"kept").expect("room");
                }
                // A few bytes leave now and then, and end anywhere.
                room.set(room.get() + usize::from(at % 9 == 8) * 7);
                assert!(matches!(socket.on_writable(&mut buffers, now, |_, _| {}), Ok(State::Waiting)));
                assert!(
                    socket.held() <= (2 * 20 * (len + 10)).next_power_of_two().max(64 << 10),
                    "{}",
                    socket.held()
                );
            }
            let reading = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                peer.read_to_end(&mut bytes).map(|_| bytes)
            });
            room.set(usize::MAX);
            while socket.interest().is_some_and(Interest::is_writable) {
                assert!(matches!(socket.on_writable(&mut buffers, now, |_, _| {}), Ok(State::Waiting)));
            }
            drop(socket);
            let frames = frames(&reading.join().expect("no panic").expect("FIN"));
            let what = format!("{overflow:?} {len} {first_room}");
            let count = |first| frames.iter().filter(|frame| frame.0 == first).count();
            assert_eq!(
                frames.iter().filter(|frame| frame.0 == PING).collect::<Vec<_>>(),
                [&(PING, b"kept".to_vec())],
                "{what}"
            );
            let messages: Vec<u8> =
                frames.iter().filter(|frame| frame.0 == BINARY).map(|frame| frame.1[0]).collect();
            assert!(
                frames.iter().all(|(first, payload)| *first != BINARY || *payload == vec![payload[0]; len]),
                "{what}"
            );
            assert!(messages.is_sorted_by(|one, other| one < other), "{what}: {messages:?}");
            match overflow {
                Overflow::DropNew => {
                    assert_eq!(messages.len(), usize::from(MESSAGES - refused), "{what}");
                    assert!(refused > 50 && count(CLOSE) == 0, "{what}: {refused}");
                }
                Overflow::DropOld => {
                    assert_eq!(
                        (refused, messages.last(), count(CLOSE)),
                        (0, Some(&(MESSAGES - 1)), 0),
                        "{what}"
                    );
                    assert!((15..40).contains(&messages.len()), "{what}: {messages:?}");
                }
                _ => {
                    assert_eq!(frames.last(), Some(&(CLOSE, b"\x03\xf5".to_vec())), "{what}");
                    assert!(messages.len() <= 4, "{what}: {messages:?}");
                }
            }
        }
    }
}

/// F-16: over a stream that is already upgraded, a client masks, and reads what came after the handshake.
#[test]
fn f16_a_client_over_an_upgraded_stream() {
    let (mut peer, ours) = sockets();
    let leftover = plain(TEXT, b"hello");
    let socket = Socket::from_upgraded(ours, Role::Client, &leftover, Config::client(), Instant::ZERO)
        .expect("entropy");
    let mut host = Host::new(socket);
    host.last = Ok(State::Again);
    host.until("the leftover", |host| host.seen == ["text 5"]);
    let mut echo = [0; 11];
    peer.read_exact(&mut echo).expect("a frame");
    assert_eq!(echo[..2], [TEXT, 0x80 | 5]);
    let payload: Vec<u8> = (0..5).map(|at| echo[6 + at] ^ echo[2 + at % 4]).collect();
    assert_eq!(payload, b"hello");
}

/// Always readable, always writable.
struct Endless;

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // An empty ping in seven bytes would be cut by a full buffer; six bytes are cut too, and resume.
        let frame = masked(BINARY, b"");
        out.iter_mut().zip(frame.iter().cycle()).for_each(|(out, byte)| *out = *byte);
        Ok(out.len() / frame.len() * frame.len())
    }
}

impl Write for Endless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Endless {
    fn shut_down(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A peer that is faster than we are does not starve the others on the loop.
#[test]
fn an_endless_stream_is_left_for_the_others() {
    let mut socket =
        Socket::from_upgraded(Endless, Role::Server, &[], Config::server(), Instant::ZERO).expect("a server");
    let (mut buffers, mut messages) = (Buffers::new(), 0);
    let state = socket.on_readable(&mut buffers, Instant::ZERO, |_, reply| {
        messages += 1;
        reply.send("x").expect("room");
    });
    assert!(matches!(state, Ok(State::Again)), "{state:?}");
    assert!((1..1_000_000).contains(&messages), "{messages}");
    assert_eq!(socket.held(), 0);
    let state = socket.proceed(&mut buffers, Instant::ZERO, |_, _| {});
    assert!(matches!(state, Ok(State::Again)), "{state:?}");
}
