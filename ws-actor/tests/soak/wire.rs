//! A client's end of a connection, spoken by hand.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use ws_core::frame::{Header, Opcode};

use super::client::WHILE;
use super::support::{LONG, frame};

/// So many messages, each with its number.
pub(super) fn numbered(said: &mut u32, count: u64) -> Vec<u8> {
    let first = *said;
    *said += count as u32;
    (first..*said).flat_map(|n| frame(true, Opcode::Binary, &n.to_be_bytes())).collect()
}

/// A client's end of a connection.
pub(super) struct Wire<S> {
    pub(super) io: S,
    /// Part of a frame is out: whatever followed it would be the rest.
    pub(super) is_torn: bool,
}

/// Writes, unless the peer does not read.
pub(super) async fn say(wire: &mut Wire<impl AsyncWrite + Unpin>, bytes: &[u8]) -> bool {
    wire.is_torn = wire.is_torn || !matches!(timeout(WHILE, wire.io.write_all(bytes)).await, Ok(Ok(())));
    !wire.is_torn
}

/// The status of the response; what follows the head is in the buffer.
pub(super) async fn head(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<u16> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if timeout(LONG, io.read_buf(buffer)).await.ok()?.ok()? == 0 {
            return None;
        }
    };
    let status = std::str::from_utf8(buffer.get(9..12)?).ok()?.parse().ok();
    buffer.drain(..end);
    status
}

/// The next frame; `None` at the end, or when nothing comes for so long.
pub(super) async fn next(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    patience: Duration,
) -> Option<(Opcode, Vec<u8>)> {
    loop {
        if let Some((header, at)) = Header::decode(buffer).ok()? {
            let end = at + header.len as usize;
            if buffer.len() >= end {
                let payload = buffer[at..end].to_vec();
                buffer.drain(..end);
                return Some((header.opcode, payload));
            }
        }
        if timeout(patience, io.read_buf(buffer)).await.ok()?.ok()? == 0 {
            return None;
        }
    }
}
