//! The memory of permessage-deflate, compared with what the docs say; and that a pool keeps no more than it may.
use ws_core::deflate::{Agreement, Compress, Deflater, Inflater, Pool, PoolLimits, Settings, WindowBits};
use ws_core::{Advance, Config, Connection, Event, Message, Part, Session};

use super::{T0, live};

const DOCS: &str = include_str!("../../src/deflate.rs");

/// The rows of the docs' table whose head begins so: their numbers, the other cells left out.
fn table(head: &str) -> Vec<Vec<usize>> {
    let mut lines = DOCS.lines().skip_while(|line| !line.starts_with(head));
    assert!(lines.next().is_some(), "the docs have no table {head}");
    let cells = |line: &str| line.trim_start_matches("//! ").trim_matches('|').replace([' ', ','], "");
    lines
        .skip(1)
        .take_while(|line| line.starts_with("//! |"))
        .map(|line| {
            cells(line).split('|').filter_map(|cell| cell.trim_end_matches("bits").parse().ok()).collect()
        })
        .collect()
}

/// The back end's own part may differ a little between versions; the rest is ours.
fn nearly(measured: usize, documented: usize) -> bool {
    measured.abs_diff(documented) <= documented / 50
}

/// The pool that keeps nothing: what is held is held by somebody else.
fn no_pool() -> Pool {
    let mut limits = PoolLimits::new();
    (limits.inflaters, limits.deflaters, limits.buffers) = (0, 0, 0);
    Pool::new(limits)
}

/// A direction's state while it is busy, and parked after more than a window.
fn direction(bits: u8, takeover: bool, level: u8) -> [usize; 4] {
    let (window, pool) = (WindowBits::new(bits).unwrap(), no_pool());
    // Short words in random order: as many references as a block may have.
    let word = |i: u32| (i.wrapping_mul(i).wrapping_mul(0x9E37_79B1) >> 26 | 0x6162_6300).to_be_bytes();
    let text: Vec<u8> = (0..17_500).flat_map(word).collect();
    let (mut payload, mut out) = (vec![0; 100_000], vec![0; 80_000]);
    let before = live();
    let mut d = Deflater::new(window, takeover, level, pool.clone());
    // Behind a short piece, so that a history has all that it may.
    let mut n = d.deflate(&text[..300], false, &mut payload).unwrap();
    n += d.deflate(&text[300..], false, &mut payload[n..]).unwrap();
    let deflater = live() - before;
    let end = d.deflate(b"", true, &mut payload[n..]).unwrap();
    d.park();
    let deflater_parked = live() - before;
    let before = live();
    let mut i = Inflater::new(window, takeover, pool);
    let step = i.inflate(&payload[..n + end], &mut out).unwrap();
    assert_eq!(step.written, text.len());
    let inflater = live() - before;
    assert!(i.finish(&mut out).unwrap().done);
    i.park();
    [deflater, inflater, deflater_parked, live() - before]
}

/// DN-20: the tables of memory in the docs are what is measured: every window, with takeover and without.
pub(super) fn the_docs_are_right() {
    let rows = table("//! | window | compressor");
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), (8..=15).collect::<Vec<_>>());
    for row in rows {
        let bits = row[0] as u8;
        let [with, without] = [true, false].map(|takeover| direction(bits, takeover, 1));
        let [with6, without6] = [true, false].map(|takeover| direction(bits, takeover, 6));
        let measured = [with[0], without[0], with6[0], without6[0], with[1], without[1], with[3], without[3]];
        println!("| {bits} bits | {measured:?}");
        for (measured, documented) in measured.into_iter().zip(&row[1..]) {
            assert!(nearly(measured, *documented), "{bits} bits: {measured} and not {documented}");
        }
        // Only the window is parked; there is no compressor of 8 bits.
        let window = 1 << bits;
        let parked = [if bits == 8 { 0 } else { window }, window, 0, 0];
        for (with, without) in [(with, without), (with6, without6)] {
            assert_eq!([with[2], with[3], without[2], without[3]], parked, "{bits} bits, parked");
        }
        assert_eq!(row[7..], [window, 0], "{bits} bits, parked");
    }
}

fn agreement(takeover: bool, bits: u8) -> Agreement {
    let window = WindowBits::new(bits).unwrap();
    Agreement {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: window,
        client_max_window_bits: window,
    }
}

