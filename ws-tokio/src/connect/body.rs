//! The body of a refusal, up to what is worth reading.

use tokio::io::{AsyncRead, AsyncReadExt};
use ws_core::handshake::{Body, BodyReader};

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
    let mut reader = BodyReader::new(body);
    reader.recv(leftover, |piece| out.extend_from_slice(piece));
    let mut buffer = vec![0; 4 << 10];
    while !reader.is_complete() {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => reader.recv(&buffer[..n], |piece| out.extend_from_slice(piece)),
        }
    }
}
