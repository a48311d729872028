//! Connections that are killed at every point of their lives, by the thousand: pools, moves, actors that panic or stop.
//!
//! Every call of every actor is held against the contract as it happens: `Connect`, messages in order, `Disconnect`, once
//! each. When all have gone, nothing may be left of them: no connection in the hub, no member of a room, no place taken, no
//! task, no descriptor, no entry.
//!
//! Two sorts of actors, each a pool of three, and connections of the one never come to the other. *Firm* ones go on to the
//! end, so that everything is owed: each connection that one has met is told of to the end. *Brittle* ones panic and stop
//! when a client says so, and are started again under the same name. Such an end may cost what was in the mailbox.
//!
//! `SOAK_SEED` and `SOAK_CONNECTIONS` choose another run.

mod support;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{driven, frame, until, upgrade};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use ws_actor::{
    CloseFrame, Closed, ConnId, Connect, Context, Disconnect, Hub, Inbound, Limits, Message, Observer,
    Reason, Relay, Route, Server, WsActor,
};
use ws_core::frame::{Header, Opcode};

/// Clients at a time.
const AT_ONCE: usize = 192;

/// The most that the server takes. It hears of an end a moment later than the client that is the next.
const PLACES: usize = 2 * AT_ONCE;

/// Members of each pool.
const POOL: usize = 3;

const ROOMS: u64 = 12;

/// B3, B4, B14, C7, D4, A8: two thousand connections, or as many as `SOAK_CONNECTIONS` says; `.ci/run soak` says a hundred thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end() {
    soak(2_000).await;
}

/// `SplitMix64`: the same run for the same seed, as far as the scheduler lets it.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What the actors were told, held against the contract.
#[derive(Default)]
struct Book {
    lives: Mutex<HashMap<ConnId, Life>>,
    faults: Mutex<Vec<String>>,
    incarnations: AtomicU64,
    connects: AtomicUsize,
    disconnects: AtomicUsize,
    /// Connections that an actor took with it when it panicked.
    forgotten: AtomicUsize,
    moves: AtomicUsize,
    messages: AtomicUsize,
    panics: AtomicUsize,
    stops: AtomicUsize,
}

/// What an observer is told, whose counts are those of the connections: nobody there panics.
#[derive(Clone, Default)]
struct Watched {
    open: Arc<Mutex<HashMap<ConnId, bool>>>,
    faults: Arc<AtomicUsize>,
}

impl Watched {
    fn ended(&self) -> usize {
        self.open.lock().unwrap().values().filter(|is_open| !**is_open).count()
    }

    fn note(&self, is_right: bool) {
        self.faults.fetch_add(usize::from(!is_right), Ordering::Relaxed);
    }
}

impl Observer for Watched {
    fn opened(&mut self, connection: &Connect) {
        let before = self.open.lock().unwrap().insert(connection.id, true);
        self.note(before.is_none());
    }

    fn closed(&mut self, connection: &Closed) {
        let before = self.open.lock().unwrap().insert(connection.id, false);
        self.note(before == Some(true));
    }
}

#[derive(Default)]
struct Life {
    /// The actor that has it.
    has: Option<u64>,
    is_brittle: bool,
    next: u32,
    is_over: bool,
}

impl Book {
    fn fault(&self, what: impl Into<String>) {
        self.faults.lock().unwrap().push(what.into());
    }

    /// Notes an event of a connection; tells what is wrong with it.
    fn note(&self, id: ConnId, event: &str, change: impl FnOnce(&mut Life) -> Result<(), &'static str>) {
        let mut lives = self.lives.lock().unwrap();
        let life = lives.entry(id).or_default();
        let checked = if life.is_over { Err("it has ended for good") } else { change(life) };
        if let Err(wrong) = checked {
            let Life { has, is_brittle, next, .. } = life;
            let faults = format!("{event} of {id}: {wrong} (has {has:?}, brittle {is_brittle}, next {next})");
            drop(lives);
            self.fault(faults);
        }
    }
}

/// An actor. Dropped, it has been told of the ends of all its connections, unless it panicked.
struct Hand {
    book: Arc<Book>,
    number: u64,
    is_brittle: bool,
    has_panicked: bool,
    met: usize,
}

