//! No allocation per message, and a bounded heap per connection: counted by the allocator.
//!
//! Only the test's own thread is counted: the test runner's thread allocates too, at any time.
#![cfg(feature = "alloc")]

mod counting;
#[cfg(feature = "deflate")]
#[path = "memory/deflate.rs"]
mod memory;
mod wire;

use std::sync::Arc;

use counting::thread;
use wire::*;
use ws_core::{Advance, Connection, Event, Kind, Message, Part, Role, Session};

fn allocations(work: impl FnOnce()) -> usize {
    let before = thread::calls();
    work();
    thread::calls() - before
}

/// The maximum that `work` holds beyond what is allocated already.
fn peak(work: impl FnOnce()) -> usize {
    let before = thread::restart_peak();
    work();
    (thread::peak_in_place() - before).cast_unsigned()
}

/// Bytes that are allocated now.
#[cfg(feature = "deflate")]
fn live() -> usize {
    usize::try_from(thread::held()).expect("nothing is freed here that another thread has allocated")
}

fn receive(session: &mut Session<&mut [u8]>, wire: &[u8], step: usize) -> usize {
    let mut events = 0;
    let mut out = [0; 256];
    for part in wire.chunks(step) {
        session.space(|| unreachable!(), 1)[..part.len()].copy_from_slice(part);
        session.received(part.len());
        while session.advance(T0) == Ok(Advance::Event) {
            let (event, connection) = session.lend();
            events += usize::from(event.is_some_and(|event| !matches!(event, Event::Close(_))));
            connection.transmit(&mut out);
        }
    }
    events
}

/// F-14, N-01, N-03: 0 allocations per message received and sent, whole, in fragments, over any reads, short pings
/// included; giants that are announced, floods and long pings stay within bounds.
///
/// DP-15, DP-16, DN-20: so do bombs, and connections that agreed to permessage-deflate.
#[test]
fn n01_n03_allocations_are_counted() {
    for role in [Role::Server, Role::Client] {
        let wire = [
            to(role, 0x81, b"short text"),
            to(role, 0x82, &[1; 3000]),
            to(role, 0x01, "in fragments that fit, größe ".repeat(20).as_bytes()),
            to(role, 0x89, b"short ping"),
            to(role, 0x00, "€".repeat(100).as_bytes()),
            to(role, 0x8A, &[9; 125]),
            to(role, 0x80, b"the end"),
        ]
        .concat();
        let mut storage = vec![0; 16 << 10];
        let mut session = Session::with_storage(connect(role, defaults(role)), &mut storage[..], 0);
        for step in [1, 7, 1460, wire.len()] {
            let mut events = 0;
            let count = allocations(|| {
                for _ in 0..10 {
                    events += receive(&mut session, &wire, step);
                }
            });
            assert_eq!((events, count), (50, 0), "received by {role:?} in parts of {step}");
        }

        let mut c: Connection = connect(role, defaults(role));
        let payload = [5; 3000];
        let mut out = vec![0; 4096];
        let count = allocations(|| {
            for _ in 0..100 {
                c.send(Message::Text("short"), &mut out).unwrap();
                c.send(Message::Binary(&payload), &mut out).unwrap();
                c.send_part(Message::Text("fragment"), Part::First, &mut out).unwrap();
                c.ping(b"short ping").unwrap();
                c.send_part(Message::Text("fragment"), Part::Last, &mut out).unwrap();
                c.frame_header(Kind::Binary, 1 << 30, Part::Whole).unwrap();
                c.pong(b"").unwrap();
                c.transmit(&mut out);
            }
        });
        assert_eq!(count, 0, "sent by {role:?}");
    }

    // A header announces as much as is allowed: no heap follows it.
    let config = lasting(defaults(Role::Server));
    let mut c = connect_shared(Role::Server, config);
    let mut giant = header(0x82, true, 1 << 20);
    giant.extend(KEY);
    assert_eq!(peak(|| drop(c.recv(T0, &mut giant))), 0);

    // Pings whose pongs are not read: 8 KiB of them, the growth of a vector included twice that.
    let ping = to(Role::Server, 0x89, &[1; 125]);
    let mut wire = ping.clone();
    let mut c = connect_shared(Role::Server, config);
    let flood = peak(|| {
        for _ in 0..200_000 {
            wire.copy_from_slice(&ping);
            c.recv(T0, &mut wire).unwrap();
        }
    });
    assert!(flood <= 32 << 10, "{flood} bytes of heap for a ping flood");

    // A session's storage follows the bytes that came: at most four times a message that arrives in fragments.
    let fragments: Vec<u8> =
        [to(Role::Server, 0x02, &[1; 1000]), to(Role::Server, 0x00, &[1; 1000]).repeat(199)].concat();
    let held = peak(|| {
        let mut session = Session::<Vec<u8>>::new(connect_shared(Role::Server, config));
        for part in fragments.chunks(4096) {
            let mut part = part;
            while !part.is_empty() {
                let space = session.space(Vec::new, 1);
                let n = space.len().min(part.len());
                space[..n].copy_from_slice(&part[..n]);
                session.received(n);
                part = &part[n..];
                assert!(matches!(session.advance(T0), Ok(Advance::Read { .. })));
            }
        }
        assert!(session.storage_len() <= 4 * 200_000, "{}", session.storage_len());
    });
    assert!(held <= 6 * 200_000, "{held}: two of its sizes at the moment it grows");

    // Sizes: what an idle connection costs.
    assert!(size_of::<Connection>() <= 160);
    assert!(size_of::<ws_core::Reply>() <= 128);
    let shared = Arc::new(defaults(Role::Server));
    assert_eq!(peak(|| drop(Connection::server(shared.clone(), T0))), 0, "no heap beside itself");
    let client = peak(|| drop(Connection::client(shared.clone(), T0, [7; 32])));
    assert!(client <= 512, "{client}: the key stream, and nothing else");

    #[cfg(feature = "deflate")]
    {
        deflate();
        sessions::bombs();
        sessions::idle_connections();
        memory::a_pool_is_bounded();
        memory::the_docs_are_right();
    }
}

