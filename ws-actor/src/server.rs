//! A listener that speaks WebSocket and, if asked to, plain HTTP on one port.
//!
//! The first head of a connection is read by ws-tokio's `Incoming`, under ws-core's limits and its deadline. An upgrade is decided at once; any
//! other request is given to hyper together with its bytes. hyper keeps that connection; an upgrade that comes on
//! it later is decided by the same function (`upgrade.rs`).
//!
//! Heads are read of a bounded number of connections at a time; a listener that runs out of file descriptors waits
//! for some and goes on.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;
use ws_core::{Config, ConfigRef, Connection, Rejection};
use ws_tokio::{AcceptError, Incoming};

use crate::compress::{Extensions, Negotiated};
use crate::conn::{Patience, Watch, drive, now};
use crate::drain::{Phase, until};
use crate::exposition;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::link::Link;
use crate::meters::RefusalKind;
use crate::places::Gate;
use crate::report::{FailureReport, Observer};
use crate::rewind::Rewind;
use crate::route::Route;
use crate::sync::lock;
use crate::transport::Transport;
use crate::upgrade::{Accepted, Ends, Refusal, ask, read_http, report_answer, report_malformed};

/// A stream's error, whatever it is.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type HttpResponse = http::Response<UnsyncBoxBody<Bytes, BoxError>>;
type HttpFuture = Pin<Box<dyn Future<Output = HttpResponse> + Send>>;
type HttpHandler = Box<dyn Fn(http::Request<hyper::body::Incoming>) -> HttpFuture + Send + Sync>;

/// The settings of a [`Server`]: what its peers may make it hold, and how long they may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Of the protocol: sizes of messages and heads, the handshake's and the connections' timeouts.
    pub protocol: Config,
    /// How long a socket may take no byte, with some waiting, before it is cut. Default 10 s.
    pub write_timeout: Duration,
    /// How long an actor may take none of a connection's events before the connection is closed with 1013. Default
    /// 10 s.
    pub mailbox_timeout: Duration,
    /// How long [`Route::decide`] may take before the client is answered 503. Default 10 s.
    pub decision_timeout: Duration,
    /// Most connections whose head is being read, that are being decided upon, or that are being refused, at a time. Default 4 096.
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

/// Routes, and what else a listener answers with.
pub struct Server {
    shared: Shared,
    http: Option<HttpHandler>,
    /// Where the metrics are.
    metrics: Option<Box<str>>,
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
    patience: Patience,
}

impl Shared {
    /// Has each route's connections under the limits and settings that hold for them.
    fn settle(&mut self) {
        for route in &mut self.routes {
            route.fit(&self.limits, &self.config);
        }
    }

    fn watch(&self, ends: Ends) -> Option<Box<Watch>> {
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
    /// A server without routes.
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
            patience: Patience { write: Duration::ZERO, mailbox: Duration::ZERO },
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

    /// Limits the connections of all routes together, and what each may do whose route says nothing else. See
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
        self.shared.patience = Patience { write: settings.write_timeout, mailbox: settings.mailbox_timeout };
        self.shared.decision_timeout = settings.decision_timeout;
        let handshakes = settings.max_handshakes.clamp(1, Semaphore::MAX_PERMITS);
        self.handshakes = Arc::new(Semaphore::new(handshakes));
        self
    }

    /// Answers requests that are no upgrades to WebSocket, with whom they come from in their extensions ([`Ends`]). Without
    /// this, they are told that an upgrade is required.
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

    /// The same through a tower service, such as axum's `Router`: any method, any body, either way in pieces as they come.
    /// It is cloned for each request. If it fails, the client is answered 500.
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
    /// Whoever can reach the listener can read them. A server of their own, on a port that only the collector reaches, takes
    /// no more than this: `Server::new(&hub).metrics_at("/metrics").listen("127.0.0.1:9100")`.
    #[must_use]
    pub fn metrics_at(mut self, path: impl Into<Box<str>>) -> Self {
        self.metrics = Some(path.into());
        self
    }