impl Hand {
    fn new(book: &Arc<Book>, is_brittle: bool) -> Self {
        let number = book.incarnations.fetch_add(1, Ordering::Relaxed) + 1;
        Self { book: Arc::clone(book), number, is_brittle, has_panicked: false, met: 0 }
    }
}

impl WsActor for Hand {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let (id, number, is_brittle) = (connect.id, self.number, self.is_brittle);
        self.book.connects.fetch_add(1, Ordering::Relaxed);
        self.met += 1;
        self.book.note(id, "Connect", |life| {
            life.is_brittle |= is_brittle;
            match life.has.replace(number) {
                None => Ok(()),
                Some(_) => Err("another actor has it"),
            }
        });
        let mut dice = Dice(id.seq());
        for _ in 0..dice.below(3) {
            let _ = cx.room(room(&mut dice)).join(id);
        }
        let _ = cx.send(id, id.to_string());
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let number = self.number;
        match message {
            Message::Binary(bytes) => {
                let said = bytes.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
                self.book.messages.fetch_add(1, Ordering::Relaxed);
                self.book.note(id, "Message", |life| {
                    let is_next = said == life.next || life.is_brittle && said > life.next;
                    life.next = said + 1;
                    match life.has {
                        Some(has) if has == number && is_next => Ok(()),
                        Some(has) if has == number => Err("not the next message"),
                        _ => Err("this actor does not have it"),
                    }
                });
                let mut dice = Dice(id.seq() ^ u64::from(said) << 32);
                match dice.below(8) {
                    0 => drop(cx.room(room(&mut dice)).join(id)),
                    1 => drop(cx.room(room(&mut dice)).leave(id)),
                    2 => drop(cx.room(room(&mut dice)).broadcast(bytes)),
                    3 => drop(cx.send(id, bytes)),
                    4 => tokio::task::yield_now().await,
                    _ => {}
                }
            }
            message if self.is_brittle => match message.as_text() {
                Some("panic") => {
                    self.book.panics.fetch_add(1, Ordering::Relaxed);
                    self.has_panicked = true;
                    // As a panic, but nothing is printed.
                    std::panic::resume_unwind(Box::new("as the client asked"));
                }
                Some("stop") => {
                    self.book.stops.fetch_add(1, Ordering::Relaxed);
                    cx.stop();
                }
                _ => {}
            },
            _ => {}
        }
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        let number = self.number;
        self.book.disconnects.fetch_add(1, Ordering::Relaxed);
        self.met = self.met.saturating_sub(1);
        let has_moved = gone.reason == Reason::Moved;
        if has_moved {
            self.book.moves.fetch_add(1, Ordering::Relaxed);
        }
        self.book.note(gone.id, "Disconnect", |life| {
            life.is_over = !has_moved;
            match life.has.take() {
                Some(has) if has == number => Ok(()),
                _ => Err("this actor does not have it"),
            }
        });
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if !self.has_panicked {
            if self.met > 0 {
                self.book.fault(format!("actor {} was not told of {} ends", self.number, self.met));
            }
            return;
        }
        self.book.forgotten.fetch_add(self.met, Ordering::Relaxed);
        for life in self.book.lives.lock().unwrap().values_mut() {
            if life.has == Some(self.number) {
                life.has = None;
            }
        }
    }
}

fn room(dice: &mut Dice) -> String {
    format!("room {}", dice.below(ROOMS))
}

/// The run's surroundings, as each client sees them.
struct World {
    hub: Hub,
    server: Arc<Server>,
    addr: SocketAddr,
    opened: AtomicUsize,
    refused: AtomicUsize,
    ends: [AtomicUsize; ENDS.len()],
}

fn name(is_brittle: bool, number: usize) -> String {
    format!("{} {number}", if is_brittle { "brittle" } else { "firm" })
}

fn start(hub: &Hub, book: &Arc<Book>) {
    for is_brittle in [false, true] {
        for number in 0..POOL {
            let book = Arc::clone(book);
            // Taken, as long as it runs.
            let _ = hub.spawn(&name(is_brittle, number), move || Hand::new(&book, is_brittle));
        }
    }
}

