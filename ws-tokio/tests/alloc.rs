//! Counts what a connection allocates: nothing per message, and no buffer while idle.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;

use std::pin::pin;
use std::task::{Context, Waker};

use counting::thread;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::{Config, ConfigRef, Message, Role};
use ws_tokio::{OwnedMessage, WebSocket};

async fn pair(config: &ConfigRef) -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, server) = (client.expect("listening"), server.expect("a peer").0);
    client.set_nodelay(true).expect("a socket");
    server.set_nodelay(true).expect("a socket");
    let server = WebSocket::from_upgraded(server, Role::Server, &[], config.clone()).expect("a server");
    let client = WebSocket::from_upgraded(client, Role::Client, &[], config.clone()).expect("entropy");
    (server, client)
}

/// Sends `message` `count` times from the client, and has the server echo it.
async fn echo(
    server: &mut WebSocket<TcpStream>,
    client: &mut WebSocket<TcpStream>,
    message: Message<'_>,
    count: usize,
) {
    for _ in 0..count {
        let there = async {
            client.send(message).await.expect("open");
            let (back, _) = client.recv().await.expect("open").expect("a message");
            assert_eq!(back, message);
        };
        let back = async {
            let (message, mut reply) = server.recv().await.expect("open").expect("a message");
            reply.send(message).await.expect("open");
            reply.flush().await.expect("open");
        };
        tokio::join!(there, back);
    }
}

/// Waits for a message that does not come, just long enough for unneeded memory to be given back, however busy the machine
/// is.
fn rest(ws: &mut WebSocket<TcpStream>) {
    for _ in 0..4 {
        let message = pin!(ws.recv()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(message.is_pending(), "nothing more");
    }
}

/// No allocation per message in the steady state, small and large, text and binary, by `recv` and `Reply::send`.
#[tokio::test]
async fn no_allocation_per_message() {
    let (mut server, mut client) = pair(&Config::client().into()).await;
    let large = vec![b'l'; 30_000];
    let text = "text ä ".repeat(100);
    let messages =
        [Message::Text("hello"), Message::Binary(&[]), Message::Text(&text), Message::Binary(&large)];
    for message in messages {
        echo(&mut server, &mut client, message, 20).await;
    }
    for message in messages {
        let before = thread::calls();
        echo(&mut server, &mut client, message, 500).await;
        let made = thread::calls() - before;
        assert_eq!(made, 0, "for 500 messages of {} bytes", message.as_bytes().len());
    }
}

/// An idle connection, after use, holds no buffer: less than 2 KiB in all.
#[tokio::test]
async fn an_idle_connection_is_small() {
    const COUNT: usize = 200;
    const FIRST: usize = 20;
    let config = ConfigRef::from(Config::server());
    let (mut server, mut client) = pair(&config).await;
    echo(&mut server, &mut client, Message::Binary(&[1; 60_000]), 3).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut peers = Vec::with_capacity(COUNT);
    let mut sockets = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let (peer, socket) = tokio::join!(TcpStream::connect(address), listener.accept());
        peers.push(peer.expect("listening"));
        sockets.push(socket.expect("a peer").0);
    }
    // The first ones fill the thread's pool, which belongs to no connection.
    let mut before = 0;
    let mut idle: Vec<WebSocket<TcpStream>> = Vec::with_capacity(COUNT);
    for (socket, peer) in sockets.drain(..).zip(&mut peers) {
        if idle.len() == FIRST {
            before = thread::held();
        }
        let mut ws = WebSocket::from_upgraded(socket, Role::Server, &[], config.clone()).expect("a server");
        // Half of them are left with half a message in hand.
        let half: &[u8] = if idle.len().is_multiple_of(2) { &[] } else { &[0x82, 0x85, 0, 0, 0, 0, b'h'] };
        // A third of them has echoed a message large enough to be written without a copy.
        let (head, payload): (&[u8], _) = match idle.len() % 3 {
            0 => (&[0x82, 0xFE, 0x9C, 0x40, 0, 0, 0, 0], vec![b'x'; 0x9C40]),
            _ => (&[0x82, 0x82, 0, 0, 0, 0], b"hi".to_vec()),
        };
        peer.write_all(&[head, &payload, half].concat()).await.expect("open");
        let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
        assert!(message.as_bytes() == payload);
        reply.send(message).await.expect("open");
        rest(&mut ws);
        let mut echoed = vec![0; head.len() - 4 + payload.len()];
        peer.read_exact(&mut echoed).await.expect("the reply has left");
        idle.push(ws);
    }
    let each =
        (thread::held() - before) / (COUNT - FIRST) as isize + size_of::<WebSocket<TcpStream>>() as isize;
    println!("{each} bytes an idle connection, all in all");
    assert!(each < 2048, "{each} bytes");
}

/// The memory for a large message is given back: what remains is bounded by what a thread keeps, not by the connection.
#[tokio::test]
async fn a_large_buffer_is_returned() {
    let mut config = Config::server();
    config.limits.max_message = 64 << 20;
    config.limits.max_frame = 64 << 20;
    let (mut server, mut client) = pair(&config.into()).await;
    echo(&mut server, &mut client, Message::Binary(&[1; 100]), 3).await;
    let before = thread::held();
    let large = vec![5; 40 << 20];
    echo(&mut server, &mut client, Message::Binary(&large), 1).await;
    drop(large);
    for ws in [&mut server, &mut client] {
        rest(ws);
    }
    let kept = thread::held() - before;
    assert!(kept <= (8 << 20) + (1 << 20), "{kept} bytes are kept");
}

/// A small owned message costs its own size, and pins no receive buffer.
#[tokio::test]
async fn a_small_owned_message_pins_nothing() {
    let (mut server, mut client) = pair(&Config::server().into()).await;
    echo(&mut server, &mut client, Message::Binary(&[1; 100]), 3).await;
    let mut kept: Vec<OwnedMessage> = Vec::with_capacity(100);
    let before = thread::held();
    for _ in 0..100 {
        client.send(&[9; 200]).await.expect("open");
        kept.push(server.recv_owned().await.expect("open").expect("a message"));
    }
    let each = (thread::held() - before) / 100;
    assert!(each < 400, "{each} bytes for 200");
    drop(kept);
    assert!(thread::held() - before < 100, "and they are free again");
}

/// A large owned message takes the receive buffer along: never two copies of it at once, and at most four times its
/// size is pinned by it.
#[tokio::test]
async fn a_large_owned_message_is_not_copied() {
    let (mut server, mut client) = pair(&Config::server().into()).await;
    let large = vec![7; 1 << 20];
    // So that the client's side already has its memory.
    echo(&mut server, &mut client, Message::Binary(&large[..900_000]), 2).await;
    let message = tokio::join!(async { client.send(&large).await.expect("open") }, async {
        let base = thread::restart_peak();
        let message = server.recv_owned().await.expect("open").expect("a message");
        (message, thread::peak() - base, thread::held() - base)
    })
    .1;
    let (message, peak, held) = message;
    assert_eq!(message, OwnedMessage::from(large.clone()));
    assert!(peak <= 4 << 20, "{peak} bytes at the peak");
    assert!(held <= 4 << 20, "{held} bytes pinned");
}
