//! The limits on an open connection: rate, authentication, silence; and what an actor sees of control frames. Over in-memory
//! streams with a virtual clock: hours pass in no time, exact to the millisecond.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use support::{Client, Log, Seen, upgrade, witness};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, duplex};
use tokio::time::Instant;
use ws_actor::{
    CloseFrame, Hub, Limits, Message, OverRate, Rate, RateLimit, Reason, Relay, Route, Server, Settings,
    Target, Upgrade,
};
use ws_core::Timer;
use ws_core::frame::Opcode;

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::new();
    set(&mut limits);
    limits
}

/// A server that does not ping its connections: only what the test is about ends them.
fn server(hub: &Hub, route: Route) -> Arc<Server> {
    let mut settings = Settings::new();
    settings.protocol.timeouts.keepalive = None;
    Arc::new(Server::new(hub).settings(settings).route(route))
}

fn stream(server: &Arc<Server>, size: usize) -> DuplexStream {
    let (ours, theirs) = duplex(size);
    tokio::spawn(server.serve(theirs, addr(1), addr(2)));
    ours
}

fn addr(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

async fn open(server: &Arc<Server>, path: &str) -> Client<DuplexStream> {
    let mut client = Client::of(stream(server, 4 << 10));
    assert_eq!(client.request(&upgrade(addr(2), path, "")).await.status, 101);
    client
}

fn fixture(set: impl FnOnce(&mut Limits)) -> (Hub, Log, Arc<Server>) {
    let hub = Hub::new();
    let (target, log) = witness(&hub, "witness", false);
    let server = server(&hub, Route::ws("/ws").target(target).limits(limits(set)));
    (hub, log, server)
}

/// The texts of messages received since the last call.
fn texts(log: &mut Log) -> Vec<String> {
    let text = |seen| match seen {
        Seen::Message(_, message) => message.as_text().map(str::to_owned),
        _ => None,
    };
    log.rest().into_iter().filter_map(text).collect()
}

async fn round_trip(client: &mut Client<DuplexStream>) {
    client.send(Opcode::Ping, b"?").await;
    while client.frame().await.expect("a pong").0.opcode != Opcode::Pong {}
    // Nothing else is left to do when the clock moves: the actor has had what came before.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// O3: too many messages close with 1008; those before are delivered, the one that was too many and those after it are not.
#[tokio::test(start_paused = true)]
async fn too_fast_closes() {
    let rate = RateLimit::messages(Rate::per_minute(60).burst(5));
    let (_hub, mut log, server) = fixture(|limits| limits.rate = Some(rate));
    let mut client = open(&server, "/ws").await;
    log.connect().await;
    for n in 0..3 {
        client.text(&n.to_string()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let burst: Vec<u8> =
        (3..10).flat_map(|n: u8| support::frame(true, Opcode::Text, n.to_string().as_bytes())).collect();
    client.write(&burst).await;
    assert_eq!(client.close_frame().await, (1008, "messages came too fast".to_owned()));
    let mut texts = Vec::new();
    let reason = loop {
        match log.next().await {
            Seen::Message(_, message) => texts.push(message.as_text().unwrap().to_owned()),
            Seen::Disconnect(_, reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!((u16::from(reason.code()), reason), (1008, Reason::OverRate));
}

/// O3: messages, or bytes, that come too fast are dropped and counted, and a client that slows down gets through again.
#[tokio::test(start_paused = true)]
async fn too_fast_drops() {
    let table = [
        (RateLimit::messages(Rate::per_second(2).burst(3)), 7),
        (RateLimit::bytes(Rate::per_second(2).burst(6)), 7),
    ];
    for (rate, dropped) in table {
        let (hub, mut log, server) = fixture(|limits| limits.rate = Some(rate.action(OverRate::Drop)));
        let mut client = open(&server, "/ws").await;
        let id = log.connect().await.id;
        for n in 0..10 {
            client.text(&format!("{n:02}")).await;
        }
        round_trip(&mut client).await;
        assert_eq!(texts(&mut log), ["00", "01", "02"]);
        let info = hub.inspect(id).unwrap();
        assert_eq!((info.over_rate, info.messages_in, info.bytes_in), (dropped, 3, 6));
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.text("10").await;
        round_trip(&mut client).await;
        assert_eq!(texts(&mut log), ["10"]);
        assert_eq!(hub.inspect(id).unwrap().over_rate, dropped);
    }
}

/// O3: with a delay every message comes, in order and at the rate; the client cannot send faster than that, and only
/// what one read brought is kept for it meanwhile. C-08: it does not count as dead while it is made to wait.
#[tokio::test(start_paused = true)]
async fn too_fast_is_slowed_down() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let rate = RateLimit::bytes(Rate::per_second(1_000).burst(1_000)).action(OverRate::Delay);
    let route = Route::ws("/ws").target(target).limits(limits(|limits| limits.rate = Some(rate)));
    let server = Arc::new(Server::new(&hub).route(route));
    let mut client = open(&server, "/ws").await;
    let id = log.connect().await.id;
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for n in 0..200 {
            let frame = support::frame(true, Opcode::Text, format!("{n:0998}").as_bytes());
            client.io.write_all(&frame).await.unwrap();
        }
        (Instant::now(), client)
    });
    for n in 0..200 {
        let Some(Seen::Message(_, message)) =
            tokio::time::timeout(Duration::from_secs(300), log.at_last()).await.unwrap()
        else {
            panic!("message {n}")
        };
        assert_eq!(message.as_text().unwrap().parse::<u32>(), Ok(n));
        let due = Duration::from_millis(u64::from(n) * 998).saturating_sub(Duration::from_millis(1_000));
        assert!(start.elapsed() >= due, "{n} after {:?}", start.elapsed());
    }
    assert!(start.elapsed() < Duration::from_secs(201), "{:?}", start.elapsed());
    let (sent, _client) = sending.await.unwrap();
    // A buffer of 64 KiB and what the stream holds is all that was ahead.
    assert!(sent - start > Duration::from_secs(120), "{:?}", sent - start);
    assert_eq!(hub.inspect(id).unwrap().over_rate, 0);
}

/// O3: a connection whose user is not named in time is closed with 3502; naming the user in the decision, or later, is
/// in time.
#[tokio::test(start_paused = true)]
async fn authentication_in_time() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let within = limits(|limits| limits.authenticate_within = Some(Limits::AUTHENTICATE_WITHIN));
    let route = Route::ws("/ws").target(target).limits(within).decide(async |upgrade: Upgrade| match upgrade
        .query_value("user")
    {
        Some(user) => Relay::new().user(&*user),
        None => Relay::new(),
    });
    let server = server(&hub, route);
    let start = Instant::now();
    let mut stale = open(&server, "/ws").await;
    let stale_id = log.connect().await.id;
    let _ann = open(&server, "/ws?user=ann").await;
    assert_eq!(log.connect().await.user.as_deref(), Some("ann"));
    let mut late = open(&server, "/ws").await;
    let late_id = log.connect().await.id;
    tokio::time::sleep(Duration::from_millis(14_990)).await;
    late.text("I am bob").await;
    assert!(matches!(log.next().await, Seen::Message(..)));
    assert_eq!(hub.authenticate(late_id, Some("bob")), Ok(()));
    assert_eq!(stale.close_frame().await.0, 3502);
    let elapsed = start.elapsed();
    assert!((Duration::from_secs(15)..Duration::from_millis(15_010)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(log.disconnect().await, (stale_id, Reason::Unauthenticated));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(hub.connection_count(), 2);
}

/// O1: a limit on silence: messages either way reset it, pings do not.
#[tokio::test(start_paused = true)]
async fn idle_limit() {
    let (hub, mut log, server) = fixture(|limits| limits.idle = Some(Duration::from_secs(60)));
    let mut client = open(&server, "/ws").await;
    let id = log.connect().await.id;
    for n in 0..6 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        if n % 2 == 0 {
            client.text("still here").await;
        } else {
            assert_eq!(hub.send(id, "you too?"), Ok(()));
            client.message().await;
        }
    }
    let start = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        round_trip(&mut client).await;
    }
    assert_eq!(client.close_frame().await.0, 1001);
    let elapsed = start.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_millis(60_010)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(log.disconnect().await, (id, Reason::Idle));
}

/// O1: a frozen peer is pinged, and dropped within ping interval plus timeout; one that answers stays.
#[tokio::test(start_paused = true)]
async fn dead_peers_are_dropped() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let server = Arc::new(Server::new(&hub).route(Route::ws("/ws").target(target)));
    let start = Instant::now();
    let _frozen = open(&server, "/ws").await;
    let frozen_id = log.connect().await.id;
    let mut alive = open(&server, "/ws").await;
    log.connect().await;
    tokio::spawn(async move {
        while let Some((header, payload)) = alive.frame_at_last().await {
            if header.opcode == Opcode::Ping {
                alive.send(Opcode::Pong, &payload).await;
            }
        }
    });
    let gone = tokio::time::timeout(Duration::from_secs(60), log.at_last()).await.unwrap();
    assert!(
        matches!(gone, Some(Seen::Disconnect(id, Reason::Timeout(Timer::Pong))) if id == frozen_id),
        "{gone:?}"
    );
    let elapsed = start.elapsed();
    assert!((Duration::from_secs(40)..Duration::from_millis(40_010)).contains(&elapsed), "{elapsed:?}");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(hub.connection_count(), 1);
}

/// A5: a client that stalls in its request is dropped at the limit: 10 s by default, or as configured.
#[tokio::test(start_paused = true)]
async fn handshake_timeout() {
    for set in [None, Some(Duration::from_secs(3))] {
        let hub = Hub::new();
        let (target, _log) = witness(&hub, "witness", false);
        let mut settings = Settings::new();
        if let Some(timeout) = set {
            settings.protocol.timeouts.handshake = timeout;
        }
        let limit = set.unwrap_or(Duration::from_secs(10));
        let server = Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target));
        let start = Instant::now();
        let mut stalled = stream(&Arc::new(server), 4 << 10);
        let head = upgrade(addr(2), "/ws", "");
        let (first, rest) = head.split_at(40);
        // A byte now and then does not help.
        stalled.write_all(first.as_bytes()).await.unwrap();
        tokio::time::sleep(limit / 2).await;
        stalled.write_all(&rest.as_bytes()[..5]).await.unwrap();
        let mut answer = vec![0; 1_000];
        let n = stalled.read(&mut answer).await.unwrap();
        assert!(answer[..n].starts_with(b"HTTP/1.1 408 "), "{}", answer[..n].escape_ascii());
        let elapsed = start.elapsed();
        assert!((limit..limit + Duration::from_millis(10)).contains(&elapsed), "{elapsed:?}");
    }
}

