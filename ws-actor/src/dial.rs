//! Connections that this program opens: [`Hub::dial`], and what dials them again.
//!
//! A dialled connection is one of the Hub's like any other: the same events, the same sends, one task that drives it
//! (`conn.rs`). The handshake is ws-tokio's. What is new is the life beyond one connection: the task that drives it also
//! waits and dials again, when `backoff.rs` says so, and opens the next one with the actor and on the terms of the last.
//! Each is a connection of its own, with an id of its own: `Disconnect` of the one, then `Connect` of the other.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use ws_core::{Backoff, CloseCode, Config, ConfigRef, Connection, Role, Uri};
use ws_tokio::{ConnectError, ConnectOptions, Limiter, MaybeTls, WebSocket, connect_through, connect_with};

use crate::backoff::{Jitter, Schedule, is_lost, may_pass};
use crate::compress::{self, Agreement, Negotiated};
use crate::conn::{Patience, drive, now};
use crate::decision::Relay;
use crate::entry::{Entry, Terms, Who};
use crate::event::{CloseFrame, Reason};
use crate::hub::Hub;
use crate::id::ConnId;
use crate::limits::{Bounds, Limits};
use crate::link::Link;
use crate::mailbox::Down;
use crate::meta::Meta;
use crate::outbox::OutboxLimits;
use crate::path::Params;
use crate::places::Places;
use crate::target::Pool;
use crate::upgrade::{Ends, UNKNOWN_ADDR};

/// What can be set about dialling.
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
    /// waits for [`Dialled::attach`]. Default: nothing said.
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
    /// What makes the streams, instead of TCP to the host. Default: none.
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
    /// What the server may do: the size of its messages, their rate, how long nothing may be said, and rooms. Those on how
    /// many connections there may be are not asked. Default: nothing that `protocol` does not limit anyway.
    pub limits: Limits,
    /// Whether the actor sees the server's control frames too, as with
    /// [`Route::control_frames`](crate::Route::control_frames). Default: no.
    pub control_frames: bool,
    /// Whether the connection is dialled again when it is lost, and after what delays. Default: it is not.
    ///
    /// Lost is what ends by a transport that fails, a deadline that passes, or with 1001, 1005, 1006, 1011 to 1014, 3000
    /// to 3499, 4000 to 4499; what this program closes, a rule that is broken, and any other code are the end. So is an
    /// attempt that is answered with a status other than 408, 425, 429 and 5xx, or fails for a reason that stays.
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
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Io = Box<dyn Stream>;
type Making = Pin<Box<dyn Future<Output = io::Result<Io>> + Send>>;

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
pub struct Connector(Arc<dyn Fn() -> Making + Send + Sync>);

impl Connector {
    /// Streams that this function makes.
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

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// Connecting failed: the address, the network, TLS, time, or the server's answer.
    Failed(ConnectError),
    /// No actor that was named runs.
    NoTarget,
    /// The Hub shuts down, or has ([`Hub::shutdown`]).
    ShutDown,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::NoTarget => f.write_str("no actor takes the connection"),
            Self::ShutDown => f.write_str("the service is shutting down"),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::NoTarget | Self::ShutDown => None,
        }
    }
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error)
    }
}

/// Why a dialled connection was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// No actor that was named runs. The connection still waits.
    NoTarget,
    /// It was attached before, or stopped.
    Taken,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTarget => "no actor takes the connection",
            Self::Taken => "the connection was attached before, or stopped",
        })
    }
}

impl std::error::Error for AttachError {}

/// How things stand with a dialled connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialState {
    /// Open, and not attached to an actor yet.
    Held,
    /// Open, under this id.
    Open(ConnId),
    /// Lost, and dialled again after so long.
    Waiting(Duration),
    /// Being dialled again.
    Connecting,
    /// Over for good.
    Stopped,
}

/// How things stand with a dialled connection, and how they came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialStatus {
    /// How things stand.
    pub state: DialState,
    /// How often it was dialled, the first time included.
    pub attempts: u64,
    /// How the last connection ended, if one has.
    pub lost: Option<Reason>,
    /// Why the last attempt that failed did.
    pub error: Option<Arc<DialError>>,
}

/// A connection that was dialled, and those that take its place.
///
/// Dropped before it is attached, it is closed. Dropped later, nothing changes: the connection is the Hub's, and is
/// dialled again as its options say. [`Dialled::stop`] ends it for good, as does [`Hub::close`] on its id.
///
/// Between one connection and the next there is none: what is sent meanwhile says
/// [`NotFound`](crate::SendError::NotFound), and what waited in the outbox of the lost one is lost with it. The actor
/// hears of both ends, and says anew what the peer must know. Topic, values and heartbeat go over from one to the next,
/// as they were last; rooms do not.
pub struct Dialled {
    held: Option<Held>,
    status: watch::Receiver<DialStatus>,
    stop: watch::Sender<bool>,
    runtime: Handle,
    response: http::Response<()>,
}

