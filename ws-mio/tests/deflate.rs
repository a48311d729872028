//! permessage-deflate over a socket in a loop: what is agreed on, what travels, what is kept when nothing does.
#![cfg(feature = "deflate")]

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use mio::net::TcpStream as Io;
use support::compressed::{Codec, RSV1, another_text, line, read_frame, request, settings, text};
use support::{
    BINARY, CLOSE, Host, PING, PONG, Registered, TEXT, expect, expect_end, masked, plain, read_head, sockets,
};
use ws_mio::core::deflate::{Agreement, Compress, Settings, WindowBits};
use ws_mio::core::{
    Accept, Chunk, Config, Delivery, Event, Instant, Message, Part, Payload, Prepared, Role, Violation,
};
use ws_mio::{Buffers, Error, Overflow, Socket, State, Stream};

const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn config(deflate: Option<Settings>) -> Config {
    let mut config = Config::server();
    config.limits.max_message = 4 << 20;
    config.limits.max_frame = 4 << 20;
    config.deflate = deflate;
    config
}

/// A connection whose handshake is done, and the line that was agreed on.
fn open<S: Registered>(
    peer: &mut TcpStream,
    io: S,
    config: Config,
    offer: &str,
) -> (Host<S>, Option<String>) {
    let mut host = Host::new(Socket::accept(io, config, Instant::ZERO));
    peer.write_all(&request(offer)).expect("written");
    host.until("an open socket", |host| host.socket.is_open());
    let head = read_head(peer);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (host, line(&head).map(str::to_owned))
}

fn compressing(bits: u8, takeover: bool) -> (TcpStream, Host<Io>, Codec) {
    let (mut peer, io) = sockets();
    let (host, line) = open(&mut peer, io, config(Some(settings(bits, takeover))), OFFER);
    assert!(line.is_some());
    (peer, host, Codec::new(bits, takeover))
}

/// DN-19, DN-05, DN-06, DN-16: what is agreed on is what both sides ask for; off is not offered, and is not accepted.
#[test]
fn dn19_agreed_as_both_sides_say() {
    let declined = None;
    let memory_lean = Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
    let cases = [
        (None, OFFER, declined),
        (Some(Settings::server()), OFFER, memory_lean),
        (Some(Settings::client()), OFFER, Some("permessage-deflate")),
        (Some(Settings::client()), "permessage-deflate; server_max_window_bits=8", declined),
        (Some(Settings::client()), "x-other", declined),
        (
            Some(Settings::client()),
            "permessage-deflate; what, permessage-deflate; server_max_window_bits=10",
            Some("permessage-deflate; server_max_window_bits=10"),
        ),
        (
            Some(Settings::server()),
            "permessage-deflate",
            Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=12"),
        ),
    ];
    for (settings, offer, due) in cases {
        let (mut peer, io) = sockets();
        let (mut host, line) = open(&mut peer, io, config(settings), offer);
        assert_eq!(line.as_deref(), due, "{offer}");
        assert_eq!(host.socket.agreement().is_some(), due.is_some());
        // Nothing before the first message; and without an agreement RSV1 is a broken rule (RFC 6455, section 5.2).
        assert!(!host.socket.has_live_deflate());
        peer.write_all(&Codec::new(9, false).frame(TEXT, b"hello")).expect("written");
        if due.is_some() {
            host.until("the text", |host| host.seen == ["text 5"]);
            expect(&mut peer, &plain(TEXT, b"hello"));
        } else {
            let (first, payload) = {
                host.settle();
                read_frame(&mut peer)
            };
            assert_eq!((first, &payload[..2]), (CLOSE, &b"\x03\xea"[..]), "{offer}");
            drop(peer);
            host.until("the end", Host::is_over);
            assert!(matches!(host.last, Err(Error::Violation(Violation::ReservedBit))), "{:?}", host.last);
        }
    }
}

