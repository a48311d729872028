//! An optional point in time in eight bytes: a connection has several, and most are never set.

use std::num::NonZeroU64;

use ws_core::Instant;

/// In microseconds, plus one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment(Option<NonZeroU64>);

impl Moment {
    pub(crate) const NEVER: Self = Self(None);

    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn get(self) -> Option<Instant> {
        self.0.map(|micros| Instant::from_micros(micros.get() - 1))
    }

    /// Sets it, if it is not set.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
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