/// An open connection that nobody drives.
struct Held {
    plan: Plan,
    socket: Socket,
    teller: Teller,
    stopped: watch::Receiver<bool>,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Hub {
    /// Opens a connection to a server. It has the same events as one that a client opened, with [`Role::Client`] in its
    /// [`Connect`](crate::Connect), and takes the same sends.
    ///
    /// Of the first attempt the result comes back here, whatever [`DialOptions::reconnect`] says. While it is not attached to
    /// an actor nobody reads from the connection, nor are pings answered: attach it soon.
    ///
    /// ```no_run
    /// # use ws_actor::{Backoff, DialOptions, Hub};
    /// # async fn example(hub: Hub) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut options = DialOptions::to("prices");
    /// options.reconnect = Some(Backoff::new());
    /// let dialled = hub.dial("wss://feed.example.com/prices", options).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`DialError`] tells the cases.
    ///
    /// # Cancel safety
    /// Dropped early, the socket is closed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn dial(&self, url: &str, options: DialOptions) -> Result<Dialled, DialError> {
        let mut plan = Plan::new(self.clone(), url, options)?;
        if self.is_draining() {
            return Err(DialError::ShutDown);
        }
        let relay = std::mem::take(&mut plan.relay);
        if relay.pool.as_ref().is_some_and(|pool| !pool.runs(&self.shared.names)) {
            return Err(DialError::NoTarget);
        }
        let socket = Box::pin(plan.connect()).await?;
        let (status, told) =
            watch::channel(DialStatus { state: DialState::Held, attempts: 1, lost: None, error: None });
        let (stop, stopped) = watch::channel(false);
        let response = socket.response.clone();
        let held = Some(Held { plan, socket, teller: Teller(status), stopped });
        let mut dialled = Dialled { held, status: told, stop, runtime: Handle::current(), response };
        if relay.pool.is_some() {
            dialled.attach(relay).map_err(|_| DialError::NoTarget)?;
        } else if let Some(held) = &mut dialled.held {
            held.plan.relay = relay;
        }
        Ok(dialled)
    }
}

impl Dialled {
    /// Gives the connection to an actor, whose [`Connect`](crate::Connect) is the first it hears of it. What the relay does
    /// not mention is as [`DialOptions::relay`] has it.
    ///
    /// # Errors
    /// [`AttachError`] tells the cases.
    pub fn attach(&mut self, relay: impl Into<Relay>) -> Result<ConnId, AttachError> {
        let Some(mut held) = self.held.take() else { return Err(AttachError::Taken) };
        let mut relay = relay.into();
        let pool = relay.pool.take().unwrap_or_default();
        let mut terms = Terms { topic: "".into(), meta: Meta::new(), heartbeat: None };
        terms.apply(held.plan.relay.clone());
        terms.apply(relay);
        let link = match held.plan.open(&held.socket, &pool, terms) {
            Ok(link) => link,
            Err(Down) => {
                self.held = Some(held);
                return Err(AttachError::NoTarget);
            }
        };
        let id = link.id();
        held.teller.tell(DialState::Open(id));
        self.runtime.spawn(run(held, link, pool));
        Ok(id)
    }

    /// The server's answer to the first handshake: its header fields.
    pub fn response(&self) -> &http::Response<()> {
        &self.response
    }

    /// The connection that is open now, if one is and it has an actor.
    pub fn id(&self) -> Option<ConnId> {
        match self.status.borrow().state {
            DialState::Open(id) => Some(id),
            _ => None,
        }
    }

    /// How things stand.
    pub fn status(&self) -> DialStatus {
        self.status.borrow().clone()
    }

    /// Waits until something has changed since the last call, and tells how things stand. Changes that come faster than
    /// calls are told as one. When it is over, it is ready at once.
    ///
    /// # Cancel safety
    /// Dropped early, nothing is missed.
    pub async fn changed(&mut self) -> DialStatus {
        // An error says that there will be no more.
        let _ = self.status.changed().await;
        self.status.borrow_and_update().clone()
    }

    /// Waits until it is over for good.
    ///
    /// # Cancel safety
    /// Dropped early, nothing is missed.
    pub async fn stopped(&mut self) -> DialStatus {
        let _ = self.status.wait_for(|status| status.state == DialState::Stopped).await;
        self.status.borrow_and_update().clone()
    }

