//! Echo over tokio-websockets. The library flushes whatever was fed before it reads on, so a loop that feeds message
//! by message writes each by itself. The fast way: take all buffered messages, feed them, flush once.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_core::Stream;
use futures_sink::Sink;
use tokio::net::TcpStream;
use tokio_websockets::{Config, Error, Limits, Message, ServerBuilder};
use ws_benches::flags::Flags;
use ws_benches::serve;

/// Messages taken before any is answered: more would only take memory.
const BATCH: usize = 64;

fn main() -> std::io::Result<()> {
    let mut flags = Flags::of_this_process();
    // The library's own threshold (8 KiB) cuts a batch of 1 KiB messages into two writes.
    let threshold = flags.value("--flush-threshold").map_err(std::io::Error::other)?.unwrap_or(64 * 1024);
    let config = Config::default().frame_size(usize::MAX).flush_threshold(threshold);
    serve::serve(&serve::address(flags)?, move |stream| async move {
        // How it ends does not matter here: the generator reports what was missing.
        let _ = echo(stream, config).await;
    })
}

async fn echo(stream: TcpStream, config: Config) -> Result<(), Error> {
    let builder = ServerBuilder::new().config(config).limits(Limits::unlimited());
    let (_request, mut socket) = builder.accept(stream).await?;
    let mut batch: Vec<Message> = Vec::new();
    loop {
        let open = poll_fn(|context| {
            while batch.len() < BATCH {
                match Pin::new(&mut socket).poll_next(context) {
                    Poll::Ready(Some(Ok(message))) => batch.push(message),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => return Poll::Ready(Ok(false)),
                    Poll::Pending if batch.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(true))
        })
        .await?;
        for message in batch.drain(..).filter(|message| message.is_text() || message.is_binary()) {
            poll_fn(|context| Pin::new(&mut socket).poll_ready(context)).await?;
            Pin::new(&mut socket).start_send(message)?;
        }
        poll_fn(|context| Pin::new(&mut socket).poll_flush(context)).await?;
        if !open {
            return Ok(());
        }
    }
}
