//! What the echo servers over tokio share: one thread, one task a connection, no delay.

use std::future::Future;
use std::io;

use tokio::net::{TcpListener, TcpStream};

use crate::flags::Flags;

/// Listens at `address` and runs `echo` for each connection, on a runtime of one thread, until the process is ended.
///
/// Tasks are taken out of tokio's cooperative budget, as the example servers of the fastest peers do.
pub fn serve<F, Echo>(address: &str, echo: Echo) -> io::Result<()>
where
    Echo: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(tokio::task::unconstrained(echo(stream)));
        }
    })
}

/// The address of a server's command line, and no other words.
pub fn address(flags: Flags) -> io::Result<String> {
    let words = flags.rest().map_err(io::Error::other)?;
    let [address] = &words[..] else { return Err(io::Error::other("usage: SERVER [flags] ADDRESS")) };
    Ok(address.clone())
}
