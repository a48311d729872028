//! Messages that are encoded once for many connections.

use std::collections::HashSet;
use std::sync::Barrier;

use ws_core::{Prepared, SendError};

use super::audit::Audit;
use super::*;

/// Text that repeats itself at all distances, so that every window is used to its end.
fn text(len: usize, seed: usize) -> String {
    let words = ["price", "größe", "value", "名前", "alpha", "order", "symbol", "quantity"];
    let mut text = String::new();
    let mut x = seed;
    while text.len() < len {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(words[x >> 61]);
        text.push_str(&((x >> 50) & 0x3F).to_string());
    }
    while text.len() > len {
        text.pop();
    }
    text
}

/// The payload of one unmasked frame, and whether it is compressed.
fn payload(frame: &[u8]) -> (&[u8], bool) {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (&frame[head..], frame[0] & 0x40 != 0)
}

/// DP-20: a message that was compressed once fits every connection, between that connection's own compressed messages; no
/// reference goes beyond the window, nor from a shared message to one before it, nor from the next one over it.
#[test]
fn dp20_one_message_for_many() {
    let own = text(3000, 1);
    for len in [70, 400, 3000, 40_000, 200_000] {
        let news = text(len, 2);
        let prepared = [Prepared::new(Message::Text(&news)), Prepared::new(Message::Binary(news.as_bytes()))];
        let mut places = HashSet::new();
        for takeover in [true, false] {
            for bits in [9, 10, 12, 15] {
                for delivery in [Delivery::Whole, Delivery::Chunks] {
                    let (mut server, mut client) = pair(&agreement(takeover, bits), delivery, 1 << 20);
                    let (mut audit, mut wire, mut expected) = (Audit::default(), Vec::new(), Vec::new());
                    for turn in 0..6 {
                        let (frame, plain) = if matches!(turn, 1 | 2 | 4) {
                            let frame = server.connection().prepared(&prepared[turn & 1]).unwrap();
                            places.insert((turn & 1, frame.as_ptr()));
                            audit.floor = audit.plain.len();
                            (frame.to_vec(), &news)
                        } else {
                            let frame = send(&mut server, Message::Text(&own), Part::Whole);
                            if !takeover {
                                audit.floor = audit.plain.len();
                            }
                            (frame, &own)
                        };
                        let (payload, compressed) = payload(&frame);
                        assert!(compressed && payload.len() < plain.len(), "{} of {len}", payload.len());
                        assert_eq!(audit.read(payload), Some(plain.as_bytes()));
                        assert!(audit.farthest <= 1 << bits, "{} with {bits} bits", audit.farthest);
                        wire.extend(frame);
                        expected.push((turn != 1, plain.clone().into_bytes()));
                    }
                    let found = receive(&mut client, &wire, 977).unwrap();
                    assert!(found == expected, "{len} {takeover} {bits} {delivery:?}");
                }
            }
        }
        // Once for each window that makes a difference: one for what fits into the smallest, or all but the smallest.
        let classes = match len {
            70 | 400 => 1,
            3000 => 3,
            _ => 4,
        };
        assert_eq!(places.len(), 2 * classes, "{len}");
    }
}

