//! Routes: which path leads to which actor, and which pages may connect.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use ws_core::{Config, ConfigRef, Delivery, Request};

use crate::decision::{Decide, Decision};
use crate::entry::Way;
use crate::limits::Limits;
use crate::outbox::OutboxLimits;
use crate::path::Pattern;
use crate::places::Gate;
use crate::sync::lock;
use crate::target::Pool;
use crate::upgrade::Upgrade;

/// A path that speaks WebSocket, and the actors behind it.
pub struct Route {
    pub(crate) path: Pattern,
    pub(crate) pool: Pool,
    pub(crate) decide: Option<Decide>,
    pub(crate) no_topic: Arc<str>,
    pub(crate) origins: Origins,
    pub(crate) require_origin: bool,
    pub(crate) outbox: Arc<OutboxLimits>,
    #[cfg(feature = "deflate")]
    deflate: Option<Option<ws_core::deflate::Settings>>,
    pub(crate) limits: Limits,
    /// What each connection may do: the route's limits, merged with the server's once the route is the server's.
    pub(crate) held: Limits,
    pub(crate) gate: Option<Arc<Gate>>,
    /// The server's protocol settings as they are on this route.
    pub(crate) config: ConfigRef,
    pub(crate) in_parts: bool,
    pub(crate) shows_control: bool,
    pub(crate) subprotocols: Vec<Arc<str>>,
    pub(crate) require_subprotocol: bool,
    pub(crate) envelope: bool,
    /// The way of the last connection, for the next one to share.
    last: Mutex<Option<Arc<Way>>>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("path", &self.path.text())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Route {
    /// Creates a route for this path, which is compared as it is sent: `/ws` is neither `/ws/` nor `/w%73`.
    ///
    /// A segment that begins with a colon is a parameter. It takes any one segment that is not empty, and its value
    /// can be read, decoded, in [`Upgrade::params`] and later: `/ws/chat/:room` is at `/ws/chat/a%20b`, where `room`
    /// is `a b`, but neither at `/ws/chatX` nor at `/ws/chat/` or `/ws/chat/a/b`. A value that is escaped wrongly, or is
    /// not UTF-8, is refused with 400.
    ///
    /// Of several routes that fit a path, the one that is literal where they first differ counts, whatever the order in
    /// which they were added: `/ws/lobby` before `/ws/:room`.
    ///
    /// It needs a [`Route::target`], or a [`Route::decide`] that names one; without, upgrades are answered 503.
    pub fn ws(path: impl Into<Box<str>>) -> Self {
        Self {
            path: Pattern::new(path.into()),
            pool: Pool::default(),
            decide: None,
            no_topic: "".into(),
            origins: Origins::SameHost,
            require_origin: false,
            outbox: OutboxLimits::new().into(),
            #[cfg(feature = "deflate")]
            deflate: None,
            limits: Limits::new(),
            held: Limits::new(),
            gate: None,
            config: Config::server().into(),
            in_parts: false,
            shows_control: false,
            subprotocols: Vec::new(),
            require_subprotocol: false,
            envelope: false,
            last: Mutex::default(),
        }
    }

    /// Sets the actor that takes all connections of this path: a [`Target`](crate::Target), or the one that has a name
    /// when a connection comes. Several calls make a pool, dealt round robin.
    #[must_use]
    pub fn target(mut self, target: impl Into<Pool>) -> Self {
        self.pool = self.pool.with(&target.into());
        self
    }

    /// Sets several actors, which take the connections of this path in turn; see [`Pool`].
    #[must_use]
    pub fn pool(self, members: impl IntoIterator<Item = impl Into<Pool>>) -> Self {
        self.target(Pool::new(members))
    }

    /// Sets a function that decides on each upgrade, after path and origin were checked and before the client is answered.
    /// It may wait, for at most [`Settings::decision_timeout`](crate::Settings::decision_timeout); then, and if it
    /// fails to decide, the client is answered 503 or 500. When the client goes away meanwhile, the future is dropped.
    ///
    /// ```
    /// use ws_actor::{Meta, Relay, Response, Route, Upgrade};
    ///
    /// async fn user_of(token: &str) -> Option<String> {
    ///     (token == "Bearer ann").then(|| "Ann".to_owned()) // a database, say
    /// }
    ///
    /// let route = Route::ws("/ws").decide(|upgrade: Upgrade| async move {
    ///     let token = upgrade.header("authorization").ok_or(Response::new(401, "who are you?\n"))?;
    ///     let user = user_of(token).await.ok_or(Response::new(403, "not you\n"))?;
    ///     Ok(Relay::to("chat").topic("chat.said").meta(Meta::new().set("user", user)))
    /// });
    /// ```
    #[must_use]
    pub fn decide<F, R>(mut self, decide: F) -> Self
    where
        F: Fn(Upgrade) -> R + Send + Sync + 'static,
        R: Future<Output: Into<Decision>> + Send + 'static,
    {
        self.decide = Some(Box::new(move |upgrade| {
            let decision = decide(upgrade);
            Box::pin(async move { decision.await.into() })
        }));
        self
    }

    /// Sets which pages may connect; by default those of the same host. See [`Origins`].
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Refuses clients that name no origin. Browsers always name one, other programs rarely do.
    #[must_use]
    pub fn require_origin(mut self) -> Self {
        self.require_origin = true;
        self
    }

    /// Bounds the outgoing queue of each connection.
    #[must_use]
    pub fn outbox(mut self, limits: OutboxLimits) -> Self {
        self.outbox = limits.into();
        self
    }

    /// Compresses messages on this path for clients that offer it (permessage-deflate, RFC 7692), and takes compressed
    /// ones; `None` does neither. Without this, [`Settings::protocol`](crate::Settings::protocol) decides, which is off
    /// by default.
    ///
    /// A broadcast is compressed at most once for each size of window, when the first of the receivers that
    /// agreed to compress writes it, and all others share it. The compression state of an idle connection goes back to the
    /// [`Pool`](ws_core::deflate::Pool).
    ///
    /// Messages that contain secrets beside text that an attacker chooses should not be compressed: their lengths tell
    /// (section 8).
    ///
    /// ```
    /// use ws_actor::{Route, deflate};
    ///
    /// let route = Route::ws("/ws").target("chat").deflate(deflate::Settings::server());
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, settings: impl Into<Option<ws_core::deflate::Settings>>) -> Self {
        self.deflate = Some(settings.into());
        self
    }

