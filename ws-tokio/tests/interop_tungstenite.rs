//! tokio-tungstenite as the peer, over real sockets: another implementation reads what we write, and the reverse.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Bytes, Error as PeerError, Message as Theirs};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};
use ws_tokio::core::{CloseFrame as OurClose, Config, Event, HandshakeError, Message, Part};
use ws_tokio::{
    CloseReason, ConnectError, ConnectOptions, Error, MaybeTls, WebSocket, accept_with, connect,
    connect_over, connect_with,
};

type Peer = WebSocketStream<TcpStream>;
type Ours = WebSocket<MaybeTls<TcpStream>>;

const MIB: usize = 1 << 20;

/// The messages that must come back as they were: every form of the length, and 1 MiB of both kinds.
const TEXTS: [&str; 3] = ["hello", "", "grüße, 世界 🌍"];
const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, MIB];

/// A peer's settings: no limit of its own, so that ours apply.
fn unlimited() -> Option<WebSocketConfig> {
    Some(WebSocketConfig::default().max_message_size(None).max_frame_size(None))
}

/// Ours: messages of up to 2 MiB, and compression for peers that know it; this one does not.
fn limited(mut config: Config) -> Config {
    #[cfg(feature = "deflate")]
    {
        config.deflate = Some(ws_tokio::core::deflate::Settings::client());
    }
    config.limits.max_message = 2 * MIB as u64;
    config.limits.max_frame = 2 * MIB as u64;
    config
}

// ------------------------------------------------------------------------------------------ their client, our server

/// How our server saw the end: the peer's close frame, or the error.
type Ending = Result<Option<CloseReason>, Error>;

/// A peer that is connected to our echo server.
async fn peer_of_our_echo() -> (Peer, tokio::task::JoinHandle<Ending>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a peer");
        let config = limited(Config::server());
        let mut ws =
            accept_with(stream, config, |_| Ok(ws_tokio::Acceptance::default())).await.expect("an upgrade");
        while let Some((message, mut reply)) = ws.recv().await? {
            reply.send(message).await?;
        }
        Ok(ws.close_reason().cloned())
    });
    let stream = TcpStream::connect(address).await.expect("listening");
    let (peer, response) =
        client_async_with_config(format!("ws://{address}/"), stream, unlimited()).await.expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    (peer, server)
}

async fn next(peer: &mut Peer) -> Result<Theirs, PeerError> {
    let next =
        tokio::time::timeout(Duration::from_secs(60), peer.next()).await.expect("something within a minute");
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

/// Exactly 1 MiB of characters of one to four bytes.
fn mib_of_text() -> String {
    "aé世🌍 世界 ".repeat(MIB / 18) + &"x".repeat(MIB % 18)
}

/// Text and binary of all lengths, through our echo.
#[tokio::test]
async fn messages_come_back_as_they_were() {
    let (mut peer, server) = peer_of_our_echo().await;
    for text in TEXTS.into_iter().chain([mib_of_text().as_str()]) {
        peer.send(Theirs::text(text)).await.expect("open");
        assert_eq!(next(&mut peer).await.expect("an echo"), Theirs::text(text));
    }
    for len in LENGTHS {
        peer.send(Theirs::binary(patterned(len))).await.expect("open");
        assert_eq!(next(&mut peer).await.expect("an echo"), Theirs::binary(patterned(len)), "{len} bytes");
    }
    peer.close(None).await.expect("open");
    assert_eq!(close_code(&mut peer).await, None);
    drop(peer);
    assert!(server.await.expect("no panic").expect("a clean end").is_some());
}

/// A text in three fragments, one of them empty, with a ping among them.
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

/// The peer closes: its code comes back, and its code and reason reach our application.
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
    let wrong: [(&str, Frame, u16); 5] = [
        ("not UTF-8", Frame::message(vec![0xC3, 0x28], OpCode::Data(Data::Text), true), 1007),
        ("a reserved bit", reserved(), 1002),
        ("compressed, which was not agreed on", compressed(), 1002),
        ("a continuation of nothing", Frame::message("x", OpCode::Data(Data::Continue), true), 1002),
        ("over the limit", Frame::message(vec![0; 2 * MIB + 1], OpCode::Data(Data::Binary), true), 1009),
    ];
    for (what, frame, code) in wrong {
        let (mut peer, server) = peer_of_our_echo().await;
        // A large one may find the connection closed before it is fully sent.
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

fn compressed() -> Frame {
    let mut frame = Frame::message("x", OpCode::Data(Data::Text), true);
    frame.header_mut().rsv1 = true;
    frame
}

// ------------------------------------------------------------------------------------------ our client, their server

/// Our client, connected to a peer that the test plays.
async fn client_of_their_server() -> (Ours, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let mut options = ConnectOptions::new();
    options.config = limited(Config::client()).into();
    let peer = async {
        let (stream, _) = listener.accept().await.expect("our client");
        accept_hdr_async_with_config(stream, agree, unlimited()).await.expect("a request")
    };
    let (ours, peer) = tokio::join!(connect_with(url, &options), peer);
    let (ws, response) = ours.expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    (ws, peer)
}

#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
fn agree(_: &Request, response: Response) -> Result<Response, ErrorResponse> {
    Ok(response)
}

/// Our client, connected by [`connect`] to a peer that echoes until it sees a close frame, and returns that.
async fn client_of_their_echo() -> (Ours, tokio::task::JoinHandle<Option<CloseFrame>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("our client");
        let mut peer = accept_hdr_async_with_config(stream, agree, unlimited()).await.expect("a request");
        loop {
            match next(&mut peer).await.expect("a frame it accepts") {
                Theirs::Close(frame) => {
                    // It answers by itself, and ends the connection when polled further.
                    while let Some(Ok(_)) = peer.next().await {}
                    return frame;
                }
                message if message.is_text() || message.is_binary() => {
                    peer.send(message).await.expect("open");
                }
                _ => {}
            }
        }
    });
    let (ws, _) = connect(url).await.expect("a handshake");
    (ws, server)
}

