//! permessage-deflate on connections that this program dials.
#![cfg(feature = "deflate")]

mod support;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use support::{Log, Seen, listen, soon, witness};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use ws_actor::deflate::Settings;
use ws_actor::{CloseFrame, Connector, DialOptions, Hub, Message, Reason, Route, Server, Upgrade};

async fn message(log: &mut Log) -> Message {
    match log.next().await {
        Seen::Message(_, message) => message,
        other => panic!("{other:?}"),
    }
}

/// Counts what goes over it, both ways together.
struct Tap(TcpStream, Arc<AtomicU64>);

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.fetch_add((buf.filled().len() - before) as u64, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.0).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = polled {
            self.1.fetch_add(n as u64, Ordering::SeqCst);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Streams to an address that count what goes over them.
fn counting(addr: SocketAddr, count: &Arc<AtomicU64>) -> Connector {
    let count = Arc::clone(count);
    Connector::new(move || {
        let count = Arc::clone(&count);
        async move { Ok(Tap(TcpStream::connect(addr).await?, count)) }
    })
}

/// A6: compression is set per dial: on, it is offered, agreed on and used both ways; off, it is not offered; a
/// route without it does not agree. What arrives is the same in any case.
#[tokio::test]
async fn per_dial() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "server", false);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let offered = move |upgrade: Upgrade| {
        let _ = tell.send(upgrade.header("sec-websocket-extensions").is_some());
        async { ws_actor::Relay::new() }
    };
    let with = Route::ws("/with").target(&target).deflate(Settings::server()).decide(offered);
    let addr = listen(Server::new(&hub).route(with).route(Route::ws("/without").target(&target))).await;
    let client_hub = Hub::new();
    let (client, mut client_log) = witness(&client_hub, "client", false);
    let text = "all work and no play makes a dull text. ".repeat(5_000);
    for (path, asks, expected) in [
        ("/with", true, true),
        ("/with", false, false),
        ("/without", true, false),
        ("/without", false, false),
    ] {
        let count = Arc::default();
        let mut options = DialOptions::to(&client);
        options.connector = Some(counting(addr, &count));
        options.protocol.deflate = asks.then(Settings::client);
        let dialled = client_hub.dial(&format!("ws://{addr}{path}"), options).await.unwrap();
        if path == "/with" {
            assert_eq!(soon(told.recv()).await, Some(asks));
        }
        let agreed = dialled.response().headers().contains_key("sec-websocket-extensions");
        assert_eq!(agreed, expected, "{path}, {asks}");
        let (theirs, ours) = (log.connect().await.id, client_log.connect().await.id);
        for _ in 0..3 {
            assert_eq!(client_hub.send(ours, &*text), Ok(()));
            assert!(message(&mut log).await.as_text() == Some(&text));
            assert_eq!(hub.send(theirs, &*text), Ok(()));
            assert!(message(&mut client_log).await.as_text() == Some(&text));
        }
        // To many at once, and of those that share a payload the client has its own mask.
        assert_eq!(client_hub.broadcast(&*text).delivered, 1);
        assert!(message(&mut log).await.as_text() == Some(&text));
        // The end comes after the last message.
        let end = CloseFrame::new(1000, "");
        assert_eq!(client_hub.close(ours, end.clone()), Ok(()));
        assert_eq!(log.disconnect().await, (theirs, Reason::Peer(Some(end))));
        client_log.disconnect().await;
        let bytes = count.load(Ordering::SeqCst);
        let payload = 7 * text.len() as u64;
        assert_eq!(bytes < payload / 20, expected, "{path}, {asks}: {bytes} bytes for {payload}");
    }
}

/// A6, K1: dropped while the server compresses what is never read, an unattached connection still ends cleanly.
#[tokio::test]
async fn dropped_unattached() {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "server", false);
    let route = Route::ws("/ws").target(target).deflate(Settings::server());
    let addr = listen(Server::new(&hub).route(route)).await;
    let mut options = DialOptions::new();
    options.protocol.deflate = Some(Settings::client());
    let dialled = hub.dial(&format!("ws://{addr}/ws"), options).await.unwrap();
    let id = log.connect().await.id;
    assert_eq!(hub.send(id, "x".repeat(1000)), Ok(()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(dialled);
    assert_eq!(log.disconnect().await, (id, Reason::Peer(Some(CloseFrame::new(1000, "")))));
}
