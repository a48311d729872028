//! Connections over real sockets: events, sends, closes, and that no connection harms another.

mod support;

use std::time::{Duration, Instant};

use support::{Client, Seen, frame, listen, serve, soon, until, witness};
use tokio::sync::mpsc;
use ws_actor::{
    CloseFrame, ConnId, Connect, Context, Disconnect, Hub, Inbound, Message, OutboxLimits, Outgoing,
    Overflow, Reason, Route, SendError, Sent, Server, Settings, Target, WsActor,
};
use ws_core::frame::Opcode;

/// B1: Connect has the id, both addresses, the path and the query.
#[tokio::test]
async fn connect_tells_who() {
    let (hub, mut log, addr) = serve(false).await;
    let client = Client::open(addr, "/ws?room=a%20b&x").await;
    let connect = log.connect().await;
    assert_eq!(connect.remote_addr, client.io.local_addr().unwrap());
    assert_eq!(connect.local_addr, addr);
    assert_eq!((&*connect.path, &*connect.query), ("/ws", "room=a%20b&x"));
    assert_eq!(hub.connections(), [connect.id]);
}

/// B2: every message reaches the actor with its sender, kind and bytes, and goes back byte for byte.
#[tokio::test]
async fn echo_is_exact() {
    let (_hub, mut log, addr) = serve(true).await;
    let mut client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000, 1 << 20];
    for len in lengths {
        let bytes: Vec<u8> = (0..len).map(|n| (n * 31 % 251) as u8).collect();
        let text = "aé€😀\0".repeat(len / 11);
        for (opcode, payload) in [(Opcode::Binary, &*bytes), (Opcode::Text, text.as_bytes())] {
            // Read while writing: the answer may be longer than the buffers of two sockets.
            client.send(opcode, payload).await;
            let (kind, echo) = client.message().await;
            assert_eq!(kind, opcode);
            assert!(echo == payload, "{len}");
            match (opcode, log.next().await) {
                (Opcode::Binary, Seen::Message(from, Message::Binary(seen))) => {
                    assert!(from == id && seen == *payload);
                }
                (Opcode::Text, Seen::Message(from, Message::Text(seen))) => {
                    assert!(from == id && seen.as_bytes() == payload);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // Fragments, with a ping between them, a byte at a time.
    let mut bytes = frame(false, Opcode::Text, "caf\u{e9}".as_bytes().split_at(4).0);
    bytes.extend(frame(true, Opcode::Ping, b"?"));
    bytes.extend(frame(true, Opcode::Continuation, "\u{e9}!".as_bytes().split_at(1).1));
    for byte in bytes {
        client.write(&[byte]).await;
    }
    assert_eq!(client.message().await, (Opcode::Pong, b"?".to_vec()));
    assert_eq!(client.read_text().await, "café!");
}

/// B5: ten tasks and a timer send to one connection while it floods its actor; nothing is lost or out of order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_from_everywhere_during_a_flood() {
    const EACH: u32 = 200;
    const FLOOD: u32 = 20_000;
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let limits = OutboxLimits::new();
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target).outbox(limits))).await;
    let client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    let (mut read, mut write) = (Vec::new(), Vec::new());
    for n in 0..FLOOD {
        write.extend(frame(true, Opcode::Binary, &n.to_be_bytes()));
    }
    for task in 0..11 {
        let hub = hub.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                match task {
                    10 => {
                        tokio::time::sleep(Duration::from_micros(100)).await;
                        hub.send(id, format!("{task} {n}")).expect("room for a timer's message");
                    }
                    _ => hub.send_acked(id, format!("{task} {n}")).await.expect("it is open"),
                }
            }
        });
    }
    let Client { io, .. } = client;
    let (mut from, mut to) = io.into_split();
    let flood = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut to, &write).await.unwrap();
        to
    });
    let mut next = [0; 11];
    let mut seen = 0;
    while next != [EACH; 11] {
        soon(tokio::io::AsyncReadExt::read_buf(&mut from, &mut read)).await.unwrap();
        while let Ok(Some((header, at))) = ws_core::frame::Header::decode(&read) {
            let end = at + header.len as usize;
            if read.len() < end {
                break;
            }
            let text = String::from_utf8(read[at..end].to_vec()).unwrap();
            read.drain(..end);
            let (task, n) = text.split_once(' ').unwrap();
            let task: usize = task.parse().unwrap();
            assert_eq!(n.parse(), Ok(next[task]));
            next[task] += 1;
        }
    }
    while seen < FLOOD {
        match log.next().await {
            Seen::Message(_, Message::Binary(bytes)) => {
                assert_eq!(*bytes, seen.to_be_bytes());
                seen += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(soon(flood).await);
}

/// B8: closed from anywhere, with code and reason, after what was sent before; also by a message to it.
#[tokio::test]
async fn close_from_anywhere() {
    let (hub, mut log, addr) = serve(false).await;
    for by_message in [false, true] {
        let mut client = Client::open(addr, "/ws").await;
        let id = log.connect().await.id;
        let frame = CloseFrame::new(4001, "enough");
        assert_eq!(hub.send(id, "last words"), Ok(()));
        if by_message {
            assert_eq!(hub.send(id, Message::Close(Some(frame.clone()))), Ok(()));
        } else {
            assert_eq!(hub.close(id, frame.clone()), Ok(()));
        }
        assert_eq!(hub.send(id, "too late"), Err(SendError::Closed));
        assert_eq!(client.read_text().await, "last words");
        assert_eq!(client.close_frame().await, (4001, "enough".into()));
        client.close(4001).await;
        assert!(client.is_at_end().await);
        assert_eq!(log.disconnect().await, (id, Reason::Local(Some(frame))));
        assert_eq!(hub.send(id, "?"), Err(SendError::NotFound));
    }
}

/// B8: a peer that does not answer the close is dropped when the close timeout is over, whether it reads or not.
#[tokio::test]
async fn close_is_bounded() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let mut settings = Settings::new();
    settings.protocol.timeouts.close = Duration::from_millis(300);
    settings.write_timeout = Duration::from_millis(300);
    let mut limits = OutboxLimits::new();
    limits.max_bytes = 64 << 20;
    let route = Route::ws("/ws").target(target).outbox(limits);
    let addr = listen(Server::new(&hub).settings(settings).route(route)).await;
    for payload in [0, 32 << 20] {
        let client = Client::open(addr, "/ws").await;
        let id = log.connect().await.id;
        assert_eq!(hub.send(id, vec![0; payload]), Ok(()));
        let start = Instant::now();
        let frame = CloseFrame::new(1000, "");
        assert_eq!(hub.close(id, frame.clone()), Ok(()));
        assert_eq!(log.disconnect().await, (id, Reason::Local(Some(frame))));
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
        drop(client);
    }
}

/// B3: each way of ending is reported as itself.
#[tokio::test]
async fn reasons() {
    let (hub, mut log, addr) = serve(false).await;
    let mut client = Client::open(addr, "/ws").await;
    client.send(Opcode::Close, b"\x03\xE9leaving").await;
    assert_eq!(client.close_frame().await, (1001, String::new()));
    assert!(client.is_at_end().await);
    let (_, reason) = log.disconnect().await;
    assert_eq!(reason, Reason::Peer(Some(CloseFrame::new(1001, "leaving"))));
    assert_eq!(reason.code().0, 1001);

    let mut client = Client::open(addr, "/ws").await;
    client.send(Opcode::Close, b"").await;
    assert_eq!(client.close_frame().await.0, 1005);
    assert_eq!(log.disconnect().await.1.code().0, 1005);

    let client = Client::open(addr, "/ws").await;
    drop(client);
    let (_, reason) = log.disconnect().await;
    assert_eq!((reason.code().0, reason), (1006, Reason::Io(std::io::ErrorKind::UnexpectedEof)));

    let mut client = Client::open(addr, "/ws").await;
    client.send(Opcode::Text, b"\xFF").await;
    assert_eq!(client.close_frame().await.0, 1007);
    assert_eq!(log.disconnect().await.1, Reason::Protocol(ws_core::Violation::InvalidUtf8));

    let mut client = Client::open(addr, "/ws").await;
    client.write(b"\x82\xFF\0\0\0\0\0\x20\0\0\0\0\0\0").await;
    assert_eq!(client.close_frame().await.0, 1009);
    assert_eq!(log.disconnect().await.1.code().0, 1009);
    until("all are gone", || hub.connection_count() == 0).await;
}

/// B10: sends to a connection that is gone or never existed are errors.
#[tokio::test]
async fn dead_ids() {
    let (hub, mut log, addr) = serve(false).await;
    let client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    drop(client);
    log.disconnect().await;
    assert_eq!(hub.send(id, "x"), Err(SendError::NotFound));
    assert_eq!(hub.send_acked(id, "x").await, Err(SendError::NotFound));
    assert_eq!(hub.close(id, CloseFrame::new(1000, "")), Err(SendError::NotFound));
    let elsewhere: ws_actor::ConnId = "0000000000000001-1".parse().unwrap();
    assert_eq!(hub.send(elsewhere, "x"), Err(SendError::NotFound));
    assert!(hub.inspect(id).is_none());
}

/// B11: a broadcast counts the clients that it reached; a client that reads nothing delays no other, and is dropped at the
/// end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_client_delays_nobody() {
    let (hub, mut log, addr) = serve(false).await;
    let stuck = Client::open(addr, "/ws").await;
    let stuck_id = log.connect().await.id;
    let mut healthy = Vec::new();
    for _ in 0..5 {
        healthy.push(Client::open(addr, "/ws").await);
        log.connect().await;
    }
    let payload = vec![7; 100_000];
    let mut dropped = 0;
    // 200 × 100 kB is more than the buffers of a socket and an outbox hold.
    for _ in 0..200 {
        let start = Instant::now();
        let Sent { delivered, dropped: missed } = hub.broadcast(payload.clone());
        assert!(start.elapsed() < support::LONG);
        assert!(delivered >= 5);
        dropped += missed;
        for client in &mut healthy {
            assert_eq!(client.message().await.1.len(), payload.len());
        }
    }
    assert!(dropped > 0);
    drop(stuck);
    assert_eq!(log.disconnect().await, (stuck_id, Reason::SlowConsumer));
    assert_eq!(hub.broadcast("end"), Sent { delivered: 5, dropped: 0 });
}

