//! Actors that fail, stop and are made again; and their watchers.

mod fixture;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixture::{Fixture, Log, Worker, options};
use support::{Client, frame, gone, listen, soon, until};
use ws_actor::{
    ActorOptions, Call, CastError, Connect, Context, Disconnect, EndCause, Ended, Ending, Fault, Hub,
    Inbound, Reason, Recovery, Route, Server, Target, WsActor,
};
use ws_core::frame::Opcode;

/// B14: what a panic and an error end, by policy: the culprit, a bystander, the actor's state, the actor. A log that panics
/// when it is told of them changes nothing.
#[tokio::test]
async fn policies() {
    use Recovery::{Close, Continue, End, Restart};
    // The culprit's close code, the bystander's, and which instance answers after it.
    let table = [
        ("panic", Continue, None, None, 0),
        ("fail", Continue, None, None, 0),
        ("panic", Close, Some(1011), None, 0),
        ("fail", Close, Some(1011), None, 0),
        ("panic", Restart, None, None, 1),
        ("fail", Restart, None, None, 1),
        ("panic", End, Some(1011), Some(1011), 0),
        ("fail", End, Some(1011), Some(1011), 0),
    ];
    let rows = [false, true].into_iter().flat_map(|log_breaks| table.map(|row| (log_breaks, row)));
    for (log_breaks, (word, recovery, culprits, bystanders, answers)) in rows {
        let case = format!("{word}, {recovery:?}, {log_breaks}");
        let fixture = Fixture::reporting(options(recovery, recovery), log_breaks).await;
        let mut culprit = fixture.open("culprit").await;
        fixture.until(0, "connect 1 culprit").await;
        let mut bystander = fixture.open("bystander").await;
        fixture.until(0, "connect 2 bystander").await;
        culprit.text(word).await;
        fixture.until(0, &format!("1 {word}")).await;
        for (client, code) in [(&mut culprit, culprits), (&mut bystander, bystanders)] {
            if let Some(code) = code {
                assert_eq!(client.close_frame().await.0, code, "{case}");
                client.close(code).await;
            }
        }
        if bystanders.is_none() {
            bystander.text("hello").await;
            assert_eq!(bystander.read_text().await, format!("{answers}: hello"), "{case}");
        }
        if culprits.is_none() {
            culprit.text("well?").await;
            if word == "fail" {
                assert_eq!(culprit.read_text().await, "0: fail", "{case}");
            }
            assert_eq!(culprit.read_text().await, format!("{answers}: well?"), "{case}");
        }
        assert_eq!(fixture.target.is_open(), recovery != End, "{case}");
        let left = [culprits, bystanders].iter().filter(|code| code.is_none()).count();
        until("they are gone", || fixture.hub.connection_count() == left).await;
        let called_for = |seq: u64, reason: Reason| {
            let call = format!("gone {seq} {reason:?}");
            fixture.log.lock().unwrap().iter().filter(|(_, what)| *what == call).count()
        };
        match (recovery, word) {
            (Close, _) => until("told", || called_for(1, Reason::TargetFailed) == 1).await,
            // The state of an actor that reports an error is sound: it is told of all ends.
            (End, "fail") => {
                let both = || [1, 2].map(|seq| called_for(seq, Reason::TargetDown)) == [1, 1];
                until("told", both).await;
            }
            _ => assert!(!fixture.calls().iter().any(|call| call.contains("gone")), "{case}"),
        }
        let what = match word {
            "panic" => "panicked: as the client asked",
            _ => "failed: as the client asked",
        };
        let follows = match recovery {
            Continue => "it goes on",
            Close => "the connection is closed",
            Restart => "it is made again, time 1",
            _ => "it has ended",
        };
        let node = fixture.hub.node();
        let expected = format!("actor \"worker\" {what} (in message of connection {node}-1); {follows}");
        assert_eq!(fixture.reports(), [expected], "{case}");
    }
}