/// Text and binary of all lengths, through their echo.
#[tokio::test]
async fn our_messages_come_back_as_they_were() {
    let (mut ws, server) = client_of_their_echo().await;
    for text in TEXTS.into_iter().chain([mib_of_text().as_str()]) {
        ws.send(text).await.expect("open");
        let (echo, _) = ws.recv().await.expect("open").expect("an echo");
        assert_eq!(echo, Message::Text(text));
    }
    for len in LENGTHS {
        ws.send(&patterned(len)).await.expect("open");
        let (echo, _) = ws.recv().await.expect("open").expect("an echo");
        assert_eq!(echo, Message::Binary(&patterned(len)), "{len} bytes");
    }
    ws.close(None).await.expect("a clean end");
    assert_eq!(server.await.expect("no panic"), None);
}

/// An unanswered offer is not an agreement: the peer, which fails at RSV1, gets what it would have got without the offer.
#[tokio::test]
async fn a_peer_without_compression_gets_plain_messages() {
    let (mut ws, mut peer) = client_of_their_server().await;
    let text = "again and ".repeat(1000);
    ws.send(&*text).await.expect("open");
    assert_eq!(next(&mut peer).await.expect("a plain frame"), Theirs::text(text));
}

/// Our parts, empty ones among them and a ping between two, are one message to the peer.
#[tokio::test]
async fn our_fragments_are_joined_by_the_peer() {
    let (mut ws, mut peer) = client_of_their_server().await;
    for (text, part) in [("grüße, ", Part::First), ("", Part::Middle), ("世", Part::Middle)] {
        ws.send_part(text, part).await.expect("open");
    }
    ws.ping(b"between").expect("room");
    ws.send_part("界", Part::Last).await.expect("open");
    assert_eq!(next(&mut peer).await.expect("open"), Theirs::Ping(Bytes::from("between")));
    assert_eq!(next(&mut peer).await.expect("open"), Theirs::text("grüße, 世界"));

    let large = patterned(MIB);
    let (first, rest) = large.split_at(100_000);
    let sent = async {
        for (bytes, part) in [(first, Part::First), (rest, Part::Middle), (&[][..], Part::Last)] {
            ws.send_part(bytes, part).await.expect("open");
        }
    };
    let ((), received) = tokio::join!(sent, next(&mut peer));
    assert_eq!(received.expect("open"), Theirs::binary(large));
}

