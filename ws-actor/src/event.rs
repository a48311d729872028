//! What an actor is told: [`Connect`], then [`Inbound`] messages, then [`Disconnect`], once each and in this order
//! for every connection; and the [`Message`] that goes either way.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ws_core::{CloseCode, Part, Role, Timer, Utf8, Violation};

use crate::id::ConnId;
use crate::meta::Meta;
use crate::path::Params;

/// A message, or a control frame to be sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(Utf8),
    /// Any bytes.
    Binary(Bytes),
    /// A request for a sign of life, of at most 125 bytes. Connections ping by themselves; this is one more.
    Ping(Bytes),
    /// An unsolicited pong, of at most 125 bytes. A peer's pings are answered without it.
    Pong(Bytes),
    /// The end, behind all that was sent before it; `None` gives no code.
    Close(Option<CloseFrame>),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Utf8>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The text of a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Message {
    /// Whether it is not a control frame.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// The length of its payload, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Close(_) => 0,
        }
    }
}

/// The kind and the length: a payload does not belong in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} B)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} B)", bytes.len()),
            Self::Ping(bytes) => write!(f, "Ping({} B)", bytes.len()),
            Self::Pong(bytes) => write!(f, "Pong({} B)", bytes.len()),
            Self::Close(frame) => f.debug_tuple("Close").field(frame).finish(),
        }
    }
}

macro_rules! message_from {
    ($($from:ty => $kind:ident,)*) => {$(
        impl From<$from> for Message {
            fn from(payload: $from) -> Self {
                Self::$kind(payload.into())
            }
        }
    )*};
}

message_from! {
    &str => Text,
    String => Text,
    Utf8 => Text,
    Vec<u8> => Binary,
    Bytes => Binary,
}

impl From<CloseFrame> for Message {
    fn from(frame: CloseFrame) -> Self {
        Self::Close(Some(frame))
    }
}

/// The content of a close frame: a code, and a reason for logs (at most 123 bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the connection ends.
    pub code: CloseCode,
    /// The same in words; often empty.
    pub reason: Utf8,
}

impl CloseFrame {
    /// A close frame with this code and reason; sending it fails if they may not travel.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<Utf8>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }

    pub(crate) const SLOW_CONSUMER: Self =
        Self::fixed(CloseCode::TRY_AGAIN, "messages were taken too slowly");
    pub(crate) const TARGET_BUSY: Self = Self::fixed(CloseCode::TRY_AGAIN, "the service is busy");
    pub(crate) const TARGET_DOWN: Self = Self::fixed(CloseCode::INTERNAL, "the service ended");
    pub(crate) const TARGET_FAILED: Self = Self::fixed(CloseCode::INTERNAL, "the service failed");

    const fn fixed(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason: Utf8::from_static(reason) }
    }

    /// The same, borrowed.
    pub fn borrow(&self) -> ws_core::CloseFrame<'_> {
        ws_core::CloseFrame::new(self.code, &self.reason)
    }
}

impl From<ws_core::CloseFrame<'_>> for CloseFrame {
    fn from(frame: ws_core::CloseFrame<'_>) -> Self {
        Self::new(frame.code, frame.reason)
    }
}

/// A connection is open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connect {
    /// Its id, for replies and for later.
    pub id: ConnId,
    /// Which side this program is on: a server's, or a client's that was dialled ([`Hub::dial`](crate::Hub::dial)).
    pub role: Role,
    /// The peer's end of the socket. Behind a proxy this is the proxy.
    pub remote_addr: SocketAddr,
    /// This end of the socket.
    pub local_addr: SocketAddr,
    /// The path that the client asked for, as sent.
    pub path: Arc<str>,
    /// The values of the parameters in the route's path, decoded.
    pub params: Params,
    /// The query: what followed the path's question mark, as sent; empty if there was none.
    pub query: Arc<str>,
    /// The subprotocol, if one was agreed upon.
    pub subprotocol: Option<Arc<str>>,
    /// The user of the connection, if the decision named one ([`Relay::user`](crate::Relay::user)).
    pub user: Option<Arc<str>>,
    /// The topic that its messages come under.
    pub topic: Arc<str>,
    /// The values that go with it.
    pub meta: Meta,
    /// The connection is not new: an actor of this name had it, failed, and has been made again
    /// ([`Recovery::Restart`](crate::Recovery::Restart)).
    pub restarted: bool,
}

/// A message has arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inbound {
    /// The connection that it came from.
    pub id: ConnId,
    /// The topic of this connection when the message came ([`Relay::topic`](crate::Relay::topic)).
    pub topic: Arc<str>,
    /// The message: text or binary. On a route that asks for
    /// [control frames](crate::Route::control_frames), also a ping, a pong or a close frame.
    pub message: Message,
    /// Which part of the message this is: [`Part::Whole`], except on a route that asks for parts
    /// ([`Route::in_parts`](crate::Route::in_parts)).
    pub part: Part,
}

