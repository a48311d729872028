//! What goes wrong in an opening handshake. All of it is `Copy`, and names the section of the RFC it rests on.

use core::fmt;

/// One row a rule: its name, the status that answers it, its section, and the rule in a few words.
macro_rules! rules {
    (
        $(#[$type_doc:meta])* $type:ident { $($(#[$doc:meta])* $name:ident, $status:literal, $section:literal, $text:literal;)* }
        $($(#[$inner_doc:meta])* $outer:ident($inner:ident))?
    ) => {
        $(#[$type_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $type { $($(#[$doc])* $name,)* $($(#[$inner_doc])* $outer($inner),)? }

        impl $type {
            /// Every rule of this list, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The HTTP status that answers it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* $(Self::$outer(inner) => { let inner: $inner = inner; inner.status() })? }
            }

            /// The RFC and the section that have the rule.
            pub const fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)* $(Self::$outer(inner) => { let inner: $inner = inner; inner.section() })? }
            }

            /// The rule in a few words.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $text,)* $(Self::$outer(inner) => { let inner: $inner = inner; inner.reason() })? }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ({})", self.reason(), self.section())
            }
        }

        impl core::error::Error for $type {}
    };
}

rules! {
    /// A rule that the lines of a head break, a request's or a response's.
    HeadFault {
        /// A line that ends with LF alone.
        BareLf, 400, "RFC 9112, section 2.2", "line ends without CR";
        /// A CR without its LF.
        BareCr, 400, "RFC 9112, section 2.2", "CR without LF";
        /// A control byte in a value.
        Control, 400, "RFC 9110, section 5.5", "control byte in a field value";
        /// A line that begins with white space.
        ObsFold, 400, "RFC 9112, section 5.2", "line begins with white space";
        /// White space between a name and its colon.
        SpaceBeforeColon, 400, "RFC 9112, section 5.1", "white space before the colon";
        /// A name that is no token, or a line without a colon.
        FieldName, 400, "RFC 9110, section 5.1", "field name is not a token";
        /// A head longer than the limit.
        HeadTooLong, 431, "RFC 6585, section 5", "head too long";
        /// A field line longer than the limit.
        LineTooLong, 431, "RFC 6585, section 5", "field line too long";
        /// More fields than the limit.
        TooManyFields, 431, "RFC 6585, section 5", "too many fields";
    }
}

rules! {
    /// Why a server refuses what a client sent. Nothing more of that connection is parsed (RFC 9112, section 11.2).
    ///
    /// [`ServerHandshake::reject_as`](super::ServerHandshake::reject_as) writes the answer.
    Rejection {
        /// A request line that is not method, target and version with one space between.
        RequestLine, 400, "RFC 9112, section 3", "malformed request line";
        /// A method longer than any there is.
        MethodTooLong, 501, "RFC 9112, section 3", "method too long";
        /// A target longer than the limit.
        TargetTooLong, 414, "RFC 9112, section 3", "request target too long";
        /// A target in none of the forms that its method allows.
        Target, 400, "RFC 9112, section 3.2", "malformed request target";
        /// A version other than `HTTP/1.x`.
        HttpVersion, 505, "RFC 9110, section 15.6.6", "HTTP version not supported";
        /// No `Host`.
        HostMissing, 400, "RFC 9112, section 3.2", "missing Host";
        /// More than one `Host`.
        HostRepeated, 400, "RFC 9112, section 3.2", "repeated Host";
        /// A `Host` that names none.
        HostInvalid, 400, "RFC 9112, section 3.2", "invalid Host";
        /// A `Content-Length` or `Transfer-Encoding` that leaves open where the request ends.
        Framing, 400, "RFC 9112, section 6.3", "invalid message framing";
        /// An upgrade attempted in HTTP/1.0, which has none.
        Http10, 505, "RFC 9110, section 7.8", "an upgrade needs HTTP/1.1";
        /// A method other than GET.
        MethodNotGet, 405, "RFC 6455, section 4.2.1", "the method of an upgrade is GET";
        /// No `Upgrade` to `websocket`.
        NotAnUpgrade, 426, "RFC 6455, section 4.2.1", "an upgrade to websocket is required";
        /// A body.
        Body, 400, "RFC 9110, section 7.8", "an upgrade has no body";
        /// No `Connection: Upgrade`.
        Connection, 400, "RFC 6455, section 4.2.1", "Connection does not name Upgrade";
        /// No `Sec-WebSocket-Version`, more than one, or one that is no number of its grammar.
        VersionInvalid, 400, "RFC 6455, section 4.3", "missing, repeated or malformed Sec-WebSocket-Version";
        /// A version other than 13.
        VersionUnsupported, 426, "RFC 6455, section 4.4", "Sec-WebSocket-Version not supported";
        /// No `Sec-WebSocket-Key`.
        KeyMissing, 400, "RFC 6455, section 11.3.1", "missing Sec-WebSocket-Key";
        /// More than one `Sec-WebSocket-Key`.
        KeyRepeated, 400, "RFC 6455, section 11.3.1", "repeated Sec-WebSocket-Key";
        /// A key that is not the base64 of 16 bytes.
        KeyInvalid, 400, "RFC 6455, section 4.2.1", "malformed Sec-WebSocket-Key";
        /// A subprotocol that is no token.
        ProtocolInvalid, 400, "RFC 6455, section 4.3", "malformed Sec-WebSocket-Protocol";
        /// A subprotocol offered twice.
        ProtocolRepeated, 400, "RFC 6455, section 4.1", "subprotocol offered twice";
        /// More subprotocols than [`MAX_PROTOCOLS`](super::MAX_PROTOCOLS).
        TooManyProtocols, 400, "RFC 6455, section 10.4", "too many subprotocols offered";
        /// An extension offer that does not follow the grammar.
        Extensions, 400, "RFC 6455, section 9.1", "malformed Sec-WebSocket-Extensions";
        /// No complete head in time.
        Timeout, 408, "RFC 9110, section 15.5.9", "the request took too long";
    }
    /// A line that breaks the grammar of every head, or a limit.
    Head(HeadFault)
}

