//! Echo over sockudo-ws, like its README for tokio: each reply is fed, and `next` drains them when all messages read so far
//! are handled.
//!
//! permessage-deflate is agreed on when a client offers it, in the way of the library's own test server, with one
//! compressor per connection. `--level N` and `--window-bits N` set it.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use futures_sink::Sink;
use sockudo_ws::deflate::{DeflateConfig, DeflateWindowBits, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{CompressedWebSocketStream, Config, Error, Message, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ws_benches::flags::Flags;
use ws_benches::{heap, serve};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> std::io::Result<()> {
    let mut flags = Flags::of_this_process();
    heap::count_if_asked(&mut flags);
    let mut policy = DeflateConfig::default();
    if let Some(level) = flags.value("--level").map_err(std::io::Error::other)? {
        policy.compression_level = level;
    }
    if let Some(bits) = flags.value::<u8>("--window-bits").map_err(std::io::Error::other)? {
        let window =
            DeflateWindowBits::try_from(bits).map_err(|_| std::io::Error::other("no such window"))?;
        (policy.server_max_window_bits, policy.client_max_window_bits) = (window, window);
    }
    sockudo_ws::init_clock();
    serve::serve(&serve::address(flags)?, move |stream| {
        let policy = policy.clone();
        async move {
            // How it ends does not matter here: the generator reports what was missing.
            let _ = accept(stream, policy).await;
        }
    })
}

async fn accept(mut stream: TcpStream, policy: DeflateConfig) -> Result<(), Error> {
    let mut head = bytes::BytesMut::with_capacity(4096);
    let (answer, agreed) = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        if let Some((request, _)) = parse_request(&head)? {
            let agreed = request.extensions.and_then(|offers| negotiate_server_deflate(offers, &policy));
            let line = agreed.as_ref().map(sockudo_ws::deflate::DeflateNegotiation::to_response_header);
            let answer = build_response(&generate_accept_key(request.key), None, line.as_deref());
            break (answer, agreed);
        }
    };
    stream.write_all(&answer).await?;
    drop(head);
    match agreed {
        Some(agreed) => {
            echo(CompressedWebSocketStream::server(stream, Config::default(), agreed.config)).await
        }
        None => echo(WebSocketStream::server(stream, Config::default())).await,
    }
}

async fn echo<S>(mut socket: S) -> Result<(), Error>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    while let Some(message) = poll_fn(|context| Pin::new(&mut socket).poll_next(context)).await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => {
                poll_fn(|context| Pin::new(&mut socket).poll_ready(context)).await?;
                Pin::new(&mut socket).start_send(message)?;
            }
            Message::Close(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
