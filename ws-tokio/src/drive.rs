//! What a connection does while no event is lent: letting out what waits, keeping time, reading, ending.
//!
//! One implementation for a connection in one piece and for the receiving half of a split one. They differ in where
//! the sending half is: inside the endpoint, or [beside](Drive::Beside) it (`endpoint.rs`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ws_core::{CloseCode, Closed, Instant, Moment, Session, Transport};

use crate::deflate;
use crate::endpoint::Drive;
use crate::error::Error;
use crate::pool::{self, SMALL_REST};
use crate::timer::{Clock, Timer, Watch};
use crate::websocket::CloseReason;
use crate::wire::Wire;

/// A queued reply leaves when it is older than this, even if more input waits.
const PATIENCE: Duration = Duration::from_millis(1);

/// Looking at the clock for each message would cost more than all else. After a look that found a quick consumer, twice
/// as many messages go by as before it, up to this many; after one that found a slow consumer, none.
const GLANCE: u8 = 16;

/// After this many reads in a row the other tasks of the thread get their turn. Otherwise a peer that sends as fast as
/// it is read would keep them waiting; and after a pause the next read brings more.
const READS_A_TURN: u8 = 4;

/// The same with a large buffer, mostly that of a large message.
const READS_OF_LARGE: u8 = 128;

/// How much of a large message is read at once. This much is still in the cache when it is unmasked and checked, which
/// the whole message would not be; the additional system calls cost little beside that.
const BITE: usize = 128 << 10;

/// What paces a connection: the time, and how far it has come to its end.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) clock: Clock,
    timer: Timer,
    watch: Watch,
    /// The time of the last wake-up that brought something, or a little before it.
    pub(crate) now: Instant,
    /// Whether `now` was read together with the bytes that are being handled.
    fresh: bool,
    /// Reads since the task last had to wait.
    reads: u8,
    /// How many messages go by before the next look at the clock, and how many did before the last.
    unwatched: u8,
    glance: u8,
    /// The peer's close frame.
    pub(crate) closed: Option<Box<CloseReason>>,
    /// Why the connection failed, until it is reported, which is when the transport has ended.
    failed: Option<Box<Error>>,
    /// Since when the transport takes less than there is, as far as this was noticed.
    stuck_since: Moment,
    /// When live compression state is looked after.
    park_at: Moment,
    /// The size of the last message if it was larger than a leased buffer, as the next may be; otherwise 0.
    large: usize,
    /// The writing side is shut down.
    shut: bool,
    /// The transport has no more to read.
    eof: bool,
}

impl Pace {
    pub(crate) fn new(clock: Clock) -> Self {
        let now = clock.now();
        Self {
            clock,
            timer: Timer::default(),
            watch: Watch::new(now),
            now,
            fresh: true,
            reads: 0,
            unwatched: 0,
            glance: 0,
            closed: None,
            failed: None,
            stuck_since: Moment::NEVER,
            park_at: Moment::NEVER,
            large: 0,
            shut: false,
            eof: false,
        }
    }

    pub(crate) fn fail(&mut self, error: impl Into<Error>) {
        // The first failure is the cause; those that follow are consequences.
        self.failed.get_or_insert_with(|| Box::new(error.into()));
    }

    /// What `recv` returns when the transport has ended: the failure, once, or that there is nothing.
    pub(crate) fn verdict(&mut self) -> Result<bool, Error> {
        match self.failed.take() {
            Some(error) => Err(*error),
            None => Ok(false),
        }
    }

    /// Keeps what the peer's close frame said.
    pub(crate) fn note_close(&mut self, closed: &Closed<'_>) {
        let (code, reason) = match closed.frame {
            Some(frame) => (frame.code, frame.reason.to_owned()),
            None => (CloseCode::NO_STATUS, String::new()),
        };
        self.closed = Some(Box::new(CloseReason { code, reason, interrupted: closed.interrupted }));
    }

