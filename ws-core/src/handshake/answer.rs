//! The answers of a server: `101`, or a refusal.

use super::accept_key::accept_key;
use super::error::AnswerError;
use super::extensions::{Extensions, all_offered, is_extension_list, share_rsv1};
use super::grammar::{is_token, is_value};
use super::out::{Out, write};
use super::request::Request;
use super::{ACCEPT, EXTENSIONS, PROTOCOL};

/// What goes into the answer that opens the connection, besides what the RFC demands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accept<'a> {
    /// One of the [subprotocols offered](Request::protocols), or none.
    pub protocol: Option<&'a str>,
    /// What was agreed on the [extensions offered](Request::extensions), as the value of one line; empty for none.
    pub extensions: &'a str,
    /// Other fields, such as `Set-Cookie`.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl Accept<'_> {
    /// Writes the answer to `request`.
    pub(super) fn write(&self, request: &Request<'_>, out: &mut [u8]) -> Result<usize, AnswerError> {
        // 4.2.2: "the value chosen MUST be derived from the client's handshake".
        if self.protocol.is_some_and(|chosen| !request.protocols().any(|offer| offer == chosen)) {
            return Err(AnswerError::ProtocolNotOffered);
        }
        // 4.2.2: "Extensions not listed by the client MUST NOT be listed."
        let extensions = self.extensions.as_bytes();
        if !is_extension_list(extensions)
            || !all_offered(Extensions::of_value(extensions), &request.extensions())
        {
            return Err(AnswerError::ExtensionNotOffered);
        }
        if share_rsv1(Extensions::of_value(extensions)) {
            return Err(AnswerError::Rsv1Shared);
        }
        check_headers(self.headers)?;
        let accept = accept_key(request.key());
        let put = |out: &mut Out<'_>| {
            // RFC 9110, 7.8: "If a server receives both an Upgrade and an Expect header field with the '100-continue'
            // expectation, the server MUST send a 100 (Continue) response before sending a 101".
            if request.expects_continue() {
                out.put("HTTP/1.1 100 Continue\r\n\r\n");
            }
            out.put("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
            out.field(ACCEPT, accept);
            if let Some(protocol) = self.protocol {
                out.field(PROTOCOL, protocol);
            }
            if !self.extensions.is_empty() {
                out.field(EXTENSIONS, self.extensions);
            }
            for (name, value) in self.headers {
                out.field(name, value);
            }
            out.put("\r\n");
        };
        write(out, put).map_err(|needed| AnswerError::NoSpace { needed })
    }
}

/// A final answer that is no `101`.
pub(super) struct Refusal<'a> {
    pub(super) status: u16,
    /// Checked, or the handshake's own.
    pub(super) headers: [&'a [(&'a str, &'a [u8])]; 2],
    /// The parts of the body, in order.
    pub(super) body: &'a [&'a [u8]],
    /// Whether the body stays away, because the method was HEAD (RFC 9110, section 9.3.2).
    pub(super) head_only: bool,
}

impl Refusal<'_> {
    pub(super) fn write(&self, out: &mut [u8]) -> Result<usize, AnswerError> {
        if !(200..=599).contains(&self.status) {
            return Err(AnswerError::InvalidStatus);
        }
        let len = self.body.iter().map(|part| part.len()).sum();
        // RFC 9110, 8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
        // (Informational) or 204 (No Content)"; 304 has one only if a 200 had the same.
        let has_no_body = matches!(self.status, 204 | 304);
        if has_no_body && len > 0 {
            return Err(AnswerError::BodyNotAllowed);
        }
        let put = |out: &mut Out<'_>| {
            out.put("HTTP/1.1 ");
            out.number(usize::from(self.status));
            out.put(" ");
            out.put(phrase(self.status));
            // RFC 9110, 7.8: "A sender of Upgrade MUST also send an 'Upgrade' connection option".
            let headers = || self.headers.into_iter().flatten();
            let upgrade = headers().any(|(name, _)| name.eq_ignore_ascii_case("Upgrade"));
            out.put(if upgrade { "\r\nConnection: Upgrade, close\r\n" } else { "\r\nConnection: close\r\n" });
            if !has_no_body {
                out.put("Content-Length: ");
                out.number(len);
                out.put("\r\n");
            }
            for (name, value) in headers() {
                out.field(name, value);
            }
            out.put("\r\n");
            if !self.head_only {
                self.body.iter().for_each(|part| out.put(part));
            }
        };
        write(out, put).map_err(|needed| AnswerError::NoSpace { needed })
    }
}

/// Whether an application may send these: no response is split by them, none of the handshake's own fields is doubled.
pub(super) fn check_headers(headers: &[(&str, &[u8])]) -> Result<(), AnswerError> {
    for (name, value) in headers {
        if !is_token(name.as_bytes()) || !is_value(value) {
            return Err(AnswerError::InvalidHeader);
        }
        if is_reserved(name) {
            return Err(AnswerError::ReservedHeader);
        }
    }
    Ok(())
}

/// What the handshake writes itself, in both roles, or what would give it a body.
pub(super) fn is_reserved(name: &str) -> bool {
    const PREFIX: &str = "Sec-WebSocket-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        || ["Upgrade", "Connection", "Content-Length", "Transfer-Encoding"]
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// The phrase of a status; a client ignores it.
const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
