//! One deadline for all of connecting.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::error::ConnectError;

/// The moment at which connecting has taken too long.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(Instant);

/// Stands for never.
const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        let now = Instant::now();
        Self(now + time.min(YEARS))
    }

    /// Runs a step, until the deadline.
    pub(crate) async fn limit<F: Future>(&self, step: F) -> Result<F::Output, ConnectError> {
        timeout_at(self.0, step).await.map_err(|_| ConnectError::Timeout)
    }

    /// Waits for something that the peer cannot hurry: the deadline moves by as much.
    pub(super) async fn stop<F: Future>(&mut self, wait: F) -> F::Output {
        let before = Instant::now();
        let output = wait.await;
        self.0 += before.elapsed();
        output
    }

    /// The deadline of one step of `steps` that share the time evenly.
    pub(super) fn share(&self, steps: usize) -> Self {
        let now = Instant::now();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).max(1);
        Self(now + self.0.saturating_duration_since(now) / steps)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// HC-18: what is waited for by ourselves moves the deadline, and an address takes no more than its share.
    #[tokio::test(start_paused = true)]
    async fn shares_and_stops() {
        let began = Instant::now();
        let mut deadline = Deadline::after(10 * SECOND);
        deadline.stop(sleep(5 * SECOND)).await;
        assert_eq!(deadline.0 - began, 15 * SECOND);
        for (steps, end) in [(2, 10), (1, 15), (0, 15)] {
            assert_eq!(deadline.share(steps).0 - began, end * SECOND, "{steps}");
        }
        assert!(matches!(deadline.share(2).limit(sleep(6 * SECOND)).await, Err(ConnectError::Timeout)));
        assert_eq!(began.elapsed(), 10 * SECOND);
        assert!(deadline.limit(sleep(4 * SECOND)).await.is_ok());
        // Any time that can be set is taken.
        assert!(Deadline::after(Duration::MAX).limit(sleep(SECOND)).await.is_ok());
    }
}