/// Answers each message with four of this length.
struct Talkative(usize);

impl WsActor for Talkative {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        for _ in 0..4 {
            let _ = cx.send(inbound.id, vec![7; self.0]);
        }
    }
}

/// B5: a client that asks for much at once and reads every answer does not count as slow, though its actor has more
/// answers than the outbox holds, in messages or in bytes, before the connection's task has run.
#[tokio::test]
async fn a_burst_is_not_slowness() {
    for (len, questions) in [(1, 1_000), (3_000, 100)] {
        let hub = Hub::new();
        let target = hub.spawn("talkative", move || Talkative(len)).unwrap();
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
        let mut client = Client::open(addr, "/ws").await;
        client.write(&frame(true, Opcode::Text, b"?").repeat(questions)).await;
        for n in 0..4 * questions {
            assert_eq!(client.message().await, (Opcode::Binary, vec![7; len]), "answer {n}");
        }
    }
}

/// A payload whose owner calls the Hub when it is dropped.
struct Owned(Hub, ConnId);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        b"owned"
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let Self(hub, id) = self;
        let _ = (hub.inspect(*id), hub.room("r").members(), hub.room("r").leave(*id));
        hub.broadcast("one went");
    }
}

/// B11, B13: no lock is held while a payload is dropped, whatever drops it: each overflow policy, a close, an end.
#[test]
fn payloads_have_owners() {
    let play = async {
        for overflow in [Overflow::Close, Overflow::DropNew, Overflow::DropOld, Overflow::Conflate] {
            for way in 0..3 {
                let hub = Hub::new();
                let (target, mut log) = witness(&hub, "witness", false);
                let mut limits = OutboxLimits::new();
                (limits.max_messages, limits.overflow) = (2, overflow);
                let route = Route::ws("/ws").target(target).outbox(limits);
                let addr = listen(Server::new(&hub).route(route)).await;
                let client = Client::open(addr, "/ws").await;
                let id = log.connect().await.id;
                assert_eq!(hub.room("r").join(id), Ok(()));
                // Nothing is awaited, so nothing is written meanwhile.
                for _ in 0..5 {
                    let payload = bytes::Bytes::from_owner(Owned(hub.clone(), id));
                    let message = Outgoing::keyed("k", payload);
                    match way {
                        0 => drop(hub.send(id, message)),
                        1 => drop(hub.broadcast(message)),
                        _ => drop(hub.room("r").broadcast(message)),
                    }
                }
                drop(client);
                log.disconnect().await;
            }
        }
    };
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play);
        drop(runtime);
        done.send(()).unwrap();
    });
    assert_eq!(wait.recv_timeout(support::LONG), Ok(()), "something waits for itself");
}