/// B6: text by default; binary, ping, pong and close by type; opcodes 1, 2, 9, 10 and 8 on the wire.
#[tokio::test(start_paused = true)]
async fn opcodes() {
    let (hub, mut log, server) = fixture(|_| ());
    let mut client = open(&server, "/ws").await;
    let id = log.connect().await.id;
    let sent: [Message; 6] = [
        "text".into(),
        vec![1, 2, 3].into(),
        Message::Ping(b"ping".to_vec().into()),
        Message::Pong(b"pong".to_vec().into()),
        "more".into(),
        CloseFrame::new(4_000, "bye").into(),
    ];
    let expected: [(Opcode, &[u8]); 6] = [
        (Opcode::Text, b"text"),
        (Opcode::Binary, &[1, 2, 3]),
        (Opcode::Ping, b"ping"),
        (Opcode::Pong, b"pong"),
        (Opcode::Text, b"more"),
        (Opcode::Close, b"\x0F\xA0bye"),
    ];
    for (message, (opcode, payload)) in sent.into_iter().zip(expected) {
        assert_eq!(hub.send(id, message), Ok(()));
        let (header, got) = client.frame().await.unwrap();
        assert_eq!((header.opcode, &*got), (opcode, payload));
    }
    assert_eq!([1, 2, 9, 10, 8], expected_bytes());
}

