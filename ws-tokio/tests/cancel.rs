//! Cancel safety: each future is polled n times and dropped, for n from 0 until it is ready. Nothing is lost, nothing
//! is sent twice, and never half a frame.

mod rig;

use std::pin::{Pin, pin};
use std::task::Poll;

use rig::{BINARY, CLOSE, Far, Near, PING, TEXT, close_body, masked, plain, poll_once, transport};
use ws_tokio::core::{CloseCode, CloseFrame, Config, Event, Message, Part, Role};
use ws_tokio::{Error, WebSocket, accept};

fn connection(role: Role) -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    let config = match role {
        Role::Server => Config::server(),
        Role::Client => Config::client(),
    };
    (WebSocket::from_upgraded(near, role, &[], config).expect("entropy"), far)
}

/// Polls up to `most` times, with `room` more bytes of room before each poll; returns whether it was ready.
fn poll_with_room<F: Future<Output = Result<(), Error>>>(
    future: F,
    far: &Far,
    most: usize,
    room: usize,
) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..most {
        far.allow(room);
        match poll_once(future.as_mut()) {
            Poll::Ready(result) => {
                result.expect("open");
                return true;
            }
            Poll::Pending => {}
        }
    }
    false
}

#[derive(Clone, Copy, Debug)]
struct Sending {
    role: Role,
    len: usize,
    /// How much is queued before it.
    backlog: usize,
    vectored: bool,
    /// The room that each poll finds.
    room: usize,
    halves: bool,
}

/// A dropped `send` was sent whole, or not at all.
#[tokio::test]
async fn a_dropped_send_is_whole_or_nothing() {
    let mut cases = Vec::new();
    for role in [Role::Server, Role::Client] {
        for (len, room) in [(0, 1), (5, 1), (200, 7), (20_000, 1_500), (100_000, 9_000), (300_000, 70_000)] {
            for backlog in [0, 70_000] {
                for vectored in [true, false] {
                    for halves in [false, true] {
                        cases.push(Sending {
                            role,
                            len,
                            backlog,
                            vectored,
                            room: room.max(backlog / 20),
                            halves,
                        });
                    }
                }
            }
        }
    }
    for case in cases {
        let mut sent_before_ready = false;
        for most in 0.. {
            let (ready, whole) = send_and_drop(case, most).await;
            sent_before_ready |= whole && !ready;
            if ready {
                assert!(whole, "{case:?}: what is reported is sent");
                break;
            }
        }
        assert!(sent_before_ready || case.len < 3, "{case:?}: the case never waited for its flush");
    }
}

async fn send_and_drop(case: Sending, most: usize) -> (bool, bool) {
    let (mut ws, far) = connection(case.role);
    if !case.vectored {
        far.no_vectored();
    }
    far.allow(0);
    if case.backlog > 0 {
        ws.reply().queue(&vec![b'b'; case.backlog]).expect("room");
    }
    let payload: Vec<u8> = (0..case.len).map(|i| (i % 251) as u8).collect();
    let ready = if case.halves {
        let (read, mut write) = ws.split();
        let ready = poll_with_room(write.send(&payload), &far, most, case.room);
        far.allow(usize::MAX);
        write.send("marker").await.expect("open");
        drop(read);
        ready
    } else {
        let ready = poll_with_room(ws.send(&payload), &far, most, case.room);
        far.allow(usize::MAX);
        ws.send("marker").await.expect("open");
        ready
    };
    let mut frames = far.frames();
    assert!(frames.iter().all(|frame| frame.masked == (case.role == Role::Client)), "{case:?}");
    if case.backlog > 0 {
        assert_eq!(frames.remove(0).payload.len(), case.backlog, "{case:?}");
    }
    let marker = frames.pop().map(|frame| (frame.opcode, frame.payload));
    assert_eq!(marker, Some((TEXT, b"marker".to_vec())), "{case:?}");
    assert!(frames.len() <= 1, "{case:?}: once");
    if let Some(frame) = frames.first() {
        assert_eq!((frame.opcode, &frame.payload), (BINARY, &payload), "{case:?} after {most} polls");
    }
    (ready, frames.len() == 1)
}