    /// Ends it for good: an open connection is closed with 1000, behind what was sent before; one that is being dialled
    /// or waits is not dialled again.
    pub fn stop(&mut self) {
        self.stop.send_replace(true);
        self.let_go();
    }

    /// Closes a connection that nobody has.
    fn let_go(&mut self) {
        if let Some(Held { plan, socket, .. }) = self.held.take() {
            self.runtime.spawn(say_goodbye(socket, plan.config));
        }
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Closes a connection as one should, within the close timeout.
async fn say_goodbye(socket: Socket, config: ConfigRef) {
    // Without entropy there is no mask, and no close frame.
    let Socket { io, early, agreement, .. } = socket;
    let Ok(mut socket) = WebSocket::from_upgraded(io, Role::Client, &early, config) else {
        return;
    };
    compress::enable(&mut socket, agreement);
    let _ = socket.close(Some(ws_core::CloseFrame::new(CloseCode::NORMAL, ""))).await;
}

/// Tells how things stand, and at its end that it is over.
struct Teller(watch::Sender<DialStatus>);

impl Teller {
    fn tell(&mut self, state: DialState) {
        self.0.send_modify(|status| {
            status.state = state;
            status.attempts += u64::from(state == DialState::Connecting);
        });
    }

    fn lost(&mut self, reason: Reason) {
        self.0.send_modify(|status| status.lost = Some(reason));
    }

    fn failed(&mut self, error: DialError) {
        self.0.send_modify(|status| status.error = Some(Arc::new(error)));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(DialState::Stopped);
    }
}

/// How to make a connection, again and again.
struct Plan {
    hub: Hub,
    url: String,
    path: Arc<str>,
    query: Arc<str>,
    options: ConnectOptions,
    connector: Option<Connector>,
    config: ConfigRef,
    patience: Patience,
    outbox: OutboxLimits,
    limits: Limits,
    control_frames: bool,
    relay: Relay,
    reconnect: Option<(Backoff, Option<Jitter>)>,
}

/// An open connection as the handshake leaves it.
struct Socket {
    io: Io,
    /// What came behind the response's head.
    early: Vec<u8>,
    response: http::Response<()>,
    ends: Ends,
    agreement: Option<Agreement>,
    seed: [u8; 32],
}

impl Plan {
    fn new(hub: Hub, url: &str, options: DialOptions) -> Result<Self, ConnectError> {
        let uri = Uri::parse(url)?;
        let mut config = options.protocol;
        options.limits.apply_to(&mut config);
        let config = ConfigRef::from(config);
        let mut connect = ConnectOptions::new();
        connect.config = config.clone();
        connect.protocols = options.subprotocols;
        connect.require_protocol = options.require_subprotocol;
        connect.headers = options.headers;
        connect.redirects = options.redirects;
        connect.limiter = options.limiter;
        #[cfg(feature = "tls")]
        {
            connect.tls = options.tls;
        }
        Ok(Self {
            hub,
            url: url.to_owned(),
            path: uri.path().into(),
            query: uri.query().unwrap_or_default().into(),
            options: connect,
            connector: options.connector,
            config,
            patience: Patience { write: options.write_timeout, mailbox: options.mailbox_timeout },
            outbox: options.outbox,
            limits: options.limits,
            control_frames: options.control_frames,
            relay: options.relay,
            reconnect: options.reconnect.map(|backoff| (backoff, options.jitter)),
        })
    }

    async fn connect(&self) -> Result<Socket, ConnectError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| ConnectError::Entropy(io::Error::other(error)))?;
        Ok(match &self.connector {
            None => {
                let (socket, response) = connect_with(&*self.url, &self.options).await?;
                let agreement = compress::answered(&response)?;
                let ends = ends(socket.stream());
                let (io, early) = socket.into_inner();
                Socket { io: Box::new(io), early, response, ends, agreement, seed }
            }
            Some(Connector(connect)) => {
                let reach = async {
                    let stream = connect().await.map_err(ConnectError::Connect)?;
                    connect_through(stream, &*self.url, &self.options).await
                };
                // As for TCP: one deadline for all of it.
                let deadline = self.config.timeouts.handshake;
                let (socket, response) =
                    timeout(deadline, reach).await.unwrap_or(Err(ConnectError::Timeout))?;
                let agreement = compress::answered(&response)?;
                let (io, early) = socket.into_inner();
                let ends = Ends { remote: UNKNOWN_ADDR, local: UNKNOWN_ADDR };
                Socket { io: Box::new(io), early, response, ends, agreement, seed }
            }
        })
    }

