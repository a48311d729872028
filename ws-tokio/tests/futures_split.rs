//! `StreamExt::split` of futures: one connection as a stream and as a sink, in two tasks, behind the split's lock. Each
//! task is woken for what it waits for, whatever the other does meanwhile.

mod rig;

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rig::{CLOSE, Far, Near, PING, TEXT, close_body, masked, settle, transport};
use tokio::time::{self, Instant};
use ws_tokio::core::{Config, Role, Timer};
use ws_tokio::{Error, OwnedMessage, WebSocket};

type Halves = (SplitSink<WebSocket<Near>, OwnedMessage>, SplitStream<WebSocket<Near>>);

fn halves() -> (Halves, Far) {
    let (near, far) = transport();
    let ws = WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("a server");
    (StreamExt::split(ws), far)
}

fn pings(far: &Far) -> usize {
    far.frames().iter().filter(|frame| frame.opcode == PING).count()
}

/// N-02, N-05: a writer that waits for room is woken when there is some, though a reader was polled in between; and so is a
/// reader for what arrives, though a writer was.
#[tokio::test]
async fn n02_n05_both_are_woken() {
    for writer_first in [false, true] {
        let ((mut sink, mut stream), far) = halves();
        far.allow(0);
        let write = async move {
            for _ in 0..5 {
                sink.feed(vec![0; 20_000].into()).await.expect("open");
            }
            sink.flush().await.expect("open");
            sink
        };
        let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let read = async move {
            while let Some(message) = stream.next().await {
                heard.send(message.expect("open")).expect("the test waits");
            }
        };
        let (writer, reader);
        if writer_first {
            writer = tokio::spawn(write);
            settle().await;
            reader = tokio::spawn(read);
        } else {
            reader = tokio::spawn(read);
            settle().await;
            writer = tokio::spawn(write);
        }
        settle().await;
        assert!(!writer.is_finished());
        // While so much waits nothing is read (C-06), but arrivals are still noticed.
        far.feed(masked(TEXT, b"one"));
        settle().await;
        far.allow(50_000);
        settle().await;
        assert_eq!(hears.try_recv().ok(), Some("one".into()), "writer first: {writer_first}");
        far.feed(masked(TEXT, b"two"));
        settle().await;
        assert_eq!(hears.try_recv().ok(), Some("two".into()), "writer first: {writer_first}");
        assert!(!writer.is_finished());
        far.allow(usize::MAX);
        settle().await;
        assert!(writer.is_finished(), "writer first: {writer_first}");
        assert_eq!(far.frames().len(), 5);
        far.feed(masked(TEXT, b"three"));
        settle().await;
        assert_eq!(hears.try_recv().ok(), Some("three".into()), "writer first: {writer_first}");
        reader.abort();
    }
}

/// C-08: the reader's deadlines come, also after a writer has waited, and after one that let the ping leave.
#[tokio::test(start_paused = true)]
async fn c08_a_writer_takes_no_deadline_along() {
    for feeds_only in [false, true] {
        let ((mut sink, mut stream), far) = halves();
        let began = Instant::now();
        let reader = tokio::spawn(async move { stream.next().await.map(|message| message.map(drop)) });
        settle().await;
        if feeds_only {
            // The ping cannot leave with so much queued before it. Then the writer sends it, and is dropped.
            far.allow(0);
            sink.feed(vec![0; 70_000].into()).await.expect("room");
            time::sleep(Duration::from_secs(25)).await;
            far.allow(usize::MAX);
            sink.feed("x".into()).await.expect("open");
            sink.flush().await.expect("open");
        } else {
            far.allow(0);
            let writer = tokio::spawn(async move {
                sink.send("x".into()).await.expect("open");
                sink
            });
            time::sleep(Duration::from_secs(5)).await;
            far.allow(usize::MAX);
            sink = writer.await.expect("no panic");
        }
        let ending = time::timeout(Duration::from_secs(3600), reader).await.expect("a deadline");
        let ending = ending.expect("no panic");
        assert!(matches!(ending, Some(Err(Error::Timeout(Timer::Pong)))), "{ending:?}");
        assert_eq!((pings(&far), began.elapsed().as_secs()), (1, if feeds_only { 45 } else { 40 }));
        drop(sink);
    }
}

/// `close` of the sink ends the stream, which waits for it.
#[tokio::test(start_paused = true)]
async fn x10_the_sink_closes_and_the_stream_ends() {
    for ends in [false, true] {
        let ((mut sink, mut stream), far) = halves();
        let reader = tokio::spawn(async move { stream.next().await.map(|message| message.map(drop)) });
        settle().await;
        let writer = tokio::spawn(async move { sink.close().await });
        settle().await;
        assert!(!reader.is_finished() && !writer.is_finished());
        far.feed(masked(CLOSE, &close_body(1000, "")));
        if ends {
            far.end();
        } else {
            // After 2 s of lingering.
            time::sleep(Duration::from_secs(3)).await;
        }
        settle().await;
        assert!(
            writer.is_finished() && reader.is_finished(),
            "{} {}",
            writer.is_finished(),
            reader.is_finished()
        );
        writer.await.expect("no panic").expect("clean");
        assert!(reader.await.expect("no panic").is_none());
    }
}

/// when the stream ends, a writer that waits for room is told so.
#[tokio::test(start_paused = true)]
async fn x11_the_stream_ends_and_the_sink_is_told() {
    for flushes in [false, true] {
        let ((mut sink, mut stream), far) = halves();
        far.allow(0);
        let writer = tokio::spawn(async move {
            if flushes {
                return sink.send("x".into()).await;
            }
            loop {
                sink.feed(vec![0; 20_000].into()).await?;
            }
        });
        settle().await;
        let reader = tokio::spawn(async move { stream.next().await.map(|message| message.map(drop)) });
        settle().await;
        // Bytes that are not a frame. The close frame that says so cannot leave. With 64 KiB queued they are not even read.
        far.feed(vec![0xFF; 10]);
        if !flushes {
            far.allow(60_000);
        }
        let told = time::timeout(Duration::from_secs(30), async { tokio::join!(reader, writer) });
        let (ending, written) = told.await.expect("both end");
        let (ending, written) = (ending.expect("no panic"), written.expect("no panic"));
        assert!(written.is_err(), "{flushes}: {written:?}");
        assert!(matches!(ending, Some(Err(Error::Violation(_))) | None), "{flushes}: {ending:?}");
        // One of them is told why.
        assert!(ending.is_some() || matches!(written, Err(Error::Violation(_))), "{flushes}: {written:?}");
    }
}
