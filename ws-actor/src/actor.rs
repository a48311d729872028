//! Actors: the [`WsActor`] trait, the [`Context`] of its calls, and the task that runs one.
//!
//! An actor is a value that one task owns; its methods are called one after the other, so its state needs no lock.
//! A panic ends that task and no other: a guard frees the name and closes the actor's connections with 1011 while
//! the task unwinds. The same guard works when the runtime drops the task.

use std::any::TypeId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::decision::Relay;
use crate::event::{CloseFrame, Connect, Disconnect, Event, Heartbeat, Inbound};
use crate::hub::{Hub, SendError, Sent};
use crate::id::ConnId;
use crate::mailbox::{Letter, Mailbox};
use crate::outgoing::Outgoing;
use crate::room::Room;
use crate::seat::RetargetError;
use crate::sync::take_half_full;
use crate::target::Target;

/// What happens on connections, one call at a time.
///
/// For every connection: one `connect`, its messages in order, one `disconnect`; then nothing. Calls about different
/// connections come in the order in which things happened, as far as one process can tell.
///
/// What a method sends leaves when it waits or returns, and an outbox holds 256 messages by default: a method that has
/// more for one connection should leave them to a task that waits for room ([`Hub::send_acked`]).
///
/// A method that takes long stops the reading of its connections, not the writing to them. What may take
/// long and does not change the actor belongs into a task of its own, which answers through the [`Hub`].
///
/// An actor that panics is not called again, since its state cannot be trusted: it gets no `disconnect`s. Its
/// connections are closed with 1011.
pub trait WsActor: Send + Sized + 'static {
    /// The program's own messages to this actor ([`Target::cast`], [`Context::after`]); `()` if there are none.
    type Cast: Send + 'static;

    /// A connection is open.
    fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) -> impl Future<Output = ()> + Send {
        let _ = (cx, connect);
        async {}
    }

    /// A message has arrived.
    fn message(&mut self, cx: &mut Context<Self>, message: Inbound) -> impl Future<Output = ()> + Send;

    /// A connection is gone.
    fn disconnect(
        &mut self,
        cx: &mut Context<Self>,
        disconnect: Disconnect,
    ) -> impl Future<Output = ()> + Send {
        let _ = (cx, disconnect);
        async {}
    }

    /// So much time has passed, on a connection that was accepted with [`Relay::heartbeat`](crate::Relay::heartbeat).
    fn heartbeat(&mut self, cx: &mut Context<Self>, heartbeat: Heartbeat) -> impl Future<Output = ()> + Send {
        let _ = (cx, heartbeat);
        async {}
    }

    /// The program, or the actor itself, has a message for it.
    fn cast(&mut self, cx: &mut Context<Self>, message: Self::Cast) -> impl Future<Output = ()> + Send {
        let _ = (cx, message);
        async {}
    }

    /// The Hub shuts down ([`Hub::shutdown`]), and will close the actor's connections when this is done: time to say a
    /// last word and to write down what has to last. What is left after so much time is cut. Messages still come, and
    /// `disconnect`s.
    fn drain(&mut self, cx: &mut Context<Self>, left: Duration) -> impl Future<Output = ()> + Send {
        let _ = (cx, left);
        async {}
    }
}

/// What an actor can do besides changing its own state.
pub struct Context<A: WsActor> {
    hub: Hub,
    me: Target,
    timers: BinaryHeap<Reverse<Timer<A::Cast>>>,
    timers_set: u64,
    stopping: bool,
}

impl<A: WsActor> Context<A> {
    /// The Hub that the actor was spawned on.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The actor's own handle.
    pub fn me(&self) -> &Target {
        &self.me
    }

    /// [`Hub::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, to: ConnId, message: impl Into<Outgoing>) -> Result<(), SendError> {
        self.hub.send(to, message)
    }

    /// [`Hub::broadcast`]: to all connections of the Hub, also those of other actors.
    pub fn broadcast(&self, message: impl Into<Outgoing>) -> Sent {
        self.hub.broadcast(message)
    }

    /// [`Hub::room`].
    pub fn room(&self, name: impl AsRef<str>) -> Room {
        self.hub.room(name)
    }

    /// [`Hub::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(&self, id: ConnId, frame: CloseFrame) -> Result<(), SendError> {
        self.hub.close(id, frame)
    }

    /// [`Hub::retarget`].
    ///
    /// # Errors
    /// As there.
    pub fn retarget(&self, id: ConnId, relay: Relay) -> Result<(), RetargetError> {
        self.hub.retarget(id, relay)
    }

    /// Has [`WsActor::cast`] called with this message when so much time has passed. What an actor has set ends with
    /// it.
    pub fn after(&mut self, delay: Duration, message: A::Cast) {
        let at = Instant::now().checked_add(delay);
        // A point in time that the clock cannot tell never comes.
        if let Some(at) = at {
            self.timers_set += 1;
            self.timers.push(Reverse(Timer { at, seq: self.timers_set, message }));
        }
    }

    /// Ends the actor after this call: its name is free and its connections close with 1011 at once; then it is
    /// called for the `disconnect` of each, and dropped. Connections that it has moved to another actor
    /// ([`Context::retarget`]) go on there, and it is called for the messages of theirs that it has not seen.
    pub fn stop(&mut self) {
        self.stopping = true;
    }
}

impl<A: WsActor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("me", &self.me).finish_non_exhaustive()
    }
}

struct Timer<C> {
    at: Instant,
    /// Timers of the same instant come in the order in which they were set.
    seq: u64,
    message: C,
}