/// A heartbeat: its interval has passed since the last one, or since the connection was opened. Asked for by
/// [`Relay::heartbeat`](crate::Relay::heartbeat).
///
/// It stands in line with the connection's messages. One that falls due while a message waits for the actor is left
/// out: the actor is behind, and will hear of the connection anyway.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Heartbeat {
    /// The connection's id.
    pub id: ConnId,
    /// How long the connection has been open.
    pub uptime: Duration,
    /// Messages that have come, whole.
    pub messages_in: u64,
    /// Messages that have gone from the outbox towards the socket.
    pub messages_out: u64,
    /// The bytes of the payloads that have come.
    pub bytes_in: u64,
    /// The bytes of the payloads that have gone.
    pub bytes_out: u64,
    /// Messages that wait in its outbox.
    pub queued: usize,
    /// The topic that its messages come under.
    pub topic: Arc<str>,
    /// The values that go with it.
    pub meta: Meta,
}

/// A connection is gone. No call about this id follows, and sends to it say `NotFound`. The exception is [`Reason::Moved`],
/// after which it is open and another actor has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnect {
    /// Its id.
    pub id: ConnId,
    /// How it ended.
    pub reason: Reason,
    /// The values that went with it.
    pub meta: Meta,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The peer closed, and said this.
    Peer(Option<CloseFrame>),
    /// This program closed it, and said this.
    Local(Option<CloseFrame>),
    /// The peer took messages too slowly: its outbox was full (1013 was sent), or its socket took no byte for the
    /// write timeout.
    SlowConsumer,
    /// The actor did not take this connection's messages for the mailbox timeout; 1013 was sent.
    TargetBusy,
    /// The actor ended; 1011 was sent.
    TargetDown,
    /// The actor failed in a call about this connection ([`Recovery::Close`](crate::Recovery::Close)); 1011 was sent.
    TargetFailed,
    /// The peer's messages came too fast ([`Limits::rate`](crate::Limits::rate)); 1008 was sent.
    OverRate,
    /// The program did not authenticate the connection in time
    /// ([`Limits::authenticate_within`](crate::Limits::authenticate_within)); 3502 was sent.
    Unauthenticated,
    /// Neither side said anything for too long ([`Limits::idle`](crate::Limits::idle)); 1001 was sent.
    Idle,
    /// It has not ended: it was moved to another actor ([`Hub::retarget`](crate::Hub::retarget)).
    Moved,
    /// The peer missed this deadline.
    Timeout(Timer),
    /// The peer broke this rule; its close code was sent.
    Protocol(Violation),
    /// The socket failed, or ended without a close frame (`UnexpectedEof`).
    Io(io::ErrorKind),
    /// The task that drove the connection was dropped, for example when the runtime shut down.
    Aborted,
}

impl Reason {
    pub(crate) const UNAUTHENTICATED: u16 = 3502;

    /// The close code of the end (RFC 6455, section 7.1.5): 1005 stands for a close frame without one, 1006 for an end
    /// without a close frame. [`Reason::Moved`], which is not an end, has 1005 too.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::Peer(frame) | Self::Local(frame) => {
                frame.as_ref().map_or(CloseCode::NO_STATUS, |frame| frame.code)
            }
            Self::SlowConsumer | Self::TargetBusy => CloseCode::TRY_AGAIN,
            Self::TargetDown | Self::TargetFailed => CloseCode::INTERNAL,
            Self::OverRate => CloseCode::POLICY,
            Self::Unauthenticated => Self::UNAUTHENTICATED.into(),
            Self::Idle => CloseCode::GOING_AWAY,
            Self::Moved => CloseCode::NO_STATUS,
            Self::Protocol(violation) => violation.close_code(),
            Self::Timeout(_) | Self::Io(_) | Self::Aborted => CloseCode::ABNORMAL,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(_) => write!(f, "the peer closed ({})", self.code()),
            Self::Local(_) => write!(f, "closed by this side ({})", self.code()),
            Self::SlowConsumer => f.write_str("the peer took messages too slowly"),
            Self::TargetBusy => f.write_str("the actor took messages too slowly"),
            Self::TargetDown => f.write_str("the actor ended"),
            Self::TargetFailed => f.write_str("the actor failed at it"),
            Self::OverRate => f.write_str("the peer's messages came too fast"),
            Self::Unauthenticated => f.write_str("authentication took too long"),
            Self::Idle => f.write_str("nothing was said for too long"),
            Self::Moved => f.write_str("moved to another actor"),
            Self::Timeout(timer) => timer.fmt(f),
            Self::Protocol(violation) => violation.fmt(f),
            Self::Io(kind) => kind.fmt(f),
            Self::Aborted => f.write_str("the connection's task was dropped"),
        }
    }
}

/// Everything that an actor gets of a connection, as one type ([`Target::from_fn`](crate::Target::from_fn)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It is open.
    Connect(Box<Connect>),
    /// It has a message.
    Message(Inbound),
    /// A heartbeat is due.
    Heartbeat(Box<Heartbeat>),
    /// It is gone.
    Disconnect(Disconnect),
}

impl Event {
    /// What a mailbox is charged for it, in bytes.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Connect(connect) => size_of::<Connect>() + connect.path.len() + connect.query.len(),
                Self::Message(Inbound { message, .. }) => message.len(),
                Self::Heartbeat(_) => size_of::<Heartbeat>(),
                Self::Disconnect(_) => 0,
            }
    }
}
