//! What the echo servers over tokio share: one thread, one task a connection, no delay.

use std::future::Future;
use std::io;

use tokio::net::{TcpListener, TcpStream};

use crate::flags::Flags;

/// Listens at `address` and runs `echo` for each connection, on a runtime of one thread, until the process is ended.
///
/// Tasks keep tokio's cooperative budget. Some peers' examples take them out of it; under load from one side a server
/// that writes each message by itself then serves one connection without end, one message a read, and gets slower.
pub fn serve<F, Echo>(address: &str, echo: Echo) -> io::Result<()>
where
    Echo: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        }
    })
}

/// The address of a server's command line, and no other words.
pub fn address(flags: Flags) -> io::Result<String> {
    let words = flags.rest().map_err(io::Error::other)?;
    let [address] = &words[..] else { return Err(io::Error::other("usage: SERVER [flags] ADDRESS")) };
    Ok(address.clone())
}
