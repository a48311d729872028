//! A message for many that is sent in parts: nothing gets between them, and only its own parts are accepted. Over real TCP,
//! against bytes written by hand.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::Sender;

use support::running::Running;
use support::{PONG, REQUEST, TEXT, expect, masked, plain};
use ws_mio::core::frame::{Header, Opcode};
use ws_mio::core::{Event, Part, Prepared, SendError};
use ws_mio::{Acceptance, ConnId, Error, Handler, Peer, Refusal, Visitor};

const TOPIC: &str = "topic";
const WORDS: &str = "one message in three parts";

/// The outcome of an order.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Open(ConnId),
    Done,
    Refused(SendError),
}

struct App {
    seen: Sender<Seen>,
    prepared: Prepared,
}

fn part(opcode: Opcode, fin: bool, payload: &[u8]) -> Header {
    Header { fin, rsv: 0, opcode, mask: None, len: payload.len() as u64 }
}

impl App {
    fn obey(&self, order: &str, peer: &mut Peer<'_, ()>) -> Result<(), Error> {
        let words = WORDS.as_bytes();
        let mut put = |opcode, fin, payload| peer.put_frame(part(opcode, fin, payload), payload);
        match order {
            "first" => put(Opcode::Text, false, &words[..3]),
            "middle" => put(Opcode::Continuation, false, &words[3..11]),
            "last" => put(Opcode::Continuation, true, &words[11..]),
            "whole" => put(Opcode::Text, true, words),
            // Anything that is not its next part.
            "binary" => put(Opcode::Binary, false, &words[..3]),
            "too soon" => put(Opcode::Text, true, &words[..3]),
            "too much" => put(Opcode::Text, true, &[words, b"!"].concat()),
            "another length" => peer.put_frame(part(Opcode::Text, true, b""), words),
            "reserved" => peer.put_frame(Header { rsv: 4, ..part(Opcode::Text, true, words) }, words),
            "masked" => {
                peer.put_frame(Header { mask: Some([1; 4]), ..part(Opcode::Text, true, words) }, words)
            }
            "lend" => peer.prepared_frame(&self.prepared).map(|frame| assert_eq!(frame, plain(TEXT, words))),
            "begin" => peer.send_part("in ", Part::First),
            "go on" => peer.send_part("be", Part::Middle),
            "end" => peer.send_part("tween", Part::Last),
            "send" => peer.send("between"),
            "prepared" => peer.send_prepared(&self.prepared),
            "publish" => {
                peer.publish_to_all(TOPIC, "between").expect("room");
                Ok(())
            }
            "ping" => peer.ping(b"a ping"),
            other => panic!("{other}"),
        }
    }
}

impl Handler for App {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn open(&mut self, peer: &mut Peer<'_, ()>) {
        peer.subscribe(TOPIC).expect("a name");
        let _ = self.seen.send(Seen::Open(peer.id()));
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        let Event::Text(orders) = event else { return };
        for order in orders.split(", ") {
            let _ = self.seen.send(match self.obey(order, peer) {
                Ok(()) => Seen::Done,
                Err(Error::Refused(error)) => Seen::Refused(error),
                Err(error) => panic!("{error}"),
            });
        }
    }
}

impl Running<Seen> {
    fn start() -> Self {
        Self::serve(|_| {}, |given| App { seen: given.told, prepared: Prepared::new(WORDS.into()) })
    }

    fn open(&self) -> (TcpStream, ConnId) {
        let (peer, _) = self.greet(REQUEST);
        match self.next() {
            Seen::Open(id) => (peer, id),
            other => panic!("{other:?}"),
        }
    }

    /// Has these orders carried out in one event, and returns the outcome of each.
    fn order(&self, peer: &mut TcpStream, orders: &str) -> Vec<Seen> {
        peer.write_all(&masked(TEXT, orders.as_bytes())).expect("written");
        orders.split(", ").map(|_| self.next()).collect()
    }
}

