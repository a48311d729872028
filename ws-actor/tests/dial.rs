//! Connections that are dialled, over real sockets: the same events and sends as for accepted ones, immediate errors,
//! options.

mod support;

use std::time::Duration;

use support::{Client, LONG, Log, Seen, listen, serve, soon, until, witness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use ws_actor::{
    AttachError, CloseFrame, ConnectError, DialError, DialOptions, DialState, Hub, Message, Meta, Outgoing,
    Reason, Relay, Response, Role, Route, Server, Upgrade,
};

fn failure(error: DialError) -> ConnectError {
    match error {
        DialError::Failed(error) => error,
        other => panic!("{other}"),
    }
}

async fn message(log: &mut Log) -> Message {
    match log.next().await {
        Seen::Message(_, message) => message,
        other => panic!("{other:?}"),
    }
}

/// K1: a dial that fails is an error at once, and each kind of failure can be told from the others.
#[tokio::test]
async fn failures_are_told_apart() {
    let hub = Hub::new();
    let within = |time: Duration, url: String| {
        let mut options = DialOptions::new();
        options.protocol.timeouts.handshake = time;
        let hub = hub.clone();
        async move { failure(soon(hub.dial(&url, options)).await.expect_err("nobody answers right")) }
    };
    let dial = |url| within(2 * LONG, url);
    // Refused: no one listens on a reserved port.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = dial(format!("ws://{}/", closed.local_addr().unwrap())).await;
    assert!(
        matches!(error, ConnectError::Connect(ref error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    );
    // Timeout: the system accepts the connection, no one answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let error = within(Duration::from_millis(300), url).await;
    assert!(matches!(error, ConnectError::Timeout), "{error}");
    // A bad status, with its fields and its body.
    let route = Route::ws("/ws").decide(|_: Upgrade| async {
        Response::new(401, "who are you?").header("WWW-Authenticate", "Bearer")
    });
    let addr = listen(Server::new(&hub).route(route)).await;
    match dial(format!("ws://{addr}/ws")).await {
        ConnectError::Status(response) => {
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert_eq!(&**response.body(), b"who are you?");
        }
        error => panic!("{error}"),
    }
    match dial(format!("ws://{addr}/nowhere")).await {
        ConnectError::Status(response) => assert_eq!(response.status(), 404),
        error => panic!("{error}"),
    }
    // An invalid address, and one that is not a WebSocket server.
    assert!(matches!(dial("http://example.com/".into()).await, ConnectError::Uri(_)));
    let liar = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = liar.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut io, _) = liar.accept().await.unwrap();
        let _ = io.read(&mut [0; 4096]).await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
        let _ = io.write_all(head.as_bytes()).await;
    });
    assert!(matches!(dial(format!("ws://{addr}/")).await, ConnectError::Handshake(_)));
    assert_eq!(hub.connection_count(), 0);
}

/// K1: nothing is dialled for an actor that does not run.
#[tokio::test]
async fn no_target() {
    let (hub, mut log, addr) = serve(false).await;
    let error =
        hub.dial(&format!("ws://{addr}/ws"), DialOptions::to("nobody")).await.expect_err("nobody runs");
    assert!(matches!(error, DialError::NoTarget));
    assert!(log.rest().is_empty());
}

/// K1: dialled first, attached afterwards; what the server sends meanwhile is not lost. Dropped or stopped unattached, it is
/// closed cleanly.
#[tokio::test]
async fn dial_first_attach_after() {
    let (hub, mut log, addr) = serve(false).await;
    let client_hub = Hub::new();
    let (target, mut client_log) = witness(&client_hub, "client", false);
    let url = format!("ws://{addr}/ws");

    let mut options = DialOptions::new();
    options.relay = Relay::new().topic("early").meta(Meta::new().set("n", 1));
    let mut dialled = client_hub.dial(&url, options).await.unwrap();
    let id = log.connect().await.id;
    assert_eq!((dialled.status().state, dialled.id()), (DialState::Held, None));
    assert_eq!(hub.send(id, "before"), Ok(()));
    assert_eq!(dialled.attach("nobody"), Err(AttachError::NoTarget));
    let own = dialled.attach(Relay::to(&target).meta(Meta::new().set("n", 2))).unwrap();
    assert_eq!((dialled.status().state, dialled.id()), (DialState::Open(own), Some(own)));
    assert_eq!(dialled.attach(&target), Err(AttachError::Taken));
    let connect = client_log.connect().await;
    assert_eq!((connect.id, &*connect.topic, connect.meta), (own, "early", Meta::new().set("n", 2)));
    assert_eq!(message(&mut client_log).await, Message::text("before"));
    // Dropping the handle does not end it.
    drop(dialled);
    assert_eq!(client_hub.send(own, "after"), Ok(()));
    assert_eq!(message(&mut log).await, Message::text("after"));

    for stop in [false, true] {
        let mut dialled = client_hub.dial(&url, DialOptions::new()).await.unwrap();
        log.connect().await;
        if stop {
            dialled.stop();
            assert_eq!(dialled.attach(&target), Err(AttachError::Taken));
            assert_eq!(dialled.stopped().await.state, DialState::Stopped);
        }
        drop(dialled);
        assert_eq!(log.disconnect().await.1, Reason::Peer(Some(CloseFrame::new(1000, ""))));
    }
    assert_eq!(client_hub.connection_count(), 1);
}

