//! permessage-deflate over tokio: what the handshakes agree on, what is sent, and what an idle connection keeps.
#![cfg(feature = "deflate")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use ws_tokio::core::deflate::{Compress, Settings, WindowBits};
use ws_tokio::core::{Config, Message};
use ws_tokio::{Acceptance, ConnectOptions, WebSocket, accept_with, connect_over};

/// A stream that counts what is written to it.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = written {
            self.1.fetch_add(n, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Both ends, the line that was agreed on, and the bytes that the client has written.
async fn pair(
    server: Option<Settings>,
    client: Option<Settings>,
) -> (WebSocket<DuplexStream>, WebSocket<Counted>, Option<String>, Arc<AtomicUsize>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let written = Arc::new(AtomicUsize::new(0));
    let far = Counted(far, Arc::clone(&written));
    let mut config = Config::server();
    config.limits.max_message = 4 << 20;
    config.limits.max_frame = 4 << 20;
    config.deflate = server;
    let mut options = ConnectOptions::new();
    let mut client_config = Config::client();
    client_config.deflate = client;
    options.config = client_config.into();
    let (server, client) = tokio::join!(
        accept_with(near, config, |_| Ok(Acceptance::default())),
        connect_over(far, "ws://localhost/", &options)
    );
    let (client, response) = client.expect("a connection");
    let line = response.headers().get("sec-websocket-extensions").map(|line| line.to_str().unwrap().into());
    (server.expect("a connection"), client, line, written)
}

fn settings(takeover: bool, bits: u8) -> Settings {
    let mut settings = Settings::client();
    settings.deflate_takeover = takeover;
    settings.inflate_takeover = takeover;
    settings.deflate_window = WindowBits::new(bits).unwrap();
    settings.inflate_window = WindowBits::new(bits).unwrap();
    settings
}

async fn echo(mut server: WebSocket<DuplexStream>) {
    while let Some((message, mut reply)) = server.recv().await.expect("a client that keeps to the rules") {
        reply.send(message).await.expect("open");
    }
}

/// A6, DN-19: off unless both sides ask for it.
#[tokio::test]
async fn off_means_not_offered() {
    for (server, client) in [(None, None), (Some(Settings::server()), None), (None, Some(Settings::client()))]
    {
        let (server, mut client, line, written) = pair(server, client).await;
        assert_eq!(line, None);
        tokio::spawn(echo(server));
        let before = written.load(Ordering::Relaxed);
        let text = "abc".repeat(1_000);
        client.send(&text).await.unwrap();
        assert!(written.load(Ordering::Relaxed) - before > text.len());
        assert_eq!(client.recv().await.unwrap().unwrap().0, Message::Text(&text));
    }
}

/// The memory-lean default of a server is in its answer.
#[tokio::test]
async fn defaults_agree() {
    let (_, _, line, _) = pair(Some(Settings::server()), Some(Settings::client())).await;
    let line = line.expect("agreed");
    assert!(line.starts_with("permessage-deflate"), "{line}");
    assert!(
        line.contains("server_max_window_bits=12") && line.contains("client_max_window_bits=12"),
        "{line}"
    );
}

/// Whole messages and parts, small and large, in one task and in two: all come back, and fewer bytes are sent.
#[tokio::test]
async fn messages_travel_compressed() {
    for (takeover, bits) in [(true, 15), (true, 9), (false, 12)] {
        let both = Some(settings(takeover, bits));
        let (server, mut client, line, written) = pair(both.clone(), both).await;
        assert!(line.is_some());
        let server = tokio::spawn(echo(server));
        let before = written.load(Ordering::Relaxed);
        let mut sent = 0;
        for n in [0, 1, 63, 64, 1_000, 31 << 10, 40 << 10, 1 << 20] {
            let text: String = "the quick brown föx, ".chars().cycle().take(n).collect();
            client.send(&text).await.unwrap();
            sent += text.len();
            assert!(client.recv().await.unwrap().unwrap().0 == Message::Text(&text), "{n}");
        }
        assert!(written.load(Ordering::Relaxed) - before < sent / 10, "{bits} bits, {sent}");
        let (mut read, mut write) = client.split();
        let text = "to and fro, ".repeat(100_000);
        let (sent, got) = tokio::join!(write.send(&text), read.recv_owned());
        sent.unwrap();
        assert!(got.unwrap().unwrap().borrow() == Message::Text(&text));
        write.close(None).await.unwrap();
        assert!(read.recv().await.unwrap().is_none());
        server.await.unwrap();
    }
}

/// A secret may be kept out of the compressor.
#[tokio::test]
async fn a_message_may_go_plain() {
    let (server, mut client, _, written) = pair(Some(Settings::server()), Some(Settings::client())).await;
    tokio::spawn(echo(server));
    let text = "secret ".repeat(300);
    for (compress, least, most) in [(Compress::Never, text.len(), text.len() + 14), (Compress::Auto, 1, 200)]
    {
        let before = written.load(Ordering::Relaxed);
        client.set_compress(compress);
        client.send(&text).await.unwrap();
        let len = written.load(Ordering::Relaxed) - before;
        assert!((least..=most).contains(&len), "{compress:?}: {len}");
        assert_eq!(client.recv().await.unwrap().unwrap().0, Message::Text(&text));
    }
}

/// DN-20: the idle time is a setting, and holds for both directions, in one piece and in halves: unused state is
/// parked after one to two times that.
#[tokio::test(start_paused = true)]
async fn dn20_the_idle_time_is_a_setting() {
    for idle in [Duration::ZERO, Duration::from_millis(80), Duration::from_secs(5), Duration::from_secs(300)]
    {
        for halves in [false, true] {
            let mut settings = settings(true, 12);
            settings.idle = idle;
            let (server, mut client, _, _) = pair(Some(settings.clone()), Some(settings)).await;
            tokio::spawn(echo(server));
            let text = "used once, ".repeat(20);
            client.send(&text).await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap().0, Message::Text(&text));
            assert!(client.has_live_deflate());
            let step = (idle / 8).max(Duration::from_millis(1));
            let start = tokio::time::Instant::now();
            while client.has_live_deflate() {
                assert!(start.elapsed() <= idle * 2 + step * 2, "{idle:?}, halves {halves}: still live");
                if halves {
                    // The reading half parks for both.
                    let (mut read, write) = client.split();
                    assert!(tokio::time::timeout(step, read.recv()).await.is_err());
                    client = read.reunite(write).unwrap();
                } else {
                    assert!(tokio::time::timeout(step, client.recv()).await.is_err());
                }
            }
            assert!(start.elapsed() >= idle, "{idle:?}, halves {halves}: parked after {:?}", start.elapsed());
            client.send(&text).await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap().0, Message::Text(&text));
        }
    }
}

