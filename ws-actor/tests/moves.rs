//! Live connections that move between actors, and whose settings change.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LockResult, Mutex, MutexGuard};
use std::time::Duration;

use support::{Client, Seen, frame, listen, refusals, soon, until, witness};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use ws_actor::{
    ConnId, Connect, Context, Disconnect, Heartbeat, Hub, Inbound, Message, Meta, Reason, Relay,
    RetargetError, Route, Server, Settings, Target, WsActor,
};
use ws_core::frame::Opcode;

/// What all actors of a test have been told, in the order in which they were called.
type Book = Arc<Pages>;

#[derive(Default)]
struct Pages {
    calls: Mutex<Vec<(usize, Seen)>>,
    connects: AtomicUsize,
}

impl Pages {
    fn lock(&self) -> LockResult<MutexGuard<'_, Vec<(usize, Seen)>>> {
        self.calls.lock()
    }
}

/// Writes into the book under its number; may be slow.
struct Scribe {
    book: Book,
    number: usize,
    pause: Duration,
}

impl Scribe {
    fn note(&self, seen: Seen) {
        self.book.lock().unwrap().push((self.number, seen));
    }
}

impl WsActor for Scribe {
    type Cast = Relay;

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        self.note(Seen::Connect(connect));
        self.book.connects.fetch_add(1, Ordering::Relaxed);
    }

    async fn message(&mut self, _: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        // A sleep of no time takes a millisecond.
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        self.note(Seen::Message(id, message.clone()));
        assert_ne!(message.as_text(), Some("panic"), "as the client asked");
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        self.note(Seen::Disconnect(gone.id, gone.reason));
    }

    /// Hands all its connections over and stops.
    async fn cast(&mut self, cx: &mut Context<Self>, relay: Relay) {
        for id in cx.hub().connections() {
            let _ = cx.retarget(id, relay.clone());
        }
        cx.stop();
    }
}

fn scribes(hub: &Hub, count: usize, pause: Duration) -> (Vec<Target>, Book) {
    let book = Book::default();
    let spawn = |number: usize| {
        let book = Arc::clone(&book);
        let make = move || Scribe { book: Arc::clone(&book), number, pause };
        hub.spawn(&format!("scribe {number}"), make).expect("a free name")
    };
    ((0..count).map(spawn).collect(), book)
}

/// Checks that one actor had each connection at a time, and that all messages came once and in order; returns how many
/// messages and how many moves there were. `ends` connections have finally ended.
fn check(book: &Book, ends: usize) -> (usize, usize) {
    let mut lives: HashMap<ConnId, (Option<usize>, u32)> = HashMap::new();
    let (mut messages, mut moves, mut ended) = (0, 0, 0);
    for (number, seen) in book.lock().unwrap().iter() {
        match seen {
            Seen::Connect(connect) => {
                let life = lives.entry(connect.id).or_default();
                assert_eq!(life.0.replace(*number), None, "it had an actor");
            }
            Seen::Message(id, message) => {
                let (has, next) = lives.get_mut(id).expect("Connect comes first");
                assert_eq!(*has, Some(*number));
                assert_eq!(message, &Message::binary(next.to_be_bytes().to_vec()));
                *next += 1;
                messages += 1;
            }
            Seen::Disconnect(id, reason) => {
                let (has, _) = lives.get_mut(id).expect("Connect comes first");
                assert_eq!(has.take(), Some(*number));
                match reason {
                    Reason::Moved => moves += 1,
                    _ => ended += 1,
                }
            }
            Seen::Cast(_) => {}
        }
    }
    assert_eq!(ended, ends);
    (messages, moves)
}

fn numbered(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| frame(true, Opcode::Binary, &n.to_be_bytes())).collect()
}

