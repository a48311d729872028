//! Limits: the number of connections, in all and per client, and what each may do.

mod support;

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{Client, LONG, Log, gone, listen, soon, until, upgrade, witness};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use ws_actor::{
    AuthenticateError, Hub, JoinError, Limits, Reason, Relay, Response, Route, Server, Settings, Upgrade,
};
use ws_core::Violation;
use ws_core::frame::Opcode;

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::new();
    set(&mut limits);
    limits
}

/// Asks for a connection; returns the client if it was accepted.
async fn ask(addr: SocketAddr, path: &str) -> Result<Client, support::Response> {
    let mut client = Client::new(addr).await;
    let response = client.request(&upgrade(addr, path, "")).await;
    if response.status == 101 { Ok(client) } else { Err(response) }
}

/// A 503 before any upgrade, that says when to retry and why.
async fn is_full(addr: SocketAddr, path: &str, why: &str) {
    let Err(response) = ask(addr, path).await else { panic!("{path} has a place") };
    assert_eq!(response.status, 503);
    assert!(response.head.to_ascii_lowercase().contains("retry-after: "), "{}", response.head);
    assert!(response.body.contains(why), "{}", response.body);
}

/// Connects once there is a place: a server learns of a client's end a moment after it.
async fn eventually(addr: SocketAddr, path: &str) -> Client {
    soon(async {
        loop {
            match ask(addr, path).await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    })
    .await
}

/// A8: a route's limit, the server's, and a user's: one more gets 503 before the upgrade, a close frees the place.
#[tokio::test]
async fn connections_are_counted() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let route = Route::ws("/two").target(&target).limits(limits(|limits| limits.max_connections = Some(2)));
    let users = Route::ws("/user/:name").target(&target).decide(async |upgrade: Upgrade| {
        let name = upgrade.params.value("name").ok_or(Response::new(400, ""))?;
        Ok(Relay::new().user(name))
    });
    let all = limits(|limits| {
        limits.max_connections = Some(4);
        limits.max_per_user = Some(1);
    });
    let addr = listen(Server::new(&hub).route(route).route(users).limits(all)).await;

    let mut two = [eventually(addr, "/two").await, eventually(addr, "/two").await];
    is_full(addr, "/two", "too many connections\n").await;
    let ann = eventually(addr, "/user/ann").await;
    is_full(addr, "/user/ann", "of this user").await;
    let _bob = eventually(addr, "/user/bob").await;
    is_full(addr, "/user/eve", "too many connections\n").await;
    // A clean end, and one without a word.
    two[0].close(1000).await;
    two[0] = eventually(addr, "/two").await;
    drop(ann);
    let _eve = eventually(addr, "/user/eve").await;
    is_full(addr, "/user/ann", "too many connections\n").await;
    let [first, second] = two;
    drop((first, second));
    let _ann = eventually(addr, "/user/ann").await;
}

/// A8: connections from one address are counted together, whichever address family its socket reports.
#[tokio::test]
async fn addresses_are_counted() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let two = limits(|limits| limits.max_per_ip = Some(2));
    let server = Server::new(&hub).route(Route::ws("/ws").target(target).limits(two));
    let local = "192.0.2.9:80".parse().unwrap();
    let ask = async |remote: &str| {
        let request = http::Request::get("/ws")
            .header("Host", "x")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13");
        let remote = format!("{remote}:1").parse().unwrap();
        server.upgrade(request.body(()).unwrap(), remote, local).await.status().as_u16()
    };
    // One family after the other, all on the two places of each address; none of them upgrades, so the places are free at
    // once.
    let table = [
        (["192.0.2.1", "[::ffff:192.0.2.1]", "192.0.2.1", "192.0.2.2"], [101, 101, 503, 101]),
        (["[2001:db8::1]", "[2001:db8::2]", "[2001:db8::3]", "[2001:db8:0:1::1]"], [101, 101, 503, 101]),
    ];
    for (addresses, expected) in table {
        let mut statuses = Vec::new();
        for address in addresses {
            statuses.push(ask(address).await);
        }
        assert_eq!(statuses, expected, "{addresses:?}");
        until("nothing came of them", || hub.connection_count() == 0).await;
    }
}

/// A8: an attempt that fails gives its place back: one refused, one whose decision panics or takes too long, one whose
/// actor is gone, one whose answer may not be sent, one whose client goes away while it waits.
#[tokio::test]
async fn failed_attempts_free_their_places() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let one = limits(|limits| {
        limits.max_connections = Some(1);
        limits.max_per_ip = Some(1);
        limits.max_per_user = Some(1);
    });
    let route = Route::ws("/ws/:what").target(target).limits(one).decide(async |upgrade: Upgrade| {
        let ann = Relay::new().user("ann");
        match upgrade.params.value("what").unwrap_or_default() {
            "no" => Err(Response::new(403, "")),
            "panic" => panic!("as the client asked"),
            "stall" => pending().await,
            "nobody" => Ok(Relay::to("nobody").user("ann")),
            "protocol" => Ok(ann.subprotocol("v9")),
            _ => Ok(ann),
        }
    });
    let mut settings = Settings::new();
    settings.decision_timeout = Duration::from_millis(50);
    let addr = listen(Server::new(&hub).settings(settings.clone()).route(route).limits(one)).await;
    for (path, status) in
        [("no", 403), ("panic", 500), ("stall", 503), ("nobody", 503), ("protocol", 500), ("fine", 101)]
    {
        let result = ask(addr, &format!("/ws/{path}")).await;
        assert_eq!(result.as_ref().map_or_else(|response| response.status, |_| 101), status, "{path}");
        drop(result);
        drop(eventually(addr, "/ws/fine").await);
        gone(&hub).await;
    }
}

