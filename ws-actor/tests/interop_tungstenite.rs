//! tokio-tungstenite as the peer of an actor, over real sockets: as a client of its server, and as a server that it dials.

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::{Log, Seen, listen, soon, witness};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame as TheirClose, Frame};
use tokio_tungstenite::tungstenite::{Bytes, Message as Theirs};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use ws_actor::{
    CloseFrame, ConnId, DialOptions, Dialled, Hub, Message, OutboxLimits, Reason, Role, Route, Server,
    Settings,
};

type Peer = WebSocketStream<TcpStream>;

/// Longer than any wait in these tests.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// Every form of the length, and messages of more than one fragment: those of over 256 KiB.
const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000, 1 << 20];

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + (n >> 8)) as u8).collect()
}

fn texts() -> Vec<String> {
    let large = "aé世🌍 ".repeat(60_000);
    ["hello", "", "grüße, 世界 🌍", &large].map(str::to_owned).to_vec()
}

async fn next(peer: &mut Peer) -> Theirs {
    soon(peer.next()).await.expect("the connection is open").expect("a frame that it takes")
}

/// Their connection to an actor that echoes.
async fn client_of_an_actor() -> (Hub, Log, Peer, ConnId) {
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "echo", true);
    let mut settings = Settings::new();
    settings.protocol.timeouts.linger = FOR_EVER;
    let server = Server::new(&hub).settings(settings);
    let addr = listen(server.route(Route::ws("/ws").target(target).outbox(large()))).await;
    let stream = TcpStream::connect(addr).await.expect("listening");
    let (peer, response) = client_async(format!("ws://{addr}/ws?x=1"), stream).await.expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    let connect = log.connect().await;
    assert_eq!((connect.role, &*connect.query), (Role::Server, "x=1"));
    (hub, log, peer, connect.id)
}

/// An echoing actor's connection to their server.
async fn server_of_an_actor() -> (Hub, Log, Peer, Dialled) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let hub = Hub::new();
    let (target, mut log) = witness(&hub, "echo", true);
    let mut options = DialOptions::to(target);
    options.outbox = large();
    options.protocol.timeouts.close = FOR_EVER;
    options.protocol.timeouts.linger = FOR_EVER;
    let accept = async {
        let (stream, _) = listener.accept().await.expect("a client");
        accept_async(stream).await.expect("a request")
    };
    let (dialled, peer) = soon(async { tokio::join!(hub.dial(&url, options), accept) }).await;
    assert_eq!(log.connect().await.role, Role::Client);
    (hub, log, peer, dialled.expect("a handshake"))
}

/// These tests are not about clients that are slow, and theirs runs on the thread of the actor, which floods it.
fn large() -> OutboxLimits {
    let mut limits = OutboxLimits::new();
    limits.max_bytes = 16 << 20;
    limits.max_messages = 8_192;
    limits
}

/// Text and binary of all lengths, whole and in fragments with a ping between, come back unchanged.
async fn exchange(peer: &mut Peer) {
    for text in texts() {
        peer.send(Theirs::text(text.clone())).await.expect("open");
        assert_eq!(next(peer).await, Theirs::text(text));
    }
    for len in LENGTHS {
        peer.send(Theirs::binary(patterned(len))).await.expect("open");
        assert!(next(peer).await == Theirs::binary(patterned(len)), "{len} bytes");
    }
    for (part, opcode, last) in [("grüße, ", Data::Text, false), ("", Data::Continue, false)] {
        let frame = Frame::message(Bytes::from(part), OpCode::Data(opcode), last);
        peer.send(Theirs::Frame(frame)).await.expect("open");
    }
    peer.send(Theirs::Ping(Bytes::from("between"))).await.expect("open");
    assert_eq!(next(peer).await, Theirs::Pong(Bytes::from("between")));
    let last = Frame::message(Bytes::from("世界"), OpCode::Data(Data::Continue), true);
    peer.send(Theirs::Frame(last)).await.expect("open");
    assert_eq!(next(peer).await, Theirs::text("grüße, 世界"));
}

/// K5: their client and an actor's server, their server and an actor that dials: everything arrives unchanged.
#[tokio::test]
async fn messages_both_ways() {
    let (_hub, _log, mut peer, _) = client_of_an_actor().await;
    exchange(&mut peer).await;
    let (_hub, _log, mut peer, _dialled) = server_of_an_actor().await;
    exchange(&mut peer).await;
}

/// K5: their close: its code comes back, its code and reason reach the actor.
async fn they_close(mut peer: Peer, mut log: Log) {
    let bye = TheirClose { code: CloseCode::from(4001), reason: "bye, grüße".into() };
    peer.close(Some(bye)).await.expect("open");
    match next(&mut peer).await {
        Theirs::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4001),
        other => panic!("{other:?}"),
    }
    while let Some(Ok(_)) = soon(peer.next()).await {}
    // The actor need not wait for them to hang up, nor for a timeout.
    assert_eq!(log.disconnect().await.1, Reason::Peer(Some(CloseFrame::new(4001, "bye, grüße"))));
}

