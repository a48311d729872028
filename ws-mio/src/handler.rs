//! The trait that an application implements: one value per loop, called with that loop's events.

use std::any::Any;
use std::io;
use std::net::SocketAddr;

use ws_core::{CloseFrame, Event, Instant, Message, Part, Prepared, Request};

use crate::connect::{Answer, ConnectError};
use crate::error::Error;
use crate::later::Decision;
use crate::link::Link;
use crate::remote::{ConnId, Remote};
use crate::reply::Reply;
use crate::topics::{Published, TopicError, Topics};

/// The application's side of a loop: its callbacks. All of them are called on the loop's thread and must not block.
///
/// ```
/// use ws_mio::core::Event;
/// use ws_mio::{Acceptance, Handler, Peer, Refusal, Visitor};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type State = ();
///
///     fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
///         Ok(Acceptance::default())
///     }
///
///     fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
///         let _ = match event {
///             Event::Text(text) => peer.send(text),
///             Event::Binary(bytes) => peer.send(&*bytes),
///             _ => Ok(()),
///         };
///     }
/// }
/// ```
pub trait Handler {
    /// The application's state of each connection; `()` takes no memory.
    type State;

    /// Answers a well-formed request for a WebSocket. Whether its path and its origin are acceptable is for you to judge.
    /// By default every request gets 404, which suits a program that is only a client.
    ///
    /// # Errors
    /// The refusal that the client gets.
    fn request(&mut self, _visitor: &Visitor<'_>) -> Result<Acceptance<Self::State>, Refusal> {
        Err(Refusal::new(404, "there is no WebSocket here\n"))
    }

    /// Answers a request like [`request`](Self::request), which it calls by default, or says that the answer comes
    /// [later](Decision::Later).
    fn decide(&mut self, visitor: &Visitor<'_>) -> Decision<Self::State> {
        self.request(visitor).into()
    }

    /// A client whose answer was to come [later](Decision::Later) is gone: it did not wait, or there was no answer in time.
    /// Called once, if no answer was given before. By default it calls [`failed`](Self::failed).
    fn left(&mut self, _id: ConnId, error: Error) {
        self.failed(error);
    }

    /// A connection is open. What is sent here leaves with the 101.
    fn open(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// An event of the connection, such as a message: a view of the loop's buffer. What is sent in answer is encoded at
    /// once, and all answers to what arrived together leave in one write.
    ///
    /// Pings and close frames are answered without your help.
    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Self::State>);

    /// The connection was [woken](Remote::waker). Called once for all calls of the waker before it.
    fn woken(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// Output has to wait because the peer does not read. [`Peer::stalled_since`] says since when. The connection is given
    /// up after [`Timeouts::write`](ws_core::Timeouts::write); sooner, if you [abort](Peer::abort) it.
    fn stalled(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// All output that had to wait has left: there is room for more.
    fn drained(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// The time at which [`tick`](Self::tick) is to be called for a connection; asked after every call that concerned it.
    fn deadline(&self, _state: &Self::State) -> Option<Instant> {
        None
    }

    /// The [deadline](Self::deadline) has passed, usually by no more than 20 ms.
    fn tick(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// Turns what came with a connection from [elsewhere](Remote::adopt), or with an [answer](Remote::answer) to a request,
    /// into its state. Then the connection is [opened](Self::open). `None`: it is dropped.
    fn adopt(&mut self, _state: Box<dyn Any + Send>) -> Option<Self::State> {
        None
    }

    /// A connection is over: `Ok` after a clean close. Called once for each connection that was opened or
    /// [adopted](Self::adopt), as soon as nothing more can be sent or received; the loop itself waits for the peer to end
    /// the transport.
    fn closed(&mut self, _id: ConnId, _state: Self::State, _end: Result<(), Error>) {}

    /// A connection ended before it was opened: no request in time, or one that was malformed or refused.
    fn failed(&mut self, _error: Error) {}

    /// A server has agreed to a request of [`Remote::connect`]. Returns the connection's state, and it is
    /// [opened](Self::open); `None`: it is no longer wanted, and closed.
    fn connected(&mut self, _answer: &Answer<'_>) -> Option<Self::State> {
        None
    }

    /// A request of [`Remote::connect`] with this [tag](crate::Connect::tag) has failed.
    fn not_connected(&mut self, _tag: u64, _error: ConnectError) {}

    /// The system has no room for another connection, mostly for want of descriptors. Nothing is accepted for 100 ms.
    fn accept_failed(&mut self, _error: io::Error) {}
}

/// A request for a WebSocket, and the client that sent it.
#[derive(Debug)]
pub struct Visitor<'a> {
    pub(crate) id: ConnId,
    pub(crate) request: Request<'a>,
    pub(crate) link: &'a Link,
    #[cfg(feature = "deflate")]
    pub(crate) config: &'a ws_core::Config,
}

impl<'a> Visitor<'a> {
    /// The id that the connection will have.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The request.
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// The TLS connection, if the server has TLS.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&rustls::Connection> {
        self.link.tls()
    }

    /// The client's address.
    ///
    /// # Errors
    /// The client has gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.link.peer_addr()
    }

    /// What an acceptance would agree on about permessage-deflate: as [`Settings::config`](crate::Settings::config) says, if
    /// the client offers it.
    #[cfg(feature = "deflate")]
    pub fn agreement(&self) -> Option<ws_core::deflate::Agreement> {
        Some(crate::deflate::accept(self.config, &self.request)?.0)
    }
}

/// The acceptance of a request.
#[derive(Clone, Debug, Default)]
pub struct Acceptance<D> {
    /// The state of the connection.
    pub state: D,
    /// One of the subprotocols that the client offered.
    pub protocol: Option<String>,
    /// Header fields of the answer, such as `Set-Cookie`.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl<D> Acceptance<D> {
    /// A plain acceptance.
    pub fn new(state: D) -> Self {
        Self { state, protocol: None, headers: Vec::new() }
    }
}

/// The refusal of a request: by the application, or by a server that was asked to [connect](Remote::connect).
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status; the application's is 300 to 599.
    pub status: u16,
    /// Header fields, such as `WWW-Authenticate` or `Location`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Refusal {
    /// A refusal with this status and this text.
    pub fn new(status: u16, text: &str) -> Self {
        let headers = vec![("Content-Type".to_owned(), b"text/plain; charset=utf-8".to_vec())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }
}

/// A connection during a callback, to send on it and to control it.
#[derive(Debug)]
pub struct Peer<'a, D> {
    pub(crate) reply: Reply<'a, Link>,
    pub(crate) id: ConnId,
    /// Its state, which came with its [acceptance](Acceptance::state).
    pub state: &'a mut D,
    pub(crate) remote: &'a Remote,
    pub(crate) topics: &'a mut Topics,
}

