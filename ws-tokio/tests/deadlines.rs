//! Deadlines that are easily lost, or counted from a time long past: with an exhausted budget, with an error that another
//! call has met, with a ping that left late.

mod rig;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_sink::Sink;
use rig::{Far, Near, PING, PONG, TEXT, masked, settle, transport};
use tokio::io::AsyncWriteExt;
use tokio::time::{self, Instant};
use ws_tokio::core::{CloseFrame, Config, Role, Timer};
use ws_tokio::{Error, WebSocket, accept};

fn server() -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    (WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("a server"), far)
}

const SENDS: usize = 200;

/// Uses up the whole budget without yielding.
async fn exhaust_budget() {
    let (mut other, _reader) = tokio::io::duplex(1 << 20);
    while tokio::task::coop::has_budget_remaining() {
        other.write_all(b"x").await.expect("room");
    }
}

/// C-08: a task that has used up its cooperative budget keeps its deadlines: tokio's own timer is never ready then, and
/// nothing else wakes a connection whose peer is silent.
#[tokio::test(start_paused = true)]
async fn c08_a_task_without_budget_keeps_its_deadlines() {
    for halves in [false, true] {
        // Unlike the rig's, it counts against the budget.
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut ws = WebSocket::from_upgraded(near, Role::Client, &[], Config::client()).expect("entropy");
        let began = Instant::now();
        let waits = Duration::from_secs(3600);
        let ending = if halves {
            let (mut read, mut write) = ws.split();
            for _ in 0..SENDS {
                write.send("x").await.expect("room");
            }
            time::timeout(waits, async { read.recv().await.map(drop) }).await
        } else {
            for _ in 0..SENDS {
                ws.send("x").await.expect("room");
            }
            time::timeout(waits, async { ws.recv().await.map(drop) }).await
        };
        assert!(matches!(ending, Ok(Err(Error::Timeout(Timer::Pong)))), "{halves}: {ending:?}");
        assert_eq!(began.elapsed().as_secs(), 40, "{halves}");
        drop(far);
    }
}

/// the same for a close's deadline.
#[tokio::test(start_paused = true)]
async fn x11_a_task_without_budget_closes_in_time() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut ws = WebSocket::from_upgraded(near, Role::Client, &[], Config::client()).expect("entropy");
    let began = Instant::now();
    exhaust_budget().await;
    let normal = Some(CloseFrame::new(1000, ""));
    let ending = time::timeout(Duration::from_secs(3600), ws.close(normal)).await;
    assert!(matches!(ending, Ok(Err(Error::Timeout(Timer::Close)))), "{ending:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
    drop(far);
}

/// HS-31: and for that of a request's head.
#[tokio::test(start_paused = true)]
async fn hs31_a_task_without_budget_reads_no_head_for_ever() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let began = Instant::now();
    exhaust_budget().await;
    let ending =
        time::timeout(Duration::from_secs(3600), accept(near)).await.map(|accepted| accepted.is_err());
    assert!(matches!(ending, Ok(true)), "{ending:?}");
    assert!((10..=13).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(far);
}

/// A transport that takes nothing more and yet does not end is given up, also when it was a `send` that met the error: what
/// the peer still sends is read for as long as a close may last.
#[tokio::test(start_paused = true)]
async fn a_transport_that_only_reads_has_an_end_after_a_failed_send() {
    for halves in [false, true] {
        for waits_before in [false, true] {
            let (mut ws, far) = server();
            let began = Instant::now();
            let listener = far.clone();
            let task = tokio::spawn(async move {
                let mut heard = 0;
                if !halves {
                    listener.stop_listening();
                    assert!(matches!(ws.send("x").await, Err(Error::Lost(_))));
                    loop {
                        match ws.recv().await {
                            Ok(Some(_)) => heard += 1,
                            ending => return (heard, ending.map(drop)),
                        }
                    }
                }
                let (mut read, mut write) = ws.split();
                let reads = async move {
                    loop {
                        match read.recv().await {
                            Ok(Some(_)) => heard += 1,
                            ending => return (heard, ending.map(drop)),
                        }
                    }
                };
                let writes = async {
                    if waits_before {
                        settle().await;
                    }
                    listener.stop_listening();
                    assert!(matches!(write.send("x").await, Err(Error::Lost(_))));
                };
                if waits_before {
                    tokio::join!(reads, writes).0
                } else {
                    writes.await;
                    reads.await
                }
            });
            time::sleep(Duration::from_secs(5)).await;
            far.feed(masked(TEXT, b"still here"));
            let ending = time::timeout(Duration::from_secs(3600), task).await.expect("it has an end");
            let (heard, ending) = ending.expect("no panic");
            assert!(matches!(ending, Err(Error::Lost(_))), "{ending:?}");
            assert_eq!((heard, began.elapsed().as_secs()), (1, 10), "{halves} {waits_before}");
        }
    }
}

/// The call that lets the ping leave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Exit {
    Flush,
    Send,
    SendLarge,
    Queue,
    ReplyFlush,
    SinkFlush,
    HalfFlush,
    HalfSend,
    HalfQueue,
}

/// C-08: "until our Ping has left": a keepalive ping that leaves with a flush or a send, long after it was queued, is
/// answered in time if within 20 s of that.
#[tokio::test(start_paused = true)]
async fn c08_a_ping_counts_from_when_a_send_let_it_go() {
    use Exit::*;
    for exit in [Flush, Send, SendLarge, Queue, ReplyFlush, SinkFlush, HalfFlush, HalfSend, HalfQueue] {
        let (mut ws, far) = server();
        far.allow(0);
        ws.reply().queue(&[0; 70_000]).expect("room");
        let peer = far.clone();
        let task = tokio::spawn(async move {
            let most = Duration::from_secs(21);
            if matches!(exit, HalfFlush | HalfSend | HalfQueue) {
                let (mut read, mut write) = ws.split();
                assert!(time::timeout(most, read.recv()).await.is_err(), "nothing came");
                time::sleep(Duration::from_secs(25)).await;
                peer.allow(usize::MAX);
                match exit {
                    HalfFlush => write.flush().await.expect("it lives"),
                    HalfSend => write.send("x").await.expect("it lives"),
                    _ => write.queue("x").expect("room"),
                }
                return read.recv().await.map(|message| message.is_some());
            }
            assert!(time::timeout(most, ws.recv()).await.is_err(), "nothing came");
            time::sleep(Duration::from_secs(25)).await;
            peer.allow(usize::MAX);
            match exit {
                Send => ws.send("x").await.expect("it lives"),
                SendLarge => ws.send(&vec![0; 100_000]).await.expect("it lives"),
                Queue => ws.reply().queue("x").expect("room"),
                ReplyFlush => ws.reply().flush().await.expect("it lives"),
                SinkFlush => poll_fn(|cx| Pin::new(&mut ws).poll_flush(cx)).await.expect("it lives"),
                _ => ws.flush().await.expect("it lives"),
            }
            ws.recv().await.map(|message| message.is_some())
        });
        time::sleep(Duration::from_secs(60)).await;
        settle().await;
        let pings = far.frames().iter().filter(|frame| frame.opcode == PING).count();
        assert_eq!((pings, task.is_finished()), (1, false), "{exit:?}: it has left, and 14 s ago");
        far.feed(masked(PONG, b""));
        far.feed(masked(TEXT, b"here"));
        let ending = task.await.expect("no panic");
        assert!(matches!(ending, Ok(true)), "{exit:?}: {ending:?}");
    }
}