/// B13: a socket that takes no byte for the write timeout is dropped, even if the outbox has room.
#[tokio::test]
async fn write_timeout() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", false);
    let mut settings = Settings::new();
    settings.write_timeout = Duration::from_millis(300);
    let mut limits = OutboxLimits::new();
    limits.max_bytes = 64 << 20;
    limits.overflow = Overflow::DropNew;
    let route = Route::ws("/ws").target(target).outbox(limits);
    let addr = listen(Server::new(&hub).settings(settings).route(route)).await;
    let _client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    assert_eq!(hub.send(id, vec![0; 32 << 20]), Ok(()));
    assert_eq!(log.disconnect().await, (id, Reason::SlowConsumer));
}

/// An actor that takes its messages one by one, when the test lets it.
struct Slow {
    go: mpsc::Receiver<()>,
    log: mpsc::UnboundedSender<Message>,
}

impl WsActor for Slow {
    type Cast = ();

    async fn message(&mut self, _: &mut Context<Self>, inbound: Inbound) {
        let _ = self.go.recv().await;
        let _ = self.log.send(inbound.message);
    }
}

fn slow(hub: &Hub) -> (Target, mpsc::Sender<()>, mpsc::UnboundedReceiver<Message>) {
    let (go, wait) = mpsc::channel(1);
    let (log, seen) = mpsc::unbounded_channel();
    let state = std::sync::Mutex::new(Some(Slow { go: wait, log }));
    let target = hub.spawn("slow", move || state.lock().unwrap().take().unwrap()).unwrap();
    (target, go, seen)
}

