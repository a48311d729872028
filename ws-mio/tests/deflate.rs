//! permessage-deflate over a socket in a loop: what is agreed on, what is sent, what an idle connection keeps.
#![cfg(feature = "deflate")]

mod support;

use std::io::Write;

use support::compressed::{Codec, OFFER, RSV1, compressing, config, line, open, request, text};
use support::{
    CLOSE, Host, PING, PONG, TEXT, expect, expect_end, masked, plain, read_frame, read_head, sockets,
};
use ws_mio::core::deflate::{Compress, Settings, WindowBits};
use ws_mio::core::{Accept, Instant, Violation};
use ws_mio::{Error, Socket, State};

/// DN-19, DN-05, DN-06, DN-16: what is agreed on is what both sides ask for; if off, it is neither offered nor accepted.
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
            host.until_said(&peer);
            let (first, payload) = read_frame(&mut peer);
            assert_eq!((first, &payload[..2]), (CLOSE, &b"\x03\xea"[..]), "{offer}");
            drop(peer);
            host.until("the end", Host::is_over);
            assert!(matches!(host.last, Err(Error::Violation(Violation::ReservedBit))), "{:?}", host.last);
        }
    }
}

/// An application that negotiates by itself is left alone.
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
                // The threshold applies to the uncompressed message.
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

/// DN-20: idle state is parked when its deadline comes, whether a message was sent or received last, and resumes where it
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
    // Used since the deadline was set: it has the full time again.
    host.tick(Instant::ZERO.saturating_add(idle));
    assert!(host.socket.has_live_deflate());
    let parked = Instant::ZERO.saturating_add(idle * 2);
    assert_eq!(host.socket.deadline(), Some(parked));
    host.tick(parked);
    assert!(!host.socket.has_live_deflate());
    assert_eq!(host.socket.deadline(), Some(Instant::from_secs(20)), "nothing left to look after");
    // Both windows are still there: a repeated message is a reference.
    assert!(codec.echo_with(&mut peer, &mut host, &unusual) < 20);
    // What only we use, to send, is parked as well.
    host.tick(host.now.saturating_add(idle));
    host.tick(host.now.saturating_add(idle));
    assert!(!host.socket.has_live_deflate());
    let Host { socket, buffers, now, .. } = &mut host;
    socket.send(buffers, *now, &*unusual).expect("room");
    assert!(matches!(socket.flush(buffers, *now), Ok(State::Waiting)));
    assert_eq!(socket.deadline(), Some(now.saturating_add(idle)));
    assert_eq!(codec.receive(&mut peer).2, unusual.as_bytes());
}

/// a close after a compressed message in the same read, and one in the middle of a message.
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

/// DP-06, DP-17, U-01: a message that is cut, broken or not UTF-8 ends with 1007, after the answers to what came before.
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
        host.until_said(&peer);
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
