//! Hostile peers: announced giants, endless fragments, single bytes, floods (RFC 6455, section 10.4; rows F-07, F-13,
//! C-06, N-01, N-03, N-05). Memory and work are counted, not guessed.

mod wire;

use wire::*;
use ws_core::{Connection, Role, Violation};

/// The simplest possible driver: it keeps what is not consumed, and counts how much that is.
struct Driver {
    connection: Connection,
    buffer: Vec<u8>,
    /// The most that was ever held.
    most: usize,
    messages: usize,
    others: usize,
}

impl Driver {
    fn new(connection: Connection) -> Self {
        Self { connection, buffer: Vec::new(), most: 0, messages: 0, others: 0 }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.buffer.extend(bytes);
        self.most = self.most.max(self.buffer.len());
        loop {
            let recv = match self.connection.recv(T0, &mut self.buffer) {
                Ok(recv) => recv,
                Err(ws_core::Failure::Violation(violation)) => return Err(violation),
                Err(other) => panic!("{other:?}"),
            };
            let (consumed, event) = (recv.consumed, recv.event.map(Seen::from));
            self.buffer.drain(..consumed);
            match event {
                None => return Ok(()),
                Some(Seen::Text(_) | Seen::Binary(_)) => self.messages += 1,
                Some(_) => self.others += 1,
            }
        }
    }
}

/// F-07, N-03: a giant is refused at its header, whatever it announces; a large one that is allowed costs nothing
/// until its bytes come, and `need` asks for the next byte, not for what was announced.
#[test]
fn n03_an_announced_giant_costs_nothing() {
    for len in [(1 << 20) + 1, 15 << 20, u64::from(u32::MAX), 1 << 32, 1 << 62, (1 << 63) - 1] {
        let mut driver = Driver::new(server());
        assert_eq!(driver.take(&header(0x82, true, len)), Err(Violation::FrameTooBig), "{len}");
    }
    for (role, limit) in [(Role::Server, 1 << 20), (Role::Client, 16 << 20)] {
        let mut c = connect(role, defaults(role));
        let mut wire = header(0x82, role == Role::Server, limit);
        wire.extend(&KEY[..if role == Role::Server { 4 } else { 0 }]);
        let recv = c.recv(T0, &mut wire).unwrap();
        assert_eq!((recv.consumed, recv.need), (wire.len(), 1));
        assert_eq!(c.remaining(), limit, "a hint, no more");
    }
}

/// F-07: with no limit at all, whole messages are still bounded by what can be addressed.
#[test]
fn f07_no_limit_is_still_a_limit() {
    let config = lasting(limited(Role::Client, u64::MAX));
    for len in [1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1] {
        let mut driver = Driver::new(connect_shared(Role::Client, config));
        assert_eq!(driver.take(&header(0x82, false, len)), Err(Violation::MessageTooBig), "{len}");
    }
    // In chunks nothing is held, and the sum is counted in 64 bits.
    let mut config = limited(Role::Client, u64::MAX);
    config.delivery = ws_core::Delivery::Chunks;
    let mut driver = Driver::new(connect(Role::Client, config));
    driver.take(&header(0x02, false, (1 << 63) - 1)).unwrap();
    driver.take(&[0; 1000]).unwrap();
    assert_eq!((driver.buffer.len(), driver.others), (0, 1));
}

/// F-13, N-01: fragments without end: the buffer holds at most twice the message and a frame.
#[test]
fn f13_endless_fragments_are_bounded() {
    for size in [1, 2, 100, 5000] {
        let config = lasting(limited(Role::Server, 100_000));
        let mut driver = Driver::new(connect_shared(Role::Server, config));
        driver.take(&to(Role::Server, 0x02, &vec![1; size])).unwrap();
        let fragment = to(Role::Server, 0x00, &vec![1; size]);
        let mut sent = size;
        let end = loop {
            match driver.take(&fragment) {
                Ok(()) => sent += size,
                Err(end) => break end,
            }
        };
        assert_eq!(end, Violation::MessageTooBig);
        assert!(sent <= 100_000 && sent + size > 100_000);
        assert!(driver.most <= 2 * sent + fragment.len() + 14, "{} for {sent} by {size}", driver.most);
    }
}

