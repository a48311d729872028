//! Decisions before the 101: which client is given to which actor, and with what values.

mod support;

use std::ops::ControlFlow;
use std::time::Duration;

use support::{Client, Log, Seen, listen, refusals, serve, soon, until, upgrade, witness};
use tokio::sync::mpsc;
use ws_actor::{
    Connect, Context, Decision, Disconnect, Event, Heartbeat, Hub, Inbound, Meta, Relay, Response, Route,
    Server, Settings, Target, Upgrade, WsActor,
};
use ws_core::frame::Opcode;

async fn page(_: http::Request<hyper::body::Incoming>) -> http::Response<String> {
    http::Response::new("page".to_owned())
}

/// Asks for a connection, as the first request of a TCP connection or as one that follows plain HTTP.
async fn ask(
    addr: std::net::SocketAddr,
    path: &str,
    more: &str,
    is_kept: bool,
) -> (Client, support::Response) {
    let mut client = Client::new(addr).await;
    if is_kept {
        let response = client.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(response.status, 200);
    }
    let response = client.request(&upgrade(addr, path, more)).await;
    (client, response)
}

/// What a database would know.
async fn user_of(token: &str) -> Option<String> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    token.strip_prefix("Bearer ").map(str::to_owned)
}

fn rooms(hub: &Hub) -> (Server, Log, Log) {
    let (lobby, lobby_log) = witness(hub, "lobby", true);
    let (_, chat_log) = witness(hub, "chat", true);
    let route = Route::ws("/ws").target(lobby).decide(async |upgrade: Upgrade| {
        let Some(token) = upgrade.header("authorization") else {
            let response = Response::new(401, b"who are you? \xFF".to_vec());
            return Err(response
                .header("WWW-Authenticate", "Bearer")
                .header("Set-Cookie", "a")
                .header("Set-Cookie", "b"));
        };
        let user = user_of(token).await.ok_or(Response::new(403, ""))?;
        let meta = Meta::new().set("user", user.clone()).set("secret", "s3cret");
        let relay = match upgrade.query.as_ref() {
            "" => Relay::to("chat").topic("chat.topic"),
            "lobby" => Relay::new(),
            other => Relay::to(other),
        };
        let relay = relay.meta(meta);
        Ok(if upgrade.protocols.iter().any(|name| name == "v2") { relay.subprotocol("v2") } else { relay })
    });
    (Server::new(hub).route(route).on_http(page), lobby_log, chat_log)
}

/// A11: an async function sees the request and rejects it with a status, its own header fields and body; no 101.
#[tokio::test]
async fn rejections() {
    let hub = Hub::new();
    let (server, _lobby, _chat) = rooms(&hub);
    let (server, lines) = refusals(server);
    let addr = listen(server).await;
    for is_kept in [false, true] {
        let (mut client, response) = ask(addr, "/ws", "", is_kept).await;
        assert_eq!(response.status, 401);
        let head = response.head.to_ascii_lowercase();
        for field in ["www-authenticate: bearer", "set-cookie: a", "set-cookie: b", "content-length: 14"] {
            assert!(head.contains(field), "{head}");
        }
        assert_eq!(response.body, "who are you? \u{fffd}");
        assert!(client.is_at_end().await);
        let (_, response) = ask(addr, "/ws", "Authorization: Basic x\r\n", is_kept).await;
        assert_eq!((response.status, &*response.body), (403, ""));
        // C4: without an actor it is 503, and at once.
        let (_, response) = ask(addr, "/ws?nobody", "Authorization: Bearer Ann\r\n", is_kept).await;
        assert_eq!(response.status, 503);
        assert!(response.head.to_ascii_lowercase().contains("retry-after"));
    }
    assert_eq!(hub.connection_count(), 0);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 6);
    assert!(lines[0].contains("with 401: the application refused it (/ws)"), "{}", lines[0]);
    assert!(lines[2].contains("with 503: no actor takes this connection (/ws?nobody)"), "{}", lines[2]);
}

