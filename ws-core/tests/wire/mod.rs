//! Code shared by the test files: frames made by hand, events that outlive their buffer, and ways to feed a connection.
#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs of this module")]

use ws_core::{
    Advance, Closed, Config, Connection, Delivery, Event, Failure, Instant, Payload, Recv, Role, Session,
    Violation,
};

pub const T0: Instant = Instant::ZERO;
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Settings for the life of the test process, as every feature level takes them.
pub fn lasting(config: Config) -> &'static Config {
    Box::leak(Box::new(config))
}

pub fn defaults(role: Role) -> Config {
    match role {
        Role::Server => Config::server(),
        Role::Client => Config::client(),
    }
}

/// Settings with both size limits at `max` bytes.
pub fn limited(role: Role, max: u64) -> Config {
    let mut config = defaults(role);
    config.limits.max_frame = max;
    config.limits.max_message = max;
    config
}

pub fn in_chunks(role: Role) -> Config {
    let mut config = defaults(role);
    config.delivery = Delivery::Chunks;
    config
}

pub fn connect(role: Role, config: Config) -> Connection {
    connect_shared(role, lasting(config))
}

pub fn connect_shared(role: Role, config: &'static Config) -> Connection {
    match role {
        Role::Server => Connection::server(config, T0),
        Role::Client => Connection::client(config, T0, [7; 32]),
    }
}

pub fn server() -> Connection {
    connect(Role::Server, Config::server())
}

pub fn client() -> Connection {
    connect(Role::Client, Config::client())
}

/// A frame with its length in the shortest form; masked if there is a key.
pub fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut out = header(first, key.is_some(), payload.len() as u64);
    out.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    out
}

/// The header of such a frame, up to its length.
pub fn header(first: u8, masked: bool, len: u64) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    match len {
        0..=125 => vec![first, mask | len as u8],
        126..=0xFFFF => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &len.to_be_bytes()].concat(),
    }
}

/// A frame as the peer of `role` sends it.
pub fn to(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, (role == Role::Server).then_some(KEY), payload)
}

/// The body of a close frame.
pub fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Frames that an endpoint wrote: first byte, key, unmasked payload. Panics on half a frame.
pub fn frames(mut wire: &[u8]) -> Vec<(u8, Option<[u8; 4]>, Vec<u8>)> {
    let mut all = Vec::new();
    while !wire.is_empty() {
        let (len, at) = match wire[1] & 0x7F {
            126 => (usize::from(u16::from_be_bytes([wire[2], wire[3]])), 4),
            127 => (u64::from_be_bytes(wire[2..10].try_into().unwrap()) as usize, 10),
            len => (usize::from(len), 2),
        };
        let key: Option<[u8; 4]> = (wire[1] & 0x80 != 0).then(|| wire[at..at + 4].try_into().unwrap());
        let at = if key.is_some() { at + 4 } else { at };
        let mask = key.unwrap_or_default();
        let payload = wire[at..at + len].iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
        all.push((wire[0], key, payload));
        wire = &wire[at + len..];
    }
    all
}

/// The same bytes without masks.
pub fn unmasked(wire: &[u8]) -> Vec<u8> {
    frames(wire).iter().flat_map(|(first, _, payload)| frame(*first, None, payload)).collect()
}

/// Everything that a connection reports.
pub fn drain(connection: &mut Connection) -> Vec<u8> {
    let mut out = vec![0; connection.pending()];
    let n = connection.transmit(&mut out);
    assert_eq!((n, connection.pending()), (out.len(), 0));
    assert_eq!(connection.transmit(&mut [0; 16]), 0, "0 = nothing to say");
    out
}

/// The same, byte by byte.
pub fn drain_slowly(connection: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    let mut byte = [0];
    while connection.transmit(&mut byte) == 1 {
        out.push(byte[0]);
        assert_eq!(connection.transmit(&mut []), 0);
    }
    out
}

/// An event that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Chunk { text: bool, bytes: Vec<u8>, first: bool, last: bool },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close { frame: Option<(u16, String)>, interrupted: bool },
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Chunk(chunk) => Self::Chunk {
                text: matches!(chunk.payload, Payload::Text(_)),
                bytes: chunk.payload.as_bytes().to_vec(),
                first: chunk.first,
                last: chunk.last,
            },
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(Closed { frame, interrupted }) => {
                Self::Close { frame: frame.map(|frame| (frame.code.0, frame.reason.into())), interrupted }
            }
        }
    }
}

impl Seen {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub fn closed(code: u16, reason: &str) -> Self {
        Self::Close { frame: Some((code, reason.into())), interrupted: false }
    }
}

/// Chunks of one message after another joined; the rest is the same whatever the splits were.
pub fn join_chunks(events: Vec<Seen>) -> Vec<Seen> {
    let mut out: Vec<Seen> = Vec::new();
    let mut open: Option<(bool, Vec<u8>)> = None;
    for event in events {
        match event {
            Seen::Chunk { text, bytes, first, last } => {
                assert_eq!(first, open.is_none(), "first chunks begin messages");
                let (kind, all) = open.get_or_insert_with(|| (text, Vec::new()));
                assert_eq!(*kind, text);
                all.extend(bytes);
                if last {
                    let (text, bytes) = open.take().unwrap();
                    out.push(match text {
                        true => Seen::Text(String::from_utf8(bytes).unwrap()),
                        false => Seen::Binary(bytes),
                    });
                }
            }
            other => out.push(other),
        }
    }
    out
}

