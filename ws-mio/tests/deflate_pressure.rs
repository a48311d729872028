//! permessage-deflate over a socket whose transport is narrow, whose queue is full, or whose messages inflate far.
#![cfg(feature = "deflate")]

mod support;

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use mio::Interest;
use support::compressed::{Codec, OFFER, RSV1, another_text, config, open, settings, text};
use support::streams::Narrow;
use support::{BINARY, CLOSE, Host, PING, TEXT, await_bytes, read_frame, sockets};
use ws_mio::core::deflate::{Agreement, WindowBits};
use ws_mio::core::{Chunk, Delivery, Event, Instant, Message, Part, Payload, Prepared, Role};
use ws_mio::{Buffers, Overflow, Socket, State};

/// Turns the loop until everything has been sent, while another thread reads.
fn flush(socket: &mut Socket<Narrow>, buffers: &mut Buffers) {
    assert!(socket.flush(buffers, Instant::ZERO).is_ok());
    while socket.interest().is_some_and(Interest::is_writable) {
        assert!(socket.on_writable(buffers, Instant::ZERO, |_, _| {}).is_ok());
    }
}

/// N-05: a large compressed message that is read in small pieces, whose echo leaves in small pieces, with the transport
/// blocked between them. What waits then takes memory of its actual size, not of its maximum.
#[test]
fn n05_a_large_message_through_a_narrow_stream() {
    let (mut peer, io) = sockets();
    let room = Rc::new(Cell::new(usize::MAX));
    let stream = Narrow { io, room: room.clone(), read: 1_000 };
    let (mut host, _) = open(&mut peer, stream, config(Some(settings(15, true))), OFFER);
    let mut codec = Codec::new(15, true);
    let message = text(1 << 20);
    let frame = codec.frame(TEXT, message.as_bytes());
    room.set(3);
    let mut writer = peer.try_clone().expect("cloned");
    let compressed = frame.len();
    let writing = std::thread::spawn(move || writer.write_all(&frame));
    host.until("the text", |host| host.seen.len() == 1);
    writing.join().expect("no panic").expect("written");
    host.settle();
    assert!((compressed / 2..compressed * 2).contains(&host.socket.held()), "{} held", host.socket.held());
    let reading = std::thread::spawn(move || {
        let echo = codec.receive(&mut peer);
        (peer, codec, echo)
    });
    while !reading.is_finished() {
        room.set(7_777);
        let Host { socket, buffers, now, .. } = &mut host;
        assert!(matches!(socket.on_writable(buffers, *now, |_, _| {}), Ok(State::Waiting | State::Again)));
    }
    let (mut peer, mut codec, (first, len, echo)) = reading.join().expect("the echo");
    assert!(first == TEXT && len < message.len() / 2 && echo == message.as_bytes());
    // And the next message goes through.
    room.set(usize::MAX);
    let (at, _) = message.char_indices().rev().nth(400).expect("longer");
    assert!(codec.echo_with(&mut peer, &mut host, &message[at..]) < 100);
    assert_eq!(host.socket.held(), 0);
}

