//! Code shared by the echo servers over tokio: one thread, one task per connection, `TCP_NODELAY`.

use std::future::Future;
use std::io;

use tokio::net::{TcpListener, TcpStream};

use crate::flags::Flags;

/// Listens at `address` and runs `echo` for each connection, on a runtime of one thread, until the process ends.
///
/// Tasks keep tokio's cooperative budget. Some peers' examples opt out of it; under load from one side a server
/// that writes each message by itself then serves one connection forever, one message per read, and gets slower.
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

/// The address on a server's command line, which has no other words.
pub fn address(flags: Flags) -> io::Result<String> {
    let words = flags.rest().map_err(io::Error::other)?;
    let [address] = &words[..] else { return Err(io::Error::other("usage: SERVER [flags] ADDRESS")) };
    Ok(address.clone())
}
