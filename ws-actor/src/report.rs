//! What a log is told: failures of connections, and refusals, at a bounded rate.
//!
//! RFC 6455, section 7.1.7, would have the user told of a connection that failed "in an appropriate manner". Peers decide
//! how often that happens, so the telling is metered: each observer has a bucket of [`BURST`] reports, refilled by
//! one every [`INTERVAL`]. What finds it empty is counted, and the count goes with the next report.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use ws_core::{Failure, Instant};

use crate::conn::now;
use crate::event::Reason;
use crate::id::ConnId;
use crate::supervise::contain;
use crate::sync::lock;

/// The number of reports that may come at once.
const BURST: u32 = 100;

/// One more report may come after each of these: 100 per second.
const INTERVAL: Duration = Duration::from_millis(10);

/// A connection that failed, for a log. Its `Display` is one line, and holds no text of the peer's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailureReport {
    /// The address of its peer.
    pub remote_addr: SocketAddr,
    /// Its id.
    pub id: ConnId,
    /// What failed: neither [`Reason::Peer`] nor [`Reason::Local`], which are ends but not failures.
    pub failure: Reason,
    /// The RFC and the section that this rests on, such as `RFC 6455, section 5.2`.
    pub section: &'static str,
    /// Reports that were left out since the one before, because there were too many.
    pub suppressed: u64,
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote_addr, id, failure, section, suppressed } = self;
        write!(f, "{remote_addr} failed as connection {id}: {failure}")?;
        // A violation names its section by itself.
        if !matches!(failure, Reason::Protocol(_)) {
            write!(f, " ({section})")?;
        }
        write_suppressed(f, *suppressed)
    }
}

/// Ends a line with the number of those that were left out.
pub(crate) fn write_suppressed(f: &mut fmt::Formatter<'_>, suppressed: u64) -> fmt::Result {
    match suppressed {
        0 => Ok(()),
        n => write!(f, "; {n} more before it"),
    }
}

/// The RFC and the section that an end rests on, if it is a failure.
fn section(reason: &Reason) -> Option<&'static str> {
    match reason {
        Reason::Peer(_) | Reason::Local(_) | Reason::Moved | Reason::Idle => None,
        Reason::Protocol(violation) => Some(violation.section()),
        Reason::Timeout(timer) => Some(Failure::Timeout(*timer).section()),
        // 7.1.5: without a close frame, the code "is considered to be 1006".
        Reason::Io(_) | Reason::Aborted => Some(Failure::Eof.section()),
        // 10.4: implementations with limits "MUST protect themselves against exceeding those limits".
        Reason::SlowConsumer | Reason::TargetBusy | Reason::OverRate | Reason::Unauthenticated => {
            Some("RFC 6455, section 10.4")
        }
        // 7.4.1: 1011, "an unexpected condition that prevented it from fulfilling the request".
        Reason::TargetDown | Reason::TargetFailed => Some("RFC 6455, section 7.4.1"),
    }
}

/// A closure that is called as often as the meter allows.
pub(crate) struct Observer<T> {
    tell: Box<dyn Fn(&T) + Send + Sync>,
    meter: Mutex<Meter>,
}

impl<T> Observer<T> {
    pub(crate) fn new(tell: impl Fn(&T) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), meter: Mutex::new(Meter { left: BURST, filled: now(), suppressed: 0 }) }
    }

    /// Makes a report that may be told, given the number of those left out before, and tells it.
    pub(crate) fn report(&self, make: impl FnOnce(u64) -> T) {
        // Told without the lock: observers do not wait for one another.
        let admitted = lock(&self.meter).admit(now());
        if let Some(suppressed) = admitted {
            // A log that fails, as a print to a closed pipe does, is no failure of what it is told of.
            let _ = contain(|| (self.tell)(&make(suppressed)));
        }
    }
}

impl Observer<FailureReport> {
    /// Reports the end of a connection if it is a failure; else what went wrong before it, if anything did.
    pub(crate) fn report_end(&self, remote_addr: SocketAddr, id: ConnId, ends: [Option<&Reason>; 2]) {
        let failed = ends.into_iter().flatten().find_map(|reason| Some((reason, section(reason)?)));
        if let Some((failure, section)) = failed {
            let failure = failure.clone();
            self.report(|suppressed| FailureReport { remote_addr, id, failure, section, suppressed });
        }
    }
}

/// A bucket of reports.
struct Meter {
    left: u32,
    /// Up to when it has been refilled.
    filled: Instant,
    suppressed: u64,
}

impl Meter {
    /// Takes one, if there is one, with the number of those that found none.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_since(self.filled).as_nanos() / INTERVAL.as_nanos();
        match u32::try_from(earned) {
            Ok(earned) if earned < BURST - self.left => {
                self.left += earned;
                self.filled = self.filled.saturating_add(INTERVAL * earned);
            }
            // Full: time that has passed beyond that earns nothing.
            _ => (self.left, self.filled) = (BURST, now),
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.suppressed))
            }
            None => {
                self.suppressed = self.suppressed.saturating_add(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N-08: a burst, then one every interval, and none is left out uncounted.
    #[test]
    fn metered() {
        let start = now();
        let mut meter = Meter { left: BURST, filled: start, suppressed: 0 };
        let mut told = |at: u64| {
            let at = start.saturating_add(Duration::from_millis(at));
            (0..1_000).filter_map(|_| meter.admit(at)).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [0; 100]);
        assert_eq!(told(9), [0; 0]);
        assert_eq!(told(10), [1_900]);
        assert_eq!(told(35), [999, 0]);
        let much_later = told(3_600_000);
        assert_eq!((much_later.len(), much_later[0]), (100, 998));
    }
}
