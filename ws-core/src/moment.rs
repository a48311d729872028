//! An optional point in time in eight bytes: a connection has several, and most are never set.

use core::num::NonZeroU64;

use crate::time::Instant;

/// A point in time, or none, in eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment(
    /// In microseconds, plus one.
    Option<NonZeroU64>,
);

impl Moment {
    /// None.
    pub const NEVER: Self = Self(None);

    /// Whether there is one.
    #[inline]
    pub fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// The point in time, if there is one.
    #[inline]
    pub fn get(self) -> Option<Instant> {
        self.0.map(|micros| Instant::from_micros(micros.get() - 1))
    }

    /// Sets it, if it is not set.
    #[inline]
    pub fn begin(&mut self, now: Instant) {
        if self.0.is_none() {
            *self = now.into();
        }
    }
}

impl From<Instant> for Moment {
    #[inline]
    fn from(instant: Instant) -> Self {
        Self(NonZeroU64::new(instant.as_micros().saturating_add(1)))
    }
}
