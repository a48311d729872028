//! The body of a refusal, as far as it is worth reading (RFC 9112, sections 6 and 7).
//!
//! It is read for people and logs: a body that breaks off, or is no body at all, ends there and is no error.

use super::MAX_BODY;
use super::framing::Body;

/// Maximum number of bytes that are looked at for it: chunks have sizes, extensions and trailers around them.
const MOST: usize = 4 * MAX_BODY;

/// Finds the content of a [body](super::Response::body) in the bytes behind a response's head: at most
/// [`MAX_BODY`] bytes of it.
///
/// ```
/// use ws_core::handshake::{Body, BodyReader};
///
/// let mut reader = BodyReader::new(Body::Chunked);
/// let mut content = Vec::new();
/// reader.recv(b"5\r\nnot h", |piece| content.extend_from_slice(piece));
/// reader.recv(b"ere\r\n0\r\n\r\n", |piece| content.extend_from_slice(piece));
/// assert_eq!((reader.is_complete(), &content[..]), (true, &b"not h"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct BodyReader {
    rest: Rest,
    content: usize,
    seen: usize,
}

/// What is still to come.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Bytes(u64),
    UntilEof,
    Chunks(Chunk),
}

/// `*( chunk-size [ chunk-ext ] CRLF chunk-data CRLF ) last-chunk`; what follows the last chunk is of no interest.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size(u64),
    /// The rest of the size's line, up to its LF.
    Line(u64),
    Data(u64),
    /// Up to the LF behind the data.
    End,
    /// The last chunk came, or something that is no chunk.
    Complete,
}

impl BodyReader {
    /// For a body that ends like this.
    pub const fn new(body: Body) -> Self {
        let rest = match body {
            Body::Empty => Rest::Bytes(0),
            Body::Bytes(bytes) => Rest::Bytes(bytes),
            Body::UntilEof => Rest::UntilEof,
            Body::Chunked => Rest::Chunks(Chunk::Size(0)),
        };
        Self { rest, content: 0, seen: 0 }
    }

    /// Whether no more is wanted: the body is complete, or as long as it may be. One that ends with the transport
    /// does so there.
    pub const fn is_complete(&self) -> bool {
        self.content >= MAX_BODY
            || self.seen >= MOST
            || matches!(self.rest, Rest::Bytes(0) | Rest::Chunks(Chunk::Complete))
    }

    /// Takes what came, each byte once, and hands the content in it to `put`, piece by piece.
    pub fn recv(&mut self, mut input: &[u8], mut put: impl FnMut(&[u8])) {
        while let Some(&first) = input.first().filter(|_| !self.is_complete()) {
            let left = match self.rest {
                Rest::Bytes(left) | Rest::Chunks(Chunk::Data(left)) => left,
                Rest::UntilEof => u64::MAX,
                Rest::Chunks(chunk) => {
                    self.rest = Rest::Chunks(chunk.after(first));
                    self.seen += 1;
                    input = input.get(1..).unwrap_or_default();
                    continue;
                }
            };
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_BODY - self.content).min(input.len());
            let (piece, behind) = input.split_at(n);
            put(piece);
            input = behind;
            self.content += n;
            self.seen += n;
            let left = left - n as u64;
            self.rest = match self.rest {
                Rest::UntilEof => Rest::UntilEof,
                Rest::Bytes(_) => Rest::Bytes(left),
                Rest::Chunks(_) if left == 0 => Rest::Chunks(Chunk::End),
                Rest::Chunks(_) => Rest::Chunks(Chunk::Data(left)),
            };
        }
    }
}

impl Chunk {
    /// Goes on over a byte that is no data.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                match size.checked_mul(16) {
                    Some(size) => Self::Size(size + u64::from(digit)),
                    None => Self::Complete,
                }
            }
            (Self::Size(0) | Self::Line(0), b'\n') => Self::Complete,
            (Self::Size(size) | Self::Line(size), b'\n') => Self::Data(size),
            (Self::Size(size), b';' | b'\r' | b' ' | b'\t') | (Self::Line(size), _) => Self::Line(size),
            (Self::End, b'\r') => Self::End,
            (Self::End, b'\n') => Self::Size(0),
            (Self::Size(_) | Self::End | Self::Data(_) | Self::Complete, _) => Self::Complete,
        }
    }
}
