//! Connections that were opened elsewhere and are moved to a loop.
//!
//! An HTTP server has its own idea of sockets, and a decision may take another service's time. Such a program answers the
//! request there, and gives the open connection to a loop. Its times count from
//! [`Settings::epoch`](crate::Settings::epoch) before and after.

use std::any::Any;
use std::fmt;
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use ws_core::Session;

use crate::remote::{Inbox, Remote, RemoteError};

/// A connection on its way to a loop.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) session: Session<Vec<u8>>,
    pub(crate) state: Box<dyn Any + Send>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// A connection that was [given](Remote::adopt) to loops which have ended, returned unchanged.
pub struct NotAdopted {
    /// Its transport.
    pub stream: TcpStream,
    /// The connection, and the bytes received on it.
    pub session: Session<Vec<u8>>,
    /// The state that was to be kept with it.
    pub state: Box<dyn Any + Send>,
}

impl fmt::Debug for NotAdopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotAdopted").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl fmt::Display for NotAdopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RemoteError::Stopped.fmt(f)
    }
}

impl std::error::Error for NotAdopted {}

impl Remote {
    /// Moves a connection whose opening handshake is done to the loop that has the fewest connections. What was received
    /// behind the handshake is in the session already; from here on both directions of the stream belong to the loop, which
    /// makes it non-blocking.
    ///
    /// [`Handler::adopt`](crate::Handler::adopt) gets `state`. Neither
    /// [`Settings::max_connections`](crate::Settings::max_connections) nor
    /// [`Settings::max_inbox`](crate::Settings::max_inbox) limits it: the caller bounds the connections that it opens.
    ///
    /// [`Handler::closed`](crate::Handler::closed) reports its end once: also if the loop has no room for it, or ends before
    /// it gets there, and it was never [opened](crate::Handler::open). A loop that is shutting down opens it, and closes it
    /// with 1001. Only if a handler panics is everything that was given to its loop dropped.
    ///
    /// # Errors
    /// The loops have ended; everything that was given is returned.
    pub fn adopt(
        &self,
        stream: TcpStream,
        session: Session<Vec<u8>>,
        state: Box<dyn Any + Send>,
    ) -> Result<(), Box<NotAdopted>> {
        let load = |inbox: &&Inbox| {
            inbox.connections.load(Ordering::Relaxed) + inbox.arriving.load(Ordering::Relaxed)
        };
        let mut arrival = Some(Arrival { stream, session, state });
        if let Some(inbox) = self.inboxes.iter().min_by_key(load) {
            let _: Result<(), RemoteError> = inbox.leave(|batch| {
                batch.arrivals.extend(arrival.take());
                inbox.arriving.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        match arrival {
            None => Ok(()),
            Some(Arrival { stream, session, state }) => Err(Box::new(NotAdopted { stream, session, state })),
        }
    }

    /// Stops accepting connections, and ends each loop when its last connection has ended.
    /// [`Server::run`](crate::Server::run) then returns.
    pub fn wind_down(&self) {
        for inbox in &*self.inboxes {
            // A loop that has ended has done it already.
            let _ = inbox.leave(|batch| {
                batch.winds_down = true;
                Ok(())
            });
        }
    }
}
