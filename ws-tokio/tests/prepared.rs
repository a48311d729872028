//! Messages that were prepared for many connections: over real sockets, mixed with a connection's own, unsplit and in
//! halves, and over a transport that takes little.

mod rig;

use std::collections::VecDeque;
use std::pin::pin;

use rig::{Far, Near, poll_once, transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use ws_tokio::core::{CloseFrame, Config, Message, Prepared, Role, SendError};
use ws_tokio::{
    Acceptance, ConnectOptions, Error, OwnedMessage, WebSocket, WriteHalf, accept_with, connect_over,
};

fn server(max_queue: usize) -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    let mut config = Config::server();
    config.limits.max_queue = max_queue;
    (WebSocket::from_upgraded(near, Role::Server, &[], config).expect("a server"), far)
}

/// Both ends of a socket; with deflate settings if the feature is on.
async fn sockets(
    server: impl FnOnce(&mut Config),
    client: impl FnOnce(&mut Config),
) -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
    let (far, _) = listener.accept().await.expect("a peer");
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    let mut config = Config::server();
    config.limits.max_queue = 4 << 20;
    server(&mut config);
    let mut options = ConnectOptions::new();
    let mut client_config = Config::client();
    client(&mut client_config);
    options.config = client_config.into();
    let (server, client) = tokio::join!(
        accept_with(far, config, |_| Ok(Acceptance::default())),
        connect_over(near, "ws://localhost/", &options)
    );
    (server.expect("a connection"), client.expect("a connection").0)
}

/// Text that repeats itself, of this many bytes or a few less.
fn text(len: usize, seed: usize) -> String {
    let mut text = String::with_capacity(len + 40);
    for n in 0.. {
        if text.len() >= len {
            break;
        }
        text.push_str(&format!("{{\"id\":{},\"name\":\"größe {}\"}},", n * seed, (n * n + seed) % 7));
    }
    while text.len() > len {
        text.pop();
    }
    text
}

/// Sizes around every border: of lengths, of what is copied, and of what is written without a copy.
const SIZES: [usize; 14] =
    [0, 1, 63, 64, 125, 126, 1000, 5000, 32_767, 32_768, 40_000, 65_535, 65_536, 300_000];

/// A broadcast to connections of every kind, each of which sends its own messages in between, reaches all, whole and
/// in the order in which it was sent. One task, two halves; small frames and large.
#[tokio::test]
async fn a_broadcast_between_own_messages() {
    for halves in [false, true] {
        let news: Vec<OwnedMessage> = SIZES
            .iter()
            .enumerate()
            .map(|(n, len)| match n % 3 {
                2 => OwnedMessage::from(text(*len, n).into_bytes()),
                _ => OwnedMessage::from(text(*len, n)),
            })
            .collect();
        let prepared: Vec<Prepared> = news.iter().map(|news| Prepared::new(news.borrow())).collect();
        let mut members = Vec::new();
        for kind in 0..kinds() {
            let (server, mut client) =
                sockets(|config| settle(config, kind), |config| settle(config, kind)).await;
            let listener = tokio::spawn(async move {
                let mut heard = VecDeque::new();
                while let Some(message) = client.recv_owned().await.expect("the rules are kept") {
                    heard.push_back(message);
                }
                heard
            });
            members.push((server, listener));
        }
        let mut whole = Vec::new();
        for (server, listener) in members {
            let (send, mut orders) = mpsc::unbounded_channel::<(Option<Prepared>, OwnedMessage)>();
            let writer = tokio::spawn(async move {
                if halves {
                    let (mut read, mut write) = server.split();
                    let reader =
                        tokio::spawn(async move { read.recv().await.map(|message| message.is_none()) });
                    while let Some((prepared, own)) = orders.recv().await {
                        say_half(&mut write, prepared.as_ref(), &own).await;
                    }
                    write.close(None).await.unwrap();
                    assert!(reader.await.unwrap().unwrap());
                } else {
                    let mut server = server;
                    while let Some((prepared, own)) = orders.recv().await {
                        match &prepared {
                            Some(prepared) => server.send_prepared(prepared).await.unwrap(),
                            None => server.send(&own).await.unwrap(),
                        }
                    }
                    server.close(None).await.unwrap();
                }
            });
            whole.push((send, writer, listener));
        }
        let mut expected = Vec::new();
        for turn in 0..120 {
            let at = turn * 5 % news.len();
            let own = OwnedMessage::from(text(turn * 31 % 3000, 1));
            for (send, ..) in &whole {
                if turn % 3 == 0 {
                    send.send((None, own.clone())).unwrap();
                } else {
                    send.send((Some(prepared[at].clone()), news[at].clone())).unwrap();
                }
            }
            expected.push(if turn % 3 == 0 { own } else { news[at].clone() });
        }
        for (kind, (send, writer, listener)) in whole.into_iter().enumerate() {
            drop(send);
            writer.await.unwrap();
            let heard = listener.await.unwrap();
            assert_eq!(heard.len(), expected.len(), "{kind}");
            assert!(heard.iter().eq(&expected), "{kind}");
        }
    }
}

