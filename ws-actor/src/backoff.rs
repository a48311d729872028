//! Whether a dialled connection that was lost is dialled again, and when.
//!
//! Whether: by how it ended, or by why an attempt failed. Of close codes (RFC 6455, section 7.4) the ranges for
//! applications are halved: 3000 to 3499 and 4000 to 4499 ask the client back, the upper halves do not. When: ws-core's
//! [`Backoff`], a pure function of the attempt and of entropy (RFC 6455, section 7.2.3).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use ws_core::{Backoff, CloseCode, HandshakeError};
use ws_tokio::ConnectError;

use crate::dial::DialError;
use crate::event::Reason;

/// Where the random part of delays comes from: 64 random bits per call. Tests can use a seed of their own.
pub type Jitter = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The longest that a server can ask a client to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// Whether a connection that ended like this is dialled again.
pub(crate) fn is_lost(reason: &Reason) -> bool {
    match reason {
        // This side wanted the end, or no actor is left to dial for.
        Reason::Local(_) | Reason::Aborted | Reason::Moved => false,
        reason => is_lost_by(reason.code()),
    }
}

/// 7.2.3: "clients SHOULD use some form of backoff when trying to reconnect after abnormal closures".
fn is_lost_by(code: CloseCode) -> bool {
    // Going away, no code, no close frame; then trouble on the server that may pass.
    matches!(code.0, 1001 | 1005 | 1006 | 1011..=1014 | 3000..=3499 | 4000..=4499)
}

/// Whether an attempt that failed like this is repeated: when nobody answered, or the answer says that it will pass.
pub(crate) fn may_pass(error: &DialError) -> bool {
    let DialError::Failed(error) = error else { return false };
    match error {
        ConnectError::Resolve(_)
        | ConnectError::Connect(_)
        | ConnectError::Lost(_)
        | ConnectError::Timeout
        | ConnectError::Handshake(HandshakeError::Eof | HandshakeError::Timeout) => true,
        // A certificate does not get better; a transport that breaks under TLS may.
        ConnectError::Tls(error) => {
            !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        }
        // RFC 9110, 15.5.9 (Request Timeout) and 15.6 (Server Error); RFC 8470, 5.2; RFC 6585, 4.
        ConnectError::Status(response) => matches!(response.status().as_u16(), 408 | 425 | 429 | 500..=599),
        _ => false,
    }
}

/// How long a server that refuses wants to be left alone (RFC 9110, section 10.2.3), in seconds; a date is not looked at.
fn retry_after(error: &DialError) -> Duration {
    let DialError::Failed(ConnectError::Status(response)) = error else { return Duration::ZERO };
    let seconds =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(LONGEST_RETRY_AFTER)
}

/// The delays of one dialled connection.
pub(crate) struct Schedule {
    backoff: Backoff,
    jitter: Jitter,
    /// The attempt that was made last, counted from the last stable connection.
    last: Option<u32>,
}

impl Schedule {
    pub(crate) fn new(backoff: Backoff, jitter: Option<Jitter>) -> Self {
        Self { backoff, jitter: jitter.unwrap_or_else(|| Arc::new(entropy)), last: None }
    }

    /// After a connection that was open for so long.
    pub(crate) fn after_loss(&mut self, open: Duration) -> Duration {
        self.next(self.last.map_or(0, |last| self.backoff.next_attempt(last, open)))
    }

    /// After an attempt that failed.
    pub(crate) fn after_failure(&mut self, error: &DialError) -> Duration {
        let delay = self.next(self.last.map_or(0, |last| last.saturating_add(1)));
        // On top of what the server asks for, so that the clients it asked do not come back together.
        delay.saturating_add(retry_after(error))
    }

    fn next(&mut self, attempt: u32) -> Duration {
        self.last = Some(attempt);
        self.backoff.delay(attempt, (self.jitter)())
    }
}

