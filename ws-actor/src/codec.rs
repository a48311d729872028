//! Typed messages: a [`Codec`] between what is on the wire and a program's own types, and what happens to messages that
//! it cannot read.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;
use ws_core::CloseCode;

use crate::actor::{Context, WsActor};
use crate::event::{CloseFrame, Inbound, Message};
use crate::hub::{Hub, SendError};
use crate::id::ConnId;
use crate::outgoing::Outgoing;
use crate::supervise::bounded;

/// Encodes and decodes a program's own types: [`Json`], or a codec of your own.
///
/// A binary one, for example:
///
/// ```
/// use ws_actor::{Codec, DecodeError, EncodeError, Message, Outgoing};
///
/// struct Point {
///     x: f32,
///     y: f32,
/// }
///
/// /// Two numbers of four bytes each, least significant first.
/// struct Points;
///
/// impl Codec for Points {
///     type In = Point;
///     type Out = Point;
///
///     fn decode(&self, message: &Message) -> Result<Point, DecodeError> {
///         let Message::Binary(bytes) = message else { return Err(DecodeError::WrongKind) };
///         let Some((x, y)) = bytes.split_first_chunk().filter(|(_, y)| y.len() == 4) else {
///             return Err(DecodeError::malformed(format_args!("{} bytes are no point", bytes.len())));
///         };
///         let y = y.try_into().map_err(DecodeError::malformed)?;
///         Ok(Point { x: f32::from_le_bytes(*x), y: f32::from_le_bytes(y) })
///     }
///
///     fn encode(&self, Point { x, y }: &Point) -> Result<Outgoing, EncodeError> {
///         Ok([x.to_le_bytes(), y.to_le_bytes()].concat().into())
///     }
/// }
/// # let point = Points.decode(&Message::binary(vec![0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
/// # assert_eq!((point.x, point.y), (1.0, 2.0));
/// # assert_eq!(Points.encode(&point).unwrap(), Message::binary(vec![0, 0, 128, 63, 0, 0, 0, 64]).into());
/// # assert!(Points.decode(&Message::binary(vec![0; 9])).is_err() && Points.decode(&Message::text("1 2")).is_err());
/// ```
pub trait Codec: Send + Sync + 'static {
    /// What clients say.
    type In;
    /// What they are told.
    type Out: ?Sized;

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] tells the cases.
    fn decode(&self, message: &Message) -> Result<Self::In, DecodeError>;

    /// Writes a message.
    ///
    /// # Errors
    /// The value cannot be written.
    fn encode(&self, value: &Self::Out) -> Result<Outgoing, EncodeError>;
}

/// Why a message was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is a text where there should be bytes, or the other way round.
    WrongKind,
    /// It is not what the codec reads; why, in words of at most 512 bytes.
    Malformed(String),
}

impl DecodeError {
    /// A [`DecodeError::Malformed`] with this reason.
    pub fn malformed(reason: impl fmt::Display) -> Self {
        Self::Malformed(bounded(&reason))
    }

    /// The code that RFC 6455, section 7.4.1, gives for it: 1003 is for "a type of data it cannot accept", 1007 for
    /// "data within a message that was not consistent with the type of the message".
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::WrongKind => CloseCode::UNSUPPORTED,
            Self::Malformed(_) => CloseCode::INVALID_DATA,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongKind => f.write_str("this kind of message is not understood"),
            Self::Malformed(reason) => write!(f, "the message is not understood: {}", reason.escape_debug()),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a value was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(String);

impl EncodeError {
    /// An error with this reason, of which 512 bytes are kept.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(bounded(&reason))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value cannot be sent: {}", self.0)
    }
}

impl std::error::Error for EncodeError {}

/// JSON as text messages: clients say `In` and are told `Out`.
pub struct Json<In, Out: ?Sized = In>(PhantomData<fn(&Out) -> In>);

impl<In, Out: ?Sized> Json<In, Out> {
    /// The codec; it has no state.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<In, Out: ?Sized> Default for Json<In, Out> {
    fn default() -> Self {
        Self::new()
    }
}

impl<In, Out: ?Sized> fmt::Debug for Json<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

impl<In: DeserializeOwned + 'static, Out: Serialize + ?Sized + 'static> Codec for Json<In, Out> {
    type In = In;
    type Out = Out;

    fn decode(&self, message: &Message) -> Result<In, DecodeError> {
        let text = message.as_text().ok_or(DecodeError::WrongKind)?;
        serde_json::from_str(text).map_err(DecodeError::malformed)
    }

    fn encode(&self, value: &Out) -> Result<Outgoing, EncodeError> {
        Outgoing::json(value)
    }
}

