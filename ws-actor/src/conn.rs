//! The tokio task that drives one connection: socket, protocol core, [`Link`].
//!
//! A turn does, as long as something moves: give the event in hand to the actor; read, if no event is in hand; take
//! messages from the outbox; write. The four do not wait for one another, except for the one rule of
//! `link.rs`: no reading while an event waits. The protocol is ws-core's `Session`, with its storage leased from the
//! thread while bytes are in flight.
//!
//! Deadlines beside the core's own: a socket that takes no byte for the write timeout; an actor that takes no event
//! for the mailbox timeout; a peer that, once this side closes, does not take what was sent before.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};
use ws_core::{Advance, Event, Failure, Instant, Part, Session, Transport};

use crate::buffers;
use crate::compress::{self, Negotiated};
use crate::event::{CloseFrame, Message, Reason};
use crate::hear;
use crate::id::ConnId;
use crate::link::Link;
use crate::outbox::Out;
use crate::outgoing::Control;
use crate::output::Output;
use crate::patience::{Patience, Waits};
use crate::report::{FailureReport, Observer};

/// A partial message of at most this size is copied out of the leased buffer, which goes back.
const SMALL_REST: usize = 4 << 10;

/// A binary message of this size or more leaves with the buffer that it came in, if it fills half of it.
const DETACHED: usize = 32 << 10;

/// The observer of a connection's failure, and the peer's address.
pub(crate) struct Watch {
    pub(crate) observer: Arc<Observer<FailureReport>>,
    pub(crate) remote_addr: SocketAddr,
}

impl Watch {
    /// Tells how a connection ended; a rule may have been broken after this side had asked to close, which names the end
    /// but is no failure.
    pub(crate) fn tell(&self, id: ConnId, reason: &Reason, cause: Option<&Reason>) {
        self.observer.report_end(self.remote_addr, id, [Some(reason), cause]);
    }
}

/// Now, as the core counts it: by the clock of the runtime, which tests may have paused or advanced.
pub(crate) fn now() -> Instant {
    Instant::since(epoch(), tokio::time::Instant::now().into_std())
}

/// The instant from which this is counted.
pub(crate) fn epoch() -> std::time::Instant {
    // Real, and a day back: no clock that was paused earlier, or advanced before this, makes it later than now.
    static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(|| {
        let now = std::time::Instant::now();
        now.checked_sub(Duration::from_secs(86_400)).unwrap_or(now)
    });
    *EPOCH
}

/// A connection whose opening handshake is done.
pub(crate) struct Open<S> {
    pub(crate) io: S,
    /// What came behind the handshake's head.
    pub(crate) early: Vec<u8>,
    pub(crate) connection: Negotiated,
    pub(crate) link: Link,
    pub(crate) watch: Option<Box<Watch>>,
}

/// Drives a connection to its end, and tells how it ended.
///
/// No `async fn`: its future would have room for the arguments as well, for as long as the connection lives.
pub(crate) fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    open: Open<S>,
    patience: Patience,
) -> impl Future<Output = Reason> + use<S> {
    let Open { io, early, connection, link, watch } = open;
    let mut session = connection.into_session();
    if !early.is_empty() {
        let filled = early.len();
        session.restore(early, filled);
    }
    let mut conn = Conn {
        io,
        session,
        output: Output::default(),
        unflushed: false,
        patience,
        now: now(),
        eof: false,
        shut_down: false,
        cause: None,
        waits: Waits::default(),
        discarding: false,
        park_at: None,
        alarm: None,
        link: Some(link),
        watch,
    };
    poll_fn(move |cx| {
        let last = ready!(conn.poll(cx));
        conn.finish(last.clone());
        conn.give_back();
        Poll::Ready(conn.cause.take().unwrap_or(last))
    })
}

struct Conn<S> {
    io: S,
    session: Session<Vec<u8>>,
    output: Output,
    /// The stream may hold back what was written to it.
    unflushed: bool,
    patience: Patience,
    /// Read once per turn.
    now: Instant,
    eof: bool,
    shut_down: bool,
    /// What ended the connection, once something did; when the actor has been told, what it was told.
    cause: Option<Reason>,
    waits: Waits,
    /// Data that the peer still sends is checked and dropped.
    discarding: bool,
    /// When live compression state is looked after.
    park_at: Option<Instant>,
    /// Boxed, and re-armed only when it must ring earlier: most of its errands are put off before they are due.
    alarm: Option<Alarm>,
    /// Until the last word is out: what lingers is no longer a connection.
    link: Option<Link>,
    /// Boxed, for most have no observer.
    watch: Option<Box<Watch>>,
}