/// What permessage-deflate costs: nothing before first use, nothing per message once live, the window when parked.
#[cfg(feature = "deflate")]
fn deflate() {
    use ws_core::deflate::{Deflater, Inflater, Pool, PoolLimits, WindowBits};

    assert!(size_of::<Inflater>() <= 128 && size_of::<Deflater>() <= 128);
    let text: Vec<u8> = (0..70_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).take(70_000).collect();
    let (mut payload, mut out) = (vec![0; 100_000], vec![0; 80_000]);
    println!(
        "| window | takeover | deflater live | parked | inflater live | parked |\n|---|---|---|---|---|---|"
    );
    for bits in 9..=15 {
        for takeover in [true, false] {
            let (window, mut limits) = (WindowBits::new(bits).unwrap(), PoolLimits::new());
            let pool = Pool::new(limits);
            let (mut d, mut i) = (None, None);
            let new = allocations(|| {
                d = Some(Deflater::new(window, takeover, 1, pool.clone()));
                i = Some(Inflater::new(window, takeover, pool.clone()));
            });
            assert_eq!(new, 0, "before first use");
            let (d, i) = (d.as_mut().unwrap(), i.as_mut().unwrap());
            let mut exchange = |d: &mut Deflater, i: &mut Inflater, text: &[u8]| {
                let first = d.deflate(&text[..text.len() / 2], false, &mut payload).unwrap();
                let n = first + d.deflate(&text[text.len() / 2..], true, &mut payload[first..]).unwrap();
                let step = i.inflate(&payload[..n], &mut out).unwrap();
                let end = i.finish(&mut out[step.written..]).unwrap();
                assert!(end.done && out[..step.written + end.written] == *text);
            };
            exchange(d, i, &text);
            let count = allocations(|| {
                (0..20).for_each(|turn| exchange(d, i, &text[turn * 1000..][..1 + turn * 100]));
            });
            assert_eq!(count, 0, "{bits} bits, takeover {takeover}: messages");
            // A park gives the state to the pool, and the next message takes it from there. The pool's lists are made
            // for the first.
            d.park();
            i.park();
            let count = allocations(|| {
                for _ in 0..20 {
                    d.park();
                    i.park();
                    exchange(d, i, &text[..300]);
                    d.forget();
                    exchange(d, i, &text[..300]);
                }
            });
            // The compressor's window is a separate allocation only while it is parked.
            assert!(
                count <= if takeover { 20 } else { 0 },
                "{bits} bits, takeover {takeover}: {count} in 20 parks"
            );

            // Without a pool to give to: what each holds by itself.
            (limits.deflaters, limits.inflaters) = (0, 0);
            let pool = Pool::new(limits);
            let before = live();
            let mut d = Deflater::new(window, takeover, 1, pool.clone());
            let n = d.deflate(&text, false, &mut payload).unwrap();
            let deflater = live() - before;
            d.deflate(b"", true, &mut payload[n..]).unwrap();
            d.park();
            let (parked, before) = (live() - before, live());
            let mut i = Inflater::new(window, takeover, pool);
            i.inflate(&payload[..n + 1], &mut out).unwrap();
            let inflater = live() - before;
            i.finish(&mut out).unwrap();
            i.park();
            let inflater_parked = live() - before;
            let window = if takeover { window.size() } else { 0 };
            assert_eq!((parked, inflater_parked), (window, window), "{bits} bits: parked");
            println!("| {bits} | {takeover} | {deflater} | {parked} | {inflater} | {inflater_parked} |");
        }
    }
}

