//! Paths with parameters, queries and subprotocols: what an application reads from the request line.

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use support::{Client, listen, upgrade, witness};
use ws_actor::{Hub, Relay, Response, Route, Server, Upgrade};

async fn status(addr: SocketAddr, path: &str, more: &str) -> (u16, String) {
    let response = Client::new(addr).await.request(&upgrade(addr, path, more)).await;
    (response.status, response.head.to_ascii_lowercase())
}

/// A3: `/ws/chat/:room` takes one segment, decoded, which the decision, Connect and later calls can read.
#[tokio::test]
async fn parameters_in_a_path() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let decided = Arc::clone(&seen);
    let route = Route::ws("/ws/chat/:room/:n").target(target).decide(move |upgrade: Upgrade| {
        decided.lock().unwrap().push(format!("{:?}", upgrade.params));
        async { Relay::new() }
    });
    let addr = listen(Server::new(&hub).route(route)).await;
    let _client = Client::open(addr, "/ws/chat/a%20b/%C3%A9%2F").await;
    assert_eq!(*seen.lock().unwrap(), [r#"{"room": "a b", "n": "é/"}"#]);
    let connect = log.connect().await;
    assert_eq!(&*connect.path, "/ws/chat/a%20b/%C3%A9%2F");
    assert_eq!((connect.params.value("room"), connect.params.value("n")), (Some("a b"), Some("é/")));
    assert_eq!(hub.inspect(connect.id).unwrap().params, connect.params);
    for path in ["/ws/chatX", "/ws/chat", "/ws/chat/a", "/ws/chat//1", "/ws/chat/a/1/", "/ws/chat/a/1/x"] {
        assert_eq!(status(addr, path, "").await.0, 404, "{path}");
    }
    for path in ["/ws/chat/%/1", "/ws/chat/a/%f", "/ws/chat/a/%ff", "/ws/chat/%C3/%A9"] {
        assert_eq!(status(addr, path, "").await.0, 400, "{path}");
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

/// A3: the route that has a literal where others have a parameter wins, whatever the order; of equals, the first.
#[tokio::test]
async fn the_most_precise_route_wins() {
    let hub = Hub::new();
    let mut server = Server::new(&hub);
    let mut logs = Vec::new();
    for path in ["/ws/:room", "/ws/lobby", "/ws/:other", "/:a/lobby", "/ws/lobby"] {
        let (target, log) = witness(&hub, &format!("{path} {}", logs.len()), false);
        logs.push(log);
        server = server.route(Route::ws(path).target(target));
    }
    let addr = listen(server).await;
    let mut clients = Vec::new();
    for (path, expected) in [("/ws/x", 0), ("/ws/lobby", 1), ("/x/lobby", 3)] {
        clients.push(Client::open(addr, path).await);
        assert_eq!(&*logs[expected].connect().await.path, path);
        assert!(logs.iter_mut().all(|log| log.rest().is_empty()));
    }
}

/// A4: query values are decoded and visible in the decision, in Connect and later.
#[tokio::test]
async fn query_values() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let route = Route::ws("/ws").target(target).decide(async |upgrade: Upgrade| {
        match upgrade.query_value("name").as_deref() {
            Some("Ann & Bob") => Ok(Relay::new()),
            other => Err(Response::new(403, format!("{other:?}"))),
        }
    });
    let addr = listen(Server::new(&hub).route(route)).await;
    assert_eq!(status(addr, "/ws?name=Ann", "").await.0, 403);
    assert_eq!(status(addr, "/ws", "").await.0, 403);
    let _client = Client::open(addr, "/ws?name=Ann+%26%20Bob&flag&name=Eve").await;
    let connect = log.connect().await;
    let info = hub.inspect(connect.id).unwrap();
    assert_eq!(connect.query_value("name").as_deref(), Some("Ann & Bob"));
    assert_eq!(info.query_value("name").as_deref(), Some("Ann & Bob"));
    assert_eq!((connect.query_value("flag").as_deref(), connect.query_value("x")), (Some(""), None));
    assert_eq!(info.query_pairs().count(), 3);
}

/// A10: the first of the server's list that the client offers; the decision may choose another; none in common is
/// accepted without one, or refused if the route says so.
#[tokio::test]
async fn subprotocols() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let route = |path: &str| Route::ws(path).target(&target).subprotocols(["v2", "v1"]);
    let decided = route("/decided").decide(async |upgrade: Upgrade| {
        assert_eq!(upgrade.subprotocol.as_deref(), Some("v2"));
        Relay::new().subprotocol("v1")
    });
    let server = Server::new(&hub)
        .route(route("/any"))
        .route(route("/required").require_subprotocol())
        .route(decided)
        .route(Route::ws("/none").target(&target));
    let addr = listen(server).await;
    let table = [
        ("/any", "v1, v2", 101, Some("v2")),
        ("/any", "v1", 101, Some("v1")),
        ("/any", "v3", 101, None),
        ("/any", "V2", 101, None),
        ("/any", "", 101, None),
        ("/required", "v0, v1", 101, Some("v1")),
        ("/required", "v3", 400, None),
        ("/required", "", 400, None),
        ("/decided", "v1, v2", 101, Some("v1")),
        ("/none", "v1", 101, None),
    ];
    for (path, offer, expected, chosen) in table {
        let more =
            if offer.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {offer}\r\n") };
        let (status, head) = status(addr, path, &more).await;
        assert_eq!(status, expected, "{path} {offer}");
        let said = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(said, chosen, "{path} {offer}");
        if status == 101 {
            assert_eq!(log.connect().await.subprotocol.as_deref(), chosen);
            log.disconnect().await;
        }
    }
}