/// A12, B12: the decision chooses actor, topic and values, and nothing of it reaches the client but the subprotocol;
/// B1: what it chose comes with Connect and can be read later.
#[tokio::test]
async fn terms() {
    let hub = Hub::new();
    let (server, mut lobby, mut chat) = rooms(&hub);
    let addr = listen(server).await;
    let ann = "Authorization: Bearer Ann\r\nSec-WebSocket-Protocol: v1, v2\r\n";
    for is_kept in [false, true] {
        let (mut client, response) = ask(addr, "/ws", ann, is_kept).await;
        assert_eq!(response.status, 101);
        let head = response.head.to_ascii_lowercase();
        let mut names: Vec<_> = head.lines().skip(1).filter_map(|line| line.split_once(':')).collect();
        names.retain(|(name, _)| *name != "date");
        names.sort_unstable();
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["connection", "sec-websocket-accept", "sec-websocket-protocol", "upgrade"]);
        assert!(head.contains("sec-websocket-protocol: v2"));
        for word in ["ann", "s3cret", "chat"] {
            assert!(!head.contains(word), "{head}");
        }
        let connect = chat.connect().await;
        assert_eq!(connect.meta.text("user"), Some("Ann"));
        assert_eq!((&*connect.topic, connect.subprotocol.as_deref()), ("chat.topic", Some("v2")));
        client.text("hello").await;
        assert_eq!(client.read_text().await, "hello");
        let info = hub.inspect(connect.id).unwrap();
        assert_eq!((info.meta.text("user"), &*info.topic), (Some("Ann"), "chat.topic"));
        drop(client);
        chat.disconnect().await;
    }
    // Without a word about the actor, it is the route's.
    let (_client, response) = ask(addr, "/ws?lobby", ann, false).await;
    assert_eq!(response.status, 101);
    let connect = lobby.connect().await;
    assert_eq!((&*connect.topic, &*connect.query, connect.meta.text("user")), ("", "lobby", Some("Ann")));
    assert_eq!(chat.rest().len(), 0);
}

/// A11: a decision that panics, takes too long, or answers what may not be sent affects only its own client, which gets
/// an answer.
#[tokio::test]
async fn decisions_that_fail() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let route = Route::ws("/ws").target(target).decide(async |upgrade: Upgrade| -> Decision {
        match upgrade.query.as_ref() {
            "panic" => panic!("as the client asked"),
            "stall" => std::future::pending().await,
            "status" => Response::new(101, "").into(),
            "header" => Response::new(401, "").header("Bad", "a\r\nInjected: b").into(),
            "protocol" => Relay::new().subprotocol("v9").into(),
            _ => Relay::new().into(),
        }
    });
    let mut settings = Settings::new();
    settings.decision_timeout = Duration::from_millis(50);
    let (server, lines) = refusals(Server::new(&hub).settings(settings).route(route).on_http(page));
    let addr = listen(server).await;
    let table = [
        ("panic", 500, "the decision failed"),
        ("stall", 503, "the decision took too long"),
        ("status", 500, "may not be sent"),
        ("header", 500, "may not be sent"),
        ("protocol", 500, "did not offer this subprotocol"),
    ];
    for is_kept in [false, true] {
        for (query, status, line) in table {
            let (_, response) = ask(addr, &format!("/ws?{query}"), "", is_kept).await;
            assert_eq!(response.status, status, "{query}");
            assert!(!response.head.contains("Injected"));
            until("it is reported", || lines.lock().unwrap().iter().any(|one| one.contains(line))).await;
            lines.lock().unwrap().clear();
        }
        let (mut client, response) = ask(addr, "/ws", "", is_kept).await;
        assert_eq!(response.status, 101);
        client.text("fine").await;
        assert_eq!(client.read_text().await, "fine");
    }
    until("nothing is left", || hub.connection_count() == 0).await;
}