/// K2, B1: one actor serves both kinds, and can tell them apart; events, sends, closes are the same either way.
#[tokio::test]
async fn one_actor_serves_both_kinds() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "both", true);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&target))).await;
    let (far, mut far_log, far_addr) = serve(false).await;

    let mut client = Client::open(addr, "/ws").await;
    let came = log.connect().await;
    let dialled = hub.dial(&format!("ws://{far_addr}/ws?name=ann"), DialOptions::to(&target)).await.unwrap();
    let went = log.connect().await;
    let far_connect = far_log.connect().await;
    assert_eq!((came.role, went.role, far_connect.role), (Role::Server, Role::Client, Role::Server));
    assert_eq!((&*went.path, &*went.query), ("/ws", "name=ann"));
    assert_eq!((went.remote_addr, went.local_addr), (far_addr, far_connect.remote_addr));
    assert_eq!(dialled.id(), Some(went.id));
    assert_eq!(hub.connection_count(), 2);
    assert_eq!(hub.inspect(went.id).map(|info| info.role), Some(Role::Client));

    // The actor echoes to either.
    client.text("from a client").await;
    assert_eq!(client.read_text().await, "from a client");
    let lengths = [0, 1, 125, 126, 65_535, 65_536, 300_000, 1 << 20];
    for len in lengths {
        let bytes: Vec<u8> = (0..len).map(|n| (n * 31 % 251) as u8).collect();
        assert_eq!(far.send(far_connect.id, bytes.clone()), Ok(()));
        assert!(message(&mut far_log).await == Message::binary(bytes), "{len}");
    }
    // One payload for both sides: masked for one of them, and not for the other.
    let payload = bytes::Bytes::from(vec![7; 100_000]);
    assert_eq!(hub.broadcast(Outgoing::from(payload.clone())).delivered, 2);
    assert_eq!(client.message().await.1, payload);
    assert_eq!(message(&mut far_log).await, Message::binary(payload));

    assert_eq!(hub.close(went.id, CloseFrame::new(4001, "enough")), Ok(()));
    assert_eq!(
        far_log.disconnect().await,
        (far_connect.id, Reason::Peer(Some(CloseFrame::new(4001, "enough"))))
    );
    let (id, reason) = log.disconnect().await;
    assert_eq!((id, reason), (went.id, Reason::Local(Some(CloseFrame::new(4001, "enough")))));
    assert_eq!(hub.connections(), [came.id]);
}

