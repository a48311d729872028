//! A transport that takes no byte while output waits is given up after `Timeouts::write`, whichever call waits for it; one
//! that takes a little is not.

mod rig;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::SinkExt;
use rig::{Far, Near, TEXT, masked, settle, transport};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{self, Instant};
use ws_tokio::core::{Config, Prepared, Role, SendError, Timer};
use ws_tokio::{Error, WebSocket};

const PATIENCE: Duration = Duration::from_secs(10);

fn config() -> Config {
    let mut config = Config::server();
    config.timeouts.write = Some(PATIENCE);
    config
}

fn server() -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    (WebSocket::from_upgraded(near, Role::Server, &[], config()).expect("a server"), far)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Recv,
    Send,
    SendLarge,
    SendLargeCopied,
    SendPrepared,
    Room,
    Flush,
    ReplyFlush,
    Feed,
    Half,
    HalfLarge,
    HalfRoom,
    HalfRead,
}

const HOW: [How; 13] = [
    How::Recv,
    How::Send,
    How::SendLarge,
    How::SendLargeCopied,
    How::SendPrepared,
    How::Room,
    How::Flush,
    How::ReplyFlush,
    How::Feed,
    How::Half,
    How::HalfLarge,
    How::HalfRoom,
    How::HalfRead,
];

/// Waits for the transport in one of several ways; returns its error, and then what `recv` returns.
async fn wait(mut ws: WebSocket<Near>, how: How) -> (Option<Error>, Result<bool, Error>) {
    let large = vec![7; 100_000];
    if matches!(how, How::Half | How::HalfLarge | How::HalfRoom | How::HalfRead) {
        let (mut read, mut write) = ws.split();
        if how == How::HalfRead {
            write.queue("waits").expect("room");
            return (None, read.recv().await.map(|message| message.is_some()));
        }
        let writes = async {
            match how {
                How::Half => write.send("x").await,
                How::HalfLarge => write.send(&large).await,
                _ => loop {
                    if let Err(error) = write.feed(vec![7; 20_000].into()).await {
                        break Err(error);
                    }
                },
            }
        };
        // The reader waits at the same time, and is told when the writer is.
        let (written, read) = tokio::join!(writes, read.recv());
        return (written.err(), read.map(|message| message.is_some()));
    }
    let error = match how {
        How::Send => ws.send("x").await.err(),
        How::SendLarge | How::SendLargeCopied => ws.reply().send(&large).await.err(),
        How::SendPrepared => ws.send_prepared(&Prepared::new((&large).into())).await.err(),
        How::Room => loop {
            if let Err(error) = ws.reply().send(&large[..20_000]).await {
                break Some(error);
            }
        },
        How::Flush => {
            ws.reply().queue("waits").expect("room");
            ws.flush().await.err()
        }
        How::ReplyFlush => {
            let mut reply = ws.reply();
            reply.queue("waits").expect("room");
            reply.flush().await.err()
        }
        How::Feed => loop {
            if let Err(error) = ws.feed(vec![7; 20_000].into()).await {
                break Some(error);
            }
        },
        _ => {
            ws.reply().queue("waits").expect("room");
            None
        }
    };
    let told = ws.recv().await.map(|message| message.is_some());
    assert!(matches!(ws.recv().await, Ok(None)), "told once");
    (error, told)
}

