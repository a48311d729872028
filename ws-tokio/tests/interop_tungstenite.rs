//! tokio-tungstenite as the peer, over real sockets: another implementation reads what we write, and the reverse.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Bytes, Error as PeerError, Message as Theirs};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use ws_tokio::core::Config;
use ws_tokio::{CloseReason, Error, accept_with};

type Peer = WebSocketStream<TcpStream>;

const MIB: usize = 1 << 20;

/// How our server saw the end: the peer's close frame, or the error.
type Ending = Result<Option<CloseReason>, Error>;

/// A peer that is connected to an echo of ours, which takes messages of up to 2 MiB.
async fn peer_of_our_echo() -> (Peer, tokio::task::JoinHandle<Ending>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a peer");
        let mut config = Config::server();
        config.limits.max_message = 2 * MIB as u64;
        config.limits.max_frame = 2 * MIB as u64;
        let mut ws =
            accept_with(stream, config, |_| Ok(ws_tokio::Acceptance::default())).await.expect("an upgrade");
        while let Some((message, mut reply)) = ws.recv().await? {
            reply.send(message).await?;
        }
        Ok(ws.close_reason().cloned())
    });
    let stream = TcpStream::connect(address).await.expect("listening");
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let (peer, response) = client_async_with_config(format!("ws://{address}/"), stream, Some(config))
        .await
        .expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    (peer, server)
}

async fn next(peer: &mut Peer) -> Result<Theirs, PeerError> {
    let next =
        tokio::time::timeout(Duration::from_secs(10), peer.next()).await.expect("something within 10 s");
    next.expect("the connection is open")
}

async fn close_code(peer: &mut Peer) -> Option<u16> {
    loop {
        match next(peer).await {
            Ok(Theirs::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(error) => panic!("no close frame, but {error}"),
        }
    }
}

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + (n >> 8)) as u8).collect()
}

#[tokio::test]
async fn messages_come_back_as_they_were() {
    let (mut peer, server) = peer_of_our_echo().await;
    for text in ["hello", "", "grüße, 世界 🌍", &"世界 🌍 ".repeat(MIB / 16)] {
        peer.send(Theirs::text(text)).await.expect("open");
        assert_eq!(next(&mut peer).await.expect("an echo"), Theirs::text(text));
    }
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, MIB] {
        peer.send(Theirs::binary(patterned(len))).await.expect("open");
        assert_eq!(next(&mut peer).await.expect("an echo"), Theirs::binary(patterned(len)), "{len} bytes");
    }
    peer.close(None).await.expect("open");
    assert_eq!(close_code(&mut peer).await, None);
    drop(peer);
    assert!(server.await.expect("no panic").expect("a clean end").is_some());
}

#[tokio::test]
async fn fragments_are_joined_and_pings_between_them_answered() {
    let (mut peer, _server) = peer_of_our_echo().await;
    let parts = [("grüße, ", OpCode::Data(Data::Text), false), ("", OpCode::Data(Data::Continue), false)];
    for (part, opcode, last) in parts {
        peer.send(Theirs::Frame(Frame::message(Bytes::from(part), opcode, last))).await.expect("open");
    }
    peer.send(Theirs::Ping(Bytes::from("between"))).await.expect("open");
    assert_eq!(next(&mut peer).await.expect("a pong"), Theirs::Pong(Bytes::from("between")));
    let last = Frame::message(Bytes::from("世界"), OpCode::Data(Data::Continue), true);
    peer.send(Theirs::Frame(last)).await.expect("open");
    assert_eq!(next(&mut peer).await.expect("an echo"), Theirs::text("grüße, 世界"));
}

#[tokio::test]
async fn a_close_has_its_code_and_reason() {
    let (mut peer, server) = peer_of_our_echo().await;
    let bye = CloseFrame { code: CloseCode::from(4001), reason: "bye, grüße".into() };
    peer.close(Some(bye)).await.expect("open");
    assert_eq!(close_code(&mut peer).await, Some(4001));
    assert!(peer.next().await.is_none(), "nothing after the close");
    drop(peer);
    let reason = server.await.expect("no panic").expect("a clean end").expect("a close frame");
    assert_eq!((reason.code.0, reason.reason.as_str()), (4001, "bye, grüße"));
}

/// What a peer may not send, and the code it is told.
#[tokio::test]
async fn wrong_frames_are_answered_with_their_code() {
    let wrong: [(&str, Frame, u16); 4] = [
        ("not UTF-8", Frame::message(vec![0xC3, 0x28], OpCode::Data(Data::Text), true), 1007),
        ("a reserved bit", reserved(), 1002),
        ("a continuation of nothing", Frame::message("x", OpCode::Data(Data::Continue), true), 1002),
        ("over the limit", Frame::message(vec![0; 2 * MIB + 1], OpCode::Data(Data::Binary), true), 1009),
    ];
    for (what, frame, code) in wrong {
        let (mut peer, server) = peer_of_our_echo().await;
        // A large one may find the connection closed before it is through.
        let _ = peer.send(Theirs::Frame(frame)).await;
        assert_eq!(close_code(&mut peer).await, Some(code), "{what}");
        drop(peer);
        let error = server.await.expect("no panic").expect_err(what);
        assert_eq!(error.close_code().map(|code| code.0), Some(code), "{what}: {error}");
    }
}

fn reserved() -> Frame {
    let mut frame = Frame::message("x", OpCode::Data(Data::Text), true);
    frame.header_mut().rsv2 = true;
    frame
}
