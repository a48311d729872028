//! Checks that a connection fed any bytes in any parts reports what the model reports, after each part.

use ws_core::{Config, Connection, Delivery, Event, Failure, Instant, Kind, Payload, Role};

use super::cuts::Cuts;
use super::model::{Bounds, Model, Seen};

const NOW: Instant = Instant::ZERO;

/// The first byte decides role, delivery and limits, the second the cuts; the rest is what the peer sends.
pub fn check(data: &[u8]) {
    let &[flags, how, ref stream @ ..] = data else { return };
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let mut config = Config::server();
    if flags & 2 != 0 {
        config.delivery = Delivery::Chunks;
    }
    if flags & 4 != 0 {
        (config.limits.max_frame, config.limits.max_message) = (40, 70);
        (config.limits.max_fragments, config.limits.max_empty_fragments) = (5, 2);
    }
    let bounds = Bounds {
        frame: config.limits.max_frame,
        message: config.limits.max_message,
        fragments: config.limits.max_fragments,
        empty_fragments: config.limits.max_empty_fragments,
    };
    let held = 2 * bounds.message as usize + 14 + 125;

    let mut model = Model::new(role == Role::Server, bounds);
    let mut subject = Subject::new(role, config);
    let mut cuts = Cuts::new(how);
    let mut rest = stream;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(cuts.next(rest.len()));
        rest = others;
        part.iter().for_each(|&byte| model.push(byte));
        subject.receive(part);
        assert_eq!(subject.seen, model.seen);
        match subject.failure {
            None => assert!(model.faults.is_empty(), "{:?}", model.faults),
            Some(failure) => assert!(model.faults.contains(&failure.close_code().0), "{failure:?} {model:?}"),
        }
        assert!(subject.input.len() <= held);
    }
    let is_over = model.is_over();
    assert_eq!(subject.connection.can_recv(), !is_over);
    assert_eq!(subject.connection.recv_eof(NOW), if is_over { Ok(()) } else { Err(Failure::Eof) });
    subject.check_answers(bounds);
}

struct Subject {
    connection: Connection,
    role: Role,
    /// Bytes not yet consumed, and how many the connection asked for.
    input: Vec<u8>,
    need: usize,
    /// The message that is being received in chunks.
    open: Option<(Kind, Vec<u8>)>,
    seen: Vec<Seen>,
    failure: Option<Failure>,
    output: Vec<u8>,
}

impl Subject {
    fn new(role: Role, config: Config) -> Self {
        let connection = match role {
            Role::Server => Connection::server(config, NOW),
            Role::Client => Connection::client(config, NOW, [9; 32]),
        };
        let (input, seen, output) = (Vec::new(), Vec::new(), Vec::new());
        Self { connection, role, input, need: 0, open: None, seen, failure: None, output }
    }

    fn receive(&mut self, part: &[u8]) {
        self.input.extend(part);
        loop {
            let have = self.input.len();
            let recv = match self.connection.recv(NOW, &mut self.input) {
                Ok(recv) => recv,
                Err(failure) => {
                    assert_eq!(self.failure.replace(failure), None, "a failure is reported once");
                    continue;
                }
            };
            let (consumed, need) = (recv.consumed, recv.need);
            assert!(consumed <= have);
            let Some(event) = recv.event else {
                self.input.drain(..consumed);
                assert!(need > self.input.len());
                self.need = need;
                break;
            };
            assert!(self.failure.is_none() && have >= self.need);
            self.need = 0;
            match event {
                Event::Text(text) => self.seen.push(Seen::Text(text.to_owned())),
                Event::Binary(bytes) => self.seen.push(Seen::Binary(bytes.to_vec())),
                Event::Ping(payload) => self.seen.push(Seen::Ping(payload.to_vec())),
                Event::Pong(payload) => self.seen.push(Seen::Pong(payload.to_vec())),
                Event::Close(closed) => {
                    let frame = closed.frame.map(|frame| (frame.code.0, frame.reason.to_owned()));
                    self.seen.push(Seen::Close(frame, closed.interrupted));
                }
                Event::Chunk(chunk) => {
                    let kind =
                        if matches!(chunk.payload, Payload::Text(_)) { Kind::Text } else { Kind::Binary };
                    assert_eq!(chunk.first, self.open.is_none());
                    let open = self.open.get_or_insert((kind, Vec::new()));
                    assert_eq!(open.0, kind);
                    open.1.extend(chunk.payload.as_bytes());
                    if let (true, Some((kind, bytes))) = (chunk.last, self.open.take_if(|_| chunk.last)) {
                        self.seen.push(match kind {
                            Kind::Text => {
                                Seen::Text(String::from_utf8(bytes).expect("parts of whole characters"))
                            }
                            Kind::Binary => Seen::Binary(bytes),
                        });
                    }
                }
            }
            self.input.drain(..consumed);
            self.transmit();
        }
        self.transmit();
    }

    fn transmit(&mut self) {
        let mut out = [0; 256];
        while self.connection.pending() > 0 {
            let n = self.connection.transmit(&mut out);
            self.output.extend(&out[..n]);
        }
        assert_eq!(self.connection.transmit(&mut out), 0);
    }

    /// Expects a pong for each ping, then one close frame: the echo, or the one that says why the connection failed.
    fn check_answers(&self, bounds: Bounds) {
        let mut answers = Model::new(self.role == Role::Client, bounds);
        self.output.iter().for_each(|&byte| answers.push(byte));
        assert!(answers.faults.is_empty() && answers.is_between_messages());
        let mut expected = Vec::new();
        for seen in &self.seen {
            match seen {
                Seen::Ping(payload) => expected.push(Seen::Pong(payload.clone())),
                Seen::Close(frame, _) => {
                    let echo = frame.as_ref().map(|frame| (frame.0, String::new()));
                    expected.push(Seen::Close(echo, false));
                }
                _ => {}
            }
        }
        if let Some(Failure::Violation(violation)) = self.failure {
            let reason = violation.reason().to_owned();
            expected.push(Seen::Close(Some((violation.close_code().0, reason)), false));
        }
        assert_eq!(answers.seen, expected);
    }
}
