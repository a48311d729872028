//! An actor that does as its clients say, and what it has been called for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ws_actor::{
    ActorOptions, Connect, Context, Disconnect, Hub, Inbound, Recovery, Route, Server, Target, WsActor,
};

use super::support::{Client, listen, until};

/// What all instances of an actor have been called for: the number of the instance, and the call in words.
pub(super) type Log = Arc<Mutex<Vec<(u64, String)>>>;

/// Does as its clients say, and keeps a log that outlives it.
pub(super) struct Worker {
    pub(super) log: Log,
    pub(super) number: u64,
}

impl Worker {
    fn note(&self, call: impl Into<String>) {
        self.log.lock().unwrap().push((self.number, call.into()));
    }

    async fn obey(&self, cx: &mut Context<Self>, word: &str) {
        match word {
            "panic" => panic!("as the client asked"),
            "fail" => {
                cx.fail("as the client asked");
                cx.fail("too late");
            }
            "stop" => cx.stop(),
            "stop and panic" => {
                cx.stop();
                panic!("and more");
            }
            "timer" => cx.after(Duration::from_millis(50), "timer".into()),
            "slow timer" => cx.after(Duration::from_secs(2), "slow timer".into()),
            "sleep" => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => {}
        }
    }
}

impl WsActor for Worker {
    type Cast = String;

    async fn started(&mut self, cx: &mut Context<Self>) {
        assert_eq!(cx.restarts(), self.number);
        self.note("started");
    }

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let again = if connect.restarted { "again" } else { "connect" };
        self.note(format!("{again} {} {}", connect.id.seq(), connect.query));
        match &*connect.query {
            "panics" => self.obey(cx, "panic").await,
            "fails" => self.obey(cx, "fail").await,
            _ => {}
        }
    }

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let text = inbound.message.as_text().expect("text").to_owned();
        self.note(format!("{} {text}", inbound.id.seq()));
        self.obey(cx, &text).await;
        let _ = cx.send(inbound.id, format!("{}: {text}", self.number));
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        self.note(format!("gone {} {:?}", gone.id.seq(), gone.reason));
        assert_ne!(gone.meta.text("disconnect"), Some("panics"));
    }

    async fn cast(&mut self, cx: &mut Context<Self>, word: String) {
        self.note(format!("cast {word}"));
        self.obey(cx, &word).await;
    }
}

pub(super) struct Fixture {
    pub(super) hub: Hub,
    pub(super) target: Target,
    pub(super) log: Log,
    reports: Arc<Mutex<Vec<String>>>,
    pub(super) addr: std::net::SocketAddr,
}

impl Fixture {
    pub(super) async fn new(options: ActorOptions) -> Self {
        Self::reporting(options, false).await
    }

    /// With a log that panics when it has been told.
    pub(super) async fn reporting(options: ActorOptions, log_breaks: bool) -> Self {
        let hub = Hub::new();
        let reports = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&reports);
        hub.on_actor_failure(move |failure| {
            lines.lock().unwrap().push(failure.to_string());
            assert!(!log_breaks, "as a print to a closed pipe does");
        });
        let (log, made) = (Log::default(), AtomicU64::new(0));
        let to = Arc::clone(&log);
        let make = move || Worker { log: Arc::clone(&to), number: made.fetch_add(1, Ordering::SeqCst) };
        let target = hub.spawn_with("worker", options, make).expect("a free name");
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(&target))).await;
        Self { hub, target, log, reports, addr }
    }

    pub(super) async fn open(&self, query: &str) -> Client {
        Client::open(self.addr, &format!("/ws?{query}")).await
    }

    /// Waits for this last call.
    pub(super) async fn until(&self, number: u64, call: &str) {
        let is_there = || self.log.lock().unwrap().iter().any(|(at, what)| *at == number && what == call);
        until(call, is_there).await;
    }

    pub(super) fn calls(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().map(|(number, call)| format!("{number}: {call}")).collect()
    }

    pub(super) fn reports(&self) -> Vec<String> {
        self.reports.lock().unwrap().clone()
    }
}

pub(super) fn options(on_panic: Recovery, on_error: Recovery) -> ActorOptions {
    let mut options = ActorOptions::new();
    (options.on_panic, options.on_error) = (on_panic, on_error);
    options
}
