//! Sends every message to all connections: `mio-broadcast-server [ADDRESS [THREADS [MIB]]]`.
//!
//! There is one topic, and every connection is a member. For the others a message is framed once, and compressed at most
//! once for each window in use, whatever the number of members and of threads; the sender gets it back as a message of its
//! own. So each connection's stream has both, in any order. A member that falls more than 4 MiB behind, or MIB, is closed
//! with 1013.
//!
//! One thread unless told otherwise, each with a loop of its own. It prints one line when it listens.

use std::io;

use ws_mio::core::{Config, Event, Message, deflate};
use ws_mio::{Acceptance, ConnId, Error, Handler, Overflow, Peer, Refusal, Server, Settings, Visitor};

/// The topic of all connections.
const TOPIC: &str = "all";

struct Broadcast;

impl Handler for Broadcast {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn open(&mut self, peer: &mut Peer<'_, ()>) {
        if let Err(error) = peer.subscribe(TOPIC) {
            eprintln!("{error}");
        }
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        let message = match &event {
            Event::Text(text) => Message::Text(text),
            Event::Binary(bytes) => Message::Binary(bytes),
            _ => return,
        };
        if let Err(error) = peer.publish(TOPIC, message) {
            eprintln!("{error}");
        }
        // If it cannot be sent, the reason comes at the connection's end.
        let _ = peer.send(message);
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
    let behind: usize = arguments.next().map_or(Ok(4), |mib| mib.parse()).map_err(io::Error::other)?;

    let mut config = Config::server();
    config.limits.max_queue = behind << 20;
    // Windows of 32 KiB: this server is also what other implementations are tried against, in windows of all sizes. For one
    // with many connections there is `Settings::server()`, with windows of 4 KiB.
    config.deflate = Some(deflate::Settings::client());
    let mut settings = Settings::new();
    settings.config = config.into();
    settings.loops = loops;
    settings.overflow = Overflow::Close;
    let server = Server::bind(address, settings)?;
    println!("listening on ws://{}", server.local_addr());
    server.run(|_| Broadcast)
}