/// An application that negotiates by itself is not interfered with.
#[test]
fn an_answer_of_ones_own() {
    let (mut peer, io) = sockets();
    let mut host = Host::new(Socket::accept_asking(io, config(Some(Settings::server())), Instant::ZERO));
    peer.write_all(&request("permessage-deflate; server_no_context_takeover")).expect("written");
    host.until("the request", |host| matches!(host.last, Ok(State::Asked)));
    let Host { socket, buffers, now, .. } = &mut host;
    let mut own = Settings::server();
    own.deflate_window = WindowBits::new(10).expect("8 to 15");
    let request = socket.request(*now).expect("asked");
    let (agreement, answer) = own.accept(request.extensions()).expect("an offer that can be honoured");
    socket.agree(buffers, *now, Accept { extensions: &answer, ..Accept::default() }).expect("may be sent");
    assert_eq!(socket.agreement(), None);
    socket.enable_deflate(&agreement);
    assert_eq!(socket.agreement(), Some(&agreement));
    host.last = Ok(State::Again);
    host.turn();
    let head = read_head(&mut peer);
    assert_eq!(line(&head), Some(&*answer));
    assert!(answer.contains("server_max_window_bits=10"), "{answer:?}");
    assert!(Codec::new(15, false).echo_with(&mut peer, &mut host, &text(300)) < 200);
}

/// DP-02, DP-04, DP-13: messages of all lengths, compressed and plain, come and go over one context.
#[test]
fn dp13_messages_come_and_go() {
    for (bits, takeover) in [(15, true), (12, true), (9, true), (15, false), (9, false)] {
        let (peer, mut host, mut codec) = compressing(bits, takeover);
        let (mut came, mut went) = (0, 0);
        for len in [0, 1, 63, 64, 125, 1_000, 8 << 10, 40 << 10, 70 << 10, 1 << 20, 300] {
            let message = text(len);
            for is_plain in [false, true] {
                let frame = if is_plain {
                    masked(TEXT, message.as_bytes())
                } else {
                    codec.frame(TEXT, message.as_bytes())
                };
                let mut writer = peer.try_clone().expect("cloned");
                let writing = std::thread::spawn(move || writer.write_all(&frame));
                let before = host.seen.len();
                let reading = {
                    let mut peer = peer.try_clone().expect("cloned");
                    std::thread::spawn(move || read_frame(&mut peer))
                };
                host.until("the text", |host| host.seen.len() > before);
                host.until("the echo", |_| reading.is_finished());
                let (first, payload) = reading.join().expect("a frame");
                writing.join().expect("no panic").expect("written");
                // The threshold is on the message as it was.
                assert_eq!(first, if len < 64 { TEXT } else { TEXT | RSV1 }, "{len}");
                came += len;
                went += payload.len();
                let said = if first & RSV1 == 0 { payload } else { codec.inflate(&payload) };
                assert!(said == message.as_bytes(), "{bits} {takeover} {len}");
            }
        }
        assert!(went < came / 2, "{bits} {takeover}: {went} of {came} bytes");
        assert_eq!(host.socket.held(), 0);
        assert_eq!(host.socket.has_live_deflate(), takeover);
    }
}

/// DN-19: a secret may be kept out of the compressor, and a short message put into it.
#[test]
fn dn19_a_message_may_go_plain() {
    let (mut peer, mut host, mut codec) = compressing(12, true);
    let (secret, short) = ("secret ".repeat(300), "short");
    let Host { socket, buffers, now, .. } = &mut host;
    for (compress, message, is_compressed) in [
        (Compress::Never, secret.as_str(), false),
        (Compress::Auto, &secret, true),
        (Compress::Auto, short, false),
        (Compress::Always, short, true),
    ] {
        socket.set_compress(compress);
        socket.send(buffers, *now, message).expect("room");
        assert!(matches!(socket.flush(buffers, *now), Ok(State::Waiting)));
        let (first, payload) = read_frame(&mut peer);
        assert_eq!(first & RSV1 != 0, is_compressed, "{compress:?} {}", message.len());
        let said = if is_compressed { codec.inflate(&payload) } else { payload };
        assert!(said == message.as_bytes());
    }
}

/// DN-20: what lies idle is parked when its deadline comes, whether it was sent or received last, and goes on where it
/// was. In between only the window's bytes are kept, which `deflate_heap.rs` counts.
#[test]
fn dn20_idle_state_is_parked() {
    let (mut peer, mut host, mut codec) = compressing(15, true);
    let idle = Settings::server().idle;
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(20)));
    let unusual = text(200);
    assert!(codec.echo_with(&mut peer, &mut host, &unusual) > 60);
    assert!(host.socket.has_live_deflate());
    assert_eq!(host.socket.deadline(), Some(Instant::ZERO.saturating_add(idle)));
    // Used since it was planned: it has another such time.
    host.tick(Instant::ZERO.saturating_add(idle));
    assert!(host.socket.has_live_deflate());
    let parked = Instant::ZERO.saturating_add(idle * 2);
    assert_eq!(host.socket.deadline(), Some(parked));
    host.tick(parked);
    assert!(!host.socket.has_live_deflate());
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(20)), "nothing left to look after");
    // Both windows are still there: what was said before is a reference.
    assert!(codec.echo_with(&mut peer, &mut host, &unusual) < 20);
    // What only we send is parked as well.
    host.tick(host.now.saturating_add(idle));
    host.tick(host.now.saturating_add(idle));
    assert!(!host.socket.has_live_deflate());
    let Host { socket, buffers, now, .. } = &mut host;
    socket.send(buffers, *now, &*unusual).expect("room");
    assert!(matches!(socket.flush(buffers, *now), Ok(State::Waiting)));
    assert_eq!(socket.deadline(), Some(now.saturating_add(idle)));
    assert_eq!(codec.receive(&mut peer).2, unusual.as_bytes());
}

