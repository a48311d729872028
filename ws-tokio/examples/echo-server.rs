//! Echoes text and binary messages of up to 16 MiB, on any path: `echo-server [ADDRESS]`.
//!
//! One thread. It accepts the first subprotocol that is offered, and prints one line when it listens.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::{Config, ConfigRef, deflate};
use ws_tokio::{Acceptance, accept_with};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on ws://{}", listener.local_addr()?);

    let mut config = Config::server();
    config.limits.max_message = 16 << 20;
    config.limits.max_frame = 16 << 20;
    // Windows of 32 KiB, so that a peer's tests can ask for any. `Settings::server()` has 4 KiB ones: a server with many
    // connections takes those.
    config.deflate = Some(deflate::Settings::client());
    let config = ConfigRef::from(config);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, config.clone()))),
            // Out of descriptors, for instance: those that are open go on, and some of them will end.
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, config: ConfigRef) {
    if let Err(error) = echo(stream, config).await {
        eprintln!("{error}");
    }
}

async fn echo(stream: TcpStream, config: ConfigRef) -> Result<(), Box<dyn std::error::Error>> {
    stream.set_nodelay(true)?;
    let mut ws = accept_with(stream, config, |request| {
        let protocol = request.protocols().next().map(str::to_owned);
        Ok(Acceptance { protocol, ..Acceptance::default() })
    })
    .await?;
    while let Some((message, mut reply)) = ws.recv().await? {
        reply.send(message).await?;
    }
    Ok(())
}
