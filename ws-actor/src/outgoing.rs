//! What a program gives to be sent, and what a message becomes on its way to many connections.
//!
//! A [`Frame`] is the head and the payload of a server's data frame (RFC 6455, section 5.2). It is built once; its
//! clones share the payload, so a broadcast costs each member a reference count and a place in a queue. A
//! connection that has to mask takes the payload and makes its own head.

use std::sync::Arc;

use bytes::Bytes;
use ws_core::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode};
use ws_core::{Kind, Utf8};

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
            Message::Text(text) => Self::Data(Frame::text(text), key),
            Message::Binary(bytes) => Self::Data(Frame::binary(bytes), key),
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

impl Control {
    pub(crate) fn payload(&self) -> &Bytes {
        match self {
            Self::Ping(bytes) | Self::Pong(bytes) => bytes,
        }
    }
}

/// A server has no masking key: 10 bytes are its longest head.
const MAX_HEAD: usize = MAX_HEADER - 4;

/// A whole message, framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    payload: Bytes,
    head: [u8; MAX_HEAD],
    head_len: u8,
    kind: Kind,
}

impl Frame {
    pub(crate) fn text(text: Utf8) -> Self {
        Self::new(Kind::Text, text.into_bytes())
    }

    pub(crate) fn binary(payload: Bytes) -> Self {
        Self::new(Kind::Binary, payload)
    }

    fn new(kind: Kind, payload: Bytes) -> Self {
        let opcode = match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        let header = Header { fin: true, rsv: 0, opcode, mask: None, len: payload.len() as u64 };
        let mut bytes = [0; MAX_HEADER];
        let head_len = header.encode(&mut bytes);
        let mut head = [0; MAX_HEAD];
        head[..head_len].copy_from_slice(&bytes[..head_len]);
        Self { payload, head, head_len: head_len as u8, kind }
    }

    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes on the wire, which are what a queue is charged for it.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len()
    }
}