/// A8: the place of a client that leaves during the decision is free at once, not when the decision is made.
#[tokio::test]
async fn a_vanished_client_frees_its_place() {
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let decisions = Arc::new(tokio::sync::Semaphore::new(0));
    let begun = Arc::clone(&decisions);
    let one = limits(|limits| limits.max_connections = Some(1));
    let route = Route::ws("/ws").target(target).limits(one).decide(move |upgrade: Upgrade| {
        let begun = Arc::clone(&begun);
        async move {
            if &*upgrade.query == "stall" {
                begun.add_permits(1);
                pending::<()>().await;
            }
            Relay::new()
        }
    });
    let mut settings = Settings::new();
    settings.decision_timeout = Duration::from_secs(3_600);
    let addr = listen(Server::new(&hub).settings(settings).route(route)).await;
    for _ in 0..3 {
        let mut client = Client::new(addr).await;
        client.write(upgrade(addr, "/ws?stall", "").as_bytes()).await;
        soon(decisions.acquire()).await.unwrap().forget();
        is_full(addr, "/ws", "too many connections\n").await;
        drop(client);
        drop(eventually(addr, "/ws").await);
        gone(&hub).await;
    }
}

/// A socket from its own address; all of these addresses are this machine.
async fn from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ip, 0).into()).unwrap();
    soon(socket.connect(to)).await.unwrap()
}

/// A8: clients connect and are killed at any moment, in their request, during the decision, while open: the
/// limits hold, and in the end every place is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_place_is_lost() {
    const IPS: u8 = 3;
    let hub = Hub::new();
    let (target, _log) = witness(&hub, "witness", true);
    let of_route = limits(|limits| limits.max_connections = Some(6));
    let of_server = limits(|limits| {
        limits.max_connections = Some(7);
        limits.max_per_ip = Some(3);
        limits.max_per_user = Some(2);
    });
    let route = |path: &str| {
        Route::ws(path).target(&target).limits(of_route).decide(async |upgrade: Upgrade| {
            let n: u64 = upgrade.query.parse().unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(n % 4)).await;
            assert_ne!(n % 13, 12, "this decision panics");
            if n % 11 == 10 {
                Err(Response::new(403, ""))
            } else {
                Ok(Relay::new().user((n % 5).to_string()))
            }
        })
    };
    let addr = listen(Server::new(&hub).route(route("/a")).route(route("/b")).limits(of_server)).await;
    let mut tasks = JoinSet::new();
    for worker in 0..24_u64 {
        tasks.spawn(async move {
            let mut random = worker + 1;
            let mut next = move || {
                // An LCG: which moment does not matter, as long as many do.
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                random >> 33
            };
            let mut open = 0;
            for _ in 0..60 {
                let ip = Ipv4Addr::new(127, 0, 0, 1 + (next() % u64::from(IPS)) as u8);
                let path = format!("/{}?{}", if next() % 2 == 0 { "a" } else { "b" }, next() % 1_000);
                let head = upgrade(addr, &path, "");
                let mut client = Client::of(from(ip, addr).await);
                match next() % 6 {
                    0 => client.write(&head.as_bytes()[..next() as usize % head.len()]).await,
                    1 => {
                        client.write(head.as_bytes()).await;
                        tokio::time::sleep(Duration::from_millis(next() % 5)).await;
                    }
                    kind => {
                        let status = client.request(&head).await.status;
                        assert!([101, 403, 500, 503].contains(&status), "{status}");
                        if status == 101 {
                            open += 1;
                            client.text("hello").await;
                            tokio::time::sleep(Duration::from_millis(next() % 3)).await;
                            if kind == 2 {
                                client.close(1000).await;
                            }
                        }
                    }
                }
                drop(client);
            }
            open
        });
    }
    let watched = {
        let hub = hub.clone();
        tokio::spawn(async move {
            loop {
                assert!(hub.connection_count() <= 7);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    let opened: u32 =
        tokio::time::timeout(Duration::from_secs(240), tasks.join_all()).await.unwrap().iter().sum();
    assert!(opened > 20, "{opened}");
    assert!(!watched.is_finished());
    watched.abort();

    // Every place is free: as many as the limits allow are accepted, of each kind. Of those that were killed the server may
    // read a request only now, and have a place for it for a moment.
    let come = async |who: &[(u8, &str, u64)], expected: &[u16]| {
        let start = Instant::now();
        loop {
            let (mut clients, mut statuses) = (Vec::new(), Vec::new());
            for (ip, path, user) in who {
                let mut client = Client::of(from(Ipv4Addr::new(127, 0, 0, *ip), addr).await);
                let head = upgrade(addr, &format!("{path}?{user}"), "");
                statuses.push(client.request(&head).await.status);
                clients.push(client);
            }
            drop(clients);
            gone(&hub).await;
            if statuses == expected {
                return;
            }
            assert!(start.elapsed() < LONG, "{statuses:?} of {who:?}");
        }
    };
    for user in 0..5 {
        come(&[(1, "/a", user), (2, "/a", user), (3, "/a", user)], &[101, 101, 503]).await;
    }
    for ip in 1..=IPS {
        let who: Vec<_> = (0..4).map(|user| (ip, "/b", user)).collect();
        come(&who, &[101, 101, 101, 503]).await;
    }
    for [path, other] in [["/a", "/b"], ["/b", "/a"]] {
        let paths = [path, path, path, path, path, path, path, other, other];
        let who = paths.into_iter().enumerate().map(|(n, path)| (1 + n as u8 % IPS, path, n as u64 % 5));
        let who: Vec<_> = who.collect();
        come(&who, &[101, 101, 101, 101, 101, 101, 503, 101, 503]).await;
    }
}

/// A8: the user of a connection may be named later; their places are counted from then on.
#[tokio::test]
async fn users_named_later() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let one = limits(|limits| limits.max_per_user = Some(1));
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target)).limits(one)).await;
    let open = async |log: &mut Log| {
        let client = eventually(addr, "/ws").await;
        (client, log.connect().await.id)
    };
    let (first, ann) = open(&mut log).await;
    let (_second, other) = open(&mut log).await;
    assert_eq!(hub.authenticate(ann, Some("ann")), Ok(()));
    assert_eq!(hub.authenticate(ann, Some("ann")), Ok(()));
    assert_eq!(hub.inspect(ann).unwrap().user.as_deref(), Some("ann"));
    assert_eq!(hub.authenticate(other, Some("ann")), Err(AuthenticateError::TooMany));
    assert_eq!((hub.authenticate(other, None), hub.inspect(other).unwrap().user), (Ok(()), None));
    // To be another is to leave a place.
    assert_eq!(hub.authenticate(ann, Some("bob")), Ok(()));
    assert_eq!(hub.authenticate(other, Some("ann")), Ok(()));
    drop(first);
    log.disconnect().await;
    assert_eq!(hub.authenticate(ann, Some("ann")), Err(AuthenticateError::NotFound));
    assert_eq!(hub.authenticate(other, Some("bob")), Ok(()));
}

