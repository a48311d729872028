//! A client and a server over a lossless pipe that delivers in random pieces, on a virtual clock, driven by lists of
//! arbitrary operations.
//!
//! Whatever they do and however it is cut: the messages that one accepts to send are the messages that the other gets,
//! in order; each side sends one close frame and hears one; both end cleanly, within the deadlines.

#[path = "../wire/mod.rs"]
mod wire;

use std::time::Duration;

use proptest::prelude::*;
use wire::*;
use ws_core::{CloseFrame, Connection, Instant, Message, Part, Role, SendError, Transport};

#[derive(Clone, Debug)]
enum Operation {
    Text(String),
    Binary(usize),
    /// A text in fragments, with a ping between them.
    Fragments(Vec<String>),
    Ping(Vec<u8>),
    /// The other side reads this many bytes, in pieces of this size.
    Deliver {
        bytes: usize,
        piece: usize,
    },
    /// Time passes, in milliseconds.
    Wait(u64),
    Close(Option<(u16, String)>),
}

struct End {
    c: Connection,
    /// Bytes from us that the other has not read.
    wire: Vec<u8>,
    /// Bytes that we have read and not consumed.
    buffer: Vec<u8>,
    sent: Vec<Seen>,
    got: Vec<Seen>,
    pings: usize,
    pongs: usize,
    closes: usize,
    closing: bool,
    ended: bool,
}

impl End {
    fn new(role: Role) -> Self {
        Self {
            c: connect(role, defaults(role)),
            wire: vec![],
            buffer: vec![],
            sent: vec![],
            got: vec![],
            pings: 0,
            pongs: 0,
            closes: 0,
            closing: false,
            ended: false,
        }
    }

    fn send(&mut self, message: Message<'_>, part: Part, flush: usize) -> bool {
        let mut out = vec![0; message.as_bytes().len() + 14 + self.c.pending()];
        match self.c.send_part(message, part, &mut out) {
            Ok(n) => self.wire.extend(&out[..n]),
            Err(SendError::Closed) => return false,
            Err(error) => panic!("{error}"),
        }
        self.flush(flush);
        true
    }

    /// Takes at most this many bytes of what is pending.
    fn flush(&mut self, most: usize) {
        let mut out = vec![0; most];
        let n = self.c.transmit(&mut out);
        self.wire.extend(&out[..n]);
    }

    fn read(&mut self, now: Instant, bytes: &[u8]) {
        self.buffer.extend(bytes);
        loop {
            let recv = self.c.recv(now, &mut self.buffer).expect("nobody breaks a rule");
            let (consumed, event) = (recv.consumed, recv.event.map(Seen::from));
            self.buffer.drain(..consumed);
            match event {
                None => break,
                Some(Seen::Ping(_)) => {}
                Some(Seen::Pong(_)) => self.pongs += 1,
                Some(close @ Seen::Close { .. }) => {
                    self.closes += 1;
                    self.got.push(close);
                }
                Some(message) => self.got.push(message),
            }
        }
    }
}

fn deliver(from: &mut End, to: &mut End, now: Instant, bytes: usize, piece: usize) {
    let n = bytes.min(from.wire.len());
    let bytes: Vec<u8> = from.wire.drain(..n).collect();
    for piece in bytes.chunks(piece.max(1)) {
        to.read(now, piece);
        // Output leaves in odd pieces, too.
        to.flush(piece.len() % 7);
    }
}

