//! Time as a number: microseconds since an epoch that the caller chooses.
//!
//! The core reads no clock. Its caller passes `now`, and sleeps until the deadline that it returns.

use core::time::Duration;

/// A point in time: microseconds since the caller's epoch, monotonic.
///
/// Any epoch does, as long as it stays the same for the life of a connection. A `now` that lies before an
/// earlier one is taken for the earlier one; it never panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The point `secs` seconds after the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This point plus `duration`, at most the end of time (584 000 years after the epoch).
    pub const fn saturating_add(self, duration: Duration) -> Self {
        let micros = duration.as_micros();
        if micros > u64::MAX as u128 { Self(u64::MAX) } else { Self(self.0.saturating_add(micros as u64)) }
    }

    /// The time from `earlier` to this point; zero when `earlier` is the later one.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The distance between two readings of the system's monotonic clock: `epoch`, taken once, and `now`.
    #[cfg(feature = "std")]
    pub fn since(epoch: std::time::Instant, now: std::time::Instant) -> Self {
        let micros = now.saturating_duration_since(epoch).as_micros();
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
