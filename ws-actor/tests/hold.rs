//! Many idle connections: the memory of each, and how long one of them takes to open and to be answered.
//!
//! `HOLD_CONNECTIONS` chooses another number; each takes two file descriptors here, and there are fewer where a process may
//! open only few. `target/peak/hold --check` of the benches holds ten thousand against the limits themselves, from another
//! process.
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::{LONG, frame};
use ws_actor::{Context, Hub, Inbound, Route, Server, WsActor};
use ws_core::frame::Opcode;

struct Echo;

impl WsActor for Echo {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let _ = cx.send(id, message);
    }
}

/// O6: ten thousand connections and more of about 4 KB each, opened in 1 to 2 ms, answered in half a millisecond. Of the
/// times, the quickest tenth's is compared with ten times the limit, since the machine may be busy; and only of the later
/// half, when many are open.
#[test]
fn many_connections() {
    let default = (open_files().saturating_sub(300) / 2).min(2_000);
    let connections = std::env::var("HOLD_CONNECTIONS").map_or(default, |n| n.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _runtime = runtime.enter();
    let hub = Hub::new();
    let echo = hub.spawn("echo", || Echo).unwrap();
    let server = Server::new(&hub).route(Route::ws("/").target(echo));
    let addr = runtime.block_on(server.listen("127.0.0.1:0")).unwrap().local_addr();

    let message = frame(true, Opcode::Text, b"hello");
    // Some first: what the process makes once is not theirs.
    drop((0..100).map(|_| connect(addr)).collect::<Vec<_>>());
    let mut streams = Vec::with_capacity(connections);
    let before = resident();
    let opening = typical((0..connections).map(|_| timed(|| streams.push(connect(addr)))));
    let answering = typical(streams.iter_mut().map(|stream| {
        timed(|| {
            stream.write_all(&message).unwrap();
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"\x81\x05hello");
        })
    }));
    let each = resident().saturating_sub(before) / connections;
    println!("{connections} connections: opened in {opening:?}, answered in {answering:?}, {each} B each");
    assert!(hub.connection_count() >= connections);
    assert!(each <= 4 << 10, "{each} B for each connection");
    assert!(opening < Duration::from_millis(20), "{opening:?} to open one");
    assert!(answering < Duration::from_millis(5), "{answering:?} to be answered");
}

fn connect(addr: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let (mut head, mut buffer) = (Vec::new(), [0; 512]);
    while !head.ends_with(b"\r\n\r\n") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&buffer[..n]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

/// An undisturbed time: the longest among the quickest tenth of the later half.
fn typical(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.drain(..times.len() / 2);
    times.sort_unstable();
    times[times.len() / 10]
}

/// Maximum number of files that this process may open.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}
