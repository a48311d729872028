//! A room over ws-actor: `room-server [--threads N] [--loops N] [--overflow POLICY] [--count-heap] ADDRESS`. Each
//! message goes to all members. Connections are tasks, or are driven by N loops. The policy is close (the default), drop-new,
//! drop-old or conflate; with the last, only the latest message of all is kept.
//!
//! `?` is answered with what broadcasts took since the last one: the nanoseconds that the actor spent on them, and the
//! places in outboxes that it filled meanwhile. `#` is answered with the members, the places lost to the policy, and the
//! bytes on the heap. `!` is answered with half a MiB in 128 messages, which is half of an outbox by either measure.

use std::io;
use std::time::Instant;

use ws_actor::{
    Connect, Context, Hub, Inbound, Loops, Message, OutboxLimits, Outgoing, Overflow, Route, Server, WsActor,
};
use ws_benches::flags::Flags;
use ws_benches::{heap, serve};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

#[derive(Default)]
struct Room {
    is_keyed: bool,
    nanos: u128,
    places: usize,
}

impl WsActor for Room {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let _ = cx.room("room").join(connect.id);
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        match message.as_text() {
            Some("?") => {
                let (nanos, places) = (std::mem::take(&mut self.nanos), std::mem::take(&mut self.places));
                let _ = cx.send(id, format!("{nanos} {places}"));
                return;
            }
            Some("#") => {
                let info = cx.room("room").info();
                let _ = cx.send(id, format!("{} {} {}", info.members, info.dropped, heap::live()));
                return;
            }
            Some("!") => {
                for _ in 0..128 {
                    let _ = cx.send(id, Message::binary(vec![0; 4 << 10]));
                }
                return;
            }
            _ => {}
        }
        let start = Instant::now();
        let message =
            if self.is_keyed { Outgoing::keyed("latest", message) } else { Outgoing::from(message) };
        self.places += cx.room("room").broadcast(message).delivered;
        self.nanos += start.elapsed().as_nanos();
    }
}

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    heap::count_if_asked(&mut flags);
    let mut outbox = OutboxLimits::new();
    outbox.overflow = match flags.text("--overflow").map_err(io::Error::other)?.as_deref() {
        None | Some("close") => Overflow::Close,
        Some("drop-new") => Overflow::DropNew,
        Some("drop-old") => Overflow::DropOld,
        Some("conflate") => Overflow::Conflate,
        Some(_) => return Err(io::Error::other("close, drop-new, drop-old or conflate")),
    };
    let is_keyed = outbox.overflow == Overflow::Conflate;
    let threads: usize = flags.value("--threads").map_err(io::Error::other)?.unwrap_or(1);
    let loops = flags.value("--loops").map_err(io::Error::other)?;
    let address = serve::address(flags)?;
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_io().enable_time().build()?.block_on(async {
        let hub = Hub::new();
        let room =
            hub.spawn("room", move || Room { is_keyed, ..Room::default() }).map_err(io::Error::other)?;
        let route = Route::ws("/").target(room).outbox(outbox);
        let mut server = Server::new(&hub).route(route);
        if let Some(count) = loops {
            server = server.on_loops(&Loops::start(count)?);
        }
        let listening = server.listen(&*address).await?;
        println!("listening on {}", listening.local_addr());
        listening.stopped().await;
        Ok(())
    })
}