impl From<HeadFault> for Rejection {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl Rejection {
    /// The fields that its answer must have, besides those that say how it ends.
    pub const fn headers(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            // RFC 9110, 15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
            Self::MethodNotGet => &[("Allow", b"GET")],
            // RFC 9110, 15.5.22: "The server MUST send an Upgrade header field in a 426 response".
            Self::NotAnUpgrade => &[("Upgrade", b"websocket")],
            // RFC 6455, 4.4: "it MUST respond with a |Sec-WebSocket-Version| header field […] containing all versions it is
            // willing to use."
            Self::VersionUnsupported => &[("Upgrade", b"websocket"), ("Sec-WebSocket-Version", b"13")],
            Self::VersionInvalid => &[("Sec-WebSocket-Version", b"13")],
            _ => &[],
        }
    }
}

/// Why an answer was not written. Nothing changed, and nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerError {
    /// The output slice is too short.
    NoSpace {
        /// The length that the same call would have needed, in bytes.
        needed: usize,
    },
    /// No request waits for this answer: none has come, or it has been answered.
    NotWaiting,
    /// The request is no upgrade to WebSocket.
    NotAnUpgrade,
    /// A subprotocol that the client did not offer (RFC 6455, section 4.2.2).
    ProtocolNotOffered,
    /// An extension that the client did not offer, or that is malformed (RFC 6455, section 9.1).
    ExtensionNotOffered,
    /// Two extensions that both use the bit RSV1 (RFC 7692, section 5).
    Rsv1Shared,
    /// A name that is no token, or a value with CR, LF, NUL or another control byte (RFC 9110, section 5.5).
    InvalidHeader,
    /// A field that the handshake itself writes, or that this answer must not have.
    ReservedHeader,
    /// A status that is no final answer: below 200, or above 599.
    InvalidStatus,
    /// A body with a status that has none: 204 or 304 (RFC 9110, section 6.4.1).
    BodyNotAllowed,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace { needed } => return write!(f, "the output slice must have {needed} bytes"),
            Self::NotWaiting => "no request waits for this answer",
            Self::NotAnUpgrade => "the request is no upgrade to WebSocket",
            Self::ProtocolNotOffered => "the client did not offer this subprotocol",
            Self::ExtensionNotOffered => "the client did not offer this extension",
            Self::Rsv1Shared => "two extensions use the bit RSV1",
            Self::InvalidHeader => "a header with a byte that may not stand in it",
            Self::ReservedHeader => "a header that the handshake writes itself",
            Self::InvalidStatus => "the status of a refusal is 200 to 599",
            Self::BodyNotAllowed => "this status has no body",
        })
    }
}

impl core::error::Error for AnswerError {}

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident, $section:literal, $text:literal;)*) => {
        /// Why a client's handshake failed. It is final: the transport is to be closed (RFC 6455, section 4.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HandshakeError {
            $($(#[$doc])* $name,)*
            /// A line that breaks the grammar of every head, or a limit.
            Head(HeadFault),
        }

        impl HandshakeError {
            /// The RFC and the section that have the rule.
            pub const fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)* Self::Head(fault) => fault.section() }
            }

            /// The rule in a few words.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Head(fault) => fault.reason() }
            }
        }
    };
}