/// C9: an actor that is made again gets Connect of its connections before anything else, with the same ids; then what
/// waited. The message that it failed at is not repeated, its timers are gone, and all that is reported.
#[tokio::test]
async fn made_again() {
    let fixture = Fixture::new(ActorOptions::restarting()).await;
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        clients.push(fixture.open(name).await);
        fixture.until(0, &format!("connect {} {name}", clients.len())).await;
    }
    let id = *fixture.hub.connections().iter().min().unwrap();
    assert_eq!(fixture.hub.room("stays").join(id), Ok(()));
    // In one write: the timers are due only once it sleeps.
    let words = ["timer", "timer", "sleep", "panic", "one", "two"];
    let frames = words.map(|word| frame(true, Opcode::Text, word.as_bytes()));
    clients[0].write(&frames.concat()).await;
    fixture.until(0, "1 sleep").await;
    // So that nothing comes before its panic.
    until("it is read", || fixture.hub.inspect(id).unwrap().messages_in == 6).await;
    // While it sleeps: one comes, one goes, one speaks, and there is a cast.
    let mut late = fixture.open("late").await;
    drop(clients.pop());
    clients[1].text("three").await;
    until("the third is gone", || fixture.hub.connection_count() == 3).await;
    assert_eq!(fixture.target.cast("word".to_owned()), Ok(()));
    fixture.until(1, "cast word").await;
    late.text("four").await;
    assert_eq!(late.read_text().await, "1: four");
    let mut calls = fixture.calls();
    // Those that became known while it slept have no order among them.
    let rest = calls.split_off(13);
    let expected = [
        "0: started",
        "0: connect 1 a",
        "0: connect 2 b",
        "0: connect 3 c",
        "0: 1 timer",
        "0: 1 timer",
        "0: 1 sleep",
        // The timers are due, and come first.
        "0: cast timer",
        "0: cast timer",
        "0: 1 panic",
        "1: started",
        "1: again 1 a",
        "1: again 2 b",
    ];
    assert_eq!(calls, expected);
    assert_eq!(rest[0], "1: again 3 c");
    let count = |call: &str| rest.iter().filter(|what| *what == call).count();
    for call in ["1: 1 one", "1: 1 two", "1: 2 three", "1: connect 4 late", "1: cast word", "1: 4 four"] {
        assert_eq!(count(call), 1, "{call} in {rest:?}");
    }
    assert_eq!(rest.iter().filter(|what| what.starts_with("1: gone 3")).count(), 1);
    assert_eq!(fixture.hub.room("stays").broadcast("still here").delivered, 1);
    let mut heard = Vec::new();
    for _ in 0..6 {
        heard.push(clients[0].read_text().await);
    }
    let expected = ["0: timer", "0: timer", "0: sleep", "1: one", "1: two", "still here"];
    assert_eq!(heard, expected);
}

/// C9: timers end with the instance that set them, and are counted.
#[tokio::test]
async fn timers_end() {
    let fixture = Fixture::new(ActorOptions::restarting()).await;
    let mut client = fixture.open("a").await;
    // In one write, so that they are due long after the panic.
    let words = ["slow timer", "slow timer", "panic", "hello"];
    let frames = words.map(|word| frame(true, Opcode::Text, word.as_bytes()));
    client.write(&frames.concat()).await;
    for expected in ["0: slow timer", "0: slow timer", "1: hello"] {
        assert_eq!(client.read_text().await, expected);
    }
    assert!(fixture.reports()[0].ends_with("; it is made again, time 1, without its 2 timers"));
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(!fixture.calls().iter().any(|call| call.contains("cast")), "a timer of an actor that is gone");
}

