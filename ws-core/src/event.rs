//! Events that a connection reports, and messages that it is given to send.
//!
//! None of these enums is `#[non_exhaustive]`: a loop must handle every event and obey every [`Transport`], and the compiler
//! shows it what is missing.

use crate::close::CloseFrame;

/// An event: a message or control frame that arrived, as a view into the caller's buffer that ends with the next call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A whole text message.
    Text(&'b str),
    /// A whole binary message. The bytes are the caller's to change, for instance to mask a reply in place.
    Binary(&'b mut [u8]),
    /// A part of a message ([`Delivery::Chunks`](crate::Delivery::Chunks) only).
    Chunk(Chunk<'b>),
    /// A ping. A [`Connection`](crate::Connection) has queued the pong already, and nothing is to be done; of a split one
    /// the sending half does that, once it is handed the [`Reply`](crate::Reply).
    Ping(&'b [u8]),
    /// A pong, asked for or not.
    Pong(&'b [u8]),
    /// The peer's close frame. Its echo is queued as a pong is: by the connection, or by the [`Reply`](crate::Reply).
    Close(Closed<'b>),
}

/// A part of a message, as it arrived; parts of a text message are whole characters.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<'b> {
    /// The bytes.
    pub payload: Payload<'b>,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here. The last part may be empty.
    pub last: bool,
}

/// The payload of a [`Chunk`].
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'b> {
    /// Of a text message.
    Text(&'b str),
    /// Of a binary message.
    Binary(&'b mut [u8]),
}

impl Payload<'_> {
    /// The bytes of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// The peer's close frame, as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<'b> {
    /// What its close frame said; `None` when it had no body (code 1005 in APIs, RFC 6455, section 7.1.5).
    pub frame: Option<CloseFrame<'b>>,
    /// Whether it cut a fragmented message short, which is lost.
    pub interrupted: bool,
}

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Text or binary.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The bytes of either kind.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

#[cfg(feature = "alloc")]
impl<'a> From<&'a alloc::string::String> for Message<'a> {
    fn from(text: &'a alloc::string::String) -> Self {
        Self::Text(text)
    }
}

#[cfg(feature = "alloc")]
impl<'a> From<&'a alloc::vec::Vec<u8>> for Message<'a> {
    fn from(bytes: &'a alloc::vec::Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Which part of a message a frame is (RFC 6455, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first of several.
    First,
    /// One in the middle.
    Middle,
    /// The last of several.
    Last,
}

impl Part {
    /// Whether a message begins here.
    pub const fn is_first(self) -> bool {
        matches!(self, Self::Whole | Self::First)
    }

    /// Whether a message ends here.
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Whole | Self::Last)
    }
}

/// What the caller should do with the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Go on reading and writing.
    Open,
    /// Write what is pending, shut the writing side down, say so with `shut_down`, and go on reading until the end.
    ///
    /// A socket closed with unread input sends RST, which destroys the close frame on its way.
    Shutdown,
    /// Close it now.
    Close,
}
