//! Connections that this program opens: [`Hub::dial`].
//!
//! A dialled connection is one of the Hub's like any other: the same events, the same sends, one task that drives it
//! (`conn.rs`). The handshake is ws-tokio's. `options.rs` has what can be set; `life.rs` makes connections, drives
//! them and, where `backoff.rs` says so, dials again.

mod life;
mod options;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use ws_tokio::ConnectError;

use self::life::{Held, Plan, Teller, run, say_goodbye};
pub use self::options::{Connector, DialOptions};
use crate::decision::Relay;
use crate::entry::Terms;
use crate::event::Reason;
use crate::hub::Hub;
use crate::id::ConnId;
use crate::mailbox::Down;
use crate::meta::Meta;

/// Why a dial failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// Connecting failed: the address, the network, TLS, time, or the server's answer.
    Failed(ConnectError),
    /// None of the actors that were named runs, or has room for connections.
    NoTarget,
    /// The Hub shuts down, or has ([`Hub::shutdown`]).
    ShutDown,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // This crate's users know its features, not those of ws-tokio.
            Self::Failed(ConnectError::TlsUnavailable) => {
                f.write_str("wss needs the feature `tls` of ws-actor")
            }
            Self::Failed(error) => error.fmt(f),
            Self::NoTarget => f.write_str("no actor takes the connection"),
            Self::ShutDown => f.write_str("the service is shutting down"),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // It stands in the text.
            Self::Failed(error) => error.source(),
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
    /// None of the actors that were named runs, or has room for connections. The connection still waits.
    NoTarget,
    /// The Hub shuts down, or has ([`Hub::shutdown`]). The connection still waits, in vain.
    ShutDown,
    /// It was attached before, or stopped.
    Taken,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTarget => "no actor takes the connection",
            Self::ShutDown => "the service is shutting down",
            Self::Taken => "the connection was attached before, or stopped",
        })
    }
}

impl std::error::Error for AttachError {}

/// The state of a dialled connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialState {
    /// Open, and not attached to an actor yet.
    Held,
    /// Open, under this id.
    Open(ConnId),
    /// Lost, and dialled again after this delay.
    Waiting(Duration),
    /// Being dialled again.
    Connecting,
    /// Over for good.
    Stopped,
}

/// The state of a dialled connection, and what led to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialStatus {
    /// The present state.
    pub state: DialState,
    /// How often it was dialled, the first time included.
    pub attempts: u64,
    /// How the last connection ended, if one has.
    pub lost: Option<Reason>,
    /// Why the last failed attempt failed.
    pub error: Option<Arc<DialError>>,
}

/// A dialled connection, and those that take its place.
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

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Hub {
    /// Opens a connection to a server. It has the same events as one that a client opened, with
    /// [`Role::Client`](crate::Role::Client) in its [`Connect`](crate::Connect), and takes the same sends.
    ///
    /// The result of the first attempt is returned here, whatever [`DialOptions::reconnect`] says. While the connection
    /// is not attached to an actor, nothing is read from it and pings are not answered: attach it soon.
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
            dialled.attach(relay).map_err(|error| match error {
                AttachError::ShutDown => DialError::ShutDown,
                AttachError::NoTarget | AttachError::Taken => DialError::NoTarget,
            })?;
        } else if let Some(held) = &mut dialled.held {
            held.plan.relay = relay;
        }
        Ok(dialled)
    }
}

impl Dialled {
    /// Gives the connection to an actor, whose [`Connect`](crate::Connect) is the first it hears of it. What the relay does
    /// not mention is as [`DialOptions::relay`] says.
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
                let is_draining = held.plan.hub.is_draining();
                self.held = Some(held);
                return Err(if is_draining { AttachError::ShutDown } else { AttachError::NoTarget });
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

    /// The present state.
    pub fn status(&self) -> DialStatus {
        self.status.borrow().clone()
    }

    /// Waits until something has changed since the last call, and returns the state. Changes that come faster than
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

    /// Closes a connection that has no actor.
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
