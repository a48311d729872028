//! The application's own values and closures panic outside of an actor's calls: they harm no one else.

mod support;

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::{Client, listen, soon, upgrade, witness};
use tokio::sync::mpsc;
use ws_actor::{
    ActorOptions, Connect, Context, Disconnect, EndCause, Hub, Inbound, Reason, Recovery, Route, Server,
    WsActor,
};

/// B14: closures that are told of refusals and failures may panic, as `eprintln!` does when its pipe is closed: the
/// client is still answered and the actor still told.
#[tokio::test]
async fn logs_that_panic() {
    let (hub, told) = (Hub::new(), Arc::<AtomicU64>::default());
    let (target, mut log) = witness(&hub, "witness", false);
    let [refused, failed] = [(); 2].map(|()| Arc::clone(&told));
    let server = Server::new(&hub)
        .route(Route::ws("/ws").target(target))
        .on_refusal(move |_| panic_any(refused.fetch_add(1, Ordering::SeqCst)))
        .on_failure(move |_| panic_any(failed.fetch_add(1, Ordering::SeqCst)));
    let addr = listen(server).await;
    let mut lost = Client::new(addr).await;
    assert_eq!(lost.request(&upgrade(addr, "/nowhere", "")).await.status, 404);
    let mut client = Client::open(addr, "/ws").await;
    log.connect().await;
    // A frame without a mask.
    client.write(&[0x81, 0]).await;
    assert_eq!(client.close_frame().await.0, 1002);
    let (_, reason) = log.disconnect().await;
    assert!(matches!(reason, Reason::Protocol(_)), "{reason}");
    assert_eq!(told.load(Ordering::SeqCst), 2);
}

/// A value that must not be dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any("a value's destructor");
    }
}

enum Word {
    Panic,
    Fail,
    Stop,
    Timers,
    Never(Bomb),
}

struct Keeper(mpsc::UnboundedSender<&'static str>);

impl WsActor for Keeper {
    type Cast = Word;

    async fn connect(&mut self, _: &mut Context<Self>, _: Connect) {
        let _ = self.0.send("connect");
    }

    async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {}

    async fn disconnect(&mut self, _: &mut Context<Self>, _: Disconnect) {
        let _ = self.0.send("disconnect");
    }

    async fn cast(&mut self, cx: &mut Context<Self>, word: Word) {
        match word {
            Word::Panic => panic_any("as asked"),
            Word::Fail => cx.fail("as asked"),
            Word::Stop => cx.stop(),
            Word::Timers => (0..2).for_each(|_| cx.after(Duration::from_secs(3_600), Word::Never(Bomb))),
            Word::Never(bomb) => std::mem::forget(bomb),
        }
    }
}

/// B14, C8: casts and timers that an actor did not get to are dropped when it ends, and may panic then: its end is
/// reported, its connections are closed, and an actor that stops is told of theirs.
#[tokio::test]
async fn values_that_nobody_takes() {
    let table = [
        (Word::Panic, EndCause::Panicked, false),
        (Word::Fail, EndCause::Failed, true),
        (Word::Stop, EndCause::Stopped, true),
    ];
    for (word, cause, is_told) in table {
        let (hub, (log, mut calls)) = (Hub::new(), mpsc::unbounded_channel());
        let mut options = ActorOptions::new();
        options.on_error = Recovery::End;
        let target = hub.spawn_with("keeper", options, move || Keeper(log.clone())).unwrap();
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&target))).await;
        let mut client = Client::open(addr, "/ws").await;
        assert_eq!(soon(calls.recv()).await, Some("connect"));
        // One runtime thread: the actor does not run before this waits.
        for word in [Word::Timers, word, Word::Never(Bomb), Word::Never(Bomb)] {
            assert!(target.cast(word).is_ok());
        }
        assert_eq!(client.close_frame().await.0, 1011);
        client.close(1011).await;
        let ended = soon(target.ended()).await;
        assert_eq!((ended.cause, ended.connections, ended.letters), (cause, 1, 2));
        assert_eq!(soon(calls.recv()).await, is_told.then_some("disconnect"));
        assert!(hub.lookup("keeper").is_none());
    }
}
