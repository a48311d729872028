//! Rates: how often something may happen, by the generic cell rate algorithm.
//!
//! One point in time says it all: when everything that has happened would have been paid for at the allowed rate (the
//! *theoretical arrival time* of ITU-T I.371). What happens now is within the rate if that point lies no further ahead
//! than a burst. No timer, no list of what happened, eight bytes.

use std::time::Duration;

use ws_core::Instant;

/// An amount per time, of which a burst may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// The amount, of whatever is counted; 0 is taken for 1.
    pub amount: u64,
    /// The time in which that amount is allowed.
    pub per: Duration,
    /// How much of it may come at once, after a pause; 0 is taken for 1. Default: the whole amount.
    pub burst: u64,
}

impl Rate {
    /// An amount per second, all at once if need be.
    pub const fn per_second(amount: u64) -> Self {
        Self { amount, per: Duration::from_secs(1), burst: amount }
    }

    /// An amount per minute, all at once if need be.
    pub const fn per_minute(amount: u64) -> Self {
        Self { amount, per: Duration::from_secs(60), burst: amount }
    }

    /// The same rate with this burst.
    #[must_use]
    pub const fn burst(self, burst: u64) -> Self {
        Self { burst, ..self }
    }

    /// The time that an amount takes, in nanoseconds.
    fn time(&self, amount: u64) -> u64 {
        let time = u128::from(amount).saturating_mul(self.per.as_nanos()) / u128::from(self.amount.max(1));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// How far ahead of now things may be, in nanoseconds.
    fn tolerance(&self) -> u64 {
        self.time(self.burst.max(1))
    }
}

/// Up to when one sender has used up its rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Nanoseconds since the clock's epoch.
    until: u64,
}

impl Spent {
    /// Whether an amount is within the rate now.
    pub(crate) fn allows(self, rate: &Rate, amount: u64, now: Instant) -> bool {
        self.after(rate, amount, now) - nanos(now) <= rate.tolerance()
    }

    /// Counts an amount, whether it is within the rate or not.
    pub(crate) fn spend(&mut self, rate: &Rate, amount: u64, now: Instant) {
        self.until = self.after(rate, amount, now);
    }

    /// When the least amount will be within the rate; now, if it is.
    pub(crate) fn next(self, rate: &Rate, now: Instant) -> Instant {
        let at = self.after(rate, 1, now).saturating_sub(rate.tolerance());
        // A microsecond late rather than early.
        now.max(Instant::from_micros(at.div_ceil(1_000)))
    }

    fn after(self, rate: &Rate, amount: u64, now: Instant) -> u64 {
        self.until.max(nanos(now)).saturating_add(rate.time(amount))
    }
}

fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// O3: a burst at once, then one each interval, and a pause earns no more than a burst.
    #[test]
    fn burst_then_rate() {
        let rate = Rate::per_second(10).burst(3);
        let mut spent = Spent::default();
        let start = 1_000_000;
        let mut came = |millis: u64, times: usize| {
            let now = Instant::from_millis(start + millis);
            (0..times)
                .filter(|_| {
                    let allows = spent.allows(&rate, 1, now);
                    if allows {
                        spent.spend(&rate, 1, now);
                    }
                    allows
                })
                .count()
        };
        let table = [(0, 3), (99, 0), (100, 1), (100, 0), (350, 2), (399, 0), (400, 1), (1_000_000, 3)];
        for (millis, expected) in table {
            assert_eq!(came(millis, 10), expected, "at {millis} ms");
        }
    }

    /// O3: one that is counted although it is too much has the next ones wait until it is paid for.
    #[test]
    fn debts() {
        let rate = Rate::per_second(1_000).burst(100);
        let mut spent = Spent::default();
        let now = Instant::from_secs(50);
        assert!(spent.allows(&rate, 100, now) && !spent.allows(&rate, 101, now));
        assert_eq!(spent.next(&rate, now), now);
        spent.spend(&rate, 3_000, now);
        assert_eq!(spent.next(&rate, now), Instant::from_millis(52_901));
        assert!(!spent.allows(&rate, 1, Instant::from_micros(52_900_999)));
        assert!(spent.allows(&rate, 1, Instant::from_millis(52_901)));
    }

    /// Settings without sense are no reason to panic.
    #[test]
    fn extremes() {
        let zero = Rate { amount: 0, per: Duration::ZERO, burst: 0 };
        let most = Rate { amount: u64::MAX, per: Duration::MAX, burst: u64::MAX };
        let slow = Rate { amount: 1, per: Duration::MAX, burst: 1 };
        for rate in [zero, most, slow] {
            let mut spent = Spent::default();
            for now in [Instant::ZERO, Instant::from_micros(u64::MAX), Instant::ZERO] {
                for amount in [0, 1, u64::MAX] {
                    spent.allows(&rate, amount, now);
                    spent.spend(&rate, amount, now);
                    assert!(spent.next(&rate, now) >= now);
                }
            }
        }
    }

    proptest! {
        /// O3: in any stretch of time no more than the burst and what the rate allows in it; and a sender that keeps
        /// to that is never refused.
        #[test]
        fn never_more_than_it_says(
            amount in 1..1_000_u64,
            burst in 1..100_u64,
            comes in proptest::collection::vec((0..200_000_u64, 1..50_u64), 1..100),
        ) {
            let rate = Rate::per_second(amount).burst(burst);
            let mut spent = Spent::default();
            let mut now = Instant::from_secs(1);
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (later, n) in comes {
                now = now.saturating_add(Duration::from_micros(later));
                // The fullest bucket over all stretches of time that end now; in millionths.
                let full = taken.iter().enumerate().map(|(first, (since, _))| {
                    let sum: u64 = taken[first..].iter().map(|(_, n)| n).sum();
                    i128::from(sum) * 1_000_000 - i128::from(amount) * now.saturating_since(*since).as_micros() as i128
                });
                let full = full.max().unwrap_or(0).max(0) + i128::from(n) * 1_000_000;
                let most = i128::from(burst) * 1_000_000;
                if spent.allows(&rate, n, now) {
                    // Rounding forgives a nanosecond for each that came.
                    prop_assert!(full <= most + taken.len() as i128 * 1_000, "{full} of {most}");
                    spent.spend(&rate, n, now);
                    taken.push((now, n));
                } else {
                    prop_assert!(full > most - 1_000, "{full} of {most}");
                }
            }
        }
    }
}