    /// Answers a request that is no upgrade.
    async fn answer(&self, mut request: http::Request<hyper::body::Incoming>, ends: Ends) -> HttpResponse {
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

    /// Is told of upgrades that are refused, for a log: 100 at once and 100 a second at most, with the number of those
    /// left out between. It must not block.
    #[must_use]
    pub fn on_refusal(mut self, report: impl Fn(&Refusal) + Send + Sync + 'static) -> Self {
        self.shared.refused = Some(Observer::new(report));
        self
    }

    /// Is told of connections that fail once they are open, for a log: a rule that the peer broke, a deadline that it
    /// missed, a socket that was lost or takes nothing, an actor that is busy or gone. Ends that were asked for are no
    /// failures, nor are tasks that are dropped with their runtime.
    ///
    /// It is told of 100 at once and 100 a second at most, with the number of those left out between, and before the
    /// actor gets its [`Disconnect`](crate::Disconnect). It must not block.
    #[must_use]
    pub fn on_failure(mut self, report: impl Fn(&FailureReport) + Send + Sync + 'static) -> Self {
        self.shared.failed = Some(Arc::new(Observer::new(report)));
        self
    }

    /// Listens, and serves in the background until [`Listening::stop`] is called, the Hub has shut down or the runtime ends.
    ///
    /// # Errors
    /// Those of binding the address; `AddrInUse` when somebody listens there already.
    pub async fn listen(self, addr: impl ToSocketAddrs) -> io::Result<Listening> {
        self.listen_on(TcpListener::bind(addr).await?)
    }

    /// Serves on a listener that was made elsewhere.
    ///
    /// # Errors
    /// When the listener cannot tell its address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen_on(self, listener: TcpListener) -> io::Result<Listening> {
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(Arc::new(self), listener, stopped));
        Ok(Listening { local_addr, stop, task })
    }

    /// Takes an upgrade from an HTTP server that runs already: one on hyper, axum, or whatever serves
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
    fn take_upgrade<B>(
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
                let patience = self.shared.patience;
                let watch = self.shared.watch(ends);
                let meters = Arc::clone(&self.shared.hub.shared.meters);
                tokio::spawn(async move {
                    // Without the upgrade the link ends unheard of: when the server drops it, or holds it back.
                    if let Ok(Ok(upgraded)) = timeout(patience.write, upgraded).await {
                        meters.handshake.record(now().saturating_since(began));
                        drive(TokioIo::new(upgraded), connection, &[], link, patience, watch).await;
                    }
                });
            }
            response
        })
    }
}

fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A server that listens. Dropping this changes nothing.
#[derive(Debug)]
pub struct Listening {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes no more connections. Those that are open go on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it no longer listens.
    pub async fn stopped(self) {
        // An error means that the task was dropped with its runtime.
        let _ = self.task.await;
    }
}

