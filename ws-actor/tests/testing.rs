//! The public tools for tests, by what they promise: the server's own code, a client that behaves as one, virtual time.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{Log, Seen, witness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use ws_actor::testing::{PATIENCE, TestClient, TestError, TestServer};
use ws_actor::{
    CloseFrame, ConnectError, ConnectOptions, Context, DialOptions, Heartbeat, Hub, Inbound, Message, Reason,
    Relay, Response, Role, Route, Server, Settings, Upgrade, WsActor,
};

const SECOND: Duration = Duration::from_secs(1);

fn serve(hub: &Hub, echo: bool) -> (TestServer, Log) {
    let (target, log) = witness(hub, "witness", echo);
    (TestServer::new(Server::new(hub).route(Route::ws("/ws").target(target))), log)
}

/// O5: text and binary, small and large, both ways, with the sender that a socket would have.
#[tokio::test(start_paused = true)]
async fn messages() {
    let hub = Hub::new();
    let (server, mut log) = serve(&hub, true);
    let mut client = server.connect("/ws?name=ann").await.unwrap();
    let connect = log.connect().await;
    assert_eq!((&*connect.path, &*connect.query, connect.role), ("/ws", "name=ann", Role::Server));
    assert!(connect.remote_addr.ip().is_loopback());
    for len in [0, 1, 125, 126, 65_536, 1 << 20] {
        client.send("x".repeat(len)).await.unwrap();
        assert_eq!(client.recv_text().await.unwrap().len(), len);
        client.send(vec![7; len]).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Message::binary(vec![7; len]));
        // Not what it is: said so.
        client.send(vec![1]).await.unwrap();
        assert!(matches!(client.recv_text().await, Err(TestError::Unexpected(Message::Binary(_)))));
    }
    client.send(Message::Ping("?".into())).await.unwrap();
    assert_eq!(client.recv_control().await.unwrap(), Message::Pong("?".into()));
    client.send(Message::Pong("!".into())).await.unwrap();
    assert_eq!(hub.send(connect.id, Message::Ping("there".into())), Ok(()));
    assert_eq!(client.recv_control().await.unwrap(), Message::Ping("there".into()));
    // Two are told apart.
    let _other = server.connect("/ws").await.unwrap();
    loop {
        if let Seen::Connect(other) = log.next().await {
            assert_ne!(other.remote_addr, connect.remote_addr);
            break;
        }
    }
}

/// O5: refused by the server's own rules: routes, origins, decisions.
#[tokio::test(start_paused = true)]
async fn refusals() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", false);
    let route = Route::ws("/ws").target(target).decide(|upgrade: Upgrade| async move {
        // Somebody to ask first.
        sleep(SECOND).await;
        match upgrade.header("authorization") {
            Some(_) => Ok(Relay::new()),
            None => Err(Response::new(401, "who?").header("WWW-Authenticate", "Bearer")),
        }
    });
    let slow = Route::ws("/slow").decide(|_: Upgrade| std::future::pending::<Relay>());
    let server = TestServer::new(Server::new(&hub).route(route).route(slow)).named("example.com");
    let mut signed = ConnectOptions::new();
    signed.headers.insert("authorization", http::HeaderValue::from_static("Bearer 1"));
    let mut foreign = signed.clone();
    foreign.headers.insert("origin", http::HeaderValue::from_static("https://evil.example"));
    let mut same = signed.clone();
    same.headers.insert("origin", http::HeaderValue::from_static("https://example.com"));
    let mut patient = signed.clone();
    let mut config = ws_core::Config::client();
    config.timeouts.handshake = 100 * SECOND;
    patient.config = config.into();
    let table = [
        ("/ws", ConnectOptions::new(), 401),
        ("/ws", foreign, 403),
        ("/nowhere", signed.clone(), 404),
        ("/slow", patient, 503),
        ("/ws", signed, 101),
        ("/ws", same, 101),
    ];
    for (target, options, expected) in table {
        let status = match server.connect_with(target, &options).await {
            Ok(client) => client.response().status().as_u16(),
            Err(ConnectError::Status(response)) => response.status().as_u16(),
            Err(error) => panic!("{target}: {error}"),
        };
        assert_eq!(status, expected, "{target}");
    }
}

