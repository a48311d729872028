//! What a loop does with a connection: socket and protocol are ws-mio's, the rest is the [`Link`]'s.
//!
//! `link.rs` has the four rules. Here they are kept like this: a connection whose actor has not taken an event is paused,
//! which stops its reading and nothing else; its waker has the loop look again; whatever is queued for it meanwhile is
//! written. What is encoded and does not leave is bounded by [`ROOM`] and one part of a message: more stays in the outbox,
//! where its policy holds.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ws_core::{Event, Instant, Kind, Message};
use ws_mio::{Acceptance, ConnId, Error, Handler, Refusal, Visitor};

use crate::conn::Watch;
use crate::event::{CloseFrame, Reason};
use crate::hear;
use crate::link::Link;
use crate::outbox::Out;
use crate::outgoing::{Control, Frame, Shared};
use crate::patience::{Patience, Waits};

/// Messages are encoded while less than this waits to be written.
const ROOM: usize = 64 << 10;

/// Messages above this size are cut into fragments of it, so that pongs can overtake them.
const FRAGMENT: usize = 64 << 10;

/// Maximum number of messages that are taken from an outbox in one turn; then other connections have theirs.
const A_TURN: usize = 1_024;

/// After so many events in a row, answers are looked for: an actor that is as fast as its client would fill the outbox while
/// the loop still reads.
const EVENTS: u8 = 32;

/// One loop's side of it, without a state of its own: that is with the connections.
pub(super) struct Driver;

type Peer<'a> = ws_mio::Peer<'a, Box<Attached>>;

/// What is kept with a connection.
pub(super) struct Attached {
    /// Until it ends.
    link: Option<Link>,
    /// Has the loop look after this connection.
    waker: Waker,
    /// What is left of the message that is being sent. Boxed, as the others are that are seldom there.
    rest: Option<Box<Rest>>,
    /// What ended the connection, once something did.
    cause: Option<Box<Reason>>,
    /// Why this side ended it without a closing handshake.
    cut: Option<Cut>,
    waits: Waits,
    patience: Arc<Patience>,
    /// Data that the peer still sends is checked and dropped.
    discarding: bool,
    /// Events since the outbox was looked at.
    heard: u8,
    /// Boxed, for most have no observer.
    watch: Option<Box<Watch>>,
}

enum Rest {
    /// Sent up to here.
    Message(Frame, usize),
    Shared(Shared),
}

#[derive(Clone, Copy)]
enum Cut {
    Aborted,
    Slow,
}

impl Attached {
    pub(super) fn new(link: Link, patience: Arc<Patience>, watch: Option<Box<Watch>>) -> Self {
        Self {
            link: Some(link),
            waker: Waker::noop().clone(),
            rest: None,
            cause: None,
            cut: None,
            waits: Waits::default(),
            patience,
            discarding: false,
            heard: 0,
            watch,
        }
    }

    fn set_lags(&self, lags: bool) {
        if let Some(link) = &self.link {
            link.entry().set_lags(lags);
        }
    }

    /// Gives the events in hand to the actor.
    fn deliver(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let cx = Context::from_waker(&self.waker);
        while !link.is_free() {
            if link.poll_deliver(&cx).is_pending() {
                self.waits.event.begin(now);
                return;
            }
            self.waits.event.end();
        }
    }

    /// Whether the socket may be read: nothing is in hand, or nothing will be, because data is dropped from now on.
    fn may_read(&self, now: Instant) -> bool {
        let may_hold = |link: &Link| link.is_free() && !link.is_paused(now);
        self.discarding || self.link.as_ref().is_none_or(may_hold)
    }

    /// The next thing to write.
    fn next_out(&mut self, now: Instant) -> Option<Out> {
        let link = self.link.as_mut()?;
        let Poll::Ready(out) = link.poll_outgoing(&Context::from_waker(&self.waker)) else { return None };
        if let Out::Data(_) = &out {
            link.went(now);
        }
        Some(out)
    }

    /// Has the loop look again when something is queued, with what is encoded still to be written.
    fn watch_outbox(&self) {
        if let Some(link) = &self.link {
            link.watch(&Context::from_waker(&self.waker));
        }
    }

    fn keeps_latest(&self) -> bool {
        self.link.as_ref().is_some_and(Link::keeps_latest)
    }

    /// Does what others asked for: a move above all. `false`: the connection is to end now.
    fn attend(&mut self, now: Instant) -> bool {
        let Some(link) = &mut self.link else { return false };
        if link.attend(&Context::from_waker(&self.waker), now) {
            self.waits.event.end();
        }
        !link.is_aborted()
    }

