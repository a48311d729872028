//! The limits under everything that the generator can do: they must be right before they are fast.

mod child;

use std::time::Duration;

use child::Limit;

use ws_benches::load::{Length, LoadError};
use ws_benches::workload::Kind;
use ws_benches::{fanout, load, opening};

const PROGRAM: &str = env!("CARGO_BIN_EXE_limit-ws-mio");
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_bare_websocket_loop_echoes() {
    let limit = Limit::start(PROGRAM, &[]);
    for (kind, size, in_flight, messages) in [
        (Kind::Binary, 0, 1, 500),
        (Kind::Binary, 32, 16, 5_000),
        (Kind::Text, 1 << 10, 16, 2_000),
        (Kind::Binary, 70_000, 4, 200),
        (Kind::Binary, 3 << 20, 2, 20),
    ] {
        let report = load::run(&load::Plan {
            address: limit.address,
            connections: 3,
            in_flight,
            size,
            kind,
            raw: false,
            compression: None,
            warm_up: Duration::ZERO,
            length: Length::Messages(messages),
            patience: PATIENCE,
            server: None,
        });
        assert_eq!(report.unwrap_or_else(|error| panic!("{size} B: {error}")).messages, messages);
    }
}

#[test]
fn all_in_its_room_get_what_one_says() {
    let limit = Limit::start(PROGRAM, &["--room"]);
    for (size, burst, length) in [
        (128, 1, Length::Messages(50)),
        (128, 16, Length::Messages(50)),
        (16 << 10, 3, Length::Time(Duration::from_millis(50))),
    ] {
        let plan = fanout::Plan {
            address: limit.address,
            members: 20,
            size,
            length,
            warm_up: Length::Messages(3),
            burst,
            patience: PATIENCE,
            server: cfg!(target_os = "linux").then_some(limit.id()),
            tells: false,
        };
        let report = fanout::run(&plan).unwrap_or_else(|error| panic!("{size} B: {error}"));
        match length {
            Length::Messages(messages) => assert_eq!(report.deliveries, 20 * messages),
            Length::Time(time) => assert!(report.time >= time && report.deliveries >= 20),
        }
        assert!(report.p50_us > 0.0 && report.p50_us <= report.p99_us);
        assert_eq!(report.server_ns.is_some_and(|nanos| nanos > 0.0), cfg!(target_os = "linux"));
    }
}

/// A server that echoes only to the sender is not a room.
#[test]
fn a_message_that_does_not_reach_everybody_is_missed() {
    let limit = Limit::start(PROGRAM, &[]);
    // However long it waits. A short time is usually enough to see that, but not on a busy machine.
    let outcomes = [0.3, 3.0, 30.0].into_iter().map(|seconds| {
        fanout::run(&fanout::Plan {
            address: limit.address,
            members: 3,
            size: 128,
            length: Length::Messages(1),
            warm_up: Length::Messages(0),
            burst: 1,
            patience: Duration::from_secs_f64(seconds),
            server: None,
            tells: false,
        })
    });
    let mut outcomes = outcomes.inspect(|outcome| println!("{outcome:?}"));
    assert!(outcomes.any(|outcome| matches!(outcome, Err(LoadError::Stalled(2)))));
}

#[test]
fn connections_are_opened_counted_and_closed() {
    let limit = Limit::start(PROGRAM, &[]);
    let server = cfg!(target_os = "linux").then_some(limit.id());
    let plan = opening::Plan { address: limit.address, at_once: 8, opens: 1_500, patience: PATIENCE, server };
    let report = opening::run(&plan).expect("opens");
    assert_eq!(report.messages, 1_500);
    assert_eq!(report.server_ns.is_some_and(|nanos| nanos > 0.0), cfg!(target_os = "linux"));
    assert!(report.bytes > 100.0 && report.seconds > 0.0, "{report}");

    let nothing = opening::Plan { opens: 0, ..plan };
    assert!(matches!(opening::run(&nothing), Err(LoadError::NothingToDo)));
}

/// A raw echo answers a request with the request.
#[test]
fn an_answer_that_is_none_ends_the_openings() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let here = address.local_addr().expect("bound");
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in address.incoming().flatten() {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).unwrap_or(0);
            let _ = stream.write_all(&bytes[..read]);
        }
    });
    let plan = opening::Plan { address: here, at_once: 1, opens: 1, patience: PATIENCE, server: None };
    assert!(matches!(opening::run(&plan), Err(LoadError::Handshake(_))));
}

/// Only Linux reports resident memory.
#[cfg(target_os = "linux")]
#[test]
fn what_idle_connections_hold_is_seen_from_outside() {
    use ws_benches::idle::{Plan, run};
    let limit = Limit::start(PROGRAM, &[]);
    let plan = Plan { address: limit.address, connections: 500, patience: PATIENCE, server: limit.id() };
    let holds = run(&plan).expect("echoes");
    assert!(holds.base > 500_000.0, "{holds}");
    // Negative if the kernel reclaims pages of the program meanwhile.
    for each in [holds.open, holds.small, holds.large] {
        assert!(each < 2_000.0, "{holds}");
    }
}