failures! {
    /// A status line that is not version, three digits and a phrase, with one space between.
    StatusLine, "RFC 9112, section 4", "malformed status line";
    /// A version other than `HTTP/1.x`, or a switch of protocols in HTTP/1.0.
    HttpVersion, "RFC 6455, section 4.2.2", "HTTP version not supported";
    /// More interim responses than [`MAX_INTERIM`](super::MAX_INTERIM).
    TooManyInterim, "RFC 9110, section 15.2", "too many interim responses";
    /// A refusal whose `Content-Length` is no number.
    Framing, "RFC 9112, section 6.3", "invalid message framing";
    /// No `Upgrade`, several, or another than `websocket`.
    Upgrade, "RFC 6455, section 4.1", "Upgrade is not websocket";
    /// No `Connection: Upgrade`.
    Connection, "RFC 6455, section 4.1", "Connection does not name Upgrade";
    /// No `Sec-WebSocket-Accept`, several, or one that does not answer the key.
    Accept, "RFC 6455, section 4.1", "Sec-WebSocket-Accept does not answer the key";
    /// A subprotocol that was not offered, or several.
    Protocol, "RFC 6455, section 4.1", "subprotocol was not offered";
    /// No subprotocol, though one was required.
    ProtocolMissing, "RFC 6455, section 4.1", "no subprotocol was chosen";
    /// An answer about extensions that does not follow the grammar.
    Extensions, "RFC 6455, section 9.1", "malformed Sec-WebSocket-Extensions";
    /// An extension that was not offered.
    ExtensionNotOffered, "RFC 6455, section 4.1", "extension was not offered";
    /// Two extensions that both use the bit RSV1, or `permessage-deflate` twice.
    Rsv1Shared, "RFC 7692, section 5", "two extensions use RSV1";
    /// `permessage-deflate` with a parameter that it does not have.
    DeflateParameter, "RFC 7692, section 7", "unknown parameter of permessage-deflate";
    /// `permessage-deflate` with a parameter that stands there twice.
    DeflateRepeated, "RFC 7692, section 7", "parameter of permessage-deflate stands there twice";
    /// `permessage-deflate` with a value where none may stand, without one where one must, or one outside 8 to 15.
    DeflateValue, "RFC 7692, section 7.1", "invalid value of a parameter of permessage-deflate";
    /// The server keeps its context, though it was asked not to.
    DeflateTakeover, "RFC 7692, section 7.1.1.1", "server_no_context_takeover was asked for";
    /// The server's window is larger than was asked for, or not said.
    DeflateServerWindow, "RFC 7692, section 7.1.2.1", "server_max_window_bits exceeds what was asked for";
    /// A window for the client's compressor, which was not offered.
    DeflateClientWindow, "RFC 7692, section 7.1.2.2", "client_max_window_bits was not offered";
    /// No complete response in time.
    Timeout, "RFC 6455, section 4.1", "the opening handshake took too long";
    /// The transport ended before the response was complete.
    Eof, "RFC 6455, section 4.1", "the transport ended during the opening handshake";
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason(), self.section())
    }
}

impl core::error::Error for HandshakeError {}

impl From<HeadFault> for HandshakeError {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

/// Why a client's request was not written. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// The output slice is too short.
    NoSpace {
        /// The length that the same call would have needed, in bytes.
        needed: usize,
    },
    /// The request was written before.
    Written,
    /// A subprotocol that is empty or no token (RFC 6455, section 4.1).
    InvalidProtocol,
    /// A subprotocol offered twice (RFC 6455, section 4.1).
    RepeatedProtocol,
    /// An extension offer that does not follow the grammar (RFC 6455, section 9.1).
    InvalidExtensions,
    /// A name that is no token, or a value with CR, LF, NUL or another control byte (RFC 9110, section 5.5).
    InvalidHeader,
    /// A field that the handshake itself writes, `Host` included.
    ReservedHeader,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace { needed } => return write!(f, "the output slice must have {needed} bytes"),
            Self::Written => "the request was written before",
            Self::InvalidProtocol => "a subprotocol that is not a token",
            Self::RepeatedProtocol => "a subprotocol offered twice",
            Self::InvalidExtensions => "a malformed extension offer",
            Self::InvalidHeader => "a header with a byte that may not stand in it",
            Self::ReservedHeader => "a header that the handshake writes itself",
        })
    }
}

impl core::error::Error for RequestError {}

/// Why a text is no address of a WebSocket (RFC 6455, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UriError {
    /// The scheme is neither `ws` nor `wss`, or there is none.
    Scheme,
    /// A user name or password, which these URIs do not have.
    UserInfo,
    /// No host, or none that RFC 3986 allows; an IPv6 address stands in brackets.
    Host,
    /// A port that is not a number from 1 to 65535.
    Port,
    /// A fragment, which these URIs do not have.
    Fragment,
    /// A byte that must be percent-encoded, or a broken escape.
    Target,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the scheme is neither ws nor wss",
            Self::UserInfo => "a WebSocket URI has no user name or password",
            Self::Host => "missing or invalid host",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::Fragment => "a WebSocket URI has no fragment",
            Self::Target => "a byte in the path or query that must be percent-encoded",
        })?;
        f.write_str(" (RFC 6455, section 3)")
    }
}

impl core::error::Error for UriError {}