/// F-18: a dropped part was either sent or not, and the next is accepted accordingly.
#[tokio::test]
async fn f18_a_dropped_part_leaves_the_message_in_order() {
    for len in [10, 50_000] {
        for most in 0.. {
            let (mut ws, far) = connection(Role::Server);
            far.allow(0);
            ws.reply().queue(&vec![0; 65_536]).expect("room");
            let payload = vec![1; len];
            let ready = poll_with_room(ws.send_part(&payload, Part::First), &far, most, 20_000);
            far.allow(usize::MAX);
            let begun = ws.send_part(&[2], Part::Last).await.is_ok();
            ws.send("marker").await.expect("open");
            let frames = far.frames();
            let expected = if begun { 4 } else { 2 };
            assert_eq!(frames.len(), expected, "{len} after {most} polls");
            if ready {
                assert!(begun);
                break;
            }
        }
    }
}

/// A dropped `flush` is continued by any later call.
#[tokio::test]
async fn a_dropped_flush_loses_nothing() {
    for most in 0.. {
        let (mut ws, far) = connection(Role::Client);
        far.allow(0);
        for i in 0..50 {
            ws.reply().queue(&vec![i; 100]).expect("room");
        }
        ws.ping(b"and a ping").expect("room");
        let ready = poll_with_room(ws.flush(), &far, most, 333);
        far.allow(usize::MAX);
        assert!(poll_once(pin!(ws.recv())).is_pending());
        let frames = far.frames();
        assert_eq!(frames.len(), 51);
        assert_eq!(frames.iter().filter(|frame| frame.opcode == PING).count(), 1);
        if ready {
            break;
        }
    }
}

/// The messages that came through, as text.
async fn drain(ws: &mut WebSocket<Near>, how: usize, seen: &mut Vec<String>) {
    /// Polls twice, since the first poll may only yield to other tasks, and drops the future.
    fn step<F: Future>(future: F) -> Option<F::Output> {
        let mut future = Box::pin(future);
        match poll_once(future.as_mut()) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => match poll_once(future.as_mut()) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            },
        }
    }
    loop {
        let text = match how {
            0 => match step(ws.recv()) {
                Some(Ok(Some((Message::Text(text), _)))) => text.to_owned(),
                _ => return,
            },
            1 => match step(ws.recv_event()) {
                Some(Ok(Some((Event::Text(text), _)))) => text.to_owned(),
                Some(Ok(Some(_))) => continue,
                _ => return,
            },
            _ => match step(ws.recv_owned()) {
                Some(Ok(Some(message))) => match message.borrow() {
                    Message::Text(text) => text.to_owned(),
                    Message::Binary(_) => return,
                },
                _ => return,
            },
        };
        seen.push(text);
    }
}

/// A send that was neither finished nor dropped, but forgotten, leaves half a frame: nothing is written into it.
#[tokio::test]
async fn nothing_gets_into_a_forgotten_frame() {
    let payload = vec![b'x'; 100_000];
    for halves in [false, true] {
        let (mut ws, far) = connection(Role::Server);
        far.allow(50_000);
        if halves {
            let (_read, mut write) = ws.split();
            let mut send = Box::pin(write.send(&payload));
            assert!(poll_once(send.as_mut()).is_pending());
            std::mem::forget(send);
            far.allow(usize::MAX);
            assert!(matches!(write.send("x").await, Err(Error::Lost(_))));
            assert!(matches!(write.send(&payload).await, Err(Error::Lost(_))));
            assert!(matches!(write.queue("x"), Err(Error::Lost(_))));
        } else {
            let mut send = Box::pin(ws.send(&payload));
            assert!(poll_once(send.as_mut()).is_pending());
            std::mem::forget(send);
            far.allow(usize::MAX);
            assert!(matches!(ws.send("x").await, Err(Error::Lost(_))));
            assert!(matches!(ws.send(&payload).await, Err(Error::Lost(_))));
            assert!(matches!(ws.reply().queue("x"), Err(Error::Lost(_))));
        }
        assert_eq!(far.written_len(), 50_000);
    }
}