async fn say_half(write: &mut WriteHalf<TcpStream>, prepared: Option<&Prepared>, own: &OwnedMessage) {
    match prepared {
        // Every other one without waiting, as far as the queue takes it.
        Some(prepared) if prepared.len() % 2 == 0 => match write.queue_prepared(prepared) {
            Err(Error::QueueFull) => write.send_prepared(prepared).await.unwrap(),
            queued => queued.unwrap(),
        },
        Some(prepared) => write.send_prepared(prepared).await.unwrap(),
        None => write.send(own).await.unwrap(),
    }
}

#[cfg(feature = "deflate")]
fn kinds() -> usize {
    7
}

#[cfg(not(feature = "deflate"))]
fn kinds() -> usize {
    1
}

/// Without compression, and with and without context, for windows of several sizes.
#[cfg(feature = "deflate")]
fn settle(config: &mut Config, kind: usize) {
    use ws_tokio::core::deflate::{Settings, WindowBits};
    let Some((takeover, bits)) = [
        None,
        Some((true, 15)),
        Some((false, 15)),
        Some((true, 9)),
        Some((false, 9)),
        Some((true, 12)),
        Some((true, 10)),
    ][kind] else {
        return;
    };
    let mut settings = Settings::client();
    (settings.deflate_takeover, settings.inflate_takeover) = (takeover, takeover);
    settings.deflate_window = WindowBits::new(bits).unwrap();
    settings.inflate_window = WindowBits::new(bits).unwrap();
    config.deflate = Some(settings);
}

#[cfg(not(feature = "deflate"))]
fn settle(_: &mut Config, _: usize) {}

/// It is compressed where that was agreed on, and once: fewer bytes than the message for each member, and no compressor
/// held by any of them.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn it_is_compressed_for_those_who_agreed() {
    let news = Prepared::new(Message::Text(&text(20_000, 5)));
    for (kind, compressed) in [(0, false), (1, true), (4, true)] {
        let (mut server, mut client) =
            sockets(|config| settle(config, kind), |config| settle(config, kind)).await;
        server.send_prepared(&news).await.unwrap();
        assert!(!server.has_live_deflate());
        let message = client.recv_owned().await.unwrap().unwrap();
        assert!(message.borrow() == news.message());
        assert_eq!(client.has_live_deflate(), kind == 1, "inflated by the client, with context");
        // What is sent, read by hand.
        let (near, far) = transport();
        let mut config = Config::server();
        settle(&mut config, kind);
        let mut server = WebSocket::from_upgraded(near, Role::Server, &[], config).unwrap();
        if compressed {
            server.enable_deflate(&agreement(kind == 1, if kind == 1 { 15 } else { 9 }));
        }
        server.send_prepared(&news).await.unwrap();
        let written = far.written();
        assert_eq!(written[0], if compressed { 0xC1 } else { 0x81 });
        assert_eq!(written.len() < news.len() / 3, compressed, "{}", written.len());
    }
}

#[cfg(feature = "deflate")]
fn agreement(takeover: bool, bits: u8) -> ws_tokio::core::deflate::Agreement {
    let window = ws_tokio::core::deflate::WindowBits::new(bits).unwrap();
    ws_tokio::core::deflate::Agreement {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: window,
        client_max_window_bits: window,
    }
}