/// C9: a connection whose connect fails is closed and not heard of again; it costs the others one restart.
#[tokio::test]
async fn who_cannot_be_told_of() {
    for query in ["panics", "fails"] {
        let fixture = Fixture::new(options(Recovery::Restart, Recovery::Restart)).await;
        let mut good = fixture.open("good").await;
        fixture.until(0, "connect 1 good").await;
        let mut bad = Client::new(fixture.addr).await;
        // What it sends right away waits until after its Connect.
        let head = support::upgrade(fixture.addr, &format!("/ws?{query}"), "");
        let mut bytes = head.into_bytes();
        bytes.extend((0..10).flat_map(|_| frame(true, Opcode::Text, b"hello")));
        bad.write(&bytes).await;
        assert_eq!(bad.request("").await.status, 101);
        assert_eq!(bad.close_frame().await.0, 1011);
        bad.close(1011).await;
        until("it is gone", || fixture.hub.connection_count() == 1).await;
        good.text("hello").await;
        assert_eq!(good.read_text().await, "1: hello");
        let bad = format!("0: connect 2 {query}");
        let expected =
            ["0: started", "0: connect 1 good", &bad, "1: started", "1: again 1 good", "1: 1 hello"];
        assert_eq!(fixture.calls(), expected);
    }
}

/// C9, C8: one restart too many ends the actor permanently: connections are closed with 1011 and counted, letters that wait
/// are counted, the name is free.
#[tokio::test]
async fn restarts_are_limited() {
    let mut options = ActorOptions::restarting();
    options.max_restarts = 2;
    let fixture = Fixture::new(options).await;
    let mut clients = [fixture.open("a").await, fixture.open("b").await];
    for _ in 0..2 {
        clients[0].text("panic").await;
    }
    fixture.until(2, "started").await;
    clients[1].text("fine").await;
    assert_eq!(clients[1].read_text().await, "2: fine");
    assert_eq!(fixture.target.cast("sleep".to_owned()), Ok(()));
    fixture.until(2, "cast sleep").await;
    for word in ["panic", "never", "never"] {
        assert_eq!(fixture.target.cast(word.to_owned()), Ok(()));
    }
    let expected = (EndCause::Panicked, 2, 2);
    let Ended { cause, connections, letters, .. } = soon(fixture.target.ended()).await;
    assert_eq!((cause, connections, letters), expected);
    for client in &mut clients {
        assert_eq!(client.close_frame().await.0, 1011);
    }
    for client in &mut clients {
        client.close(1011).await;
    }
    gone(&fixture.hub).await;
    let metrics = fixture.hub.metrics();
    let down = metrics.closed.of(Ending::TargetDown);
    assert_eq!((metrics.panics, metrics.restarts, down), (3, 2, 2));
    assert!(fixture.hub.lookup("worker").is_none());
    assert_eq!(fixture.target.cast(String::new()), Err(CastError::Down));
    assert_eq!(fixture.reports().len(), 3);
    assert!(fixture.reports()[2].contains("(in cast); it has ended"));
}

/// C9: an actor that stops, stops, restarts or not, and is told of the ends of its connections; but a panic in the same
/// call is a panic.
#[tokio::test]
async fn stops_are_final() {
    let fixture = Fixture::new(ActorOptions::restarting()).await;
    let mut clients = Vec::new();
    for (n, query) in ["x", "y", "z"].into_iter().enumerate() {
        clients.push(fixture.open(query).await);
        fixture.until(0, &format!("connect {} {query}", n + 1)).await;
    }
    clients[0].text("stop and panic").await;
    fixture.until(1, "again 3 z").await;
    clients[0].text("stop").await;
    for client in &mut clients {
        assert_eq!(client.close_frame().await.0, 1011);
        client.close(1011).await;
    }
    let ended = soon(fixture.target.ended()).await;
    assert_eq!((ended.cause, ended.connections), (EndCause::Stopped, 3));
    for seq in 1..=3 {
        fixture.until(1, &format!("gone {seq} TargetDown")).await;
    }
}

/// Stops as soon as it is made again, while its connections are still to be told of.
struct Quitter(Log, u64);

