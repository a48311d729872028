//! The life of a dialled connection, and beyond it: the task that drives one also waits and dials the next, with the actor
//! and on the terms of the last. Each is a connection of its own, with an id of its own: the actor gets `Disconnect` of the
//! one, then `Connect` of the other.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use ws_core::{Backoff, CloseCode, ConfigRef, Connection, Role, Uri};
use ws_tokio::{ConnectError, ConnectOptions, MaybeTls, WebSocket, connect_through, connect_with};

use super::options::{Connector, DialOptions, Io};
use super::{DialError, DialState, DialStatus};
use crate::backoff::{Jitter, Schedule, is_lost, may_pass};
use crate::compress::{self, Agreement, Negotiated};
use crate::conn::{Open, drive, now};
use crate::decision::Relay;
use crate::entry::{Entry, Terms, Way, Who};
use crate::event::{CloseFrame, Reason};
use crate::hub::Hub;
use crate::limits::{Bounds, Limits};
use crate::link::Link;
use crate::mailbox::Down;
use crate::outbox::OutboxLimits;
use crate::path::Params;
use crate::patience::Patience;
use crate::places::Places;
use crate::target::Pool;
use crate::upgrade::{Ends, UNKNOWN_ADDR};

/// An open connection that no task drives.
pub(super) struct Held {
    pub(super) plan: Plan,
    pub(super) socket: Socket,
    pub(super) teller: Teller,
    pub(super) stopped: watch::Receiver<bool>,
}

/// Closes a connection as one should, within the close timeout.
pub(super) async fn say_goodbye(socket: Socket, config: ConfigRef) {
    // Without entropy there is no mask, and no close frame.
    let Socket { io, early, agreement, .. } = socket;
    let Ok(mut socket) = WebSocket::from_upgraded(io, Role::Client, &early, config) else {
        return;
    };
    compress::enable(&mut socket, agreement);
    let _ = socket.close(Some(ws_core::CloseFrame::new(CloseCode::NORMAL, ""))).await;
}

/// Tells how things stand, and at its end that it is over.
pub(super) struct Teller(pub(super) watch::Sender<DialStatus>);

impl Teller {
    pub(super) fn tell(&mut self, state: DialState) {
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
pub(super) struct Plan {
    pub(super) hub: Hub,
    url: String,
    path: Arc<str>,
    query: Arc<str>,
    options: ConnectOptions,
    connector: Option<Connector>,
    pub(super) config: ConfigRef,
    patience: Patience,
    outbox: OutboxLimits,
    limits: Limits,
    control_frames: bool,
    pub(super) relay: Relay,
    reconnect: Option<(Backoff, Option<Jitter>)>,
}

/// An open connection as the handshake leaves it.
pub(super) struct Socket {
    io: Io,
    /// What came behind the response's head.
    early: Vec<u8>,
    pub(super) response: http::Response<()>,
    ends: Ends,
    agreement: Option<Agreement>,
    seed: [u8; 32],
}

impl Plan {
    pub(super) fn new(hub: Hub, url: &str, options: DialOptions) -> Result<Self, ConnectError> {
        let uri = Uri::parse(url)?;
        let mut config = options.protocol;
        options.limits.apply_to(&mut config);
        // Kept by what drives the connection: `DialOptions::write_timeout`.
        config.timeouts.write = None;
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

    pub(super) async fn connect(&self) -> Result<Socket, ConnectError> {
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
    pub(super) fn open(&self, socket: &Socket, pool: &Pool, terms: Terms) -> Result<Link, Down> {
        let protocol = socket.response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        let way = Way {
            role: Role::Client,
            local_addr: socket.ends.local,
            path: Arc::clone(&self.path),
            params: Params::default(),
            query: Arc::clone(&self.query),
            subprotocol: protocol.and_then(|name| name.to_str().ok()).map(Arc::from),
            envelope: false,
        };
        let who = Who { remote_addr: socket.ends.remote, way: Arc::new(way) };
        let mut bounds = Bounds::new(self.outbox, &self.limits, Places::default());
        bounds.shows_control = self.control_frames;
        Link::open(&self.hub, pool, bounds, who, terms)
    }

    /// Drives a connection until it ends, or is asked to.
    async fn drive(&self, socket: Socket, link: Link, stopped: &mut watch::Receiver<bool>) -> Reason {
        let id = link.id();
        let connection = Connection::client(self.config.clone(), now(), socket.seed);
        let connection = Negotiated::new(connection, socket.agreement);
        let Socket { io, early, .. } = socket;
        let mut driving = pin!(drive(Open { io, early, connection, link, watch: None }, self.patience));
        tokio::select! {
            biased;
            reason = &mut driving => return reason,
            () = asked_to_stop(stopped) => {}
        }
        // It may be closing already.
        let _ = self.hub.close(id, CloseFrame::new(CloseCode::NORMAL, ""));
        driving.await
    }

    /// Makes the connection that follows another, with the actor that had it last, or else dealt as it was at first.
    async fn open_again(&self, last: &Entry, pool: &Pool) -> Result<(Socket, Link), DialError> {
        // An actor that it was moved to just before its end may be owed its events still.
        poll_fn(|cx| last.poll_settled(cx)).await;
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
pub(super) async fn run(held: Held, mut link: Link, pool: Pool) {
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
            () = plan.hub.shuts_down() => {
                teller.failed(DialError::ShutDown);
                None
            }
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

/// Dials until there is a connection, or no hope of one.
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
        sleep(delay).await;
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
