//! Echo over ws-tokio, like the `echo-server` example, with permessage-deflate as the command line says:
//! `deflate-echo-server [--level N] [--window-bits N] [--count-heap] ADDRESS`.
//!
//! Without these flags it has the settings of `echo-server`, which accept any offer. `--window-bits 0` turns it off.

use std::io;

use tokio::net::TcpStream;
use ws_benches::flags::Flags;
use ws_benches::{heap, serve};
use ws_tokio::core::{Config, ConfigRef, deflate};
use ws_tokio::{Acceptance, accept_with};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    heap::count_if_asked(&mut flags);
    let mut settings = deflate::Settings::client();
    if let Some(level) = flags.value("--level").map_err(io::Error::other)? {
        settings.level = level;
    }
    let bits = flags.value("--window-bits").map_err(io::Error::other)?.unwrap_or(15);
    let mut config = Config::server();
    config.limits.max_message = 16 << 20;
    config.limits.max_frame = 16 << 20;
    if bits > 0 {
        let window = deflate::WindowBits::new(bits).ok_or_else(|| io::Error::other("windows are 8 to 15"))?;
        (settings.deflate_window, settings.inflate_window) = (window, window);
        config.deflate = Some(settings);
    }
    let config = ConfigRef::from(config);
    serve::serve(&serve::address(flags)?, move |stream| {
        let config = config.clone();
        async move {
            // How it ends does not matter here: the generator reports what was missing.
            let _ = echo(stream, config).await;
        }
    })
}

async fn echo(stream: TcpStream, config: ConfigRef) -> Result<(), Box<dyn std::error::Error>> {
    let mut ws = accept_with(stream, config, |_| Ok(Acceptance::default())).await?;
    while let Some((message, mut reply)) = ws.recv().await? {
        reply.send(message).await?;
    }
    Ok(())
}
