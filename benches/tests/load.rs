//! The generator against real sockets: servers that echo, and servers that do not.

mod child;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use child::Limit;
use ws_benches::check::Fault;
use ws_benches::load::{Length, LoadError, Plan, run};
use ws_benches::workload::Kind;

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn plan(address: SocketAddr) -> Plan {
    Plan {
        address,
        connections: 3,
        in_flight: 5,
        size: 200,
        kind: Kind::Binary,
        raw: false,
        compression: None,
        warm_up: Duration::ZERO,
        length: Length::Messages(1_000),
        patience: PATIENCE,
        server: None,
    }
}

/// A server whose every connection is handled by `serve` on its own thread.
fn server(serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn shake_hands(stream: &mut TcpStream) -> std::io::Result<()> {
    read_request(stream)?;
    stream.write_all(ACCEPTED)
}

fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(())
}

/// Reads one masked frame of 126 to 65 535 bytes and takes its mask off.
fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().zip(head[4..].iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Ok(payload)
}

fn write_frame(stream: &mut TcpStream, payload: &[u8]) -> std::io::Result<()> {
    let len = (payload.len() as u16).to_be_bytes();
    stream.write_all(&[&[0x82, 126, len[0], len[1]], payload].concat())
}

#[test]
fn raw_echo_servers_return_what_was_sent() {
    for program in [env!("CARGO_BIN_EXE_limit-raw-mio"), env!("CARGO_BIN_EXE_limit-raw-tokio")] {
        let limit = Limit::start(program, &[]);
        for (size, in_flight) in [(0, 1), (32, 16), (16 << 10, 4), (3 << 20, 2)] {
            let messages = if size > 1 << 20 { 20 } else { 1_000 };
            let length = Length::Messages(messages);
            let plan =
                Plan { raw: true, size, in_flight, length, server: Some(limit.id()), ..plan(limit.address) };
            let report = run(&plan).unwrap_or_else(|error| panic!("{program}, {size} B: {error}"));
            assert_eq!(report.messages, messages);
            assert!(report.p50_us > 0.0 && report.p50_us <= report.p99_us);
            assert_eq!(report.server_ns.is_some_and(|nanos| nanos > 0.0), cfg!(target_os = "linux"));
        }
    }
}

#[test]
fn a_websocket_echo_is_counted_for_a_number_of_messages_and_for_a_time() {
    let address = server(|mut stream| {
        shake_hands(&mut stream)?;
        loop {
            let payload = read_frame(&mut stream)?;
            write_frame(&mut stream, &payload)?;
        }
    });
    assert_eq!(run(&plan(address)).expect("echoes").messages, 1_000);
    let length = Length::Time(Duration::from_millis(200));
    let report = run(&Plan { length, warm_up: Duration::from_millis(50), ..plan(address) }).expect("echoes");
    assert!(report.messages > 0 && report.seconds > 0.15, "{report}");
}

#[test]
fn a_server_that_pings_gets_its_pongs() {
    let address = server(|mut stream| {
        shake_hands(&mut stream)?;
        loop {
            let payload = read_frame(&mut stream)?;
            stream.write_all(&[0x89, 2, b'h', b'i'])?;
            let mut pong = [0; 8];
            stream.read_exact(&mut pong)?;
            if pong != [0x8A, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2] {
                return Ok(()); // The generator sees the end of the connection.
            }
            write_frame(&mut stream, &payload)?;
        }
    });
    let plan = Plan { in_flight: 1, length: Length::Messages(50), ..plan(address) };
    assert_eq!(run(&plan).expect("goes on").messages, 50);
}

#[test]
fn wrong_answers_end_the_run() {
    type Verdict = fn(&LoadError) -> bool;
    let flip = |mut stream: TcpStream| {
        shake_hands(&mut stream)?;
        let mut payload = read_frame(&mut stream)?;
        payload[199] ^= 0x80;
        write_frame(&mut stream, &payload)?;
        stream.read_exact(&mut [0; 1 << 16])
    };
    let close = |mut stream: TcpStream| {
        shake_hands(&mut stream)?;
        for _ in 0..5 {
            let payload = read_frame(&mut stream)?;
            write_frame(&mut stream, &payload)?;
        }
        stream.write_all(&[0x88, 2, 3, 0xE8])?;
        stream.read_exact(&mut [0; 1 << 16])
    };
    let hang_up = |mut stream: TcpStream| {
        shake_hands(&mut stream)?;
        read_frame(&mut stream).map(drop)
    };
    let refuse = |mut stream: TcpStream| {
        read_request(&mut stream)?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    };
    let wrong_key = |mut stream: TcpStream| {
        read_request(&mut stream)?;
        let text = String::from_utf8_lossy(ACCEPTED).replace("s3pP", "S3pP");
        stream.write_all(text.as_bytes())
    };
    let silent = |mut stream: TcpStream| {
        shake_hands(&mut stream)?;
        stream.read_exact(&mut [0; 1 << 16])
    };
    let cases: [(&str, SocketAddr, Verdict); 5] = [
        ("a flipped bit", server(flip), |error| matches!(error, LoadError::Fault(Fault::Content))),
        ("a close frame", server(close), |error| matches!(error, LoadError::Fault(Fault::Closed(1000)))),
        ("an end", server(hang_up), |error| matches!(error, LoadError::Io(_))),
        ("a refusal", server(refuse), |error| matches!(error, LoadError::Handshake(_))),
        ("another key's answer", server(wrong_key), |error| matches!(error, LoadError::Handshake(_))),
    ];
    for (name, address, expected) in cases {
        let error = run(&Plan { connections: 1, ..plan(address) }).expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
    }
    // However long it waits. A short time is usually enough to see that, but not on a busy machine.
    let address = server(silent);
    let outcomes = [0.5, 5.0, 50.0].into_iter().map(|seconds| {
        run(&Plan { connections: 1, patience: Duration::from_secs_f64(seconds), ..plan(address) })
    });
    let mut outcomes = outcomes.inspect(|outcome| println!("silence: {outcome:?}"));
    assert!(outcomes.any(|outcome| matches!(outcome, Err(LoadError::Stalled(5)))));
}

#[test]
fn an_empty_plan_is_refused() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for plan in [
        Plan { connections: 0, ..plan(address) },
        Plan { in_flight: 0, ..plan(address) },
        Plan { length: Length::Messages(0), ..plan(address) },
    ] {
        assert!(matches!(run(&plan), Err(LoadError::NothingToDo)));
    }
}