    /// Sees to deadlines. `true`: look again, time has changed something.
    fn pass_time(&mut self, stalled_since: Option<Instant>, now: Instant) -> bool {
        let Some(link) = &mut self.link else { return false };
        self.waits.stuck = stalled_since.into();
        if stalled_since.is_some() && link.ending().is_some() {
            self.waits.closing.begin(now);
        }
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.waits.write_deadline(&self.patience)) {
            self.cut = Some(Cut::Slow);
            return false;
        }
        if is_due(self.waits.mailbox_deadline(&self.patience)) {
            self.waits.event.end();
            link.cut(CloseFrame::TARGET_BUSY, Reason::TargetBusy);
            return true;
        }
        link.tick(now)
    }

    /// Tells the actor how it ended: what this side wanted, else what was noticed first.
    fn finish(mut self, end: Result<(), Error>) {
        let Some(link) = self.link.take() else { return };
        let noticed = match end {
            Err(Error::Violation(violation)) => Some(Reason::Protocol(violation)),
            Err(Error::Timeout(timer)) => Some(Reason::Timeout(timer)),
            Err(Error::Lost(error)) => Some(Reason::Io(error.kind())),
            _ => None,
        };
        let mut cause = self.cause.take().map(|cause| *cause).or(noticed);
        let last = match self.cut {
            Some(Cut::Aborted) => Reason::Aborted,
            Some(Cut::Slow) => Reason::SlowConsumer,
            None => Reason::Io(io::ErrorKind::UnexpectedEof),
        };
        let reason = link.ending().or_else(|| cause.take()).unwrap_or(last);
        if let Some(watch) = self.watch.take() {
            watch.tell(link.id(), &reason, cause.as_ref());
        }
        link.finish(reason);
    }
}

impl Handler for Driver {
    type State = Box<Attached>;

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<Self::State>, Refusal> {
        // Nobody asks: these loops listen nowhere.
        Err(Refusal::new(503, "nothing is open here\n"))
    }

    fn adopt(&mut self, state: Box<dyn Any + Send>) -> Option<Self::State> {
        state.downcast().ok()
    }

    fn open(&mut self, peer: &mut Peer<'_>) {
        peer.state.waker = peer.remote().waker(peer.id());
        peer.state.set_lags(true);
        contained(peer, turn);
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_>) {
        contained(peer, |peer| hear(&event, peer));
    }

    fn woken(&mut self, peer: &mut Peer<'_>) {
        contained(peer, turn);
    }

    fn stalled(&mut self, peer: &mut Peer<'_>) {
        peer.state.waits.stuck = peer.stalled_since().into();
        peer.state.set_lags(false);
    }

    fn drained(&mut self, peer: &mut Peer<'_>) {
        peer.state.set_lags(true);
        contained(peer, turn);
        // What waited here may be more than the socket takes, and there is no second report of that.
        if peer.stalled_since().is_some() {
            peer.state.set_lags(false);
        }
    }

    fn deadline(&self, state: &Self::State) -> Option<Instant> {
        let Attached { link, waits, patience, .. } = &**state;
        let own = link.as_ref().and_then(Link::deadline);
        [waits.write_deadline(patience), waits.mailbox_deadline(patience), own].into_iter().flatten().min()
    }

    fn tick(&mut self, peer: &mut Peer<'_>) {
        contained(peer, turn);
    }

    fn closed(&mut self, _: ConnId, state: Self::State, end: Result<(), Error>) {
        // A panic of an observer concerns nobody else.
        let _ = catch_unwind(AssertUnwindSafe(|| state.finish(end)));
    }
}

/// A panic, of an observer or of a payload's owner, ends this one connection, as it would a task.
fn contained(peer: &mut Peer<'_>, act: impl FnOnce(&mut Peer<'_>)) {
    if catch_unwind(AssertUnwindSafe(|| act(peer))).is_err() {
        let link = peer.state.link.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(link)));
        peer.abort();
    }
}

/// All that there is to do outside of an event.
fn turn(peer: &mut Peer<'_>) {
    let now = peer.now();
    if !peer.state.attend(now) {
        // The close frame, if there is room for it.
        pump(peer, now);
        cut(peer, Cut::Aborted);
        return;
    }
    loop {
        peer.state.deliver(now);
        pump(peer, now);
        let stalled_since = peer.stalled_since();
        if !peer.state.pass_time(stalled_since, now) {
            break;
        }
    }
    if let Some(why) = peer.state.cut {
        cut(peer, why);
        return;
    }
    hold(peer, now);
}

fn cut(peer: &mut Peer<'_>, why: Cut) {
    peer.state.cut = Some(why);
    peer.abort();
}

/// Reads on, or does not.
fn hold(peer: &mut Peer<'_>, now: Instant) {
    if peer.state.may_read(now) {
        peer.resume();
    } else {
        peer.pause();
    }
}