/// B15: counters move with the traffic, and count whole messages and their bytes.
#[tokio::test]
async fn counters() {
    let (hub, mut log, addr) = serve(true).await;
    let mut client = Client::open(addr, "/ws?a=1").await;
    let id = log.connect().await.id;
    let before = hub.inspect(id).unwrap();
    assert_eq!((before.messages_in, before.bytes_in, before.messages_out, before.bytes_out), (0, 0, 0, 0));
    assert_eq!((before.remote_addr, before.local_addr), (client.io.local_addr().unwrap(), addr));
    assert_eq!((&*before.path, &*before.query), ("/ws", "a=1"));
    for len in [1, 20, 300] {
        client.send(Opcode::Binary, &vec![7; len]).await;
        client.message().await;
    }
    assert_eq!(hub.send(id, "unasked"), Ok(()));
    client.message().await;
    // What is written may be here before it is counted.
    until("all is counted", || {
        let after = hub.inspect(id).unwrap();
        (after.messages_in, after.bytes_in) == (3, 321)
            && (after.messages_out, after.bytes_out, after.queued) == (4, 328, 0)
            && after.uptime > before.uptime
    })
    .await;
}

/// Notes heartbeats.
struct Pulse(mpsc::UnboundedSender<Heartbeat>);

impl WsActor for Pulse {
    type Cast = ();

    async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {}

    async fn heartbeat(&mut self, _: &mut Context<Self>, heartbeat: Heartbeat) {
        let _ = self.0.send(heartbeat);
    }
}

/// C6: heartbeats come at the interval that the decision set, with the counters and values of the connection.
#[tokio::test]
async fn heartbeats() {
    let hub = Hub::new();
    let (beats, mut heard) = mpsc::unbounded_channel();
    let target = hub.spawn("pulse", move || Pulse(beats.clone())).unwrap();
    let route =
        Route::ws("/ws").target(target).decide(async |upgrade: Upgrade| match upgrade.query.as_ref() {
            "never" => Relay::new(),
            _ => {
                Relay::new().heartbeat(Duration::from_millis(40)).topic("pulse").meta(Meta::new().set("n", 7))
            }
        });
    let addr = listen(Server::new(&hub).route(route)).await;
    let _silent = Client::open(addr, "/ws?never").await;
    let mut client = Client::open(addr, "/ws").await;
    client.text("hello").await;
    let (mut uptime, mut n, mut counted) = (Duration::ZERO, 0, 0);
    while counted < 5 {
        let beat = soon(heard.recv()).await.unwrap();
        n += 1;
        assert!(beat.uptime >= Duration::from_millis(40) * n, "{n}: {:?}", beat.uptime);
        assert!(beat.uptime > uptime);
        uptime = beat.uptime;
        assert_eq!((&*beat.topic, beat.meta.len(), beat.messages_out), ("pulse", 1, 0));
        // The first may be due before the message has come.
        if counted > 0 || beat.messages_in > 0 {
            counted += 1;
            assert_eq!((beat.messages_in, beat.bytes_in), (1, 5));
        }
    }
}

