//! Both halves of a connection, in two tasks and in one: the reader's replies leave, and neither half misses a wake-up.

mod rig;

use std::pin::pin;
use std::time::Duration;

use rig::{
    BINARY, CLOSE, Far, Near, PING, PONG, TEXT, close_body, frame, masked, poll_once, settle, transport,
};
use tokio::time::{self, timeout};
use ws_tokio::core::{CloseCode, CloseFrame, Config, Event, Message, Part, Role, SendError, Timer};
use ws_tokio::{Error, OwnedMessage, ReadHalf, WebSocket, WriteHalf};

fn server() -> (ReadHalf<Near>, WriteHalf<Near>, Far) {
    let (near, far) = transport();
    let ws = WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("no entropy needed");
    let (read, write) = ws.split();
    (read, write, far)
}

fn pair(size: usize) -> (WebSocket<tokio::io::DuplexStream>, WebSocket<tokio::io::DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(size);
    let server = WebSocket::from_upgraded(ours, Role::Server, &[], Config::server()).expect("a server");
    let client = WebSocket::from_upgraded(theirs, Role::Client, &[], Config::client()).expect("entropy");
    (server, client)
}

fn soon<F: Future>(future: F) -> time::Timeout<F> {
    timeout(Duration::from_secs(60), future)
}

/// On two threads: both directions at once through a pipe that is smaller than a message: neither half waits for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_flow_at_once() {
    for (size, len, count) in [(1, 10, 20), (100, 1000, 50), (4096, 100_000, 20), (1 << 20, 60_000, 20)] {
        let (server, client) = pair(size);
        let mut tasks = Vec::new();
        for ws in [server, client] {
            let (mut read, mut write) = ws.split();
            tasks.push(tokio::spawn(async move {
                for i in 0..count {
                    write.send(&vec![i; len]).await.expect("open");
                }
            }));
            tasks.push(tokio::spawn(async move {
                for i in 0..count {
                    let message = read.recv().await.expect("open");
                    assert_eq!(message, Some(Message::Binary(&vec![i; len])));
                }
            }));
        }
        for task in tasks {
            soon(task).await.unwrap_or_else(|_| panic!("stuck at {size}, {len}")).expect("no panic");
        }
    }
}

/// C-06: a flood of pings that cannot be answered is not read forever, nor does the queue grow.
#[tokio::test]
async fn c06_a_flood_of_pings_pauses_the_reader() {
    let (mut read, mut write, far) = server();
    far.allow(0);
    write.queue(&[0; 70_000]).expect("room");
    (0..100).for_each(|_| far.feed(masked(PING, &[b'p'; 100]).repeat(20)));
    for _ in 0..200 {
        assert!(poll_once(pin!(read.recv())).is_pending());
    }
    assert!(far.unread() >= 95, "{}", far.unread());
    far.allow(usize::MAX);
    for _ in 0..200 {
        assert!(poll_once(pin!(read.recv())).is_pending());
    }
    assert_eq!(far.unread(), 0);
}

/// C-03: pongs leave while only the reading half is polled, and those that could not leave then go with the writing half.
#[tokio::test]
async fn c03_pongs_leave_with_either_half() {
    let (mut read, mut write, far) = server();
    far.feed([masked(PING, b"1"), masked(PING, b"2")].concat());
    assert!(poll_once(pin!(read.recv())).is_pending());
    let pongs: Vec<_> = far.frames().into_iter().map(|frame| (frame.opcode, frame.payload)).collect();
    assert_eq!(pongs, [(PONG, b"1".to_vec()), (PONG, b"2".to_vec())]);
    assert_eq!(far.writes().len(), 1, "in one write");

    // Blocked while the reader found them; then only the writer is polled.
    far.allow(0);
    far.feed(masked(PING, b"3"));
    assert!(poll_once(pin!(read.recv())).is_pending());
    far.allow(usize::MAX);
    write.flush().await.expect("open");
    assert_eq!(far.frames().last().map(|frame| frame.payload.clone()), Some(b"3".to_vec()));
}

