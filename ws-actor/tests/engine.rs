//! The engine: what a Hub asks of it, and that the Hub asks nothing else.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use support::{Client, listen, until, witness};
use ws_actor::{
    CloseFrame, ConnId, Engine, Hub, Local, NodeId, Outgoing, RetargetError, Route, SendError, Server,
};

/// An engine that records what it is asked, in place of other nodes.
#[derive(Clone)]
struct Recorder {
    node: NodeId,
    log: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    fn new() -> Self {
        Self { node: NodeId::draw(), log: Arc::default() }
    }

    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Engine for Recorder {
    fn node(&self) -> NodeId {
        self.node
    }

    fn send(&self, to: ConnId, message: &Outgoing) -> Result<(), SendError> {
        self.note(format!("send {to} {:?}", message.message()));
        Ok(())
    }

    fn publish(&self, room: Option<&str>, message: &Outgoing, except: Option<ConnId>) {
        let text = message.message().as_text().unwrap_or_default();
        self.note(format!("publish {room:?} {text} {:?} {}", message.key(), except.is_some()));
    }

    fn join(&self, room: &str) {
        self.note(format!("join {room}"));
    }

    fn leave(&self, room: &str) {
        self.note(format!("leave {room}"));
    }
}

/// N1, N2, N3: IDs carry the engine's node; what concerns other nodes goes to the engine, and nothing else does.
#[tokio::test]
async fn what_concerns_others() {
    let engine = Recorder::new();
    let hub = Hub::with_engine(engine.clone());
    let (target, mut log) = witness(&hub, "witness", false);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let (first, second) = (Client::open(addr, "/ws").await, Client::open(addr, "/ws").await);
    let ids = [log.connect().await.id, log.connect().await.id];
    assert!(ids.iter().all(|id| id.node() == engine.node && hub.node() == engine.node));

    let room = hub.room("room");
    assert_eq!(room.broadcast("to nobody here").delivered, 0);
    for id in ids {
        assert_eq!(room.join(id), Ok(()));
        assert_eq!(room.join(id), Ok(()));
    }
    assert_eq!(room.broadcast_except(ids[0], Outgoing::keyed("key", "to the room")).delivered, 1);
    assert_eq!(hub.broadcast("to all").delivered, 2);
    assert_eq!(hub.broadcast(CloseFrame::new(1005, "invalid")).delivered, 0);
    assert_eq!(hub.send(ids[0], "local"), Ok(()));
    let foreign: ConnId = format!("{}-7", NodeId::draw()).parse().unwrap();
    assert_eq!(hub.send(foreign, "over there"), Ok(()));
    assert_eq!(hub.send_acked(foreign, "over there").await, Ok(()));
    assert!(room.leave(ids[0]));
    assert_eq!(
        engine.take(),
        [
            "publish Some(\"room\") to nobody here None false".to_owned(),
            "join room".to_owned(),
            "publish Some(\"room\") to the room Some(\"key\") true".to_owned(),
            "publish None to all None false".to_owned(),
            format!("send {foreign} Text(10 B)"),
            format!("send {foreign} Text(10 B)"),
        ]
    );
    drop((first, second));
    until("they have gone", || hub.connection_count() == 0).await;
    until("their rooms are told", || !engine.log.lock().unwrap().is_empty()).await;
    assert_eq!(engine.take(), ["leave room"]);
}

/// N2: with members that join and leave at the same time, an engine is told of each in turn, and has the right result in the
/// end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_and_leaves_alternate() {
    let engine = Recorder::new();
    let hub = Hub::with_engine(engine.clone());
    let (target, mut log) = witness(&hub, "witness", false);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let mut clients = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..4 {
        clients.push(Client::open(addr, "/ws").await);
        let (id, hub) = (log.connect().await.id, hub.clone());
        threads.push(std::thread::spawn(move || {
            for n in 0..2_000 {
                let room = hub.room(["a", "b"][n % 2]);
                assert_eq!(room.join(id), Ok(()));
                assert!(room.leave(id));
            }
            assert_eq!(hub.room("a").join(id), Ok(()));
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut inhabited = HashMap::new();
    for line in engine.take() {
        let (what, room) = line.split_once(' ').unwrap();
        let before = inhabited.insert(room.to_owned(), what == "join").unwrap_or(false);
        assert_ne!(before, what == "join", "{line}");
    }
    assert_eq!((inhabited["a"], inhabited["b"]), (true, false));
}

/// B10, N3: an ID from an earlier start names nothing, whatever is asked of it.
#[tokio::test]
async fn ids_of_an_earlier_start() {
    let kept = {
        let hub = Hub::new();
        let (target, mut log) = witness(&hub, "witness", false);
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
        let _client = Client::open(addr, "/ws").await;
        log.connect().await.id.to_string()
    };
    let hub = Hub::with_engine(Local::new());
    let (target, mut log) = witness(&hub, "witness", false);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let mut client = Client::open(addr, "/ws").await;
    let (now, then): (ConnId, ConnId) = (log.connect().await.id, kept.parse().unwrap());
    assert_eq!((now.seq(), now.node() == then.node()), (then.seq(), false));
    assert_eq!(hub.send(then, "hello"), Err(SendError::NotFound));
    assert_eq!(hub.send_acked(then, "hello").await, Err(SendError::NotFound));
    assert_eq!(hub.close(then, CloseFrame::new(1000, "")), Err(SendError::NotFound));
    assert_eq!(hub.retarget(then, ws_actor::Relay::new()), Err(RetargetError::NotFound));
    assert_eq!(hub.room("room").join(then), Err(ws_actor::JoinError::NotFound));
    assert!(!hub.room("room").leave(then) && !hub.room("room").contains(then));
    assert_eq!(hub.inspect(then), None);
    assert_eq!(hub.send(now, "to the other"), Ok(()));
    assert_eq!(client.read_text().await, "to the other");
}
