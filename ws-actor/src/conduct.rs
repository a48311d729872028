//! The limits of an open connection: how fast it may speak, how soon it must say who it is, how long it may be silent.
//!
//! Time comes in, verdicts go out; nothing here sleeps or names a runtime. A connection that is held to nothing has none
//! of this.

use std::time::Duration;

use ws_core::{CloseCode, Instant, Utf8};

use crate::event::{CloseFrame, Reason};
use crate::limits::Limits;
use crate::rate::{Rate, Spent};

/// How fast a peer may send messages; see [`Limits::rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Messages. Default: any number.
    pub messages: Option<Rate>,
    /// Bytes of their payloads. Default: any number. Unless the action is [`OverRate::Delay`], a single message
    /// larger than the burst is always too much.
    pub bytes: Option<Rate>,
    /// What happens to a message that comes too fast. Default [`OverRate::Close`].
    pub action: OverRate,
}

impl RateLimit {
    /// No limit.
    pub const fn new() -> Self {
        Self { messages: None, bytes: None, action: OverRate::Close }
    }

    /// A limit on the number of messages.
    pub const fn messages(rate: Rate) -> Self {
        Self { messages: Some(rate), ..Self::new() }
    }

    /// A limit on the number of bytes.
    pub const fn bytes(rate: Rate) -> Self {
        Self { bytes: Some(rate), ..Self::new() }
    }

    /// The same, with this action for messages that come faster.
    #[must_use]
    pub const fn action(self, action: OverRate) -> Self {
        Self { action, ..self }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

/// What happens to a message that comes faster than a [`RateLimit`] allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverRate {
    /// The connection is closed with 1008. The message is not delivered, and counted in
    /// [`ConnInfo::over_rate`](crate::ConnInfo::over_rate).
    #[default]
    Close,
    /// The message is not delivered, and counted likewise.
    Drop,
    /// Every message is delivered, and none is read from the socket before its time has come: TCP slows the peer down.
    Delay,
}

/// What becomes of a message that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Drop,
    Close,
}

/// How a connection that did not keep to the rate ends.
pub(crate) type End = (CloseFrame, Reason);

pub(crate) fn over_rate() -> End {
    (CloseFrame::new(CloseCode::POLICY, Utf8::from_static("messages came too fast")), Reason::OverRate)
}

fn unauthenticated() -> End {
    let reason = Utf8::from_static("authentication took too long");
    (CloseFrame::new(Reason::UNAUTHENTICATED, reason), Reason::Unauthenticated)
}

fn idle() -> End {
    (CloseFrame::new(CloseCode::GOING_AWAY, Utf8::from_static("nothing was said for too long")), Reason::Idle)
}

#[derive(Debug)]
pub(crate) struct Conduct {
    rate: RateLimit,
    messages: Spent,
    bytes: Spent,
    /// What follows is dropped: the rest of a message whose first part was, or all, as the connection ends.
    dropping: bool,
    /// Nothing is read before.
    resume: Option<Instant>,
    authenticate_by: Option<Instant>,
    idle: Option<Duration>,
    /// When a message last went either way.
    active: Instant,
}

impl Conduct {
    /// What these limits hold a connection to, if anything.
    pub(crate) fn new(limits: &Limits, now: Instant) -> Option<Box<Self>> {
        let Limits { rate, authenticate_within, idle, .. } = limits;
        (rate.is_some() || authenticate_within.is_some() || idle.is_some()).then(|| {
            Box::new(Self {
                rate: rate.unwrap_or_default(),
                messages: Spent::default(),
                bytes: Spent::default(),
                dropping: false,
                resume: None,
                authenticate_by: authenticate_within.map(|within| now.saturating_add(within)),
                idle: *idle,
                active: now,
            })
        })
    }

    /// Judges a message, or a part of one, of so many bytes. What is dropped is not charged: it cost its sender nothing
    /// to send it, and a peer that slows down is heard again at once.
    pub(crate) fn came(&mut self, len: usize, is_first: bool, now: Instant) -> Verdict {
        self.active = now;
        let (count, len) = (u64::from(is_first), len as u64);
        let allows =
            |spent: Spent, rate: Option<Rate>, n| rate.is_none_or(|rate| spent.allows(&rate, n, now));
        let is_over =
            !(allows(self.messages, self.rate.messages, count) && allows(self.bytes, self.rate.bytes, len));
        match self.rate.action {
            OverRate::Close if is_over || self.dropping => {
                // Nothing that follows is delivered either.
                self.dropping = true;
                return Verdict::Close;
            }
            OverRate::Drop if is_first => self.dropping = is_over,
            _ => {}
        }
        if self.dropping {
            return Verdict::Drop;
        }
        for (spent, rate, n) in
            [(&mut self.messages, self.rate.messages, count), (&mut self.bytes, self.rate.bytes, len)]
        {
            if let Some(rate) = rate {
                spent.spend(&rate, n, now);
                if self.rate.action == OverRate::Delay {
                    let next = spent.next(&rate, now);
                    self.resume = self.resume.max((next > now).then_some(next));
                }
            }
        }
        Verdict::Take
    }

    /// A message went to the peer.
    pub(crate) fn went(&mut self, now: Instant) {
        self.active = now;
    }

