//! The body of a refusal, as far as it is worth reading (RFC 9112, sections 6 and 7).

use tokio::io::{AsyncRead, AsyncReadExt};
use ws_core::handshake::{Body, MAX_BODY};

/// Most bytes that are read for it: chunks come with sizes, extensions and trailers around them.
const MOST: usize = 4 * MAX_BODY;

/// Reads a body into `out`: to its end, to the transport's, or to 64 KiB. `leftover` is what of it came with the head.
///
/// # Cancel safety
/// Dropped early, `out` has what came until then.
pub(super) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    leftover: &[u8],
    body: Body,
    out: &mut Vec<u8>,
) {
    let mut rest = Rest::of(body);
    let mut seen = leftover.len();
    rest.take(leftover, out);
    let mut buffer = vec![0; 4 << 10];
    while !rest.is_complete() && out.len() < MAX_BODY && seen < MOST {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                seen += n;
                rest.take(&buffer[..n], out);
            }
        }
    }
    out.truncate(MAX_BODY);
}

/// What is still to come.
enum Rest {
    Bytes(u64),
    UntilEof,
    Chunks(Chunks),
}

impl Rest {
    fn of(body: Body) -> Self {
        match body {
            Body::Empty => Self::Bytes(0),
            Body::Bytes(bytes) => Self::Bytes(bytes),
            Body::UntilEof => Self::UntilEof,
            Body::Chunked => Self::Chunks(Chunks::Size(0)),
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self, Self::Bytes(0) | Self::Chunks(Chunks::Complete))
    }

    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Bytes(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                out.extend_from_slice(&input[..n]);
                *left -= n as u64;
            }
            Self::UntilEof => out.extend_from_slice(input),
            Self::Chunks(chunks) => input.iter().for_each(|&byte| chunks.take(byte, out)),
        }
    }
}

/// `*( chunk-size [ chunk-ext ] CRLF chunk-data CRLF ) last-chunk`; what follows the last chunk is of no interest.
enum Chunks {
    Size(u64),
    /// The rest of the size's line, up to its LF.
    Line(u64),
    Data(u64),
    /// Up to the LF behind the data.
    End,
    /// The last chunk came, or something that is no chunk.
    Complete,
}

impl Chunks {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        *self = match (&*self, byte) {
            (Self::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                match size.checked_mul(16) {
                    Some(size) => Self::Size(size + u64::from(digit)),
                    None => Self::Complete,
                }
            }
            (Self::Size(0) | Self::Line(0), b'\n') => Self::Complete,
            (&(Self::Size(size) | Self::Line(size)), b'\n') => Self::Data(size),
            (&Self::Size(size), b';' | b'\r' | b' ' | b'\t') | (&Self::Line(size), _) => Self::Line(size),
            (Self::Data(left), byte) => {
                out.push(byte);
                if *left == 1 { Self::End } else { Self::Data(left - 1) }
            }
            (Self::End, b'\r') => Self::End,
            (Self::End, b'\n') => Self::Size(0),
            (Self::Size(_) | Self::End | Self::Complete, _) => Self::Complete,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &str) -> (String, bool) {
        let (mut chunks, mut out) = (Chunks::Size(0), Vec::new());
        input.bytes().for_each(|byte| chunks.take(byte, &mut out));
        (String::from_utf8(out).unwrap(), matches!(chunks, Chunks::Complete))
    }

    /// HC-07: a body in chunks is read as what it says.
    #[test]
    fn chunks() {
        let table = [
            ("0\r\n\r\n", "", true),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", true),
            ("3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", "abc0123456789", true),
            ("3\r\nab", "ab", false),
            ("3\r\nabc\r\n", "abc", false),
            ("3\r\nabcd\r\n", "abc", true),
            ("x\r\nabc", "", true),
            ("fffffffffffffffff\r\nabc", "", true),
        ];
        for (input, body, complete) in table {
            assert_eq!(decoded(input), (body.to_owned(), complete), "{input:?}");
        }
    }
}