/// Whether a step moved something, so that the others are worth another look.
type Moved = bool;

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        self.now = now();
        if self.link.as_mut().is_some_and(|link| link.attend(cx, self.now)) {
            self.waits.event.end();
        }
        if self.link.as_ref().is_some_and(Link::is_aborted) {
            // The close frame, if there is room for it.
            let _ = self.write(cx);
            return Poll::Ready(self.reason(Reason::Aborted));
        }
        loop {
            loop {
                let mut moved = self.deliver(cx);
                moved |= self.receive(cx);
                moved |= match self.write(cx) {
                    Ok(moved) => moved,
                    Err(error) => {
                        // The peer's close frame may have come before it stopped to listen.
                        self.receive(cx);
                        return Poll::Ready(self.reason(Reason::Io(error.kind())));
                    }
                };
                if self.session.connection_ref().transport() == Transport::Close {
                    return Poll::Ready(self.reason(Reason::Io(io::ErrorKind::UnexpectedEof)));
                }
                if !moved {
                    break;
                }
            }
            self.rest();
            match self.wait(cx) {
                // The alarm rang and the core may have something to say.
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(reason) => return Poll::Ready(self.reason(reason)),
            }
        }
    }

    /// How the connection ended: what this side wanted, else what was noticed first.
    fn reason(&mut self, last: Reason) -> Reason {
        let ending = self.link.as_ref().and_then(Link::ending);
        ending.or_else(|| self.cause.take()).unwrap_or(last)
    }

    /// Tells the actor, which need not wait for a peer that is slow to hang up.
    fn finish(&mut self, reason: Reason) {
        if let Some(link) = self.link.take() {
            if let Some(watch) = self.watch.take() {
                watch.tell(link.id(), &reason, self.cause.as_ref());
            }
            self.cause = Some(reason.clone());
            link.finish(reason);
        }
    }

    /// Gives the event in hand to the actor.
    fn deliver(&mut self, cx: &Context<'_>) -> Moved {
        let Some(link) = self.link.as_mut().filter(|link| !link.is_free()) else { return false };
        if link.poll_deliver(cx).is_ready() {
            self.waits.event.end();
            true
        } else {
            self.waits.event.begin(self.now);
            false
        }
    }

    /// Whether the socket may be read: nothing is in hand, or nothing will be, because data is dropped from now on.
    fn may_receive(&self) -> bool {
        let may_hold = |link: &Link| link.is_free() && !link.is_paused(self.now);
        !self.eof && (self.discarding || self.link.as_ref().is_none_or(may_hold))
    }

    /// Takes what has arrived, until the socket has no more or the actor has to be waited for.
    fn receive(&mut self, cx: &mut Context<'_>) -> Moved {
        let mut moved = false;
        let mut has_read = false;
        while self.may_receive() {
            let at_least = match self.session.advance(self.now) {
                Ok(Advance::Event) => {
                    self.take_event(cx);
                    moved = true;
                    self.deliver(cx);
                    continue;
                }
                Ok(Advance::Read { at_least }) => at_least,
                // Closed or failed: what still comes is read and thrown away.
                Ok(Advance::Finished) => 1,
                Err(failure) => {
                    self.note(failure);
                    moved = true;
                    continue;
                }
            };
            if has_read {
                // One read per turn: replies go out before more is asked for.
                break;
            }
            match self.read(cx, at_least) {
                Poll::Ready(Ok(0)) => {
                    self.eof = true;
                    if let Err(failure) = self.session.connection().recv_eof(self.now) {
                        self.note(failure);
                    }
                    moved = true;
                }
                Poll::Ready(Ok(_)) => {
                    has_read = true;
                    moved = true;
                }
                Poll::Ready(Err(error)) => {
                    self.eof = true;
                    self.cause.get_or_insert(Reason::Io(error.kind()));
                    let _ = self.session.connection().recv_eof(self.now);
                    moved = true;
                }
                Poll::Pending => break,
            }
        }
        moved
    }

    fn read(&mut self, cx: &mut Context<'_>, at_least: usize) -> Poll<io::Result<usize>> {
        let buffered = self.session.buffered();
        if (1..=SMALL_REST).contains(&buffered) && self.session.storage_len() < buffers::SIZE {
            // A rest that was copied out goes to the front of a buffer worth reading into.
            if let Some((rest, filled)) = self.session.rest() {
                let mut storage = buffers::lease();
                storage[..filled].copy_from_slice(&rest[..filled]);
                self.session.restore(storage, filled);
            }
        }
        let space = self.session.space(buffers::lease, at_least);
        if space.is_empty() {
            // Storage that grows is never full; but an empty read would look like the end.
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let mut buf = ReadBuf::new(space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        let n = buf.filled().len();
        let awaited = self.session.connection_ref().awaits_pong_since().filter(|_| n > 0);
        if let (Some(since), Some(link)) = (awaited, &self.link) {
            link.hear_after(self.now.saturating_since(since));
        }
        self.session.received(n);
        Poll::Ready(Ok(n))
    }

    /// Gives the session's event to the actor, or has it in hand.
    fn take_event(&mut self, cx: &Context<'_>) {
        let storage_len = self.session.storage_len();
        let is_large = |bytes: &[u8]| bytes.len() >= DETACHED && 2 * bytes.len() >= storage_len;
        let Some(link) = &mut self.link else { return };
        let (message, part) = match self.session.event() {
            None => return,
            Some(Event::Binary(bytes)) if is_large(bytes) => match self.session.detach(buffers::lease()) {
                Ok((storage, range)) => (Message::Binary(Bytes::from(storage).slice(range)), Part::Whole),
                Err(unused) => return buffers::give_back(unused),
            },
            Some(event) => {
                if let Event::Close(closed) = &event {
                    let reason = link.hear_end(closed);
                    self.cause.get_or_insert(reason);
                }
                if !link.sees(&event) {
                    return;
                }
                hear::message(&event)
            }
        };
        link.hear(cx, message, part, self.now);
    }

    fn note(&mut self, failure: Failure) {
        self.cause.get_or_insert(hear::reason(failure));
        if let Some(link) = &self.link {
            link.hang_up();
        }
    }

    /// Encodes what waits and writes what is encoded, and shuts down when the core says so.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<Moved> {
        // Whatever is written, nothing else goes on by that; but for what the end of this side changes.
        let (mut moved, was_discarding) = (false, self.discarding);
        loop {
            match &self.link {
                // What is encoded can give way to nothing newer any more: a socket that takes none of it gets no more of it.
                Some(link) if !self.output.is_empty() && link.keeps_latest() => link.watch(cx),
                _ => self.encode(cx),
            }
            moved |= self.discarding != was_discarding;
            if self.output.is_empty() {
                self.waits.stuck.end();
                self.flush(cx)?;
                break;
            }
            match self.output.poll_write(&mut self.io, cx) {
                Poll::Ready(result) => {
                    result?;
                    self.unflushed = true;
                    self.waits.stuck.end();
                }
                Poll::Pending => {
                    self.waits.stuck.begin(self.now);
                    if self.link.as_ref().and_then(Link::ending).is_some() {
                        self.waits.closing.begin(self.now);
                    }
                    return Ok(moved);
                }
            }
        }
        if !self.shut_down && self.session.connection_ref().transport() == Transport::Shutdown {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Ready(result) => {
                    result?;
                    self.shut_down = true;
                    self.session.connection().shut_down(self.now);
                    let reason = self.reason(Reason::Io(io::ErrorKind::UnexpectedEof));
                    self.finish(reason);
                    moved = true;
                }
                Poll::Pending => {
                    self.waits.stuck.begin(self.now);
                }
            }
        }
        let connection = self.session.connection_ref();
        if self.link.is_some()
            && !connection.can_send()
            && !connection.can_recv()
            && connection.pending() == 0
        {
            // Both close frames are through. 7.1.1: a client waits for the server to end the transport; the server need
            // not wait.
            let reason = self.reason(Reason::Io(io::ErrorKind::UnexpectedEof));
            self.finish(reason);
            moved = true;
        }
        Ok(moved)
    }

    /// Has a stream that buffers what is written, as TLS does, send it. More may be written meanwhile: a stream whose
    /// buffer is full takes no byte, and that is when it is stuck.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(result) = Pin::new(&mut self.io).poll_flush(cx)
        {
            self.unflushed = false;
            result?;
        }
        Ok(())
    }

    /// Fills the output with control frames that are due and with messages from the outbox.
    fn encode(&mut self, cx: &mut Context<'_>) {
        let connection = self.session.connection();
        while self.output.has_room() {
            self.output.transmit(connection);
            if connection.pending() > 0 || !self.output.has_room() {
                break;
            }
            if self.output.encode_fragment(connection) {
                continue;
            }
            if !connection.can_send() {
                break;
            }
            let Some(link) = &mut self.link else { break };
            match link.poll_outgoing(cx) {
                Poll::Ready(Out::Data(frame)) => {
                    link.went(self.now);
                    self.output.begin(frame);
                }
                Poll::Ready(Out::Control(control)) => {
                    // The core's queue was emptied above, and lengths were checked when this was sent.
                    let _ = match &control {
                        Control::Ping(bytes) => connection.ping(bytes),
                        Control::Pong(bytes) => connection.pong(bytes),
                    };
                }
                Poll::Ready(Out::Close(frame)) => {
                    let _ = connection.close(self.now, frame.as_ref().map(CloseFrame::borrow));
                    if !matches!(link.ending(), Some(Reason::Local(_))) {
                        // Cut: what the peer may still say is not wanted.
                        connection.discard_data();
                        self.discarding = true;
                    }
                }
                Poll::Pending => break,
            }
        }
    }

    /// Gives storage back before the task sleeps.
    fn rest(&mut self) {
        self.output.rest();
        if self.session.buffered() > SMALL_REST {
            return;
        }
        if let Some((storage, filled)) = self.session.rest() {
            if filled > 0 {
                self.session.restore(storage[..filled].to_vec(), filled);
            }
            buffers::give_back(storage);
        }
    }

    /// At the end: the thread's next connection would have to make new buffers.
    fn give_back(&mut self) {
        self.output.give_back();
        if let Some((storage, _)) = self.session.rest() {
            buffers::give_back(storage);
        }
    }

    /// Gives compression state that was not used for a while back to its pool, and tells when to look again.
    fn park(&mut self) -> Option<Instant> {
        if self.park_at.is_some_and(|at| at <= self.now) {
            compress::park(&mut self.session);
            self.park_at = None;
        }
        if self.park_at.is_none() {
            self.park_at = compress::idle(&self.session).map(|idle| self.now.saturating_add(idle));
        }
        self.park_at
    }

    /// Sees to deadlines and has the task woken at the next. `Ok(true)`: look again, time has changed something.
    fn wait(&mut self, cx: &mut Context<'_>) -> Result<bool, Reason> {
        loop {
            let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= self.now);
            let write = self.waits.write_deadline(&self.patience);
            let mailbox = self.waits.mailbox_deadline(&self.patience);
            if is_due(write) {
                return Err(Reason::SlowConsumer);
            }
            if is_due(mailbox) {
                self.waits.event.end();
                if let Some(link) = &self.link {
                    link.cut(CloseFrame::TARGET_BUSY, Reason::TargetBusy);
                }
                return Ok(true);
            }
            if !self.may_receive() && !self.eof {
                self.session.connection().pause(self.now);
            }
            if self.link.as_mut().is_some_and(|link| link.tick(self.now)) {
                return Ok(true);
            }
            let own = self.link.as_ref().and_then(Link::deadline);
            let park = self.park();
            let core = self.session.connection_ref().deadline();
            if core.is_some_and(|deadline| deadline <= self.now) {
                if let Err(failure) = self.session.connection().tick(self.now) {
                    self.note(failure);
                }
                return Ok(true);
            }
            let Some(deadline) = [write, mailbox, own, park, core].into_iter().flatten().min() else {
                return Ok(false);
            };
            if self
                .alarm
                .get_or_insert_with(|| Alarm::new(cx, self.now, deadline))
                .is_quiet(cx, self.now, deadline)
            {
                return Ok(false);
            }
            // It rang, maybe for something that was put off since.
            self.alarm = None;
            self.now = now();
        }
    }
}

