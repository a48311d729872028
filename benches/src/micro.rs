//! Loops in memory, run against each other: short samples in turn, the best of each kept.
//!
//! The best of many short samples is the one that nothing disturbed; an average would measure the machine's other
//! guests. Compare figures of one run only.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One loop that takes part: a name, and work that returns what it computed.
pub struct Entrant<'a> {
    /// What the table calls it.
    pub name: &'static str,
    /// One pass over the work. Its result must be the same for all entrants, and in every pass.
    pub work: Box<dyn FnMut() -> u64 + 'a>,
}

impl<'a> Entrant<'a> {
    /// `work` under a name.
    pub fn new(name: &'static str, work: impl FnMut() -> u64 + 'a) -> Self {
        Self { name, work: Box::new(work) }
    }
}

/// The best time of each entrant for one pass, in the order given.
///
/// # Panics
/// When a pass returns something else than `expected`: then it did not do the work.
pub fn race(entrants: &mut [Entrant<'_>], expected: u64, samples: usize, sample: Duration) -> Vec<Duration> {
    let passes: Vec<u32> = entrants
        .iter_mut()
        .map(|entrant| {
            assert_eq!((entrant.work)(), expected, "{} does other work than the rest", entrant.name);
            let start = Instant::now();
            black_box((entrant.work)());
            let once = start.elapsed().max(Duration::from_nanos(1));
            u32::try_from(sample.as_nanos() / once.as_nanos()).unwrap_or(u32::MAX).max(1)
        })
        .collect();
    let mut best = vec![Duration::MAX; entrants.len()];
    for _ in 0..samples {
        for ((entrant, passes), best) in entrants.iter_mut().zip(&passes).zip(&mut best) {
            let start = Instant::now();
            for _ in 0..*passes {
                black_box((entrant.work)());
            }
            *best = (*best).min(start.elapsed() / *passes);
            assert_eq!((entrant.work)(), expected, "{} changed its mind", entrant.name);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_takes_longer() {
        let spin = |turns: u64| move || (0..turns).fold(0, |sum, turn| black_box(sum).min(black_box(turn)));
        let mut entrants = [Entrant::new("long", spin(40_000)), Entrant::new("short", spin(1_000))];
        let best = race(&mut entrants, 0, 5, Duration::from_micros(200));
        assert!(best[0] > best[1], "{best:?}");
    }

    #[test]
    #[should_panic(expected = "other work")]
    fn other_work_is_found_out() {
        race(&mut [Entrant::new("one", || 1)], 2, 1, Duration::ZERO);
    }
}
