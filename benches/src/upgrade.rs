//! The server's side of the opening handshake (RFC 6455, section 4.2), for peers whose fastest use starts after it.
//!
//! Only what a benchmark needs: the request is not checked beyond its key, and nothing may follow it.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The constant of section 1.3 that every accept value is made with.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reads a request and answers it with 101.
pub async fn accept(stream: &mut TcpStream) -> io::Result<()> {
    answer(stream, |_| None).await.map(drop)
}

/// The same, and agrees to permessage-deflate as offered, with windows of at most this many bits (RFC 7692, section
/// 7.1). Returns what was agreed on.
pub async fn accept_deflate(stream: &mut TcpStream, window_bits: u8) -> io::Result<Option<String>> {
    answer(stream, |offer| {
        let offer = offer.filter(|offer| offer.starts_with("permessage-deflate"))?;
        let mut agreed = format!("permessage-deflate; server_max_window_bits={window_bits}");
        for name in ["server_no_context_takeover", "client_no_context_takeover"] {
            if offer.contains(name) {
                agreed = format!("{agreed}; {name}");
            }
        }
        if offer.contains("client_max_window_bits") {
            agreed = format!("{agreed}; client_max_window_bits={window_bits}");
        }
        Some(agreed)
    })
    .await
}

async fn answer(
    stream: &mut TcpStream,
    agree: impl FnOnce(Option<&str>) -> Option<String>,
) -> io::Result<Option<String>> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 * 1024 || stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request"));
        }
    }
    let text = String::from_utf8_lossy(&head);
    let field = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let key =
        field("sec-websocket-key").ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no key"))?;
    let agreed = agree(field("sec-websocket-extensions"));
    let extensions =
        agreed.as_ref().map_or_else(String::new, |line| format!("Sec-WebSocket-Extensions: {line}\r\n"));
    let accept = STANDARD.encode(sha1_smol::Sha1::from(format!("{key}{GUID}")).digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(agreed)
}
