//! The deadline of a transport that takes nothing while output waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::{coop, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

/// A wait for the transport to take something, timed anew after each byte that it takes. Made for the first such wait.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// Rings at the deadline, or earlier: it is set again only when it has rung.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Since when nothing was taken; `None`: something was, and nothing has had to wait since.
    since: Option<Instant>,
    has_rung: bool,
}

impl Stall {
    /// Something was taken.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// Whether nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        self.since.is_none()
    }

    /// Whether the transport was given up.
    pub(crate) fn has_rung(&self) -> bool {
        self.has_rung
    }

    /// The transport takes nothing now. `Ready` when that has been so for `patience`.
    ///
    /// What counts is that the runtime's timer has rung, and not the time: after a long computation on its thread the
    /// runtime has not looked yet whether the transport takes something. Nor does the transport say so to a task without
    /// budget.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(deadline) = since.checked_add(patience) else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= deadline {
                break;
            }
            sleep.as_mut().reset(deadline);
        }
        if !coop::has_budget_remaining() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_rung = true;
        Poll::Ready(())
    }
}