/// What happens to a message that a codec cannot read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDecodeError {
    /// Its connection is closed, behind what was sent before, with 1003 or 1007 ([`DecodeError::close_code`]).
    #[default]
    Close,
    /// It is counted, and dropped.
    Drop,
    /// The call fails ([`Context::fail`]): that is reported, and the actor's options decide.
    Fail,
}

/// A codec in use, with a policy for messages that it cannot read, and a count of them. A clone shares the codec and the
/// count.
///
/// It reads whole messages, and so is not for routes that give them [in parts](crate::Route::in_parts).
///
/// An actor keeps one, and asks it first:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use ws_actor::{Context, Inbound, Json, Typed, WsActor};
///
/// #[derive(Deserialize)]
/// #[serde(tag = "type", rename_all = "lowercase")]
/// enum Request {
///     Add { amount: i64 },
///     Show,
/// }
///
/// #[derive(Serialize)]
/// struct Sum {
///     sum: i64,
/// }
///
/// #[derive(Default)]
/// struct Adder {
///     wire: Typed<Json<Request, Sum>>,
///     sum: i64,
/// }
///
/// impl WsActor for Adder {
///     type Cast = ();
///
///     async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
///         let Some(request) = self.wire.accept(cx, &inbound) else { return };
///         match request {
///             Request::Add { amount } => self.sum += amount,
///             Request::Show => {
///                 let _ = self.wire.send(cx.hub(), inbound.id, &Sum { sum: self.sum });
///             }
///         }
///     }
/// }
/// ```
pub struct Typed<C> {
    codec: Arc<C>,
    on_error: OnDecodeError,
    failed: Arc<AtomicU64>,
}

impl<C: Codec> Typed<C> {
    /// A codec that closes connections that send what it cannot read.
    pub fn new(codec: C) -> Self {
        Self { codec: Arc::new(codec), on_error: OnDecodeError::Close, failed: Arc::default() }
    }

    /// Replaces the policy.
    #[must_use]
    pub fn on_error(mut self, policy: OnDecodeError) -> Self {
        self.on_error = policy;
        self
    }

    /// Reads what a client says; if that fails, the policy is applied and there is nothing left for the actor to do. Nor
    /// is there with control frames ([`Route::control_frames`](crate::Route::control_frames)), which are none of the codec's
    /// business.
    pub fn accept<A: WsActor>(&self, cx: &mut Context<A>, inbound: &Inbound) -> Option<C::In> {
        if !matches!(inbound.message, Message::Text(_) | Message::Binary(_)) {
            return None;
        }
        let error = match self.decode(inbound) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        match self.on_error {
            OnDecodeError::Close => {
                // What the codec says of the message is for logs.
                let reason = match error {
                    DecodeError::WrongKind => "this kind of message is not understood",
                    DecodeError::Malformed(_) => "the message is not understood",
                };
                // Refused when it is closing already.
                let _ = cx.close(inbound.id, CloseFrame::new(error.close_code(), reason));
            }
            OnDecodeError::Drop => {}
            OnDecodeError::Fail => cx.fail(error),
        }
        None
    }

    /// Reads what a client says, and tells the actor if that fails. The failure is counted; no policy is applied.
    ///
    /// # Errors
    /// Those of the codec.
    pub fn decode(&self, inbound: &Inbound) -> Result<C::In, DecodeError> {
        let decoded = self.codec.decode(&inbound.message);
        if decoded.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        decoded
    }

    /// Encodes a value for a client, for a room or for everybody.
    ///
    /// # Errors
    /// That of the codec.
    pub fn encode(&self, value: &C::Out) -> Result<Outgoing, EncodeError> {
        self.codec.encode(value)
    }

    /// Sends a value to a client, as [`Hub::send`] does.
    ///
    /// # Errors
    /// That of the codec, or as there.
    pub fn send(&self, hub: &Hub, to: ConnId, value: &C::Out) -> Result<(), TypedSendError> {
        let message = self.codec.encode(value).map_err(TypedSendError::Encode)?;
        hub.send(to, message).map_err(TypedSendError::Send)
    }

    /// How many messages could not be read.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl<C: Codec + Default> Default for Typed<C> {
    fn default() -> Self {
        Self::new(C::default())
    }
}

impl<C> Clone for Typed<C> {
    fn clone(&self) -> Self {
        Self { codec: Arc::clone(&self.codec), on_error: self.on_error, failed: Arc::clone(&self.failed) }
    }
}

impl<C> fmt::Debug for Typed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("on_error", &self.on_error)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Why a value was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypedSendError {
    /// It cannot be written.
    Encode(EncodeError),
    /// It was not accepted.
    Send(SendError),
}

impl fmt::Display for TypedSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TypedSendError {}