fn operations() -> impl Strategy<Value = Vec<(bool, Operation)>> {
    let close =
        prop_oneof![Just(None), (prop_oneof![Just(1000_u16), Just(1001)], "[a-zé]{0,20}").prop_map(Some),];
    let operation = prop_oneof![
        6 => "[a-z€😀]{0,60}".prop_map(Operation::Text),
        4 => prop_oneof![0..300_usize, Just(65_536)].prop_map(Operation::Binary),
        3 => proptest::collection::vec("[a-zé😀]{0,9}", 2..5).prop_map(Operation::Fragments),
        3 => proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Operation::Ping),
        6 => (0..400_usize, 1..50_usize).prop_map(|(bytes, piece)| Operation::Deliver { bytes, piece }),
        2 => (0..4000_u64).prop_map(Operation::Wait),
        1 => close.prop_map(Operation::Close),
    ];
    proptest::collection::vec((any::<bool>(), operation), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// F-12, F-14, C-03, X-07, X-09, X-15: see above.
    #[test]
    fn x09_x15_what_goes_in_comes_out_and_both_end_clean(operations in operations(), closer in any::<bool>()) {
        let mut now = Instant::ZERO;
        let (mut client, mut server) = (End::new(Role::Client), End::new(Role::Server));
        for (side, operation) in operations {
            let (end, other) = if side { (&mut client, &mut server) } else { (&mut server, &mut client) };
            match operation {
                Operation::Text(text) => {
                    if end.send(Message::Text(&text), Part::Whole, text.len()) {
                        end.sent.push(Seen::Text(text));
                    }
                }
                Operation::Binary(len) => {
                    let bytes = vec![len as u8; len];
                    if end.send(Message::Binary(&bytes), Part::Whole, len) {
                        end.sent.push(Seen::Binary(bytes));
                    }
                }
                Operation::Fragments(parts) => {
                    let last = parts.len() - 1;
                    let mut all = true;
                    for (i, text) in parts.iter().enumerate() {
                        let part = match i {
                            0 => Part::First,
                            i if i == last => Part::Last,
                            _ => Part::Middle,
                        };
                        all &= end.send(Message::Text(text), part, i);
                        if all && end.c.pending() == 0 && end.c.ping(b"between").is_ok() {
                            end.pings += 1;
                        }
                    }
                    if all {
                        end.sent.push(Seen::Text(parts.concat()));
                    }
                }
                Operation::Ping(payload) => {
                    // One at a time, so that no pong is replaced by a newer one.
                    if end.pings == end.pongs && end.c.pending() == 0 && end.c.ping(&payload).is_ok() {
                        end.pings += 1;
                    }
                }
                Operation::Deliver { bytes, piece } => deliver(other, end, now, bytes, piece),
                Operation::Wait(millis) => {
                    now = now.saturating_add(Duration::from_millis(millis));
                    for end in [&mut client, &mut server] {
                        // Peers that read all that arrives are alive; only the closing may time out, so it does not
                        // begin before the end here.
                        end.flush(usize::MAX >> 48);
                    }
                    let (a, b) = (&mut client, &mut server);
                    deliver(a, b, now, usize::MAX, 1000);
                    deliver(b, a, now, usize::MAX, 1000);
                    for end in [&mut client, &mut server] {
                        prop_assert_eq!(end.c.tick(now), Ok(()));
                    }
                }
                Operation::Close(frame) => {
                    let frame = frame.as_ref().map(|(code, reason)| CloseFrame::new(*code, reason));
                    let fresh = end.c.can_send();
                    prop_assert_eq!(end.c.close(now, frame).is_ok(), fresh);
                    end.closing |= fresh;
                }
            }
        }
        let last = if closer { &mut client } else { &mut server };
        let _ = last.c.close(now, Some(CloseFrame::new(1000, "done")));
        // All that is on its way arrives; each side ends the transport when it is told to.
        for _ in 0..10 {
            for side in [true, false] {
                let (end, other) = if side { (&mut client, &mut server) } else { (&mut server, &mut client) };
                end.flush(9000);
                deliver(end, other, now, usize::MAX, 61);
                if end.c.transport() != Transport::Open && end.c.pending() == 0 && !end.ended {
                    end.ended = true;
                    end.c.shut_down(now);
                    prop_assert_eq!(other.c.recv_eof(now), Ok(()), "a clean end");
                }
            }
        }
        for (end, other) in [(&client, &server), (&server, &client)] {
            prop_assert_eq!((end.closes, end.c.transport()), (1, Transport::Close));
            prop_assert!(matches!(end.got.last(), Some(Seen::Close { .. })), "the close comes last");
            prop_assert_eq!(&end.got[..end.got.len() - 1], &other.sent[..]);
            prop_assert_eq!(end.buffer.len(), 0);
            prop_assert_eq!(end.c.deadline(), None);
            prop_assert!(!end.c.can_send() && !end.c.can_recv());
        }
    }
}
