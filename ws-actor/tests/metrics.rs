//! Metrics: counts that match what was done, and text that a collector accepts.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::{Client, listen, until, upgrade, witness};
use ws_actor::{
    ConnId, DropReason, Ending, Hub, OutboxLimits, Outgoing, Overflow, RefusalKind, Relay, Response, Route,
    SendError, Server, Settings, Upgrade,
};

async fn scrape(addr: std::net::SocketAddr) -> String {
    let response = Client::new(addr).await.request("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(response.status, 200);
    assert!(
        response.head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8")
    );
    response.body
}

/// The samples of an exposition, checked by the rules of the format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
    };
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            (family, kind) = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert_eq!((name, &*kind), (&*family, ""), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            assert!(of != "counter" || name.ends_with("_total"), "{line}");
            kind = of.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert!(is_name(name), "{line}");
            let suffix = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{line} under {family}"));
            let allowed: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.contains(&suffix) && !kind.is_empty(), "{line}");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
                for label in labels.split(',') {
                    let (name, value) = label.split_once('=').unwrap();
                    assert!(
                        is_name(name) && value.len() > 2 && value.starts_with('"') && value.ends_with('"')
                    );
                }
            }
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0, "{line}");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} comes twice");
        }
    }
    // The buckets of a histogram only grow, and end with all.
    for family in families.iter().filter(|family| samples.contains_key(&format!("{family}_count"))) {
        let mut buckets: Vec<_> = samples
            .iter()
            .filter_map(|(sample, count)| {
                let bound = sample.strip_prefix(&format!("{family}_bucket{{le=\""))?.strip_suffix("\"}")?;
                Some((bound.replace("+Inf", "inf").parse::<f64>().unwrap(), *count))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{family}: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, samples[&format!("{family}_count")])));
    }
    samples
}

