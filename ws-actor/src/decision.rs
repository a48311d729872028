//! The accept decision: an owned view of the request ([`Upgrade`]) in, a [`Decision`] out, before any `101`.
//!
//! The decision may wait, for a database or for another service, so it owns what it looks at. It says where the
//! connection goes and what goes with it ([`Relay`]), or what the client is answered instead ([`Response`]). Nothing of
//! a [`Relay`] but the subprotocol reaches the client.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::meta::Meta;
use crate::target::{Pool, Target};
use crate::upgrade::Upgrade;

/// What becomes of an [`Upgrade`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// It becomes a connection, on these terms.
    Accept(Relay),
    /// It does not; the client is answered this, and the connection is closed.
    Reject(Response),
}

impl From<Relay> for Decision {
    fn from(relay: Relay) -> Self {
        Self::Accept(relay)
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Self::Reject(response)
    }
}

/// So that a decision can be written with `?`.
impl From<Result<Relay, Response>> for Decision {
    fn from(result: Result<Relay, Response>) -> Self {
        result.map_or_else(Self::Reject, Self::Accept)
    }
}

/// Where a connection goes and what goes with it, in a [`Decision`] or later ([`Hub::retarget`](crate::Hub::retarget)).
/// What is not set stays as it is: at first that is the route's actors, an empty topic, no values, no heartbeat, no
/// subprotocol.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    pub(crate) pool: Option<Pool>,
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) meta: Option<Meta>,
    pub(crate) heartbeat: Option<Option<Duration>>,
    pub(crate) subprotocol: Option<String>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) envelope: Option<bool>,
}

impl Relay {
    /// A relay that sets nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A relay to this actor: a [`Target`](crate::Target), the name of one, or the next one of a [`Pool`].
    pub fn to(target: impl Into<Pool>) -> Self {
        Self { pool: Some(target.into()), ..Self::default() }
    }

    /// Takes over all that the later relay sets. Actors are chosen before.
    pub(crate) fn merge(&mut self, later: Self) {
        self.topic = later.topic.or(self.topic.take());
        self.meta = later.meta.or(self.meta.take());
        self.heartbeat = later.heartbeat.or(self.heartbeat);
    }

    /// Keeps what it sets, and takes the rest from the other.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            pool: self.pool.or(other.pool),
            topic: self.topic.or(other.topic),
            meta: self.meta.or(other.meta),
            heartbeat: self.heartbeat.or(other.heartbeat),
            subprotocol: self.subprotocol.or(other.subprotocol),
            user: self.user.or(other.user),
            envelope: self.envelope.or(other.envelope),
        }
    }

    /// Sets the topic that each of the connection's messages comes under ([`Inbound::topic`](crate::Inbound::topic)).
    #[must_use]
    pub fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Sets the values that go with the connection, instead of those that it had.
    #[must_use]
    pub fn meta(mut self, meta: Meta) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Has the actor get a [`Heartbeat`](crate::Heartbeat) of the connection at this interval. Below a millisecond
    /// there is none.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = Some((every >= Duration::from_millis(1)).then_some(every));
        self
    }

    /// Turns heartbeats off.
    #[must_use]
    pub fn no_heartbeat(mut self) -> Self {
        self.heartbeat = Some(None);
        self
    }

    /// Sets the subprotocol: one of those that the client offers, otherwise it is answered 500. It matters only in a
    /// [`Decision`].
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Names the user of the connection, by anything that tells users apart. Counted by
    /// [`Limits::max_per_user`](crate::Limits::max_per_user): one too many is answered 503. It matters only in a
    /// [`Decision`]; [`Hub::authenticate`](crate::Hub::authenticate) names the user later.
    #[must_use]
    pub fn user(mut self, key: impl Into<Arc<str>>) -> Self {
        self.user = Some(key.into());
        self
    }

    /// Sets whether this client is sent `{"topic": …, "data": …}` instead of plain messages: always as text, with the
    /// topic of the message ([`Outgoing::topic`](crate::Outgoing::topic)) or else that of the connection, and as data a
    /// string, what [`Outgoing::json`](crate::Outgoing::json) was given, or the base64 of a binary message. What the
    /// client says is left as it is. It matters only in a [`Decision`]; by default it is as the route says
    /// ([`Route::envelope`](crate::Route::envelope)), which is off.
    #[must_use]
    pub fn envelope(mut self, on: bool) -> Self {
        self.envelope = Some(on);
        self
    }
}

macro_rules! relay_to {
    ($($target:ty),*) => {$(
        impl From<$target> for Relay {
            fn from(target: $target) -> Self {
                Self::to(target)
            }
        }
    )*};
}

relay_to!(Target, &Target, Pool, &str, String);

/// An answer instead of a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

impl Response {
    /// A response with a status, 300 to 599, and a body. One that may not be sent is answered 500 instead, and reported.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header field, such as `WWW-Authenticate` or `Location`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }
}

/// Without the body, which may be long.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        write!(f, "Response({}, {names:?}, {} B)", self.status, self.body.len())
    }
}

impl<B: Into<Bytes>> From<http::Response<B>> for Response {
    fn from(response: http::Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Self { status: parts.status.as_u16(), headers: fields.collect(), body: body.into() }
    }
}

impl From<Response> for ws_tokio::Refusal {
    fn from(Response { status, headers, body }: Response) -> Self {
        Self { status, headers, body: body.into() }
    }
}

/// The application's part in a decision.
pub(crate) type Decide = Box<dyn Fn(Upgrade) -> Deciding + Send + Sync>;
pub(crate) type Deciding = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// Waits for a decision; `None` if it panics. A panic concerns this one client, which gets an answer all the same.
pub(crate) async fn decided(decide: &Decide, upgrade: Upgrade) -> Option<Decision> {
    // What a panic leaves half done is dropped here and not looked at again.
    let mut deciding = catch_unwind(AssertUnwindSafe(|| decide(upgrade))).ok()?;
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| deciding.as_mut().poll(cx))) {
        Ok(Poll::Ready(decision)) => Poll::Ready(Some(decision)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}