/// A9: a message over the route's limit, or over the server's where the route sets none, closes with 1009 at the frame
/// head that says so.
#[tokio::test]
async fn message_sizes() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let own = Route::ws("/own").target(&target).limits(limits(|limits| limits.max_message = Some(10)));
    let large =
        Route::ws("/large").target(&target).limits(limits(|limits| limits.max_message = Some(4 << 20)));
    let all = limits(|limits| limits.max_message = Some(100));
    let server =
        Server::new(&hub).route(own).route(large).route(Route::ws("/ws").target(&target)).limits(all);
    let addr = listen(server).await;
    for (path, most) in [("/own", 10), ("/ws", 100), ("/large", 4 << 20)] {
        let mut client = Client::open(addr, path).await;
        client.send(Opcode::Binary, &vec![7; most]).await;
        assert_eq!(client.message().await.1.len(), most);
        // No more than the head: memory is not asked for what is only announced.
        let head = support::frame(true, Opcode::Binary, &vec![7; most + 1]);
        client.write(&head[..14.min(head.len())]).await;
        assert_eq!(client.close_frame().await.0, 1009);
        assert_eq!(log.disconnect().await.1, Reason::Protocol(Violation::FrameTooBig));

        let mut client = Client::open(addr, path).await;
        client.write(&support::frame(false, Opcode::Text, &vec![b'a'; most])).await;
        client.write(&support::frame(true, Opcode::Continuation, b"b")).await;
        assert_eq!(client.close_frame().await.0, 1009);
        assert_eq!(log.disconnect().await.1, Reason::Protocol(Violation::MessageTooBig));
    }
}

/// A8: the rooms of a connection are limited by its route.
#[tokio::test]
async fn rooms_of_a_connection() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let route = Route::ws("/ws").target(target).limits(limits(|limits| limits.max_rooms = Some(2)));
    let addr = listen(Server::new(&hub).route(route)).await;
    let _client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    let join = |name| hub.room(name).join(id);
    assert_eq!([join("a"), join("b"), join("a")], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(join("c"), Err(JoinError::TooManyRooms));
    assert!(hub.room("a").leave(id));
    assert_eq!((join("c"), join("a")), (Ok(()), Err(JoinError::TooManyRooms)));
}
