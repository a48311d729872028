//! What an application implements: one value for each loop, called with what happens there.

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

/// The application's side of a loop. Everything is called on the loop's thread, and nothing may wait there.
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
    /// What is kept with each connection; `()` takes no memory.
    type State;

    /// Somebody asks for a WebSocket, and the request is well-formed. Any path and any origin is for you to judge.
    /// Without this there is nothing to be found here, which is well for a program of clients alone.
    ///
    /// # Errors
    /// The refusal that he gets.
    fn request(&mut self, _visitor: &Visitor<'_>) -> Result<Acceptance<Self::State>, Refusal> {
        Err(Refusal::new(404, "there is no WebSocket here\n"))
    }

    /// As [`request`](Self::request), which it asks; for those whose answer may come [later](Decision::Later).
    fn decide(&mut self, visitor: &Visitor<'_>) -> Decision<Self::State> {
        self.request(visitor).into()
    }

    /// He who was told [later](Decision::Later) is gone: he did not wait, or no answer came in time. Told once, where none
    /// was given before. By default this is [`failed`](Self::failed).
    fn left(&mut self, _id: ConnId, error: Error) {
        self.failed(error);
    }

    /// A connection is open. What is sent here leaves with the 101.
    fn open(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// Something arrived. It is a view of the loop's buffer; what is sent in answer is encoded at once, and all answers to
    /// what came together leave in one write.
    ///
    /// Pings and close frames have their answers without your help.
    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Self::State>);

    /// Somebody has [woken](Remote::waker) it. Called once for any number of calls before it.
    fn woken(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// Output has to wait, because the peer does not read. How long is known ([`Peer::stalled_since`]), and for you to judge.
    fn stalled(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// Output that had to wait has left, all of it: there is room for more.
    fn drained(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// When [`tick`](Self::tick) is to be called for a connection; asked whenever something was done with it.
    fn deadline(&self, _state: &Self::State) -> Option<Instant> {
        None
    }

    /// The [deadline](Self::deadline) has passed, by up to 20 ms as a rule.
    fn tick(&mut self, _peer: &mut Peer<'_, Self::State>) {}

    /// Makes what is kept with a connection from what came with it from [elsewhere](Remote::adopt). It is
    /// [opened](Self::open) then. `None`: it is dropped. So is what comes with an [answer](Remote::answer) to a request.
    fn adopt(&mut self, _state: Box<dyn Any + Send>) -> Option<Self::State> {
        None
    }

    /// A connection is over: `Ok` after a clean close. Called once for each that was opened, as soon as nothing can be sent
    /// or received any more; the loop waits by itself for the peer to end the transport. So is one that was
    /// [adopted](Self::adopt), whether it came to be opened or not.
    fn closed(&mut self, _id: ConnId, _state: Self::State, _end: Result<(), Error>) {}

    /// A connection ended before it was one: no request in time, a broken or a refused one.
    fn failed(&mut self, _error: Error) {}

    /// A server has agreed to what [`Remote::connect`] asked for. Returns what is kept with the connection, which is
    /// [open](Self::open) then; `None`: it is not wanted any more, and closed.
    fn connected(&mut self, _answer: &Answer<'_>) -> Option<Self::State> {
        None
    }

    /// Nothing came of a connection that [`Remote::connect`] asked for, with this [tag](crate::Connect::tag).
    fn not_connected(&mut self, _tag: u64, _error: ConnectError) {}

    /// The system has no room for another connection, descriptors mostly. Nobody is let in for 100 ms.
    fn accept_failed(&mut self, _error: io::Error) {}
}

/// Who asks.
#[derive(Debug)]
pub struct Visitor<'a> {
    pub(crate) id: ConnId,
    pub(crate) request: Request<'a>,
    pub(crate) link: &'a Link,
    #[cfg(feature = "deflate")]
    pub(crate) config: &'a ws_core::Config,
}

impl<'a> Visitor<'a> {
    /// The name that the connection will have.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// What he sent.
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// What TLS knows of him, where the server speaks it.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&rustls::Connection> {
        self.link.tls()
    }

    /// Where he is.
    ///
    /// # Errors
    /// He has gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.link.peer_addr()
    }

    /// What a consent agrees to about permessage-deflate: as [`Settings::config`](crate::Settings::config) says, if he
    /// offers it.
    #[cfg(feature = "deflate")]
    pub fn agreement(&self) -> Option<ws_core::deflate::Agreement> {
        Some(crate::deflate::accept(self.config, &self.request)?.0)
    }
}

/// An application's consent.
#[derive(Clone, Debug, Default)]
pub struct Acceptance<D> {
    /// What is kept with the connection.
    pub state: D,
    /// One of the subprotocols that the client offered.
    pub protocol: Option<String>,
    /// Header fields of the answer, such as `Set-Cookie`.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl<D> Acceptance<D> {
    /// A plain consent.
    pub fn new(state: D) -> Self {
        Self { state, protocol: None, headers: Vec::new() }
    }
}

/// A refusal: the application's, or that of a server that was [asked](Remote::connect).
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

/// A connection in hand.
#[derive(Debug)]
pub struct Peer<'a, D> {
    pub(crate) reply: Reply<'a, Link>,
    pub(crate) id: ConnId,
    /// What was [accepted](Acceptance::state) for it.
    pub state: &'a mut D,
    pub(crate) remote: &'a Remote,
    pub(crate) topics: &'a mut Topics,
}

impl<D> Peer<'_, D> {
    /// Its name, by which it can be reached from elsewhere.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The way to other connections, of this loop too: they get it before the loop waits again.
    pub fn remote(&self) -> &Remote {
        self.remote
    }

    /// Where it leads.
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

    /// Which of the messages from now on are compressed; see [`Reply::set_compress`].
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

    /// Bytes that wait for the peer to read.
    pub fn queued(&self) -> usize {
        self.reply.queued()
    }

    /// Makes it a member of a topic: it gets what is published from now on. A topic is there as long as it has members,
    /// its name is any text of at most [`MAX_TOPIC`](crate::MAX_TOPIC) bytes, and names are compared byte by byte.
    ///
    /// A connection leaves all its topics when it ends, or begins to.
    ///
    /// Returns whether it was none before.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] and [`TopicError::TooMany`].
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, TopicError> {
        self.topics.subscribe(self.id.slot, topic)
    }

    /// Ends its membership, if it is a member: what was published before still comes. Returns whether it was.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.topics.unsubscribe(self.id.slot, topic)
    }

    /// The topics that it is in, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.names(self.id.slot)
    }

    /// Publishes a message to all other members of a topic, on all loops; it need not be one itself.
    ///
    /// All members of a loop get a topic's messages in the same order, and each gets them in the order of the calls,
    /// what it is sent for itself included. What is published in a turn of the loop leaves at its end, for each member in
    /// one write, or as soon as 64 KiB have come together. The message is framed once, and compressed at most once
    /// for each window in use.
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

    /// As [`publish`](Self::publish); if it is a member itself, it gets the message, too.
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

    /// What was published for it before goes before what it sends.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        self.topics.catch_up(self.id.slot, &mut self.reply);
    }
}
