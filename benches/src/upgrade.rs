//! The server's side of the opening handshake (RFC 6455, section 4.2), for peers whose fastest use starts behind it.
//!
//! As much as a bench needs: the request is not checked beyond its key, and nothing may follow it.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The constant of section 1.3 that every accept value is made with.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reads a request and answers it with 101.
pub async fn accept(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 * 1024 || stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request"));
        }
    }
    let text = String::from_utf8_lossy(&head);
    let key = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no key"))?;
    let accept = STANDARD.encode(sha1_smol::Sha1::from(format!("{key}{GUID}")).digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await
}
