//! Graceful shutdown: no new connections, actors told, connections closed in batches, and a deadline.
//!
//! ```text
//!  Open ──shutdown──▶ Draining ──all connections gone, or the deadline──▶ Over ──▶ Ended
//!                     upgrades: 503; HTTP goes on                       listeners close,    all is dropped
//!                     actors: drain(); then Close, behind what          HTTP ends with the
//!                     each outbox holds, batch by batch                 requests under way
//! ```
//!
//! A listener stays open while connections drain, for a closed one cannot say 503, and resets the clients that wait
//! in the system's queue. A program that wants it closed at once calls [`Listening::stop`](crate::Listening::stop) first.
//!
//! No connection slips through: each is registered under its shard's lock, and refused there once the gate is shut;
//! the list of those to be closed is made under the same locks, after it was shut.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use ws_core::CloseCode;

use crate::event::CloseFrame;
use crate::hub::Hub;
use crate::mailbox::Letter;
use crate::sync::lock;

/// The settings of [`Hub::shutdown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How many connections are closed at once. Default 10 000.
    pub batch: usize,
    /// The time between two batches, so that clients do not come back to another node all at once. Default 2 s.
    pub every: Duration,
    /// The longest that all of it may take. Default 30 s.
    pub deadline: Duration,
    /// The code of the clients' close frames. Default 1012, service restart, which also replaces a code that may not travel.
    pub code: CloseCode,
}