/// Something has come.
fn hear(event: &Event<'_>, peer: &mut Peer<'_>) {
    let (now, round_trip) = (peer.now(), peer.round_trip());
    // What others asked for before this was sent, such as another actor or topic, goes before it. The loop may not have
    // come to their wake-up yet.
    if peer.state.link.is_some() && !peer.state.attend(now) {
        return turn(peer);
    }
    let own = &mut **peer.state;
    own.deliver(now);
    let Some(link) = &mut own.link else { return };
    if let Some(round_trip) = round_trip {
        link.hear_after(round_trip);
    }
    if let Event::Close(closed) = event {
        let reason = link.hear_end(closed);
        own.cause.get_or_insert_with(|| Box::new(reason));
    }
    if link.sees(event) {
        let (message, part) = hear::message(event);
        link.hear(&Context::from_waker(&own.waker), message, part, now);
        own.deliver(now);
    }
    own.heard += 1;
    if own.heard == EVENTS {
        pump(peer, now);
    }
    hold(peer, now);
}

/// Encodes what waits in the outbox, as far as the socket takes it.
fn pump(peer: &mut Peer<'_>, now: Instant) {
    peer.state.heard = 0;
    for _ in 0..A_TURN {
        let queued = peer.queued();
        if queued > 0 && peer.state.keeps_latest() && !peer.flush() {
            // What is encoded can give way to nothing newer any more: a socket that takes none of it gets no more of it.
            peer.state.watch_outbox();
            return;
        }
        if queued >= ROOM && !peer.flush() {
            return;
        }
        match peer.state.rest.take().map(|rest| *rest) {
            Some(Rest::Message(frame, sent)) => {
                send(peer, frame, sent);
                continue;
            }
            Some(Rest::Shared(shared)) => {
                send_shared(peer, shared);
                continue;
            }
            None => {}
        }
        if !peer.can_send() {
            return;
        }
        match peer.state.next_out(now) {
            Some(Out::Data(frame)) => send(peer, frame, 0),
            Some(Out::Control(control)) => {
                if send_control(peer, &control).is_err() {
                    // There were as many before it as may wait.
                    peer.flush();
                    let _ = send_control(peer, &control);
                }
            }
            Some(Out::Close(frame)) => {
                let _ = peer.close(frame.as_ref().map(CloseFrame::borrow));
                let ending = peer.state.link.as_ref().and_then(Link::ending);
                if !matches!(ending, Some(Reason::Local(_))) {
                    // Cut: what the peer may still say is not wanted.
                    peer.discard_data();
                    peer.state.discarding = true;
                }
            }
            None => return,
        }
    }
    peer.state.waker.wake_by_ref();
}

fn send_control(peer: &mut Peer<'_>, control: &Control) -> Result<(), Error> {
    match control {
        Control::Ping(bytes) => peer.ping(bytes),
        Control::Pong(bytes) => peer.pong(bytes),
    }
}

/// Encodes a message, or the next part of a long one. It is refused after a close frame, and by a socket that is lost.
fn send(peer: &mut Peer<'_>, frame: Frame, sent: usize) {
    let (len, part) = frame.next_part(sent, FRAGMENT);
    if let Some(many) = frame.many().filter(|_| part.is_first()) {
        if part.is_last() {
            let _ = peer.send_prepared(many.prepared());
            return;
        }
        // Plain, each frame is its own, and needs no copy of the message.
        if peer.compresses(frame.payload_len()) {
            let prepared = many.prepared();
            let made = peer.prepared_frame(prepared).ok();
            if let Some(shared) = made.and_then(|made| Shared::new(prepared, made)) {
                send_shared(peer, shared);
            }
            return;
        }
    }
    let payload = &frame.payload()[sent..sent + len];
    let message = match frame.kind() {
        Kind::Binary => Message::Binary(payload),
        Kind::Text => match std::str::from_utf8(payload) {
            Ok(text) => Message::Text(text),
            // A text that is none cannot have become a frame.
            Err(_) => return,
        },
    };
    if peer.send_part(message, part).is_ok() && !part.is_last() {
        peer.state.rest = Some(Box::new(Rest::Message(frame, sent + len)));
    }
}

/// Encodes the next part of a frame that others share.
fn send_shared(peer: &mut Peer<'_>, shared: Shared) {
    let (header, payload, rest) = shared.cut(FRAGMENT);
    if peer.put_frame(header, &payload).is_ok() {
        peer.state.rest = rest.map(|rest| Box::new(Rest::Shared(rest)));
    }
}

// With what the Hub knows of a connection and its name there, an idle one stays below 1 KiB.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Attached>() <= 184 && size_of::<crate::entry::Entry>() <= 408);
