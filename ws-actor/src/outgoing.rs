//! What a program gives to be sent, and what a message becomes on its way to many connections.
//!
//! A [`Frame`] is made once for a broadcast; its clones share the payload, so a member costs a reference count and a
//! place in a queue. The 2 to 10 bytes of a head (RFC 6455, section 5.2) come from each connection's own core: it
//! knows whether a message may go now, and whether it has to be masked.
//!
//! What is compressed is made when the first connection that compresses has it to write ([`Many::prepared`]), and then
//! at most once for each window (RFC 7692, section 7.2.1). Queueing a message never compresses it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_core::Serialize;
use ws_core::frame::{Header, MAX_CONTROL, Opcode};
use ws_core::{Kind, Part, Prepared};

use crate::codec::EncodeError;
use crate::envelope::Envelope;
use crate::event::{CloseFrame, Message};
use crate::supervise::drop_contained;

/// A message to be sent: anything that is [`Into<Outgoing>`], such as `&str`, `String`, [`Bytes`], [`Message`].
///
/// With [`Outgoing::keyed`] it replaces what waits under the same key, where a connection's outbox keeps the
/// latest of each key ([`Overflow::Conflate`](crate::Overflow::Conflate)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub(crate) message: Message,
    pub(crate) key: Option<Arc<str>>,
    topic: Option<Arc<str>>,
    is_json: bool,
}

impl Outgoing {
    /// A message of which only the latest under this `key` matters: a price, a position, a state.
    pub fn keyed(key: impl Into<Arc<str>>, message: impl Into<Message>) -> Self {
        Self { key: Some(key.into()), ..Self::from(message) }
    }

    /// A value as JSON, in a text message. In an envelope it stands as it is, not as a string.
    ///
    /// # Errors
    /// The value has no JSON: a map whose keys are not strings, or a serializer of its own that fails.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let text = serde_json::to_string(value).map_err(EncodeError::new)?;
        Ok(Self { is_json: true, ..Self::from(text) })
    }

    /// Sets the topic, which clients with an envelope see ([`Relay::envelope`](crate::Relay::envelope)), and no
    /// others. Without one, it is that of the connection.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// The message itself.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The key that it is the latest message of.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl<M: Into<Message>> From<M> for Outgoing {
    fn from(message: M) -> Self {
        Self { message: message.into(), key: None, topic: None, is_json: false }
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
    /// Frames a message for one connection, or tells why no peer may be sent it.
    pub(crate) fn of(outgoing: Outgoing) -> Result<Self, ws_core::SendError> {
        Self::new(outgoing, |payload, kind, envelope| {
            let envelope = (!envelope.is_usual()).then(|| Arc::new(envelope));
            Frame(Form::Own(payload, kind, envelope))
        })
    }

    /// The same for many connections, which share what is made of it.
    pub(crate) fn for_many(
        outgoing: Outgoing,
        tally: Option<&Arc<Tally>>,
    ) -> Result<Self, ws_core::SendError> {
        Self::new(outgoing, |payload, kind, envelope| {
            Frame(Form::Many(Arc::new(Many::new(payload, kind, envelope, tally.cloned()))))
        })
    }

    fn new(
        Outgoing { message, key, topic, is_json }: Outgoing,
        frame: impl FnOnce(Payload, Kind, Envelope) -> Frame,
    ) -> Result<Self, ws_core::SendError> {
        let envelope = Envelope { topic, is_json };
        Ok(match message {
            Message::Text(text) => Self::Data(frame(text.into_bytes().into(), Kind::Text, envelope), key),
            Message::Binary(bytes) => Self::Data(frame(bytes.into(), Kind::Binary, envelope), key),
            // 5.5: control frames "MUST have a payload length of 125 bytes or less".
            Message::Ping(bytes) | Message::Pong(bytes) if bytes.len() > MAX_CONTROL => {
                return Err(ws_core::SendError::ControlTooLong);
            }
            Message::Ping(bytes) => Self::Control(Control::Ping(bytes.into())),
            Message::Pong(bytes) => Self::Control(Control::Pong(bytes.into())),
            Message::Close(frame) => {
                if let Some(frame) = &frame {
                    frame.borrow().check()?;
                }
                Self::Close(frame)
            }
        })
    }
}

/// The application's bytes, whose owner's destructor (`Bytes::from_owner`) may panic and harm nobody: the thread that lets
/// go of them last may have other things to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload(Bytes);

impl Deref for Payload {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut Bytes {
        &mut self.0
    }
}

impl<B: Into<Bytes>> From<B> for Payload {
    fn from(bytes: B) -> Self {
        Self(bytes.into())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        drop_contained(std::mem::take(&mut self.0));
    }
}

/// A control frame that does not end the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Ping(Payload),
    Pong(Payload),
}

/// A whole message to be framed by each connection's core.
#[derive(Clone, Debug)]
pub(crate) struct Frame(Form);

#[derive(Clone, Debug)]
enum Form {
    /// With what goes around it for a client that wants an envelope, if it is not the usual.
    Own(Payload, Kind, Option<Arc<Envelope>>),
    Many(Arc<Many>),
}