/// O5: subprotocols and limits are the server's; the close code of a broken rule is seen.
#[tokio::test(start_paused = true)]
async fn limits_and_subprotocols() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let mut settings = Settings::new();
    settings.protocol.limits.max_message = 100;
    settings.protocol.limits.max_frame = 100;
    let route = Route::ws("/ws").target(target).decide(|_: Upgrade| async { Relay::new().subprotocol("b") });
    let server = TestServer::new(Server::new(&hub).settings(settings).route(route))
        .clients_at(SocketAddr::from(([192, 0, 2, 1], 0)));
    let mut options = ConnectOptions::new();
    options.protocols = vec!["a".into(), "b".into()];
    let mut client = server.connect_with("/ws", &options).await.unwrap();
    assert_eq!(client.subprotocol(), Some("b"));
    assert_eq!(log.connect().await.remote_addr.ip().to_string(), "192.0.2.1");
    client.send(vec![0; 101]).await.unwrap();
    assert_eq!(client.closed().await.unwrap().code.0, 1009);
    assert!(matches!(client.send("late").await, Err(TestError::Unsent(_))));
    assert!(matches!(client.recv().await, Err(TestError::Ended(frame)) if frame.code.0 == 1009));
}

/// O5: each way of ending is seen as a client sees it, and as the actor does.
#[tokio::test(start_paused = true)]
async fn ends() {
    let hub = Hub::new();
    let (server, mut log) = serve(&hub, false);
    let open = async |log: &mut Log| -> (TestClient, ws_actor::ConnId) {
        let client = server.connect("/ws").await.unwrap();
        (client, log.connect().await.id)
    };

    let (mut client, id) = open(&mut log).await;
    assert_eq!(hub.send(id, "first"), Ok(()));
    assert_eq!(hub.close(id, CloseFrame::new(4001, "enough")), Ok(()));
    assert!(
        matches!(client.closed().await, Err(TestError::Unexpected(message)) if message.as_text() == Some("first"))
    );
    assert_eq!(client.closed().await.unwrap(), CloseFrame::new(4001, "enough"));
    assert_eq!(log.disconnect().await.1, Reason::Local(Some(CloseFrame::new(4001, "enough"))));

    let (mut client, id) = open(&mut log).await;
    assert_eq!(hub.send(id, "dropped"), Ok(()));
    assert_eq!(client.close(Some(CloseFrame::new(3000, "bye"))).await.unwrap().code.0, 3000);
    assert_eq!(log.disconnect().await.1, Reason::Peer(Some(CloseFrame::new(3000, "bye"))));
    assert!(matches!(client.close(None).await, Err(TestError::Unsent(_))));

    let (mut client, _) = open(&mut log).await;
    assert_eq!(client.close(None).await.unwrap().code.0, 1005);
    assert_eq!(log.disconnect().await.1, Reason::Peer(None));

    // It vanishes.
    let (client, _) = open(&mut log).await;
    drop(client);
    assert_eq!(log.disconnect().await.1, Reason::Io(std::io::ErrorKind::UnexpectedEof));

    // Its actor does: without a close frame for the first, as the others would be told.
    let (mut client, _) = open(&mut log).await;
    client.send("panic").await.unwrap();
    assert_eq!(client.closed().await.unwrap().code.0, 1011);
}

/// Counts heartbeats.
struct Beats(u32);

impl WsActor for Beats {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let _ = cx.send(inbound.id, self.0.to_string());
    }

    async fn heartbeat(&mut self, _: &mut Context<Self>, _: Heartbeat) {
        self.0 += 1;
    }
}

