//! A peer that compresses: its own context, and what it made of ours.

use std::io::Write;
use std::net::TcpStream;

use ws_mio::Socket;
use ws_mio::core::deflate::{Deflater, Inflater, Pool, PoolLimits, Settings, WindowBits};
use ws_mio::core::{Config, Instant};

use super::{Host, REQUEST, Registered, TEXT, masked, read_frame, read_head, sockets};

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

pub(crate) const OFFER: &str = "permessage-deflate; client_max_window_bits";

pub(crate) fn config(deflate: Option<Settings>) -> Config {
    let mut config = Config::server();
    config.limits.max_message = 4 << 20;
    config.limits.max_frame = 4 << 20;
    config.deflate = deflate;
    config
}

/// A connection whose handshake is done, and the line that was agreed on.
pub(crate) fn open<S: Registered>(
    peer: &mut TcpStream,
    io: S,
    config: Config,
    offer: &str,
) -> (Host<S>, Option<String>) {
    let mut host = Host::new(Socket::accept(io, config, Instant::ZERO));
    peer.write_all(&request(offer)).expect("written");
    host.until("an open socket", |host| host.socket.is_open());
    let head = read_head(peer);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (host, line(&head).map(str::to_owned))
}

pub(crate) fn compressing(bits: u8, takeover: bool) -> (TcpStream, Host<mio::net::TcpStream>, Codec) {
    let (mut peer, io) = sockets();
    let (host, line) = open(&mut peer, io, config(Some(settings(bits, takeover))), OFFER);
    assert!(line.is_some());
    (peer, host, Codec::new(bits, takeover))
}

/// The same settings in both directions, and a pool that keeps nothing: what is parked is freed.
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

    /// The content of a compressed payload of ours.
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

    /// The next frame, which must be a whole message: its first byte, its length on the wire, its content.
    pub(crate) fn receive(&mut self, peer: &mut TcpStream) -> (u8, usize, Vec<u8>) {
        let (first, payload) = read_frame(peer);
        let len = payload.len();
        let message = if first & RSV1 == 0 { payload } else { self.inflate(&payload) };
        (first & !RSV1, len, message)
    }

    /// Sends a text compressed, waits for the echo, and returns its length on the wire.
    pub(crate) fn echo(&mut self, peer: &mut TcpStream, text: &str) -> usize {
        self.say(peer, text);
        self.hear(peer, text)
    }

    /// The same, with the loop turned by this thread.
    pub(crate) fn echo_with<S: Registered>(
        &mut self,
        peer: &mut TcpStream,
        host: &mut Host<S>,
        text: &str,
    ) -> usize {
        self.say(peer, text);
        let before = host.seen.len();
        host.until("the text", |host| host.seen.len() > before);
        self.hear(peer, text)
    }

    fn say(&mut self, peer: &mut TcpStream, text: &str) {
        let frame = self.frame(TEXT, text.as_bytes());
        peer.write_all(&frame).expect("written");
    }

    fn hear(&mut self, peer: &mut TcpStream, text: &str) -> usize {
        let (first, len, message) = self.receive(peer);
        assert!((first, &message[..]) == (TEXT, text.as_bytes()), "{first:#x}, {} bytes", message.len());
        len
    }
}

/// Text that shrinks to about a third.
pub(crate) fn text(len: usize) -> String {
    another_text(0, len)
}

/// The same, with a different beginning for each number.
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