fn expected_bytes() -> [u8; 5] {
    [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong, Opcode::Close].map(|opcode| {
        let header = ws_core::frame::Header { fin: true, rsv: 0, opcode, mask: None, len: 0 };
        let mut head = [0; ws_core::frame::MAX_HEADER];
        header.encode(&mut head);
        head[0] & 0x0F
    })
}

/// B6: control frames of the peer are seen by an actor whose route asks for them, in line with messages, and by no other.
#[tokio::test(start_paused = true)]
async fn control_frames_when_asked_for() {
    let hub = Hub::new();
    let (target, mut log): (Target, Log) = witness(&hub, "witness", false);
    let server = Server::new(&hub)
        .route(Route::ws("/all").target(&target).control_frames())
        .route(Route::ws("/data").target(&target));
    let server = Arc::new(server);
    for (path, all) in [("/all", true), ("/data", false)] {
        let mut client = open(&server, path).await;
        let id = log.connect().await.id;
        client.send(Opcode::Ping, b"a").await;
        client.text("b").await;
        client.send(Opcode::Pong, b"c").await;
        client.send(Opcode::Close, b"\x0B\xB8d").await;
        let (header, payload) = client.frame().await.unwrap();
        assert_eq!((header.opcode, &*payload), (Opcode::Pong, &b"a"[..]));
        assert_eq!(client.close_frame().await.0, 3000);
        let mut seen = Vec::new();
        let reason = loop {
            match log.next().await {
                Seen::Message(from, message) => {
                    assert_eq!(from, id);
                    seen.push(message);
                }
                Seen::Disconnect(_, reason) => break reason,
                other => panic!("{other:?}"),
            }
        };
        let close = CloseFrame::new(3000, "d");
        assert_eq!(reason, Reason::Peer(Some(close.clone())));
        let every = [
            Message::Ping(b"a".to_vec().into()),
            "b".into(),
            Message::Pong(b"c".to_vec().into()),
            close.into(),
        ];
        assert_eq!(seen, if all { every.to_vec() } else { vec![every[1].clone()] });
    }
}

/// A14: a stream that sends nothing before it is flushed, as TLS may, gets its flushes: answers and messages arrive.
#[tokio::test(start_paused = true)]
async fn streams_that_buffer() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let server = Arc::new(Server::new(&hub).route(Route::ws("/ws").target(target)));
    let (ours, theirs) = duplex(1 << 10);
    tokio::spawn(server.serve(BufWriter::with_capacity(128 << 10, theirs), addr(1), addr(2)));
    let mut client = Client::of(ours);
    assert_eq!(client.request(&upgrade(addr(2), "/ws", "")).await.status, 101);
    for len in [1, 1_000, 50_000, 200_000] {
        let payload = vec![7; len];
        let frame = support::frame(true, Opcode::Binary, &payload);
        client.write(&frame).await;
        assert_eq!(client.message().await.1, payload);
    }
    client.close(1000).await;
    assert_eq!(client.close_frame().await.0, 1000);
    assert!(client.is_at_end().await);
}