/// A reader that waits sends what the writer only queued: a ping, a close frame.
#[tokio::test]
async fn a_waiting_reader_sends_what_the_writer_queues() {
    let (mut read, mut write, far) = server();
    let reader = tokio::spawn(async move { read.recv().await.map(|message| message.is_some()) });
    settle().await;
    write.ping(b"are you there").expect("room");
    settle().await;
    assert_eq!(far.frames()[0].opcode, PING);
    write.start_close(Some(CloseFrame::new(CloseCode::NORMAL, "bye"))).expect("open");
    settle().await;
    assert_eq!(far.frames()[1].opcode, CLOSE);
    far.feed(masked(CLOSE, &close_body(1000, "")));
    far.end();
    assert!(!soon(reader).await.expect("in time").expect("no panic").expect("clean"));
    assert!(far.is_shut());
}

/// A writer without room is woken when there is some, also when the reader was the last to poll the transport.
#[tokio::test]
async fn a_blocked_writer_is_woken() {
    for large in [false, true] {
        let (mut read, mut write, far) = server();
        far.allow(0);
        let len = if large { 200_000 } else { 20_000 };
        let writer = tokio::spawn(async move {
            for _ in 0..5 {
                write.send(&vec![b'x'; len]).await.expect("open");
            }
        });
        settle().await;
        let reader = tokio::spawn(async move { read.recv().await.map(|_| ()) });
        settle().await;
        for _ in 0..300 {
            far.allow(10_000);
            settle().await;
        }
        soon(writer).await.expect("in time").expect("no panic");
        assert_eq!(far.frames().len(), 5);
        reader.abort();
    }
}

/// A half-sent frame is not cut by a pong, whether its sender goes on or gives up.
#[tokio::test]
async fn a_pong_waits_for_the_end_of_a_large_frame() {
    for drop_after in [1, 2, usize::MAX] {
        let (mut read, mut write, far) = server();
        far.allow(1000);
        {
            let payload = vec![7; 100_000];
            let mut send = Box::pin(write.send(&payload));
            assert!(poll_once(send.as_mut()).is_pending());
            far.feed(masked(PING, b"p"));
            assert!(poll_once(pin!(read.recv())).is_pending());
            for step in 1.. {
                if step == drop_after {
                    break;
                }
                far.allow(50_000);
                if poll_once(send.as_mut()).is_ready() {
                    break;
                }
                assert!(poll_once(pin!(read.recv())).is_pending());
            }
        }
        far.allow(usize::MAX);
        assert!(poll_once(pin!(read.recv())).is_pending());
        let frames = far.frames();
        assert_eq!((frames[0].opcode, frames[0].payload.len()), (BINARY, 100_000), "{drop_after}");
        assert_eq!((frames[1].opcode, &frames[1].payload[..]), (PONG, &b"p"[..]), "{drop_after}");
    }
}

/// the peer closes; the reader echoes, sees the clean end, and the writer is refused.
#[tokio::test]
async fn x07_x15_the_reader_echoes_the_close() {
    let (mut read, mut write, far) = server();
    far.feed(masked(CLOSE, &close_body(3000, "done")));
    far.end();
    assert!(matches!(read.recv().await, Ok(None)));
    assert!(matches!(read.recv().await, Ok(None)), "and again");
    assert_eq!(read.close_reason().map(|reason| (reason.code.0, &reason.reason[..])), Some((3000, "done")));
    assert_eq!(far.frames()[0].payload, 3000u16.to_be_bytes());
    assert!(matches!(write.send("late").await, Err(Error::Refused(SendError::Closed))));
    assert!(matches!(write.close(None).await, Ok(())));
    assert_eq!(far.frames().len(), 1, "one close frame in a connection's life");
}

