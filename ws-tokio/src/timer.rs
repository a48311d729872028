//! One lazily re-armed timer a connection, over tokio's clock.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{self, Sleep};
use ws_core::Instant;

/// Tokio's clock, counted from the start of the connection. Under `tokio::time::pause` it is virtual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::since(self.0.into_std(), time::Instant::now().into_std())
    }

    fn at(self, deadline: Instant) -> time::Instant {
        self.0 + deadline.saturating_since(Instant::ZERO)
    }
}

/// Sleeps until a deadline that mostly moves away: it is set again only when it comes too late, or was reached.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    sleep: Pin<Box<Sleep>>,
    until: Instant,
    /// Who is woken. To ask the timer again for the same task is not needed.
    waker: Option<Waker>,
}

impl Timer {
    /// Whether the task is sure to be woken by `deadline`, without a look at the runtime's timer. `now` was read since
    /// the task was last woken: if the timer rings after that, it wakes the task again, and then this says no.
    #[inline]
    pub(crate) fn is_set(&self, cx: &Context<'_>, now: Instant, deadline: Instant) -> bool {
        self.armed.as_ref().is_some_and(|armed| {
            now < armed.until
                && armed.until <= deadline
                && armed.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        })
    }

    /// `Ready` when `deadline` may have come; a `tick` then tells. It never says so before the time, but for one armed
    /// for an earlier deadline.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, clock: Clock, deadline: Instant) -> Poll<()> {
        let armed = self.armed.get_or_insert_with(|| Armed {
            sleep: Box::pin(time::sleep_until(clock.at(deadline))),
            until: deadline,
            waker: None,
        });
        if deadline < armed.until {
            armed.sleep.as_mut().reset(clock.at(deadline));
            armed.until = deadline;
            armed.waker = None;
        }
        if armed.sleep.is_elapsed() {
            armed.sleep.as_mut().reset(clock.at(deadline));
            armed.until = deadline;
            armed.waker = None;
            return if clock.now() >= deadline { Poll::Ready(()) } else { self.poll(cx, clock, deadline) };
        }
        if armed.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        armed.waker = Some(cx.waker().clone());
        armed.sleep.as_mut().poll(cx)
    }
}
