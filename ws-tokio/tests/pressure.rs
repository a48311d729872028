//! Peers that do not read: they are not read from, cost no more memory than the limits allow, and harm no one else.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod rig;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use counting::thread;
use futures_util::SinkExt;
use rig::{BINARY, Far, Near, PING, PONG, TEXT, frame, masked, poll_once, settle, transport};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use ws_tokio::core::{Config, Role, SendError};
use ws_tokio::{Error, WebSocket, accept};

fn server(max_queue: usize) -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    let mut config = Config::server();
    config.limits.max_queue = max_queue;
    (WebSocket::from_upgraded(near, Role::Server, &[], config).expect("a server"), far)
}

/// A peer over a socket with small buffers in the kernel, so that it blocks soon.
async fn peer_of(
    server: impl FnOnce(TcpStream) -> tokio::task::JoinHandle<()>,
) -> (TcpStream, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a size");
    socket.set_send_buffer_size(8 << 10).expect("a size");
    let address = listener.local_addr().expect("bound");
    let (peer, accepted) = tokio::join!(socket.connect(address), listener.accept());
    let task = server(accepted.expect("a peer").0);
    let mut peer = peer.expect("listening");
    peer.write_all(rig::REQUEST).await.expect("open");
    (peer, task)
}

/// C-06, N-05: a flood of pings from a peer that never reads stalls the peer, and costs the server a bounded amount.
/// The same for messages that are echoed.
#[tokio::test]
async fn c06_n05_a_peer_that_never_reads_is_stalled() {
    for opcode in [PING, BINARY] {
        let (mut peer, task) = peer_of(|stream| {
            tokio::spawn(async move {
                let mut ws = accept(stream).await.expect("an upgrade");
                while let Ok(Some((message, mut reply))) = ws.recv().await {
                    if reply.send(message).await.is_err() {
                        break;
                    }
                }
            })
        })
        .await;
        settle().await;
        let base = thread::restart_peak();
        let block = masked(opcode, &[1; 125]).repeat(500);
        let mut sent = 0;
        while let Ok(written) =
            timeout(Duration::from_millis(500), peer.write(&block[sent % block.len()..])).await
        {
            sent += written.expect("open");
            assert!(sent < 64 << 20, "it is read for ever");
        }
        let peak = thread::peak() - base;
        println!("{sent} bytes taken, {peak} bytes of memory at the peak");
        assert!(peak < 1 << 20, "{peak} bytes for a peer that does not read");
        drop(peer);
        timeout(Duration::from_secs(60), task).await.expect("it ends with its peer").expect("no panic");
    }
}

/// C-06: pongs that cannot leave: the newest replace the older ones; the pings that were read cost no more than that.
#[tokio::test]
async fn c06_the_newest_pongs_are_kept() {
    let (mut ws, far) = server(1 << 20);
    far.allow(0);
    let mut pings = Vec::new();
    for i in 0..20_000u32 {
        pings.extend(masked(PING, &i.to_be_bytes()));
    }
    far.feed(pings);
    for _ in 0..100 {
        assert!(poll_once(pin!(ws.recv())).is_pending());
    }
    far.allow(usize::MAX);
    for _ in 0..100 {
        assert!(poll_once(pin!(ws.recv())).is_pending());
    }
    let frames = far.frames();
    assert!(frames.iter().all(|frame| frame.opcode == PONG));
    assert_eq!(frames.last().map(|frame| frame.payload.clone()), Some(19_999u32.to_be_bytes().to_vec()));
    assert!(frames.is_sorted_by_key(|frame| frame.payload.clone()), "in order");
}

