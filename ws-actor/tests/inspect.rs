//! Inspecting one connection.

mod support;

use std::time::Duration;

use support::{Client, frame, listen, until, witness};
use ws_actor::{ConnInfo, Hub, Meta, OutboxLimits, Relay, Route, Server};
use ws_core::frame::Opcode;

/// B15: its id, its user, and numbers that move with the traffic and with nothing else.
#[tokio::test]
async fn one_connection() {
    let hub = Hub::new();
    let (first, mut log) = witness(&hub, "first", true);
    let (second, _log) = witness(&hub, "second", false);
    let mut limits = OutboxLimits::new();
    limits.max_bytes = 64 << 20;
    let decide = |_| async { Relay::new().topic("said").meta(Meta::new().set("user", "Ann")) };
    let route = Route::ws("/ws").target(first).outbox(limits).decide(decide);
    let addr = listen(Server::new(&hub).route(route)).await;
    let mut client = Client::open(addr, "/ws?name=Ann").await;
    let _other = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    log.connect().await;
    let info = |hub: &Hub| hub.inspect(id).expect("it is there");

    let start = info(&hub);
    assert_eq!((start.remote_addr, start.local_addr), (client.io.local_addr().unwrap(), addr));
    assert_eq!((&*start.path, &*start.query, &start.subprotocol), ("/ws", "name=Ann", &None));
    assert_eq!((start.target.as_deref(), &*start.topic), (Some("first"), "said"));
    assert_eq!(start.meta, Meta::new().set("user", "Ann"));
    let moved = |info: &ConnInfo| {
        let ConnInfo {
            messages_in, bytes_in, messages_out, bytes_out, queued, queued_bytes, dropped, ..
        } = *info;
        [messages_in, bytes_in, messages_out, bytes_out, queued as u64, queued_bytes as u64, dropped]
    };
    assert_eq!(moved(&start), [0; 7]);

    // A message in two frames is one message; payloads are counted, heads are not; pings are no messages.
    client.write(&frame(false, Opcode::Text, b"hello ")).await;
    client.send(Opcode::Ping, b"ping").await;
    client.send(Opcode::Continuation, b"you").await;
    assert_eq!(client.frame().await.unwrap().0.opcode, Opcode::Pong);
    assert_eq!(client.read_text().await, "hello you");
    // What is written may be here before it is counted.
    let counts = async |expected: [u64; 7]| until("it is counted", || moved(&info(&hub)) == expected).await;
    counts([1, 9, 1, 9, 0, 0, 0]).await;
    assert_eq!(hub.broadcast("all").delivered, 2);
    assert_eq!(client.read_text().await, "all");
    counts([1, 9, 2, 12, 0, 0, 0]).await;

    // A client that does not read: what its socket does not take waits.
    for _ in 0..32 {
        assert_eq!(hub.send(id, vec![0; 1 << 20]), Ok(()));
    }
    until("the socket is full, and the rest waits", || {
        let now = moved(&info(&hub));
        let queued = now[4];
        // A head has ten bytes here.
        let waits = queued * ((1 << 20) + 10);
        (1..32).contains(&queued) && now == [1, 9, 34 - queued, ((32 - queued) << 20) + 12, queued, waits, 0]
    })
    .await;
    for _ in 0..32 {
        assert_eq!(client.message().await.1.len(), 1 << 20);
    }
    counts([1, 9, 34, (32 << 20) + 12, 0, 0, 0]).await;

    assert_eq!(hub.retarget(id, Relay::to(&second).topic("elsewhere")), Ok(()));
    until("it has moved", || info(&hub).target.as_deref() == Some("second")).await;
    assert_eq!(&*info(&hub).topic, "elsewhere");
    let age = info(&hub).uptime;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(info(&hub).uptime >= age + Duration::from_millis(20) && age >= start.uptime);
    client.close(1000).await;
    client.close_frame().await;
    until("it has gone", || hub.inspect(id).is_none()).await;
}