/// O5, O1: time is tokio's. An hour of silence is over at once, and in it everything has happened that does in an hour:
/// heartbeats, and pings, which have been answered.
#[tokio::test(start_paused = true)]
async fn an_hour_passes() {
    let hub = Hub::new();
    let target = hub.spawn("beats", || Beats(0)).unwrap();
    let route = Route::ws("/ws")
        .target(target)
        .decide(|_: Upgrade| async { Relay::new().heartbeat(Duration::from_secs(30)) });
    let server = TestServer::new(Server::new(&hub).route(route));
    let mut client = server.connect("/ws").await.unwrap();
    let (virtual_start, real_start) = (Instant::now(), std::time::Instant::now());
    client.expect_nothing(3_615 * SECOND).await.unwrap();
    assert_eq!(virtual_start.elapsed(), 3_615 * SECOND);
    assert!(real_start.elapsed() < support::LONG);
    client.send("how many?").await.unwrap();
    assert_eq!(client.recv_text().await.unwrap(), "120");
    // Every 20 s one of the two asks.
    for n in 0..180 {
        let sign = client.recv_control().await;
        assert!(matches!(sign, Ok(Message::Ping(_) | Message::Pong(_))), "sign {n}: {sign:?}");
    }
    assert_eq!(hub.connection_count(), 1);
}

/// O5, O1: a client that is stalled answers nothing and is given up in time; one that is resumed before has missed nothing.
#[tokio::test(start_paused = true)]
async fn stalled() {
    let hub = Hub::new();
    let (server, mut log) = serve(&hub, false);
    let mut client = server.connect("/ws").await.unwrap();
    let id = log.connect().await.id;
    client.stall();
    for n in 0..100 {
        assert_eq!(hub.send(id, n.to_string()), Ok(()));
    }
    client.expect_nothing(30 * SECOND).await.unwrap();
    client.resume();
    for n in 0..100 {
        assert_eq!(client.recv_text().await.unwrap(), n.to_string());
    }
    client.stall();
    let start = Instant::now();
    while hub.connection_count() > 0 {
        sleep(SECOND / 10).await;
    }
    assert!(matches!(log.disconnect().await, (gone, Reason::Timeout(_)) if gone == id));
    // 20 s of silence, and 20 s for the pong.
    assert!((40 * SECOND..42 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    let start = Instant::now();
    assert!(matches!(client.recv().await, Err(TestError::Silent)));
    assert_eq!(start.elapsed(), PATIENCE);
}

/// O5, B13: memory holds what the buffers of a socket do and no more: then the outbox fills, and its policy decides.
#[tokio::test(start_paused = true)]
async fn slow_clients() {
    let hub = Hub::new();
    let (server, mut log) = serve(&hub, false);
    let client = server.connect("/ws").await.unwrap();
    let id = log.connect().await.id;
    client.stall();
    let mut taken = 0;
    while hub.send(id, vec![0; 10_000]).is_ok() {
        taken += 1;
        tokio::task::yield_now().await;
        assert!(taken < 1_000, "nothing is full");
    }
    assert_eq!(log.disconnect().await, (id, Reason::SlowConsumer));
}

/// O5, K2: a connection that the program opens, to a server in the same test.
#[tokio::test(start_paused = true)]
async fn dialled_in_memory() {
    let (near, far) = (Hub::new(), Hub::new());
    let (server, mut far_log) = serve(&far, true);
    let (client, mut near_log) = witness(&near, "client", false);
    let mut options = DialOptions::to(&client);
    options.connector = Some(server.connector());
    let dialled = near.dial("ws://localhost/ws?x=1", options).await.unwrap();
    assert_eq!(&*far_log.connect().await.query, "x=1");
    near_log.connect().await;
    assert_eq!(near.send(dialled.id().unwrap(), "hello"), Ok(()));
    assert!(matches!(near_log.next().await, Seen::Message(_, message) if message.as_text() == Some("hello")));
    // Both keep each other alive.
    sleep(3_600 * SECOND).await;
    assert_eq!((near.connection_count(), far.connection_count()), (1, 1));
}

/// O5: what is no WebSocket can be said, too.
#[tokio::test(start_paused = true)]
async fn plain_http() {
    let hub = Hub::new();
    let server =
        TestServer::new(Server::new(&hub).on_http(|request| async move {
            http::Response::new(format!("you asked for {}", request.uri()))
        }));
    let mut stream = server.open();
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("you asked for /x"), "{answer}");
}