/// after our 1000 data is still delivered; after another code it is dropped. The same for data read before.
#[tokio::test]
async fn x12_a_close_of_the_writer_reaches_the_reader() {
    for (code, delivered) in [(1000, true), (1001, true), (1012, true), (1008, false), (4000, false)] {
        let (mut read, mut write, far) = server();
        far.feed([masked(TEXT, b"first"), masked(TEXT, b"buffered")].concat());
        assert!(matches!(read.recv().await, Ok(Some(Message::Text("first")))));
        let close = write.close(Some(CloseFrame::new(CloseCode(code), "")));
        close.await.expect("its frame leaves without the reader");
        assert_eq!(far.frames()[0].opcode, CLOSE);
        far.feed(masked(TEXT, b"late"));
        far.feed(masked(CLOSE, &close_body(code, "")));
        far.end();
        let mut seen = Vec::new();
        while let Some(message) = read.recv_owned().await.expect("clean") {
            seen.push(message);
        }
        let expected: &[OwnedMessage] = if delivered { &["buffered".into(), "late".into()] } else { &[] };
        assert_eq!(seen, expected, "{code}");
    }
}

/// a close that the peer does not answer ends the reader in time, although the writer began it.
#[tokio::test(start_paused = true)]
async fn x11_the_reader_keeps_the_deadline_of_the_writers_close() {
    let (mut read, mut write, _far) = server();
    let reader = tokio::spawn(async move { read.recv().await.map(|_| ()) });
    settle().await;
    let began = time::Instant::now();
    write.close(Some(CloseFrame::new(CloseCode::NORMAL, ""))).await.expect("it leaves");
    let ending = reader.await.expect("no panic");
    assert!(matches!(ending, Err(Error::Timeout(Timer::Close))), "{ending:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// `close` gives up when its frame cannot leave and the reader is not polled.
#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_ever() {
    let (_read, mut write, far) = server();
    far.allow(0);
    let began = time::Instant::now();
    let ending = write.close(Some(CloseFrame::new(CloseCode::NORMAL, ""))).await;
    assert!(matches!(ending, Err(Error::Timeout(Timer::Close))), "{ending:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// C-08: the keepalive ping leaves while the reader waits; with no answer the reader fails, and a writer that waits
/// for the dead peer is released.
#[tokio::test(start_paused = true)]
async fn c08_a_dead_peer_ends_both_halves() {
    let (mut read, mut write, far) = server();
    let began = time::Instant::now();
    let reader = tokio::spawn(async move { read.recv().await.map(|_| ()) });
    time::sleep(Duration::from_secs(21)).await;
    assert_eq!(far.frames()[0].opcode, PING);
    far.allow(0);
    let writer = tokio::spawn(async move { write.send(&vec![0; 500_000]).await });
    let ending = reader.await.expect("no panic");
    assert!(matches!(ending, Err(Error::Timeout(Timer::Pong))), "{ending:?}");
    assert_eq!(began.elapsed().as_secs(), 40);
    let ending = soon(writer).await.expect("not stuck").expect("no panic");
    assert!(matches!(ending, Err(Error::Lost(_))), "{ending:?}");
}

/// C-08: a keepalive ping that only the writer could send counts for the reader's deadline.
#[tokio::test(start_paused = true)]
async fn c08_a_ping_that_left_with_the_writer_is_waited_for() {
    let (mut read, mut write, far) = server();
    far.allow(0);
    write.queue(&[0; 70_000]).expect("room");
    let began = time::Instant::now();
    let reader = tokio::spawn(async move { read.recv().await.map(|_| ()) });
    time::sleep(Duration::from_secs(35)).await;
    far.allow(usize::MAX);
    write.flush().await.expect("open");
    assert_eq!(far.frames()[1].opcode, PING);
    let ending = reader.await.expect("no panic");
    assert!(matches!(ending, Err(Error::Timeout(Timer::Pong))), "{ending:?}");
    assert_eq!(began.elapsed().as_secs(), 55, "20 s after it left");
}

/// F-03, X-17: the reading half alone reports a violation to the peer.
#[tokio::test]
async fn f03_a_violation_is_answered_by_the_reader() {
    let (mut read, mut write, far) = server();
    far.feed(frame(0x81, b"not masked", None));
    let mut ending = Box::pin(read.recv());
    assert!(poll_once(ending.as_mut()).is_pending());
    assert_eq!(far.frames()[0].payload[..2], 1002u16.to_be_bytes());
    far.end();
    let ending = ending.await.map(|_| ());
    assert!(matches!(ending, Err(Error::Violation(_))), "{ending:?}");
    assert!(matches!(write.send("x").await, Err(Error::Refused(SendError::Closed))));
    assert_eq!(far.frames().len(), 1);
}

/// a reset ends the reader, and the writer's next send.
#[tokio::test]
async fn x13_a_reset_ends_both() {
    let (mut read, mut write, far) = server();
    far.reset();
    assert!(matches!(write.send("x").await, Err(Error::Lost(_))));
    assert!(matches!(write.ping(b""), Ok(()) | Err(Error::Refused(_))));
    assert!(matches!(write.flush().await, Err(Error::Lost(_))));
    assert!(matches!(read.recv().await, Err(Error::Lost(_))));
    assert!(matches!(read.recv().await, Ok(None)));
    assert!(matches!(write.send("x").await, Err(Error::Refused(SendError::Closed))));
}

/// Dropping the writing half closes nothing: messages and pongs continue.
#[tokio::test]
async fn the_reader_goes_on_without_the_writer() {
    let (mut read, write, far) = server();
    drop(write);
    far.feed([masked(PING, b"p"), masked(TEXT, b"t")].concat());
    assert!(matches!(read.recv().await, Ok(Some(Message::Text("t")))));
    assert!(poll_once(pin!(read.recv())).is_pending());
    assert_eq!(far.frames()[0].opcode, PONG);
}

/// The halves of one connection fit together again, with all that is in flight; others do not.
#[tokio::test]
async fn halves_reunite() {
    let (mut read, mut write, far) = server();
    let (other_read, other_write, _far) = server();
    far.feed([masked(TEXT, b"one"), masked(TEXT, b"two")].concat());
    assert!(matches!(read.recv().await, Ok(Some(Message::Text("one")))));
    write.queue("queued").expect("room");
    let (read, other_write) = read.reunite(other_write).expect_err("strangers").into_halves();
    drop(other_read.reunite(other_write).expect("a pair"));
    write.start_close(Some(CloseFrame::new(CloseCode::POLICY, ""))).expect("open");
    let mut ws = read.reunite(write).expect("a pair");
    far.feed(masked(CLOSE, b""));
    far.end();
    assert!(matches!(ws.recv().await, Ok(None)), "after 1008 the rest is dropped");
    let opcodes: Vec<_> = far.frames().iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [TEXT, CLOSE]);
}

/// Parts, events, and messages of all kinds go through the halves as through the whole.
#[tokio::test]
async fn parts_and_events() {
    let (mut read, mut write, far) = server();
    write.send_part("a", Part::First).await.expect("open");
    assert!(matches!(write.queue("b"), Err(Error::Refused(SendError::MessageOpen))));
    write.send_part("c", Part::Last).await.expect("open");
    let frames = far.frames();
    assert_eq!(
        [(frames[0].fin, frames[0].opcode), (frames[1].fin, frames[1].opcode)],
        [(false, 1), (true, 0)]
    );
    far.feed([masked(PONG, b"x"), masked(BINARY, b"y")].concat());
    assert!(matches!(read.recv_event().await, Ok(Some(Event::Pong(b"x")))));
    assert!(matches!(read.recv_event().await, Ok(Some(Event::Binary(bytes))) if bytes == b"y"));
}
