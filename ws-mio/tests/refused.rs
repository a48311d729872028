//! A message that may not be sent costs no other anything, however full the queue is; and parts of a message for many are
//! handled like any message when the queue is full. (N-02)

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::Sender;

use support::running::Running;
use support::{CLOSE, REQUEST, TEXT, masked, read_frame};
use ws_mio::core::frame::{Header, Opcode};
use ws_mio::core::{Config, Event, Instant, Part, Prepared, Role, SendError};
use ws_mio::{
    Acceptance, Buffers, Error, Handler, Overflow, Peer, Refusal, Settings, Socket, Stream, Visitor,
};

/// Takes nothing.
struct Stuck;

impl Read for Stuck {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Stuck {
    fn shut_down(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// N-02: a message that is refused for another reason drops no queued message, and closes nothing.
#[test]
fn n02_what_is_refused_needs_no_room() {
    const MAX: usize = 200 << 10;
    for overflow in [Overflow::DropNew, Overflow::DropOld, Overflow::Close] {
        for len in [4 << 10, 10 << 10, 40 << 10] {
            let mut config = Config::server();
            config.limits.max_queue = MAX;
            let now = Instant::ZERO;
            let mut socket = Socket::from_upgraded(Stuck, Role::Server, &[], config, now).expect("a server");
            socket.set_overflow(overflow);
            let mut buffers = Buffers::new();
            let mut reply = socket.reply(&mut buffers, now).expect("open");
            reply.send_part("begun", Part::First).expect("room");
            // Its own parts are not dropped, and stay below the bound.
            let message = vec![b'x'; len];
            while reply.queued() + 2 * (len + 14) < MAX {
                reply.send_part(std::str::from_utf8(&message).expect("x"), Part::Middle).expect("room");
            }
            reply.send_part("over", Part::Last).expect("room");
            let text = std::str::from_utf8(&message).expect("x");
            while reply.queued() + len + 14 < MAX {
                reply.send(text).expect("room");
            }
            // A whole message could make room now.
            reply.send_part("in the middle", Part::First).expect("room");
            let (queued, what) = (reply.queued(), format!("{overflow:?} {len}"));
            let prepared = Prepared::new(text.into());
            let refused = [
                (reply.send(text), SendError::MessageOpen),
                (reply.send_prepared(&prepared), SendError::MessageOpen),
                (reply.send_part(text, Part::First), SendError::MessageOpen),
                (reply.send_part(text.as_bytes(), Part::Middle), SendError::NoMessageOpen),
            ];
            for (result, expected) in refused {
                assert!(
                    matches!(result, Err(Error::Refused(error)) if error == expected),
                    "{what}: {result:?}"
                );
            }
            assert_eq!(reply.queued(), queued, "{what}");
            // It is not closed: the message goes on, and ends.
            reply.send_part("", Part::Last).expect("open");
            let result = reply.send_part(text, Part::Middle);
            assert!(matches!(result, Err(Error::Refused(SendError::NoMessageOpen))), "{what}: {result:?}");
            reply.close(None).expect("open");
            let queued = reply.queued();
            for result in [reply.send(text), reply.send_prepared(&prepared)] {
                assert!(matches!(result, Err(Error::Refused(SendError::Closed))), "{what}: {result:?}");
            }
            assert_eq!(reply.queued(), queued, "{what}");
        }
    }
}

/// Fills its queue, adds a frame after it, and reports that it has.
struct App(Sender<()>);

const LEN: usize = 100_000;

impl Handler for App {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        if !matches!(event, Event::Text("fill")) {
            return;
        }
        // So long that each is written at once, until the peer's and the system's buffers are full.
        while peer.queued() < 3 * LEN / 2 {
            peer.send(&[0; 40_000][..]).expect("room");
        }
        let payload = [b'x'; LEN];
        let prepared = Prepared::new((&payload[..]).into());
        peer.prepared_frame(&prepared).expect("open");
        let header = Header { fin: true, rsv: 0, opcode: Opcode::Binary, mask: None, len: LEN as u64 };
        let full = matches!(peer.put_frame(header, &payload), Err(Error::QueueFull));
        // A control frame arrives whatever became of the rest, unless the connection is closed.
        let _ = peer.ping(if full { b"full" } else { b"put" });
        self.0.send(()).expect("the test waits for it");
    }
}

/// N-02: a part for which there is no room is refused, makes room, or closes the connection, as a whole message does.
#[test]
fn n02_parts_overflow_as_told() {
    for overflow in [Overflow::DropNew, Overflow::DropOld, Overflow::Close] {
        let mut config = Config::server();
        config.limits.max_queue = 2 * LEN;
        let change =
            |settings: &mut Settings| (settings.config, settings.overflow) = (config.into(), overflow);
        let running = Running::serve(change, |given| App(given.told));
        let (mut peer, _) = running.greet(REQUEST);
        peer.write_all(&masked(TEXT, b"fill")).expect("written");
        // It is full before anything is read.
        running.next();
        let (mut put, mut close, mut told) = (0, None, String::new());
        while close.is_none() && told.is_empty() {
            let (first, payload) = read_frame(&mut peer);
            match first {
                CLOSE => close = Some(payload),
                support::PING => told = String::from_utf8(payload).expect("ASCII"),
                _ => put += usize::from(payload.len() == LEN),
            }
        }
        match overflow {
            Overflow::DropNew => assert_eq!((told.as_str(), put, close), ("full", 0, None)),
            Overflow::DropOld => assert_eq!((told.as_str(), put, close), ("put", 1, None)),
            _ => assert_eq!((put, close), (0, Some(1013_u16.to_be_bytes().to_vec()))),
        }
    }
}