    /// Registers a connection with an actor of the pool.
    fn open(&self, socket: &Socket, pool: &Pool, terms: Terms) -> Result<Link, Down> {
        let protocol = socket.response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        let who = Who {
            role: Role::Client,
            remote_addr: socket.ends.remote,
            local_addr: socket.ends.local,
            path: Arc::clone(&self.path),
            params: Params::default(),
            query: Arc::clone(&self.query),
            subprotocol: protocol.and_then(|name| name.to_str().ok()).map(Arc::from),
            envelope: false,
        };
        let mut bounds = Bounds::new(self.outbox, &self.limits, Places::default());
        bounds.shows_control = self.control_frames;
        Link::open(&self.hub, pool, bounds, who, terms)
    }

    /// Drives a connection until it ends, or is asked to.
    async fn drive(&self, socket: Socket, link: Link, stopped: &mut watch::Receiver<bool>) -> Reason {
        let id = link.id();
        let connection = Connection::client(self.config.clone(), now(), socket.seed);
        let connection = Negotiated::new(connection, socket.agreement);
        let mut driving = pin!(drive(socket.io, connection, &socket.early, link, self.patience, None));
        tokio::select! {
            biased;
            reason = &mut driving => return reason,
            () = asked_to_stop(stopped) => {}
        }
        // It may be closing already.
        let _ = self.hub.close(id, CloseFrame::new(CloseCode::NORMAL, ""));
        driving.await
    }

    /// Makes the connection that follows another, with the actor that had it last, or else as it was dealt at first.
    async fn open_again(&self, last: &Entry, pool: &Pool) -> Result<(Socket, Link), DialError> {
        // An actor that it was moved to just before its end may be owed its events still.
        poll_fn(|cx| last.poll_settled(cx)).await;
        if self.hub.is_draining() {
            return Err(DialError::ShutDown);
        }
        let target = last.last_target();
        let names = &self.hub.shared.names;
        if !target.as_ref().is_some_and(crate::Target::is_open) && !pool.runs(names) {
            return Err(DialError::NoTarget);
        }
        let socket = Box::pin(self.connect()).await?;
        let link = match target {
            Some(target) => self.open(&socket, &target.into(), last.terms()),
            None => Err(Down),
        };
        let link = link.or_else(|Down| self.open(&socket, pool, last.terms()));
        match link {
            Ok(link) => Ok((socket, link)),
            Err(Down) => {
                tokio::spawn(say_goodbye(socket, self.config.clone()));
                Err(DialError::NoTarget)
            }
        }
    }
}

fn ends(stream: &MaybeTls<TcpStream>) -> Ends {
    let stream = stream.transport();
    Ends {
        remote: stream.peer_addr().unwrap_or(UNKNOWN_ADDR),
        local: stream.local_addr().unwrap_or(UNKNOWN_ADDR),
    }
}

/// Ready when the handle was asked to stop; never when it was dropped.
async fn asked_to_stop(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The life of an attached connection, and of those that take its place.
async fn run(held: Held, mut link: Link, pool: Pool) {
    let Held { plan, mut socket, mut teller, mut stopped } = held;
    let mut schedule = plan.reconnect.clone().map(|(backoff, jitter)| Schedule::new(backoff, jitter));
    loop {
        let entry = Arc::clone(link.entry());
        let since = Instant::now();
        let reason = plan.drive(socket, link, &mut stopped).await;
        let worth_it = is_lost(&reason);
        teller.lost(reason);
        let Some(schedule) = schedule.as_mut().filter(|_| worth_it) else { return };
        let delay = schedule.after_loss(since.elapsed());
        let next = tokio::select! {
            biased;
            () = asked_to_stop(&mut stopped) => None,
            next = seek(&plan, &entry, &pool, schedule, delay, &mut teller) => next,
        };
        drop(entry);
        (socket, link) = match next {
            Some(next) => next,
            None => return,
        };
        teller.tell(DialState::Open(link.id()));
    }
}

/// Dials until there is a connection, or there is no more hope of one.
async fn seek(
    plan: &Plan,
    last: &Entry,
    pool: &Pool,
    schedule: &mut Schedule,
    mut delay: Duration,
    teller: &mut Teller,
) -> Option<(Socket, Link)> {
    loop {
        teller.tell(DialState::Waiting(delay));
        tokio::select! {
            () = sleep(delay) => {}
            () = plan.hub.shuts_down() => {}
        }
        teller.tell(DialState::Connecting);
        let error = match plan.open_again(last, pool).await {
            Ok(next) => return Some(next),
            Err(error) => error,
        };
        delay = schedule.after_failure(&error);
        // A name may be an actor's again.
        let goes_on = may_pass(&error) || matches!(error, DialError::NoTarget) && pool.has_names();
        teller.failed(error);
        if !goes_on {
            return None;
        }
    }
}