/// F-18: between a frame's start and its last part nothing of another message is sent, wherever it comes from: the handler,
/// another thread, a topic, another's parts. Control frames are; and afterwards everything continues.
#[test]
fn f18_nothing_gets_between() {
    let server = Running::start();
    let (mut peer, id) = server.open();
    let (mut other, _) = server.open();
    let between = |peer: &mut TcpStream, other: &mut TcpStream| {
        server.remote.send(id, "between").expect("room");
        server.remote.publish(TOPIC, "between").expect("room");
        // On the wire when this one has it: the loop has come to both.
        expect(other, &plain(TEXT, b"between"));
        assert_eq!(server.order(other, "publish"), [Seen::Done]);
        expect(other, &plain(TEXT, b"between"));
        let own = "send, prepared, lend, publish, begin, go on, end, ping";
        let open = || Seen::Refused(SendError::MessageOpen);
        let seen = server.order(peer, own);
        assert_eq!(seen, [open(), open(), open(), Seen::Done, open(), open(), open(), Seen::Done]);
        expect(other, &plain(TEXT, b"between"));
        expect(peer, &plain(support::PING, b"a ping"));
        peer.write_all(&masked(PONG, b"a ping")).expect("written");
    };
    for _ in 0..2 {
        assert_eq!(server.order(&mut peer, "lend"), [Seen::Done]);
        between(&mut peer, &mut other);
        assert_eq!(server.order(&mut peer, "first"), [Seen::Done]);
        expect(&mut peer, &plain(0x01, &WORDS.as_bytes()[..3]));
        between(&mut peer, &mut other);
        assert_eq!(server.order(&mut peer, "middle"), [Seen::Done]);
        expect(&mut peer, &plain(0x00, &WORDS.as_bytes()[3..11]));
        between(&mut peer, &mut other);
        assert_eq!(server.order(&mut peer, "last"), [Seen::Done]);
        expect(&mut peer, &plain(0x80, &WORDS.as_bytes()[11..]));
        // What comes behind it is taken again.
        server.remote.send(id, "behind").expect("room");
        expect(&mut peer, &plain(TEXT, b"behind"));
        server.remote.publish(TOPIC, "behind").expect("room");
        expect(&mut peer, &plain(TEXT, b"behind"));
        expect(&mut other, &plain(TEXT, b"behind"));
        assert_eq!(server.order(&mut peer, "lend, whole, send"), [Seen::Done, Seen::Done, Seen::Done]);
        expect(&mut peer, &[plain(TEXT, WORDS.as_bytes()), plain(TEXT, b"between")].concat());
    }
}

/// 5.4: a part of nothing, or one that is not the next, is refused; it changes nothing.
#[test]
fn parts_of_nothing_are_refused() {
    let server = Running::start();
    let (mut peer, _) = server.open();
    let none = || Seen::Refused(SendError::NoMessageOpen);
    assert_eq!(server.order(&mut peer, "first, whole, middle, last"), [none(), none(), none(), none()]);
    assert_eq!(server.order(&mut peer, "begin, middle, lend"), {
        [Seen::Done, none(), Seen::Refused(SendError::MessageOpen)]
    });
    assert_eq!(server.order(&mut peer, "end, lend"), [Seen::Done, Seen::Done]);
    expect(&mut peer, &[plain(0x01, b"in "), plain(0x80, b"tween")].concat());
    for wrong in ["binary", "too soon", "too much", "another length", "reserved", "masked", "last"] {
        assert_eq!(server.order(&mut peer, wrong), [none()], "{wrong}");
    }
    assert_eq!(server.order(&mut peer, "first, first, last"), [Seen::Done, none(), none()]);
    assert_eq!(server.order(&mut peer, "middle, last, last"), [Seen::Done, Seen::Done, none()]);
    let words = WORDS.as_bytes();
    let parts = [plain(0x01, &words[..3]), plain(0x00, &words[3..11]), plain(0x80, &words[11..])];
    expect(&mut peer, &parts.concat());
}