/// The table of whole connections in the docs: agreed on, and parked after more than a window each way, as measured
/// over 1 000 of them.
pub(super) fn check_connections(bits: u8, takeover: bool, agreed: usize, used: usize) {
    let rows = table("//! | idle connection");
    let row = rows.iter().find(|row| row[0] == usize::from(bits)).expect("a row for each that is measured");
    assert_eq!(agreed, row[1], "{bits} bits, agreed on");
    assert_eq!(used, row[if takeover { 2 } else { 3 }], "{bits} bits, takeover {takeover}, used");
}

/// 100 connections are busy at once, with a state each way; what the pool keeps of that is what it may.
pub(super) fn a_pool_is_bounded() {
    const CONNECTIONS: usize = 100;
    for (inflaters, deflaters, buffers) in [(0, 0, 0), (1, 3, 2), (7, 5, 6), (64, 32, 64)] {
        let mut limits = PoolLimits::new();
        (limits.inflaters, limits.deflaters, limits.buffers) = (inflaters, deflaters, buffers);
        let before = live();
        let pool = Pool::new(limits);
        let base = live();
        for takeover in [true, false] {
            busy_at_once(&pool, takeover);
            // The connections are gone: this is the pool's own.
            let kept = live() - base;
            // The largest window is in use: at most what PoolLimits says of each.
            let most =
                inflaters * (48 + 32) * 1024 + deflaters * (210 << 10) + buffers * limits.buffer_len * 4;
            let lists = 4 * (inflaters + deflaters + buffers) * 32 + 256;
            println!(
                "pool of {inflaters}, {deflaters}, {buffers}: {kept} of {most} after {CONNECTIONS} connections"
            );
            assert!(kept <= most + lists, "{kept} bytes, and not {most}");
            // And it does keep as many compressors as it may, once they are given back.
            assert!(kept >= deflaters * (128 << 10) + inflaters * (40 << 10), "{kept}");
        }
        drop(pool);
        assert_eq!(live(), before);
    }
    // What PoolLimits says of its defaults.
    let limits = PoolLimits::new();
    let most =
        limits.inflaters * (47 + 32) * 1024 + limits.deflaters * (210 << 10) + limits.buffers * (64 << 10);
    assert!(most <= 16 << 20, "{most}");
}

/// Each of 100 servers is in the middle of a message both ways at the same time; then all end.
fn busy_at_once(pool: &Pool, takeover: bool) {
    let mut config = Config::server();
    let mut settings = Settings::client();
    settings.pool = Some(pool.clone());
    // Of its compressors the largest.
    settings.level = 2;
    config.deflate = Some(settings);
    let config = std::sync::Arc::new(config);
    let agreement = agreement(takeover, 15);
    let text = "{\"name\":\"value\",\"list\":[1,2,3]},".repeat(2500);
    let first = {
        let mut client = Session::<Vec<u8>>::new(Connection::client(config.clone(), T0, [7; 32]));
        client.enable_deflate(&agreement);
        client.connection().set_compress(Compress::Always);
        let mut up = vec![0; 200_000];
        let len = client.connection().send_part(Message::Text(&text), Part::First, &mut up).unwrap();
        up.truncate(len);
        up
    };
    let mut down = vec![0; 200_000];
    let before = live();
    let mut sessions: Vec<_> = (0..100)
        .map(|_| {
            let mut server = Session::with_storage(Connection::server(config.clone(), T0), vec![0; 4096], 0);
            server.enable_deflate(&agreement);
            let (mut wire, mut events) = (&first[..], 0);
            while !wire.is_empty() {
                let space = server.space(|| unreachable!(), 1);
                let n = space.len().min(wire.len());
                space[..n].copy_from_slice(&wire[..n]);
                server.received(n);
                wire = &wire[n..];
                while server.advance(T0) == Ok(Advance::Event) {
                    events += usize::from(matches!(server.event(), Some(Event::Text(_))));
                }
            }
            assert_eq!(events, 0, "it is amid a message");
            server.connection().send_part(Message::Text(&text), Part::First, &mut down).unwrap();
            assert!(server.has_live_deflate());
            server
        })
        .collect();
    assert!(live() - before > 100 * 200_000, "all of them at once: {}", live() - before);
    for server in &mut sessions {
        server.park_idle();
        server.park_idle();
    }
}
