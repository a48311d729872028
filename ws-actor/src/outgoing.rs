//! What a program gives to be sent, and what a message becomes on its way to many connections.
//!
//! A [`Frame`] is made once for a broadcast; its clones share the payload, so a member costs a reference count and a
//! place in a queue. The 2 to 10 bytes of a head (RFC 6455, section 5.2) come from each connection's own core: it
//! knows whether a message may go now, and whether it has to be masked.

use std::sync::Arc;

use bytes::Bytes;
use ws_core::Kind;
use ws_core::frame::{Header, MAX_CONTROL};

use crate::event::{CloseFrame, Message};

/// A message on its way out: anything that is [`Into<Outgoing>`], such as `&str`, `String`, [`Bytes`], [`Message`].
///
/// With [`Outgoing::keyed`] it replaces what waits under the same key, where a connection's outbox keeps the
/// latest of each key ([`Overflow::Conflate`](crate::Overflow::Conflate)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub(crate) message: Message,
    pub(crate) key: Option<Arc<str>>,
}

impl Outgoing {
    /// `message`, of which only the latest of this `key` matters: a price, a position, a state.
    pub fn keyed(key: impl Into<Arc<str>>, message: impl Into<Message>) -> Self {
        Self { message: message.into(), key: Some(key.into()) }
    }
}

impl<M: Into<Message>> From<M> for Outgoing {
    fn from(message: M) -> Self {
        Self { message: message.into(), key: None }
    }
}

/// An [`Outgoing`] sorted by the lane it takes.
#[derive(Debug)]
pub(crate) enum Lane {
    Data(Frame, Option<Arc<str>>),
    Control(Control),
    Close(Option<CloseFrame>),
}

impl Lane {
    /// Frames a message, or tells why no peer may be sent it.
    pub(crate) fn of(Outgoing { message, key }: Outgoing) -> Result<Self, ws_core::SendError> {
        Ok(match message {
            Message::Text(text) => Self::Data(Frame { payload: text.into_bytes(), kind: Kind::Text }, key),
            Message::Binary(bytes) => Self::Data(Frame { payload: bytes, kind: Kind::Binary }, key),
            // 5.5: control frames "MUST have a payload length of 125 bytes or less".
            Message::Ping(bytes) | Message::Pong(bytes) if bytes.len() > MAX_CONTROL => {
                return Err(ws_core::SendError::ControlTooLong);
            }
            Message::Ping(bytes) => Self::Control(Control::Ping(bytes)),
            Message::Pong(bytes) => Self::Control(Control::Pong(bytes)),
            Message::Close(frame) => {
                if let Some(frame) = &frame {
                    frame.borrow().check()?;
                }
                Self::Close(frame)
            }
        })
    }
}

/// A control frame that does not end the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Ping(Bytes),
    Pong(Bytes),
}

/// A whole message to be framed by each connection's core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    payload: Bytes,
    kind: Kind,
}

impl Frame {
    #[cfg(test)]
    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.payload.len()
    }

    pub(crate) fn into_payload(self) -> Bytes {
        self.payload
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes on the wire of a server, which are what a queue is charged for it.
    pub(crate) fn len(&self) -> usize {
        Header::len_for(self.payload.len() as u64, false) + self.payload.len()
    }
}
