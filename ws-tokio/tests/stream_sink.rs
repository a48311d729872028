//! `Stream` and `Sink`, as the combinators of futures use them.

mod rig;

use futures_util::{SinkExt, StreamExt, stream};
use rig::{BINARY, CLOSE, Near, TEXT, close_body, masked, settle, transport};
use ws_tokio::core::{CloseCode, Config, Role, SendError};
use ws_tokio::{Error, OwnedMessage, WebSocket};

fn server() -> (WebSocket<Near>, rig::Far) {
    let (near, far) = transport();
    (WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("a server"), far)
}

/// An echo by combinators alone: all comes back in order, and the stream ends with a clean close.
#[tokio::test]
async fn forward_echoes() {
    let (server, client) = tokio::io::duplex(5_000);
    let server = WebSocket::from_upgraded(server, Role::Server, &[], Config::server()).expect("a server");
    let client = WebSocket::from_upgraded(client, Role::Client, &[], Config::client()).expect("entropy");
    let echo = tokio::spawn(async move {
        let (sink, stream) = server.split();
        // Here the reading half is the stream, the writing half the sink.
        sink.forward(stream).await
    });
    let messages: Vec<OwnedMessage> =
        (0..40).map(|i| OwnedMessage::from(vec![i as u8; i * i * 60])).chain(["text".into()]).collect();
    let (mut read, mut write) = client.split();
    let sent = messages.clone();
    let sender = tokio::spawn(async move {
        write.send_all(&mut stream::iter(sent).map(Ok)).await.expect("open");
        write
    });
    for message in messages {
        assert_eq!(read.next().await.expect("open").expect("a message"), message);
    }
    let mut write = sender.await.expect("no panic");
    SinkExt::close(&mut write).await.expect("it leaves");
    assert!(read.next().await.is_none());
    assert_eq!(read.close_reason().map(|reason| reason.code), Some(CloseCode::NORMAL));
    echo.await.expect("no panic").expect("a clean end");
}

/// A failure is an item, once; then the stream is over.
#[tokio::test]
async fn a_failure_ends_the_stream() {
    let (mut ws, far) = server();
    far.feed(masked(TEXT, b"good"));
    far.feed(masked(TEXT, b"\xC0"));
    far.end();
    assert_eq!(ws.next().await.expect("open").expect("a message"), "good".into());
    assert!(matches!(ws.next().await, Some(Err(Error::Violation(_)))));
    assert!(ws.next().await.is_none());
    assert!(ws.next().await.is_none());
}

/// `feed` gathers, `flush` sends; `close` is done when the peer has answered, and later messages are refused.
#[tokio::test(start_paused = true)]
async fn feed_flush_close() {
    let (mut ws, far) = server();
    ws.feed("a".into()).await.expect("open");
    ws.feed(vec![0u8; 10].into()).await.expect("open");
    assert_eq!(far.written_len(), 0);
    SinkExt::flush(&mut ws).await.expect("open");
    assert_eq!(far.writes().len(), 1);
    assert_eq!(far.frames().iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [TEXT, BINARY]);
    let close = tokio::spawn(async move { (SinkExt::close(&mut ws).await, ws) });
    settle().await;
    assert!(!close.is_finished(), "the peer has not answered");
    far.feed([masked(TEXT, b"dropped"), masked(CLOSE, &close_body(1000, ""))].concat());
    far.end();
    let (closed, mut ws) = close.await.expect("no panic");
    closed.expect("clean");
    assert!(matches!(ws.feed("late".into()).await, Err(Error::Refused(SendError::Closed))));
    assert!(ws.next().await.is_none());
}

/// A sink in front of a peer that does not read is not ready, and holds 64 KiB and a message.
#[tokio::test]
async fn a_sink_waits_for_room() {
    for max_queue in [1_000, 1 << 20] {
        let (near, far) = transport();
        let mut config = Config::server();
        config.limits.max_queue = max_queue;
        let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], config).expect("a server");
        far.allow(0);
        let task = tokio::spawn(async move {
            for _ in 0..20 {
                ws.feed(vec![0u8; 20_000].into()).await.expect("open");
            }
            SinkExt::flush(&mut ws).await.expect("open");
        });
        settle().await;
        assert!(!task.is_finished());
        far.allow(usize::MAX);
        task.await.expect("no panic");
        assert_eq!(far.frames().len(), 20);
    }
}