/// The peer's fragments, one of them empty and a character cut by another, are one message to us.
#[tokio::test]
async fn the_peers_fragments_are_joined_by_us() {
    let (mut ws, mut peer) = client_of_their_server().await;
    let parts: [(&[u8], Data, bool); 4] = [
        (b"gr\xC3", Data::Text, false),
        (b"", Data::Continue, false),
        (b"\xBC\xC3\x9F", Data::Continue, false),
        (b"e", Data::Continue, true),
    ];
    for (part, opcode, last) in parts {
        let frame = Frame::message(Bytes::from(part), OpCode::Data(opcode), last);
        peer.send(Theirs::Frame(frame)).await.expect("open");
    }
    let (message, _) = ws.recv().await.expect("open").expect("a message");
    assert_eq!(message, Message::Text("grüße"));
}

/// A ping from either side is answered by the other with the same payload, of 0 to 125 bytes.
#[tokio::test]
async fn pings_are_answered_both_ways() {
    let (mut ws, mut peer) = client_of_their_server().await;
    for len in [0, 1, 125] {
        let payload = patterned(len);
        ws.ping(&payload).expect("room");
        ws.flush().await.expect("open");
        assert_eq!(next(&mut peer).await.expect("open"), Theirs::Ping(payload.clone().into()));
        peer.flush().await.expect("its pong leaves");
        let (event, _) = ws.recv_event().await.expect("open").expect("a pong");
        assert_eq!(event, Event::Pong(&payload), "{len} bytes");

        peer.send(Theirs::Ping(payload.clone().into())).await.expect("open");
        let (event, mut reply) = ws.recv_event().await.expect("open").expect("a ping");
        assert_eq!(event, Event::Ping(&payload), "{len} bytes");
        reply.flush().await.expect("our pong leaves");
        assert_eq!(next(&mut peer).await.expect("open"), Theirs::Pong(payload.into()), "{len} bytes");
    }
}

/// The close frames that either side may start with.
fn closes() -> [Option<(u16, String)>; 5] {
    [
        None,
        Some((1000, String::new())),
        Some((1001, "going away".to_owned())),
        Some((3000, "x".repeat(123))),
        Some((4999, "grüße".to_owned())),
    ]
}

/// We close: the peer sees our code and reason, and we see its answer.
#[tokio::test]
async fn our_close_has_its_code_and_reason() {
    for close in closes() {
        let (mut ws, server) = client_of_their_echo().await;
        let frame = close.as_ref().map(|(code, reason)| OurClose::new(*code, reason));
        ws.close(frame).await.expect("a clean end");
        let echoed = ws.close_reason().expect("the peer's close frame").code.0;
        assert_eq!(echoed, close.as_ref().map_or(1005, |(code, _)| *code));
        let seen = server.await.expect("no panic").map(|seen| (seen.code.into(), seen.reason.to_string()));
        assert_eq!(seen, close);
    }
}

/// The peer closes: `recv` returns the end, `close_reason` why, and the peer gets its code back.
#[tokio::test]
async fn the_peers_close_has_its_code_and_reason() {
    for close in closes() {
        let (mut ws, mut peer) = client_of_their_server().await;
        let frame = close.as_ref().map(|(code, reason)| CloseFrame {
            code: CloseCode::from(*code),
            reason: reason.as_str().into(),
        });
        let peer = tokio::spawn(async move {
            peer.close(frame).await.expect("open");
            let echoed = close_code(&mut peer).await;
            assert!(peer.next().await.is_none(), "nothing after the close");
            echoed
        });
        assert!(ws.recv().await.expect("a clean end").is_none());
        let reason = ws.close_reason().expect("the peer's close frame");
        let expected = close.clone().unwrap_or((1005, String::new()));
        assert_eq!((reason.code.0, reason.reason.clone()), expected);
        assert_eq!(peer.await.expect("no panic"), close.map(|(code, _)| code));
    }
}