/// N-02: messages that refer to each other are dropped from a full queue together, and a peer that reads on can read the
/// rest.
#[test]
fn n02_what_is_dropped_is_not_referred_to() {
    for (takeover, first_room, parts) in
        [(true, 3, false), (true, 40_000, false), (false, 3, false), (true, 3, true), (false, 500, true)]
    {
        let (mut peer, io) = sockets();
        let room = Rc::new(Cell::new(first_room));
        let mut config = config(Some(settings(15, takeover)));
        config.limits.max_queue = 100_000;
        let stream = Narrow { io, room: room.clone(), read: usize::MAX };
        let mut socket =
            Socket::from_upgraded(stream, Role::Server, &[], config, Instant::ZERO).expect("a server");
        let agreement = Agreement {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            server_max_window_bits: WindowBits::MAX,
            client_max_window_bits: WindowBits::MAX,
        };
        socket.enable_deflate(&agreement);
        socket.set_overflow(Overflow::DropOld);
        let (mut buffers, now) = (Buffers::new(), Instant::ZERO);
        let message = |at: usize| format!("{at:04} {}", another_text(at, 20_000));
        let sent = 60;
        for at in 0..sent {
            let said = message(at);
            if parts && at == 8 {
                let (one, two) = said.split_at(4);
                socket.send_part(&mut buffers, now, one, Part::First).expect("room");
                socket.send_part(&mut buffers, now, two, Part::Last).expect("room");
            } else {
                socket.send(&mut buffers, now, &*said).expect("the oldest make room");
            }
            if at == 10 {
                socket.reply(&mut buffers, now).expect("open").ping(b"kept").expect("room");
            }
            assert!(matches!(socket.on_writable(&mut buffers, now, |_, _| {}), Ok(State::Waiting)));
        }
        let reading = std::thread::spawn(move || {
            let mut codec = Codec::new(15, takeover);
            let (mut messages, mut pings, mut open) = (Vec::new(), 0, Vec::new());
            loop {
                let (first, payload) = read_frame(&mut peer);
                match first {
                    PING => pings += 1,
                    CLOSE => return (messages, pings),
                    _ if first & 0x80 == 0 => open = payload,
                    0x80 => messages.push(codec.inflate(&[&open[..], &payload].concat())),
                    _ => messages.push(codec.inflate(&payload)),
                }
            }
        });
        room.set(usize::MAX);
        socket.close(&mut buffers, now, None).expect("open");
        flush(&mut socket, &mut buffers);
        let (messages, pings) = reading.join().expect("all of it can be read");
        let numbers: Vec<usize> = messages
            .iter()
            .map(|message| str::from_utf8(&message[..4]).expect("a number").parse().expect("one"))
            .collect();
        let what = format!("{takeover} {first_room} {parts}: {numbers:?}");
        for (number, said) in numbers.iter().zip(&messages) {
            assert!(*said == message(*number).as_bytes(), "{what}");
        }
        assert!(numbers.is_sorted_by(|one, other| one < other), "{what}");
        assert_eq!((pings, numbers.last()), (1, Some(&(sent - 1))), "{what}");
        assert!(numbers.len() < sent, "nothing was dropped: {what}");
        assert!(!parts || numbers.contains(&8), "{what}");
    }
}

/// N-02: the oldest also make room for a new one while a message for many is half sent and never finishes.
#[test]
fn n02_the_oldest_go_behind_a_message_for_many() {
    for deflate in [None, Some(settings(15, true))] {
        let (mut peer, io) = sockets();
        let room = Rc::new(Cell::new(10_000));
        let is_compressed = deflate.is_some();
        let mut config = config(deflate);
        config.limits.max_queue = 400_000;
        let stream = Narrow { io, room: room.clone(), read: usize::MAX };
        let (mut host, _) = open(&mut peer, stream, config, OFFER);
        let Host { socket, buffers, now, .. } = &mut host;
        socket.set_overflow(Overflow::DropOld);
        let many = another_text(1, 300_000);
        room.set(1_000);
        socket.send_prepared(buffers, *now, &Prepared::new(Message::Text(&many))).expect("room");
        let sent = 100;
        for at in 0..sent {
            let own = format!("{at:04} {}", another_text(at, 20_000));
            socket.send(buffers, *now, &*own).unwrap_or_else(|error| panic!("{is_compressed} {at}: {error}"));
            assert!(matches!(socket.on_writable(buffers, *now, |_, _| {}), Ok(State::Waiting)));
        }
        room.set(usize::MAX);
        let reading = std::thread::spawn(move || {
            let mut codec = Codec::new(15, true);
            let mut seen = Vec::new();
            loop {
                match read_frame(&mut peer) {
                    (CLOSE, _) => return seen,
                    (TEXT, payload) => seen.push(payload),
                    (_, payload) => seen.push(codec.inflate(&payload)),
                }
            }
        });
        socket.close(buffers, *now, None).expect("open");
        flush(socket, buffers);
        let seen = reading.join().expect("all of it can be read");
        assert!(seen[0] == many.as_bytes());
        assert!(seen.len() < sent, "nothing was dropped");
        let last = format!("{:04} {}", sent - 1, another_text(sent - 1, 20_000));
        assert!(seen.last().expect("some") == last.as_bytes());
    }
}