    /// Whether nothing is to be read for now.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.resume.is_some_and(|resume| resume > now)
    }

    /// When [`Conduct::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let idle = self.idle.map(|idle| self.active.saturating_add(idle));
        [self.resume, self.authenticate_by, idle].into_iter().flatten().min()
    }

    /// Does what is due; harmless when early. Tells how the connection ends, if it does.
    pub(crate) fn tick(&mut self, now: Instant, is_authenticated: impl FnOnce() -> bool) -> Option<End> {
        self.resume.take_if(|resume| *resume <= now);
        if self.authenticate_by.take_if(|by| *by <= now).is_some() && !is_authenticated() {
            return Some(unauthenticated());
        }
        let is_idle = |idle: &mut Duration| self.active.saturating_add(*idle) <= now;
        // Once: the end takes its time.
        self.idle.take_if(is_idle).map(|_| idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct(set: impl FnOnce(&mut Limits)) -> Box<Conduct> {
        let mut limits = Limits::new();
        set(&mut limits);
        Conduct::new(&limits, at(0)).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(1_000_000 + millis)
    }

    /// O3: what each action says of messages that come too fast, and that it is judged by both rates.
    #[test]
    fn actions() {
        let rate =
            RateLimit { bytes: Some(Rate::per_second(100)), ..RateLimit::messages(Rate::per_second(2)) };
        let table = [
            // Two messages a second.
            (OverRate::Drop, vec![(0, 1), (0, 1), (0, 1), (499, 1), (500, 1), (501, 1)], "TTDDTD"),
            (OverRate::Close, vec![(0, 1), (0, 1), (0, 1)], "TTC"),
            (OverRate::Delay, vec![(0, 1), (0, 1), (0, 1)], "TTT"),
            // A hundred bytes a second, also in one message.
            (OverRate::Drop, vec![(0, 100), (0, 1), (10, 1), (20, 101)], "TDTD"),
            (OverRate::Close, vec![(0, 101), (0, 1)], "CC"),
            (OverRate::Delay, vec![(0, 1_000)], "T"),
        ];
        for (action, comes, expected) in table {
            let mut conduct = conduct(|limits| limits.rate = Some(rate.action(action)));
            let verdicts = comes.iter().map(|(millis, len)| match conduct.came(*len, true, at(*millis)) {
                Verdict::Take => 'T',
                Verdict::Drop => 'D',
                Verdict::Close => 'C',
            });
            assert_eq!(verdicts.collect::<String>(), expected, "{action:?} {comes:?}");
        }
    }

    /// O3: a delay lasts until the next message would be within both rates.
    #[test]
    fn delays() {
        let rate =
            RateLimit { bytes: Some(Rate::per_second(100)), ..RateLimit::messages(Rate::per_second(2)) };
        let mut conduct = conduct(|limits| limits.rate = Some(rate.action(OverRate::Delay)));
        conduct.came(1, true, at(0));
        assert_eq!((conduct.is_paused(at(0)), conduct.deadline()), (false, None));
        conduct.came(1, true, at(0));
        assert_eq!((conduct.is_paused(at(499)), conduct.deadline()), (true, Some(at(500))));
        assert!(conduct.tick(at(500), || false).is_none());
        assert_eq!((conduct.is_paused(at(500)), conduct.deadline()), (false, None));
        conduct.came(400, true, at(500));
        assert!(conduct.is_paused(at(3_500)) && !conduct.is_paused(at(3_520)));
    }

    /// O3, B16: the parts of a message share its fate: one is not dropped in the middle.
    #[test]
    fn parts() {
        let rate =
            RateLimit { bytes: Some(Rate::per_second(100)), ..RateLimit::messages(Rate::per_second(1)) };
        let mut conduct = conduct(|limits| limits.rate = Some(rate.action(OverRate::Drop)));
        let mut came = |len, is_first| conduct.came(len, is_first, at(0));
        assert_eq!([came(50, true), came(50, false), came(50, false)], [Verdict::Take; 3]);
        assert_eq!([came(1, true), came(0, false)], [Verdict::Drop; 2]);
    }

    /// O1, O3: ends come once, at their time, and not to those who kept it.
    #[test]
    fn deadlines() {
        let mut stale = conduct(|limits| limits.authenticate_within = Some(Duration::from_secs(15)));
        assert_eq!(stale.deadline(), Some(at(15_000)));
        assert!(stale.tick(at(14_999), || false).is_none());
        let end = stale.tick(at(15_000), || false).map(|(frame, reason)| (u16::from(frame.code), reason));
        assert_eq!(end, Some((3502, Reason::Unauthenticated)));
        assert!(stale.tick(at(20_000), || false).is_none());
        let mut known = conduct(|limits| limits.authenticate_within = Some(Duration::from_secs(15)));
        assert!(known.tick(at(15_000), || true).is_none());
        assert_eq!(known.deadline(), None);

        let mut silent = conduct(|limits| limits.idle = Some(Duration::from_secs(60)));
        silent.came(1, true, at(30_000));
        silent.went(at(50_000));
        assert!(silent.tick(at(109_999), || false).is_none());
        assert_eq!(silent.deadline(), Some(at(110_000)));
        assert_eq!(silent.tick(at(110_000), || false).map(|(_, reason)| reason), Some(Reason::Idle));
        assert_eq!(silent.deadline(), None);
    }
}
