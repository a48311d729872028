//! Echoes text and binary messages of up to 16 MiB, on any path: `mio-echo-server [ADDRESS [THREADS]]`.
//!
//! One thread unless told otherwise, each with a loop of its own. It agrees to the first subprotocol that is offered,
//! and prints one line when it listens.

use std::io;

use ws_mio::core::{Config, Event, deflate};
use ws_mio::{Acceptance, ConnId, Error, Handler, Peer, Refusal, Server, Settings, Visitor};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        let protocol = visitor.request().protocols().next().map(str::to_owned);
        Ok(Acceptance { protocol, ..Acceptance::default() })
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        // If it cannot be sent, the reason comes at the connection's end.
        let _ = match event {
            Event::Text(text) => peer.send(text),
            Event::Binary(bytes) => peer.send(&*bytes),
            _ => Ok(()),
        };
    }

    fn closed(&mut self, _: ConnId, (): (), end: Result<(), Error>) {
        if let Err(error) = end {
            eprintln!("{error}");
        }
    }

    fn failed(&mut self, error: Error) {
        eprintln!("{error}");
    }

    fn accept_failed(&mut self, error: io::Error) {
        eprintln!("accept: {error}");
    }
}

pub(crate) fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let loops = arguments.next().map_or(Ok(1), |count| count.parse()).map_err(io::Error::other)?;

    let mut config = Config::server();
    config.limits.max_message = 16 << 20;
    config.limits.max_frame = 16 << 20;
    // Windows of 32 KiB: this server is also what other implementations are tried against, in windows of all sizes. For one
    // with many connections there is `Settings::server()`, with windows of 4 KiB.
    config.deflate = Some(deflate::Settings::client());
    let mut settings = Settings::new();
    settings.config = config.into();
    settings.loops = loops;
    let server = Server::bind(address, settings)?;
    println!("listening on ws://{}", server.local_addr());
    server.run(|_| Echo)
}