/// K3: header fields and subprotocols are sent; the chosen subprotocol is reported; and limits are enforced.
#[tokio::test]
async fn options() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "server", false);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let route = Route::ws("/ws").target(target).decide(move |upgrade: Upgrade| {
        let _ = tell.send((upgrade.header("authorization").map(str::to_owned), upgrade.protocols.clone()));
        async move {
            match upgrade.protocols.get(1) {
                Some(second) => Relay::new().subprotocol(second),
                None => Relay::new(),
            }
        }
    });
    let url = format!("ws://{}/ws", listen(Server::new(&hub).route(route)).await);
    let client_hub = Hub::new();
    let (client, mut client_log) = witness(&client_hub, "client", false);

    let mut options = DialOptions::to(&client);
    options.subprotocols = vec!["b".into(), "a".into()];
    options.headers.insert("authorization", http::HeaderValue::from_static("Bearer 1"));
    options.limits.max_message = Some(1000);
    options.control_frames = true;
    let dialled = client_hub.dial(&url, options.clone()).await.unwrap();
    assert_eq!(told.recv().await, Some((Some("Bearer 1".into()), vec!["b".into(), "a".into()])));
    assert_eq!(dialled.response().headers()["sec-websocket-protocol"], "a");
    assert_eq!(client_log.connect().await.subprotocol.as_deref(), Some("a"));
    let id = log.connect().await.id;
    // The read limit.
    assert_eq!(hub.send(id, vec![0; 1000]), Ok(()));
    assert_eq!(message(&mut client_log).await, Message::binary(vec![0; 1000]));
    assert_eq!(hub.send(id, Message::Ping("seen".into())), Ok(()));
    assert_eq!(message(&mut client_log).await, Message::Ping("seen".into()));
    assert_eq!(hub.send(id, vec![0; 1001]), Ok(()));
    assert_eq!(client_log.disconnect().await.1.code().0, 1009);
    assert_eq!(log.disconnect().await.1.code().0, 1009);

    // A subprotocol that has to be, and is not.
    options.subprotocols.truncate(1);
    options.require_subprotocol = true;
    let error = failure(client_hub.dial(&url, options).await.expect_err("none was chosen"));
    assert!(matches!(error, ConnectError::Handshake(_)), "{error}");
    // Fields that are the handshake's own.
    let mut options = DialOptions::to(&client);
    options.headers.insert("sec-websocket-key", http::HeaderValue::from_static("mine"));
    let error = failure(client_hub.dial(&url, options).await.expect_err("it is not ours to set"));
    assert!(matches!(error, ConnectError::Request(_)), "{error}");
}

/// K3, B13: a dialled connection's outbox is bounded, and a server that takes nothing is dropped by the write timeout.
#[tokio::test]
async fn write_timeout_and_outbox() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let server = tokio::spawn(async move {
        // It shakes hands, and never reads again.
        let (io, _) = silent.accept().await.unwrap();
        ws_tokio::accept(io).await.unwrap().into_inner()
    });
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "client", false);
    let mut options = DialOptions::to(&target);
    options.write_timeout = Duration::from_millis(300);
    options.outbox.max_messages = 4;
    options.outbox.max_bytes = 256 << 20;
    let dialled = hub.dial(&format!("ws://{addr}/"), options).await.unwrap();
    let _io = server.await.unwrap();
    let id = dialled.id().unwrap();
    for _ in 0..4 {
        assert_eq!(hub.send(id, vec![0; 32 << 20]), Ok(()));
    }
    assert_eq!(hub.inspect(id).map(|info| info.queued), Some(4));
    assert_eq!(log.disconnect().await, (id, Reason::SlowConsumer));
}

/// K1, K4: a dialled connection can be stopped, and reports it; without reconnection, a loss is the end.
#[tokio::test]
async fn stop_and_loss() {
    let (hub, mut log, addr) = serve(false).await;
    let client_hub = Hub::new();
    let (target, mut client_log) = witness(&client_hub, "client", false);
    let url = format!("ws://{addr}/ws");

    let mut dialled = client_hub.dial(&url, DialOptions::to(&target)).await.unwrap();
    let id = dialled.id().unwrap();
    assert_eq!(client_hub.send(id, "first"), Ok(()));
    dialled.stop();
    let status = soon(dialled.stopped()).await;
    let end = CloseFrame::new(1000, "");
    assert_eq!((status.state, status.lost), (DialState::Stopped, Some(Reason::Local(Some(end.clone())))));
    log.connect().await;
    assert_eq!(message(&mut log).await, Message::text("first"));
    assert_eq!(log.disconnect().await.1, Reason::Peer(Some(end)));

    let mut dialled = client_hub.dial(&url, DialOptions::to(&target)).await.unwrap();
    let theirs = log.connect().await.id;
    assert_eq!(hub.close(theirs, CloseFrame::new(1012, "restart")), Ok(()));
    let status = soon(dialled.stopped()).await;
    assert_eq!(status.lost, Some(Reason::Peer(Some(CloseFrame::new(1012, "restart")))));
    assert_eq!((status.attempts, status.error.is_none(), dialled.id()), (1, true, None));
    client_log.disconnect().await;
    until("all are gone", || client_hub.connection_count() == 0).await;
}
