//! Why there is no connection.
//!
//! The error of ws-mio looks like this one, and is not the same: what they have in common is already in the core, as
//! errors that are `Copy`. The rest is what the core does not know, such as a system's error, and what only one of them
//! has: a response in the types of `http` and redirects here, limits and the end of a loop there.

use std::{fmt, io};

use bytes::Bytes;
use ws_core::{HandshakeError, RequestError, UriError};

use super::redirect::RedirectError;

/// Why connecting failed. The transport is closed already.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not one of a WebSocket. Nothing was sent.
    Uri(UriError),
    /// The request has a method other than GET, or a version other than HTTP/1.1 (RFC 6455, section 4.1).
    RequestLine,
    /// The request has a field or a subprotocol that may not be sent. Nothing was sent.
    Request(RequestError),
    /// The system has no entropy for the key and the masks. Nothing was sent, and there is no weak fallback.
    Entropy(io::Error),
    /// The host's name has no address.
    Resolve(io::Error),
    /// None of the host's addresses takes the connection; this is the error of the last.
    Connect(io::Error),
    /// TLS failed: a certificate that is not trusted, or not for this host.
    Tls(io::Error),
    /// The address is `wss`, and the crate was built without its feature `tls`.
    TlsUnavailable,
    /// The transport broke during the handshake.
    Lost(io::Error),
    /// [`Timeouts::handshake`](ws_core::Timeouts::handshake) passed before the response was complete.
    Timeout,
    /// The response breaks a rule.
    Handshake(HandshakeError),
    /// The server answered with another status than 101: its fields, and at most 64 KiB of its body, are here.
    Status(Box<http::Response<Bytes>>),
    /// The proxy that was asked for a [tunnel](crate::proxy::tunnel) answered with another status than 2xx: the same.
    Proxy(Box<http::Response<Bytes>>),
    /// A redirect was not followed.
    Redirect(RedirectError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => error.fmt(f),
            Self::RequestLine => {
                f.write_str("the request of a handshake is GET and HTTP/1.1 (RFC 6455, section 4.1)")
            }
            Self::Request(error) => error.fmt(f),
            Self::Entropy(error) => write!(f, "no entropy: {error}"),
            Self::Resolve(error) => write!(f, "the host was not found: {error}"),
            Self::Connect(error) => write!(f, "could not connect: {error}"),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::TlsUnavailable => f.write_str("wss needs the feature `tls` of ws-tokio"),
            Self::Lost(error) => write!(f, "the connection was lost during the handshake: {error}"),
            Self::Timeout => f.write_str("connecting took too long"),
            Self::Handshake(error) => error.fmt(f),
            Self::Status(response) => {
                write!(f, "the server answered {}, not 101 Switching Protocols", response.status())
            }
            Self::Proxy(response) => {
                write!(f, "the proxy answered {}, and made no tunnel", response.status())
            }
            Self::Redirect(error) => error.fmt(f),
        }
    }
}

/// Each variant prints what it holds; a source would say it again.
impl std::error::Error for ConnectError {}

impl From<UriError> for ConnectError {
    fn from(error: UriError) -> Self {
        Self::Uri(error)
    }
}

impl From<RequestError> for ConnectError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<HandshakeError> for ConnectError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<RedirectError> for ConnectError {
    fn from(error: RedirectError) -> Self {
        Self::Redirect(error)
    }
}
