//! A connection in two owned halves, for a task that reads and another that writes.
//!
//! The reading half owns the session, so that what it lends is behind no lock. The transport, the output and the
//! sending half stand behind a mutex which either half holds while it polls, never across an await. What the reader
//! owes the peer (pongs, the close echo) it puts into the same output; so it leaves with whichever half is polled.
//!
//! A transport keeps one waker for each direction, and TLS may need either direction for both. So both halves poll it
//! with one waker, which wakes both.

mod read;
mod write;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{CloseCode, Instant, Receiver, Sender};

use crate::error::{Error, lost};
use crate::websocket::WebSocket;
use crate::wire::Wire;

pub use read::ReadHalf;
pub use write::WriteHalf;

const READER: usize = 0;
const WRITER: usize = 1;

/// Who waits for the transport, or for the other half.
#[derive(Debug, Default)]
struct Wakers([Mutex<Option<Waker>>; 2]);

impl Wakers {
    /// Before the poll that may find nothing: whatever happens from there on wakes.
    fn register(&self, half: usize, cx: &Context<'_>) {
        let mut slot = lock(&self.0[half]);
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
    }

    fn wake_half(&self, half: usize) {
        // The lock is given back before: a waker may do anything.
        let waker = lock(&self.0[half]).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_half(READER);
        self.wake_half(WRITER);
    }
}

/// What both halves use.
#[derive(Debug)]
struct Shared<S> {
    inner: Mutex<Inner<S>>,
    /// Whether `Inner::closing` has something: to be looked at without the lock.
    closing: AtomicBool,
    wakers: Arc<Wakers>,
    /// The waker that wakes both, made once.
    both: Waker,
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

/// A panic of the transport's while it was polled leaves it to be polled again, as without the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Two owned halves, for two tasks.
    pub fn split(self) -> (ReadHalf<S>, WriteHalf<S>) {
        let Self { session, wire, pace } = self;
        let role = session.connection_ref().role();
        let close_timeout = session.connection_ref().config().timeouts.close;
        let clock = pace.clock;
        let (session, sender) = session.split();
        let wakers = Arc::<Wakers>::default();
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner { wire, sender, closing: None, ping_left: false }),
            closing: AtomicBool::new(false),
            both: Waker::from(Arc::clone(&wakers)),
            wakers,
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
            ready!(self.wire.poll_flush(cx)).map_err(Error::Lost)?;
            if self.wire.is_stuck() {
                return Poll::Ready(Err(lost()));
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
