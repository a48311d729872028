//! When to connect again: a pure function of the attempt and of entropy (RFC 6455, section 7.2.3).

use core::time::Duration;

/// A schedule of reconnects: full jitter under a bound that doubles.
///
/// "clients SHOULD use some form of backoff when trying to reconnect after abnormal closures": the first delay random
/// "between 0 and 5 seconds", later ones longer by "truncated binary exponential backoff". Each is drawn from all of its
/// span, so that the clients of a server that restarts come back spread out.
///
/// ```
/// use core::time::Duration;
/// use ws_core::Backoff;
///
/// let backoff = Backoff::new();
/// assert_eq!(backoff.delay(0, u64::MAX), Duration::from_secs(5));
/// assert_eq!(backoff.delay(1, u64::MAX), Duration::from_secs(10));
/// assert_eq!(backoff.delay(9, u64::MAX), Duration::from_secs(20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest first delay. Default 5 s.
    pub first: Duration,
    /// The longest delay of all. Default 20 s.
    pub longest: Duration,
    /// How long a connection must have been open for the schedule to begin anew. Default 20 s.
    pub stable: Duration,
}

impl Backoff {
    /// The defaults named at the fields.
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(20),
            stable: Duration::from_secs(20),
        }
    }

    /// How long to wait before attempt `attempt`, counted from 0.
    ///
    /// `entropy` is any 64 random bits; equal ones give equal delays. The longest delay is twice as long with each
    /// attempt until [`Backoff::longest`].
    pub const fn delay(&self, attempt: u32, entropy: u64) -> Duration {
        let first = micros(self.first);
        let longest = micros(self.longest);
        let shift = if attempt > 63 { 63 } else { attempt };
        let doubled = (first as u128) << shift;
        let bound = if doubled > longest as u128 { longest } else { doubled as u64 };
        // From 0 to the bound, both included.
        Duration::from_micros(((entropy as u128 * (bound as u128 + 1)) >> 64) as u64)
    }

    /// The attempt that follows a connection which was open for `open`: 0 after a stable one, else the next.
    ///
    /// A server that accepts and drops at once is not hammered: being connected is not enough to begin anew.
    pub const fn next_attempt(&self, attempt: u32, open: Duration) -> u32 {
        if open.as_nanos() >= self.stable.as_nanos() { 0 } else { attempt.saturating_add(1) }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// In microseconds, at most 584 000 years.
const fn micros(duration: Duration) -> u64 {
    let micros = duration.as_micros();
    if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 }
}