/// B5: a slow actor stops reading from its clients, with nothing lost, but not writing to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_actor_stops_the_reading_only() {
    const MESSAGES: usize = 600;
    const LEN: usize = 100_000;
    let hub = Hub::new();
    let (target, go, mut seen) = slow(&hub);
    let mut settings = Settings::new();
    settings.mailbox_timeout = Duration::from_secs(3_600);
    // Nobody reads while the buffers fill, which may take long.
    settings.protocol.timeouts.keepalive = None;
    let addr = listen(Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target))).await;
    let mut client = Client::open(addr, "/ws").await;
    let id = hub.connections()[0];
    let (from, mut to) = client.io.split();
    let mut from = tokio::io::BufReader::new(from);
    let mut written = 0;
    // 60 MB in all: more than the mailbox and the sockets' buffers take.
    let bytes: Vec<u8> = (0..MESSAGES)
        .flat_map(|n| {
            let mut payload = vec![0; LEN];
            payload[..8].copy_from_slice(&(n as u64).to_be_bytes());
            frame(true, Opcode::Binary, &payload)
        })
        .collect();
    loop {
        let write = tokio::io::AsyncWriteExt::write(&mut to, &bytes[written..]);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(n) => written += n.unwrap(),
            Err(_) => break,
        }
    }
    assert!(written < bytes.len() / 2, "{written} bytes were taken from a client whose actor stands still");
    assert_eq!(hub.send(id, "writing goes on"), Ok(()));
    let mut head = [0; 17];
    soon(tokio::io::AsyncReadExt::read_exact(&mut from, &mut head)).await.unwrap();
    assert_eq!(&head[2..], b"writing goes on");
    let run = async {
        for n in 0..MESSAGES as u64 {
            go.send(()).await.unwrap();
            match seen.recv().await.unwrap() {
                Message::Binary(payload) => assert_eq!(payload[..8], n.to_be_bytes()),
                other => panic!("{other:?}"),
            }
        }
    };
    let rest = tokio::io::AsyncWriteExt::write_all(&mut to, &bytes[written..]);
    let all = async { tokio::join!(rest, run) };
    let (written, ()) = tokio::time::timeout(5 * support::LONG, all).await.expect("all comes at last");
    written.unwrap();
}

/// An actor that takes nothing for the mailbox timeout costs its clients the connection, with 1013.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_actor_is_not_waited_for() {
    let hub = Hub::new();
    let (target, _go, _seen) = slow(&hub);
    let mut settings = Settings::new();
    settings.mailbox_timeout = Duration::from_millis(300);
    let addr = listen(Server::new(&hub).settings(settings).route(Route::ws("/ws").target(target))).await;
    let mut client = Client::open(addr, "/ws").await;
    client.write(&frame(true, Opcode::Text, b"x").repeat(3_000)).await;
    assert_eq!(client.close_frame().await.0, 1013);
    client.close(1013).await;
    assert!(client.is_at_end().await);
    until("it is gone", || hub.connection_count() == 0).await;
}