/// C7, B4: a client floods while its connection moves a thousand times among three actors: every message is seen once, in
/// order, by the one that has the connection; the old one gets leave before the new one gets join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_moves_in_a_flood() {
    const FLOOD: u32 = 30_000;
    let hub = Hub::new();
    let (targets, book) = scribes(&hub, 3, Duration::ZERO);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target("scribe 0"))).await;
    let mut client = Client::open(addr, "/ws").await;
    until("it is open", || hub.connection_count() == 1).await;
    let id = hub.connections()[0];
    // Before its actor has heard of it, a move would pass that actor by.
    let connects = || book.connects.load(Ordering::Relaxed);
    until("it is met", || connects() == 1).await;
    let flood = numbered(FLOOD);
    for (n, part) in flood.chunks(flood.len() / 1_000).enumerate() {
        client.write(part).await;
        let to = &targets[(n + 1) % 3];
        assert_eq!(hub.retarget(id, Relay::to(to).topic(format!("move {n}"))), Ok(()));
        soon(async {
            while connects() < n + 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let info = hub.inspect(id).unwrap();
        assert_eq!((&*info.topic, info.target.as_deref()), (&*format!("move {n}"), Some(to.name())));
    }
    client.close(1000).await;
    assert_eq!(client.close_frame().await.0, 1000);
    let is_over = || matches!(book.lock().unwrap().last(), Some((_, Seen::Disconnect(_, Reason::Peer(_)))));
    until("it is over", is_over).await;
    assert_eq!(check(&book, 1), (FLOOD as usize, 1_000));
}

/// C7: an actor that hands its connections over and stops loses none of them, and none of their messages: it still gets
/// those in its mailbox; those still held by a connection go to the successor.
#[tokio::test]
async fn hand_over_and_stop() {
    let hub = Hub::new();
    let (targets, book) = scribes(&hub, 2, Duration::from_micros(50));
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&targets[0]))).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::open(addr, "/ws").await;
        client.write(&numbered(150)).await;
        clients.push(client);
    }
    let count = |number| book.lock().unwrap().iter().filter(|(at, _)| *at == number).count();
    until("it has met them", || count(0) >= 8).await;
    until("there is room for a cast", || targets[0].cast(Relay::to(&targets[1])).is_ok()).await;
    until("the name is free", || hub.lookup("scribe 0").is_none()).await;
    until("all have moved", || count(1) >= 8).await;
    for client in &mut clients {
        client.close(1000).await;
        assert_eq!(client.close_frame().await.0, 1000);
    }
    until("they are over", || hub.connection_count() == 0).await;
    let ends = || {
        book.lock()
            .unwrap()
            .iter()
            .filter(|(_, seen)| matches!(seen, Seen::Disconnect(_, Reason::Peer(_))))
            .count()
    };
    until("they are told of", || ends() == 8).await;
    assert_eq!(check(&book, 8), (8 * 150, 8));
}

/// C7, C8: after a move, the old actor's end does not end the connection, and the new one's does.
#[tokio::test]
async fn ends_of_actors() {
    let hub = Hub::new();
    let (targets, book) = scribes(&hub, 2, Duration::ZERO);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&targets[0]))).await;
    let mut client = Client::open(addr, "/ws").await;
    until("it is met", || book.lock().unwrap().len() == 1).await;
    let mut other = Client::open(addr, "/ws").await;
    until("both are met", || book.lock().unwrap().len() == 2).await;
    let Seen::Connect(connect) = book.lock().unwrap()[0].1.clone() else { panic!("Connect comes first") };
    assert_eq!(hub.room("stays").join(connect.id), Ok(()));
    assert_eq!(hub.retarget(connect.id, Relay::to("scribe 1")), Ok(()));
    until("it has moved", || book.lock().unwrap().len() == 4).await;
    other.text("panic").await;
    assert_eq!(other.close_frame().await.0, 1011);
    // It goes on, rooms and all.
    assert_eq!(hub.room("stays").broadcast("still here").delivered, 1);
    assert_eq!(client.read_text().await, "still here");
    client.text("panic").await;
    assert_eq!(client.close_frame().await.0, 1011);
    client.close(1011).await;
    until("it is gone", || hub.inspect(connect.id).is_none()).await;
    assert_eq!(hub.retarget(connect.id, Relay::new().topic("x")), Err(RetargetError::NotFound));
}

/// C7: the end of a connection that ends while its old actor is busy is reported to the one it was moving to, in order.
#[tokio::test]
async fn ends_on_the_way() {
    let hub = Hub::new();
    let (targets, book) = scribes(&hub, 2, Duration::from_millis(200));
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&targets[0]))).await;
    let mut client = Client::open(addr, "/ws").await;
    client.write(&numbered(1)).await;
    until("it is met", || !book.lock().unwrap().is_empty()).await;
    let id = hub.connections()[0];
    until("its message is read", || hub.inspect(id).unwrap().messages_in == 1).await;
    assert_eq!(hub.retarget(id, Relay::to(&targets[1])), Ok(()));
    until("it is on its way", || hub.inspect(id).unwrap().target.as_deref() == Some("scribe 1")).await;
    drop(client);
    until("it is gone", || hub.connection_count() == 0).await;
    until("all is told", || book.lock().unwrap().len() == 5).await;
    assert_eq!(check(&book, 1), (1, 1));
    assert_eq!(book.lock().unwrap().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
}