fn server(hub: &Hub, topic: &Arc<str>) -> Server {
    let mut limits = Limits::new();
    limits.max_connections = Some(PLACES);
    limits.max_per_ip = Some(PLACES);
    limits.max_per_user = Some(PLACES);
    [false, true].into_iter().fold(driven(Server::new(hub)).limits(limits), |server, is_brittle| {
        let path = if is_brittle { "/brittle" } else { "/firm" };
        let route = Route::ws(path).pool((0..POOL).map(|number| name(is_brittle, number)));
        let topic = Arc::clone(topic);
        server.route(route.decide(move |upgrade| {
            let topic = Arc::clone(&topic);
            async move {
                if &*upgrade.query == "wait" {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                Relay::new().topic(topic).user("everybody")
            }
        }))
    })
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn soak(connections: usize) {
    let connections = number_of("SOAK_CONNECTIONS", connections as u64) as usize;
    let seed = number_of("SOAK_SEED", 1);
    let (hub, book, topic) = (Hub::new(), Arc::<Book>::default(), Arc::<str>::from("soak"));
    start(&hub, &book);
    // One server, for pairs in memory and for sockets.
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let server = Arc::new(server(&hub, &topic));
    let accepting = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            while let Ok((io, remote)) = listener.accept().await {
                tokio::spawn(server.serve(io, remote, addr));
            }
        }
    });
    // Whoever ended is started again, and all hear something now and then.
    let keeper = tokio::spawn({
        let (hub, book) = (hub.clone(), Arc::clone(&book));
        async move {
            loop {
                start(&hub, &book);
                hub.broadcast("all");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let metrics = Handle::current().metrics();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (tasks, files, topics) = (metrics.num_alive_tasks(), descriptors(), Arc::strong_count(&topic));

    let world = Arc::new(World {
        hub: hub.clone(),
        server: Arc::clone(&server),
        addr,
        opened: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        ends: [const { AtomicUsize::new(0) }; ENDS.len()],
    });
    let watched = Watched::default();
    hub.observe(watched.clone()).expect("a thread");
    let begun = Instant::now();
    let left = Arc::new(AtomicUsize::new(connections));
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (world, left) = (Arc::clone(&world), Arc::clone(&left));
            let fewer = |left: usize| left.checked_sub(1);
            tokio::spawn(async move {
                while let Ok(n) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer) {
                    live(&world, seed.wrapping_mul(1 << 32).wrapping_add(n as u64)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("clients do not panic");
    }
    let took = begun.elapsed();

    until("every connection is gone", || hub.connection_count() == 0).await;
    until("all actors run again", || metrics.num_alive_tasks() >= tasks).await;
    until("all tasks have ended", || metrics.num_alive_tasks() == tasks).await;
    until("all descriptors are closed", || descriptors() == files).await;
    until("nothing holds an entry", || Arc::strong_count(&topic) == topics).await;
    assert_eq!(hub.connections(), []);
    for number in 0..ROOMS {
        let room = hub.room(format!("room {number}"));
        assert_eq!((room.len(), room.members()), (0, vec![]));
    }
    assert_eq!(hub.room_count(), 0);
    every_place_is_free(&world).await;
    let opened = hub.metrics().opened as usize;
    until("an observer has heard of every end", || watched.ended() >= opened).await;
    assert_eq!((watched.ended(), hub.metrics().observer_missed), (opened, 0));
    assert_eq!(watched.faults.load(Ordering::Relaxed), 0, "opened and closed, once each, in this order");

    keeper.abort();
    accepting.abort();
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "{connections} connections, {} opened, {} refused, in {took:.1?}: {} Connects, {} Disconnects, {} forgotten by {} \
         panics; {} stops, {} moves, {} messages",
        count(&world.opened),
        count(&world.refused),
        count(&book.connects),
        count(&book.disconnects),
        count(&book.forgotten),
        count(&book.panics),
        count(&book.stops),
        count(&book.moves),
        count(&book.messages),
    );
    for (end, ended) in ENDS.iter().zip(&world.ends) {
        println!("{:>7}  {end:?}", count(ended));
        assert!(count(ended) > 0, "no connection came to its {end:?}");
    }
    let faults = book.faults.lock().unwrap();
    assert!(faults.is_empty(), "{} faults, the first: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
    let lives = book.lives.lock().unwrap();
    for (id, life) in &*lives {
        assert_eq!(life.has, None, "nobody was told of the end of {id}");
        assert!(life.is_brittle || life.is_over, "{id} has not ended for its last actor");
    }
    assert_eq!(count(&book.connects), count(&book.disconnects) + count(&book.forgotten));
    assert!([&book.panics, &book.stops, &book.moves].into_iter().all(|events| count(events) > 0));
}

/// A8: as many as ever get in, and no more.
async fn every_place_is_free(world: &Arc<World>) {
    let mut streams = Vec::new();
    for _ in 0..PLACES {
        streams.push(request(world, "/firm").await);
    }
    for (io, buffer) in &mut streams {
        assert_eq!(head(io, buffer).await, Some(101), "a place is lost");
    }
    let (mut io, mut buffer) = request(world, "/firm").await;
    assert_eq!(head(&mut io, &mut buffer).await, Some(503));
    drop((io, streams));
    until("these are gone, too", || world.hub.connection_count() == 0).await;
    // Actors hear of it a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn request(world: &Arc<World>, path: &str) -> (tokio::io::DuplexStream, Vec<u8>) {
    let (mut near, far) = duplex(4_096);
    tokio::spawn(world.server.serve(far, world.addr, world.addr));
    near.write_all(upgrade(world.addr, path, "").as_bytes()).await.expect("it is read");
    (near, Vec::new())
}

/// The ways for a connection to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    BeforeTheRequest,
    AmidTheHead,
    DuringTheDecision,
    RightAfterThe101,
    BetweenMessages,
    AmidAFrame,
    AmidAFragmentedMessage,
    AfterTheCloseFrame,
    CleanClose,
    HalfClose,
    Violation,
    Reset,
    Deaf,
    HubClose,
    HubCloseAndGone,
    WhileMoving,
    WhileMovingClosed,
    ActorPanic,
    ActorPanicWhileMoving,
    ActorStop,
    ActorStopWhileMoving,
}

const ENDS: [End; 21] = [
    End::BeforeTheRequest,
    End::AmidTheHead,
    End::DuringTheDecision,
    End::RightAfterThe101,
    End::BetweenMessages,
    End::AmidAFrame,
    End::AmidAFragmentedMessage,
    End::AfterTheCloseFrame,
    End::CleanClose,
    End::HalfClose,
    End::Violation,
    End::Reset,
    End::Deaf,
    End::HubClose,
    End::HubCloseAndGone,
    End::WhileMoving,
    End::WhileMovingClosed,
    End::ActorPanic,
    End::ActorPanicWhileMoving,
    End::ActorStop,
    End::ActorStopWhileMoving,
];

impl End {
    fn ends_an_actor(self) -> bool {
        use End::{ActorPanic, ActorPanicWhileMoving, ActorStop, ActorStopWhileMoving};
        matches!(self, ActorPanic | ActorPanicWhileMoving | ActorStop | ActorStopWhileMoving)
    }
}

/// One connection's life.
async fn live(world: &Arc<World>, seed: u64) {
    let mut dice = Dice(seed);
    dice.next();
    let at = loop {
        let at = dice.below(ENDS.len() as u64) as usize;
        // Fewer of those that others die of.
        if !ENDS[at].ends_an_actor() || dice.below(4) == 0 {
            break at;
        }
    };
    world.ends[at].fetch_add(1, Ordering::Relaxed);
    let end = ENDS[at];
    let is_brittle = end.ends_an_actor() || dice.below(3) == 0;
    let life = Client { world, end, is_brittle };
    // One in eight over a real socket.
    if dice.below(8) == 0 {
        let Ok(io) = TcpStream::connect(world.addr).await else { return };
        if end == End::Reset {
            io.set_zero_linger().expect("an open socket");
        }
        life.run(io, &mut dice, None).await;
    } else {
        let (near, far) = duplex(64 << dice.below(7));
        let task = tokio::spawn(world.server.serve(far, world.addr, world.addr));
        life.run(near, &mut dice, Some(&task.abort_handle())).await;
    }
}

struct Client<'a> {
    world: &'a World,
    end: End,
    is_brittle: bool,
}

/// Longer than anything takes that is going to happen: whoever waits is about to hang up.
const WHILE: Duration = Duration::from_millis(50);

impl Client<'_> {
    /// Lives and ends; dropping `io` is the end of most.
    async fn run<S>(self, io: S, dice: &mut Dice, task: Option<&AbortHandle>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { world, end, is_brittle } = self;
        let mut wire = Wire { io, is_torn: false };
        if end == End::BeforeTheRequest {
            return;
        }
        let path = if is_brittle { "/brittle" } else { "/firm" };
        let query = if end == End::DuringTheDecision { "?wait" } else { "" };
        let mut request = upgrade(world.addr, &format!("{path}{query}"), "").into_bytes();
        if end == End::AmidTheHead {
            request.truncate(1 + dice.below(request.len() as u64 - 1) as usize);
        }
        // Some do not wait for the answer.
        let is_eager = dice.below(4) == 0;
        let mut said = 0;
        if is_eager {
            request.extend(numbered(&mut said, dice.below(4)));
        }
        if !say(&mut wire, &request).await || matches!(end, End::AmidTheHead | End::DuringTheDecision) {
            if end == End::DuringTheDecision && dice.below(2) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.below(4))).await;
            }
            return;
        }
        let mut buffer = Vec::new();
        let status = if end == End::RightAfterThe101 && dice.below(2) == 0 {
            // Not even read.
            return;
        } else {
            head(&mut wire.io, &mut buffer).await
        };
        match status {
            Some(101) => drop(world.opened.fetch_add(1, Ordering::Relaxed)),
            _ => {
                world.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        if end == End::RightAfterThe101 {
            return;
        }
        // The id that its actor tells it.
        let id = loop {
            match next(&mut wire.io, &mut buffer).await {
                Some((Opcode::Text, text)) => {
                    if let Some(id) = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
                        break id;
                    }
                }
                Some((Opcode::Close, _)) | None => return,
                Some(_) => {}
            }
        };
        for _ in 0..dice.below(4) {
            if !say(&mut wire, &numbered(&mut said, dice.below(6))).await {
                return;
            }
            if dice.below(3) == 0 {
                let _ = next(&mut wire.io, &mut buffer).await;
            }
            if dice.below(4) == 0 {
                self.move_it(id, dice);
            }
        }
        self.end(wire, buffer, id, said, dice, task).await;
    }

    fn move_it(&self, id: ConnId, dice: &mut Dice) {
        let to = name(self.is_brittle, dice.below(POOL as u64) as usize);
        // It may have ended, or the actor may not run.
        let _ = self.world.hub.retarget(id, Relay::to(to));
    }

    async fn end<S>(
        &self,
        mut wire: Wire<S>,
        mut buffer: Vec<u8>,
        id: ConnId,
        mut said: u32,
        dice: &mut Dice,
        task: Option<&AbortHandle>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hub = &self.world.hub;
        let reads_on = match self.end {
            End::AmidAFrame => {
                let whole = numbered(&mut said, 1);
                let part = 1 + dice.below(whole.len() as u64 - 1) as usize;
                say(&mut wire, &whole[..part]).await;
                false
            }
            End::AmidAFragmentedMessage => {
                say(&mut wire, &frame(false, Opcode::Binary, &said.to_be_bytes())).await;
                if dice.below(2) == 0 {
                    say(&mut wire, &frame(true, Opcode::Ping, b"between")).await;
                    say(&mut wire, &frame(false, Opcode::Continuation, b"more")).await;
                }
                false
            }
            End::AfterTheCloseFrame | End::CleanClose => {
                let mut bytes = numbered(&mut said, dice.below(3));
                bytes.extend(frame(true, Opcode::Close, &1000_u16.to_be_bytes()));
                say(&mut wire, &bytes).await && self.end == End::CleanClose
            }
            End::HalfClose => {
                let _ = wire.io.shutdown().await;
                true
            }
            End::Violation => {
                // 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
                say(&mut wire, &[0x82, 0x00]).await
            }
            End::Reset => {
                say(&mut wire, &numbered(&mut said, 3)).await;
                // Of a pair in memory, the server's task is dropped instead.
                if let Some(task) = task {
                    task.abort();
                }
                false
            }
            End::Deaf => {
                // Takes nothing of what the others say, for a while.
                for _ in 0..dice.below(300) {
                    let _ = hub.send(id, Message::binary(vec![0; 512]));
                }
                tokio::time::sleep(Duration::from_millis(dice.below(10))).await;
                false
            }
            End::HubClose | End::HubCloseAndGone => {
                let _ = hub.close(id, CloseFrame::new(1000, "enough"));
                self.end == End::HubClose
            }
            End::WhileMoving | End::WhileMovingClosed => {
                for _ in 0..1 + dice.below(4) {
                    self.move_it(id, dice);
                    if !say(&mut wire, &numbered(&mut said, dice.below(3))).await {
                        break;
                    }
                }
                self.move_it(id, dice);
                if self.end == End::WhileMovingClosed {
                    let _ = hub.close(id, CloseFrame::new(1000, "enough"));
                }
                dice.below(2) == 0 && self.end == End::WhileMovingClosed
            }
            End::ActorPanic | End::ActorStop | End::ActorPanicWhileMoving | End::ActorStopWhileMoving => {
                let is_moving = matches!(self.end, End::ActorPanicWhileMoving | End::ActorStopWhileMoving);
                let panics = matches!(self.end, End::ActorPanic | End::ActorPanicWhileMoving);
                let word: &[u8] = if panics { b"panic" } else { b"stop" };
                let mut bytes = numbered(&mut said, dice.below(3));
                bytes.extend(frame(true, Opcode::Text, word));
                bytes.extend(numbered(&mut said, dice.below(3)));
                say(&mut wire, &bytes).await;
                if is_moving {
                    self.move_it(id, dice);
                }
                dice.below(2) == 0
            }
            // The others have ended before.
            End::BetweenMessages
            | End::BeforeTheRequest
            | End::AmidTheHead
            | End::DuringTheDecision
            | End::RightAfterThe101 => false,
        };
        if reads_on {
            // What is not at its end by then is on its way to another actor, and goes on until it is dropped.
            let _ = timeout(WHILE, async {
                while let Some((opcode, payload)) = next(&mut wire.io, &mut buffer).await {
                    if opcode == Opcode::Close {
                        say(&mut wire, &frame(true, Opcode::Close, payload.get(..2).unwrap_or_default()))
                            .await;
                    }
                }
            })
            .await;
        }
    }
}

