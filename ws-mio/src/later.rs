//! Answers to requests that are not known at once: a token is looked up, another service is asked.
//!
//! Nothing may block a loop. So a handler may say [later](Decision::Later), and any thread gives the answer
//! ([`Remote::answer`]); the loop goes on with its other connections. Meanwhile the client's early bytes are kept,
//! within the bound of HS-32, so that its leaving is noticed; and it waits for at most
//! [`Timeouts::handshake`](ws_core::Timeouts::handshake).

use std::any::Any;
use std::fmt;
use std::io::ErrorKind;

use ws_core::handshake::MAX_EARLY_BYTES;
use ws_core::{Instant, Timer};

use crate::buffers::Buffers;
use crate::error::Error;
use crate::handler::{Acceptance, Refusal};
use crate::remote::{ConnId, Remote, RemoteError};
use crate::socket::Socket;
use crate::stream::Stream;

/// A [`Handler`](crate::Handler)'s answer to a request: now, or later.
///
/// ```
/// use ws_mio::core::Event;
/// use ws_mio::{Acceptance, ConnId, Decision, Error, Handler, Peer, Refusal, Remote, Visitor};
///
/// struct Guarded {
///     remote: Remote, // of Server::remote
/// }
///
/// impl Handler for Guarded {
///     /// The user's name.
///     type State = String;
///
///     fn decide(&mut self, visitor: &Visitor<'_>) -> Decision<String> {
///         let Some(token) = visitor.request().field("authorization") else {
///             return Decision::Reject(Refusal::new(401, "who are you?\n"));
///         };
///         // The request is borrowed: what the decision needs is copied.
///         let (id, token, remote) = (visitor.id(), token.to_vec(), self.remote.clone());
///         std::thread::spawn(move || {
///             let answer = match look_up(&token) {
///                 Some(user) => Ok(Acceptance::new(user)),
///                 None => Err(Refusal::new(403, "not you\n")),
///             };
///             let _ = remote.answer(id, answer);
///         });
///         Decision::Later
///     }
///
///     /// What comes with an answer is `Any`.
///     fn adopt(&mut self, state: Box<dyn std::any::Any + Send>) -> Option<String> {
///         state.downcast().ok().map(|user| *user)
///     }
///
///     /// The client did not wait, or it took too long: whatever looks for an answer may stop.
///     fn left(&mut self, _id: ConnId, error: Error) {
///         eprintln!("{error}");
///     }
///
///     fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, String>) {
///         if let Event::Text(text) = event {
///             let _ = peer.send(format!("{}: {text}", peer.state).as_str());
///         }
///     }
/// }
///
/// # fn look_up(_: &[u8]) -> Option<String> { None }
/// ```
#[derive(Clone, Debug)]
pub enum Decision<D> {
    /// The connection is opened.
    Accept(Acceptance<D>),
    /// The request is refused.
    Reject(Refusal),
    /// The answer comes by [`Remote::answer`]. If there is none within
    /// [`Timeouts::handshake`](ws_core::Timeouts::handshake) from now, the client gets 503.
    Later,
}

impl<D> From<Result<Acceptance<D>, Refusal>> for Decision<D> {
    fn from(answer: Result<Acceptance<D>, Refusal>) -> Self {
        match answer {
            Ok(acceptance) => Self::Accept(acceptance),
            Err(refusal) => Self::Reject(refusal),
        }
    }
}

/// An answer on its way to a loop.
pub(crate) struct Answered {
    pub(crate) id: ConnId,
    pub(crate) answer: Result<Acceptance<Box<dyn Any + Send>>, Refusal>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Answered {
    /// Its memory, in bytes, without what the application's state refers to.
    pub(crate) fn size(&self) -> usize {
        let (headers, rest) = match &self.answer {
            Ok(Acceptance { headers, protocol, .. }) => {
                (headers, protocol.as_ref().map_or(0, String::capacity))
            }
            Err(Refusal { headers, body, .. }) => (headers, body.capacity()),
        };
        let each = size_of::<(String, Vec<u8>)>();
        let headers = headers.iter().map(|(name, value)| name.capacity() + value.capacity() + each);
        size_of::<Self>() + rest + headers.sum::<usize>()
    }
}

impl Remote {
    /// Answers a request to which a handler said [later](Decision::Later), from any thread, or from another connection's
    /// callback, without blocking.
    ///
    /// [`Handler::adopt`](crate::Handler::adopt) turns the state of an acceptance into that of the connection (if it does
    /// not, the client gets 500); then the connection is [opened](crate::Handler::open). The first answer counts. One that
    /// comes too late is dropped with its state: [`Handler::left`](crate::Handler::left) was called before.
    ///
    /// What this thread [sends](Self::send) after an acceptance comes after it, and so does a [close](Self::close). Towards
    /// [`Settings::max_inbox`](crate::Settings::max_inbox) an answer counts with its headers and its body, but not with what
    /// its state refers to: the application bounds that.
    ///
    /// # Errors
    /// [`RemoteError::Full`] and [`RemoteError::Stopped`]; nothing is answered then.
    pub fn answer<D: Any + Send>(
        &self,
        id: ConnId,
        answer: Result<Acceptance<D>, Refusal>,
    ) -> Result<(), RemoteError> {
        let answer = answer.map(|Acceptance { state, protocol, headers }| {
            let state: Box<dyn Any + Send> = Box::new(state);
            Acceptance { state, protocol, headers }
        });
        let mut answered = Some(Answered { id, answer });
        // Dropped, if it is, outside of the lock: its drop may do anything.
        let result = self.inbox(id)?.answer(&mut answered);
        drop(answered);
        result
    }
}

/// What is done while an answer is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// Nothing was put off.
    Ask,
    Read,
    Wait,
    Gone,
}

impl<S: Stream> Socket<S> {
    /// The answer to the request comes later: by [`agree`](Self::agree), for example, and then [`proceed`](Self::proceed).
    pub(crate) fn put_off(&mut self, now: Instant) {
        let within = self.session.connection_ref().config().timeouts.handshake;
        if let Some(opening) = &mut self.opening {
            opening.put_off(now.saturating_add(within));
        }
    }

    /// What to do next about a request that is complete.
    pub(crate) fn meanwhile(&mut self) -> Meanwhile {
        let Some(opening) = self.opening.as_ref().filter(|opening| opening.decide_by.is_set()) else {
            return Meanwhile::Ask;
        };
        let is_full = opening.early() >= MAX_EARLY_BYTES;
        if self.errored && (is_full || !self.readable) {
            self.fail(Error::Lost(ErrorKind::ConnectionReset.into()));
            return Meanwhile::Gone;
        }
        match self.eof {
            true => Meanwhile::Gone,
            false if is_full => Meanwhile::Wait,
            false => Meanwhile::Read,
        }
    }

    /// Time has passed while an answer is looked for.
    pub(crate) fn tick_put_off(&mut self, buffers: &mut Buffers, now: Instant) {
        let due = self.opening.as_ref().and_then(|opening| opening.decide_by.get());
        if due.is_some_and(|due| due <= now) && self.request(now).is_some() {
            // The fault is ours, not the peer's: no 408.
            self.fail(Error::Timeout(Timer::Handshake));
            let text: [(&str, &[u8]); 1] = [("Content-Type", b"text/plain; charset=utf-8")];
            let _ = self.reject(buffers, now, 503, &text, b"no answer was found in time\n");
        }
    }
}
