//! Connections that were opened elsewhere, and go on here.
//!
//! An HTTP server has its own idea of sockets, and a decision may take another service's time. Who has one of these
//! answers the request there, and gives the open connection to a loop. Its times count from
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

/// A connection that no loop takes any more, as it was [given](Remote::adopt).
pub struct NotAdopted {
    /// What it runs over.
    pub stream: TcpStream,
    /// The connection, and what was received.
    pub session: Session<Vec<u8>>,
    /// What was to be kept with it.
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
    /// Gives a connection whose opening handshake is done to the loop that has the fewest. What was received behind the
    /// handshake is in the session already; both directions of the stream are the loop's from here on, and it is made
    /// one that does not block.
    ///
    /// [`Handler::adopt`](crate::Handler::adopt) gets `state`. [`Settings::max_connections`](crate::Settings::max_connections) does not hold it back, nor does
    /// [`Settings::max_inbox`](crate::Settings::max_inbox): whoever opens connections bounds them.
    ///
    /// Its owner hears of its end once, by [`Handler::closed`](crate::Handler::closed): also when the loop has no room for it, or
    /// ends before it gets there, and it was never [opened](crate::Handler::open). A loop that is shut down opens it, and closes it
    /// with 1001. Only where a handler panics, all that was given to its loop is dropped.
    ///
    /// # Errors
    /// The loops have ended, and all that was given comes back.
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

    /// Lets nobody in any more, and ends each loop when its last connection has ended.
    /// [`Server::run`](crate::Server::run) returns then.
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
