//! The options of a dial: where its connection goes, what is sent, over which streams, and what follows a loss.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{Backoff, Config};
use ws_tokio::Limiter;

use crate::backoff::Jitter;
use crate::decision::Relay;
use crate::limits::Limits;
use crate::outbox::OutboxLimits;

#[cfg(doc)]
use crate::Dialled;

/// The options of [`Hub::dial`](crate::Hub::dial).
///
/// ```
/// use ws_actor::{Backoff, DialOptions};
///
/// let mut options = DialOptions::to("chat"); // the actor of that name
/// options.subprotocols = vec!["chat.v2".into()];
/// options.headers.insert("authorization", http::HeaderValue::from_static("Bearer 1234"));
/// options.protocol.limits.max_message = 64 << 10;
/// options.reconnect = Some(Backoff::new());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct DialOptions {
    /// Where the connection goes and what goes with it: its actor, and topic, values and heartbeat. Without an actor it
    /// waits for [`Dialled::attach`]. Default: nothing set.
    pub relay: Relay,
    /// Header fields to send with the request.
    pub headers: HeaderMap,
    /// Subprotocols on offer, most wanted first.
    pub subprotocols: Vec<String>,
    /// Whether a server that chooses none of them fails the handshake. Default: no.
    pub require_subprotocol: bool,
    /// How many redirects are followed, 20 at most. Default 0: a redirect is a refusal like any other.
    pub redirects: usize,
    /// Shared by the dials that wait for each other, so that one address gets one at a time. Default: none.
    pub limiter: Option<Limiter>,
    /// Makes the streams, instead of TCP to the host. Default: none.
    pub connector: Option<Connector>,
    /// For `wss`: certificates of your own, say. Default: the roots that the system trusts.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<ws_tokio::tls::rustls::ClientConfig>>,
    /// Of the protocol: the size of messages (16 MiB), the deadline of the handshake (10 s, for all of connecting) and the
    /// connection's others; with the feature `deflate`, whether and how compression is offered. Default:
    /// [`Config::client`], which offers none.
    pub protocol: Config,
    /// How long the socket may take no byte, with some waiting, before it is cut. Default 10 s.
    pub write_timeout: Duration,
    /// How long the actor may take none of the connection's events before it is closed with 1013. Default 10 s.
    pub mailbox_timeout: Duration,
    /// Bounds the outgoing queue.
    pub outbox: OutboxLimits,
    /// What the server may do: the size of its messages, their rate, how long nothing may be said, and rooms. Limits on the
    /// number of connections do not apply. Default: nothing that `protocol` does not limit anyway.
    pub limits: Limits,
    /// Whether the actor sees the server's control frames too, as with
    /// [`Route::control_frames`](crate::Route::control_frames). Default: no.
    pub control_frames: bool,
    /// Whether the connection is dialled again when it is lost, and after what delays. Default: it is not.
    ///
    /// A connection is lost if it ends by a transport that fails, a deadline that passes, or with 1001, 1005, 1006,
    /// 1011 to 1014, 3000 to 3499, 4000 to 4499; what this program closes, a rule that is broken, and any other code
    /// are the end. So is an attempt that is answered with a status other than 408, 425, 429 and 5xx, or fails for a
    /// reason that stays.
    pub reconnect: Option<Backoff>,
    /// Where the random part of those delays comes from. Default: the system's entropy.
    pub jitter: Option<Jitter>,
}

impl DialOptions {
    /// The defaults named at the fields.
    pub fn new() -> Self {
        Self {
            relay: Relay::new(),
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            require_subprotocol: false,
            redirects: 0,
            limiter: None,
            connector: None,
            #[cfg(feature = "tls")]
            tls: None,
            protocol: Config::client(),
            write_timeout: Duration::from_secs(10),
            mailbox_timeout: Duration::from_secs(10),
            outbox: OutboxLimits::new(),
            limits: Limits::new(),
            control_frames: false,
            reconnect: None,
            jitter: None,
        }
    }

    /// The same, to this actor: a [`Target`](crate::Target), the name of one, or a [`Relay`] that says more.
    pub fn to(relay: impl Into<Relay>) -> Self {
        Self { relay: relay.into(), ..Self::new() }
    }
}

impl Default for DialOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Header fields may hold secrets: their names only.
impl fmt::Debug for DialOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialOptions")
            .field("relay", &self.relay)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("subprotocols", &self.subprotocols)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type Io = Box<dyn Stream>;
pub(super) type Making = Pin<Box<dyn Future<Output = io::Result<Io>> + Send>>;

/// Makes the streams of a dialled connection, the first and those that follow: through a proxy's tunnel, over a Unix
/// socket, in memory. For a `wss` address, TLS goes over them.
///
/// Such a connection's addresses are unknown: `0.0.0.0:0`.
///
/// ```
/// use ws_actor::Connector;
///
/// let connector = Connector::new(|| tokio::net::UnixStream::connect("/run/feed.sock"));
/// ```
#[derive(Clone)]
pub struct Connector(pub(super) Arc<dyn Fn() -> Making + Send + Sync>);

impl Connector {
    /// A connector that calls this function for each stream.
    pub fn new<F, R, S>(connect: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self(Arc::new(move || {
            let connecting = connect();
            Box::pin(async move { connecting.await.map(|stream| Box::new(stream) as Io) })
        }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