/// O4: a scripted run, and every count that it must lead to, in the snapshot and in the text.
#[tokio::test]
async fn a_scripted_run() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let (other, _) = witness(&hub, "other", true);
    let decide = |upgrade: Upgrade| async move {
        match &*upgrade.query {
            "no" => Err(Response::new(401, "no\n")),
            "nobody" => Ok(Relay::to("nobody")),
            "panic" => panic!("as the client asked"),
            _ => Ok(Relay::new()),
        }
    };
    let mut limits = OutboxLimits::new();
    (limits.max_messages, limits.overflow) = (2, Overflow::DropNew);
    let server = Server::new(&hub)
        .route(Route::ws("/ws").target(target).decide(decide))
        .route(Route::ws("/tight").target(other).outbox(limits))
        .metrics_at("/metrics");
    let addr = listen(server).await;

    let mut clients = Vec::new();
    for n in 0..3 {
        let mut client = Client::open(addr, "/ws").await;
        for _ in 0..=n {
            client.text("hello").await;
            assert_eq!(client.read_text().await, "hello");
        }
        clients.push(client);
    }
    for (path, more, status) in [
        ("/ws?no", "", 401),
        ("/ws?nobody", "", 503),
        ("/ws?panic", "", 500),
        ("/nowhere", "", 404),
        ("/nowhere", "", 404),
        ("/ws", "Origin: http://evil.example\r\n", 403),
        ("/ws", "Sec-WebSocket-Key: short\r\n", 400),
    ] {
        assert_eq!(Client::new(addr).await.request(&upgrade(addr, path, more)).await.status, status);
    }
    let ids: Vec<ConnId> = hub.connections();
    for id in &ids {
        assert_eq!(hub.room("all").join(*id), Ok(()));
    }
    assert_eq!(hub.room("all").broadcast("to all").delivered, 3);
    for client in &mut clients {
        assert_eq!(client.read_text().await, "to all");
    }
    clients[0].close(1000).await;
    assert_eq!(clients[0].close_frame().await.0, 1000);
    clients[1].write(&[0xFF; 8]).await;
    assert_eq!(clients[1].close_frame().await.0, 1002);
    until("two have gone", || hub.connection_count() == 1).await;
    let mut tight = Client::open(addr, "/tight").await;
    until("the second is there", || hub.connection_count() == 2).await;
    let id = hub.connections().into_iter().find(|id| !ids.contains(id)).unwrap();
    // This task does not let the connection's write in between.
    let hold = support::hold(&hub, id).await;
    let results: Vec<_> = (0..5).map(|_| hub.send(id, "12345")).collect();
    let (ok, full) = (Ok(()), Err(SendError::Full));
    assert_eq!(results, [ok, ok, full, full, full]);
    let now = hub.metrics();
    assert_eq!((now.queued, now.queued_bytes), (2, 14));
    assert_eq!(now.queue_depths[..3], [(0, 1), (1, 1), (4, 2)]);
    let held = hold.messages;
    hold.end(&mut tight).await;
    assert_eq!(tight.read_text().await, "12345");
    assert_eq!(tight.read_text().await, "12345");
    clients[2].text("panic").await;
    assert_eq!(clients[2].close_frame().await.0, 1011);
    clients[2].close(1011).await;
    until("the third has gone", || hub.connection_count() == 1 && hub.metrics().closed.total() == 3).await;
    drop(log.rest());

    let metrics = hub.metrics();
    assert_eq!((metrics.connections, metrics.opened, metrics.rooms), (1, 4, 0));
    assert_eq!((metrics.actors, metrics.panics), (1, 1));
    assert_eq!((metrics.messages_in, metrics.bytes_in), (7, 35));
    assert_eq!((metrics.messages_out, metrics.bytes_out), (6 + 3 + 2 + held, 6 * 5 + 3 * 6 + 2 * 5));
    assert_eq!((metrics.queued, metrics.queued_bytes), (0, 0));
    for (ending, count) in metrics.closed.iter() {
        let ended = [Ending::Peer, Ending::Protocol, Ending::TargetDown].contains(&ending);
        assert_eq!(count, u64::from(ended), "{ending:?}");
    }
    for (kind, count) in metrics.refused.iter() {
        let expected = match kind {
            RefusalKind::NoRoute => 2,
            RefusalKind::Malformed
            | RefusalKind::Origin
            | RefusalKind::Application
            | RefusalKind::Undecided
            | RefusalKind::NoTarget => 1,
            _ => 0,
        };
        assert_eq!(count, expected, "{kind:?}");
    }
    assert_eq!((metrics.dropped.of(DropReason::Full), metrics.dropped.total()), (3, 3));
    assert_eq!((metrics.handshake.count(), metrics.fan_out.count()), (4, 1));
    assert!(metrics.mailbox_wait.count() >= 1);
    assert!(metrics.handshake.quantile(0.5) < Some(Duration::from_secs(10)));

    let text = scrape(addr).await;
    let samples = samples(&text);
    for (sample, value) in [
        ("ws_connections", 1.0),
        ("ws_connections_opened_total", 4.0),
        ("ws_connections_closed_total{reason=\"protocol\"}", 1.0),
        ("ws_upgrades_refused_total{reason=\"no_route\"}", 2.0),
        ("ws_messages_received_total", 7.0),
        ("ws_received_bytes_total", 35.0),
        ("ws_messages_sent_total", 11.0 + held as f64),
        ("ws_messages_dropped_total{reason=\"full\"}", 3.0),
        ("ws_outbox_depth_connections{le=\"0\"}", 1.0),
        ("ws_outbox_depth_connections{le=\"+Inf\"}", 1.0),
        ("ws_actor_panics_total", 1.0),
        ("ws_handshake_seconds_count", 4.0),
        ("ws_draining", 0.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}\n{text}");
    }
    let node = format!("ws_info{{node=\"{}\",version=\"{}\"}}", hub.node(), env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&*node), Some(&1.0));
}

