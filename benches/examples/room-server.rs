//! A room over ws-actor: `room-server [--threads N] ADDRESS`. What a member says goes to all of them.
//!
//! `?` is answered with what broadcasts took since the last one: the nanoseconds that the actor spent on them, and the
//! places in outboxes that it filled meanwhile.

use std::io;
use std::time::Instant;

use ws_actor::{Connect, Context, Hub, Inbound, Route, Server, WsActor};
use ws_benches::flags::Flags;
use ws_benches::serve;

#[derive(Default)]
struct Room {
    nanos: u128,
    places: usize,
}

impl WsActor for Room {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let _ = cx.room("room").join(connect.id);
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        if message.as_text() == Some("?") {
            let Self { nanos, places } = std::mem::take(self);
            let _ = cx.send(id, format!("{nanos} {places}"));
            return;
        }
        let start = Instant::now();
        self.places += cx.room("room").broadcast(message).delivered;
        self.nanos += start.elapsed().as_nanos();
    }
}

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    let threads: usize = flags.value("--threads").map_err(io::Error::other)?.unwrap_or(1);
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
        let room = hub.spawn("room", Room::default).map_err(io::Error::other)?;
        let listening = Server::new(&hub).route(Route::ws("/").target(room)).listen(&*address).await?;
        println!("listening on {}", listening.local_addr());
        listening.stopped().await;
        Ok(())
    })
}