/// DN-19: what is plain for some is plain, and compressed only where that was agreed on and asked for.
#[test]
fn who_gets_it_plain() {
    let news = text(1000, 3);
    let prepared = Prepared::new(Message::Text(&news));
    let plain = {
        let mut server = Connection::server(Config::server(), NOW);
        server.prepared(&prepared).unwrap().to_vec()
    };
    assert_eq!((plain[0], plain.len()), (0x81, news.len() + 4));
    assert_eq!(prepared.message(), Message::Text(&news));
    assert_eq!((prepared.kind(), prepared.len()), (ws_core::Kind::Text, news.len()));

    let (mut server, mut client) = pair(&agreement(true, 15), Delivery::Whole, 1 << 20);
    server.connection().set_compress(Compress::Never);
    assert_eq!(server.connection().prepared(&prepared).unwrap(), plain);
    server.connection().set_compress(Compress::Auto);
    assert!(server.connection().prepared(&prepared).unwrap().len() < 500);
    // Below the threshold, and what does not shrink.
    let short = Prepared::new(Message::Text("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_eq!(server.connection().prepared(&short).unwrap()[0], 0x81);
    let empty = Prepared::new(Message::Binary(b""));
    server.connection().set_compress(Compress::Always);
    assert!(server.connection().prepared(&short).unwrap().len() < 20);
    assert_eq!(server.connection().prepared(&empty).unwrap(), b"\x82\x00");
    let noise: Vec<u8> =
        (0..3000_u32).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    assert_eq!(server.connection().prepared(&Prepared::new(Message::Binary(&noise))).unwrap()[0], 0x82);

    // A client masks, and sends the message.
    assert_eq!(client.connection().prepared(&prepared), Err(SendError::Unmasked));
    let wire = send(&mut client, prepared.message(), Part::Whole);
    assert_eq!(receive(&mut server, &wire, 100).unwrap(), [(true, news.into_bytes())]);
}

/// What was not given to the peer changes nothing: a plain prepared message leaves the context as it is.
#[test]
fn plain_ones_keep_the_context() {
    let (mut server, mut client) = pair(&agreement(true, 15), Delivery::Whole, 1 << 20);
    let (own, short) = (text(2000, 4), Prepared::new(Message::Text("short")));
    let mut wire = send(&mut server, Message::Text(&own), Part::Whole);
    wire.extend_from_slice(server.connection().prepared(&short).unwrap());
    let again = send(&mut server, Message::Text(&own), Part::Whole);
    assert!(again.len() < 60, "{}: it refers to the first", again.len());
    wire.extend(again);
    // A refused one neither.
    server.connection().send_part(Message::Text(""), Part::First, &mut [0; 64]).unwrap();
    let long = Prepared::new(Message::Text(&own));
    assert_eq!(server.connection().prepared(&long), Err(SendError::MessageOpen));
    assert_eq!(receive(&mut client, &wire, 50).unwrap().len(), 3);
}

/// Nothing gets into a partly sent control frame, or after a close frame; control frames that wait come after.
#[test]
fn control_frames_and_prepared_ones() {
    let (mut server, mut client) = pair(&agreement(true, 12), Delivery::Whole, 1 << 20);
    let news = text(500, 5);
    let prepared = Prepared::new(Message::Text(&news));
    server.connection().ping(b"one").unwrap();
    server.connection().ping(b"two").unwrap();
    let mut out = [0; 64];
    let n = server.connection().transmit(&mut out[..3]);
    let mut wire = out[..n].to_vec();
    assert_eq!(server.connection().prepared(&prepared), Err(SendError::ControlFrameCut));
    let n = server.connection().transmit(&mut out[..2]);
    wire.extend_from_slice(&out[..n]);
    wire.extend_from_slice(server.connection().prepared(&prepared).unwrap());
    assert_eq!(server.connection().pending(), 5);
    let n = server.connection().transmit(&mut out);
    wire.extend_from_slice(&out[..n]);
    assert_eq!(receive(&mut client, &wire, 10).unwrap(), [(true, news.into_bytes())]);
    server.connection().close(NOW, None).unwrap();
    assert_eq!(server.connection().prepared(&prepared), Err(SendError::Closed));
}

/// A borrowed frame can be kept: it is the same memory, and no other bytes are mistaken for it.
#[test]
fn a_lent_frame_is_held() {
    let news = text(5_000, 7);
    let prepared = Prepared::new(Message::Text(&news));
    let (mut server, _) = pair(&agreement(true, 12), Delivery::Whole, 1 << 20);
    let mut plain = Connection::server(Config::server(), NOW);
    for connection in [server.connection(), &mut plain] {
        let frame = connection.prepared(&prepared).unwrap();
        let held = prepared.hold(frame).unwrap();
        assert!(std::ptr::eq(held.as_ref(), frame));
        let copy = frame.to_vec();
        assert!(prepared.hold(&frame[1..]).is_none() && prepared.hold(&copy).is_none());
    }
}

/// DP-20: the pool reports how often a message was compressed: once for each window, however many connections ask and how
/// often.
#[test]
fn compressions_are_counted() {
    let pool = Pool::new(PoolLimits::new());
    let prepared = Prepared::new(Message::Text(&text(40_000, 8)));
    for bits in [9, 12, 12, 15, 15, 9] {
        let mut config = Config::server();
        config.deflate = Some(Settings::server());
        config.deflate.as_mut().unwrap().pool = Some(pool.clone());
        let mut server = Session::<Vec<u8>>::new(Connection::server(config, NOW));
        server.enable_deflate(&agreement(true, bits));
        server.connection().prepared(&prepared).unwrap();
    }
    let lent = pool.lent();
    assert_eq!((lent.deflaters, lent.deflaters_taken, lent.inflaters_taken), (0, 3, 0));
}

/// Threads that ask at once get the same frame: it was compressed by one of them.
#[test]
fn it_is_compressed_once_for_all_threads() {
    let prepared = Prepared::new(Message::Text(&text(60_000, 6)));
    let barrier = Barrier::new(8);
    let places: HashSet<usize> = std::thread::scope(|scope| {
        let ask = || {
            let (mut server, _) = pair(&agreement(true, 15), Delivery::Whole, 1 << 20);
            let mine = prepared.clone();
            barrier.wait();
            server.connection().prepared(&mine).unwrap().as_ptr() as usize
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(places.len(), 1);
}