/// Bytes that a server may not send, on the bare socket after tungstenite's handshake: each fails at the byte that
/// shows it, with nothing sent after it, and tungstenite reads our close frame.
#[tokio::test]
async fn wrong_bytes_of_a_server_are_answered_with_their_code() {
    let over = (2 * MIB as u64 + 1).to_be_bytes();
    let wrong: [(&str, &[u8], u16); 12] = [
        ("text that is not UTF-8", &[0x81, 2, 0xC3, 0x28], 1007),
        ("not UTF-8, in a frame that is not complete", &[0x81, 100, 0xFF], 1007),
        ("a character cut by the end", &[0x81, 1, 0xC3], 1007),
        ("a masked frame", &[0x81, 0x81], 1002),
        ("a reserved bit", &[0xA1], 1002),
        ("a reserved opcode", &[0x83], 1002),
        ("a continuation of nothing", &[0x80], 1002),
        ("a message inside a message", &[0x01, 1, b'x', 0x81], 1002),
        ("a long ping", &[0x89, 126], 1002),
        ("a length in too many bytes", &[0x82, 126, 0, 125], 1002),
        ("a close code that may not travel", &[0x88, 2, 0x03, 0xED], 1002),
        ("a header over the limit", &[&[0x82, 127][..], &over].concat(), 1009),
    ];
    for (what, bytes, code) in wrong {
        let (mut ws, mut peer) = client_of_their_server().await;
        peer.get_mut().write_all(bytes).await.expect("open");
        let peer = tokio::spawn(async move { close_code(&mut peer).await });
        let error = ws.recv().await.map(|message| message.is_some()).expect_err(what);
        assert_eq!(error.close_code().map(|code| code.0), Some(code), "{what}: {error}");
        assert_eq!(peer.await.expect("no panic"), Some(code), "{what}");
    }
}

/// A message one byte over our limit, sent whole by tungstenite, which is told 1009; one that just fits is accepted.
#[tokio::test]
async fn a_message_over_our_limit_is_1009() {
    let (mut ws, mut peer) = client_of_their_server().await;
    let peer = tokio::spawn(async move {
        peer.send(Theirs::binary(vec![1; 2 * MIB])).await.expect("open");
        // It may find the connection closed before it is fully sent.
        let _ = peer.send(Theirs::binary(vec![2; 2 * MIB + 1])).await;
        close_code(&mut peer).await
    });
    let (message, _) = ws.recv().await.expect("open").expect("a message");
    assert_eq!(message.as_bytes().len(), 2 * MIB);
    let error = ws.recv().await.map(|message| message.is_some()).expect_err("too large");
    assert_eq!(error.close_code().map(|code| code.0), Some(1009), "{error}");
    assert_eq!(peer.await.expect("no panic"), Some(1009));
}

/// The server's choice of a subprotocol, over our own stream: one of ours, none, or one that we did not offer;
/// and a server that refuses.
#[tokio::test]
async fn the_server_chooses_the_subprotocol() {
    async fn choose(choice: Option<&'static str>, status: u16) -> Result<Option<String>, ConnectError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).await.expect("listening");
        let (theirs, _) = listener.accept().await.expect("our client");
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let decide = move |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/chat");
            assert_eq!(request.headers()["sec-websocket-protocol"], "chat, chat.v2");
            if status != 101 {
                let (mut parts, _) = response.into_parts();
                parts.status = status.try_into().expect("a status");
                return Err(ErrorResponse::from_parts(parts, Some("no".to_owned())));
            }
            if let Some(choice) = choice {
                response.headers_mut().insert("Sec-WebSocket-Protocol", choice.parse().expect("a token"));
            }
            Ok(response)
        };
        let peer = tokio::spawn(async move {
            // How it handles a client that leaves does not matter here.
            if let Ok(mut peer) = accept_hdr_async_with_config(theirs, decide, None).await {
                while let Some(Ok(message)) = peer.next().await {
                    if message.is_text() && peer.send(message).await.is_err() {
                        break;
                    }
                }
            }
        });
        let mut options = ConnectOptions::new();
        options.protocols = vec!["chat".to_owned(), "chat.v2".to_owned()];
        let answer = connect_over(stream, format!("ws://{address}/chat"), &options).await;
        let answer = match answer {
            Ok((mut ws, response)) => {
                ws.send("in it").await.expect("open");
                let (echo, _) = ws.recv().await.expect("open").expect("an echo");
                assert_eq!(echo, Message::Text("in it"));
                let field = response.headers().get("sec-websocket-protocol");
                Ok(field.map(|field| field.to_str().expect("a token").to_owned()))
            }
            Err(error) => Err(error),
        };
        peer.await.expect("no panic");
        answer
    }

    assert_eq!(choose(Some("chat.v2"), 101).await.expect("a handshake"), Some("chat.v2".to_owned()));
    assert_eq!(choose(None, 101).await.expect("a handshake"), None);
    let error = choose(Some("other"), 101).await.expect_err("not offered");
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::Protocol)), "{error}");
    let error = choose(None, 403).await.expect_err("refused");
    assert!(matches!(&error, ConnectError::Status(response) if response.status() == 403), "{error}");
}