    /// Has the next look come soon: with the message after the next, when a slow consumer has had one in hand.
    pub(crate) fn look_soon(&mut self) {
        self.unwatched = 1;
    }

    /// Whether it is time for a look at the clock while output waits.
    #[inline]
    pub(crate) fn looks_up(&mut self) -> bool {
        match self.unwatched.checked_sub(1) {
            Some(unwatched) => {
                self.unwatched = unwatched;
                false
            }
            None => true,
        }
    }
}

/// Everything that a turn without an event touches.
pub(crate) struct Driver<'a, S, C: Drive> {
    pub(crate) session: &'a mut Session<Vec<u8>, C>,
    pub(crate) beside: &'a mut C::Beside,
    pub(crate) wire: &'a mut Wire<S>,
    pub(crate) pace: &'a mut Pace,
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Drive> Driver<'_, S, C> {
    /// A slow consumer with more input waiting does not hold back its first answers.
    #[inline(never)]
    pub(crate) fn hurry(&mut self, cx: &mut Context<'_>) {
        let now = self.pace.clock.now();
        // Without a time of the read, patience begins here.
        if !std::mem::replace(&mut self.pace.fresh, true) {
            self.pace.now = now;
        }
        if now.saturating_since(self.pace.now) > PATIENCE {
            self.pace.now = now;
            self.pace.glance = 0;
            self.pump(cx);
        } else {
            self.pace.glance = (2 * self.pace.glance + 1).min(GLANCE);
            self.pace.unwatched = self.pace.glance;
        }
    }

    /// One turn without an event: lets out what waits, keeps time, and reads; `false`: the transport has ended.
    #[inline(never)]
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, need: usize) -> Poll<bool> {
        if std::mem::take(&mut self.wire.waited) {
            // Reading goes on now, and not when the wait began: a pong gets its full time from here (C-08).
            self.pace.now = self.pace.clock.now();
            self.session.connection().pause(self.pace.now);
            return Poll::Ready(true);
        }
        loop {
            let flushed = self.pump(cx);
            match self.session.connection_ref().transport(self.beside) {
                Transport::Close => {
                    self.leave(cx);
                    return Poll::Ready(false);
                }
                // What could be said to a peer that is gone was said.
                Transport::Shutdown if self.pace.eof => {
                    self.leave(cx);
                    return Poll::Ready(false);
                }
                // An error means that the peer has ended it before us.
                Transport::Shutdown
                    if flushed && !self.pace.shut && self.wire.poll_shutdown(cx).is_ready() =>
                {
                    self.pace.shut = true;
                    self.pace.now = self.pace.clock.now();
                    self.session.connection().shut_down(self.pace.now);
                }
                _ => {}
            }
            // Later in a large message: to change between several would drive each out of the cache.
            let most = if self.session.storage_len() <= pool::LEASE { READS_A_TURN } else { READS_OF_LARGE };
            if self.pace.reads >= most {
                self.pace.reads = 0;
                // A peer that never pauses does not put off the deadline of a close.
                if self.poll_time(cx) {
                    continue;
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = if self.may_read() { self.poll_fill(cx, need) } else { Poll::Pending };
            match read {
                Poll::Ready(Ok(0)) => self.end(None),
                Poll::Ready(Ok(n)) => {
                    self.session.received(n);
                    self.pace.fresh = self.pace.watch.looks();
                    if self.pace.fresh {
                        self.pace.now = self.pace.clock.now();
                        let deadline = || self.session.connection_ref().deadline(self.beside);
                        self.pace.watch.looked(self.pace.now, deadline);
                    }
                    self.pace.unwatched = 0;
                    self.pace.reads = self.pace.reads.saturating_add(1);
                    return Poll::Ready(true);
                }
                Poll::Ready(Err(error)) => self.end(Some(error)),
                Poll::Pending => {
                    let clock_was_read = std::mem::take(&mut self.pace.reads) > 0 && self.pace.fresh;
                    self.hold_pong_deadline();
                    self.plan_parking();
                    if clock_was_read && self.is_timer_set(cx) || !self.poll_time(cx) {
                        self.rest();
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// While our ping is stuck with the rest of the output the peer cannot answer it (C-08).
    fn hold_pong_deadline(&mut self) {
        let Some(stuck) = self.pace.stuck_since.get() else { return };
        if self.session.connection_ref().awaits_pong_since().is_some_and(|since| since >= stuck) {
            self.session.connection().pause(self.pace.now);
            self.wire.waited = true;
        }
    }

    /// Whether to read on. While output is stuck, only to look for a sign of life before the peer is given up (C-08).
    fn may_read(&self) -> bool {
        let connection = self.session.connection_ref();
        connection.may_read(self.beside, self.wire.queued())
            || connection.deadline(self.beside).is_some_and(|deadline| deadline <= self.pace.clock.now())
    }

    /// Ends our side of a transport that is finished, however late the connection is dropped: the peer may wait for that,
    /// and TLS requires it. Nothing waits for it here. And the thread gets its buffer back: the next connection would have
    /// to make one, which costs more than its whole handshake.
    fn leave(&mut self, cx: &mut Context<'_>) {
        self.rest();
        if !self.pace.shut {
            self.pace.shut = true;
            let _ = self.wire.poll_shutdown(cx);
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, need: usize) -> Poll<io::Result<usize>> {
        // A peer in full flow is left to fill its window: closing now would reset it before it has read our close frame.
        // It has until the deadline.
        let most = self.session.connection_ref().linger_room().unwrap_or(usize::MAX);
        if most == 0 {
            return Poll::Pending;
        }
        self.fit_storage();
        let most = most.min(self.bite());
        let space = self.session.space(pool::lease, need);
        let most = most.min(space.len());
        let mut buf = ReadBuf::new(&mut space[..most]);
        ready!(Pin::new(&mut self.wire.io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// How much to read at once.
    fn bite(&self) -> usize {
        if self.session.storage_len() <= pool::LEASE {
            return usize::MAX;
        }
        // The last bite takes what would be left for a small one.
        let last = BITE + BITE / 2;
        if self.session.connection_ref().remaining() > last as u64 { BITE } else { last }
    }

    /// Moves a small rest into a leased buffer, and a message that this has no room for into a larger one that the thread
    /// holds; without one the buffer grows by doubling. A peer that sends large messages gets the larger one at once.
    fn fit_storage(&mut self) {
        let (size, filled) = (self.session.storage_len(), self.session.buffered());
        let remaining = usize::try_from(self.session.connection_ref().remaining()).unwrap_or(usize::MAX);
        let wanted = filled.saturating_add(remaining);
        let other = if wanted > pool::LEASE {
            self.pace.large = wanted;
            if wanted > size { pool::lease_large(wanted) } else { None }
        } else if size == 0 && self.pace.large > 0 {
            pool::lease_large(std::mem::take(&mut self.pace.large))
        } else {
            None
        };
        let other = other.or_else(|| {
            let is_small = size > 0 && filled <= SMALL_REST && size < pool::LEASE;
            is_small.then(pool::lease)
        });
        if let Some(storage) = other {
            match self.session.move_to(storage) {
                Ok(old) => old.into_iter().for_each(pool::give),
                Err(unfit) => pool::give(unfit),
            }
        }
    }

    /// Nothing arrives: the buffer goes back to the thread, and the beginning of a message, if it is small, into memory of
    /// its size.
    fn rest(&mut self) {
        self.wire.rest();
        let (size, filled) = (self.session.storage_len(), self.session.buffered());
        if size < pool::LEASE {
            return;
        }
        let storage = match filled {
            0 => self.session.rest().map(|(storage, _)| storage),
            1..=SMALL_REST => self.session.move_to(vec![0; filled]).ok().flatten(),
            _ => None,
        };
        storage.into_iter().for_each(pool::give);
    }

    /// Lets out what waits, as far as the transport takes it; returns whether all of it went.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        let mut began = None;
        if self.session.connection_ref().pending(self.beside) > 0 {
            // What waited may be a ping: its answer is due from now on (C-08).
            self.pace.now = self.pace.clock.now();
            self.session.connection().observe(self.pace.now);
            began = Some(self.pace.now);
        }
        loop {
            self.session.connection().queue_control(self.beside, self.wire);
            match self.wire.poll_flush(cx) {
                // After a failed write nothing more leaves, whatever is still owed.
                Poll::Ready(Ok(()))
                    if self.session.connection_ref().pending(self.beside) == 0 || self.wire.broken =>
                {
                    self.pace.stuck_since = Moment::NEVER;
                    // It was a send that met the error, and told it.
                    if self.wire.broken && self.session.connection_ref().can_send(self.beside) {
                        self.lose(self.wire.lost());
                    }
                    return true;
                }
                // Half a frame is out; whoever sends it goes on with it.
                Poll::Ready(Ok(())) if self.wire.cut => return false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.lose(error);
                    return true;
                }
                Poll::Pending => {
                    let now = began.unwrap_or_else(|| self.pace.clock.now());
                    self.pace.stuck_since.begin(now);
                    return false;
                }
            }
        }
    }

    /// The transport takes nothing more. The peer may have said something before it went: reading goes on, and finds the
    /// end by itself. A peer that took nothing for too long has had its time.
    #[cold]
    fn lose(&mut self, error: Error) {
        if matches!(error, Error::Timeout(_)) {
            self.pace.fail(error);
            return self.end(None);
        }
        if self.session.connection_ref().can_recv() {
            self.pace.fail(error);
            self.pace.now = self.pace.clock.now();
            self.session.connection().stop_sending(self.beside, self.pace.now);
        }
    }

    /// The transport has no more to read.
    fn end(&mut self, error: Option<io::Error>) {
        self.pace.eof = true;
        self.pace.now = self.pace.clock.now();
        if let Err(failure) = self.session.connection().recv_eof(self.beside, self.pace.now) {
            match error {
                Some(error) => self.pace.fail(Error::Lost(error)),
                None => self.pace.fail(failure),
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.pace.watch.sooner(self.session.connection_ref().deadline(self.beside));
        match (self.pace.park_at.get(), deadline) {
            (Some(park), Some(deadline)) => Some(park.min(deadline)),
            (park, deadline) => park.or(deadline),
        }
    }

    /// Compression state that is not used for a while goes back to its pool.
    #[inline]
    fn plan_parking(&mut self) {
        if self.pace.park_at.get().is_none()
            && let Some(idle) = self.idle()
        {
            self.pace.park_at.begin(self.pace.now.saturating_add(idle));
        }
    }

    #[inline]
    fn idle(&self) -> Option<Duration> {
        let is_live = deflate::is_live(self.session) || C::is_live_beside(self.beside);
        is_live.then(|| deflate::idle(self.session.connection_ref().config()))
    }

    fn park(&mut self) {
        if self.pace.park_at.get().is_some_and(|at| at <= self.pace.now) {
            deflate::park(self.session);
            C::park_beside(self.beside);
            self.pace.park_at = Moment::NEVER;
            self.plan_parking();
        }
    }

    #[inline]
    fn is_timer_set(&self, cx: &Context<'_>) -> bool {
        let deadline = self.next_deadline();
        deadline.is_none_or(|deadline| self.pace.timer.is_set(cx, self.pace.now, deadline))
    }

    /// Keeps the deadlines; returns whether one was reached, so that something may have changed.
    pub(crate) fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.next_deadline() else { return false };
        if self.pace.timer.poll(cx, self.pace.clock, deadline).is_pending() {
            return false;
        }
        self.pace.now = self.pace.clock.now();
        self.pace.watch.tick(self.pace.now);
        self.park();
        if let Err(failure) = self.session.connection().tick(self.beside, self.pace.now) {
            self.pace.fail(failure);
        }
        true
    }
}
