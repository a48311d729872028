//! The settings of connecting.

#[cfg(feature = "tls")]
use std::sync::Arc;

use http::HeaderMap;
use ws_core::{Config, ConfigRef};

use super::limiter::Limiter;

/// The settings of [`connect_with`](super::connect_with) and its siblings.
///
/// ```
/// let mut options = ws_tokio::ConnectOptions::new();
/// options.protocols = vec!["chat.v2".into()];
/// options.redirects = 3;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Limits and deadlines of the connection. [`Timeouts::handshake`](ws_core::Timeouts::handshake) is one deadline
    /// for all of connecting: resolving, TCP, TLS, and the response. Default: [`Config::client`].
    pub config: ConfigRef,
    /// Subprotocols on offer, most wanted first; those of the request's own `Sec-WebSocket-Protocol` go before.
    pub protocols: Vec<String>,
    /// Whether the handshake fails if the server chooses none of them, as in browsers. Default: no.
    pub require_protocol: bool,
    /// Fields to send in addition to those of the request.
    pub headers: HeaderMap,
    /// Whether small writes leave at once (`TCP_NODELAY`). Default: yes.
    pub tcp_nodelay: bool,
    /// How many redirects are followed, and never more than [`MAX_REDIRECTS`](super::MAX_REDIRECTS). Default 0: a
    /// redirect is a refusal like any other.
    pub redirects: usize,
    /// Shared by the connections that are to wait for each other: see [`Limiter`]. Default: none.
    pub limiter: Option<Limiter>,
    /// For `wss`: certificates of your own, say. Default: the roots that the system trusts.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
}

impl ConnectOptions {
    /// The defaults named at the fields.
    pub fn new() -> Self {
        Self {
            config: Config::client().into(),
            protocols: Vec::new(),
            require_protocol: false,
            headers: HeaderMap::new(),
            tcp_nodelay: true,
            redirects: 0,
            limiter: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}