/// So many messages, each with its number.
fn numbered(said: &mut u32, count: u64) -> Vec<u8> {
    let first = *said;
    *said += count as u32;
    (first..*said).flat_map(|n| frame(true, Opcode::Binary, &n.to_be_bytes())).collect()
}

/// A client's end of a connection.
struct Wire<S> {
    io: S,
    /// Part of a frame is out: whatever followed it would be the rest.
    is_torn: bool,
}

/// Writes, unless nobody reads.
async fn say(wire: &mut Wire<impl AsyncWrite + Unpin>, bytes: &[u8]) -> bool {
    wire.is_torn = wire.is_torn || !matches!(timeout(WHILE, wire.io.write_all(bytes)).await, Ok(Ok(())));
    !wire.is_torn
}

/// The status of the response; what follows the head is in the buffer.
async fn head(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<u16> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if timeout(support::LONG, io.read_buf(buffer)).await.ok()?.ok()? == 0 {
            return None;
        }
    };
    let status = std::str::from_utf8(buffer.get(9..12)?).ok()?.parse().ok();
    buffer.drain(..end);
    status
}

/// The next frame; `None` at the end, or when nothing comes for long.
async fn next(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<(Opcode, Vec<u8>)> {
    loop {
        if let Some((header, at)) = Header::decode(buffer).ok()? {
            let end = at + header.len as usize;
            if buffer.len() >= end {
                let payload = buffer[at..end].to_vec();
                buffer.drain(..end);
                return Some((header.opcode, payload));
            }
        }
        if timeout(WHILE, io.read_buf(buffer)).await.ok()?.ok()? == 0 {
            return None;
        }
    }
}