/// Rings at a deadline, or before it.
struct Alarm {
    at: Instant,
    /// The task that is woken.
    waker: Waker,
    sleep: Pin<Box<Sleep>>,
    is_set: bool,
}

impl Alarm {
    fn new(cx: &Context<'_>, now: Instant, deadline: Instant) -> Self {
        let sleep = Box::pin(sleep_until(clock(now, deadline)));
        Self { at: deadline, waker: cx.waker().clone(), sleep, is_set: false }
    }

    /// Has the task woken at `deadline` or before, unless it rings now. Most turns of a task find it set, and leave the
    /// runtime's timer alone, which is in nobody's cache.
    fn is_quiet(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Instant) -> bool {
        let is_set = self.is_set && self.at > now && self.waker.will_wake(cx.waker());
        if is_set && self.at <= deadline {
            return true;
        }
        if deadline < self.at {
            self.at = deadline;
            self.sleep.as_mut().reset(clock(now, deadline));
        }
        self.waker.clone_from(cx.waker());
        self.is_set = self.sleep.as_mut().poll(cx).is_pending();
        self.is_set
    }
}

/// The tokio instant of a core deadline.
fn clock(now: Instant, deadline: Instant) -> tokio::time::Instant {
    // A millisecond late rather than early: timers of the runtime are that coarse.
    tokio::time::Instant::now() + deadline.saturating_since(now).min(Duration::from_secs(86_400))
}
