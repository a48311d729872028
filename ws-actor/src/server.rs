//! A listener that speaks WebSocket and, if asked to, plain HTTP on one port.
//!
//! The first head of a connection is read by ws-tokio's `Incoming`, under ws-core's limits and its deadline. An upgrade
//! is decided at once; any other request is given to hyper together with its bytes. hyper keeps that connection; an
//! upgrade that comes on it later is decided by the same function (`upgrade.rs`).

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_service::Service;
use ws_core::{Config, ConfigRef, Rejection};

use crate::conn::{Open, Watch, now};
use crate::driving::Driving;
use crate::exposition;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::listen::{Listening, accept};
use crate::patience::Patience;
use crate::places::Gate;
use crate::report::{FailureReport, Observer};
use crate::route::Route;
use crate::sync::lock;
use crate::upgrade::{Ends, Refusal, read_http};

/// A stream's error, whatever it is.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
type HttpResponse = http::Response<UnsyncBoxBody<Bytes, BoxError>>;
type HttpFuture = Pin<Box<dyn Future<Output = HttpResponse> + Send>>;
type HttpHandler = Box<dyn Fn(http::Request<hyper::body::Incoming>) -> HttpFuture + Send + Sync>;

/// The settings of a [`Server`]: what its peers may make it hold, and how long they may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Of the protocol: sizes of messages and heads, the handshake's and the connections' timeouts.
    pub protocol: Config,
    /// How long a socket may take no byte, while some wait, before it is cut. Default 10 s.
    pub write_timeout: Duration,
    /// How long an actor may take none of a connection's events before the connection is closed with 1013. Default
    /// 10 s.
    pub mailbox_timeout: Duration,
    /// How long [`Route::decide`] may take before the client is answered 503. Default 10 s.
    pub decision_timeout: Duration,
    /// Maximum number of connections at a time whose head is being read, that are being decided upon, or that are being
    /// refused. Default 4 096.
    pub max_handshakes: usize,
}

impl Settings {
    /// The defaults named at the fields; those of [`Config::server`] for the protocol.
    pub const fn new() -> Self {
        Self {
            protocol: Config::server(),
            write_timeout: Duration::from_secs(10),
            mailbox_timeout: Duration::from_secs(10),
            decision_timeout: Duration::from_secs(10),
            max_handshakes: 4_096,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// A server: its routes, and what else it answers on its listeners.
pub struct Server {
    pub(crate) shared: Shared,
    pub(crate) http: Option<HttpHandler>,
    /// Where the metrics are.
    pub(crate) metrics: Option<Box<str>>,
    pub(crate) handshakes: Arc<Semaphore>,
}

/// What deciding on an upgrade takes.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) routes: Vec<Route>,
    pub(crate) config: ConfigRef,
    limits: Limits,
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) decision_timeout: Duration,
    pub(crate) refused: Option<Observer<Refusal>>,
    failed: Option<Arc<Observer<FailureReport>>>,
    pub(crate) driving: Driving,
}

impl Shared {
    /// Puts each route's connections under the limits and settings that hold for them.
    fn settle(&mut self) {
        for route in &mut self.routes {
            route.fit(&self.limits, &self.config);
        }
    }

    pub(crate) fn watch(&self, ends: Ends) -> Option<Box<Watch>> {
        let observer = Arc::clone(self.failed.as_ref()?);
        Some(Box::new(Watch { observer, remote_addr: ends.remote }))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("routes", &self.shared.routes).finish_non_exhaustive()
    }
}

impl Server {
    /// Creates a server without routes.
    pub fn new(hub: &Hub) -> Self {
        let shared = Shared {
            hub: hub.clone(),
            routes: Vec::new(),
            config: Config::server().into(),
            limits: Limits::new(),
            gate: None,
            decision_timeout: Duration::ZERO,
            refused: None,
            failed: None,
            driving: Driving::new(Patience { write: Duration::ZERO, mailbox: Duration::ZERO }),
        };
        let handshakes = Arc::new(Semaphore::new(0));
        Self { shared, http: None, metrics: None, handshakes }.settings(Settings::new())
    }

    /// Adds a route. Of two of the same path, the first counts; see [`Route::ws`] for others that a path fits.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.shared.routes.push(route);
        self.shared.settle();
        self
    }

