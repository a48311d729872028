//! A peer that compresses: its own context, and what it made of ours.

use std::io::Write;
use std::net::TcpStream;

use ws_mio::core::deflate::{Deflater, Inflater, Pool, PoolLimits, Settings, WindowBits};

use super::{REQUEST, TEXT, masked, read_frame};

/// RSV1, in a frame's first byte.
pub(crate) const RSV1: u8 = 0x40;

/// The request, with an offer of extensions.
pub(crate) fn request(offer: &str) -> Vec<u8> {
    let mut request = REQUEST[..REQUEST.len() - 2].to_vec();
    request.extend_from_slice(format!("Sec-WebSocket-Extensions: {offer}\r\n\r\n").as_bytes());
    request
}

/// The line of extensions in a response.
pub(crate) fn line(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "))
}

/// Both directions alike, and a pool that keeps nothing: what is parked is freed.
pub(crate) fn settings(bits: u8, takeover: bool) -> Settings {
    let mut settings = Settings::server();
    let window = WindowBits::new(bits).expect("8 to 15");
    (settings.deflate_window, settings.inflate_window) = (window, window);
    (settings.deflate_takeover, settings.inflate_takeover) = (takeover, takeover);
    settings.pool = Some(empty_pool());
    settings
}

pub(crate) fn empty_pool() -> Pool {
    let mut limits = PoolLimits::new();
    (limits.inflaters, limits.deflaters, limits.buffers) = (0, 0, 0);
    Pool::new(limits)
}

/// The client's end of what was agreed on.
pub(crate) struct Codec {
    deflater: Deflater,
    inflater: Inflater,
}

impl Codec {
    pub(crate) fn new(bits: u8, takeover: bool) -> Self {
        let window = WindowBits::new(bits).expect("8 to 15");
        Self {
            deflater: Deflater::new(window, takeover, 6, empty_pool()),
            inflater: Inflater::new(window, takeover, empty_pool()),
        }
    }

    /// A compressed message in one frame; `first` is its first byte without RSV1.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        masked(first | RSV1, &self.deflate(payload))
    }

    /// The payload of a compressed message.
    pub(crate) fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.deflater.bound(payload.len())];
        let len = self.deflater.deflate(payload, true, &mut out).expect("room");
        out.truncate(len);
        out
    }

    /// What a compressed payload of ours says.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let (mut message, mut taken, mut out) = (Vec::new(), 0, vec![0; 1 << 16]);
        while taken < payload.len() {
            let step = self.inflater.inflate(&payload[taken..], &mut out).expect("what we sent is valid");
            taken += step.taken;
            message.extend_from_slice(&out[..step.written]);
        }
        loop {
            let end = self.inflater.finish(&mut out).expect("whole");
            message.extend_from_slice(&out[..end.written]);
            if end.done {
                return message;
            }
        }
    }

    /// The next frame, which must be a whole message: its first byte, its length as it came, what it says.
    pub(crate) fn receive(&mut self, peer: &mut TcpStream) -> (u8, usize, Vec<u8>) {
        let (first, payload) = read_frame(peer);
        let len = payload.len();
        let message = if first & RSV1 == 0 { payload } else { self.inflate(&payload) };
        (first & !RSV1, len, message)
    }

    /// Sends a text compressed and waits for the echo, whose length as it came this returns.
    pub(crate) fn echo(&mut self, peer: &mut TcpStream, text: &str) -> usize {
        let frame = self.frame(TEXT, text.as_bytes());
        peer.write_all(&frame).expect("written");
        let (first, len, message) = self.receive(peer);
        assert!((first, &message[..]) == (TEXT, text.as_bytes()), "{first:#x}, {} bytes", message.len());
        len
    }
}

/// Text that shrinks to a third or so.
pub(crate) fn text(len: usize) -> String {
    another_text(0, len)
}

/// The same, with a start of its own for each number.
pub(crate) fn another_text(number: usize, len: usize) -> String {
    let mut random = 0x9e37_79b9_u32.wrapping_add((number as u32).wrapping_mul(0x0101_0101));
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(["price ", "volume ", "grüße ", "null, "][(random >> 30) as usize]);
        text.push_str(&(random >> 20).to_string());
    }
    while text.len() > len {
        text.pop();
    }
    // Of a character that was cut.
    text.extend(std::iter::repeat_n('x', len - text.len()));
    text
}