/// DN-20: idle state is parked, whichever call the connection waits in; and resumes where it was.
#[tokio::test(start_paused = true)]
async fn dn20_idle_state_is_parked() {
    use ws_tokio::core::deflate::{Pool, PoolLimits};
    // A pool that keeps nothing: parked state is freed.
    let mut limits = PoolLimits::new();
    (limits.inflaters, limits.deflaters) = (0, 0);
    let mut settings = settings(true, 15);
    settings.pool = Some(Pool::new(limits));
    let (server, mut client, _, written) = pair(Some(settings.clone()), Some(settings)).await;
    tokio::spawn(echo(server));
    let text = "an unusual sentence, said twice";
    client.set_compress(Compress::Always);
    client.send(text).await.unwrap();
    client.recv().await.unwrap().unwrap();
    assert!(client.has_live_deflate());
    // Nothing is sent: the waiting call parks, after one to two times the idle time.
    let waited = tokio::time::timeout(Duration::from_millis(2_500), client.recv()).await;
    assert!(waited.is_err());
    assert!(!client.has_live_deflate());
    // The window is still there: the second time, the sentence is a reference to the first.
    let before = written.load(Ordering::Relaxed);
    client.send(text).await.unwrap();
    let len = written.load(Ordering::Relaxed) - before;
    assert!(len < 20, "{len}");
    assert_eq!(client.recv().await.unwrap().unwrap().0, Message::Text(text));
}

/// DN-20: state in the middle of a message is not parked, and a peer that stops there does not keep the timer busy.
#[tokio::test]
async fn dn20_a_peer_that_stops_amid_a_message() {
    use tokio::io::AsyncWriteExt;
    use ws_tokio::core::Role;
    use ws_tokio::core::deflate::Agreement;
    let mut config = Config::server();
    let mut settings = settings(true, 15);
    settings.idle = Duration::ZERO;
    config.deflate = Some(settings);
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let mut socket = WebSocket::from_upgraded(near, Role::Server, &[], config).unwrap();
    socket.enable_deflate(&Agreement {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: WindowBits::MAX,
        client_max_window_bits: WindowBits::MAX,
    });
    far.write_all(&[0x41, 0x81, 0, 0, 0, 0, 0xF2]).await.unwrap();
    let mut polls = 0;
    let mut recv = Box::pin(socket.recv());
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        recv.as_mut().poll(cx).map(drop)
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), counted).await.is_err());
    assert!(polls < 500, "{polls}");
}

/// DN-20: an agreement made by hand, without settings, has the default idle time.
#[tokio::test(start_paused = true)]
async fn dn20_agreed_by_hand() {
    use ws_tokio::core::Role;
    use ws_tokio::core::deflate::Agreement;
    let agreement = Agreement {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: WindowBits::MAX,
        client_max_window_bits: WindowBits::MAX,
    };
    let (near, _far) = tokio::io::duplex(64 << 10);
    let mut socket = WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).unwrap();
    socket.enable_deflate(&agreement);
    socket.set_compress(Compress::Always);
    socket.send("held for a while, and not for ever").await.unwrap();
    assert!(socket.has_live_deflate());
    assert!(tokio::time::timeout(Settings::server().idle * 2, socket.recv()).await.is_err());
    assert!(!socket.has_live_deflate());
}
