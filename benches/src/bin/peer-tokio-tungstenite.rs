//! Echo over tokio-tungstenite: messages are fed while there are any, and flushed when the stream would wait, as
//! `forward` does, but without the lock that `split` needs.
//!
//! `--read-buffer BYTES` sets the receive buffer; the default is the library's own, 128 KiB, which its docs recommend
//! for high load. 4096 is what they recommend for many connections.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_core::Stream;
use futures_sink::Sink;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use ws_benches::flags::Flags;
use ws_benches::{heap, serve};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> std::io::Result<()> {
    let mut flags = Flags::of_this_process();
    heap::count_if_asked(&mut flags);
    let mut config = WebSocketConfig::default();
    if let Some(bytes) = flags.value("--read-buffer").map_err(std::io::Error::other)? {
        config = config.read_buffer_size(bytes);
    }
    serve::serve(&serve::address(flags)?, move |stream| async move {
        // How it ends does not matter here: the generator reports what was missing.
        let _ = echo(stream, config).await;
    })
}

async fn echo(stream: TcpStream, config: WebSocketConfig) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    loop {
        let message = poll_fn(|context| match Pin::new(&mut socket).poll_next(context) {
            Poll::Pending => match Pin::new(&mut socket).poll_flush(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                _ => Poll::Pending,
            },
            ready => ready,
        });
        let Some(message) = message.await.transpose()? else { return Ok(()) };
        if message.is_text() || message.is_binary() {
            poll_fn(|context| Pin::new(&mut socket).poll_ready(context)).await?;
            Pin::new(&mut socket).start_send(message)?;
        }
    }
}
