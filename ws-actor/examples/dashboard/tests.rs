//! A viewer that keeps up sees every value, one that does not sees the latest.

#[path = "../../tests/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::{Client, soon, upgrade};
use tokio::net::TcpSocket;
use ws_actor::{Hub, Outgoing};

use crate::feed::SERIES;

async fn dashboard() -> (Hub, std::net::SocketAddr) {
    let hub = Hub::new();
    let server = super::server(&hub).expect("a new Hub");
    let listener = super::listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listening = server.listen_on(listener).expect("an address");
    (hub, listening.local_addr())
}

async fn next(client: &mut Client) -> Value {
    serde_json::from_str(&client.read_text().await).expect("JSON")
}

/// First what was, then each value as it comes, without a gap between the two.
#[tokio::test]
async fn in_time() {
    let (_, addr) = dashboard().await;
    let mut early = Client::open(addr, "/ws").await;
    assert_eq!(next(&mut early).await["type"], "hello");
    while next(&mut early).await["n"].as_u64() < Some(5) {}
    let mut late = Client::open(addr, "/ws").await;
    let hello = next(&mut late).await;
    let (names, n) = (hello["series"].as_array().expect("series"), hello["n"].as_u64().expect("a number"));
    assert_eq!(names.iter().map(|one| &one["name"]).collect::<Vec<_>>(), SERIES.map(|one| one.0));
    assert_eq!((hello["times"].as_array().map(Vec::len), n >= 5), (Some(n as usize), true));
    assert_eq!(hello["past"].as_array().map(Vec::len), Some(n as usize));
    for n in n + 1..n + 10 {
        for series in 0..SERIES.len() {
            let value = next(&mut late).await;
            assert_eq!((&value["n"], &value["series"]), (&json!(n), &json!(series)));
            assert!(value["value"].as_f64().is_some_and(|value| (20.0..100.0).contains(&value)), "{value}");
        }
    }
    late.text("?").await;
    assert_eq!(late.close_frame().await.0, 1008);
}

/// A viewer that stops reading for 10 000 values of each series finds a few old ones, which the systems held, and then the
/// newest of each; of the others, the server has kept none.
#[tokio::test]
async fn keep_latest() {
    const VALUES: u64 = 10_000;
    let (hub, addr) = dashboard().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut slow = Client::of(soon(socket.connect(addr)).await.expect("it listens"));
    assert_eq!(slow.request(&upgrade(addr, "/ws", "")).await.status, 101);
    assert_eq!(next(&mut slow).await["type"], "hello");
    let [id] = hub.connections()[..] else { panic!("one") };
    let viewers = hub.room("viewers");
    support::until("it is in", || viewers.contains(id)).await;
    for n in 0..VALUES {
        for (series, (name, _, _)) in SERIES.iter().enumerate() {
            let message = json!({"type": "test", "series": series, "n": n});
            viewers.broadcast(Outgoing::keyed(*name, message.to_string()));
        }
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let info = hub.inspect(id).expect("it is still there");
    assert!(info.queued <= SERIES.len() && info.queued_bytes < 1_024, "{info:?}");
    // The feed goes on meanwhile, so the last may be its values.
    let (mut seen, mut last) = (0, [None; SERIES.len()]);
    while last.iter().any(|last| *last < Some(u64::MAX)) {
        let message = next(&mut slow).await;
        let series = message["series"].as_u64().expect("a series") as usize;
        let n = if message["type"] == "test" { message["n"].as_u64() } else { Some(u64::MAX) };
        if n == Some(u64::MAX) && last[series].is_none_or(|last| last < u64::MAX) {
            last[series] = n;
        } else if last[series] != Some(u64::MAX) {
            assert!(n > last[series] || last[series].is_none(), "{message}");
            last[series] = n;
        }
        seen += 1;
    }
    assert!(seen < VALUES / 2, "{seen} of {}", 5 * VALUES);
}
