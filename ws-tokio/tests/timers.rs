//! Deadlines with a virtual clock: each comes when it should, and not when the application caused the delay.

mod rig;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_sink::Sink;
use rig::{BINARY, CLOSE, Far, Near, PING, PONG, TEXT, close_body, masked, plain, settle, transport};
use tokio::time::{self, Instant};
use ws_tokio::core::{CloseCode, CloseFrame, Config, Role, Timer};
use ws_tokio::{AcceptError, Error, WebSocket, accept};

fn connection(role: Role) -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    let mut config = match role {
        Role::Server => Config::server(),
        Role::Client => Config::client(),
    };
    // Tested separately, in stall.rs.
    config.timeouts.write = None;
    (WebSocket::from_upgraded(near, role, &[], config).expect("entropy"), far)
}

fn pings(far: &Far) -> usize {
    far.frames().iter().filter(|frame| frame.opcode == PING).count()
}

/// HS-31: one absolute deadline for the whole head: one byte per second changes nothing.
#[tokio::test(start_paused = true)]
async fn hs31_a_head_has_ten_seconds() {
    let (near, far) = transport();
    let began = Instant::now();
    let server = tokio::spawn(async move { accept(near).await.map(drop) });
    for byte in rig::REQUEST.iter().take(60) {
        far.feed([*byte]);
        time::sleep(Duration::from_secs(1)).await;
        if server.is_finished() {
            break;
        }
    }
    let ended = began.elapsed();
    assert!(ended >= Duration::from_secs(10) && ended <= Duration::from_secs(13), "{ended:?}");
    let result = server.await.expect("no panic");
    assert!(matches!(result, Err(AcceptError::Request(_))), "{result:?}");
    assert!(far.written().starts_with(b"HTTP/1.1 408 "));
}

/// C-08: after 20 s of silence a ping; any byte is a sign of life; without one the connection is lost 20 s later.
#[tokio::test(start_paused = true)]
async fn c08_keepalive() {
    for role in [Role::Server, Role::Client] {
        let make = if role == Role::Server { masked } else { plain };
        let (mut ws, far) = connection(role);
        let began = Instant::now();
        let task = tokio::spawn(async move { (ws.recv().await.map(|_| ()), ws) });
        time::sleep(Duration::from_millis(19_900)).await;
        assert_eq!(pings(&far), 0);
        time::sleep(Duration::from_millis(200)).await;
        assert_eq!(pings(&far), 1);
        // At 39 s half a pong, at 58 s the rest of it: alive.
        time::sleep(Duration::from_millis(18_900)).await;
        let pong = make(PONG, b"");
        far.feed(&pong[..1]);
        time::sleep(Duration::from_secs(19)).await;
        far.feed(&pong[1..]);
        time::sleep(Duration::from_millis(19_900)).await;
        assert_eq!(pings(&far), 1, "{role:?}");
        time::sleep(Duration::from_millis(300)).await;
        assert_eq!(pings(&far), 2, "{role:?}");
        let (ending, mut ws) = task.await.expect("no panic");
        assert!(matches!(ending, Err(Error::Timeout(Timer::Pong))), "{ending:?}");
        assert_eq!(ending.expect_err("failed").close_code(), Some(CloseCode::ABNORMAL));
        assert_eq!(began.elapsed().as_secs(), 98, "20 s and 20 s after the last byte");
        assert!(matches!(ws.recv().await, Ok(None)));
    }
}