/// Every wait for a transport that takes nothing has an end, 10 s after the last byte that it took; and with it the
/// connection.
#[tokio::test(start_paused = true)]
async fn every_wait_has_an_end() {
    for how in HOW {
        let (ws, far) = server();
        far.allow(0);
        if how == How::SendLargeCopied {
            far.no_vectored();
        }
        let began = Instant::now();
        let task = tokio::spawn(wait(ws, how));
        time::sleep(Duration::from_secs(8)).await;
        far.allow(1);
        settle().await;
        assert_eq!(far.written_len(), 1, "{how:?}");
        let (error, told) =
            time::timeout(Duration::from_secs(600), task).await.expect("an end").expect("no panic");
        assert_eq!(began.elapsed().as_secs(), 18, "{how:?}");
        assert!(matches!(told, Err(Error::Timeout(Timer::Write))), "{how:?}: {told:?}");
        match error {
            Some(Error::Timeout(Timer::Write)) => {}
            // The reading half got it first.
            Some(Error::Refused(SendError::Closed)) if how == How::HalfRoom => {}
            None if matches!(how, How::Recv | How::HalfRead) => {}
            error => panic!("{how:?}: {error:?}"),
        }
        assert!(far.is_dropped(), "{how:?}");
    }
}

/// A peer that takes a byte every nine seconds is slow, and is waited for; so is one that takes nothing, if there is no
/// deadline.
#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_waited_for() {
    let (mut ws, far) = server();
    far.allow(0);
    let task = tokio::spawn(async move { ws.send("a hundred times").await });
    for _ in 0..10 {
        time::sleep(Duration::from_secs(9)).await;
        far.allow(1);
    }
    settle().await;
    assert!(!task.is_finished());
    far.allow(usize::MAX);
    task.await.expect("no panic").expect("it lives");
    assert_eq!(far.frames().iter().filter(|frame| frame.opcode == TEXT).count(), 1);

    let (near, far) = transport();
    let mut config = config();
    config.timeouts.write = None;
    config.timeouts.keepalive = None;
    let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], config).expect("a server");
    far.allow(0);
    let sent = time::timeout(Duration::from_secs(1_000_000), ws.send("x")).await;
    assert!(sent.is_err(), "{sent:?}");
    far.allow(usize::MAX);
    far.feed(masked(TEXT, b"alive"));
    assert!(ws.recv().await.expect("it lives").is_some());
}

/// The default: a minute.
#[tokio::test(start_paused = true)]
async fn a_minute_by_default() {
    let (near, far) = transport();
    let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("a server");
    far.allow(0);
    let began = Instant::now();
    let sent = ws.send("x").await;
    assert!(matches!(sent, Err(Error::Timeout(Timer::Write))), "{sent:?}");
    assert_eq!(began.elapsed().as_secs(), 60);
}

/// An abandoned wait keeps counting, but what matters is whether the transport takes something at the next try: a task that
/// has used up its budget does not learn that, and draws no conclusion.
#[tokio::test(start_paused = true)]
async fn a_transport_that_takes_something_again_is_not_given_up() {
    for tired in [false, true] {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], config()).expect("a server");
        let sent = time::timeout(Duration::from_secs(1), ws.send(&[7; 2_000])).await;
        assert!(sent.is_err(), "there is no room for so much");
        let peer = tokio::spawn(async move {
            tokio::io::copy(&mut far, &mut tokio::io::sink()).await.expect("no error");
        });
        time::sleep(Duration::from_secs(100)).await;
        let (_reader, mut other) = tokio::io::duplex(1 << 20);
        while tired && tokio::task::coop::has_budget_remaining() {
            other.write_all(b"x").await.expect("room");
        }
        ws.flush().await.expect("it lives");
        drop(ws);
        peer.await.expect("no panic");
    }
}

/// A transport that takes everything written, and holds it back.
struct Hoards(Near);

impl AsyncRead for Hoards {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Hoards {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// The same for a transport that takes bytes and cannot pass them on, as TLS over a blocked socket.
#[tokio::test(start_paused = true)]
async fn a_transport_that_passes_nothing_on_is_given_up() {
    let (near, _far) = transport();
    let mut ws = WebSocket::from_upgraded(Hoards(near), Role::Server, &[], config()).expect("a server");
    let began = Instant::now();
    let sent = time::timeout(Duration::from_secs(600), ws.send("x")).await.expect("an end");
    assert!(matches!(sent, Err(Error::Timeout(Timer::Write))), "{sent:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timer::Write))));
    assert!(matches!(ws.recv().await, Ok(None)));
}