/// C7: an old actor that does not handle the Disconnect in time is treated like one that takes no messages.
#[tokio::test]
async fn old_actors_that_hang() {
    let hub = Hub::new();
    let (targets, book) = scribes(&hub, 2, Duration::from_secs(60));
    let mut settings = Settings::new();
    settings.mailbox_timeout = Duration::from_millis(100);
    let server = Server::new(&hub).settings(settings).route(Route::ws("/ws").target(&targets[0]));
    let addr = listen(server).await;
    let mut client = Client::open(addr, "/ws").await;
    client.write(&numbered(1)).await;
    until("it is met", || !book.lock().unwrap().is_empty()).await;
    let id = hub.connections()[0];
    until("its message is read", || hub.inspect(id).unwrap().messages_in == 1).await;
    assert_eq!(hub.retarget(id, Relay::to(&targets[1])), Ok(()));
    assert_eq!(client.close_frame().await.0, 1013);
}

/// C4, C7: if a move is not possible, the connection stays.
#[tokio::test]
async fn moves_to_nowhere() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "witness", true);
    let (server, _lines) = refusals(Server::new(&hub).route(Route::ws("/ws").target(&target)));
    let addr = listen(server).await;
    let mut client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    let before = hub.inspect(id).unwrap();
    let nowhere = Relay::to("nobody").topic("never").meta(Meta::new().set("never", true));
    assert_eq!(hub.retarget(id, nowhere), Err(RetargetError::NoTarget));
    let after = hub.inspect(id).unwrap();
    assert_eq!((&after.topic, &after.meta), (&before.topic, &before.meta));
    // To where it is: only the rest changes.
    assert_eq!(hub.retarget(id, Relay::to("witness").topic("now")), Ok(()));
    assert_eq!(&*hub.inspect(id).unwrap().topic, "now");
    client.text("hello").await;
    assert_eq!(client.read_text().await, "hello");
    assert!(matches!(log.next().await, Seen::Message(..)));
    assert!(log.rest().is_empty());
    assert!(hub.close(id, ws_actor::CloseFrame::new(1000, "")).is_ok());
    assert_eq!(hub.retarget(id, Relay::to("witness")), Err(RetargetError::Closed));
}

/// Notes what its messages, heartbeats and ends come with.
struct Notes(mpsc::UnboundedSender<(&'static str, String, Meta)>);

impl WsActor for Notes {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let meta = cx.hub().inspect(inbound.id).map(|info| info.meta).unwrap_or_default();
        let _ = self.0.send(("message", inbound.topic.to_string(), meta));
    }

    async fn heartbeat(&mut self, _: &mut Context<Self>, beat: Heartbeat) {
        let _ = self.0.send(("heartbeat", beat.topic.to_string(), beat.meta));
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        let _ = self.0.send(("disconnect", String::new(), gone.meta));
    }
}

/// C7, C6, B12: topic, values and heartbeat change while the connection stays where it is.
#[tokio::test]
async fn terms_change() {
    let hub = Hub::new();
    let (notes, mut noted) = mpsc::unbounded_channel();
    let target = hub.spawn("notes", move || Notes(notes.clone())).unwrap();
    let route = Route::ws("/ws").target(target);
    let route = route.decide(async |_| Relay::new().topic("one").meta(Meta::new().set("n", 1)));
    let addr = listen(Server::new(&hub).route(route)).await;
    let mut client = Client::open(addr, "/ws").await;
    let id = hub.connections()[0];
    client.text("hello").await;
    let two = Meta::new().set("n", 2);
    assert_eq!(soon(noted.recv()).await, Some(("message", "one".into(), Meta::new().set("n", 1))));
    assert_eq!(hub.retarget(id, Relay::new().meta(two.clone())), Ok(()));
    client.text("hello").await;
    assert_eq!(soon(noted.recv()).await, Some(("message", "one".into(), two.clone())));
    assert_eq!(hub.retarget(id, Relay::new().topic("two")), Ok(()));
    client.text("hello").await;
    assert_eq!(soon(noted.recv()).await, Some(("message", "two".into(), two.clone())));
    // Its task sleeps, and hears of the interval all the same.
    assert_eq!(hub.retarget(id, Relay::new().heartbeat(Duration::from_millis(20))), Ok(()));
    for _ in 0..3 {
        assert_eq!(soon(noted.recv()).await, Some(("heartbeat", "two".into(), two.clone())));
    }
    assert_eq!(hub.retarget(id, Relay::new().no_heartbeat()), Ok(()));
    // A message that comes after it: before it there may still be heartbeats, after it there are none.
    client.text("hello").await;
    while soon(noted.recv()).await.expect("the actor lives").0 != "message" {}
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(noted.try_recv().is_err(), "a heartbeat that nobody wants");
    soon(client.io.shutdown()).await.unwrap();
    assert_eq!(soon(noted.recv()).await, Some(("disconnect", String::new(), two)));
}
