//! Errors of a connection: final [`Failure`]s of the receiving side, and refused calls of the sending one.
//!
//! All of them are `Copy`, hold no strings, and name the section of the RFC that they rest on. Errors of the
//! opening handshake stand in [`crate::handshake`].
//!
//! The lists may grow, but for [`Failure`]: a connection ends by the peer's fault, by silence or without a word, and a loop
//! that reports ends tells all three apart.

use core::fmt;

use crate::close::CloseCode;

/// The end of a connection that was not a clean close. It is reported once and is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer broke a rule of the protocol or a limit; a close frame with the fitting code is queued.
    Violation(Violation),
    /// The peer let a deadline pass.
    Timeout(Timer),
    /// The transport ended without a close frame: code 1006, and a message received in part is lost.
    Eof,
}

impl Failure {
    /// The code to report for this end (RFC 6455, section 7.1.5); 1006 never travels.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Violation(violation) => violation.close_code(),
            Self::Timeout(_) | Self::Eof => CloseCode::ABNORMAL,
        }
    }

    /// The RFC and the section that this failure rests on.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Violation(violation) => violation.section(),
            Self::Timeout(Timer::Handshake) => "RFC 6455, section 4.2",
            Self::Timeout(Timer::Keepalive | Timer::Pong) => "RFC 6455, section 5.5.2",
            Self::Timeout(Timer::Write) => "RFC 6455, section 7.2",
            Self::Timeout(Timer::Close | Timer::Linger) => "RFC 6455, section 7.1.1",
            Self::Eof => "RFC 6455, section 7.1.5",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Timeout(timer) => write!(f, "{timer} ({})", self.section()),
            Self::Eof => write!(f, "the transport ended without a close frame ({})", self.section()),
        }
    }
}

impl core::error::Error for Failure {}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// A deadline of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The opening handshake did not complete in time.
    Handshake,
    /// Nothing was heard for a while; the core answers this one itself, by a ping.
    Keepalive,
    /// No sign of life after our ping.
    Pong,
    /// The transport took no byte of the output that waits. An adapter keeps this one.
    Write,
    /// The closing handshake did not complete in time.
    Close,
    /// The peer did not end the transport after the closing handshake.
    Linger,
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the opening handshake took too long",
            Self::Keepalive => "nothing was heard for too long",
            Self::Pong => "no sign of life after a ping",
            Self::Write => "the peer took no output for too long",
            Self::Close => "the closing handshake took too long",
            Self::Linger => "the peer did not end the transport in time",
        })
    }
}

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident, $code:ident, $section:literal, $text:literal;)*) => {
        /// A rule that the peer broke.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Violation { $($(#[$doc])* $name,)* }

        impl Violation {
            /// Every violation, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code of the close frame that answers it.
            pub const fn close_code(self) -> CloseCode {
                match self { $(Self::$name => CloseCode::$code,)* }
            }

            /// The RFC and the section that have the rule.
            pub const fn section(self) -> &'static str {
                match self { $(Self::$name => $section,)* }
            }

            /// The rule in a few words: also the reason in the close frame.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

violations! {
    /// A reserved bit without an extension that gives it a meaning.
    ReservedBit, PROTOCOL, "RFC 6455, section 5.2", "reserved bit set";
    /// Opcode 3–7 or 11–15.
    ReservedOpcode, PROTOCOL, "RFC 6455, section 5.2", "reserved opcode";
    /// A client's frame without a mask.
    UnmaskedFrame, PROTOCOL, "RFC 6455, section 5.1", "client frame without mask";
    /// A server's frame with a mask.
    MaskedFrame, PROTOCOL, "RFC 6455, section 5.1", "server frame with mask";
    /// A length in more bytes than it needs.
    LengthNotMinimal, PROTOCOL, "RFC 6455, section 5.2", "length not minimal";
    /// A 64-bit length with its top bit set.
    LengthTopBit, PROTOCOL, "RFC 6455, section 5.2", "top bit of length set";
    /// A frame larger than the limit.
    FrameTooBig, TOO_BIG, "RFC 6455, section 10.4", "frame too big";
    /// A message larger than the limit, or than the storage.
    MessageTooBig, TOO_BIG, "RFC 6455, section 10.4", "message too big";
    /// More fragments than the limit.
    TooManyFragments, POLICY, "RFC 6455, section 10.4", "too many fragments";
    /// More empty fragments than the limit.
    TooManyEmptyFragments, POLICY, "RFC 6455, section 10.4", "too many empty fragments";
    /// A continuation with no message open.
    UnexpectedContinuation, PROTOCOL, "RFC 6455, section 5.4", "continuation without a message";
    /// A new message before the open one was finished.
    ContinuationExpected, PROTOCOL, "RFC 6455, section 5.4", "new message inside a message";
    /// A control frame in fragments.
    FragmentedControl, PROTOCOL, "RFC 6455, section 5.5", "fragmented control frame";
    /// A control frame of more than 125 bytes.
    ControlTooLong, PROTOCOL, "RFC 6455, section 5.5", "control frame too long";
    /// A close frame whose body is half a code.
    CloseBodyOfOneByte, PROTOCOL, "RFC 6455, section 5.5.1", "close body of one byte";
    /// A close code that may not travel.
    InvalidCloseCode, PROTOCOL, "RFC 6455, section 7.4", "invalid close code";
    /// Text, or a close reason, that is not UTF-8.
    InvalidUtf8, INVALID_DATA, "RFC 6455, section 8.1", "invalid UTF-8";
    /// A compressed message that is not DEFLATE data, or not all of it (RFC 7692, section 7.2.2).
    InvalidDeflate, INVALID_DATA, "RFC 7692, section 7.2.2", "invalid compressed data";
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason(), self.section())
    }
}