/// DP-20: a frame that was compressed once, small and large, among a connection's own messages; and through a transport
/// that takes it in pieces.
#[test]
fn dp20_a_message_for_many() {
    for takeover in [true, false] {
        let (mut peer, io) = sockets();
        let room = Rc::new(Cell::new(usize::MAX));
        let stream = Narrow { io, room: room.clone(), read: usize::MAX };
        let (mut host, _) = open(&mut peer, stream, config(Some(settings(12, takeover))), OFFER);
        let mut codec = Codec::new(12, takeover);
        for (len, first_room) in
            [(10, usize::MAX), (3_000, usize::MAX), (300_000, usize::MAX), (300_000, 50_000)]
        {
            let (own, many) = (another_text(1, 500), another_text(2, len));
            let prepared = Prepared::new(Message::Text(&many));
            let Host { socket, buffers, now, .. } = &mut host;
            room.set(first_room);
            socket.reply(buffers, *now).expect("open").ping(b"first").expect("room");
            socket.send_prepared(buffers, *now, &prepared).expect("room");
            socket.send(buffers, *now, &*own).expect("room");
            let reading = {
                let mut peer = peer.try_clone().expect("cloned");
                std::thread::spawn(move || [(); 3].map(|()| read_frame(&mut peer)))
            };
            let _ = socket.flush(buffers, *now);
            room.set(usize::MAX);
            flush(socket, buffers);
            let [ping, shared, alone] = reading.join().expect("three frames");
            assert_eq!(ping, (PING, b"first".to_vec()));
            assert_eq!(shared.0, if len < 64 { TEXT } else { TEXT | RSV1 });
            let said = if len < 64 { shared.1 } else { codec.inflate(&shared.1) };
            assert!(said == many.as_bytes(), "{takeover} {len}");
            assert_eq!(codec.inflate(&alone.1), own.as_bytes());
        }
    }
}

/// A message handed over in parts, inflated as they arrive: far more than a turn's worth in one read.
#[test]
fn chunks_of_a_turn_each() {
    const LEN: usize = 20_000_000;
    let (mut peer, io) = sockets();
    let mut config = config(Some(settings(15, true)));
    config.limits.max_message = LEN as u64;
    config.delivery = Delivery::Chunks;
    let (mut host, _) = open(&mut peer, io, config, OFFER);
    let frame = Codec::new(15, true).frame(BINARY, &vec![7; LEN]);
    peer.write_all(&frame).expect("written");
    await_bytes(host.socket.stream(), frame.len());
    let Host { socket, buffers, now, .. } = &mut host;
    let (mut total, mut turns, mut is_last) = (0, 0, false);
    while !is_last {
        let before = total;
        let state = socket.on_readable(buffers, *now, |event, _| match event {
            Event::Chunk(Chunk { payload: Payload::Binary(bytes), first, last }) => {
                assert_eq!(first, total == 0);
                assert!(bytes.iter().all(|&byte| byte == 7));
                total += bytes.len();
                is_last = last;
            }
            other => panic!("{other:?}"),
        });
        assert!(matches!(state, Ok(State::Again | State::Waiting)), "{state:?}");
        assert!(total - before <= 1_100_000, "{} bytes in a turn", total - before);
        turns += 1;
    }
    assert_eq!(total, LEN);
    assert!(turns > 15, "{turns}");
    assert_eq!(socket.held(), 0);
}

/// A few hundred bytes that inflate to megabytes do not starve other connections: after about a megabyte it is their turn.
#[test]
fn what_inflates_far_is_left_for_the_others() {
    const MESSAGES: usize = 400;
    let (mut peer, io) = sockets();
    let (mut host, _) = open(&mut peer, io, config(Some(settings(15, false))), OFFER);
    let zeros = Codec::new(15, false).frame(BINARY, &[0; 100_000]);
    peer.write_all(&zeros.repeat(MESSAGES)).expect("written");
    await_bytes(host.socket.stream(), zeros.len() * MESSAGES);
    let Host { socket, buffers, now, .. } = &mut host;
    let (mut turns, mut total, mut most) = (0, 0, 0);
    while total < MESSAGES {
        let mut got = 0;
        let state = socket.on_readable(buffers, *now, |event, _| {
            assert!(matches!(event, Event::Binary(bytes) if bytes.len() == 100_000));
            got += 1;
        });
        assert_eq!(matches!(state, Ok(State::Again)), got > 0 && total + got < MESSAGES, "{state:?}");
        total += got;
        most = most.max(got);
        turns += 1;
    }
    assert!(most <= 12 && turns > 30, "{most} messages of 100 000 bytes in one of {turns} turns");
}