/// N-02: `queue` never waits and never holds more than `max_queue`; a single larger message is accepted when nothing waits.
#[tokio::test]
async fn n02_queue_is_full_at_its_limit() {
    for max_queue in [0, 1000, 50_000, 1 << 20] {
        let (mut ws, far) = server(max_queue);
        far.allow(0);
        let mut queued = 0;
        let end = loop {
            match ws.reply().queue(&[0; 98]) {
                Ok(()) => queued += 100,
                Err(end) => break end,
            }
        };
        assert!(matches!(end, Error::QueueFull), "{end:?}");
        assert!(queued <= max_queue.max(100), "{queued} of {max_queue}");
        assert!(queued + 98 + 14 > max_queue, "{queued} of {max_queue}");
        far.allow(usize::MAX);
        ws.flush().await.expect("open");
        ws.reply().queue(&vec![0; max_queue + 70_000]).expect("one larger one");
        ws.flush().await.expect("open");
        assert_eq!(far.frames().len(), queued / 100 + 1);
    }
}

/// N-02: `send` waits for room instead, whatever the limit, and is not woken for nothing.
#[tokio::test]
async fn n02_send_waits() {
    for max_queue in [0, 1000, 1 << 20] {
        let (mut ws, far) = server(max_queue);
        far.allow(0);
        let task = tokio::spawn(async move {
            for _ in 0..50 {
                ws.reply().send(&[0; 10_000]).await.expect("open");
            }
            ws.flush().await.expect("open");
        });
        settle().await;
        assert!(!task.is_finished());
        let polls = far.polls();
        settle().await;
        assert_eq!(far.polls(), polls, "it sleeps");
        far.allow(usize::MAX);
        task.await.expect("no panic");
        assert_eq!(far.frames().len(), 50);
    }
}

/// F-17: a closing connection refuses at once, also while a call would wait for room.
#[tokio::test]
async fn f17_a_closing_connection_refuses_without_a_wait() {
    for len in [10, 100_000] {
        let (mut ws, far) = server(1 << 20);
        far.allow(0);
        ws.reply().queue(&[0; 70_000]).expect("room");
        ws.start_close(None).expect("open");
        let payload = vec![0; len];
        let refused = |sent| matches!(sent, Poll::Ready(Err(Error::Refused(SendError::Closed))));
        assert!(refused(poll_once(pin!(ws.send(&payload)))), "{len}");
        assert!(refused(poll_once(pin!(ws.reply().send(&payload)))), "{len}");
        assert!(refused(poll_once(pin!(ws.feed(payload.clone().into())))), "{len}");
        let (_read, mut write) = ws.split();
        assert!(refused(poll_once(pin!(write.send(&payload)))), "{len}");
    }
}

/// A blocked connection with a little left does not take the thread's largest buffer for a few bytes more: that is
/// for messages that need it.
#[tokio::test]
async fn a_little_more_output_leaves_the_large_buffers_alone() {
    let (mut large, taken) = server(4 << 20);
    let message = vec![7; 1_500_000];
    large.reply().queue(&message).expect("room");
    large.flush().await.expect("open");
    let (mut ws, far) = server(4 << 20);
    far.allow(0);
    ws.reply().queue("rest").expect("room");
    assert!(poll_once(pin!(ws.recv())).is_pending());
    ws.reply().queue("more").expect("room");
    let before = thread::restart_peak();
    large.reply().queue(&message).expect("room");
    let more = thread::peak() - before;
    assert!(more < 1 << 20, "{more} bytes, with a buffer at hand");
    large.flush().await.expect("open");
    far.allow(usize::MAX);
    ws.flush().await.expect("open");
    assert_eq!((taken.frames().len(), far.frames().len()), (2, 2));
}

/// N-05: what the application does not take is not read, beyond one buffer.
#[tokio::test]
async fn n05_unread_messages_stay_in_the_transport() {
    let (mut ws, far) = server(1 << 20);
    (0..20).for_each(|_| far.feed(masked(TEXT, &[b'x'; 30_000])));
    assert!(ws.recv().await.expect("open").is_some());
    assert_eq!(far.unread(), 19);
}