/// O4: counts never go back, even while connections come and go as they are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_only_grow() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let read = Arc::<AtomicU64>::default();
    let seen = Arc::clone(&read);
    let clients = tokio::spawn(async move {
        for n in 0..50 {
            // They are not lost while one is reading.
            while seen.load(Ordering::Relaxed) < n {
                tokio::task::yield_now().await;
            }
            let mut client = Client::open(addr, "/ws").await;
            client.text("hello").await;
            assert_eq!(client.read_text().await, "hello");
        }
    });
    let mut last = [0; 5];
    while !clients.is_finished() {
        let metrics = hub.metrics();
        let now = [
            metrics.opened,
            metrics.messages_in,
            metrics.bytes_in,
            metrics.messages_out,
            metrics.closed.total(),
        ];
        assert!(last.iter().zip(&now).all(|(last, now)| last <= now), "{last:?} {now:?}");
        last = now;
        read.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
    clients.await.unwrap();
    // A connection is counted as closed a moment after it has left the list.
    until("all have gone", || hub.metrics().closed.total() == 50).await;
    assert_eq!(hub.connection_count(), 0);
    let metrics = hub.metrics();
    assert_eq!((metrics.opened, metrics.messages_in, metrics.messages_out), (50, 50, 50));
    assert_eq!((metrics.bytes_in, metrics.closed.total()), (250, 50));
}

/// O4, B13: each way to lose a message has its own count.
#[tokio::test]
async fn drops_by_reason() {
    let reasons = [
        (Overflow::DropNew, [2, 0, 0, 2]),
        (Overflow::DropOld, [0, 2, 0, 2]),
        (Overflow::Conflate, [0, 0, 3, 1]),
        (Overflow::Close, [1, 0, 0, 2]),
    ];
    for (overflow, expected) in reasons {
        let hub = Hub::new();
        let (target, mut log) = witness(&hub, "witness", false);
        let mut limits = OutboxLimits::new();
        (limits.max_messages, limits.overflow) = (2, overflow);
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target).outbox(limits))).await;
        let client = Client::open(addr, "/ws").await;
        let id = log.connect().await.id;
        let hold = support::hold(&hub, id).await;
        for n in 0..4 {
            let _ = hub.send(id, Outgoing::keyed("key", format!("{n}")));
        }
        // The connection ends before it can write.
        drop(client);
        hub.close(id, ws_actor::CloseFrame::new(1000, "")).unwrap_or_default();
        drop(hold);
        until("it has gone", || hub.connection_count() == 0).await;
        let dropped = hub.metrics().dropped;
        let kinds = [DropReason::Full, DropReason::Oldest, DropReason::Replaced, DropReason::Ended];
        let [full, oldest, replaced, ended] = kinds.map(|kind| dropped.of(kind));
        assert_eq!([full, oldest, replaced], expected[..3], "{overflow:?}");
        assert!(ended <= expected[3], "{overflow:?}: {ended}");
    }
}

/// O4, C-08: the time from a ping of the keepalive to the answer.
#[tokio::test]
async fn round_trips() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", false);
    let mut settings = Settings::new();
    settings.protocol.timeouts.keepalive = Some(Duration::from_millis(20));
    let addr = listen(Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target))).await;
    let mut client = Client::open(addr, "/ws").await;
    let (ping, payload) = client.frame().await.unwrap();
    assert_eq!(ping.opcode, ws_core::frame::Opcode::Ping);
    tokio::time::sleep(Duration::from_millis(30)).await;
    client.send(ws_core::frame::Opcode::Pong, &payload).await;
    until("it is timed", || hub.metrics().rtt.count() > 0).await;
    let rtt = hub.metrics().rtt;
    assert!(rtt.sum() >= Duration::from_millis(30), "{rtt:?}");
}

/// O4: a server for metrics only, on its own port; it refuses other paths and other methods.
#[tokio::test]
async fn a_port_for_the_collector() {
    let hub = Hub::new();
    let addr = listen(Server::new(&hub).metrics_at("/metrics")).await;
    samples(&scrape(addr).await);
    for request in ["GET /", "GET /metrics/", "POST /metrics"] {
        let response =
            Client::new(addr).await.request(&format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(response.status, 426, "{request}");
    }
}