impl<D> Peer<'_, D> {
    /// Its id, by which it can be reached from elsewhere.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The handle to other connections, also on this loop: those get what is sent before the loop waits again.
    pub fn remote(&self) -> &Remote {
        self.remote
    }

    /// The peer's address.
    ///
    /// # Errors
    /// The peer has gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.reply.wire.io.peer_addr()
    }

    /// Sends a message; see [`Reply::send`].
    ///
    /// # Errors
    /// As for [`Reply::send`].
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.catch_up();
        self.reply.send(message)
    }

    /// Sends a part of a message; see [`Reply::send_part`].
    ///
    /// # Errors
    /// As for [`Reply::send_part`].
    pub fn send_part<'m>(&mut self, message: impl Into<Message<'m>>, part: Part) -> Result<(), Error> {
        self.catch_up();
        self.reply.send_part(message, part)
    }

    /// Sends a message that was prepared for many; see [`Reply::send_prepared`].
    ///
    /// # Errors
    /// As for [`Reply::send_prepared`].
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.catch_up();
        self.reply.send_prepared(prepared)
    }

    /// Sets which messages are compressed from now on; see [`Reply::set_compress`].
    #[cfg(feature = "deflate")]
    pub fn set_compress(&mut self, compress: ws_core::deflate::Compress) {
        self.reply.set_compress(compress);
    }

    /// Queues a ping; see [`Reply::ping`].
    ///
    /// # Errors
    /// As for [`Reply::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.catch_up();
        self.reply.ping(payload)
    }

    /// Queues our close frame; see [`Reply::close`].
    ///
    /// # Errors
    /// As for [`Reply::close`].
    pub fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Error> {
        self.catch_up();
        self.reply.close(frame)
    }

    /// The number of bytes that wait for the peer to read.
    pub fn queued(&self) -> usize {
        self.reply.queued()
    }

    /// Makes it a member of a topic: it gets what is published from now on. A topic exists as long as it has members. Its
    /// name is any text of at most [`MAX_TOPIC`](crate::MAX_TOPIC) bytes, compared byte by byte.
    ///
    /// A connection leaves all its topics when it ends, or begins to.
    ///
    /// Returns `true` if it was not a member before.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] and [`TopicError::TooMany`].
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, TopicError> {
        self.topics.subscribe(self.id.slot, topic)
    }

    /// Ends its membership of a topic: what was published before still comes. Returns whether it was a member.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.topics.unsubscribe(self.id.slot, topic)
    }

    /// The names of its topics, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.names(self.id.slot)
    }

    /// Publishes a message to all other members of a topic, on all loops; it need not be a member itself.
    ///
    /// All members on a loop get a topic's messages in the same order, which is that of the calls, also relative to what is
    /// sent to one of them alone. What is published in a turn of the loop leaves at its end, in one write per member, or as
    /// soon as there are 64 KiB of it. The message is framed once, and compressed at most once for each window in use.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] and [`TopicError::Full`].
    pub fn publish<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<Published, TopicError> {
        self.topics.publish(&self.remote.inboxes, self.id.slot, topic, message.into(), None)
    }

    /// Publishes a message to all members of a topic, including this connection if it is one; otherwise as
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub fn publish_to_all<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<Published, TopicError> {
        let own = Some(&mut self.reply);
        self.topics.publish(&self.remote.inboxes, self.id.slot, topic, message.into(), own)
    }

    /// What was published to it before goes before what is sent on it.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        self.topics.catch_up(self.id.slot, &mut self.reply);
    }
}
