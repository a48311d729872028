//! permessage-deflate (RFC 7692) for the generator: what it offers, what it sends, and how it reads what comes back.
//!
//! Its messages are compressed before the clock starts, each by a fresh compressor: that is legal in a stream that
//! keeps its context, because a sender need not refer to earlier messages. What a server sends may refer to
//! them, so all of it is inflated, by one decompressor per connection.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

/// The end of a flushed message, which is not sent (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// How the messages of a run are compressed, in both directions alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// zlib's level, 1 to 9. A server gets it on its command line; the wire does not show it.
    pub level: u8,
    /// The window of both compressors, 9 to 15.
    pub window_bits: u8,
    /// Whether both keep their context from message to message.
    pub takeover: bool,
}

impl Compression {
    /// The value of `Sec-WebSocket-Extensions` in the request.
    pub fn offer(&self) -> String {
        let mut offer = "permessage-deflate".to_owned();
        if !self.takeover {
            offer.push_str("; server_no_context_takeover; client_no_context_takeover");
        }
        if self.window_bits < 15 {
            offer.push_str(&format!("; server_max_window_bits={}", self.window_bits));
        }
        offer + "; client_max_window_bits"
    }

    /// Whether an answer agrees to exactly that (section 7.1): an omitted parameter means a window of 15 bits, or a
    /// context that is kept.
    pub fn is_agreed_by(&self, answer: &str) -> bool {
        let mut words = answer.split(';').map(str::trim);
        let (mut agreed, mut client_window) = (Self { window_bits: 15, takeover: true, ..*self }, 15);
        let mut kept = 2;
        if words.next() != Some("permessage-deflate") {
            return false;
        }
        for word in words {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| {
                (name.trim(), value.trim().trim_matches('"').parse::<u8>().ok())
            });
            match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => kept -= 1,
                ("server_max_window_bits", Some(bits)) => agreed.window_bits = bits,
                ("client_max_window_bits", Some(bits)) => client_window = bits,
                _ => return false,
            }
        }
        agreed.takeover = kept == 2;
        (kept == 2 || kept == 0) && agreed == *self && client_window == self.window_bits
    }

    /// A message's payload as it is sent, compressed without context.
    pub fn compress(&self, message: &[u8]) -> Vec<u8> {
        let mut deflate = Deflate::new_with_config(DeflateConfig {
            level: i32::from(self.level),
            window_bits: -i32::from(self.window_bits),
            ..DeflateConfig::default()
        });
        // Stored blocks are the worst case: five bytes per 32 KiB or part of it, more for small ones; and the flush.
        let mut out = vec![0; message.len() + message.len() / 64 + 64];
        deflate.compress(message, &mut out, DeflateFlush::SyncFlush).expect("room for all of it");
        out.truncate(deflate.total_out() as usize);
        assert!(
            deflate.total_in() == message.len() as u64 && out.ends_with(&TAIL),
            "one call compresses all"
        );
        out.truncate(out.len() - TAIL.len());
        out
    }
}

/// The receiving side of one connection, one message at a time.
pub struct Inflater {
    inflate: Inflate,
    takeover: bool,
    compressed: Vec<u8>,
    message: Vec<u8>,
}

impl Inflater {
    /// For messages of up to `size` bytes that a server sends under `compression`.
    pub fn new(compression: Compression, size: usize) -> Self {
        Self {
            inflate: Inflate::new(false, 15),
            takeover: compression.takeover,
            compressed: Vec::new(),
            // One more, so that a longer message is noticed.
            message: vec![0; size + 1],
        }
    }

    /// Takes a part of a message's payload. Returns whether it is still plausible: it cannot be much
    /// longer than the message itself.
    pub fn take(&mut self, part: &[u8]) -> bool {
        self.compressed.extend_from_slice(part);
        self.compressed.len() <= self.message.len() + self.message.len() / 64 + 64
    }

    /// Ends the message and returns it, cut to a byte more than its size; `None` if it is not DEFLATE data, or
    /// holds a final block, which no contestant sends. An incomplete message comes out short.
    pub fn finish(&mut self) -> Option<&[u8]> {
        self.compressed.extend_from_slice(&TAIL);
        if !self.takeover {
            self.inflate.reset(false);
        }
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let result = self.inflate.decompress(&self.compressed, &mut self.message, InflateFlush::SyncFlush);
        let all = self.inflate.total_in() - read == self.compressed.len() as u64;
        let len = (self.inflate.total_out() - written) as usize;
        self.compressed.clear();
        (matches!(result, Ok(Status::Ok)) && (all || len == self.message.len())).then(|| &self.message[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Compression = Compression { level: 6, window_bits: 15, takeover: true };

    #[test]
    fn only_what_was_asked_for_is_agreed() {
        let alone = Compression { takeover: false, ..PLAIN };
        let small = Compression { window_bits: 12, ..PLAIN };
        for (compression, answer, agreed) in [
            (PLAIN, "permessage-deflate", true),
            (PLAIN, "permessage-deflate; server_max_window_bits=15; client_max_window_bits=\"15\"", true),
            (PLAIN, "permessage-deflate; server_no_context_takeover", false),
            (PLAIN, "permessage-deflate; client_max_window_bits=12", false),
            (PLAIN, "permessage-deflate; client_max_window_bits", false),
            (PLAIN, "permessage-bzip2", false),
            (PLAIN, "", false),
            (alone, "permessage-deflate;client_no_context_takeover;server_no_context_takeover", true),
            (alone, "permessage-deflate; server_no_context_takeover", false),
            (alone, "permessage-deflate", false),
            (small, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", true),
            (small, "permessage-deflate; server_max_window_bits=12", false),
        ] {
            assert_eq!(compression.is_agreed_by(answer), agreed, "{compression:?}: {answer:?}");
        }
    }

    #[test]
    fn messages_inflate_to_themselves_and_nothing_else_passes() {
        for takeover in [true, false] {
            let compression = Compression { takeover, ..PLAIN };
            let mut inflater = Inflater::new(compression, 3_000);
            for message in [&b""[..], b"hello hello hello", &[7; 3_000]] {
                let compressed = compression.compress(message);
                let (front, back) = compressed.split_at(compressed.len() / 2);
                assert!(inflater.take(front) && inflater.take(back));
                assert_eq!(inflater.finish(), Some(message));
            }
            assert!(inflater.take(&compression.compress(&[7; 4_000])));
            assert_eq!(inflater.finish().map(<[u8]>::len), Some(3_001), "too long, and it shows");
        }
        let mut inflater = Inflater::new(PLAIN, 3_000);
        assert!(inflater.take(b"\xFF\xFF") && inflater.finish().is_none(), "a reserved block type");
        assert!(!inflater.take(&[0; 4_000]), "longer than any message");
    }
}