/// What permessage-deflate costs whole connections.
#[cfg(feature = "deflate")]
mod sessions {
    use ws_core::deflate::{Agreement, Compress, Deflater, Pool, PoolLimits, Settings, WindowBits};
    use ws_core::{Config, Delivery, Failure, Violation};

    use super::*;

    fn agreement(takeover: bool, bits: u8) -> Agreement {
        let window = WindowBits::new(bits).unwrap();
        Agreement {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            server_max_window_bits: window,
            client_max_window_bits: window,
        }
    }

    /// How many plain bytes come of the frames.
    fn feed<B: ws_core::Storage>(session: &mut Session<B>, mut wire: &[u8]) -> Result<usize, Failure> {
        let mut plain = 0;
        while !wire.is_empty() {
            let space = session.space(|| unreachable!(), 1);
            let n = space.len().min(wire.len());
            space[..n].copy_from_slice(&wire[..n]);
            session.received(n);
            wire = &wire[n..];
            while session.advance(T0)? == Advance::Event {
                plain += match session.event() {
                    Some(Event::Text(text)) => text.len(),
                    Some(Event::Binary(bytes)) => bytes.len(),
                    Some(Event::Chunk(chunk)) => chunk.payload.as_bytes().len(),
                    _ => 0,
                };
            }
        }
        Ok(plain)
    }

    /// DP-15, DP-16: 1 GiB of zeros in about 1 MB, also after another message, and in fragments of 1 byte, is refused with
    /// 1009 while it is inflated, and holds no more than the limit and 64 KiB.
    pub(super) fn bombs() {
        const MAX: usize = 1 << 20;
        // Zeros in whole blocks that refer to zeros before them may be repeated.
        let mut deflater = Deflater::new(WindowBits::MAX, true, 9, Pool::new(PoolLimits::new()));
        let zeros = vec![0; MAX];
        let mut block = vec![0; deflater.bound(MAX)];
        let mut len = deflater.deflate(&zeros[..MAX / 2], true, &mut block).unwrap();
        let half = to(Role::Server, 0xC2, &block[..len]);
        deflater.forget();
        len = deflater.deflate(&zeros, false, &mut block).unwrap();
        let mut bomb = block[..len].to_vec();
        len = deflater.deflate(&zeros, false, &mut block).unwrap();
        (1..1024).for_each(|_| bomb.extend_from_slice(&block[..len]));
        bomb.push(0);
        assert!((1_000_000..1_180_000).contains(&bomb.len()), "{}", bomb.len());
        let last = bomb.len() - 1;
        let cut = bomb.iter().enumerate().flat_map(|(at, byte)| {
            let first = if at == 0 { 0x42 } else { 0x80 * u8::from(at == last) };
            to(Role::Server, first, &[*byte])
        });
        let wires = [to(Role::Server, 0xC2, &bomb), cut.collect()];

        for bits in [9, 12, 15] {
            for delivery in [Delivery::Whole, Delivery::Chunks] {
                for (is_cut, wire) in wires.iter().enumerate() {
                    for nested in [false, true] {
                        let mut config = limited(Role::Server, MAX as u64);
                        config.limits.max_fragments = u32::MAX;
                        config.delivery = delivery;
                        let mut settings = Settings::server();
                        settings.pool = Some(Pool::new(PoolLimits::new()));
                        config.deflate = Some(settings);
                        let mut storage = vec![0; 16 << 10];
                        let connection = connect(Role::Server, config);
                        let mut session = Session::with_storage(connection, &mut storage[..], 0);
                        session.enable_deflate(&agreement(true, bits));
                        // Once used, a connection has its state and its window: see the table.
                        if nested {
                            assert_eq!(feed(&mut session, &half), Ok(MAX / 2));
                        }
                        let extra = peak(|| {
                            assert_eq!(feed(&mut session, wire), Err(Violation::MessageTooBig.into()));
                        });
                        println!("bomb: {bits} bits, {delivery:?}, cut {is_cut}, nested {nested}: {extra}");
                        let most = if delivery == Delivery::Whole { MAX } else { 32 << 10 };
                        assert!(extra <= most + (64 << 10), "{bits} {delivery:?} {is_cut} {nested}: {extra}");
                    }
                }
            }
        }
    }

