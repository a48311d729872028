//! Checks that two sessions never accuse each other of breaking a rule, whatever their users do and however the bytes
//! between them are cut: what one sends, the other receives, in order, and a close is a close on both sides.

use ws_core::{
    Advance, CloseFrame, Config, Connection, Event, Failure, Instant, Kind, Message, Part, SendError,
    Session, Transport,
};

use super::model::{Bounds, Model, Seen};

const BOUNDS: Bounds =
    Bounds { frame: 1 << 20, message: 1 << 20, fragments: 131_072, empty_fragments: 1_024 };

/// Each operation is two bytes: which one, on which side, and its size.
pub fn check(data: &[u8]) {
    let mut now = Instant::ZERO;
    let mut client = End::new(Connection::client(Config::client(), now, [3; 32]), false);
    let mut server = End::new(Connection::server(Config::server(), now), true);
    for &[op, size] in data.as_chunks().0 {
        let (this, other) =
            if op & 0x80 == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let size = usize::from(size);
        match op & 0x0F {
            0 => this.send("é".repeat(size).as_bytes(), Kind::Text, Part::Whole),
            1 => this.send(
                &vec![size as u8; if size == 255 { 70_000 } else { size * 3 }],
                Kind::Binary,
                Part::Whole,
            ),
            2..=4 => this.send_fragment(size),
            5 => this.ping(&vec![size as u8; 1 + size % 130]),
            6 => this.close(now, size),
            7 => this.transmit(1 + size),
            8..=10 => this.carry(other, 1 + size),
            11 => this.carry(other, usize::MAX),
            12 | 13 => this.advance(now, 1 + size % 4),
            14 => this.put_down(),
            _ => {
                now = now.saturating_add(core::time::Duration::from_millis(100 * size as u64));
                client.tick(now);
                server.tick(now);
            }
        }
    }
    // Everything that was sent arrives.
    for _ in 0..4 {
        for turn in 0..2 {
            let (this, other) =
                if turn == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
            this.transmit(usize::MAX);
            this.carry(other, usize::MAX);
            other.advance(now, usize::MAX);
        }
    }
    let timeout = client.timed_out || server.timed_out;
    for (this, other) in [(&client, &server), (&server, &client)] {
        let messages = this.messages(|seen| matches!(seen, Seen::Text(_) | Seen::Binary(_)));
        assert!(other.sent.starts_with(&messages));
        assert!(timeout || this.mutes || messages == other.sent, "{messages:?} {:?}", other.sent);
        // Pongs may be left out, but none is invented, and none is sent twice.
        let mut pings = this.pings.iter();
        let pongs = this.messages(|seen| matches!(seen, Seen::Pong(_)));
        assert!(pongs.iter().all(|pong| pings.any(|ping| ping == pong)));
        assert_eq!(
            this.messages(|seen| matches!(seen, Seen::Close(..))).len(),
            usize::from(this.saw_close())
        );
        assert!(this.wire.faults.is_empty(), "{:?}", this.wire);
    }
    let closes = client.closes || server.closes;
    if !timeout {
        assert_eq!((client.saw_close(), server.saw_close()), (closes, closes));
        assert_eq!(server.session.connection().transport() == Transport::Shutdown, closes);
        for end in [&mut client, &mut server] {
            let result = end.session.connection().recv_eof(now);
            assert_eq!(result, if closes { Ok(()) } else { Err(Failure::Eof) });
        }
    }
}

struct End {
    session: Session<Vec<u8>>,
    /// What was written and not yet delivered to the other side.
    output: Vec<u8>,
    /// Everything written, as the model reads it.
    wire: Model,
    sent: Vec<Seen>,
    pings: Vec<Seen>,
    /// The fragmented message that is open.
    open: Option<(Kind, Vec<u8>)>,
    seen: Vec<Seen>,
    closes: bool,
    /// Whether data that still arrives is dropped.
    mutes: bool,
    timed_out: bool,
}