async fn accept(server: Arc<Server>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let handshakes = Arc::clone(&server.handshakes);
    let mut gate = server.shared.hub.shared.gate.watch();
    // The sender goes when `Listening` is dropped, which is no wish to stop.
    let stopped = async move {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let serve = async {
        let mut pause = Duration::ZERO;
        loop {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((io, remote)) => {
                    pause = Duration::ZERO;
                    tokio::spawn(serve_tcp(Arc::clone(&server), io, remote, permit));
                }
                // The client gave up while it waited in the system's queue.
                Err(error) if is_of_the_client(&error) => {}
                // No file descriptors, no memory: others have to end first.
                Err(_) => {
                    pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    };
    tokio::select! {
        () = stopped => {}
        () = until(&mut gate, Phase::Over) => {}
        () = serve => {}
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one TCP connection.
async fn serve_tcp(server: Arc<Server>, io: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) {
    let Ok(local) = io.local_addr() else { return };
    // Messages are written whole; waiting for more to send with them only delays them.
    let _ = io.set_nodelay(true);
    serve(server, io, Ends { remote, local }, permit).await;
}

/// Serves one stream, whatever it is.
pub(crate) async fn serve<S: Transport>(
    server: Arc<Server>,
    io: S,
    ends: Ends,
    permit: OwnedSemaphorePermit,
) {
    let began = now();
    // Boxed, for it is larger than an open connection, and over by then.
    let Some(opened) = Box::pin(open(&server, io, ends)).await else { return };
    drop(permit);
    let driving = match opened {
        Opened::WebSocket { io, early, connection, link } => {
            server.shared.hub.shared.meters.handshake.record(now().saturating_since(began));
            let patience = server.shared.patience;
            let watch = server.shared.watch(ends);
            drop(server);
            // Boxed as it is, and not inside of what led here.
            Box::pin(drive(io, connection, &early, link, patience, watch))
        }
        // A task of its own, for hyper's state is larger than that of a connection.
        Opened::Http { io } => {
            tokio::spawn(serve_http(server, io, ends));
            return;
        }
    };
    driving.await;
}

/// What a first head was.
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made")]
enum Opened<S> {
    WebSocket { io: S, early: Vec<u8>, connection: Negotiated, link: Link },
    Http { io: Rewind<S> },
}

/// Reads the first head, and answers it if it is an upgrade or a mistake.
async fn open<S: Transport>(server: &Server, io: S, ends: Ends) -> Option<Opened<S>> {
    let shared = &server.shared;
    let config = shared.config.clone();
    let incoming = if server.http.is_some() || server.metrics.is_some() {
        Incoming::read_beside_http(io, config).await
    } else {
        Incoming::read(io, config).await
    };
    let mut incoming = match incoming {
        Ok(incoming) => incoming,
        Err(AcceptError::Request(rejection)) => {
            report_malformed(shared, ends, rejection);
            return None;
        }
        Err(_) => {
            shared.hub.shared.meters.refused.add(RefusalKind::Abandoned, 1);
            return None;
        }
    };
    let request = incoming.request()?;
    if !request.is_upgrade() {
        let (io, bytes) = incoming.into_parts();
        return Some(Opened::Http { io: Rewind::new(bytes.into(), io) });
    }
    let decided = match ask(shared, &request, ends) {
        Ok(asked) => {
            // By a unique reference, for a stream need not be `Sync`.
            let watched = &mut incoming;
            tokio::select! {
                biased;
                decided = asked.decide(shared) => decided,
                // Nobody waits for the answer: what the attempt holds is for others.
                () = poll_fn(move |cx| watched.stream().poll_gone(cx)) => return None,
            }
        }
        Err(refusal) => Err(refusal),
    };
    let accepted = match decided {
        Ok(Accepted { link, acceptance, config }) => {
            let extensions = Extensions::agreed(&config, &incoming.request()?);
            let answered = incoming.answer(acceptance, extensions.line());
            let answered = timeout(shared.patience.write, answered).await.ok()?;
            answered.map(|(io, early)| {
                let connection = Negotiated::new(Connection::server(config, now()), extensions.agreement);
                Opened::WebSocket { io, early, connection, link }
            })
        }
        Err(refusal) => Err(incoming.reject(refusal).await),
    };
    if let Err(AcceptError::Answer(error)) = accepted {
        report_answer(shared, ends, error);
    }
    accepted.ok()
}

/// Serves plain HTTP, and the upgrades that come on the same connection later.
async fn serve_http<S: Transport>(server: Arc<Server>, io: Rewind<S>, ends: Ends) {
    let head_timeout = server.shared.config.timeouts.handshake;
    let head_limit = server.shared.config.head.max_bytes;
    let hub = server.shared.hub.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let server = Arc::clone(&server);
        async move {
            let response = match server.take_upgrade(request, ends) {
                Ok(answer) => answer.await.map(boxed),
                Err(request) => server.answer(request, ends).await,
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut gate = hub.shared.gate.watch();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        // The limit of the first head holds for those that follow it; hyper takes none below 8 KiB.
        .max_buf_size(head_limit.max(8 << 10))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // Its errors are the client's.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = until(&mut gate, Phase::Over) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = until(&mut gate, Phase::Ended) => {}
    }
}