    /// Puts this route's connections under the limits and settings of the route and of its server.
    pub(crate) fn fit(&mut self, server: &Limits, protocol: &ConfigRef) {
        self.held = self.limits.or(server);
        let mut config = Config::clone(protocol);
        self.held.apply_to(&mut config);
        // Kept by what drives the connection: `Settings::write_timeout`.
        config.timeouts.write = None;
        if self.in_parts {
            config.delivery = Delivery::Chunks;
        }
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &self.deflate {
            config.deflate.clone_from(deflate);
        }
        self.config = if config == **protocol { protocol.clone() } else { config.into() };
    }

    /// Limits the connections of this route: how many there are, and what each may do. See [`Limits`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.gate = Gate::new(&limits);
        self.limits = limits;
        self
    }

    /// Sends `{"topic": …, "data": …}` instead of plain messages to the clients of this path; see
    /// [`Relay::envelope`](crate::Relay::envelope).
    #[must_use]
    pub fn envelope(mut self) -> Self {
        self.envelope = true;
        self
    }

    /// Shows the actor the peer's control frames too: [`Message::Ping`](crate::Message::Ping),
    /// [`Message::Pong`](crate::Message::Pong) and [`Message::Close`](crate::Message::Close), in line with its
    /// messages. It need not do anything about them: pings are answered, and the `Close` is followed by
    /// [`Disconnect`](crate::Disconnect), which says the same. Without this it does not see them.
    #[must_use]
    pub fn control_frames(mut self) -> Self {
        self.shows_control = true;
        self
    }

    /// Gives the actor each message in parts, as they arrive ([`Inbound::part`](crate::Inbound::part)): for messages
    /// that should never be in memory whole. A part is as large as what was read at once, at most 64 KiB as a rule;
    /// parts of a text are whole characters. Between two parts the connection may be moved to another actor, which then
    /// gets the rest.
    ///
    /// Without this, a message comes whole. A large binary one is not copied on its way to the actor, and slices of it
    /// ([`Bytes::slice`](bytes::Bytes::slice)) cost nothing.
    #[must_use]
    pub fn in_parts(mut self) -> Self {
        self.in_parts = true;
        self
    }

    /// Sets the subprotocols that are spoken here, most wanted first: of those that the client offers, the first in
    /// this list is agreed upon (RFC 6455, section 1.9). The application's [`decide`](Self::decide) sees which, and may
    /// choose another ([`Relay::subprotocol`](crate::Relay::subprotocol)).
    ///
    /// If there is none in common, the connection has none, and browsers that offered any end it at once. See
    /// [`require_subprotocol`](Self::require_subprotocol).
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Refuses clients that offer none of the [`subprotocols`](Self::subprotocols), with 400, before any decision.
    #[must_use]
    pub fn require_subprotocol(mut self) -> Self {
        self.require_subprotocol = true;
        self
    }

    /// Lets connections that come the same way, one after the other, share its description.
    pub(crate) fn share(&self, way: Way) -> Arc<Way> {
        let mut last = lock(&self.last);
        match &mut *last {
            Some(last) if **last == way => Arc::clone(last),
            last => Arc::clone(last.insert(Arc::new(way))),
        }
    }

    /// The subprotocol to be agreed upon.
    ///
    /// 4.2.2: "Either a single value representing the subprotocol the server is ready to use or null. The value chosen
    /// MUST be derived from the client's handshake".
    pub(crate) fn choose_subprotocol(&self, request: &Request<'_>) -> Option<Arc<str>> {
        let is_offered = |name: &&Arc<str>| request.protocols().any(|offered| offered == &***name);
        self.subprotocols.iter().find(is_offered).cloned()
    }
}