impl End {
    fn new(connection: Connection, is_server: bool) -> Self {
        let wire = Model::new(!is_server, BOUNDS);
        let (output, sent, pings, seen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (closes, mutes, timed_out) = (false, false, false);
        let session = Session::new(connection);
        Self { session, output, wire, sent, pings, open: None, seen, closes, mutes, timed_out }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
        bytes.iter().for_each(|&byte| self.wire.push(byte));
    }

    fn messages(&self, which: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.seen.iter().filter(|&seen| which(seen)).cloned().collect()
    }

    fn saw_close(&self) -> bool {
        self.seen.iter().any(|seen| matches!(seen, Seen::Close(..)))
    }

    fn send_fragment(&mut self, size: usize) {
        let kind = match &self.open {
            Some((kind, _)) => *kind,
            None if size.is_multiple_of(2) => Kind::Text,
            None => Kind::Binary,
        };
        let part = match (&self.open, size % 5) {
            (None, 0) => Part::Whole,
            (None, _) => Part::First,
            (Some(_), 0 | 1) => Part::Last,
            (Some(_), _) => Part::Middle,
        };
        self.send("ab€d".repeat(size / 2).as_bytes(), kind, part);
    }

    fn send(&mut self, bytes: &[u8], kind: Kind, part: Part) {
        let message = match kind {
            Kind::Text => Message::Text(core::str::from_utf8(bytes).expect("text of our own")),
            Kind::Binary => Message::Binary(bytes),
        };
        let connection = self.session.connection();
        let (can_send, pending) = (connection.can_send(), connection.pending());
        let Err(SendError::NoSpace { needed }) = connection.send_part(message, part, &mut []) else {
            // The model of the wire checks whether that was right.
            assert!(!can_send || self.open.is_some() == part.is_first());
            return;
        };
        let mut out = vec![0; needed];
        assert_eq!(connection.send_part(message, part, &mut out[1..]), Err(SendError::NoSpace { needed }));
        assert_eq!(connection.pending(), pending);
        assert_eq!(connection.send_part(message, part, &mut out), Ok(needed));
        self.write(&out);
        let open = self.open.get_or_insert((kind, Vec::new()));
        open.1.extend(bytes);
        if part.is_last() {
            self.sent.extend(self.open.take().map(|(kind, bytes)| match kind {
                Kind::Text => Seen::Text(String::from_utf8(bytes).expect("text of our own")),
                Kind::Binary => Seen::Binary(bytes),
            }));
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        let result = self.session.connection().ping(payload);
        if payload.len() > 125 {
            assert_eq!(result, Err(SendError::ControlTooLong));
        } else if result.is_ok() {
            self.pings.push(Seen::Pong(payload.to_vec()));
        }
    }

    fn close(&mut self, now: Instant, size: usize) {
        let reason = "€".repeat(size % 50);
        let code = [1000, 1001, 1012, 1008, 4000, 1005][size % 6];
        let frame = (!size.is_multiple_of(7)).then(|| CloseFrame::new(code, &reason));
        let can_send = self.session.connection().can_send();
        match self.session.connection().close(now, frame) {
            Ok(()) => {
                assert!(can_send && !self.closes);
                self.closes = true;
                self.mutes = frame.is_some() && size % 6 > 2;
            }
            Err(SendError::UnsendableCode) => assert_eq!(code, 1005),
            Err(SendError::ReasonTooLong) => assert!(reason.len() > 123),
            Err(error) => assert!(error == SendError::Closed && !can_send),
        }
    }

    fn transmit(&mut self, most: usize) {
        let pending = self.session.connection().pending();
        let mut out = vec![0; most.min(pending)];
        let n = self.session.connection().transmit(&mut out);
        assert_eq!(n, out.len());
        assert_eq!(self.session.connection().pending(), pending - n);
        self.write(&out);
    }

    fn carry(&mut self, other: &mut Self, most: usize) {
        let mut rest = &self.output[..most.min(self.output.len())];
        while !rest.is_empty() {
            let space = other.session.space(Vec::new, 1);
            let n = rest.len().min(space.len());
            space[..n].copy_from_slice(&rest[..n]);
            other.session.received(n);
            rest = &rest[n..];
        }
        self.output.drain(..most.min(self.output.len()));
    }

    fn advance(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            match self.session.advance(now) {
                Ok(Advance::Event) => {}
                Ok(Advance::Read { at_least }) => {
                    assert!(at_least > self.session.buffered());
                    return;
                }
                Ok(Advance::Finished) => {
                    assert!(!self.session.connection().can_recv());
                    return;
                }
                Err(failure) => panic!("{failure}"),
            }
            match self.session.event() {
                Some(Event::Text(text)) => self.seen.push(Seen::Text(text.to_owned())),
                Some(Event::Binary(bytes)) => self.seen.push(Seen::Binary(bytes.to_vec())),
                Some(Event::Pong(payload)) if !payload.is_empty() => {
                    self.seen.push(Seen::Pong(payload.to_vec()));
                }
                Some(Event::Ping(_) | Event::Pong(_)) => {}
                Some(Event::Close(closed)) => self.seen.push(Seen::Close(None, closed.interrupted)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Gives the storage back and takes it again, as an adapter does when a read would block.
    fn put_down(&mut self) {
        if let Some((storage, filled)) = self.session.rest() {
            let mut other = vec![0xEE; filled + 7];
            other[..filled].copy_from_slice(&storage[..filled]);
            self.session.restore(other, filled);
        }
    }

    fn tick(&mut self, now: Instant) {
        match self.session.connection().tick(now) {
            Ok(()) => {}
            Err(Failure::Timeout(_)) => self.timed_out = true,
            Err(failure) => panic!("{failure}"),
        }
        if self.session.connection().transport() == Transport::Close {
            self.timed_out = true;
        }
    }
}
