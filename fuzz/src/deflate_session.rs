//! Feeds any frames, compressed well, badly or not at all, to a client's session: the result is the same however they are
//! cut, whole or in parts, parked and moved or not; it never exceeds the limit; and text is UTF-8.

use ws_core::deflate::{Agreement, Deflater, Pool, Settings, WindowBits};
use ws_core::{Advance, Config, Connection, Delivery, Event, Instant, Payload, Session};

use super::cuts::Cuts;

/// What was received: a message's or control frame's first byte, as in a frame, and its bytes.
type Seen = Vec<(u8, Vec<u8>)>;

/// Four bytes of settings; then frames, each a byte for its kind, one for its length, and its payload.
pub fn check(data: &[u8]) {
    let [how, setting, limit, frames @ ..] = data else { return };
    let window = WindowBits::new(8 + setting % 8).expect("8 to 15");
    let takeover = setting & 8 == 0;
    let agreement = Agreement {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: false,
        server_max_window_bits: window,
        client_max_window_bits: WindowBits::MAX,
    };
    let wire = if setting & 16 != 0 { frames.to_vec() } else { wire(frames, window, takeover) };
    let max = 16 * u64::from(*limit) + 1;
    let whole = receive(&agreement, Delivery::Whole, max, &wire, |_| usize::MAX, false);
    let mut cuts = Cuts::new(*how);
    let parks = window == WindowBits::MAX && how & 1 != 0;
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let other = receive(&agreement, delivery, max, &wire, |most| cuts.next(most), parks);
        assert_eq!(other, whole, "{delivery:?}");
    }
}

/// A server's frames, some of them compressed by our own compressor.
fn wire(mut frames: &[u8], window: WindowBits, takeover: bool) -> Vec<u8> {
    const FIRST: [u8; 16] =
        [0xC1, 0xC2, 0x41, 0x42, 0x00, 0x80, 0xC1, 0x41, 0x80, 0x81, 0x82, 0x01, 0x89, 0x8A, 0xC0, 0x88];
    let mut deflater = Deflater::new(window, takeover, 6, Pool::shared());
    let mut wire = Vec::new();
    while let [op, len, behind @ ..] = frames {
        let (payload, behind) = behind.split_at(behind.len().min((*len).into()));
        frames = behind;
        let first = FIRST[usize::from(op % 16)];
        let mut payload = payload.to_vec();
        if op & 16 != 0 && first & 8 == 0 {
            let plain = payload.repeat(usize::from(op >> 5) + 1);
            payload = vec![0; deflater.bound(plain.len())];
            let len = deflater.deflate(&plain, first & 0x80 != 0, &mut payload).expect("room");
            payload.truncate(len);
        }
        wire.push(first);
        match payload.len() {
            len @ 0..126 => wire.push(len as u8),
            len => {
                wire.push(126);
                wire.extend((len as u16).to_be_bytes());
            }
        }
        wire.extend(payload);
    }
    wire
}

/// Everything received from these bytes, up to a failure.
fn receive(
    agreement: &Agreement,
    delivery: Delivery,
    max: u64,
    mut wire: &[u8],
    mut cut: impl FnMut(usize) -> usize,
    parks: bool,
) -> Seen {
    let mut config = Config::client();
    config.limits.max_message = max;
    config.limits.max_frame = 1 << 20;
    config.delivery = delivery;
    config.deflate = Some(Settings::client());
    let now = Instant::ZERO;
    let mut session = Session::new(Connection::client(config, now, [7; 32]));
    session.enable_deflate(agreement);
    let (mut seen, mut parts) = (Seen::new(), Vec::new());
    while !wire.is_empty() {
        let space = session.space(|| vec![0; 64], 1);
        let n = cut(space.len()).min(space.len()).min(wire.len());
        space[..n].copy_from_slice(&wire[..n]);
        session.received(n);
        wire = &wire[n..];
        loop {
            match session.advance(now) {
                Ok(Advance::Event) => {}
                Ok(Advance::Read { .. }) => break,
                Ok(Advance::Finished) | Err(_) => return seen,
            }
            match session.event().expect("one was found") {
                Event::Text(text) => {
                    assert!(core::str::from_utf8(text.as_bytes()).is_ok());
                    seen.push((0x81, text.as_bytes().to_vec()));
                }
                Event::Binary(bytes) => seen.push((0x82, bytes.to_vec())),
                Event::Chunk(chunk) => {
                    if chunk.first {
                        parts.clear();
                    }
                    let first = match &chunk.payload {
                        Payload::Text(_) => 0x81,
                        Payload::Binary(_) => 0x82,
                    };
                    parts.extend_from_slice(chunk.payload.as_bytes());
                    assert!(parts.len() as u64 <= max);
                    if chunk.last {
                        seen.push((first, parts.clone()));
                    }
                }
                Event::Ping(payload) => seen.push((0x89, payload.to_vec())),
                Event::Pong(payload) => seen.push((0x8A, payload.to_vec())),
                Event::Close(_) => seen.push((0x88, Vec::new())),
            }
            assert!(seen.last().is_none_or(|(_, bytes)| bytes.len() as u64 <= max.max(125)));
        }
        if parks {
            session.park_idle();
            if let Some((storage, filled)) = session.rest() {
                session.restore(storage, filled);
            }
        }
    }
    seen
}