impl Drain {
    /// The defaults named at the fields.
    pub const fn new() -> Self {
        Self {
            batch: 10_000,
            every: Duration::from_secs(2),
            deadline: Duration::from_secs(30),
            code: CloseCode::RESTART,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of the connections that were open at a [`Hub::shutdown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Connections that ended with a closing handshake, whichever side began it: all that had been sent to them has arrived.
    pub closed_clean: usize,
    /// Connections that ended without: they were cut at the deadline, or lost before.
    pub cut: usize,
    /// Messages that had been accepted for these connections and never left their outboxes. How much of what a socket
    /// had taken arrived is not known.
    pub undelivered: u64,
}

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    Draining {
        deadline: Instant,
    },
    /// All connections are gone.
    Over,
    /// Whatever is left has to go.
    Ended,
}

/// What new connections have to pass.
pub(crate) struct Gate {
    is_shut: AtomicBool,
    phase: watch::Sender<Phase>,
    /// Held by the call that shuts down, and by those that wait for it.
    summary: tokio::sync::Mutex<Option<Summary>>,
    so_far: Mutex<Summary>,
    ended: Notify,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            is_shut: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Open),
            summary: tokio::sync::Mutex::default(),
            so_far: Mutex::default(),
            ended: Notify::new(),
        }
    }
}

impl Gate {
    /// Whether a connection may still come. Asked under the lock of its shard.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_shut.load(Ordering::SeqCst)
    }

    /// To see how far it is. As long as one of these is held, the shutdown waits for its holder.
    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Counts a connection that ends. To be called under the lock of its shard, before it is missing there.
    pub(crate) fn count(&self, is_clean: bool, undelivered: u64) {
        if self.is_open() {
            return;
        }
        let mut so_far = lock(&self.so_far);
        *if is_clean { &mut so_far.closed_clean } else { &mut so_far.cut } += 1;
        so_far.undelivered += undelivered;
    }

    /// To be called after a connection has ended.
    pub(crate) fn note_end(&self) {
        if !self.is_open() {
            self.ended.notify_waiters();
        }
    }

    fn shut(&self, deadline: Instant) {
        self.is_shut.store(true, Ordering::SeqCst);
        self.phase.send_replace(Phase::Draining { deadline });
    }
}

/// Waits for a phase, or forever.
pub(crate) async fn until(watch: &mut watch::Receiver<Phase>, phase: Phase) {
    if watch.wait_for(|now| *now >= phase).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What an actor's letter about the shutdown carries; its drop says that the actor has done with the letter.
pub(crate) type Answer = mpsc::Sender<Infallible>;

/// Longer than any deadline that makes sense.
const FAR: Duration = Duration::from_secs(365 * 86_400);

/// The longest that is left for tasks to notice that they are cut; it is a tenth of the time otherwise.
const RESERVE: Duration = Duration::from_secs(1);

impl Hub {
    /// Ends everything that runs on this Hub, within the deadline:
    ///
    /// 1. No new connection is accepted: upgrades are answered 503, with the seconds that are left in `Retry-After`.
    ///    Plain HTTP goes on, so that a health check ([`Hub::is_draining`]) and the metrics can be read.
    /// 2. Each actor's [`WsActor::drain`](crate::WsActor::drain) is called, behind what is in its mailbox already. It may
    ///    still send. The connections stay open until all have returned from it, for half of the time at most.
    /// 3. Connections are closed in batches. The close frame goes behind all that was accepted for the connection before,
    ///    and the client answers it. If the batches would not fit into three quarters of the time that is left, they are
    ///    made larger.
    /// 4. What is left at the deadline is cut.
    /// 5. Listeners close, and HTTP requests under way are answered. When they are, or half of what is left of the time has
    ///    passed, actors get what is in their mailboxes and end as with [`Context::stop`](crate::Context::stop). They have
    ///    three quarters of the rest; what observers ([`Hub::observe`]) have not been told by then has the last of it.
    ///    Requests that are still under way are cut when the actors have ended.
    ///
    /// It is for good; a Hub that was shut down takes no connection again. A later call waits for the same end and gets
    /// the same summary.
    ///
    /// # Cancel safety
    /// Cancelled, it stays where it is, with the gate shut; another call goes on, by its own settings.
    ///
    /// # Panics
    /// Outside of a tokio runtime with timers.
    ///
    /// ```no_run
    /// # async fn run(hub: ws_actor::Hub) {
    /// use ws_actor::Drain;
    ///
    /// // ... after the signal to stop:
    /// let summary = hub.shutdown(Drain::new()).await;
    /// println!("{} closed, {} cut, {} messages lost", summary.closed_clean, summary.cut, summary.undelivered);
    /// # }
    /// ```
    pub async fn shutdown(&self, drain: Drain) -> Summary {
        let gate = &self.shared.gate;
        let mut summary = gate.summary.lock().await;
        if let Some(summary) = *summary {
            return summary;
        }
        let time = drain.deadline.min(FAR);
        let (deadline, reserve) = (Instant::now() + time, RESERVE.min(time / 10));
        let cut_at = deadline - reserve;
        gate.shut(deadline);
        let told = self.tell_actors(|answer| Letter::Drain(cut_at, answer));
        let _ = timeout_at(Instant::now() + remaining(cut_at) / 2, told).await;
        let _ = timeout_at(cut_at, self.close_all(drain, cut_at)).await;
        self.cut_all(&drain.frame());
        let _ = timeout_at(cut_at.max(Instant::now()) + reserve / 2, self.all_ended()).await;
        gate.phase.send_replace(Phase::Over);
        // A response without end, or a client that takes it slowly, is not what actors have to wait for.
        let _ = timeout_at(Instant::now() + remaining(deadline) / 2, gate.phase.closed()).await;
        let actors_until = Instant::now() + remaining(deadline) * 3 / 4;
        let _ = timeout_at(actors_until, self.tell_actors(Letter::Stop)).await;
        gate.phase.send_replace(Phase::Ended);
        let (answer, mut answers) = mpsc::channel(1);
        self.shared.meters.observers.flush(answer);
        let _ = timeout_at(deadline, answers.recv()).await;
        let mut result = *lock(&gate.so_far);
        // Tasks that did not even notice.
        result.cut += self.connection_count();
        *summary = Some(result);
        result
    }

    /// Whether [`Hub::shutdown`] was called: a health check should answer 503 then.
    pub fn is_draining(&self) -> bool {
        !self.shared.gate.is_open()
    }

    /// Waits for a shutdown to begin.
    pub(crate) async fn shuts_down(&self) {
        let mut watch = self.shared.gate.watch();
        if watch.wait_for(|phase| *phase != Phase::Open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How much time a shutdown leaves, once there is one.
    pub(crate) fn drains_for(&self) -> Option<Duration> {
        match *self.shared.gate.phase.borrow() {
            Phase::Open => None,
            Phase::Draining { deadline } => Some(remaining(deadline)),
            Phase::Over | Phase::Ended => Some(Duration::ZERO),
        }
    }

    /// Writes to every actor, and waits until all have done with the letter or ended.
    async fn tell_actors(&self, letter: impl Fn(Answer) -> Letter) {
        let (answer, mut answers) = mpsc::channel(1);
        for target in self.shared.names.all() {
            target.mailbox().tell(letter(answer.clone()));
        }
        drop(answer);
        while answers.recv().await.is_some() {}
    }

    /// Closes all connections, batch by batch, and waits until they are gone.
    async fn close_all(&self, drain: Drain, deadline: Instant) {
        let ids = self.connections();
        let time = remaining(deadline) * 3 / 4;
        let pauses = time.as_nanos().checked_div(drain.every.as_nanos()).unwrap_or(u128::MAX);
        let batches = usize::try_from(pauses).unwrap_or(usize::MAX).saturating_add(1);
        let batch = drain.batch.max(1).max(ids.len().div_ceil(batches));
        let mut at = Instant::now();
        for (n, batch) in ids.chunks(batch).enumerate() {
            if n > 0 {
                at += drain.every;
                let _ = timeout_at(at, self.all_ended()).await;
            }
            for id in batch {
                // It closes already, or has gone.
                let _ = self.close(*id, drain.frame());
            }
        }
        self.all_ended().await;
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.shared.gate.ended.notified();
            if self.connection_count() == 0 {
                return;
            }
            ended.await;
        }
    }

    fn cut_all(&self, frame: &CloseFrame) {
        for id in self.connections() {
            if let Some(entry) = self.entry(id) {
                entry.abort(frame);
            }
        }
    }
}

impl Drain {
    fn frame(&self) -> CloseFrame {
        let code = if self.code.may_travel() { self.code } else { CloseCode::RESTART };
        CloseFrame::new(code, "the service is shutting down")
    }
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reason;
    use crate::fixture::{link, noop, target, written};
    use crate::link::Link;
    use crate::outbox::OutboxLimits;
    use tokio::task::{JoinHandle, yield_now};
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn links(hub: &Hub, n: usize) -> Vec<Link> {
        let target = target();
        (0..n).map(|_| link(hub, &target, OutboxLimits::new())).collect()
    }

    async fn begin(hub: &Hub, drain: Drain) -> JoinHandle<Summary> {
        let hub = hub.clone();
        let task = tokio::spawn(async move { hub.shutdown(drain).await });
        pass(Duration::ZERO).await;
        task
    }

    /// Lets time pass, and everybody do what is to be done then.
    async fn pass(time: Duration) {
        advance(time).await;
        for _ in 0..20 {
            yield_now().await;
        }
    }

    fn are_closing(hub: &Hub) -> usize {
        let closing = |id| hub.entry(id).is_some_and(|entry| !entry.outbox().is_open());
        hub.connections().into_iter().filter(|id| closing(*id)).count()
    }

    /// The peer takes all there is, and answers the close frame.
    fn answer(mut link: Link) -> Vec<String> {
        let words = written(&link);
        link.hear_close();
        let reason = link.ending().expect("this side closes");
        link.finish(reason);
        words
    }

    /// O2: batches by the clock, each close frame behind what was accepted before it, and a summary.
    #[tokio::test(start_paused = true)]
    async fn batches() {
        let hub = Hub::new();
        let links = links(&hub, 25);
        for link in &links {
            assert_eq!(hub.send(link.id(), "accepted"), Ok(()));
        }
        let drain = Drain { batch: 10, ..Drain::new() };
        let shutdown = begin(&hub, drain).await;
        assert!(hub.is_draining());
        for (after, closing) in [(0, 10), (1, 10), (1, 20), (1, 20), (1, 25)] {
            pass(SECOND * after).await;
            assert_eq!(are_closing(&hub), closing);
        }
        for link in links {
            assert_eq!(answer(link), ["accepted", "close 1012"]);
        }
        let summary = Summary { closed_clean: 25, cut: 0, undelivered: 0 };
        assert_eq!(shutdown.await.unwrap(), summary);
        assert_eq!(hub.metrics().closed.of(crate::Ending::Local), 25);
        // For good, and a later call returns the same.
        assert_eq!(hub.shutdown(drain).await, summary);
    }

    /// O2: batches that would not fit into the time are made larger.
    #[tokio::test(start_paused = true)]
    async fn batches_that_fit() {
        for (batch, every, deadline, first) in [
            // A second in reserve, and a quarter of the rest: in 21.75 s there are 11 batches.
            (1, SECOND * 2, SECOND * 30, 10),
            (0, SECOND, SECOND * 4, 34),
            (1, Duration::ZERO, SECOND, 1),
            (1, SECOND, Duration::ZERO, 100),
            (1, Duration::MAX, Duration::MAX, 100),
        ] {
            let hub = Hub::new();
            let _links = links(&hub, 100);
            let shutdown = begin(&hub, Drain { batch, every, deadline, ..Drain::new() }).await;
            let (now, all) = (are_closing(&hub), every.is_zero());
            assert_eq!(now, if all { 100 } else { first }, "{batch} {every:?} {deadline:?}");
            shutdown.abort();
        }
    }

    /// O2: what has not ended at the deadline is cut, and what it never got is counted; a connection that was told to close
    /// twice is not counted twice.
    #[tokio::test(start_paused = true)]
    async fn stragglers() {
        let hub = Hub::new();
        let mut links = links(&hub, 3);
        for link in &links {
            assert_eq!(hub.send(link.id(), "accepted"), Ok(()));
        }
        let shutdown = begin(&hub, Drain { code: 1001.into(), ..Drain::new() }).await;
        assert_eq!(answer(links.remove(0)), ["accepted", "close 1001"]);
        // The second never looks up; the third looks when it is told to.
        pass(SECOND * 28).await;
        assert!(!shutdown.is_finished());
        pass(SECOND).await;
        let mut third = links.pop().unwrap();
        third.attend(&noop(), crate::conn::now());
        assert!(third.is_aborted());
        assert_eq!(written(&third), ["close 1001"]);
        third.finish(Reason::Aborted);
        pass(SECOND).await;
        assert_eq!(shutdown.await.unwrap(), Summary { closed_clean: 1, cut: 2, undelivered: 1 });
        drop(links);
        assert_eq!(hub.metrics().dropped.of(crate::DropReason::Ended), 2);
    }

    /// O2: no connection is accepted any more, however far it was when it began.
    #[tokio::test(start_paused = true)]
    async fn nobody_new() {
        let hub = Hub::new();
        let target = target();
        let (limits, who, terms) = (OutboxLimits::new(), crate::fixture::who(), crate::fixture::terms());
        let links = links(&hub, 1);
        let shutdown = begin(&hub, Drain::new()).await;
        assert!(Link::open(&hub, &(&target).into(), limits, who, terms).is_err());
        assert_eq!(target.mailbox().attached_count(), 0);
        assert_eq!((hub.connection_count(), hub.metrics().opened), (1, 1));
        links.into_iter().for_each(|link| drop(answer(link)));
        assert_eq!(shutdown.await.unwrap().closed_clean, 1);
    }

    /// O2: a shutdown that is cancelled stays where it was, and another call goes on.
    #[tokio::test(start_paused = true)]
    async fn cancelled() {
        let hub = Hub::new();
        let links = links(&hub, 2);
        let first = begin(&hub, Drain { batch: 1, ..Drain::new() }).await;
        first.abort();
        pass(SECOND * 10).await;
        assert!(hub.is_draining());
        assert_eq!(are_closing(&hub), 1);
        let second = begin(&hub, Drain::new()).await;
        assert_eq!(are_closing(&hub), 2);
        links.into_iter().for_each(|link| drop(answer(link)));
        assert_eq!(second.await.unwrap(), Summary { closed_clean: 2, cut: 0, undelivered: 0 });
    }
}
