//! When replies are sent: those to one read in one write, none held back for long, large ones without a copy.

mod rig;

use std::pin::pin;
use std::time::Duration;

use rig::{BINARY, Far, Near, PING, PONG, TEXT, masked, poll_once, transport};
use tokio::time;
use ws_tokio::WebSocket;
use ws_tokio::core::{Config, Message, Role};

fn server() -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    (WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("a server"), far)
}

/// Replies made while draining one read leave in one write, pongs among them. No time passes: a reply that is a millisecond
/// old would be sent anyway.
#[tokio::test(start_paused = true)]
async fn replies_to_one_read_leave_in_one_write() {
    for (count, len) in [(1, 10), (2, 0), (100, 16), (60, 1000)] {
        let (mut ws, far) = server();
        let message = masked(BINARY, &vec![1; len]);
        for turn in 1..=3 {
            let mut input = message.repeat(count);
            input.extend(masked(PING, b"p"));
            far.feed(input);
            for _ in 0..count {
                let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
                reply.send(message).await.expect("open");
            }
            assert!(poll_once(pin!(ws.recv())).is_pending());
            assert_eq!((far.reads(), far.writes().len()), (turn, turn), "{count} messages of {len}");
            assert_eq!(far.frames().len(), turn * (count + 1));
        }
        let pongs = far.frames().iter().filter(|frame| frame.opcode == PONG).count();
        assert_eq!(pongs, 3);
    }
}

/// A message that is not complete yet does not hold back the replies to those before it.
#[tokio::test]
async fn half_a_message_holds_nothing_back() {
    let (mut ws, far) = server();
    let mut input = masked(TEXT, b"whole");
    input.extend(&masked(TEXT, b"half")[..7]);
    far.feed(input);
    let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
    reply.send(message).await.expect("open");
    assert!(poll_once(pin!(ws.recv())).is_pending());
    assert_eq!(far.frames().len(), 1);
}

/// A slow handler with pipelined input does not hold its first answer back; a quick one is not timed at each message.
#[tokio::test(start_paused = true)]
async fn a_slow_handler_does_not_hold_its_first_answer_back() {
    let (mut ws, far) = server();
    far.feed(masked(TEXT, b"x").repeat(100));
    for i in 0..100 {
        let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
        let message = match message {
            Message::Text(text) => text.to_owned(),
            Message::Binary(_) => unreachable!("text was sent"),
        };
        time::advance(Duration::from_millis(50)).await;
        reply.send(&message).await.expect("open");
        assert!(far.written_len() / 3 + 1 >= i, "answer {i} is made, {} bytes left", far.written_len());
    }
}

/// A handler that becomes slow is noticed after no more slow messages than it had quick ones, and in any case soon.
#[tokio::test(start_paused = true)]
async fn a_handler_that_becomes_slow_is_noticed() {
    for quick in [1, 2, 3, 6, 20, 200] {
        let (mut ws, far) = server();
        far.feed(masked(TEXT, b"x").repeat(300));
        for i in 0..300 {
            let (_, mut reply) = ws.recv().await.expect("open").expect("a message");
            if i >= quick {
                time::advance(Duration::from_millis(100)).await;
            }
            reply.send("x").await.expect("open");
            let waiting = i + 1 - far.written_len() / 3;
            let most = quick + (quick + 1).min(17);
            assert!(i < quick || waiting <= most, "{waiting} answers wait behind {quick} quick messages");
        }
    }
}

/// N-05: "control frames already read are answered", also when messages after them wait for a slow handler that
/// sends nothing itself.
#[tokio::test(start_paused = true)]
async fn n05_a_pong_does_not_wait_for_a_slow_handler() {
    let (mut ws, far) = server();
    far.feed([masked(PING, b"p"), masked(TEXT, b"x").repeat(100)].concat());
    for _ in 0..3 {
        assert!(ws.recv().await.expect("open").is_some());
        time::advance(Duration::from_millis(50)).await;
    }
    assert_eq!(far.frames().first().map(|frame| frame.opcode), Some(PONG));
}

/// Replies are sent at 64 KiB even though more input waits, and not in smaller portions.
#[tokio::test(start_paused = true)]
async fn replies_leave_at_64_kib() {
    let (mut ws, far) = server();
    far.feed(masked(TEXT, b"x").repeat(1000));
    let mut most = 0;
    for i in 1..=1000 {
        let (_, mut reply) = ws.recv().await.expect("open").expect("a message");
        reply.send(&[0; 1020]).await.expect("open");
        most = most.max(i * 1024 - far.written_len());
    }
    assert!(most <= (64 << 10) + 1024, "{most} bytes waited");
    let writes = far.writes();
    assert!(writes.len() >= 15, "{writes:?}");
    let whole = &writes[..writes.len() - 1];
    assert!(whole.iter().all(|&len| len >= 63 << 10), "{writes:?}");
}

/// A reply of 32 KiB or more is written after its header and after what waits, in one vectored call, where the transport
/// can; otherwise through the buffer, and just as whole.
#[tokio::test(start_paused = true)]
async fn large_replies_are_written_from_where_they_stand() {
    for vectored in [true, false] {
        let (mut ws, far) = server();
        if !vectored {
            far.no_vectored();
        }
        let large: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
        far.feed(masked(TEXT, b"x"));
        far.feed(masked(BINARY, &large));
        let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
        reply.send(message).await.expect("open");
        let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
        assert_eq!(far.written_len(), 3, "the first had left when the second was read");
        reply.queue("small").expect("room");
        reply.send(message).await.expect("open");
        reply.flush().await.expect("open");
        if vectored {
            assert_eq!(far.writes(), [3, 7 + 10 + large.len()]);
        }
        let frames = far.frames();
        assert_eq!(frames[2].payload, large);
    }
}

/// A client masks a copy, and the message stays unchanged.
#[tokio::test]
async fn a_client_masks_large_messages_in_portions() {
    let (near, far) = transport();
    let mut ws = WebSocket::from_upgraded(near, Role::Client, &[], Config::client()).expect("entropy");
    let large: Vec<u8> = (0..500_001u32).map(|i| (i * 7) as u8).collect();
    far.allow_at_once(9_999);
    ws.send(&large).await.expect("open");
    let frames = far.frames();
    assert!(frames[0].masked);
    assert_eq!(frames[0].payload, large);
}
