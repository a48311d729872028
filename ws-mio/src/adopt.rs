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

impl Remote {
    /// Gives a connection whose opening handshake is done to the loop that has the fewest. What was received behind the
    /// handshake is in the session already; both directions of the stream are the loop's from here on.
    ///
    /// [`Handler::adopt`](crate::Handler::adopt) gets `state`. [`Settings::max_connections`](crate::Settings::max_connections) does not hold it back, nor does
    /// [`Settings::max_inbox`](crate::Settings::max_inbox): whoever opens connections bounds them.
    ///
    /// # Errors
    /// [`RemoteError::Stopped`]: the loops have ended. All that was given is dropped.
    pub fn adopt(
        &self,
        stream: TcpStream,
        session: Session<Vec<u8>>,
        state: Box<dyn Any + Send>,
    ) -> Result<(), RemoteError> {
        let load = |inbox: &&Inbox| {
            inbox.connections.load(Ordering::Relaxed) + inbox.arriving.load(Ordering::Relaxed)
        };
        let inbox = self.inboxes.iter().min_by_key(load).ok_or(RemoteError::Stopped)?;
        let mut arrival = Some(Arrival { stream, session, state });
        // Dropped, if it is, outside of the lock: nobody knows what that does.
        let result = inbox.leave(|batch| {
            batch.arrivals.extend(arrival.take());
            inbox.arriving.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        drop(arrival);
        result
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
