//! Echo over yawc, as its README describes its own server in comparisons: a 128 KiB read buffer, a write boundary of
//! 64 KiB, and up to 32 buffered messages taken before any is answered. Handshake by hand, without hyper between
//! the library and the socket.
//!
//! permessage-deflate is agreed on when a client offers it; `--level N` and `--window-bits N` set it. `--many` takes the
//! settings that the library's docs recommend for many idle connections instead: a pool, small buffers, no context.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_core::Stream;
use futures_sink::Sink;
use tokio::net::TcpStream;
use ws_benches::flags::Flags;
use ws_benches::{heap, serve, upgrade};
use yawc::{CompressionLevel, DeflatePool, Frame, OpCode, Options, Role, WebSocket};

/// Messages taken before any is answered.
const BATCH: usize = 32;

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> std::io::Result<()> {
    let mut flags = Flags::of_this_process();
    heap::count_if_asked(&mut flags);
    let level = flags.value("--level").map_err(std::io::Error::other)?.unwrap_or(6);
    let window_bits: u8 = flags.value("--window-bits").map_err(std::io::Error::other)?.unwrap_or(15);
    let mut options = Options::default()
        .with_utf8()
        .with_limits(16 << 20, 64 << 20)
        .with_compression_level(CompressionLevel::new(level));
    if flags.has("--many") {
        options = options
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(64))
            .with_compression_threshold(64)
            .with_read_buffer_capacity(1024)
            .with_write_buffer_capacity(1024);
    } else if !flags.has("--default-buffers") {
        options = options.with_read_buffer_capacity(128 << 10).with_backpressure_boundary(64 << 10);
    }
    serve::serve(&serve::address(flags)?, move |stream| {
        let options = options.clone();
        async move {
            // How it ends does not matter here: the generator reports what was missing.
            let _ = echo(stream, options, window_bits).await;
        }
    })
}

async fn echo(
    mut stream: TcpStream,
    options: Options,
    window_bits: u8,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let agreed = upgrade::accept_deflate(&mut stream, window_bits).await?;
    let mut socket =
        WebSocket::from_stream_with_extensions(stream, Role::Server, agreed.as_deref(), options)?;
    let mut batch: Vec<Frame> = Vec::new();
    loop {
        let open = poll_fn(|context| {
            while batch.len() < BATCH {
                match Pin::new(&mut socket).poll_next(context) {
                    Poll::Ready(Some(frame)) => batch.push(frame),
                    Poll::Ready(None) => return Poll::Ready(false),
                    Poll::Pending if batch.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(true)
        })
        .await;
        for frame in batch.drain(..).filter(|frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary)) {
            poll_fn(|context| Pin::new(&mut socket).poll_ready(context)).await?;
            Pin::new(&mut socket).start_send(frame)?;
        }
        poll_fn(|context| Pin::new(&mut socket).poll_flush(context)).await?;
        if !open {
            return Ok(());
        }
    }
}
