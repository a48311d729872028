//! No allocation for a message, and a bounded heap for a connection: counted by the allocator.
//!
//! One test function: the counter is the process's, and other tests would be counted with it.
#![cfg(feature = "alloc")]

mod wire;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wire::*;
use ws_core::{Advance, Connection, Event, Kind, Message, Part, Role, Session};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(size: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    PEAK.fetch_max(LIVE.fetch_add(size, Relaxed) + size, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; beside it only counters move.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        grow(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Relaxed);
    work();
    ALLOCATIONS.load(Relaxed) - before
}

/// The most that `work` holds beyond what is there.
fn peak(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
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

    // Pings that nobody reads the pongs of: 8 KiB of them, the growth of a vector included twice that.
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
    deflate();
}

/// What permessage-deflate costs: nothing before first use, nothing for a message once live, the window when parked.
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
            assert_eq!(count, 0, "{bits} bits, takeover {takeover}: parks");

            // Without a pool to give to: what each holds by itself.
            (limits.deflaters, limits.inflaters) = (0, 0);
            let pool = Pool::new(limits);
            let live = || LIVE.load(Relaxed);
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
            assert!(deflater <= 340_000 && inflater <= 82_000, "{bits} bits: {deflater}, {inflater}");
        }
    }
}
