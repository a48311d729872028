//! Connections that are killed at every point of their lives, by the thousand: pools, moves, actors that panic or stop.
//!
//! Every call of every actor is checked against the contract as it happens: `Connect`, messages in order, `Disconnect`, once
//! each. When all have gone, nothing may be left of them: no connection in the hub, no member of a room, no occupied place,
//! no task, no descriptor, no entry.
//!
//! Two sorts of actors, each a pool of three, and connections of one sort never reach the other. *Firm* ones run to the
//! end, so nothing may be missing: each is told of its connections until their end. *Brittle* ones panic and stop
//! when a client tells them to, and are started again under the same name. Such an end may cost what was in the mailbox.
//!
//! `SOAK_SEED` and `SOAK_CONNECTIONS` choose another run.

mod book;
mod client;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use book::{Book, Hand};
use client::{ENDS, live};
use support::{Client, driven, gone, until, upgrade};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::runtime::Handle;
use wire::head;
use ws_actor::{Closed, ConnId, Connect, Hub, Limits, Observer, Relay, Route, Server};

/// Clients at a time.
const AT_ONCE: usize = 192;

/// The server's limit. It learns of an end a moment later than the next client does.
const PLACES: usize = 2 * AT_ONCE;

/// Members of each pool.
const POOL: usize = 3;

const ROOMS: u64 = 12;

/// B3, B4, B14, C7, D4, A8: two thousand connections, or the number in `SOAK_CONNECTIONS`; `.ci/run soak` says a
/// hundred thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end() {
    soak(2_000).await;
}

/// What an observer is told, whose counts are those of the connections: no actor panics there.
#[derive(Clone, Default)]
struct Watched {
    open: Arc<Mutex<HashMap<ConnId, bool>>>,
    faults: Arc<AtomicUsize>,
}

impl Watched {
    /// How many connections it has heard of.
    fn heard(&self) -> u64 {
        self.open.lock().unwrap().len() as u64
    }

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
    // Clients that ended are started again, and all are sent something now and then.
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
    let topics = Arc::strong_count(&topic);
    // One connection, and it is over: what the process makes once is there.
    drop(Client::open(addr, "/firm").await);
    gone(&hub).await;
    let metrics = Handle::current().metrics();
    until("nothing but all actors, the listener and the keeper", || {
        metrics.num_alive_tasks() == 2 * POOL + 2
    })
    .await;
    let (mut files, mut looks) = (descriptors(), 0);
    until("no descriptor comes or goes", || {
        let now = descriptors();
        looks = if now == files { looks + 1 } else { 0 };
        files = now;
        looks == 50
    })
    .await;
    let (tasks, before) = (metrics.num_alive_tasks(), hub.metrics().opened);

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
            let (world, left, watched) = (Arc::clone(&world), Arc::clone(&left), watched.clone());
            let fewer = |left: usize| left.checked_sub(1);
            tokio::spawn(async move {
                while let Ok(n) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer) {
                    // An observer that is far behind misses some, by design: its thread may not get to run for a while.
                    while world.hub.metrics().opened - before > watched.heard() + 1_000 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    live(&world, seed.wrapping_mul(1 << 32).wrapping_add(n as u64)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("clients do not panic");
    }
    let took = begun.elapsed();

    gone(&hub).await;
    until("all actors run again", || metrics.num_alive_tasks() >= tasks).await;
    until("all tasks have ended", || metrics.num_alive_tasks() == tasks).await;
    until("all descriptors are closed", || descriptors() <= files).await;
    until("nothing holds an entry", || Arc::strong_count(&topic) == topics).await;
    assert_eq!(hub.connections(), []);
    for number in 0..ROOMS {
        let room = hub.room(format!("room {number}"));
        assert_eq!((room.len(), room.members()), (0, vec![]));
    }
    assert_eq!(hub.room_count(), 0);
    every_place_is_free(&world).await;
    // Behind all that an actor is owed.
    until("every actor has been told", || {
        let mut names =
            [false, true].into_iter().flat_map(|is_brittle| (0..POOL).map(move |n| name(is_brittle, n)));
        names.all(|name| {
            let _ = hub.lookup(&name).map(|actor| actor.cast(name.clone()));
            book.idle.lock().unwrap().contains(&name)
        })
    })
    .await;
    let opened = (hub.metrics().opened - before) as usize;
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

/// A8: at most as many as are allowed at a time.
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
    gone(&world.hub).await;
}

async fn request(world: &Arc<World>, path: &str) -> (tokio::io::DuplexStream, Vec<u8>) {
    let (mut near, far) = duplex(4_096);
    tokio::spawn(world.server.serve(far, world.addr, world.addr));
    near.write_all(upgrade(world.addr, path, "").as_bytes()).await.expect("it is read");
    (near, Vec::new())
}
