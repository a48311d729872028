//! What is counted while connections come and go, and sampled while messages do.
//!
//! Nothing here is touched for each message: messages and bytes are counted by each connection's own task in its entry
//! (`entry.rs`) and added up when somebody asks ([`Hub::metrics`](crate::Hub::metrics)). What is counted here happens
//! once per connection or seldom; what would happen more often is sampled (`mailbox.rs`, `room.rs`).

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::sealed::Indexed;
use crate::event::Reason;
use crate::observer::Observers;

/// A kind of counted event, with a short word for it: the label of a metric, the field of a log. Implemented by
/// [`RefusalKind`], [`Ending`] and [`DropReason`], and by nothing else.
pub trait Label: Indexed {
    /// All of them, in the order of their declaration.
    const ALL: &'static [Self];

    /// Its word.
    fn name(self) -> &'static str;
}

mod sealed {
    /// Its place among all of its type. Other crates cannot reach this, and so have no labels of their own.
    pub trait Indexed: Copy + 'static {
        fn index(self) -> usize;
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident { $($(#[$each_doc:meta])* $each:ident = $name:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $kind {
            $($(#[$each_doc])* $each,)*
        }

        impl Label for $kind {
            const ALL: &'static [Self] = &[$(Self::$each,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$each => $name,)*
                }
            }
        }

        impl Indexed for $kind {
            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

kinds! {
    /// Why an upgrade was refused.
    RefusalKind {
        /// The request breaks a rule of HTTP or of the opening handshake.
        Malformed = "malformed",
        /// No request came in time, or the client gave up.
        Abandoned = "abandoned",
        /// No route has its path.
        NoRoute = "no_route",
        /// The page's origin may not connect ([`Origins`](crate::Origins)).
        Origin = "origin",
        /// It offers no subprotocol of those that the route speaks.
        Subprotocol = "subprotocol",
        /// A limit on connections is reached: on the route, in all, of this address, of this user
        /// ([`Limits`](crate::Limits)).
        Limit = "limit",
        /// [`Route::decide`](crate::Route::decide) said no.
        Application = "application",
        /// [`Route::decide`](crate::Route::decide) panicked.
        Undecided = "undecided",
        /// [`Route::decide`](crate::Route::decide) took too long.
        TooLate = "too_late",
        /// [`Route::decide`](crate::Route::decide) gave an answer that may not be sent.
        BadAnswer = "bad_answer",
        /// None of the actors that could take it runs, or has room for connections.
        NoTarget = "no_target",
        /// The Hub is shutting down ([`Hub::shutdown`](crate::Hub::shutdown)).
        Draining = "draining",
    }

    /// How a connection ended: a [`Reason`] without its details.
    Ending {
        /// [`Reason::Peer`].
        Peer = "peer",
        /// [`Reason::Local`].
        Local = "local",
        /// [`Reason::SlowConsumer`].
        SlowConsumer = "slow_consumer",
        /// [`Reason::TargetBusy`].
        TargetBusy = "target_busy",
        /// [`Reason::TargetDown`].
        TargetDown = "target_down",
        /// [`Reason::TargetFailed`].
        TargetFailed = "target_failed",
        /// [`Reason::OverRate`].
        OverRate = "over_rate",
        /// [`Reason::Unauthenticated`].
        Unauthenticated = "unauthenticated",
        /// [`Reason::Idle`].
        Idle = "idle",
        /// [`Reason::Timeout`].
        Timeout = "timeout",
        /// [`Reason::Protocol`].
        Protocol = "protocol",
        /// [`Reason::Io`].
        Io = "io",
        /// [`Reason::Aborted`].
        Aborted = "aborted",
    }

    /// Why a message for a connection was dropped.
    DropReason {
        /// There was no room for it, and its sender was told so.
        Full = "full",
        /// It was the oldest, and gave way to a new one ([`Overflow::DropOld`](crate::Overflow::DropOld)).
        Oldest = "oldest",
        /// A later one of its key took its place ([`Overflow::Conflate`](crate::Overflow::Conflate)).
        Replaced = "replaced",
        /// It waited when the connection ended, or was cut.
        Ended = "ended",
    }
}

impl Reason {
    /// The reason without its details; `None` for [`Reason::Moved`], which is not an end.
    pub fn ending(&self) -> Option<Ending> {
        Some(match self {
            Self::Peer(_) => Ending::Peer,
            Self::Local(_) => Ending::Local,
            Self::SlowConsumer => Ending::SlowConsumer,
            Self::TargetBusy => Ending::TargetBusy,
            Self::TargetDown => Ending::TargetDown,
            Self::TargetFailed => Ending::TargetFailed,
            Self::OverRate => Ending::OverRate,
            Self::Unauthenticated => Ending::Unauthenticated,
            Self::Idle => Ending::Idle,
            Self::Moved => return None,
            Self::Timeout(_) => Ending::Timeout,
            Self::Protocol(_) => Ending::Protocol,
            Self::Io(_) => Ending::Io,
            Self::Aborted => Ending::Aborted,
        })
    }
}

/// A count that only grows. Relaxed: it orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count for each kind.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    counts: Box<[Count]>,
    kind: PhantomData<K>,
}

impl<K: Label> Default for Counts<K> {
    fn default() -> Self {
        Self { counts: K::ALL.iter().map(|_| Count::default()).collect(), kind: PhantomData }
    }
}

impl<K: Label> Counts<K> {
    pub(crate) fn add(&self, kind: K, n: u64) {
        self.counts[kind.index()].add(n);
    }

    pub(crate) fn of(&self, kind: K) -> u64 {
        self.counts[kind.index()].now()
    }
}

/// The upper bounds of a [`Clocked`]'s buckets, in microseconds. One more is without.
pub(crate) const BOUNDS: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Clocked {
    buckets: [Count; BOUNDS.len() + 1],
    micros: Count,
}

impl Clocked {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].add(1);
        self.micros.add(micros);
    }

    pub(crate) fn buckets(&self) -> [u64; BOUNDS.len() + 1] {
        self.buckets.each_ref().map(Count::now)
    }

    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.micros.now())
    }
}

/// What a Hub counts beside its connections' own traffic, and who is told of it.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) observers: Observers,
    pub(crate) opened: Count,
    pub(crate) closed: Counts<Ending>,
    pub(crate) refused: Counts<RefusalKind>,
    pub(crate) dropped: Counts<DropReason>,
    pub(crate) panics: Count,
    pub(crate) restarts: Count,
    pub(crate) handshake: Clocked,
    pub(crate) rtt: Clocked,
    pub(crate) mailbox_wait: Clocked,
    pub(crate) fan_out: Clocked,
}