/// A client must mask, and sends the message itself.
#[tokio::test]
async fn a_client_sends_the_message_in_it() {
    let (mut server, mut client) = sockets(|_| {}, |_| {}).await;
    for len in [5, 50_000] {
        let news = text(len, 3);
        let prepared = Prepared::new(Message::Text(&news));
        client.send_prepared(&prepared).await.unwrap();
        client.reply().queue_prepared(&prepared).unwrap();
        client.flush().await.unwrap();
        for _ in 0..2 {
            assert!(server.recv().await.unwrap().unwrap().0 == Message::Text(&news));
        }
    }
    let (_read, mut write) = client.split();
    let prepared = Prepared::new(Message::Binary(b"by a half"));
    write.send_prepared(&prepared).await.unwrap();
    write.queue_prepared(&prepared).unwrap();
    write.flush().await.unwrap();
    for _ in 0..2 {
        assert!(server.recv().await.unwrap().unwrap().0 == Message::Binary(b"by a half"));
    }
}

/// Given up at any byte, a large frame is never cut, and it does not matter how much the transport takes at once, nor
/// whether it writes vectored; a control frame comes before or after it.
#[tokio::test]
async fn never_half_a_frame() {
    let news = text(100_000, 7);
    let prepared = Prepared::new(Message::Text(&news));
    for vectored in [true, false] {
        for room in [0, 1, 2, 3, 9, 10, 11, 5000, 70_000, 100_009, 100_010, 100_013] {
            for halves in [false, true] {
                let (mut ws, far) = server(1 << 20);
                if !vectored {
                    far.no_vectored();
                }
                far.allow(room);
                ws.ping(b"?").unwrap();
                if halves {
                    let (mut read, mut write) = ws.split();
                    drop(poll_once(pin!(write.send_prepared(&prepared))));
                    write.ping(b"!").unwrap();
                    far.allow(usize::MAX);
                    drop(poll_once(pin!(read.recv())));
                } else {
                    drop(poll_once(pin!(ws.send_prepared(&prepared))));
                    ws.ping(b"!").unwrap();
                    far.allow(usize::MAX);
                    drop(poll_once(pin!(ws.recv())));
                }
                let frames = far.frames();
                let seen: Vec<(u8, usize)> =
                    frames.iter().map(|frame| (frame.opcode, frame.payload.len())).collect();
                assert_eq!(seen, [(9, 1), (1, news.len()), (9, 1)], "{room} {halves}");
                assert!(frames[1].payload == news.as_bytes());
            }
        }
    }
}

/// N-02: a small queue is full for a prepared message too; and an empty one takes it.
#[tokio::test]
async fn n02_the_queue_is_bounded() {
    for max_queue in [0, 1000, 50_000] {
        let prepared = Prepared::new(Message::Text(&text(98, 2)));
        let (mut ws, far) = server(max_queue);
        far.allow(0);
        let mut taken = 0;
        while ws.reply().queue_prepared(&prepared).is_ok() {
            taken += 1;
        }
        // A frame of 100 bytes each, the last of which needs room for the longest header.
        assert_eq!(taken, (max_queue.saturating_sub(12) / 100).max(1));
        far.allow(usize::MAX);
        ws.flush().await.unwrap();
        assert_eq!(far.frames().len(), taken);
        let large = Prepared::new(Message::Text(&text(100_000, 2)));
        ws.reply().queue_prepared(&large).unwrap();
        ws.flush().await.unwrap();
        assert_eq!(far.frames().len(), taken + 1);
    }
}

/// After a close frame, and within a message in parts, it is refused.
#[tokio::test]
async fn refused_where_a_message_is() {
    use ws_tokio::core::Part;
    let prepared = Prepared::new(Message::Text("news"));
    let (mut ws, far) = server(1 << 20);
    ws.send_part("a", Part::First).await.unwrap();
    assert!(matches!(ws.send_prepared(&prepared).await, Err(Error::Refused(SendError::MessageOpen))));
    ws.send_part("b", Part::Last).await.unwrap();
    ws.start_close(Some(CloseFrame::new(1000, ""))).unwrap();
    assert!(matches!(ws.send_prepared(&prepared).await, Err(Error::Refused(SendError::Closed))));
    assert!(matches!(ws.reply().queue_prepared(&prepared), Err(Error::Refused(SendError::Closed))));
    ws.flush().await.unwrap();
    assert_eq!(far.frames().len(), 3);
    let (ws, far) = server(1 << 20);
    let (_read, mut write) = ws.split();
    write.start_close(None).unwrap();
    assert!(matches!(write.send_prepared(&prepared).await, Err(Error::Refused(SendError::Closed))));
    assert!(matches!(write.queue_prepared(&prepared), Err(Error::Refused(SendError::Closed))));
    write.flush().await.unwrap();
    assert_eq!(far.frames().len(), 1);
}
