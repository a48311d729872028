//! Routes: which path leads to which actor, and which pages may come.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use ws_core::{Config, ConfigRef, Request};

use crate::decision::{Decide, Decision, Upgrade};
use crate::outbox::OutboxLimits;
use crate::target::Pool;

/// A path that speaks WebSocket, and the actors behind it.
pub struct Route {
    path: Box<str>,
    pub(crate) pool: Pool,
    pub(crate) decide: Option<Decide>,
    pub(crate) no_topic: Arc<str>,
    pub(crate) origins: Origins,
    pub(crate) require_origin: bool,
    pub(crate) outbox: OutboxLimits,
    #[cfg(feature = "deflate")]
    deflate: Option<Option<ws_core::deflate::Settings>>,
    /// The server's protocol settings as they are on this route, where they differ.
    config: Option<ConfigRef>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("path", &self.path).field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Route {
    /// The route of this path, compared as it is sent: `/ws` is neither `/ws/` nor `/w%73`.
    ///
    /// It needs a [`Route::target`], or a [`Route::decide`] that names one; without, upgrades are answered 503.
    pub fn ws(path: impl Into<Box<str>>) -> Self {
        Self {
            path: path.into(),
            pool: Pool::default(),
            decide: None,
            no_topic: "".into(),
            origins: Origins::SameHost,
            require_origin: false,
            outbox: OutboxLimits::new(),
            #[cfg(feature = "deflate")]
            deflate: None,
            config: None,
        }
    }

    /// One actor takes all connections of this path: a [`Target`](crate::Target), or the one that has a name then.
    /// Several calls make a pool, dealt round robin.
    #[must_use]
    pub fn target(mut self, target: impl Into<Pool>) -> Self {
        self.pool = self.pool.with(&target.into());
        self
    }

    /// Several actors take the connections of this path in turn; see [`Pool`].
    #[must_use]
    pub fn pool(self, members: impl IntoIterator<Item = impl Into<Pool>>) -> Self {
        self.target(Pool::new(members))
    }

    /// Asks the application about each upgrade, after path and origin are found good and before the client is answered.
    /// It may wait, for at most [`Settings::decision_timeout`](crate::Settings::decision_timeout); then, and if it
    /// fails to decide, the client is answered 503 or 500.
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

    /// Which pages may connect; by default those of the same host. See [`Origins`].
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
        self.outbox = limits;
        self
    }

    /// Compresses messages on this path for clients that offer it (permessage-deflate, RFC 7692), and takes compressed ones;
    /// `None` does neither. Without this, [`Settings::protocol`](crate::Settings::protocol) decides, which is off by default.
    ///
    /// A broadcast is compressed at most once for each size of window, when the first of its receivers that has agreed to
    /// compress has it to write, and all others share it. What is live of an idle connection goes back to the
    /// [`Pool`](ws_core::deflate::Pool).
    ///
    /// Messages that have secrets beside what an attacker chooses should not be compressed: their lengths tell (section 8).
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

    /// Makes this route's settings of its server's.
    pub(crate) fn fit(&mut self, server: &Config) {
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &self.deflate {
            let mut config = server.clone();
            config.deflate.clone_from(deflate);
            self.config = Some(config.into());
        }
        #[cfg(not(feature = "deflate"))]
        let _ = server;
    }

    /// This route's settings, on a server that has these.
    pub(crate) fn config<'a>(&'a self, server: &'a ConfigRef) -> &'a ConfigRef {
        self.config.as_ref().unwrap_or(server)
    }

    pub(crate) fn is_at(&self, path: &[u8]) -> bool {
        self.path.as_bytes() == path
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
    /// sandboxed pages and files send, is no host.
    #[default]
    SameHost,
    /// These, such as `https://example.com`, in any case.
    List(Vec<String>),
    /// Every page on the internet, with its visitors' cookies.
    Any,
    /// Those for which this says yes. It is given the origin as it was sent.
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
    /// Whether a request may come as far as its origin is concerned, or a sentence that says why not.
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

/// An answer, or a log, quotes no more bytes than this of a value that the client sent.
pub(crate) const MAX_QUOTED: usize = 256;