impl core::error::Error for Violation {}

/// Why a call of the sending side was refused. Nothing changed, and nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendError {
    /// The output slice is too short.
    NoSpace {
        /// The length that the same call would have needed, in bytes.
        needed: usize,
    },
    /// The connection is closing, closed or failed (RFC 6455, sections 5.5.1 and 7.1.7).
    Closed,
    /// A fragmented message is open; another cannot begin before it ends (section 5.4).
    MessageOpen,
    /// A fragment that continues a message, with none open, or of another kind (section 5.4).
    NoMessageOpen,
    /// A ping or pong of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A close code that may not travel (section 7.4).
    UnsendableCode,
    /// A close reason of more than 123 bytes (section 5.5).
    ReasonTooLong,
    /// Too many pings and pongs wait to be transmitted.
    ControlQueueFull,
    /// The first bytes of a control frame have left; `transmit` the rest of it first.
    ControlFrameCut,
    /// A frame of 2^63 bytes or more (section 5.2).
    FrameTooLong,
    /// The message that is open is compressed (RFC 7692): its parts go through `send_part`.
    Compressed,
    /// A prepared message has no mask, and a client's must have one (section 5.3): it goes through `send`.
    Unmasked,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace { needed } => return write!(f, "the output slice must have {needed} bytes"),
            Self::Closed => "the connection is closing or closed",
            Self::MessageOpen => "a fragmented message is open",
            Self::NoMessageOpen => "no such fragmented message is open",
            Self::ControlTooLong => "a control frame holds at most 125 bytes",
            Self::UnsendableCode => "this close code may not be sent",
            Self::ReasonTooLong => "a close reason holds at most 123 bytes",
            Self::ControlQueueFull => "too many control frames wait to be transmitted",
            Self::ControlFrameCut => "a control frame has left in part; its rest goes first",
            Self::FrameTooLong => "a frame holds at most 2^63 - 1 bytes",
            Self::Compressed => "the message that is open is compressed",
            Self::Unmasked => "a client masks each message by itself",
        })
    }
}

impl core::error::Error for SendError {}
