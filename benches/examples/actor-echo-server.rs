//! Echo over ws-actor: `actor-echo-server [--count-heap] [--loops N] ADDRESS`. One actor has all connections, which
//! are tasks, or are driven by N loops.

use std::io;

use ws_actor::{Context, Hub, Inbound, Loops, Route, Server, WsActor};
use ws_benches::flags::Flags;
use ws_benches::{heap, serve};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

struct Echo;

impl WsActor for Echo {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        // Refused when the connection is closing: then nobody is waiting for it.
        let _ = cx.send(id, message);
    }
}

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    heap::count_if_asked(&mut flags);
    let loops = flags.value("--loops").map_err(io::Error::other)?;
    let address = serve::address(flags)?;
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(async {
        let hub = Hub::new();
        let echo = hub.spawn("echo", || Echo).map_err(io::Error::other)?;
        let mut server = Server::new(&hub).route(Route::ws("/").target(echo));
        if let Some(count) = loops {
            server = server.on_loops(&Loops::start(count)?);
        }
        let listening = server.listen(&*address).await?;
        println!("listening on {}", listening.local_addr());
        listening.stopped().await;
        Ok(())
    })
}
