//! When to connect again: row HC-21.

use core::time::Duration;

use proptest::prelude::*;
use ws_core::Backoff;

/// HC-21: the first delay is 0 to 5 s, then bounds double to 20 s, each drawn from all of its span.
#[test]
fn hc_21_bounds() {
    let backoff = Backoff::new();
    for (attempt, bound) in [(0, 5), (1, 10), (2, 20), (3, 20), (62, 20), (63, 20), (64, 20), (u32::MAX, 20)]
    {
        assert_eq!(backoff.delay(attempt, 0), Duration::ZERO);
        assert_eq!(backoff.delay(attempt, u64::MAX), Duration::from_secs(bound), "{attempt}");
        assert_eq!(
            backoff.delay(attempt, 1 << 63).as_secs_f64().round() * 2.0,
            (bound as f64 / 2.0).round() * 2.0
        );
    }
}

/// HC-21: only a stable connection begins the schedule anew.
#[test]
fn hc_21_reset() {
    let backoff = Backoff::new();
    for (attempt, open, next) in [
        (0, Duration::ZERO, 1),
        (3, Duration::from_millis(19_999), 4),
        (3, Duration::from_secs(20), 0),
        (u32::MAX, Duration::ZERO, u32::MAX),
        (7, Duration::MAX, 0),
    ] {
        assert_eq!(backoff.next_attempt(attempt, open), next, "{attempt} after {open:?}");
    }
}

proptest! {
    /// HC-21: pure, bounded, and ordered as its entropy is; no setting makes it panic.
    #[test]
    fn hc_21_any_settings(first: Duration, longest: Duration, attempt: u32, entropy: u64) {
        let mut backoff = Backoff::new();
        backoff.first = first;
        backoff.longest = longest;
        let delay = backoff.delay(attempt, entropy);
        prop_assert!(delay <= longest);
        prop_assert_eq!(delay, backoff.delay(attempt, entropy));
        prop_assert!(delay <= backoff.delay(attempt, u64::MAX));
        prop_assert!(delay <= backoff.delay(attempt.saturating_add(1), entropy));
    }
}