/// a close behind a compressed message in the same read, and one in the midst of a message.
#[test]
fn x07_a_close_inside() {
    let (mut peer, mut host, mut codec) = compressing(12, true);
    let last = text(5_000);
    peer.write_all(&[codec.frame(TEXT, last.as_bytes()), masked(CLOSE, b"\x03\xe8")].concat())
        .expect("written");
    host.until("the close", |host| host.seen.len() == 2);
    assert_eq!(host.seen, ["text 5000", "close Some(1000)"]);
    assert_eq!(codec.receive(&mut peer).2, last.as_bytes());
    expect(&mut peer, &plain(CLOSE, b"\x03\xe8"));
    expect_end(&mut peer);
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Ok(State::Closed)), "{:?}", host.last);

    let (mut peer, mut host, mut codec) = compressing(12, true);
    let payload = codec.deflate(last.as_bytes());
    let (one, two) = payload.split_at(payload.len() / 2);
    // RSV1 on the first frame; a ping between them; the rest never comes.
    peer.write_all(&[masked(0x01 | RSV1, one), masked(PING, b"hi"), masked(0x00, &two[..9])].concat())
        .expect("written");
    host.until("the ping", |host| host.seen == ["ping 2"]);
    expect(&mut peer, &plain(PONG, b"hi"));
    peer.write_all(&masked(CLOSE, b"\x03\xe8")).expect("written");
    host.until("the close", |host| host.seen.len() == 2);
    assert_eq!(host.seen[1], "close Some(1000)");
    expect(&mut peer, &plain(CLOSE, b"\x03\xe8"));
    drop(peer);
    host.until("the end", Host::is_over);
    assert!(matches!(host.last, Ok(State::Closed)), "{:?}", host.last);
    assert_eq!(host.socket.held(), 0);
}

/// DP-06, DP-17, U-01: what is cut, broken or no text ends with 1007, after the answers to what came before.
#[test]
fn dp17_broken_messages() {
    let mut valid = Codec::new(12, true);
    let cut = {
        let mut payload = valid.deflate(&[b'x'; 500]);
        payload.pop();
        payload
    };
    let no_text = Codec::new(12, true).deflate(b"\xff\xfe and more");
    for (payload, violation) in [
        (cut, Violation::InvalidDeflate),
        (vec![], Violation::InvalidDeflate),
        (b"\x06\x07\x08".to_vec(), Violation::InvalidDeflate),
        (no_text, Violation::InvalidUtf8),
    ] {
        let (mut peer, mut host, _) = compressing(12, true);
        peer.write_all(
            &[masked(TEXT, b"good"), masked(TEXT | RSV1, &payload), masked(TEXT, b"late")].concat(),
        )
        .expect("written");
        host.settle();
        expect(&mut peer, &plain(TEXT, b"good"));
        let (first, reason) = read_frame(&mut peer);
        assert_eq!((first, &reason[..2]), (CLOSE, &b"\x03\xef"[..]));
        drop(peer);
        host.until("the end", Host::is_over);
        assert!(matches!(&host.last, Err(Error::Violation(found)) if *found == violation), "{:?}", host.last);
        assert_eq!(host.seen, ["text 4"]);
    }
}

/// DP-18: fragments that end anywhere, each of them a read of its own.
#[test]
fn dp18_a_byte_a_read() {
    let (mut peer, mut host, mut codec) = compressing(9, true);
    let message = text(700);
    for turn in 0..2 {
        let payload = codec.deflate(message.as_bytes());
        for (at, byte) in payload.iter().enumerate() {
            let first = if at == 0 { 0x01 | RSV1 } else { 0 };
            let fin = if at + 1 == payload.len() { 0x80 } else { 0 };
            peer.write_all(&masked(first | fin, &[*byte])).expect("written");
            if at % 16 == 0 {
                host.turn();
            }
        }
        host.until("the text", |host| host.seen.len() == turn + 1);
        assert_eq!(codec.receive(&mut peer).2, message.as_bytes());
    }
    assert_eq!(host.socket.held(), 0);
}