/// A message for many connections.
#[derive(Debug)]
pub(crate) struct Many {
    payload: Payload,
    kind: Kind,
    /// The room that it came from.
    tally: Option<Arc<Tally>>,
    prepared: OnceLock<Prepared>,
    envelope: Envelope,
    /// Shared by the connections that want an envelope.
    enveloped: OnceLock<Frame>,
}

/// What has become of messages for many.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Many {
    fn new(payload: Payload, kind: Kind, envelope: Envelope, tally: Option<Arc<Tally>>) -> Self {
        let (prepared, enveloped) = (OnceLock::new(), OnceLock::new());
        Self { payload, kind, tally, prepared, envelope, enveloped }
    }

    /// Shared by the connections that compress it.
    pub(crate) fn prepared(&self) -> &Prepared {
        self.prepared.get_or_init(|| {
            Prepared::new(match self.kind {
                // Checked when it became a message; a lossless walk over ASCII for the most part.
                Kind::Text => match std::str::from_utf8(&self.payload) {
                    Ok(text) => ws_core::Message::Text(text),
                    Err(_) => ws_core::Message::Binary(&self.payload),
                },
                Kind::Binary => ws_core::Message::Binary(&self.payload),
            })
        })
    }
}

impl Frame {
    /// The same in its envelope; `default` is the topic of those that have none.
    pub(crate) fn enveloped(&self, default: impl FnOnce() -> Arc<str>) -> Self {
        match &self.0 {
            Form::Own(payload, kind, envelope) => {
                let envelope = envelope.as_deref().cloned().unwrap_or_default();
                let topic = envelope.topic.clone().unwrap_or_else(default);
                let text = envelope.around(&topic, *kind, payload).into_bytes();
                Self(Form::Own(text.into(), Kind::Text, None))
            }
            Form::Many(many) => {
                let make = |topic: &str| {
                    let text = many.envelope.around(topic, many.kind, &many.payload).into_bytes();
                    let made = Many::new(text.into(), Kind::Text, Envelope::default(), many.tally.clone());
                    Self(Form::Many(Arc::new(made)))
                };
                match &many.envelope.topic {
                    Some(topic) => many.enveloped.get_or_init(|| make(topic)).clone(),
                    None => make(&default()),
                }
            }
        }
    }

    pub(crate) fn payload(&self) -> &Bytes {
        match &self.0 {
            Form::Own(payload, ..) => payload,
            Form::Many(many) => &many.payload,
        }
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.payload().len()
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.0 {
            Form::Own(_, kind, _) => *kind,
            Form::Many(many) => many.kind,
        }
    }

    /// What it shares with other connections, if it is for many.
    pub(crate) fn many(&self) -> Option<&Many> {
        match &self.0 {
            Form::Own(..) => None,
            Form::Many(many) => Some(many),
        }
    }

    /// It was accepted by a connection that will not write it.
    pub(crate) fn note_dropped(&self) {
        if let Some(tally) = self.many().and_then(|many| many.tally.as_ref()) {
            tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How much of the message goes into its next frame, at most `most` bytes; a text is cut between two characters.
    pub(crate) fn next_part(&self, sent: usize, most: usize) -> (usize, Part) {
        let rest = &self.payload()[sent..];
        let mut len = rest.len().min(most);
        if self.kind() == Kind::Text && len < rest.len() {
            // A character's first byte is none of 10xxxxxx.
            let back = rest[..=len].iter().rev().take_while(|byte| **byte & 0xC0 == 0x80).count();
            len -= back.min(3);
        }
        let part = match (sent == 0, len == rest.len()) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, true) => Part::Last,
            (false, false) => Part::Middle,
        };
        (len, part)
    }

    /// Bytes on the wire of a server that does not compress, which are what a queue is charged for it.
    pub(crate) fn len(&self) -> usize {
        let len = self.payload_len();
        Header::len_for(len as u64, false) + len
    }
}

/// What is left of a frame that many share, and that leaves in parts.
#[derive(Debug)]
pub(crate) struct Shared {
    header: Header,
    payload: Bytes,
}

impl Shared {
    /// A frame that a connection's core has counted as sent.
    pub(crate) fn new(prepared: &Prepared, frame: &[u8]) -> Option<Self> {
        let (header, at) = Header::decode(frame).ok()??;
        let payload = Bytes::from_owner(prepared.hold(frame)?).split_off(at);
        Some(Self { header, payload })
    }

    /// The next frame of at most so many bytes, and what is left then.
    pub(crate) fn cut(self, most: usize) -> (Header, Bytes, Option<Self>) {
        let Self { header, mut payload } = self;
        let len = payload.len().min(most);
        let rest = payload.split_off(len);
        let first = Header { fin: rest.is_empty(), len: len as u64, ..header };
        // RFC 7692, 6: the bit is set on the first frame of the message only.
        let header = Header { rsv: 0, opcode: Opcode::Continuation, ..header };
        (first, payload, (!rest.is_empty()).then_some(Self { header, payload: rest }))
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.payload() == other.payload()
    }
}

impl Eq for Frame {}