/// C2: connections go round robin to a pool of named actors: 1 to h1, 2 to h2, 3 to h3, 4 to h1. C3: a connection stays with
/// its actor. A member that ends is passed over, and gets its turn again when the name is taken again.
#[tokio::test]
async fn pools() {
    let hub = Hub::new();
    let names = ["h1", "h2", "h3"];
    let mut logs: Vec<Log> = names.iter().map(|name| witness(&hub, name, true).1).collect();
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").pool(names))).await;
    let mut clients = Vec::new();
    for n in 0..7 {
        clients.push(Client::open(addr, "/ws").await);
        logs[n % 3].connect().await;
    }
    for (n, client) in clients.iter_mut().enumerate() {
        for _ in 0..10 {
            client.text("mine").await;
            assert_eq!(client.read_text().await, "mine");
            assert!(matches!(logs[n % 3].next().await, Seen::Message(..)));
        }
    }
    assert!(logs.iter_mut().all(|log| log.rest().is_empty()));
    let h2: Target = hub.lookup("h2").unwrap();
    assert_eq!(h2.cast(0_u32), Ok(()));
    until("the name is free", || hub.lookup("h2").is_none()).await;
    for _ in 0..10 {
        clients.push(Client::open(addr, "/ws").await);
    }
    for log in [0, 2] {
        for _ in 0..5 {
            logs[log].connect().await;
        }
    }
    let (_again, mut log) = witness(&hub, "h2", true);
    for _ in 0..3 {
        clients.push(Client::open(addr, "/ws").await);
    }
    log.connect().await;
}

/// Reports the values that it is given.
struct Values(mpsc::UnboundedSender<(Meta, Option<&'static str>)>);

impl WsActor for Values {
    type Cast = ();

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        let _ = self.0.send((connect.meta, Some("connect")));
    }

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let meta = cx.hub().inspect(inbound.id).map(|info| info.meta);
        let _ = self.0.send((meta.unwrap_or_default(), None));
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        let _ = self.0.send((gone.meta, Some("disconnect")));
    }
}

/// B12: the values set at accept are there from Connect to Disconnect.
#[tokio::test]
async fn values_last() {
    let hub = Hub::new();
    let (values, mut seen) = mpsc::unbounded_channel();
    let target = hub.spawn("values", move || Values(values.clone())).unwrap();
    let meta = Meta::new().set("client_type", "web");
    let given = meta.clone();
    let route = Route::ws("/ws").target(target).decide(move |_| {
        let meta = given.clone();
        async { Relay::new().meta(meta) }
    });
    let addr = listen(Server::new(&hub).route(route)).await;
    let mut client = Client::open(addr, "/ws").await;
    client.text("hello").await;
    for what in [Some("connect"), None, Some("disconnect")] {
        if what == Some("disconnect") {
            client.close(1000).await;
        }
        assert_eq!(soon(seen.recv()).await, Some((meta.clone(), what)));
    }
}

/// C2, C8: a closure takes the events of connections to whatever it likes, in order; when it breaks, they end with 1011.
#[tokio::test]
async fn closures_as_targets() {
    let hub = Hub::new();
    let (mailbox, mut events) = mpsc::channel::<Event>(1);
    let target = Target::from_fn(&hub, "forward", move |event| {
        let mailbox = mailbox.clone();
        async move { mailbox.send(event).await.map_or(ControlFlow::Break(()), ControlFlow::Continue) }
    });
    let target = target.unwrap();
    assert!(Target::from_fn(&hub, "forward", async |_| ControlFlow::Continue(())).is_err());
    assert_eq!(target.cast(1_u32), Err(ws_actor::CastError::WrongType));
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target("forward"))).await;
    let mut client = Client::open(addr, "/ws").await;
    for n in 0..50 {
        client.text(&n.to_string()).await;
    }
    client.close(1000).await;
    let Some(Event::Connect(connect)) = soon(events.recv()).await else { panic!("Connect comes first") };
    for n in 0..50 {
        let Some(Event::Message(inbound)) = soon(events.recv()).await else { panic!("message {n}") };
        assert_eq!((inbound.id, inbound.message.as_text()), (connect.id, Some(&*n.to_string())));
    }
    let Some(Event::Disconnect(gone)) = soon(events.recv()).await else { panic!("and Disconnect") };
    assert_eq!((gone.id, u16::from(gone.reason.code())), (connect.id, 1000));
    let mut client = Client::open(addr, "/ws").await;
    drop(events);
    client.text("to nobody").await;
    assert_eq!(client.close_frame().await.0, 1011);
    until("the name is free", || hub.lookup("forward").is_none()).await;
}
