//! Messages that are compressed once for many, read by the peer libraries that support permessage-deflate: interleaved with
//! a server's own compressed messages, with context and without, in windows of several sizes.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use sockudo_ws::deflate::{DeflateConfig, DeflateWindowBits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::deflate::Settings;
use ws_tokio::core::{Config, Message, Prepared};
use ws_tokio::{Acceptance, OwnedMessage, accept_with};

/// Messages per stream; every third is the server's own, the others are prepared.
const MESSAGES: usize = 1_200;

/// What the client asks for in the server's direction: no context, and the window.
const AGREEMENTS: [(bool, u8); 6] =
    [(false, 15), (true, 15), (false, 9), (true, 9), (false, 12), (false, 10)];

/// Text and binary, repetitive and random, mostly short, up to 100 KiB.
fn message(n: usize) -> OwnedMessage {
    let mut state = n as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let size = match n {
        0 => 100 << 10,
        1 => 0,
        _ if n % 90 < 4 => 40_000 + (random() % 30_000) as usize,
        _ => (random() % 20).pow(3) as usize,
    };
    match n % 4 {
        0 | 2 => {
            let mut rows = String::new();
            for line in 0.. {
                if rows.len() >= size {
                    break;
                }
                rows.push_str(&format!(
                    "{{\"id\":{n},\"line\":{line},\"name\":\"grüße {}\"}}\n",
                    random() % 100
                ));
            }
            if n.is_multiple_of(4) { OwnedMessage::from(rows) } else { OwnedMessage::from(rows.into_bytes()) }
        }
        1 => OwnedMessage::from((0..size).map(|_| random() as u8).collect::<Vec<_>>()),
        _ => OwnedMessage::from((0..size).map(|_| (32 + random() % 95) as u8 as char).collect::<String>()),
    }
}

/// Sends all of them down one connection.
async fn serve(stream: TcpStream, messages: &[(OwnedMessage, Prepared)]) {
    let mut config = Config::server();
    config.deflate = Some(Settings::client());
    let mut ws = accept_with(stream, config, |_| Ok(Acceptance::default())).await.expect("an upgrade");
    for (n, (own, prepared)) in messages.iter().enumerate() {
        let mut reply = ws.reply();
        match n % 3 {
            0 => reply.send(own).await.expect("room"),
            _ => reply.send_prepared(prepared).await.expect("room"),
        }
    }
    // The libraries end connections differently.
    let _ = ws.close(None).await;
}

/// Opens a connection by hand and returns what was agreed on.
async fn open(stream: &mut TcpStream, fresh: bool, bits: u8) -> String {
    let fresh = if fresh { "; server_no_context_takeover" } else { "" };
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}{fresh}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("ASCII");
    let field = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let line = field.expect("an agreement").to_owned();
    assert_eq!(line, format!("permessage-deflate{fresh}; server_max_window_bits={bits}"));
    line
}

/// What a library reads: whether it was text, and the bytes; anything else is skipped.
async fn read<S, M, E: std::fmt::Debug>(
    mut socket: S,
    data: impl Fn(M) -> Option<(bool, Bytes)>,
) -> Vec<(bool, Bytes)>
where
    S: Stream<Item = Result<M, E>> + Unpin,
{
    let mut found = Vec::new();
    while found.len() < MESSAGES {
        let next = poll_fn(|cx| Pin::new(&mut socket).poll_next(cx)).await;
        let next = next.unwrap_or_else(|| panic!("the end after {} messages", found.len()));
        found.extend(data(next.unwrap_or_else(|error| panic!("after {} messages: {error:?}", found.len()))));
    }
    found
}

async fn sockudo_ws(stream: TcpStream, fresh: bool, bits: u8, _: &str) -> Vec<(bool, Bytes)> {
    sockudo_ws::init_clock();
    let agreed = DeflateConfig {
        server_max_window_bits: DeflateWindowBits::try_from(bits).expect("a window"),
        server_no_context_takeover: fresh,
        ..DeflateConfig::default()
    };
    let config = sockudo_ws::Config::default();
    let socket = sockudo_ws::CompressedWebSocketStream::client(stream, config, agreed);
    read(socket, |message| match message {
        sockudo_ws::Message::Text(text) => Some((true, text)),
        sockudo_ws::Message::Binary(bytes) => Some((false, bytes)),
        _ => None,
    })
    .await
}

async fn yawc(stream: TcpStream, _: bool, _: u8, line: &str) -> Vec<(bool, Bytes)> {
    let options = yawc::Options::default().with_utf8().with_compression_level(yawc::CompressionLevel::new(6));
    let socket =
        yawc::WebSocket::from_stream_with_extensions(stream, yawc::Role::Client, Some(line), options)
            .expect("an agreement that it takes");
    let socket = Frames(socket);
    read(socket, |frame: yawc::Frame| match frame.opcode() {
        yawc::OpCode::Text => Some((true, frame.into_payload())),
        yawc::OpCode::Binary => Some((false, frame.into_payload())),
        _ => None,
    })
    .await
}

/// yawc's stream has no errors: a failure is its end.
struct Frames<S>(S);

impl<S: Stream<Item = yawc::Frame> + Unpin> Stream for Frames<S> {
    type Item = Result<yawc::Frame, std::convert::Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|frame| frame.map(Ok))
    }
}

/// One broadcast, one library, every agreement at once: the frames are shared by all streams of a window.
async fn all_agreements<F>(library: impl Fn(TcpStream, bool, u8, String) -> F + Clone + Send + 'static)
where
    F: Future<Output = Vec<(bool, Bytes)>> + Send + 'static,
{
    let messages: Vec<_> = (0..MESSAGES)
        .map(|n| {
            let own = message(n);
            let prepared = Prepared::new(own.borrow());
            (own, prepared)
        })
        .collect();
    let messages: &'static [_] = messages.leak();
    let mut streams = Vec::new();
    for (fresh, bits) in AGREEMENTS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
        let (served, _) = listener.accept().await.expect("a peer");
        let server = tokio::spawn(serve(served, messages));
        let library = library.clone();
        let reader = tokio::spawn(async move {
            let line = open(&mut stream, fresh, bits).await;
            library(stream, fresh, bits, line).await
        });
        streams.push((fresh, bits, server, reader));
    }
    for (fresh, bits, server, reader) in streams {
        let found = reader.await.expect("every message");
        for (n, ((is_text, bytes), (due, _))) in found.iter().zip(messages).enumerate() {
            let right =
                matches!(due.borrow(), Message::Text(_)) == *is_text && due.borrow().as_bytes() == bytes;
            assert!(right, "message {n} came as another, with {bits} bits, without context: {fresh}");
        }
        assert_eq!(found.len(), MESSAGES);
        server.await.expect("no panic");
    }
}

/// DP-20: read by sockudo-ws.
#[tokio::test]
async fn dp20_sockudo_ws_reads_what_is_shared() {
    all_agreements(|stream, fresh, bits, line: String| async move {
        sockudo_ws(stream, fresh, bits, &line).await
    })
    .await;
}

/// DP-20: read by yawc.
#[tokio::test]
async fn dp20_yawc_reads_what_is_shared() {
    all_agreements(|stream, fresh, bits, line: String| async move { yawc(stream, fresh, bits, &line).await })
        .await;
}
