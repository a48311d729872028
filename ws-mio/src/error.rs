//! How a connection ends when it does not end cleanly, and why a call was refused.

use std::{fmt, io};

use crate::connect::ConnectError;
use ws_core::{AnswerError, CloseCode, Failure, Rejection, SendError, Timer, Violation};

/// Why a connection ended, or a call on it was refused. A clean end is not an error, but [`State::Closed`](crate::State).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The opening request broke a rule, or did not come in time. It was answered with the status that this implies.
    Request(Rejection),
    /// The application refused the request, with this status.
    Rejected(u16),
    /// The application's answer to a request may not be sent. The request was answered with 500.
    Answer(AnswerError),
    /// There is no connection: the server was not reached, or did not agree to one.
    Connect(Box<ConnectError>),
    /// The peer broke the protocol or exceeded a limit. A close frame told it so.
    Violation(Violation),
    /// The peer let a deadline pass.
    Timeout(Timer),
    /// The transport ended or broke without a close frame (code 1006). If it just ended, the kind is `UnexpectedEof`.
    Lost(io::Error),
    /// The application ended it at once ([`Peer::abort`](crate::Peer::abort)).
    Aborted,
    /// The call was refused, and the connection is unchanged. A closing connection refuses all messages.
    Refused(SendError),
    /// The call was refused: the opening handshake is not done, and no frame may precede the 101.
    NotOpen,
    /// The call was refused: as much output waits as `Limits::max_queue` allows, because the peer does not read.
    QueueFull,
}

impl Error {
    /// The close code that stands for this end (RFC 6455, section 7.1.5); `None` for a refused call, and where there
    /// was no connection.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Violation(violation) => Some(violation.close_code()),
            Self::Timeout(_) | Self::Lost(_) | Self::Aborted => Some(CloseCode::ABNORMAL),
            Self::Request(_)
            | Self::Rejected(_)
            | Self::Answer(_)
            | Self::Connect(_)
            | Self::Refused(_)
            | Self::NotOpen
            | Self::QueueFull => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(rejection) => write!(f, "the request was refused: {rejection}"),
            Self::Rejected(status) => write!(f, "the request was refused with status {status}"),
            Self::Answer(error) => write!(f, "the answer may not be sent: {error}"),
            Self::Connect(error) => error.fmt(f),
            Self::Violation(violation) => match violation.close_code() {
                // Nothing in the protocol forbids it; we do.
                CloseCode::TOO_BIG | CloseCode::POLICY => {
                    write!(f, "the peer exceeded a limit (Config::limits): {violation}")
                }
                _ => write!(f, "the peer broke the protocol: {violation}"),
            },
            Self::Timeout(timer) => timer.fmt(f),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
            Self::Aborted => f.write_str("the application ended the connection"),
            Self::Refused(error) => error.fmt(f),
            Self::NotOpen => f.write_str("the opening handshake is not done"),
            Self::QueueFull => f.write_str("the output queue is full"),
        }
    }
}

// The text of each has the error inside it: as a source it would be said twice.
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