    /// Limits the connections of all routes together, and what each may do unless its route sets other limits. See
    /// [`Limits`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.shared.gate = Gate::new(&limits);
        self.shared.limits = limits;
        self.shared.settle();
        self
    }

    /// Changes the settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.shared.config = settings.protocol.into();
        self.shared.settle();
        let (write, mailbox) = (settings.write_timeout, settings.mailbox_timeout);
        self.shared.driving.set_patience(Patience { write, mailbox });
        self.shared.decision_timeout = settings.decision_timeout;
        let handshakes = settings.max_handshakes.clamp(1, Semaphore::MAX_PERMITS);
        self.handshakes = Arc::new(Semaphore::new(handshakes));
        self
    }

    /// Has connections driven by loops of [`ws_mio`] instead of a tokio task each, once their upgrades are answered.
    /// They have the same actors, rooms, limits and contracts.
    ///
    /// That holds for connections over plain TCP: from [`listen`](Self::listen), from [`serve`](Self::serve) with a
    /// `TcpStream`, from [`upgrade`](Self::upgrade) by a server over hyper. Others, such as TLS, stay tasks; so do
    /// those that this program [dials](Hub::dial).
    ///
    /// ```no_run
    /// # async fn run(hub: ws_actor::Hub) -> std::io::Result<()> {
    /// use ws_actor::{Loops, Route, Server};
    ///
    /// let loops = Loops::start(2)?;
    /// Server::new(&hub).route(Route::ws("/ws").target("chat")).on_loops(&loops).listen("127.0.0.1:8080").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Three things differ there. Deadlines are kept to 20 ms. Time is real: a clock that a test has paused does not
    /// hold for them. A large message is copied once on its way to the actor.
    #[cfg(feature = "mio")]
    #[must_use]
    pub fn on_loops(mut self, loops: &crate::Loops) -> Self {
        self.shared.driving.loops = Some(loops.clone());
        self
    }

    /// Sets a handler for requests that are not upgrades to WebSocket. The addresses of both ends are in their extensions
    /// ([`Ends`]). Without this, they are answered that an upgrade is required.
    #[must_use]
    pub fn on_http<F, R, B>(mut self, handler: F) -> Self
    where
        F: Fn(http::Request<hyper::body::Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = http::Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.http = Some(Box::new(move |request| {
            let response = handler(request);
            Box::pin(async move { response.await.map(boxed) })
        }));
        self
    }

    /// Sets a tower service for such requests, for example axum's `Router`: any method, any body, either way in pieces
    /// as they come. It is cloned for each request. If it fails, the client is answered 500.
    ///
    /// A request that is an upgrade to WebSocket does not reach it: routes of this server come first. Its peer is in
    /// the request's extensions ([`Ends`]), which axum hands out as `Extension<Ends>`.
    ///
    /// ```no_run
    /// # use ws_actor::{Ends, Hub, Route, Server};
    /// use axum::{Extension, Router, routing::get};
    ///
    /// # async fn run(hub: Hub) -> std::io::Result<()> {
    /// let pages = Router::new().route("/", get(|Extension(ends): Extension<Ends>| async move { format!("{}", ends.remote) }));
    /// Server::new(&hub).route(Route::ws("/ws").target("chat")).http_service(pages).listen("127.0.0.1:8080").await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn http_service<S, B>(self, service: S) -> Self
    where
        S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Locked to be cloned, for not every service may be shared.
        let service = Mutex::new(service);
        self.on_http(move |request| {
            let mut service = lock(&service).clone();
            async move {
                let called = match poll_fn(|cx| service.poll_ready(cx)).await {
                    Ok(()) => Some(service.call(request)),
                    Err(_) => None,
                };
                let response = match called {
                    Some(response) => response.await.ok(),
                    None => None,
                };
                response.map_or_else(
                    || {
                        let mut response = http::Response::new(boxed(Full::default()));
                        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                        response
                    },
                    |response| response.map(boxed),
                )
            }
        })
    }

    /// Answers GET requests for this path with the Hub's metrics, in Prometheus' text format
    /// ([`Metrics::prometheus`](crate::Metrics::prometheus)); the path is compared as it is sent.
    ///
    /// Everybody who can reach the listener can read them. For a port that only the collector reaches, give them a server of
    /// their own: `Server::new(&hub).metrics_at("/metrics").listen("127.0.0.1:9100")`.
    #[must_use]
    pub fn metrics_at(mut self, path: impl Into<Box<str>>) -> Self {
        self.metrics = Some(path.into());
        self
    }

    /// Answers a request that is not an upgrade.
    pub(crate) async fn answer(
        &self,
        mut request: http::Request<hyper::body::Incoming>,
        ends: Ends,
    ) -> HttpResponse {
        let is_read = matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        if is_read && self.metrics.as_deref().is_some_and(|path| path == request.uri().path()) {
            let mut response = http::Response::new(boxed(Full::from(self.shared.hub.metrics().prometheus())));
            let content_type = http::HeaderValue::from_static(exposition::CONTENT_TYPE);
            response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
            return response;
        }
        match &self.http {
            Some(handler) => {
                request.extensions_mut().insert(ends);
                handler(request).await
            }
            None => self.upgrade(request, ends.remote, ends.local).await.map(boxed),
        }
    }

    /// Sets a closure that is called for refused upgrades, for a log: at most 100 at once and 100 per second, with the
    /// number of those left out between. It must not block. Its panics are caught.
    #[must_use]
    pub fn on_refusal(mut self, report: impl Fn(&Refusal) + Send + Sync + 'static) -> Self {
        self.shared.refused = Some(Observer::new(report));
        self
    }

    /// Sets a closure that is called for connections that fail once they are open, for a log: a rule that the peer
    /// broke, a deadline that it missed, a socket that was lost or takes nothing, an actor that is busy or gone. Ends
    /// that were asked for are not failures, nor are tasks that are dropped with their runtime.
    ///
    /// It is called at most 100 times at once and 100 times per second, with the number of those left out between,
    /// and before the actor gets its [`Disconnect`](crate::Disconnect). It must not block. Its panics are caught.
    #[must_use]
    pub fn on_failure(mut self, report: impl Fn(&FailureReport) + Send + Sync + 'static) -> Self {
        self.shared.failed = Some(Arc::new(Observer::new(report)));
        self
    }

    /// Listens, and serves in the background until [`Listening::stop`] is called, the Hub has shut down or the runtime ends.
    ///
    /// # Errors
    /// Those of binding the address; `AddrInUse` when another socket listens there already.
    pub async fn listen(self, addr: impl ToSocketAddrs) -> io::Result<Listening> {
        self.listen_on(TcpListener::bind(addr).await?)
    }

    /// Serves on a listener that was created elsewhere.
    ///
    /// # Errors
    /// The listener cannot tell its address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen_on(self, listener: TcpListener) -> io::Result<Listening> {
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(Arc::new(self), listener, stopped));
        Ok(Listening { local_addr, stop, task })
    }

    /// Takes an upgrade from an HTTP server that runs already: one on hyper, axum, or anything that serves
    /// [`http::Request`]s with hyper's [`OnUpgrade`](hyper::upgrade::OnUpgrade) in them.
    ///
    /// Send the response whatever it says. If it is a 101, the connection begins when hyper has sent it, for which there
    /// is the write timeout: the connection is in the Hub already, and its actor cannot end before it.
    ///
    /// # Panics
    /// Outside of a tokio runtime, if the upgrade is accepted.
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// # use ws_actor::Server;
    ///
    /// async fn handle<B>(
    ///     server: &Server,
    ///     request: http::Request<B>,
    ///     remote: SocketAddr,
    ///     local: SocketAddr,
    /// ) -> http::Response<Full<Bytes>> {
    ///     match request.uri().path() {
    ///         "/ws" => server.upgrade(request, remote, local).await,
    ///         _ => http::Response::new("plain HTTP".into()),
    ///     }
    /// }
    /// ```
    pub fn upgrade<B>(
        &self,
        request: http::Request<B>,
        remote_addr: SocketAddr,
        local_addr: SocketAddr,
    ) -> impl Future<Output = http::Response<Full<Bytes>>> + Send {
        let ends = Ends { remote: remote_addr, local: local_addr };
        let taken = self.take_upgrade(request, ends).ok();
        async {
            if let Some(answer) = taken {
                return answer.await;
            }
            let mut response = http::Response::new(format!("{}\n", Rejection::NotAnUpgrade).into());
            *response.status_mut() = http::StatusCode::UPGRADE_REQUIRED;
            let headers = response.headers_mut();
            headers.insert(http::header::UPGRADE, http::HeaderValue::from_static("websocket"));
            headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("Upgrade, close"));
            response
        }
    }

    /// Answers an upgrade; another request comes back. The future has nothing of the request's body in it.
    #[expect(clippy::result_large_err, reason = "the other request is no error, and is moved once")]
    pub(crate) fn take_upgrade<B>(
        &self,
        mut request: http::Request<B>,
        ends: Ends,
    ) -> Result<impl Future<Output = http::Response<Full<Bytes>>> + Send + use<'_, B>, http::Request<B>> {
        let Some(head) = read_http(&self.shared, &request) else { return Err(request) };
        let upgraded = hyper::upgrade::on(&mut request);
        let began = now();
        Ok(async move {
            let (response, connection) = head.answer(&self.shared, ends).await;
            if let Some((link, connection)) = connection {
                let driving = self.shared.driving.clone();
                let watch = self.shared.watch(ends);
                let meters = Arc::clone(&self.shared.hub.shared.meters);
                tokio::spawn(async move {
                    // Without the upgrade the link ends unheard of: when the server drops it, or holds it back.
                    if let Ok(Ok(upgraded)) = timeout(driving.patience().write, upgraded).await {
                        meters.handshake.record(now().saturating_since(began));
                        let io = TokioIo::new(upgraded);
                        let open = Open { io, early: Vec::new(), connection, link, watch };
                        if let Some(driving) = driving.begin(open) {
                            driving.await;
                        }
                    }
                });
            }
            response
        })
    }
}

pub(crate) fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}