/// Takes so many bytes and then no more; lends so many at a time.
struct Narrow {
    io: Io,
    room: Rc<Cell<usize>>,
    read: usize,
}

impl Read for Narrow {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.read.min(out.len());
        self.io.read(&mut out[..most])
    }
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.room.get().min(bytes.len());
        if most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.io.write(&bytes[..most])?;
        self.room.set(self.room.get() - n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

impl Stream for Narrow {
    fn shut_down(&mut self) -> io::Result<()> {
        self.io.shut_down()
    }
}

impl Registered for Narrow {
    fn source(&mut self) -> &mut Io {
        &mut self.io
    }
}

/// N-05: a large compressed message that is read in small pieces, whose echo leaves in small pieces, with the transport
/// blocked between them. What waits then takes memory of its own size, not of what it might have been.
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
    // And the next message finds everything in order.
    room.set(usize::MAX);
    let (at, _) = message.char_indices().rev().nth(400).expect("longer");
    assert!(codec.echo_with(&mut peer, &mut host, &message[at..]) < 100);
    assert_eq!(host.socket.held(), 0);
}

/// N-02: messages that refer to each other leave a full queue together, and whoever reads on can read what is left.
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
        assert!(matches!(
            socket.on_writable(&mut buffers, now, |_, _| {}),
            Ok(State::Waiting | State::Again)
        ));
        socket.close(&mut buffers, now, None).expect("open");
        assert!(socket.flush(&mut buffers, now).is_ok());
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

/// N-02: the oldest make room for a new one, too, while a message for many is half gone and never quite leaves.
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
        assert!(matches!(socket.on_writable(buffers, *now, |_, _| {}), Ok(State::Waiting | State::Again)));
        socket.close(buffers, *now, None).expect("open");
        assert!(socket.flush(buffers, *now).is_ok());
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
            let _ = socket.on_writable(buffers, *now, |_, _| {});
            let [ping, shared, alone] = reading.join().expect("three frames");
            assert_eq!(ping, (PING, b"first".to_vec()));
            assert_eq!(shared.0, if len < 64 { TEXT } else { TEXT | RSV1 });
            let said = if len < 64 { shared.1 } else { codec.inflate(&shared.1) };
            assert!(said == many.as_bytes(), "{takeover} {len}");
            assert_eq!(codec.inflate(&alone.1), own.as_bytes());
        }
    }
}

/// A message that is handed over in parts, inflated as they come: far more than a turn's worth in one read.
#[test]
fn chunks_of_a_turn_each() {
    const LEN: usize = 20_000_000;
    let (mut peer, io) = sockets();
    let mut config = config(Some(settings(15, true)));
    config.limits.max_message = LEN as u64;
    config.delivery = Delivery::Chunks;
    let (mut host, _) = open(&mut peer, io, config, OFFER);
    peer.write_all(&Codec::new(15, true).frame(BINARY, &vec![7; LEN])).expect("written");
    std::thread::sleep(Duration::from_millis(50));
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

/// A few hundred bytes that inflate to megabytes do not keep the loop from the others: after a megabyte or so it is
/// their turn.
#[test]
fn what_inflates_far_is_left_for_the_others() {
    const MESSAGES: usize = 400;
    let (mut peer, io) = sockets();
    let (mut host, _) = open(&mut peer, io, config(Some(settings(15, false))), OFFER);
    let zeros = Codec::new(15, false).frame(BINARY, &[0; 100_000]);
    peer.write_all(&zeros.repeat(MESSAGES)).expect("written");
    std::thread::sleep(Duration::from_millis(50));
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

impl Codec {
    /// As [`Codec::echo`], with the loop turned by this thread.
    fn echo_with<S: Registered>(&mut self, peer: &mut TcpStream, host: &mut Host<S>, text: &str) -> usize {
        let frame = self.frame(TEXT, text.as_bytes());
        peer.write_all(&frame).expect("written");
        let before = host.seen.len();
        host.until("the text", |host| host.seen.len() > before);
        let (first, len, message) = self.receive(peer);
        assert!((first, &message[..]) == (TEXT, text.as_bytes()), "{first:#x}, {} bytes", message.len());
        len
    }
}