/// N-05: while output is blocked nothing is read, and when it flows again all is.
#[tokio::test]
async fn n05_reading_pauses_while_output_is_blocked() {
    let (mut ws, far) = server(1 << 20);
    far.allow(0);
    ws.reply().queue(&[0; 70_000]).expect("room");
    (0..5).for_each(|_| far.feed(masked(TEXT, b"x")));
    let task = tokio::spawn(async move { while ws.recv().await.expect("open").is_some() {} });
    settle().await;
    assert_eq!((far.unread(), far.reads()), (5, 0));
    far.allow(usize::MAX);
    settle().await;
    assert_eq!(far.unread(), 0);
    task.abort();
}

/// A transport that fails ends every call, and none of them spins.
#[tokio::test]
async fn a_broken_transport_ends_every_call() {
    let (mut ws, far) = server(1 << 20);
    far.reset();
    assert!(matches!(ws.send("x").await, Err(Error::Lost(_))));
    let _ = ws.ping(b"p");
    assert!(matches!(ws.flush().await, Err(Error::Lost(_))));
    assert!(matches!(ws.reply().flush().await, Err(Error::Lost(_))));
    assert!(matches!(ws.reply().send("x").await, Err(Error::Lost(_))));
    assert!(matches!(ws.reply().queue("x"), Err(Error::Lost(_))));
    assert!(matches!(ws.send(&vec![0; 100_000]).await, Err(Error::Lost(_))));
    assert!(matches!(ws.recv().await, Err(Error::Lost(_))));
    assert!(matches!(ws.recv().await, Ok(None)));
    assert!(matches!(ws.send("x").await, Err(Error::Refused(SendError::Closed))));
}

/// N-01, C-06: control frames between fragments, in a buffer that the message so far fills to the edge, come in many
/// per read: otherwise a peer could make the whole message move for each of its pings.
#[tokio::test]
async fn n01_pings_behind_a_full_buffer_are_read_in_many() {
    for held in [100_000, 262_144 - 14, 262_144 - 20, 262_144 - 40, 524_288 - 14, 524_288 - 30] {
        let (mut ws, far) = server(1 << 20);
        far.feed(frame(BINARY, &vec![7; held], Some([1, 2, 3, 4])));
        for _ in 0..100 {
            assert!(poll_once(pin!(ws.recv())).is_pending());
        }
        let before = far.reads();
        far.feed(masked(PING, b"").repeat(20_000));
        for _ in 0..20_000 {
            assert!(poll_once(pin!(ws.recv())).is_pending());
        }
        assert_eq!(far.unread(), 0);
        let reads = far.reads() - before;
        assert!(reads < 20, "{reads} reads for 120 000 bytes behind {held}");
        far.feed(frame(0x80, b"end", Some([1, 2, 3, 4])));
        let Poll::Ready(message) = poll_once(pin!(ws.recv())) else { panic!("a message") };
        assert_eq!(message.expect("open").expect("a message").0.as_bytes().len(), held + 3);
    }
}

/// What was queued and dropped because the transport takes nothing any more is not reported as flushed, even if it was
/// `recv` that met the error.
#[tokio::test]
async fn a_flush_tells_what_a_read_has_met() {
    for in_reply in [false, true] {
        let (mut ws, far) = server(1 << 20);
        far.stop_listening();
        ws.reply().queue("lost").expect("room");
        assert!(poll_once(pin!(ws.recv())).is_pending());
        let flushed = if in_reply { ws.reply().flush().await } else { ws.flush().await };
        assert!(matches!(flushed, Err(Error::Lost(_))), "{flushed:?}");
    }
}

/// C-09: too many pings of our own are refused, not stored.
#[tokio::test]
async fn c09_own_pings_are_bounded() {
    let (mut ws, far) = server(1 << 20);
    far.allow(0);
    assert!(matches!(ws.ping(&[0; 126]), Err(Error::Refused(SendError::ControlTooLong))));
    let taken = (0..10_000).take_while(|_| ws.ping(&[0; 125]).is_ok()).count();
    assert!((32..=64).contains(&taken), "{taken}");
    far.allow(usize::MAX);
    ws.flush().await.expect("open");
    assert_eq!(far.frames().len(), taken);
    ws.ping(b"again").expect("room");
}
