//! One lazily re-armed timer per connection, over tokio's clock.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
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

/// Sleeps until a deadline that usually moves away: it is set again only when it would come too late, or was reached.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    sleep: Pin<Box<Sleep>>,
    until: Instant,
    /// The task that is woken. For the same task the timer need not be asked again.
    waker: Option<Waker>,
}

impl Timer {
    /// Whether the task is sure to be woken by `deadline`, without a look at the runtime's timer. `now` was read after
    /// the task was last woken: if the timer rings after that, it wakes the task again, and then this is false.
    #[inline]
    pub(crate) fn is_set(&self, cx: &Context<'_>, now: Instant, deadline: Instant) -> bool {
        self.armed.as_ref().is_some_and(|armed| {
            now < armed.until
                && armed.until <= deadline
                && armed.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        })
    }

    /// `Ready` when `deadline` may have come; a `tick` then tells. It is never early, except when it was armed for an
    /// earlier deadline.
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
        // A task that has used up its budget would not be registered by tokio's timer, which is not asked again.
        pin!(unconstrained(armed.sleep.as_mut())).poll(cx)
    }
}

/// Decides which reads are worth a look at the clock, which costs 2 % of a small message.
///
/// After [`MANY`](Self::MANY) quick reads, reads do without for a [`SPELL`](Self::SPELL), whose end is a deadline like
/// any other. So the keepalive ping, which counts from the last read, comes at most that much too early; and only while
/// nothing is due within [`FAR`](Self::FAR).
#[derive(Debug)]
pub(crate) struct Watch {
    /// When counting began.
    since: Instant,
    reads: u8,
    /// The end of the spell.
    until: Option<Instant>,
}

impl Watch {
    const MANY: u8 = 32;
    const SPELL: Duration = Duration::from_millis(250);
    const FAR: Duration = Duration::from_secs(5);

    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, reads: 0, until: None }
    }

    /// Whether the next read looks at the clock.
    #[inline]
    pub(crate) fn looks(&self) -> bool {
        self.until.is_none()
    }

    /// Notes a read that looked; `deadline` is the connection's next one.
    #[inline]
    pub(crate) fn looked(&mut self, now: Instant, deadline: impl FnOnce() -> Option<Instant>) {
        if now.saturating_since(self.since) > Self::SPELL {
            (self.since, self.reads) = (now, 0);
        }
        self.reads += 1;
        if self.reads >= Self::MANY {
            (self.since, self.reads) = (now, 0);
            if deadline().is_none_or(|deadline| deadline.saturating_since(now) > Self::FAR) {
                self.until = Some(now.saturating_add(Self::SPELL));
            }
        }
    }

    /// The end of the spell, if there is one before `deadline`.
    #[inline]
    pub(crate) fn sooner(&self, deadline: Option<Instant>) -> Option<Instant> {
        match (self.until, deadline) {
            (Some(until), Some(deadline)) => Some(until.min(deadline)),
            (until, deadline) => until.or(deadline),
        }
    }

    /// Notes the time.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.until = self.until.filter(|&until| until > now);
    }
}