/// C-08: "the application pauses 60 s (virtual) behind 1 MiB of data, and the connection lives".
#[tokio::test(start_paused = true)]
async fn c08_a_slow_application_does_not_kill_its_peer() {
    let (mut ws, far) = connection(Role::Server);
    for _ in 0..16 {
        far.feed(masked(BINARY, &[0; 60_000]));
    }
    // The answer to our ping comes after all that.
    far.feed(masked(PONG, b""));
    far.feed(masked(TEXT, b"end"));
    for i in 0..16 {
        let message = ws.recv().await.expect("it lives").expect("a message");
        assert_eq!(message.0.as_bytes().len(), 60_000, "{i}");
        time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(ws.recv().await.expect("it lives").expect("a message").0.as_bytes(), b"end");
}

/// C-08: the same while the peer's pong is behind data that is not taken because a send waits.
#[tokio::test(start_paused = true)]
async fn c08_a_blocked_send_does_not_kill_the_peer() {
    let (mut ws, far) = connection(Role::Server);
    let task = tokio::spawn(async move {
        // Long enough for the keepalive ping to leave.
        let idle = time::timeout(Duration::from_secs(21), ws.recv()).await;
        assert!(idle.is_err(), "nothing came");
        ws.send(&vec![0; 100_000]).await.expect("it lives");
        ws.recv().await.map(|message| message.is_some())
    });
    time::sleep(Duration::from_secs(20)).await;
    settle().await;
    assert_eq!(pings(&far), 1);
    far.allow(0);
    time::sleep(Duration::from_secs(5)).await;
    far.feed(masked(PONG, b""));
    far.feed(masked(TEXT, b"here"));
    time::sleep(Duration::from_secs(120)).await;
    far.allow(usize::MAX);
    assert!(task.await.expect("no panic").expect("it lives"));
}

/// C-08: a pong in flight when a blocked send ends has its full time, however the send waited.
#[tokio::test(start_paused = true)]
async fn c08_a_pong_has_its_time_after_a_blocked_send() {
    for how in 0..5 {
        let (mut ws, far) = connection(Role::Server);
        let task = tokio::spawn(async move {
            let idle = time::timeout(Duration::from_secs(21), ws.recv()).await;
            assert!(idle.is_err(), "nothing came");
            match how {
                0 => ws.send("small").await.expect("it lives"),
                1 => ws.send(&vec![0; 100_000]).await.expect("it lives"),
                2 => ws.reply().send(&vec![0; 100_000]).await.expect("it lives"),
                3 => {
                    ws.reply().queue(&vec![0; 70_000]).expect("room");
                    ws.reply().send("small").await.expect("it lives");
                }
                _ => {
                    ws.reply().queue("small").expect("room");
                    ws.reply().flush().await.expect("it lives");
                }
            }
            ws.recv().await.map(|message| message.is_some())
        });
        time::sleep(Duration::from_secs(20)).await;
        settle().await;
        assert_eq!(pings(&far), 1);
        far.allow(0);
        time::sleep(Duration::from_secs(120)).await;
        far.allow(usize::MAX);
        // Now the peer gets to it.
        time::sleep(Duration::from_secs(15)).await;
        far.feed(masked(PONG, b""));
        far.feed(masked(TEXT, b"here"));
        assert!(task.await.expect("no panic").expect("it lives"), "{how}");
    }
}

/// C-08: "until our Ping has left": a little stuck output before the ping holds it as much as a lot does; and the answer
/// to a ping that left before the output got stuck is due as usual.
#[tokio::test(start_paused = true)]
async fn c08_a_ping_behind_a_little_stuck_output_has_not_left() {
    for halves in [false, true] {
        for left in [false, true] {
            let (mut ws, far) = connection(Role::Server);
            let (queue, queued) = tokio::sync::oneshot::channel::<()>();
            let task = tokio::spawn(async move {
                if halves {
                    let (mut read, mut write) = ws.split();
                    assert!(time::timeout(Duration::from_secs(15), read.recv()).await.is_err());
                    if !left {
                        write.queue("a little").expect("room");
                    }
                    tokio::select! {
                        message = read.recv() => return message.map(|message| message.is_some()),
                        _ = queued => {}
                    }
                    write.queue("a little").expect("room");
                    return read.recv().await.map(|message| message.is_some());
                }
                assert!(time::timeout(Duration::from_secs(15), ws.recv()).await.is_err());
                if !left {
                    ws.reply().queue("a little").expect("room");
                }
                tokio::select! {
                    message = ws.recv() => return message.map(|message| message.is_some()),
                    _ = queued => {}
                }
                ws.reply().queue("a little").expect("room");
                ws.recv().await.map(|message| message.is_some())
            });
            time::sleep(Duration::from_secs(10)).await;
            if !left {
                far.allow(0);
            }
            time::sleep(Duration::from_secs(15)).await;
            assert_eq!(pings(&far), usize::from(left));
            far.allow(0);
            queue.send(()).expect("it waits");
            time::sleep(Duration::from_secs(60)).await;
            assert_eq!(task.is_finished(), left, "halves: {halves}");
            far.allow(usize::MAX);
            if !left {
                settle().await;
                assert_eq!(pings(&far), 1);
                time::sleep(Duration::from_secs(15)).await;
                assert!(!task.is_finished(), "it has its full time");
                time::sleep(Duration::from_secs(6)).await;
            }
            let ending = task.await.expect("no panic");
            assert!(matches!(ending, Err(Error::Timeout(Timer::Pong))), "{ending:?}");
        }
    }
}

/// C-08: a sink that waits for room reads nothing, and a pong has its full time after it.
#[tokio::test(start_paused = true)]
async fn c08_a_pong_has_its_time_after_a_sink_waited() {
    let (mut ws, far) = connection(Role::Server);
    let task = tokio::spawn(async move {
        assert!(time::timeout(Duration::from_secs(21), ws.recv()).await.is_err());
        ws.reply().queue(&[0; 70_000]).expect("room");
        poll_fn(|cx| Pin::new(&mut ws).poll_ready(cx)).await.expect("it lives");
        ws.recv().await.map(|message| message.is_some())
    });
    time::sleep(Duration::from_secs(20)).await;
    settle().await;
    assert_eq!(pings(&far), 1);
    far.allow(0);
    time::sleep(Duration::from_secs(120)).await;
    far.allow(usize::MAX);
    time::sleep(Duration::from_secs(15)).await;
    far.feed(masked(PONG, b""));
    far.feed(masked(TEXT, b"here"));
    assert!(task.await.expect("no panic").expect("it lives"));
}

/// C-08: a connection that does not read because its answers are stuck looks for the pong before it gives up.
#[tokio::test(start_paused = true)]
async fn c08_a_pong_behind_stuck_answers_is_found() {
    for answered in [true, false] {
        let (mut ws, far) = connection(Role::Server);
        let task = tokio::spawn(async move {
            let idle = time::timeout(Duration::from_secs(21), ws.recv()).await;
            assert!(idle.is_err(), "nothing came");
            ws.reply().queue(&vec![0; 70_000]).expect("room");
            ws.recv().await.map(|message| message.is_some())
        });
        time::sleep(Duration::from_secs(20)).await;
        settle().await;
        assert_eq!(pings(&far), 1);
        far.allow(0);
        time::sleep(Duration::from_secs(1)).await;
        settle().await;
        if answered {
            far.feed(masked(PONG, b""));
        }
        time::sleep(Duration::from_secs(60)).await;
        assert_eq!(task.is_finished(), !answered);
        far.allow(usize::MAX);
        far.feed(masked(TEXT, b"here"));
        let ending = task.await.expect("no panic");
        assert_eq!(matches!(ending, Ok(true)), answered, "{ending:?}");
    }
}

/// C-08: "until our Ping has left": one that waited behind blocked output is answered in time if within 20 s of that.
#[tokio::test(start_paused = true)]
async fn c08_a_ping_counts_from_when_it_left() {
    let (mut ws, far) = connection(Role::Server);
    far.allow(0);
    ws.reply().queue(&[0; 70_000]).expect("room");
    let began = Instant::now();
    let task = tokio::spawn(async move { ws.recv().await.map(|_| ()) });
    time::sleep(Duration::from_secs(39)).await;
    far.allow(usize::MAX);
    let ending = task.await.expect("no panic");
    assert!(matches!(ending, Err(Error::Timeout(Timer::Pong))), "{ending:?}");
    assert_eq!(began.elapsed().as_secs(), 59);
    assert_eq!(pings(&far), 1);
}

/// an unanswered close frame is given 10 s, and data from the peer does not extend that.
#[tokio::test(start_paused = true)]
async fn x11_the_peer_does_not_answer_our_close() {
    for role in [Role::Server, Role::Client] {
        let make = if role == Role::Server { masked } else { plain };
        let (mut ws, far) = connection(role);
        let began = Instant::now();
        let task = tokio::spawn(async move { ws.close(Some(CloseFrame::new(CloseCode::NORMAL, ""))).await });
        for _ in 0..9 {
            time::sleep(Duration::from_secs(1)).await;
            far.feed(make(TEXT, b"still talking"));
        }
        let ending = task.await.expect("no panic");
        assert!(matches!(ending, Err(Error::Timeout(Timer::Close))), "{ending:?}");
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}

/// the close deadline comes also for a peer that always has more to send, whether that is discarded or received.
#[tokio::test]
async fn x11_a_peer_that_never_pauses_is_given_up() {
    for len in [100, 400_000] {
        for how in 0..3 {
            let mut config = Config::server();
            config.timeouts.close = Duration::from_millis(50);
            let talker = rig::Talker::new(masked(BINARY, &vec![1; len]));
            let mut ws = WebSocket::from_upgraded(talker, Role::Server, &[], config).expect("a server");
            let normal = Some(CloseFrame::new(CloseCode::NORMAL, ""));
            let ending = async {
                match how {
                    0 => ws.close(normal).await,
                    1 => {
                        ws.start_close(normal)?;
                        while ws.recv().await?.is_some() {}
                        Ok(())
                    }
                    _ => {
                        let (mut read, mut write) = ws.split();
                        write.close(normal).await?;
                        while read.recv().await?.is_some() {}
                        Ok(())
                    }
                }
            };
            let ending = time::timeout(Duration::from_secs(60), ending).await.expect("it has an end");
            assert!(matches!(ending, Err(Error::Timeout(Timer::Close))), "{how}, {len}: {ending:?}");
        }
    }
}

/// the close deadline ends a `flush`, too: the close frame waits behind what the peer does not take.
#[tokio::test(start_paused = true)]
async fn x11_a_flush_behind_our_close_has_an_end() {
    for violated in [false, true] {
        let (mut ws, far) = connection(Role::Server);
        far.allow(0);
        ws.reply().queue("waits").expect("room");
        if violated {
            far.feed(vec![0xFF; 10]);
            assert!(time::timeout(Duration::from_secs(1), ws.recv()).await.is_err());
        } else {
            ws.start_close(None).expect("open");
        }
        let flushed = time::timeout(Duration::from_secs(60), ws.flush()).await.expect("it has an end");
        match flushed {
            Err(Error::Timeout(Timer::Close)) => assert!(!violated),
            Err(Error::Violation(_)) => assert!(violated),
            other => panic!("{other:?}"),
        }
        assert!(matches!(ws.recv().await, Ok(None)), "told once");
    }
}

/// after both close frames a server lingers for 2 s, a client waits 10 s for the end; both are clean.
#[tokio::test(start_paused = true)]
async fn x10_the_transport_is_given_time_to_end() {
    for (role, seconds, shut) in [(Role::Server, 2, true), (Role::Client, 10, false)] {
        for ours_first in [false, true] {
            let make = if role == Role::Server { masked } else { plain };
            let (mut ws, far) = connection(role);
            let began = Instant::now();
            let task = tokio::spawn(async move {
                if ours_first {
                    return ws.close(Some(CloseFrame::new(CloseCode::NORMAL, ""))).await;
                }
                ws.recv().await.map(|message| assert!(message.is_none()))
            });
            far.feed(make(CLOSE, &close_body(1000, "")));
            settle().await;
            assert_eq!(far.is_shut(), shut, "{role:?}: the server shuts down first");
            task.await.expect("no panic").expect("clean");
            assert_eq!(began.elapsed().as_secs(), seconds, "{role:?} {ours_first}");
        }
    }
}

/// a peer in full flow, as a browser with 17 MiB for a server that takes 1, is not reset before it has read why:
/// 64 KiB are discarded, and then it has the rest of 2 s.
#[tokio::test(start_paused = true)]
async fn x10_a_peer_in_full_flow_reads_why() {
    for halves in [false, true] {
        let (mut ws, far) = connection(Role::Server);
        let began = Instant::now();
        let task = tokio::spawn(async move {
            if halves {
                let (mut read, _write) = ws.split();
                return read.recv().await.map(|_| ());
            }
            ws.recv().await.map(|_| ())
        });
        let flow = masked(BINARY, &vec![0; 17 << 20]);
        flow.chunks(30_000).for_each(|piece| far.feed(piece));
        let pieces = far.unread();
        settle().await;
        assert!(far.is_shut() && !task.is_finished());
        let ending = task.await.expect("no panic");
        assert!(matches!(ending, Err(Error::Violation(_))), "{ending:?}");
        assert_eq!(began.elapsed().as_secs(), 2);
        assert!(pieces - far.unread() <= 4, "one, and 64 KiB");
        let frames = far.frames();
        assert_eq!((frames[0].opcode, &frames[0].payload[..2]), (CLOSE, &1009u16.to_be_bytes()[..]));
    }
}

/// A transport that takes nothing more, and yet does not end, is not waited for forever; what the peer still sends is
/// read.
#[tokio::test(start_paused = true)]
async fn a_transport_that_only_reads_has_an_end() {
    for halves in [false, true] {
        let (mut ws, far) = connection(Role::Server);
        far.stop_listening();
        far.feed(masked(PING, b"unanswered"));
        let talker = far.clone();
        tokio::spawn(async move {
            time::sleep(Duration::from_secs(5)).await;
            talker.feed(masked(TEXT, b"still here"));
        });
        let began = Instant::now();
        let (heard, ending) = time::timeout(Duration::from_secs(3600), async {
            settle().await;
            let mut heard = 0;
            let ending = if halves {
                let (mut read, _write) = ws.split();
                loop {
                    match read.recv().await {
                        Ok(Some(_)) => heard += 1,
                        ending => break ending.map(|_| ()),
                    }
                }
            } else {
                loop {
                    match ws.recv().await {
                        Ok(Some(_)) => heard += 1,
                        ending => break ending.map(|_| ()),
                    }
                }
            };
            (heard, ending)
        })
        .await
        .expect("it has an end");
        assert!(matches!(ending, Err(Error::Lost(_))), "{ending:?}");
        assert_eq!((heard, began.elapsed().as_secs()), (1, 10));
    }
}

/// Each setting moves its own deadline.
#[tokio::test(start_paused = true)]
async fn settings() {
    let (near, far) = transport();
    let mut config = Config::server();
    config.timeouts.keepalive = Some(Duration::from_secs(3));
    config.timeouts.pong = Duration::from_secs(1);
    let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], config).expect("a server");
    let began = Instant::now();
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timer::Pong))));
    assert_eq!(began.elapsed().as_secs(), 4);
    assert_eq!(pings(&far), 1);

    let (near, far) = transport();
    let mut config = Config::server();
    config.timeouts.keepalive = None;
    let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], config).expect("a server");
    let idle = time::timeout(Duration::from_secs(1_000_000), ws.recv()).await;
    assert!(idle.is_err(), "without keepalive silence is no failure");
    assert_eq!(pings(&far), 0);
}

/// A waiting connection does not spin: a few polls per hour, not thousands.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_idle() {
    let (mut ws, far) = connection(Role::Server);
    let task = tokio::spawn(async move { ws.recv().await.map(|_| ()) });
    for _ in 0..60 {
        time::sleep(Duration::from_secs(60)).await;
        far.feed(masked(PONG, b""));
        if task.is_finished() {
            break;
        }
        time::sleep(Duration::from_secs(10)).await;
        far.feed(masked(PONG, b""));
    }
    assert!(far.polls() < 2_000, "{} polls", far.polls());
}