/// The result of feeding a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub events: Vec<Seen>,
    pub output: Vec<u8>,
    /// The failure, and how many bytes had been fed when it was reported.
    pub failed: Option<(Failure, usize)>,
}

impl Outcome {
    pub fn violation(&self) -> Option<Violation> {
        match self.failed {
            Some((Failure::Violation(violation), _)) => Some(violation),
            _ => None,
        }
    }
}

/// How output is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// All of it, after each event.
    Whole,
    /// Byte by byte, after each event.
    Bytes,
    /// One byte after each event, the rest at the end.
    Late,
}

impl Drain {
    pub const ALL: [Self; 3] = [Self::Whole, Self::Bytes, Self::Late];

    fn take(self, connection: &mut Connection, out: &mut Vec<u8>) {
        match self {
            Self::Whole => out.extend(drain(connection)),
            Self::Bytes => out.extend(drain_slowly(connection)),
            Self::Late => {
                let mut byte = [0];
                let n = connection.transmit(&mut byte);
                out.extend(&byte[..n]);
            }
        }
    }
}

/// Feeds `wire` to a connection, in parts that end at `cuts` and at its end.
pub fn feed(connection: &mut Connection, wire: &[u8], cuts: &[usize], how: Drain) -> Outcome {
    let mut outcome = Outcome::default();
    let mut buffer: Vec<u8> = Vec::new();
    let mut fed = 0;
    for &cut in cuts.iter().chain([&wire.len()]) {
        buffer.extend(&wire[fed..cut]);
        fed = cut;
        loop {
            let have = buffer.len();
            match connection.recv(T0, &mut buffer) {
                Ok(Recv { consumed, need, event }) => {
                    assert!(consumed <= have);
                    let done = event.is_none();
                    outcome.events.extend(event.map(Seen::from));
                    how.take(connection, &mut outcome.output);
                    buffer.drain(..consumed);
                    if done {
                        assert!(need > buffer.len(), "need {need} with {} there", buffer.len());
                        break;
                    }
                    assert_eq!(outcome.failed, None, "an event after a failure");
                }
                Err(failure) => {
                    assert_eq!(outcome.failed, None, "reported once");
                    outcome.failed = Some((failure, fed));
                    how.take(connection, &mut outcome.output);
                }
            }
        }
    }
    outcome.output.extend(drain(connection));
    outcome
}

/// The same through a session, over storage that the caller has made large enough.
pub fn feed_session(
    connection: Connection,
    storage: &mut [u8],
    wire: &[u8],
    cuts: &[usize],
    how: Drain,
) -> (Outcome, Connection) {
    let mut session: Session<&mut [u8]> = Session::with_storage(connection, storage, 0);
    let mut outcome = Outcome::default();
    let mut fed = 0;
    for &cut in cuts.iter().chain([&wire.len()]) {
        let mut at_least = 0;
        loop {
            // What the storage has no room for waits.
            let space = session.space(|| unreachable!("storage is there"), at_least);
            let n = (cut - fed).min(space.len());
            space[..n].copy_from_slice(&wire[fed..fed + n]);
            session.received(n);
            fed += n;
            let more = fed < cut;
            loop {
                match session.advance(T0) {
                    Ok(Advance::Event) => {
                        assert_eq!(outcome.failed, None, "an event after a failure");
                        let event = session.event().expect("an event is there");
                        outcome.events.push(event.into());
                        assert!(session.event().is_some(), "as often as one likes");
                        how.take(session.connection(), &mut outcome.output);
                    }
                    Ok(Advance::Read { at_least: need }) => {
                        assert!(need > session.buffered());
                        at_least = need;
                        break;
                    }
                    Ok(Advance::Finished) => break,
                    Err(failure) => {
                        assert_eq!(outcome.failed, None, "reported once");
                        outcome.failed = Some((failure, fed));
                        how.take(session.connection(), &mut outcome.output);
                    }
                }
            }
            if !more {
                break;
            }
        }
    }
    let (mut connection, _) = session.into_parts();
    outcome.output.extend(drain(&mut connection));
    (outcome, connection)
}

/// Every way to cut `wire` that the suite knows: whole, in two at each place, byte by byte, and some in between.
pub fn all_cuts(len: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    // Long inputs are cut in two near their ends and near the frame headers' usual places only.
    let places = (0..=len).filter(|&at| len <= 400 || at < 150 || at > len - 50 || at % 509 == 0);
    all.extend(places.map(|at| vec![at]));
    all.push((1..len).collect());
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ len as u64;
    for _ in 0..8 {
        let mut cuts = Vec::new();
        let mut at = 0;
        loop {
            // xorshift: the same cuts in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            at += 1 + (state % 11) as usize * (1 + len / 100);
            if at >= len {
                break;
            }
            cuts.push(at);
        }
        all.push(cuts);
    }
    all
}
