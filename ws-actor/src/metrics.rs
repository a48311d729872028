//! A snapshot of what a [`Hub`] counts.
//!
//! It is put together when it is asked for: a walk over all connections, each held for the time of a few loads. A send
//! or a message that comes in pays nothing for it.

use std::time::Duration;

use crate::hub::Hub;
use crate::id::NodeId;
use crate::meters::{BOUNDS, Clocked, Counts, DropReason, Ending, Label, RefusalKind};
use crate::sync::lock;

/// The bounds of [`Metrics::queue_depths`].
const DEPTHS: [usize; 8] = [0, 1, 4, 16, 64, 256, 1_024, 4_096];

/// The counts and the present state of a Hub. Counts begin when the Hub is made, and never go back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The incarnation of this Hub.
    pub node: NodeId,
    /// Whether it shuts down, or has ([`Hub::shutdown`]).
    pub is_draining: bool,
    /// Connections that are open.
    pub connections: usize,
    /// Connections that have been opened.
    pub opened: u64,
    /// Connections that have ended, by how they ended: [`Ending::SlowConsumer`] and so on.
    pub closed: Tally<Ending>,
    /// Upgrades that were refused, by reason.
    pub refused: Tally<RefusalKind>,
    /// Messages that have come, whole.
    pub messages_in: u64,
    /// The bytes of their payloads.
    pub bytes_in: u64,
    /// Messages that have gone from an outbox towards a socket.
    pub messages_out: u64,
    /// The bytes of their payloads.
    pub bytes_out: u64,
    /// Messages that came too fast and were not delivered ([`Limits::rate`](crate::Limits::rate)).
    pub over_rate: u64,
    /// Messages that wait in outboxes.
    pub queued: usize,
    /// Their bytes, frame heads included.
    pub queued_bytes: usize,
    /// For some numbers of messages, how many connections have at most that many waiting: `(16, 950)` says that
    /// 950 connections have 16 or less.
    pub queue_depths: [(usize, usize); DEPTHS.len()],
    /// Messages that were dropped, by reason.
    pub dropped: Tally<DropReason>,
    /// Rooms that have members, or of which a handle is held.
    pub rooms: usize,
    /// Actors that run.
    pub actors: usize,
    /// Calls of actors that have panicked.
    pub panics: u64,
    /// Actors that were made again ([`ActorOptions`](crate::ActorOptions)).
    pub restarts: u64,
    /// Notes that observers missed, because they took none for too long ([`Observer`](crate::Observer)).
    pub observer_missed: u64,
    /// Panics of observers.
    pub observer_panics: u64,
    /// For upgrades that became connections: from the accepted socket, or on one that spoke HTTP before from the
    /// request's head, to the end of the answer.
    pub handshake: Durations,
    /// From a ping of the keepalive to the peer's next sign of life.
    pub rtt: Durations,
    /// How long an event waited for its actor, once it was in the mailbox. Of each mailbox, one event in 32 is timed.
    pub mailbox_wait: Durations,
    /// How long it took to queue a broadcast to all members of a room. Of each room, one broadcast in 16 is timed.
    pub fan_out: Durations,
}

/// Counts by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<K> {
    counts: Vec<(K, u64)>,
}

impl<K: Label + PartialEq> Tally<K> {
    fn of_now(counts: &Counts<K>) -> Self {
        Self { counts: K::ALL.iter().map(|kind| (*kind, counts.of(*kind))).collect() }
    }

    /// The count of this kind.
    pub fn of(&self, kind: K) -> u64 {
        self.counts.iter().find(|(of, _)| *of == kind).map_or(0, |(_, count)| *count)
    }

    /// The count of all kinds together.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// Each kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.counts.iter().copied()
    }
}

/// How long something took, each time that it was timed: counts in buckets from 10 µs to 10 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    buckets: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Durations {
    fn of_now(clocked: &Clocked) -> Self {
        Self { buckets: clocked.buckets(), sum: clocked.sum() }
    }

    /// How many times it was timed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all times.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// For each bound, how often it took at most that long; what took longer is in [`Durations::count`] only.
    pub fn at_most(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|micros| Duration::from_micros(*micros));
        bounds.zip(self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// The smallest bound that this share of all (0 to 1) does not exceed; `None` if nothing was timed, or the share does
    /// not fit below the last bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = (share.clamp(0.0, 1.0) * count as f64).ceil() as u64;
        self.at_most().find(|(_, at_most)| count > 0 && *at_most >= wanted.max(1)).map(|(bound, _)| bound)
    }
}

/// Messages and bytes, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) messages_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) over_rate: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, more: Self) {
        self.messages_in += more.messages_in;
        self.bytes_in += more.bytes_in;
        self.messages_out += more.messages_out;
        self.bytes_out += more.bytes_out;
        self.over_rate += more.over_rate;
    }
}

impl Hub {
    /// The counts and the present state of this Hub. It looks at every connection, so once per second is fine and once per
    /// message is not. [`Metrics::prometheus`] makes the text that a collector reads.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.shared;
        let mut totals = Totals::default();
        let (mut queued, mut queued_bytes, mut depths) = (0, 0, [0; DEPTHS.len() + 1]);
        for shard in &shared.connections {
            let shard = lock(shard);
            totals.add(shard.gone);
            for entry in shard.entries.values() {
                totals.add(entry.traffic.totals());
                let (messages, bytes, _) = entry.outbox().load();
                queued += messages;
                queued_bytes += bytes;
                depths[DEPTHS.partition_point(|depth| *depth < messages)] += 1;
            }
        }
        let mut at_most = 0;
        let queue_depths = std::array::from_fn(|n| {
            at_most += depths[n];
            (DEPTHS[n], at_most)
        });
        let connections = depths.iter().sum();
        let meters = &shared.meters;
        Metrics {
            node: self.node(),
            is_draining: self.is_draining(),
            connections,
            opened: meters.opened.now(),
            closed: Tally::of_now(&meters.closed),
            refused: Tally::of_now(&meters.refused),
            messages_in: totals.messages_in,
            bytes_in: totals.bytes_in,
            messages_out: totals.messages_out,
            bytes_out: totals.bytes_out,
            over_rate: totals.over_rate,
            queued,
            queued_bytes,
            queue_depths,
            dropped: Tally::of_now(&meters.dropped),
            rooms: self.room_count(),
            actors: shared.names.all().len(),
            panics: meters.panics.now(),
            restarts: meters.restarts.now(),
            observer_missed: meters.observers.counts.missed.now(),
            observer_panics: meters.observers.counts.panics.now(),
            handshake: Durations::of_now(&meters.handshake),
            rtt: Durations::of_now(&meters.rtt),
            mailbox_wait: Durations::of_now(&meters.mailbox_wait),
            fan_out: Durations::of_now(&meters.fan_out),
        }
    }
}