impl WsActor for Quitter {
    type Cast = ();

    async fn started(&mut self, cx: &mut Context<Self>) {
        if cx.restarts() == 1 {
            cx.stop();
        }
    }

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        self.0.lock().unwrap().push((self.1, format!("connect {}", connect.id.seq())));
    }

    async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {
        panic!("as the client asked");
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        self.0.lock().unwrap().push((self.1, format!("gone {}", gone.id.seq())));
    }
}

/// C9, B3: an actor that stops at once is told of each connection and of each end.
#[tokio::test]
async fn stops_before_it_has_heard() {
    let (hub, log, made) = (Hub::new(), Log::default(), AtomicU64::new(0));
    let to = Arc::clone(&log);
    let make = move || Quitter(Arc::clone(&to), made.fetch_add(1, Ordering::SeqCst));
    let target = hub.spawn_with("quitter", ActorOptions::restarting(), make).unwrap();
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&target))).await;
    let mut clients = [Client::open(addr, "/ws").await, Client::open(addr, "/ws").await];
    until("both are told of", || log.lock().unwrap().len() == 2).await;
    clients[0].text("x").await;
    for client in &mut clients {
        assert_eq!(client.close_frame().await.0, 1011);
        client.close(1011).await;
    }
    assert_eq!(soon(target.ended()).await.cause, EndCause::Stopped);
    let mut calls: Vec<_> = log.lock().unwrap().iter().filter(|(at, _)| *at == 1).cloned().collect();
    assert_eq!(calls[..2], [(1, "connect 1".to_owned()), (1, "connect 2".to_owned())]);
    calls.sort();
    assert_eq!(calls.len(), 4);
}

/// C9: what fails before an actor is called, and after: `make`, `started`, `disconnect`, the actor's own destructor.
#[tokio::test]
async fn failures_at_the_edges() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Edge {
        Make,
        Started,
        Disconnect,
        Drop,
    }
    struct Fragile(u64, Edge);
    impl Drop for Fragile {
        fn drop(&mut self) {
            assert!(self.1 != Edge::Drop, "in drop");
        }
    }
    impl WsActor for Fragile {
        type Cast = ();
        async fn started(&mut self, _: &mut Context<Self>) {
            assert!(self.1 != Edge::Started || self.0 > 1, "in started");
        }
        async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
            assert_ne!(inbound.message.as_text(), Some("panic"));
            let _ = cx.send(inbound.id, self.0.to_string());
        }
        async fn disconnect(&mut self, _: &mut Context<Self>, _: Disconnect) {
            assert!(self.1 != Edge::Disconnect, "in disconnect");
        }
    }
    // Which instance answers at last, and the calls that failed.
    let table = [
        (Edge::Make, 2, vec![Call::Make, Call::Make]),
        (Edge::Started, 2, vec![Call::Started, Call::Started]),
        (Edge::Disconnect, 1, vec![Call::Disconnect]),
        (Edge::Drop, 1, vec![Call::Message]),
    ];
    for (edge, answers, expected) in table {
        let (hub, made) = (Hub::new(), AtomicU64::new(0));
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let to = Arc::clone(&calls);
        hub.on_actor_failure(move |failure| {
            assert!(matches!(failure.fault, Fault::Panic(_)));
            to.lock().unwrap().push(failure.call);
        });
        let make = move || {
            let number = made.fetch_add(1, Ordering::SeqCst);
            assert!(edge != Edge::Make || number > 1, "in make");
            Fragile(number, edge)
        };
        let target = hub.spawn_with("fragile", ActorOptions::restarting(), make).unwrap();
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&target))).await;
        let mut other = Client::open(addr, "/ws").await;
        other.text("hello").await;
        other.read_text().await;
        if edge == Edge::Drop {
            other.text("panic").await;
        }
        drop(other);
        until("it is gone", || hub.connection_count() == 0).await;
        until("all have failed", || calls.lock().unwrap().len() == expected.len()).await;
        let mut client = Client::open(addr, "/ws").await;
        client.text("hello").await;
        assert_eq!(client.read_text().await, answers.to_string(), "{edge:?}");
        assert_eq!(*calls.lock().unwrap(), expected, "{edge:?}");
    }
}