impl<C> PartialEq for Timer<C> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<C> Eq for Timer<C> {}

impl<C> PartialOrd for Timer<C> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<C> Ord for Timer<C> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// Why an actor was not spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// An actor of this name runs already.
    NameTaken,
    /// There is no tokio runtime here to run it on.
    NoRuntime,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameTaken => "an actor of this name runs already",
            Self::NoRuntime => "actors are spawned from within a tokio runtime",
        })
    }
}

impl std::error::Error for SpawnError {}

impl Hub {
    /// Starts an actor under a name. `make` makes its state, on the actor's own task.
    ///
    /// # Errors
    /// [`SpawnError`] tells the cases.
    pub fn spawn<A: WsActor>(
        &self,
        name: &str,
        make: impl Fn() -> A + Send + 'static,
    ) -> Result<Target, SpawnError> {
        let runtime = Handle::try_current().map_err(|_| SpawnError::NoRuntime)?;
        let mailbox = Arc::new(Mailbox::new(Arc::clone(&self.shared.meters)));
        let target = Target::new(name.into(), mailbox, TypeId::of::<A::Cast>());
        if !self.shared.names.enter(&target) {
            return Err(SpawnError::NameTaken);
        }
        let guard = Guard { hub: self.clone(), target: target.clone() };
        runtime.spawn(run(guard, make));
        Ok(target)
    }
}

/// Ends what depends on the actor when the actor's task ends, however it does.
struct Guard {
    hub: Hub,
    target: Target,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hub.shared.meters.panics.add(1);
        }
        self.hub.shared.names.free(&self.target);
        self.target.mailbox().close();
    }
}

async fn run<A: WsActor>(guard: Guard, make: impl Fn() -> A + Send + 'static) {
    let mut cx = Context {
        hub: guard.hub.clone(),
        me: guard.target.clone(),
        timers: BinaryHeap::new(),
        timers_set: 0,
        stopping: false,
    };
    let mut actor = make();
    // Dropped when the actor has ended.
    let mut stopped = None;
    let mailbox = Arc::clone(guard.target.mailbox());
    while let Some(letter) = next(&mailbox, &mut cx).await {
        match letter {
            Next::Letter(Letter::Event(Event::Connect(connect))) => actor.connect(&mut cx, *connect).await,
            Next::Letter(Letter::Event(Event::Message(message))) => actor.message(&mut cx, message).await,
            Next::Letter(Letter::Event(Event::Heartbeat(beat))) => actor.heartbeat(&mut cx, *beat).await,
            Next::Letter(Letter::Event(Event::Disconnect(gone))) => actor.disconnect(&mut cx, gone).await,
            Next::Letter(Letter::Farewell(gone, _receipt)) => actor.disconnect(&mut cx, gone).await,
            // The type was checked by `Target::cast`.
            Next::Letter(Letter::Cast(message)) => {
                if let Ok(message) = message.downcast() {
                    actor.cast(&mut cx, *message).await;
                }
            }
            Next::Letter(Letter::Drain(until, _answer)) => {
                actor.drain(&mut cx, until.saturating_duration_since(Instant::now())).await;
            }
            Next::Letter(Letter::Stop(answer)) => {
                stopped = Some(answer);
                cx.stopping = true;
            }
            Next::Timer(message) => actor.cast(&mut cx, message).await,
        }
        if cx.stopping {
            break;
        }
        let_others_run().await;
    }
    guard.hub.shared.names.free(&guard.target);
    let moved = mailbox.seal();
    let mut unmet = HashSet::new();
    while let Some(letter) = poll_fn(|cx| mailbox.poll_read(cx)).await {
        match letter {
            Letter::Event(Event::Connect(connect)) if moved.contains(&connect.id) => {
                actor.connect(&mut cx, *connect).await;
            }
            Letter::Event(Event::Message(message)) if moved.contains(&message.id) => {
                actor.message(&mut cx, message).await;
            }
            Letter::Farewell(gone, _receipt) => actor.disconnect(&mut cx, gone).await,
            Letter::Event(Event::Connect(connect)) => {
                unmet.insert(connect.id);
            }
            Letter::Event(Event::Disconnect(gone)) if !unmet.remove(&gone.id) => {
                actor.disconnect(&mut cx, gone).await;
            }
            Letter::Event(_) | Letter::Cast(_) | Letter::Drain(..) | Letter::Stop(_) => {}
        }
        let_others_run().await;
    }
    drop(actor);
    drop(stopped);
}

/// The mailbox is no tokio resource, so a busy actor has to let others run by itself: now and then, and when it fills
/// outboxes faster than the connections' tasks get to write.
async fn let_others_run() {
    if take_half_full() {
        tokio::task::yield_now().await;
    } else {
        tokio::task::consume_budget().await;
    }
}

enum Next<C> {
    Letter(Letter),
    Timer(C),
}

/// The next thing to do: timers that are due go first, so that a flood of messages does not hold them back.
async fn next<A: WsActor>(mailbox: &Mailbox, cx: &mut Context<A>) -> Option<Next<A::Cast>> {
    let letter = poll_fn(|task| mailbox.poll_read(task));
    let Some(Reverse(Timer { at, .. })) = cx.timers.peek() else {
        return letter.await.map(Next::Letter);
    };
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(*at) => cx.timers.pop().map(|Reverse(timer)| Next::Timer(timer.message)),
        letter = letter => letter.map(Next::Letter),
    }
}