/// The standard library seeds its hash keys from the system's entropy and gives each hasher other ones. A delay has to be
/// spread out, not secret.
fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CloseFrame;
    use bytes::Bytes;
    use ws_core::{Timer, Violation};

    fn closed(code: u16) -> Reason {
        Reason::Peer(Some(CloseFrame::new(code, "")))
    }

    /// K4: which ends are losses.
    #[test]
    fn by_close_code() {
        let back = [1001, 1011, 1012, 1013, 1014, 3000, 3499, 4000, 4001, 4499];
        let terminal = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3500, 3999, 4500, 4999];
        // Codes without an agreed meaning, and codes that never travel: the careful answer.
        let unknown = [0, 999, 1004, 1015, 1016, 2999, 5000, u16::MAX];
        for (codes, expected) in [(&back[..], true), (&terminal[..], false), (&unknown[..], false)] {
            for &code in codes {
                assert_eq!(is_lost(&closed(code)), expected, "{code}");
            }
        }
        let table = [
            (Reason::Peer(None), true),
            (Reason::Io(io::ErrorKind::ConnectionReset), true),
            (Reason::Timeout(Timer::Pong), true),
            (Reason::SlowConsumer, true),
            (Reason::TargetBusy, true),
            (Reason::TargetDown, true),
            (Reason::Local(None), false),
            (Reason::Local(Some(CloseFrame::new(1001, ""))), false),
            (Reason::Protocol(Violation::InvalidUtf8), false),
            (Reason::Aborted, false),
            (Reason::Moved, false),
        ];
        for (reason, expected) in table {
            assert_eq!(is_lost(&reason), expected, "{reason}");
        }
    }

    fn status(status: u16, retry_after: Option<&str>) -> DialError {
        let mut response = http::Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(RETRY_AFTER, value);
        }
        ConnectError::Status(Box::new(response.body(Bytes::new()).expect("well-formed"))).into()
    }

    /// K4: which failures of an attempt may pass.
    #[test]
    fn by_failure() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let table: [(DialError, bool); 14] = [
            (ConnectError::Connect(io(io::ErrorKind::ConnectionRefused)).into(), true),
            (ConnectError::Resolve(io(io::ErrorKind::NotFound)).into(), true),
            (ConnectError::Lost(io(io::ErrorKind::BrokenPipe)).into(), true),
            (ConnectError::Timeout.into(), true),
            (ConnectError::Handshake(HandshakeError::Eof).into(), true),
            (ConnectError::Handshake(HandshakeError::Accept).into(), false),
            (ConnectError::Tls(io(io::ErrorKind::UnexpectedEof)).into(), true),
            (ConnectError::Tls(io(io::ErrorKind::InvalidData)).into(), false),
            (status(503, None), true),
            (status(429, None), true),
            (status(401, None), false),
            (status(404, None), false),
            (status(200, None), false),
            (DialError::NoTarget, false),
        ];
        for (error, expected) in table {
            assert_eq!(may_pass(&error), expected, "{error}");
        }
    }

    /// K4, HC-21: the first delay is 0 to 5 s, failures double its bound up to 20 s, a connection that did not last does
    /// not begin it anew, a stable one does.
    #[test]
    fn bounds_grow_until_stable() {
        let seconds = Duration::from_secs;
        let mut schedule = Schedule::new(Backoff::new(), Some(Arc::new(|| u64::MAX)));
        let refused = || ConnectError::Connect(io::ErrorKind::ConnectionRefused.into()).into();
        assert_eq!(schedule.after_loss(Duration::ZERO), seconds(5));
        assert_eq!(schedule.after_failure(&refused()), seconds(10));
        assert_eq!(schedule.after_loss(seconds(19)), seconds(20));
        assert_eq!(schedule.after_failure(&refused()), seconds(20));
        assert_eq!(schedule.after_loss(seconds(20)), seconds(5));
        // Even if any connection counts as stable, a failure is none.
        let mut eager = Backoff::new();
        eager.stable = Duration::ZERO;
        let mut schedule = Schedule::new(eager, Some(Arc::new(|| u64::MAX)));
        assert_eq!(schedule.after_failure(&refused()), seconds(5));
        assert_eq!(schedule.after_failure(&refused()), seconds(10));
        assert_eq!(schedule.after_loss(Duration::ZERO), seconds(5));
    }

    /// K4: a server that says when to come back is left alone until then, within reason.
    #[test]
    fn servers_ask_for_patience() {
        let table = [("0", 0), ("7", 7), (" 7 ", 7), ("86400", 3_600), ("tomorrow", 0), ("-1", 0)];
        for (value, expected) in table {
            let mut schedule = Schedule::new(Backoff::new(), Some(Arc::new(|| 0)));
            assert_eq!(schedule.after_failure(&status(503, Some(value))).as_secs(), expected, "{value}");
        }
    }

    /// K4: without a source of its own, delays differ.
    #[test]
    fn delays_are_spread() {
        let mut drawn: Vec<_> = (0..100).map(|_| entropy()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 100);
    }
}