/// Whether pages of an origin, given as it was sent, may connect.
pub type OriginCheck = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Which pages may open a connection (RFC 6455, section 10.2).
///
/// A browser lets any page connect to any server, cookies included, and leaves it to the server to look at
/// `Origin`. Behind a reverse proxy, [`Origins::SameHost`] needs the proxy to pass on the `Host` that the browser sent:
///
/// ```text
/// nginx:   proxy_http_version 1.1;            proxy_set_header Host $http_host;
///          proxy_set_header Upgrade $http_upgrade;  proxy_set_header Connection "upgrade";
/// Apache:  ProxyPreserveHost On
/// HAProxy, Caddy and Traefik pass it on by themselves.
/// ```
///
/// `X-Forwarded-Host` is not looked at: any client can send it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Pages of the host that the request is addressed to, port included; the scheme does not matter. `null`, which
    /// sandboxed pages and files send, is not a host.
    #[default]
    SameHost,
    /// These origins, such as `https://example.com`, in any case.
    List(Vec<String>),
    /// Every page on the internet, with its visitors' cookies.
    Any,
    /// The origins for which this returns true. It is given the origin as it was sent.
    Custom(OriginCheck),
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => f.write_str("SameHost"),
            Self::List(list) => f.debug_tuple("List").field(list).finish(),
            Self::Any => f.write_str("Any"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

impl Route {
    /// Whether a request's origin is acceptable, or a sentence that says why not.
    ///
    /// 10.2: servers "that are not intended to process input from any web page but only for certain sites SHOULD
    /// verify the |Origin| field is an origin they expect".
    pub(crate) fn check_origin(&self, request: &Request<'_>) -> Result<(), String> {
        let host = request.host().map_or("none", |host| host.as_str());
        let host = host.get(..MAX_QUOTED).unwrap_or(host);
        let Some((origin, is_same_host)) = request.origin() else {
            // 4.2.1: a request without it "SHOULD NOT be interpreted as coming from a browser client".
            return if self.require_origin {
                Err(format!("an Origin is required (Origin: none, Host: {host})"))
            } else {
                Ok(())
            };
        };
        let is_allowed = match &self.origins {
            Origins::Any => true,
            Origins::SameHost => is_same_host,
            Origins::List(list) => list.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin)),
            Origins::Custom(check) => check(origin),
        };
        // Several lines are nobody's origin, whatever the first of them says.
        let lines = request.fields().filter(|(name, _)| name.eq_ignore_ascii_case("Origin")).count();
        if is_allowed && (lines == 1 || matches!(self.origins, Origins::Any)) {
            return Ok(());
        }
        let origin = origin.get(..MAX_QUOTED).unwrap_or(origin).escape_ascii();
        Err(format!("this origin is not allowed (Origin: {origin}, Host: {host})"))
    }
}

/// Maximum number of bytes that an answer or a log quotes of a value that the client sent.
pub(crate) const MAX_QUOTED: usize = 256;
