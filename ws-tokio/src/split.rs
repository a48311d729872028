//! A connection in two owned halves, for a task that reads and another that writes.
//!
//! The reading half owns the session, so that what it lends is behind no lock. The transport, the output and the
//! sending half stand behind a mutex which either half holds while it polls, never across an await. What the reader
//! owes the peer (pongs, the close echo) it puts into the same output; so it leaves with whichever half is polled.
//!
//! Both poll the transport with one waker, which wakes both (`duo.rs`).

mod read;
mod write;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{CloseCode, Instant, Receiver, Sender};

use crate::duo::Duo;
use crate::error::Error;
use crate::websocket::WebSocket;
use crate::wire::Wire;

pub use read::ReadHalf;
pub use write::WriteHalf;

/// What both halves use.
#[derive(Debug)]
struct Shared<S> {
    inner: Mutex<Inner<S>>,
    /// Whether `Inner::closing` has something: to be looked at without the lock.
    closing: AtomicBool,
    duo: Duo,
}

#[derive(Debug)]
struct Inner<S> {
    wire: Wire<S>,
    sender: Sender,
    /// The writing half has queued its close frame: then, and with this code.
    closing: Option<(Instant, Option<CloseCode>)>,
    /// A keepalive ping has left.
    ping_left: bool,
}

impl<S> Shared<S> {
    /// Tells the receiver what the writing half has done that its deadlines depend on.
    fn take_news(&self, inner: &mut Inner<S>, receiver: &mut Receiver) {
        if let Some((now, code)) = inner.closing.take() {
            self.closing.store(false, Ordering::Release);
            receiver.closing(now, code);
        }
        if std::mem::take(&mut inner.ping_left) {
            receiver.ping_left();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Two owned halves, for two tasks.
    pub fn split(self) -> (ReadHalf<S>, WriteHalf<S>) {
        let Self { session, wire, pace, .. } = self;
        let role = session.connection_ref().role();
        let close_timeout = session.connection_ref().config().timeouts.close;
        let clock = pace.clock;
        let (session, sender) = session.split();
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner { wire, sender, closing: None, ping_left: false }),
            closing: AtomicBool::new(false),
            duo: Duo::default(),
        });
        let write = WriteHalf { shared: Arc::clone(&shared), clock, close_timeout, role };
        (ReadHalf { session, pace, shared, owes: false }, write)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    fn queue_control(&mut self) {
        self.wire.queue_control(&mut self.sender);
        self.ping_left |= self.sender.take_ping_left();
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.queue_control();
            ready!(self.wire.poll_flush(cx))?;
            if self.wire.is_stuck() {
                return Poll::Ready(Err(self.wire.lost()));
            }
            if self.sender.pending() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The halves given to [`ReadHalf::reunite`] are of different connections.
pub struct ReuniteError<S>(Box<(ReadHalf<S>, WriteHalf<S>)>);

impl<S> ReuniteError<S> {
    /// The halves, as they were.
    pub fn into_halves(self) -> (ReadHalf<S>, WriteHalf<S>) {
        *self.0
    }
}

impl<S> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are of different connections")
    }
}

impl<S> std::error::Error for ReuniteError<S> {}