    /// Receives a message, answers with the same amount of `text`, and parks.
    fn use_once(
        session: &mut Session<Vec<u8>>,
        wire: &[u8],
        text: &str,
        storage: &mut Option<Vec<u8>>,
        down: &mut [u8],
    ) {
        session.restore(storage.take().unwrap(), 0);
        let plain = feed(session, wire).unwrap();
        session.connection().send(Message::Text(&text[..plain]), down).unwrap();
        *storage = session.rest().map(|(storage, _)| storage);
        // Once to be seen idle, and once to be so.
        session.park_idle();
        assert!(!session.park_idle());
    }

    /// DN-20: what a server's connection holds while it is idle, beyond what it holds without permessage-deflate.
    pub(super) fn idle_connections() {
        const CONNECTIONS: usize = 1000;
        let line = "{\"name\":\"value\",\"list\":[1,2,3]},";
        let long = line.repeat(70_000 / line.len());
        println!("| window | takeover | agreed on | 1 KiB each way, parked | the whole window, parked |");
        println!("|---|---|---|---|---|");
        for (bits, takeover) in [(9, true), (12, true), (15, true), (12, false), (15, false)] {
            // One state of each kind, which all share: what is counted is the connections'.
            let mut limits = PoolLimits::new();
            (limits.inflaters, limits.deflaters, limits.buffers) = (2, 2, 2);
            let mut settings = Settings::server();
            settings.pool = Some(Pool::new(limits));
            let mut config = Config::server();
            config.deflate = Some(settings);
            let config = Arc::new(config);
            let agreement = agreement(takeover, bits);
            let mut client = Session::<Vec<u8>>::with_storage(
                Connection::client(config.clone(), T0, [7; 32]),
                vec![0; 4096],
                0,
            );
            client.enable_deflate(&agreement);
            client.connection().set_compress(Compress::Always);
            let mut up = vec![0; 100_000];
            let mut send = |text: &str| {
                let len = client.connection().send(Message::Text(text), &mut up).unwrap();
                client.connection().park_idle();
                up[..len].to_vec()
            };
            // Each connection gets the same two messages, which the one client sends.
            let long = &long[..2 * agreement.client_max_window_bits.size()];
            let wires = [send(&line.repeat(1024 / line.len())), send(long)];
            drop(client);

            let mut down = vec![0; 100_000];
            let mut storage = Some(vec![0; 4096]);
            let mut sessions = Vec::with_capacity(CONNECTIONS);
            // The pool's own, before it is counted.
            let mut first = Session::<Vec<u8>>::new(Connection::server(config.clone(), T0));
            first.enable_deflate(&agreement);
            for wire in &wires {
                use_once(&mut first, wire, long, &mut storage, &mut down);
            }
            drop(first);
            let before = live();
            for _ in 0..CONNECTIONS {
                let mut session = Session::<Vec<u8>>::new(Connection::server(config.clone(), T0));
                session.enable_deflate(&agreement);
                sessions.push(session);
            }
            let mut held = vec![(live() - before) / CONNECTIONS];
            for wire in &wires {
                for session in &mut sessions {
                    use_once(session, wire, long, &mut storage, &mut down);
                }
                held.push((live() - before) / CONNECTIONS);
            }
            println!("| {bits} | {takeover} | {} | {} | {} |", held[0], held[1], held[2]);
            let window = if takeover { WindowBits::new(bits).unwrap().size() } else { 0 };
            assert!(held[0] <= 512, "{}: nothing but the two directions' own sizes", held[0]);
            // Beside what went through, the pool's own share of a thousandth.
            assert!(held[1] <= held[0] + 2 * window.min(1024) + 32, "{}: what went through", held[1]);
            assert_eq!(held[2], held[0] + 2 * window, "the windows");
            memory::check_connections(bits, takeover, held[0], held[2]);
        }
    }
}
