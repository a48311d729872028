//! Both directions of permessage-deflate's payload (RFC 7692, section 7.2), through their public types.
#![cfg(feature = "deflate")]

mod any;
mod audit;
mod content;
mod levels;
mod vectors;
mod window;

use ws_core::deflate::{Deflater, Inflater, InvalidDeflate, Pool, WindowBits};

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

/// Inflates one message from its fragments, into slices of `room` bytes.
fn inflate(inflater: &mut Inflater, fragments: &[&[u8]], room: usize) -> Result<Vec<u8>, InvalidDeflate> {
    let (mut message, mut out) = (Vec::new(), vec![0xEE; room]);
    for fragment in fragments {
        let mut at = 0;
        while at < fragment.len() {
            let step = inflater.inflate(&fragment[at..], &mut out)?;
            assert!(at + step.taken == fragment.len() || step.written == room, "{step:?}");
            assert!(step.taken > 0 || step.written > 0, "no progress");
            message.extend(&out[..step.written]);
            at += step.taken;
        }
    }
    loop {
        let step = inflater.finish(&mut out)?;
        message.extend(&out[..step.written]);
        if step.done {
            return Ok(message);
        }
        assert_eq!(step.written, room);
    }
}

/// Compresses one message from its pieces.
fn deflate(deflater: &mut Deflater, pieces: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let mut out = vec![0xEE; deflater.bound(piece.len())];
        let len = deflater.deflate(piece, at + 1 == pieces.len(), &mut out).unwrap();
        message.extend(&out[..len]);
    }
    message
}

fn inflater(window: u8, takeover: bool) -> Inflater {
    Inflater::new(bits(window), takeover, Pool::shared())
}

fn deflater(window: u8, takeover: bool, level: u8) -> Deflater {
    Deflater::new(bits(window), takeover, level, Pool::shared())
}
