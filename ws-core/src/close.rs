//! Close codes and close frames (RFC 6455, sections 5.5.1 and 7.4).

use core::fmt;

use crate::error::{SendError, Violation};

/// A close code (RFC 6455, section 7.4, and IANA's registry of close codes).
///
/// Any number can be held; [`CloseCode::may_travel`] tells which may stand in a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that the endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: stands for a close frame without a code; never travels.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: stands for a connection that ended without a close frame; never travels.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that is not what its type says, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a policy of the endpoint was broken.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client needs an extension that the server's answer lacks.
    pub const MISSING_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint met a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: overloaded; try again later.
    pub const TRY_AGAIN: Self = Self(1013);
    /// 1014: a gateway got a bad answer from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: stands for a failed TLS handshake; never travels.
    pub const TLS: Self = Self(1015);

    /// Whether a close frame may carry this code: 1000–1003, 1007–1014 and 3000–4999.
    ///
    /// "Status codes in the range 0-999 are not used"; 1004–1006 and 1015 are reserved, the rest of
    /// 1000–2999 is for future versions of the protocol (RFC 6455, section 7.4; 1012–1014 by IANA).
    pub const fn may_travel(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// What a close frame says: a code and a reason for logs (at most 123 bytes of UTF-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why the connection ends.
    pub code: CloseCode,
    /// The reason in words; often empty.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// The longest reason: 125 bytes of a control frame less 2 for the code.
    pub const MAX_REASON: usize = 123;

    /// A close frame of these parts; sending it tells whether they may travel.
    pub fn new(code: impl Into<CloseCode>, reason: &'a str) -> Self {
        Self { code: code.into(), reason }
    }

    /// Whether this frame may be sent.
    ///
    /// # Errors
    /// [`SendError::UnsendableCode`] for a code that may not travel, [`SendError::ReasonTooLong`] for a reason
    /// of more than 123 bytes.
    pub const fn check(&self) -> Result<(), SendError> {
        if !self.code.may_travel() {
            Err(SendError::UnsendableCode)
        } else if self.reason.len() > Self::MAX_REASON {
            Err(SendError::ReasonTooLong)
        } else {
            Ok(())
        }
    }

    /// Reads the unmasked body of a close frame; an empty body is `None`.
    ///
    /// # Errors
    /// The rule that the body breaks: a single byte, a code that may not travel, a reason that is not UTF-8.
    pub fn decode(body: &'a [u8]) -> Result<Option<Self>, Violation> {
        // 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
        let Some((code, reason)) = body.split_first_chunk() else {
            return if body.is_empty() { Ok(None) } else { Err(Violation::CloseBodyOfOneByte) };
        };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.may_travel() {
            return Err(Violation::InvalidCloseCode);
        }
        let reason = core::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
        Ok(Some(Self { code, reason }))
    }
}