/// B3: a handler that panics costs only its own actor's connections, which are closed with 1011.
#[tokio::test]
async fn a_panic_is_contained() {
    let hub = Hub::new();
    let (bad, mut bad_log) = witness(&hub, "bad", true);
    let (good, mut good_log) = witness(&hub, "good", true);
    let server =
        Server::new(&hub).route(Route::ws("/bad").target(bad.clone())).route(Route::ws("/good").target(good));
    let addr = listen(server).await;
    let mut victims = [Client::open(addr, "/bad").await, Client::open(addr, "/bad").await];
    let mut other = Client::open(addr, "/good").await;
    let ids = [bad_log.connect().await.id, bad_log.connect().await.id];
    good_log.connect().await;
    assert_eq!(hub.room("r").join(ids[0]), Ok(()));
    victims[0].text("panic").await;
    for victim in &mut victims {
        assert_eq!(victim.close_frame().await.0, 1011);
        victim.close(1011).await;
        assert!(victim.is_at_end().await);
    }
    until("the victims are gone", || (hub.connection_count(), hub.room_count()) == (1, 0)).await;
    assert_eq!((hub.lookup("bad").is_none(), bad.is_open()), (true, false));
    // An actor that panicked is not called again.
    assert!(bad_log.rest().iter().all(|seen| matches!(seen, Seen::Message(..))));
    other.text("fine").await;
    assert_eq!(other.read_text().await, "fine");
    // The name is free for another.
    witness(&hub, "bad", true);
}

/// B3: an actor that stops is told of each of its connections' end, once.
#[tokio::test]
async fn stop_ends_in_order() {
    let (hub, mut log, addr) = serve(false).await;
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..5 {
        clients.push(Client::open(addr, "/ws").await);
        ids.push(log.connect().await.id);
    }
    let target = hub.lookup("witness").unwrap();
    assert_eq!(target.cast("not a number"), Err(ws_actor::CastError::WrongType));
    // It casts 2, 1 and 0 to itself, by timers, and stops at 0.
    assert_eq!(target.cast(3_u32), Ok(()));
    for client in &mut clients {
        assert_eq!(client.close_frame().await.0, 1011);
        client.close(1011).await;
    }
    let mut gone = Vec::new();
    for _ in 0..5 {
        let (id, reason) = log.disconnect().await;
        assert_eq!(reason, Reason::TargetDown);
        gone.push(id);
    }
    gone.sort_unstable();
    assert_eq!(gone, ids);
    assert!(soon(log.is_over()).await);
    assert_eq!(target.cast(1_u32), Err(ws_actor::CastError::Down));
}

struct Greeter;

impl WsActor for Greeter {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let _ = cx.room("all").join(connect.id);
        let _ = cx.send(connect.id, "welcome");
        let _ = cx.send(connect.id, vec![1, 2, 3]);
        let _ = cx.send(connect.id, Message::Ping("?".into()));
    }

    async fn message(&mut self, cx: &mut Context<Self>, message: Inbound) {
        cx.room("all").broadcast_except(message.id, message.message);
    }

    async fn disconnect(&mut self, cx: &mut Context<Self>, gone: Disconnect) {
        assert!(!cx.room("all").contains(gone.id), "D4: a connection that is gone is in no room");
        cx.room("all").broadcast(format!("one left, {} stay", cx.room("all").len()));
    }
}

/// D1, D2, D4: a room over sockets: joined at connect, broadcast to, left at disconnect.
#[tokio::test]
async fn a_room_over_sockets() {
    let hub = Hub::new();
    let target = hub.spawn("greeter", || Greeter).unwrap();
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(addr, "/ws").await;
        let mut first = [client.message().await, client.message().await, client.message().await];
        first.sort_by_key(|(opcode, _)| *opcode as u8);
        assert_eq!(first[0], (Opcode::Text, b"welcome".to_vec()));
        assert_eq!(first[1], (Opcode::Binary, vec![1, 2, 3]));
        assert_eq!(first[2], (Opcode::Ping, b"?".to_vec()));
        clients.push(client);
    }
    clients[0].text("hello").await;
    for client in &mut clients[1..] {
        assert_eq!(client.read_text().await, "hello");
    }
    clients.pop();
    for client in &mut clients {
        assert_eq!(client.read_text().await, "one left, 2 stay");
    }
}