/// C9, B3, B4: forty clients flood an actor that fails at every fiftieth message: each message is seen once and in order,
/// except those that it failed at, by an instance that knows its sender; each connection ends once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_across_restarts() {
    const CLIENTS: u64 = 40;
    const EACH: u64 = 500;
    let mut options = ActorOptions::restarting();
    options.max_restarts = u32::MAX;
    let fixture = Fixture::new(options).await;
    let mut tasks = Vec::new();
    for n in 0..CLIENTS {
        let mut client = fixture.open("x").await;
        tasks.push(tokio::spawn(async move {
            let words = (0..EACH).map(|m| match (m + n) % 50 {
                0 => "panic".to_owned(),
                _ => m.to_string(),
            });
            let bytes: Vec<_> = words.flat_map(|word| frame(true, Opcode::Text, word.as_bytes())).collect();
            client.write(&bytes).await;
            let mut answers = 0;
            while answers < EACH - EACH / 50 {
                client.read_text().await;
                answers += 1;
            }
            if n % 2 == 0 {
                client.close(1000).await;
            }
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    let ends = || fixture.log.lock().unwrap().iter().filter(|(_, call)| call.starts_with("gone")).count();
    until("all are over", || ends() as u64 == CLIENTS).await;
    let mut lives: HashMap<String, (u64, u64)> = HashMap::new();
    let (mut number, mut ended) = (0, 0);
    for (at, call) in fixture.log.lock().unwrap().iter() {
        assert!(*at >= number, "an instance that is gone was called");
        number = *at;
        let mut words = call.split(' ');
        match (words.next().unwrap(), words.next()) {
            ("started", _) => {}
            ("connect", Some(seq)) => assert!(lives.insert(seq.to_owned(), (*at, 0)).is_none()),
            ("again", Some(seq)) => {
                let life = lives.get_mut(seq).expect("it was connected");
                assert!(life.0 < *at, "told twice");
                life.0 = *at;
            }
            ("gone", Some(seq)) => {
                assert_eq!(lives.remove(seq), Some((*at, EACH)));
                ended += 1;
            }
            (seq, Some(word)) => {
                let life = lives.get_mut(seq).expect("it was connected");
                assert_eq!(life.0, *at, "an instance that does not know it");
                assert!(word == "panic" || word == life.1.to_string());
                life.1 += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((ended, number), (CLIENTS, CLIENTS * EACH / 50));
}

/// Keeps what it is told of others' ends.
struct Watcher(Arc<Mutex<Vec<(String, Ended)>>>);

enum Word {
    Watch(Target),
    Ended(String, Ended),
    Nothing,
}

impl WsActor for Watcher {
    type Cast = Word;

    async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {}

    async fn cast(&mut self, cx: &mut Context<Self>, word: Word) {
        match word {
            Word::Watch(target) => {
                let name = target.name().to_owned();
                cx.monitor(&target, |ended| Word::Ended(name, ended));
            }
            Word::Ended(name, ended) => self.0.lock().unwrap().push((name, ended)),
            Word::Nothing => {}
        }
    }
}

/// C8, C4: the end of an actor and its cause reach every task that waits for it, and the mailbox of every actor that
/// asked for it: before the end or after it, and not when an actor is made again.
#[tokio::test]
async fn monitors() {
    let fixture = Fixture::new(ActorOptions::restarting()).await;
    let seen = Arc::<Mutex<Vec<(String, Ended)>>>::default();
    let to = Arc::clone(&seen);
    let watcher = fixture.hub.spawn("watcher", move || Watcher(Arc::clone(&to))).unwrap();
    assert_eq!(fixture.target.monitor(&watcher, |_| 0_u32), Err(CastError::WrongType));
    // A closure that panics harms no one else.
    assert_eq!(fixture.target.monitor(&watcher, |_| -> Word { panic!("as asked") }), Ok(()));
    assert!(watcher.cast(Word::Watch(fixture.target.clone())).is_ok());
    let waits = tokio::spawn(fixture.target.ended());
    // Waiting may be given up.
    assert!(tokio::time::timeout(Duration::from_millis(20), fixture.target.ended()).await.is_err());
    let mut client = fixture.open("x").await;
    client.text("panic").await;
    client.text("hello").await;
    assert_eq!(client.read_text().await, "1: hello");
    assert!(!waits.is_finished() && seen.lock().unwrap().is_empty());
    fixture.target.cast("stop".to_owned()).unwrap();
    // It has not ended before it has been told of its connections' ends.
    assert_eq!(client.close_frame().await.0, 1011);
    assert!(!waits.is_finished() && !fixture.target.is_open());
    client.close(1011).await;
    let ended = soon(waits).await.unwrap();
    assert_eq!((ended.cause, ended.connections), (EndCause::Stopped, 1));
    assert_eq!(soon(fixture.target.ended()).await, ended);

    let late = Arc::<Mutex<Vec<(String, Ended)>>>::default();
    let to = Arc::clone(&late);
    let other = fixture.hub.spawn("other", move || Watcher(Arc::clone(&to))).unwrap();
    assert_eq!(fixture.target.monitor(&other, |ended| Word::Ended("late".into(), ended)), Ok(()));
    until("it is told late", || late.lock().unwrap().len() == 1).await;
    assert_eq!(late.lock().unwrap()[0], ("late".to_owned(), ended));

    // The watcher's own end is reported to those that watch it, never to itself.
    drop(watcher);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let hub = fixture.hub.clone();
    let dropped = runtime.spawn(async move { hub.spawn("dropped", || Watcher(Arc::default())).unwrap() });
    let dropped = dropped.await.unwrap();
    assert_eq!(dropped.monitor(&other, |ended| Word::Ended("dropped".into(), ended)), Ok(()));
    runtime.shutdown_background();
    assert_eq!(soon(dropped.ended()).await.cause, EndCause::Aborted);
    until("it is told", || late.lock().unwrap().len() == 2).await;
    assert_eq!(other.monitor(&dropped, |ended| Word::Ended("never".into(), ended)), Err(CastError::Down));
}

/// C8: the watcher is told although its mailbox is full; nothing that was in it is lost.
#[tokio::test]
async fn monitors_pass_the_bound() {
    let hub = Hub::new();
    let seen = Arc::<Mutex<Vec<(String, Ended)>>>::default();
    let to = Arc::clone(&seen);
    let watcher = hub.spawn("watcher", move || Watcher(Arc::clone(&to))).unwrap();
    let (log, made) = (Log::default(), AtomicU64::new(0));
    let make = move || Worker { log: Arc::clone(&log), number: made.fetch_add(1, Ordering::SeqCst) };
    let worker = hub.spawn("worker", make).unwrap();
    assert_eq!(worker.monitor(&watcher, |ended| Word::Ended("worker".into(), ended)), Ok(()));
    tokio::task::yield_now().await;
    // One runtime thread: the watcher does not run before this waits.
    let mut fills = 0;
    while watcher.cast(Word::Nothing).is_ok() {
        fills += 1;
    }
    worker.cast("panic".to_owned()).unwrap();
    let ended = soon(worker.ended()).await;
    assert_eq!(ended.cause, EndCause::Panicked);
    until("it is told", || seen.lock().unwrap().iter().any(|(name, _)| name == "worker")).await;
    assert_eq!(fills, 1_024);
}