/// A `recv` that is dropped while it waits loses nothing, wherever the input is cut.
#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    let texts: Vec<String> = (0..20).map(|i| "é".repeat(i * 7)).collect();
    let long = "long ".repeat(20_000);
    for how in 0..3 {
        for cut in [1, 3, 11, 1000] {
            for role in [Role::Server, Role::Client] {
                let (mut ws, far) = connection(role);
                let make = if role == Role::Server { masked } else { plain };
                let mut input = Vec::new();
                for text in &texts {
                    input.extend(make(TEXT, text.as_bytes()));
                    input.extend(make(PING, b"p"));
                }
                let mut seen = Vec::new();
                for piece in input.chunks(cut) {
                    far.feed(piece);
                    drain(&mut ws, how, &mut seen).await;
                }
                assert_eq!(seen, texts, "{how} {cut} {role:?}");
                for piece in make(TEXT, long.as_bytes()).chunks(cut * 1000) {
                    far.feed(piece);
                    drain(&mut ws, how, &mut seen).await;
                }
                assert_eq!(seen.last(), Some(&long), "{how} {cut} {role:?}");
                drop(ws);
                assert_eq!(far.frames().len(), texts.len(), "a pong for each ping");
            }
        }
    }
}

/// A reply to a lent message, dropped at any point, is sent whole or not at all, and the next message is unharmed.
#[tokio::test]
async fn a_dropped_reply_is_whole_or_nothing() {
    for most in 0.. {
        let (mut ws, far) = connection(Role::Server);
        far.feed([masked(BINARY, &[3; 40_000]), masked(TEXT, b"next")].concat());
        far.allow(0);
        let ready = {
            let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
            poll_with_room(reply.send(message), &far, most, 6_000)
        };
        far.allow(usize::MAX);
        let (message, mut reply) = ws.recv().await.expect("open").expect("a message");
        assert_eq!(message, Message::Text("next"));
        reply.send(message).await.expect("room");
        reply.flush().await.expect("open");
        let frames = far.frames();
        let lens: Vec<_> = frames.iter().map(|frame| frame.payload.len()).collect();
        if most == 0 {
            assert_eq!(lens, [4]);
        } else {
            assert_eq!(lens, [40_000, 4], "{most}");
        }
        if ready {
            break;
        }
    }
}

/// a dropped `close` is continued by any later call, and sends its frame once.
#[tokio::test]
async fn x17_a_dropped_close_goes_on() {
    for again in [false, true] {
        for most in 0..60 {
            let (mut ws, far) = connection(Role::Server);
            far.allow(0);
            ws.reply().queue("before").expect("room");
            let frame = CloseFrame::new(CloseCode::GOING_AWAY, "later");
            {
                let mut close = Box::pin(ws.close(Some(frame)));
                for poll in 0..most {
                    far.allow(1);
                    if poll == 30 {
                        far.feed(masked(CLOSE, &close_body(1001, "")));
                    }
                    if poll == 50 {
                        far.end();
                    }
                    if let Poll::Ready(end) = poll_once(close.as_mut()) {
                        end.expect("clean");
                        break;
                    }
                }
            }
            far.allow(usize::MAX);
            far.feed(masked(CLOSE, &close_body(1001, "")));
            far.end();
            if again {
                ws.close(Some(frame)).await.expect("clean");
            } else {
                while ws.recv().await.expect("clean").is_some() {}
            }
            let opcodes: Vec<_> = far.frames().iter().map(|frame| frame.opcode).collect();
            if most == 0 && !again {
                // Never polled, so never begun: the peer's close frame was echoed instead.
                assert_eq!(far.frames()[1].payload, 1001u16.to_be_bytes());
            }
            assert_eq!(opcodes, [TEXT, CLOSE], "{most}");
            assert!(far.is_shut());
        }
    }
}

/// `accept`, dropped at any point, drops the stream; what was written is the beginning of the one answer.
#[tokio::test]
async fn a_dropped_accept_drops_the_stream() {
    let whole = {
        let (near, far) = transport();
        far.feed(rig::REQUEST);
        drop(accept(near).await.expect("an upgrade"));
        far.written()
    };
    assert!(whole.starts_with(b"HTTP/1.1 101 "));
    for most in 0.. {
        let (near, far) = transport();
        far.allow(0);
        let mut ready = false;
        let mut future: Pin<Box<dyn Future<Output = _>>> = Box::pin(accept(near));
        for poll in 0..most {
            match rig::REQUEST.get(poll * 5..) {
                Some([]) | None => far.allow(7),
                Some(rest) => far.feed(&rest[..rest.len().min(5)]),
            }
            if poll_once(future.as_mut()).is_ready() {
                ready = true;
                break;
            }
        }
        drop(future);
        assert!(whole.starts_with(&far.written()), "{most}");
        assert!(far.is_dropped(), "{most}");
        if ready {
            assert_eq!(far.written(), whole);
            break;
        }
    }
}