/// F-11, F-13, C-06: pings between two fragments, any number of them, do not pile up in the buffer, nor do their pongs
/// when the socket is not written: 200 000 pings.
#[test]
fn c06_a_ping_flood_is_bounded() {
    let ping = to(Role::Server, 0x89, &[7; 125]);
    for held in [0, 1, 1000, 100_000] {
        let mut driver = Driver::new(server());
        driver.take(&to(Role::Server, 0x02, &vec![1; held])).unwrap();
        let flood = if held == 1000 { 200_000 } else { 5_000 };
        for _ in 0..flood {
            driver.take(&ping).unwrap();
            assert!(driver.connection.pending() <= 8 << 10);
        }
        assert_eq!(driver.others, flood);
        assert!(driver.most <= 2 * held + 2 * ping.len() + 14, "{} with {held} held", driver.most);
        driver.take(&to(Role::Server, 0x80, b"end")).unwrap();
        assert_eq!((driver.messages, driver.buffer.len()), (1, 0));
    }
}

/// F-13: empty fragments between pings neither pile up nor go on forever.
#[test]
fn f13_empty_fragments_are_bounded() {
    let mut driver = Driver::new(server());
    driver.take(&to(Role::Server, 0x01, b"text")).unwrap();
    let empty = to(Role::Server, 0x00, b"");
    let mut count = 0;
    let end = loop {
        match driver.take(&empty) {
            Ok(()) => count += 1,
            Err(end) => break end,
        }
    };
    assert_eq!((end, count), (Violation::TooManyEmptyFragments, 1024));
    assert!(driver.most <= 2 * 4 + 2 * empty.len() + 6, "{}", driver.most);
}

/// Section 10.4: 1-byte reads of a fragmented text with pings between cost work in proportion to the input: sixteen times
/// as much of it takes as long as a sixteenth, sixteen times over. If anything were gone over again and again, it would
/// take sixteen times as long as that. Both are about as long, so that whatever else the machine does meets both, and the
/// best of several turns is each one's own.
#[test]
fn single_bytes_cost_linear_work() {
    let work = |fragments: usize| {
        let mut wire = Vec::new();
        for i in 0..fragments {
            wire.extend(to(Role::Server, if i == 0 { 0x01 } else { 0x00 }, "größe".repeat(20).as_bytes()));
            wire.extend(to(Role::Server, 0x8A, b"0123456789"));
        }
        wire.extend(to(Role::Server, 0x80, b"end"));
        let mut storage = vec![0; 2 * wire.len()];
        let cuts: Vec<usize> = (1..wire.len()).collect();
        let started = std::time::Instant::now();
        let (outcome, _) = feed_session(server(), &mut storage, &wire, &cuts, Drain::Whole);
        assert_eq!(outcome.events.len(), fragments + 1);
        started.elapsed()
    };
    let mut best = [std::time::Duration::MAX; 2];
    for _ in 0..20 {
        let turn = [(0..16).map(|_| work(100)).sum(), work(1600)];
        best = std::array::from_fn(|at| best[at].min(turn[at]));
        if best[1] < best[0] * 6 {
            return;
        }
    }
    panic!("{:?}, and {:?} for as much in one", best[0], best[1]);
}

/// N-01, N-05: whatever arrives in one read, what the connection queues in answer is bounded.
#[test]
fn n01_answers_to_one_read_are_bounded() {
    let mut wire = to(Role::Server, 0x89, b"").repeat(100_000);
    let mut c = server();
    let mut at = 0;
    while c.recv(T0, &mut wire[at..]).map(|recv| (at += recv.consumed, recv.event.is_some()).1) == Ok(true) {
        assert!(c.pending() <= 64 * 2);
    }
    assert_eq!(at, wire.len());
    let mut close = to(Role::Server, 0x88, &close_body(1000, ""));
    assert!(c.recv(T0, &mut close).unwrap().event.is_some());
    assert!(c.pending() <= 64 * 2 + 4);
}
