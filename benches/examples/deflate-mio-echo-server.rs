//! Echo over ws-mio, like the `mio-echo-server` example, with permessage-deflate as the command line says:
//! `deflate-mio-echo-server [--level N] [--window-bits N] ADDRESS`.

use std::io;

use ws_benches::flags::Flags;
use ws_benches::serve;
use ws_mio::core::{Config, Event, deflate};
use ws_mio::{Acceptance, Handler, Peer, Refusal, Server, Settings, Visitor};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        // If it cannot be sent, the reason comes with the connection's end.
        let _ = match event {
            Event::Text(text) => peer.send(text),
            Event::Binary(bytes) => peer.send(&*bytes),
            _ => Ok(()),
        };
    }
}

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    let mut settings = deflate::Settings::client();
    if let Some(level) = flags.value("--level").map_err(io::Error::other)? {
        settings.level = level;
    }
    let bits = flags.value("--window-bits").map_err(io::Error::other)?.unwrap_or(15);
    let window = deflate::WindowBits::new(bits).ok_or_else(|| io::Error::other("windows are 8 to 15"))?;
    (settings.deflate_window, settings.inflate_window) = (window, window);
    let address = serve::address(flags)?;
    let mut config = Config::server();
    config.limits.max_message = 16 << 20;
    config.limits.max_frame = 16 << 20;
    config.deflate = Some(settings);
    let mut server = Settings::new();
    server.config = config.into();
    let server = Server::bind(address, server)?;
    println!("listening on {}", server.local_addr());
    server.run(|_| Echo)
}
