//! The server's side of the opening handshake where another library reads and writes HTTP: hyper, axum, warp.
//!
//! 1. [`answer_upgrade`] checks the request against every rule, and makes the response.
//! 2. The HTTP server sends the response.
//! 3. If it was a 101, [`WebSocket::from_upgraded`](crate::WebSocket::from_upgraded) takes the stream over.
//!
//! The rules are ws-core's: the head is written out again, and read as if it had just come.

use bytes::Bytes;
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use ws_core::{Accept, ConfigRef, Instant, Request, ServerHandshake};

use crate::deflate;
use crate::handshake::{Acceptance, Refusal, borrow, encode};

/// Answers an upgrade that an HTTP server has read: with a 101 if `decide`, which sees the request, agrees, and with a
/// refusal if it does not, or if the request breaks a rule of RFC 6455, section 4.2.1.
///
/// Send the response whatever it says. After a 101 the stream is a WebSocket. If compression was agreed on, the
/// response has a `ws_core::deflate::Agreement` among its [extensions](http::Response::extensions), for
/// `WebSocket::enable_deflate`.
///
/// ```
/// use ws_tokio::{Acceptance, answer_upgrade, core::Config};
///
/// let request = http::Request::get("/chat")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "Upgrade")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .body(())
///     .expect("well-formed");
/// let response = answer_upgrade(&request, Config::server(), |_| Ok(Acceptance::default()));
/// assert_eq!(response.status(), 101);
/// assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn answer_upgrade<B, F>(
    request: &http::Request<B>,
    config: impl Into<ConfigRef>,
    decide: F,
) -> http::Response<Bytes>
where
    F: FnOnce(&Request<'_>) -> Result<Acceptance, Refusal>,
{
    let head = head_of(request);
    // No time passes: the head is here.
    let now = Instant::ZERO;
    let config = config.into();
    let mut handshake = ServerHandshake::new(now, config.clone());
    let mut agreement = None;
    let answer = match handshake.recv(now, &head) {
        Ok(Some(request)) => match decide(&request) {
            Ok(Acceptance { protocol, headers }) => {
                let headers = borrow(&headers);
                let agreed = deflate::accept(&config, &request);
                let extensions = agreed.as_ref().map_or("", |(_, line)| line);
                let accept = Accept { protocol: protocol.as_deref(), extensions, headers: &headers };
                agreement = agreed.as_ref().map(|(agreement, _)| *agreement);
                encode(|out| handshake.accept(&request, accept, out))
            }
            Err(Refusal { status, headers, body }) => {
                let headers = borrow(&headers);
                encode(|out| handshake.reject(now, status, &headers, &body, out))
            }
        },
        Err(rejection) => encode(|out| handshake.reject_as(now, rejection, out)),
        // It ends with an empty line; what is not complete to ws-core is not a head.
        Ok(None) => Ok(Vec::new()),
    };
    // An answer that may not be sent is the application's fault, not the client's.
    let answer = answer.or_else(|_| encode(|out| handshake.reject(now, 500, &[], b"", out)));
    let mut response = response_of(&answer.unwrap_or_default());
    if let Some(agreement) = agreement.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        response.extensions_mut().insert(agreement);
    }
    response
}

/// The head as it may have come. The HTTP server has already dealt with `Expect`.
fn head_of<B>(request: &http::Request<B>) -> Vec<u8> {
    let version = if request.version() == Version::HTTP_11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut head = format!("{} {} {version}\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != EXPECT) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The ecosystem's type from what ws-core wrote; nothing written is a 500.
fn response_of(answer: &[u8]) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return response };
    let mut lines = answer[..end].split(|&byte| byte == b'\n');
    // `HTTP/1.1 101 `
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line.get(9..12)?).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for line in lines {
        if let Some((name, value)) = field_of(line) {
            response.headers_mut().append(name, value);
        }
    }
    *response.body_mut() = Bytes::copy_from_slice(&answer[end + 4..]);
    response
}

fn field_of(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (HeaderName::from_bytes(&line[..colon]).ok()?, line[colon + 1..].trim_ascii());
    Some((name, HeaderValue::from_bytes(value).ok()?))
}
