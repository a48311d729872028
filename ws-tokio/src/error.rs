//! How a connection ends when it does not end cleanly, and why a call was refused.

use std::{fmt, io};

use ws_core::{CloseCode, Failure, SendError, Timer, Violation};

/// Why a connection ended, or a call on it was refused. A clean end is not an error: `recv` returns `None`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol, or exceeded a limit. A close frame has told it so.
    Violation(Violation),
    /// The peer let a deadline pass.
    Timeout(Timer),
    /// The transport ended or broke without a close frame (code 1006). If it just ended, the kind is `UnexpectedEof`.
    Lost(io::Error),
    /// The call was refused, and the connection is as it was before. A closing connection refuses all messages.
    Refused(SendError),
    /// As much output waits as `Limits::max_queue` allows, because the peer does not read.
    QueueFull,
    /// `recv` gives whole messages, but the connection is set to [`Delivery::Chunks`](ws_core::Delivery::Chunks): use
    /// `recv_event`. The part that would have been next was skipped.
    InChunks,
}

impl Error {
    /// The close code that stands for this end (RFC 6455, section 7.1.5); `None` for a refused call.
    pub fn close_code(&self) -> Option<CloseCode> {
        Some(match self {
            Self::Violation(violation) => violation.close_code(),
            Self::Timeout(_) | Self::Lost(_) => CloseCode::ABNORMAL,
            Self::Refused(_) | Self::QueueFull | Self::InChunks => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => match violation.close_code() {
                CloseCode::TOO_BIG | CloseCode::POLICY => {
                    write!(f, "the peer exceeded a limit (Config::limits): {violation}")
                }
                _ => write!(f, "the peer broke the protocol: {violation}"),
            },
            Self::Timeout(timer) => timer.fmt(f),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
            Self::Refused(error) => error.fmt(f),
            Self::QueueFull => f.write_str("the output queue is full"),
            Self::InChunks => f.write_str("messages are delivered in chunks on this connection"),
        }
    }
}

/// Each variant prints what it holds; a source would say it again.
impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Violation(violation) => Self::Violation(violation),
            Failure::Timeout(timer) => Self::Timeout(timer),
            Failure::Eof => Self::Lost(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Refused(error)
    }
}
