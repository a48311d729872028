//! How connections end, and that each kind of end can be told from the others, for both roles.

mod rig;

use std::pin::pin;
use std::time::Duration;

use rig::{CLOSE, Far, Frame, Near, PING, TEXT, close_body, frame, poll_once, settle, transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use ws_tokio::core::{CloseCode, CloseFrame, Config, Event, Message, Role, SendError, Violation};
use ws_tokio::{Acceptance, Error, WebSocket, accept_with};

const KEY: [u8; 4] = [1, 2, 3, 4];

fn connection(role: Role) -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    let config = match role {
        Role::Server => Config::server(),
        Role::Client => Config::client(),
    };
    (WebSocket::from_upgraded(near, role, &[], config).expect("entropy"), far)
}

/// A frame as the peer of this role sends it.
fn from_peer(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, (role == Role::Server).then_some(KEY))
}

/// What the peer sends, byte by byte, and what it does then.
#[derive(Clone, Copy, Debug)]
enum Then {
    End,
    Reset,
}

#[derive(Debug, PartialEq)]
enum End {
    Clean(u16),
    Eof,
    Broken,
    Violation(Violation),
}

fn name(result: Result<(), Error>, ws: &WebSocket<Near>) -> End {
    match result {
        Ok(()) => End::Clean(ws.close_reason().map_or(0, |reason| reason.code.0)),
        Err(Error::Lost(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => End::Eof,
        Err(Error::Lost(_)) => End::Broken,
        Err(Error::Violation(violation)) => End::Violation(violation),
        Err(other) => panic!("{other}"),
    }
}

/// X-13, X-15, X-01, X-19, F-01: the ends of a connection, one row each.
#[tokio::test]
async fn x13_x15_ends_are_told_apart() {
    type Input = fn(Role) -> Vec<u8>;
    let close: Input = |role| from_peer(role, 0x88, &close_body(1001, "away"));
    let rows: &[(&str, Input, Then, End)] = &[
        ("nothing", |_| vec![], Then::End, End::Eof),
        ("nothing, reset", |_| vec![], Then::Reset, End::Broken),
        ("between frames", |role| from_peer(role, 0x82, b"x"), Then::End, End::Eof),
        ("in a header", |role| from_peer(role, 0x82, b"x")[..1].to_vec(), Then::End, End::Eof),
        ("in a payload", |role| from_peer(role, 0x82, b"xyz")[..4].to_vec(), Then::End, End::Eof),
        ("in a fragmented message", |role| from_peer(role, 0x02, b"x"), Then::End, End::Eof),
        ("after both closes", close, Then::End, End::Clean(1001)),
        ("after both closes, reset", close, Then::Reset, End::Clean(1001)),
        ("empty close", |role| from_peer(role, 0x88, b""), Then::End, End::Clean(1005)),
        (
            "reserved bit",
            |role| from_peer(role, 0xC2, b""),
            Then::End,
            End::Violation(Violation::ReservedBit),
        ),
        (
            "bad text",
            |role| from_peer(role, 0x81, b"\xFF"),
            Then::Reset,
            End::Violation(Violation::InvalidUtf8),
        ),
        (
            "too big",
            |role| {
                [
                    &from_peer(role, 0x82, b"")[..1],
                    &[if role == Role::Server { 0xFF } else { 0x7F }, 0, 0, 0, 1, 0, 0, 0, 0],
                ]
                .concat()
            },
            Then::End,
            End::Violation(Violation::FrameTooBig),
        ),
    ];
    for role in [Role::Server, Role::Client] {
        for (what, input, then, expected) in rows {
            let (mut ws, far) = connection(role);
            far.feed(input(role));
            let mut messages = 0;
            // Up to the end of what was fed; then the peer ends it.
            let early = loop {
                match poll_once(pin!(ws.recv())).map_ok(|message| message.is_some()) {
                    std::task::Poll::Ready(Ok(true)) => messages += 1,
                    std::task::Poll::Ready(end) => break Some(end.map(|_| ())),
                    std::task::Poll::Pending => break None,
                }
            };
            assert!(early.is_none(), "{what}: before the transport ends");
            match then {
                Then::End => far.end(),
                Then::Reset => far.reset(),
            }
            let result = ws.recv().await.map(|message| assert!(message.is_none(), "{what}"));
            assert_eq!(name(result, &ws), *expected, "{what}, {role:?}");
            // After the end nothing comes, however often it is asked for, and nothing can be sent.
            for _ in 0..3 {
                assert!(matches!(ws.recv().await, Ok(None)), "{what}");
                assert!(matches!(ws.recv_event().await, Ok(None)), "{what}");
            }
            assert!(matches!(ws.send("x").await, Err(Error::Refused(SendError::Closed))), "{what}");
            assert!(matches!(ws.close(None).await, Ok(())), "{what}: closed as it is");
            let told: Vec<_> = far.frames().iter().map(|frame| frame.opcode).collect();
            let expected: &[u8] = if matches!(expected, End::Eof | End::Broken) { &[] } else { &[CLOSE] };
            assert_eq!(told, expected, "{what}, {role:?}: X-17, one close frame at most");
            assert!(messages <= 1);
        }
    }
}

/// X-14: a peer that sends FIN but keeps reading is lost; what was queued for it is flushed once, and not waited for.
#[tokio::test]
async fn x14_half_close() {
    for room in [usize::MAX, 0] {
        let (mut ws, far) = connection(Role::Server);
        far.allow(room);
        ws.reply().queue("queued").expect("room");
        far.end();
        let end = timeout(Duration::from_secs(30), ws.recv()).await.expect("no wait for more");
        assert!(matches!(end, Err(Error::Lost(_))));
        assert_eq!(far.written_len(), if room == 0 { 0 } else { 8 });
    }
}

/// X-12: after `start_close` with 1000 `recv` goes on until the peer's close frame; inside `close` data is dropped.
#[tokio::test]
async fn x12_data_after_our_close() {
    for (awaited, role) in
        [(false, Role::Server), (true, Role::Server), (false, Role::Client), (true, Role::Client)]
    {
        let (mut ws, far) = connection(role);
        far.feed(from_peer(role, 0x81, b"one"));
        far.feed(from_peer(role, 0x81, b"two"));
        far.feed(from_peer(role, 0x88, &close_body(1000, "")));
        far.end();
        let frame = CloseFrame::new(CloseCode::NORMAL, "");
        if awaited {
            ws.close(Some(frame)).await.expect("clean");
            assert!(matches!(ws.recv().await, Ok(None)));
        } else {
            ws.start_close(Some(frame)).expect("open");
            assert!(matches!(ws.start_close(Some(frame)), Err(Error::Refused(SendError::Closed))));
            assert!(matches!(ws.recv().await, Ok(Some((Message::Text("one"), _)))));
            assert!(matches!(ws.recv().await, Ok(Some((Message::Text("two"), _)))));
            assert!(matches!(ws.recv_event().await, Ok(Some((Event::Close(_), _)))));
            assert!(matches!(ws.recv().await, Ok(None)));
        }
        assert_eq!(far.frames().len(), 1);
    }
}

/// X-06: what may not be sent is refused, and the connection is unchanged.
#[tokio::test]
async fn x06_unsendable_closes() {
    let long = "r".repeat(124);
    for (code, reason) in [(1005, ""), (1006, ""), (999, ""), (5000, ""), (1000, &long[..])] {
        let (mut ws, far) = connection(Role::Server);
        let frame = CloseFrame::new(CloseCode(code), reason);
        assert!(matches!(ws.close(Some(frame)).await, Err(Error::Refused(_))), "{code}");
        ws.send("still open").await.expect("open");
        assert_eq!(far.frames().len(), 1);
    }
}

/// X-19: a close inside a fragmented message reports that the message was interrupted.
#[tokio::test]
async fn x19_interrupted() {
    let (mut ws, far) = connection(Role::Server);
    far.feed([from_peer(Role::Server, 0x01, b"half"), from_peer(Role::Server, 0x88, b"")].concat());
    far.end();
    assert!(matches!(ws.recv().await, Ok(None)));
    assert!(ws.close_reason().is_some_and(|reason| reason.interrupted));
}

/// A reply that was accepted before the peer's close leaves before its echo.
#[tokio::test]
async fn replies_leave_before_the_echo() {
    let (mut ws, far) = connection(Role::Server);
    far.feed([from_peer(Role::Server, 0x81, b"q"), from_peer(Role::Server, 0x88, b"")].concat());
    far.end();
    while let Some((message, mut reply)) = ws.recv().await.expect("clean") {
        reply.send(message).await.expect("open");
    }
    assert_eq!(far.frames().iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [TEXT, CLOSE]);
}

/// C-04: no pong after the peer's close; X-08: what follows it is discarded.
#[tokio::test]
async fn c04_x08_nothing_after_the_peers_close() {
    let (mut ws, far) = connection(Role::Server);
    let role = Role::Server;
    far.feed(
        [from_peer(role, 0x88, b""), from_peer(role, 0x89, b"p"), from_peer(role, 0xF3, b"junk")].concat(),
    );
    far.feed(vec![0xFF; 10_000]);
    far.end();
    assert!(matches!(ws.recv().await, Ok(None)));
    let frames: Vec<Frame> = far.frames();
    assert!(frames.iter().all(|frame| frame.opcode != PING && frame.opcode == CLOSE), "{frames:?}");
    assert_eq!(frames.len(), 1);
}

/// HS-39, X-10: unread input does not destroy the close frame in flight: over a socket, with data after the
/// violation that only the linger reads.
#[tokio::test]
async fn x10_unread_input_does_not_destroy_the_close_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a peer");
        // Longer than this may take.
        let mut config = Config::server();
        config.timeouts.linger = Duration::from_secs(60);
        let mut ws = accept_with(stream, config, |_| Ok(Acceptance::default())).await.expect("an upgrade");
        ws.recv().await.map(|_| ())
    });
    let mut peer = TcpStream::connect(address).await.expect("listening");
    peer.write_all(rig::REQUEST).await.expect("open");
    let mut head = [0; 129];
    peer.read_exact(&mut head).await.expect("the answer's head");
    assert!(head.ends_with(b"\r\n\r\n"));
    // A violation, and much after it, at once and a little later.
    let bad = frame(0xC1, b"reserved", Some(KEY));
    peer.write_all(&[bad, frame(0x82, &[0; 20_000], Some(KEY))].concat()).await.expect("open");
    settle().await;
    peer.write_all(&frame(0x82, &[0; 20_000], Some(KEY))).await.expect("open");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.expect("no reset");
    let (frames, _) = rig::parse(&rest);
    assert_eq!((frames[0].opcode, &frames[0].payload[..2]), (CLOSE, &1002u16.to_be_bytes()[..]));
    drop(peer);
    let ending = server.await.expect("no panic");
    assert!(matches!(ending, Err(Error::Violation(Violation::ReservedBit))), "{ending:?}");
    assert_eq!(ending.expect_err("failed").close_code(), Some(CloseCode::PROTOCOL));
}