/// K5: our close, from the Hub: their library sees its code and reason.
async fn we_close(hub: Hub, id: ConnId, mut peer: Peer, mut log: Log) {
    let frame = CloseFrame::new(3001, "as agreed, grüße");
    assert_eq!(hub.send(id, "last words"), Ok(()));
    assert_eq!(hub.close(id, frame.clone()), Ok(()));
    assert_eq!(next(&mut peer).await, Theirs::text("last words"));
    match next(&mut peer).await {
        Theirs::Close(Some(seen)) => {
            assert_eq!((u16::from(seen.code), seen.reason.as_str()), (3001, "as agreed, grüße"));
        }
        other => panic!("{other:?}"),
    }
    while let Some(Ok(_)) = soon(peer.next()).await {}
    assert_eq!(log.disconnect().await, (id, Reason::Local(Some(frame))));
}

/// K5: both ways to close, on both sides.
#[tokio::test]
async fn closes() {
    let (_hub, log, peer, _) = client_of_an_actor().await;
    they_close(peer, log).await;
    let (_hub, log, peer, _dialled) = server_of_an_actor().await;
    they_close(peer, log).await;
    let (hub, log, peer, id) = client_of_an_actor().await;
    we_close(hub, id, peer, log).await;
    let (hub, log, peer, dialled) = server_of_an_actor().await;
    we_close(hub, dialled.id().expect("open"), peer, log).await;
}

/// K5: what no peer may send is answered with its code on either side.
#[tokio::test]
async fn wrong_frames() {
    let reserved = {
        let mut frame = Frame::message("x", OpCode::Data(Data::Text), true);
        frame.header_mut().rsv2 = true;
        frame
    };
    let wrong: [(&str, Frame, u16); 3] = [
        ("not UTF-8", Frame::message(vec![0xC3, 0x28], OpCode::Data(Data::Text), true), 1007),
        ("a reserved bit", reserved, 1002),
        ("a continuation of nothing", Frame::message("x", OpCode::Data(Data::Continue), true), 1002),
    ];
    for (what, frame, code) in wrong {
        for dials in [false, true] {
            let (_hub, mut log, mut peer, _kept) = if dials {
                let (hub, log, peer, dialled) = server_of_an_actor().await;
                (hub, log, peer, Some(dialled))
            } else {
                let (hub, log, peer, _) = client_of_an_actor().await;
                (hub, log, peer, None)
            };
            peer.send(Theirs::Frame(frame.clone())).await.expect("open");
            match next(&mut peer).await {
                Theirs::Close(Some(seen)) => assert_eq!(u16::from(seen.code), code, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
            drop(peer);
            let (_, reason) = log.disconnect().await;
            assert!(
                matches!(reason, Reason::Protocol(rule) if rule.close_code().0 == code),
                "{what}: {reason}"
            );
        }
    }
}

/// K2, K5: many messages from either side at once, with pings of the actor's among them: none is lost or out of order.
#[tokio::test]
async fn a_flood_both_ways() {
    const MESSAGES: usize = 2_000;
    for dials in [false, true] {
        let (hub, mut log, peer, id) = if dials {
            let (hub, log, peer, dialled) = server_of_an_actor().await;
            (hub, log, peer, dialled.id().expect("open"))
        } else {
            client_of_an_actor().await
        };
        let (mut to, mut from) = peer.split();
        let write = async {
            for n in 0..MESSAGES {
                to.send(Theirs::text(format!("theirs {n}"))).await.expect("open");
                if n % 100 == 0 {
                    assert_eq!(hub.send(id, Message::Ping("?".into())), Ok(()));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let push = async {
            for n in 0..MESSAGES {
                hub.send_acked(id, format!("ours {n}")).await.expect("open");
            }
        };
        let read = async {
            let (mut echoes, mut pushed, mut pings) = (0, 0, 0);
            while echoes < MESSAGES || pushed < MESSAGES {
                match soon(from.next()).await.expect("open").expect("a frame that it takes") {
                    Theirs::Text(text) if text.starts_with("theirs ") => {
                        assert_eq!(text.as_str(), format!("theirs {echoes}"));
                        echoes += 1;
                    }
                    Theirs::Text(text) => {
                        assert_eq!(text.as_str(), format!("ours {pushed}"));
                        pushed += 1;
                    }
                    Theirs::Ping(_) => pings += 1,
                    other => panic!("{other:?}"),
                }
            }
            pings
        };
        let ((), (), pings) = tokio::join!(write, push, read);
        assert!(pings > 0);
        assert_eq!(log.rest().into_iter().filter(|seen| matches!(seen, Seen::Message(..))).count(), MESSAGES);
    }
}
