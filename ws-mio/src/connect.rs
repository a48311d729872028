//! Connecting from a server's loops: what to ask for, how it turns out, and why it failed.
//!
//! [`ConnectError`] resembles that of ws-tokio, and is not the same type. What the two adapters have in common is in the
//! core already (`UriError`, `RequestError`, `HandshakeError`): errors that are `Copy`. The rest is what the core does not
//! know, system errors, and what only one of them has: refusals as types of `http` and redirects there, limits and the end
//! of a loop here.

use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{fmt, io};

use ws_core::{ConfigRef, HandshakeError, RequestError, Response, Uri, UriError};

use crate::error::Error;
use crate::handler::Refusal;
use crate::link::Link;
use crate::remote::ConnId;

/// A request to connect to a server, for [`Remote::connect`](crate::Remote::connect).
///
/// A loop does not resolve names, because that may block: the addresses come with the request.
///
/// ```
/// let mut connect = ws_mio::Connect::new("ws://example.com/chat", "192.0.2.1:80".parse().unwrap());
/// connect.protocols = vec!["chat.v2".to_owned()];
/// connect.tag = 7; // comes back with the answer
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connect {
    /// The URL: `ws://host[:port]/path?query`, or `wss` with the feature `tls`. Its host goes into the request, and into
    /// TLS.
    pub url: String,
    /// The host's addresses. They are tried one after the other, each with its share of the time.
    pub addresses: Vec<SocketAddr>,
    /// A number of your choice that is returned with the answer or the failure. Default 0.
    pub tag: u64,
    /// Subprotocols on offer, in order of preference.
    pub protocols: Vec<String>,
    /// Whether the handshake fails if the server chooses none of them, as in browsers. Default: no.
    pub require_protocol: bool,
    /// Header fields of the request, such as `Authorization`, `Cookie` or `Origin`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Limits and deadlines of the connection. [`Timeouts::handshake`](ws_core::Timeouts::handshake) is one deadline for
    /// all of connecting: TCP, TLS, and the response. Default: [`Settings::client`](crate::Settings::client).
    pub config: Option<ConfigRef>,
    /// Whether it waits while another request with this setting is connecting to the same address, as browsers must ("There
    /// MUST be no more than one connection in a CONNECTING state", RFC 6455, section 4.1). It keeps clients from flooding a
    /// host; a client that is itself a server had better do without. Default: no.
    ///
    /// What counts is the address being tried, the first or a later one, on any loop. Requests wait in order, and waiting
    /// does not count against the deadline.
    pub one_at_a_time: bool,
    /// Whether small writes leave at once (`TCP_NODELAY`). Default: yes.
    pub tcp_nodelay: bool,
    /// The TLS configuration for `wss`, with your own certificates for example. Default:
    /// [`Settings::tls_client`](crate::Settings::tls_client).
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Connect {
    /// Makes a plain request for this URL at this address.
    pub fn new(url: impl Into<String>, address: SocketAddr) -> Self {
        Self::at(url.into(), vec![address])
    }

    /// Makes a plain request, with the addresses that the system finds for the URL's host. It blocks: do not call it on a
    /// loop's thread.
    ///
    /// # Errors
    /// [`ConnectError::Uri`], and [`ConnectError::Resolve`] when the host has no address.
    pub fn resolve(url: impl Into<String>) -> Result<Self, ConnectError> {
        let url = url.into();
        let uri = Uri::parse(&url)?;
        let found = (uri.host(), uri.port()).to_socket_addrs().map_err(ConnectError::Resolve)?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() {
            return Err(ConnectError::Resolve(io::ErrorKind::NotFound.into()));
        }
        Ok(Self::at(url, addresses))
    }

    fn at(url: String, addresses: Vec<SocketAddr>) -> Self {
        Self {
            url,
            addresses,
            tag: 0,
            protocols: Vec::new(),
            require_protocol: false,
            headers: Vec::new(),
            config: None,
            one_at_a_time: false,
            tcp_nodelay: true,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        let protocols = self.protocols.iter().map(|protocol| protocol.capacity() + size_of::<String>());
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.capacity() + value.capacity() + size_of::<(String, Vec<u8>)>());
        size_of::<Self>()
            + self.url.capacity()
            + self.addresses.capacity() * size_of::<SocketAddr>()
            + protocols.chain(headers).sum::<usize>()
    }
}

/// A server's answer to a [`Connect`] that it agreed to.
#[derive(Debug)]
pub struct Answer<'a> {
    pub(crate) id: ConnId,
    pub(crate) tag: u64,
    pub(crate) response: Response<'a>,
    pub(crate) link: &'a Link,
    #[cfg(feature = "deflate")]
    pub(crate) agreement: Option<ws_core::deflate::Agreement>,
}

impl<'a> Answer<'a> {
    /// The id that the connection will have.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The request's [tag](Connect::tag).
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The response: its fields, and the subprotocol that the server chose.
    pub fn response(&self) -> &Response<'a> {
        &self.response
    }

    /// The TLS connection, for a `wss` URL.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&rustls::Connection> {
        self.link.tls()
    }

    /// The server's address.
    ///
    /// # Errors
    /// The server has gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.link.peer_addr()
    }

    /// The agreement on permessage-deflate, if there is one.
    #[cfg(feature = "deflate")]
    pub fn agreement(&self) -> Option<ws_core::deflate::Agreement> {
        self.agreement
    }
}

/// Why connecting failed. The transport is closed already.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one of a WebSocket. Nothing was sent.
    Uri(UriError),
    /// The request has a field or a subprotocol that may not be sent. Nothing was sent.
    Request(RequestError),
    /// The system has no entropy for the key and the masks. Nothing was sent, and there is no weak fallback.
    Entropy(io::Error),
    /// The host's name has no address.
    Resolve(io::Error),
    /// None of the addresses accepts the connection, or there is none; this is the error of the last, which its text names.
    Connect(io::Error),
    /// TLS failed: a certificate that is not trusted, or not for this host.
    Tls(io::Error),
    /// The URL is `wss`, and the crate was built without its feature `tls`.
    TlsUnavailable,
    /// The transport broke during the handshake.
    Lost(io::Error),
    /// [`Timeouts::handshake`](ws_core::Timeouts::handshake) passed before the response was complete.
    Timeout,
    /// The response breaks a rule.
    Handshake(HandshakeError),
    /// The server answered with another status than 101, a redirect for example: its fields, and at most 64 KiB of its
    /// body, are here.
    Status(Box<Refusal>),
    /// The loop has as many connections as [`Settings::max_connections`](crate::Settings::max_connections) allows.
    Full,
    /// The loop was shut down.
    Stopped,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Entropy(error) => write!(f, "no entropy: {error}"),
            Self::Resolve(error) => write!(f, "the host was not found: {error}"),
            Self::Connect(error) => write!(f, "could not connect: {error}"),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::TlsUnavailable => f.write_str("wss needs the feature `tls` of ws-mio"),
            Self::Lost(error) => write!(f, "the connection was lost during the handshake: {error}"),
            Self::Timeout => f.write_str("connecting took too long"),
            Self::Handshake(error) => error.fmt(f),
            Self::Status(refusal) => {
                write!(f, "the server answered {}, not 101 Switching Protocols", refusal.status)
            }
            Self::Full => f.write_str("the loop has as many connections as it may have"),
            Self::Stopped => f.write_str("the loop was shut down"),
        }
    }
}

// The text of each has the error inside it: as a source it would be said twice.
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
        match error {
            HandshakeError::Timeout => Self::Timeout,
            error => Self::Handshake(error),
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}
