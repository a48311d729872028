//! Actors: the [`WsActor`] trait and the [`Context`] of its calls.
//!
//! An actor is a value that one task owns (`runner.rs`); its methods are called one after the other, so its state needs
//! no lock.

use std::any::TypeId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::decision::Relay;
use crate::event::{CloseFrame, Connect, Disconnect, Heartbeat, Inbound};
use crate::hub::{Hub, SendError, Sent};
use crate::id::ConnId;
use crate::mailbox::Mailbox;
use crate::outgoing::Outgoing;
use crate::room::Room;
use crate::runner::{Guard, run};
use crate::seat::RetargetError;
use crate::supervise::{ActorOptions, Fault, drop_contained};
use crate::target::Target;

/// An actor: it is called for what happens on its connections, one call at a time.
///
/// For every connection: one `connect`, its messages in order, one `disconnect`; then nothing. Calls about different
/// connections come in the order in which things happened, as far as one process can tell.
///
/// What a method sends leaves when it waits or returns, and an outbox holds 256 messages by default: a method that has
/// more for one connection should leave them to a task that waits for room ([`Hub::send_acked`]).
///
/// A method that takes long stops the reading of its connections, not the writing to them. What may take
/// long and does not change the actor belongs in a task of its own, which answers through the [`Hub`].
///
/// An actor that panics is not called again, since its state cannot be trusted: it gets no `disconnect`s. Its
/// connections are closed with 1011. [`Hub::spawn_with`] can have it made again instead, or go on.
pub trait WsActor: Send + Sized + 'static {
    /// The program's own messages to this actor ([`Target::cast`], [`Context::after`]); `()` if there are none.
    type Cast: Send + 'static;

    /// The first call of an actor that has just been made: the place for a first [`Context::after`].
    fn started(&mut self, cx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = cx;
        async {}
    }

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

    /// The heartbeat interval has passed on a connection that was accepted with
    /// [`Relay::heartbeat`](crate::Relay::heartbeat).
    fn heartbeat(&mut self, cx: &mut Context<Self>, heartbeat: Heartbeat) -> impl Future<Output = ()> + Send {
        let _ = (cx, heartbeat);
        async {}
    }

    /// The program, or the actor itself, has sent it a message.
    fn cast(&mut self, cx: &mut Context<Self>, message: Self::Cast) -> impl Future<Output = ()> + Send {
        let _ = (cx, message);
        async {}
    }

    /// The Hub shuts down ([`Hub::shutdown`]), and will close the actor's connections when this is done: time to say a
    /// last word and to write down what has to last. Connections that are left after that time are cut. Messages still
    /// come, and `disconnect`s.
    fn drain(&mut self, cx: &mut Context<Self>, left: Duration) -> impl Future<Output = ()> + Send {
        let _ = (cx, left);
        async {}
    }
}

/// What a call of an actor can do besides changing the actor's state.
pub struct Context<A: WsActor> {
    hub: Hub,
    me: Target,
    timers: BinaryHeap<Reverse<Timer<A::Cast>>>,
    timers_set: u64,
    pub(crate) stopping: bool,
    /// What the actor says of the call that it is in.
    pub(crate) fault: Option<Fault>,
    pub(crate) restarts: u64,
}

impl<A: WsActor> Context<A> {
    pub(crate) fn new(hub: Hub, me: Target) -> Self {
        let timers = BinaryHeap::new();
        Self { hub, me, timers, timers_set: 0, stopping: false, fault: None, restarts: 0 }
    }

    /// The Hub that the actor was spawned on.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The actor's own handle.
    pub fn me(&self) -> &Target {
        &self.me
    }

    /// Calls [`Hub::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, to: ConnId, message: impl Into<Outgoing>) -> Result<(), SendError> {
        self.hub.send(to, message)
    }

    /// Calls [`Hub::broadcast`]: to all connections of the Hub, also those of other actors.
    pub fn broadcast(&self, message: impl Into<Outgoing>) -> Sent {
        self.hub.broadcast(message)
    }

    /// Calls [`Hub::room`].
    pub fn room(&self, name: impl AsRef<str>) -> Room {
        self.hub.room(name)
    }

    /// Calls [`Hub::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(&self, id: ConnId, frame: CloseFrame) -> Result<(), SendError> {
        self.hub.close(id, frame)
    }

    /// Calls [`Hub::retarget`].
    ///
    /// # Errors
    /// As there.
    pub fn retarget(&self, id: ConnId, relay: Relay) -> Result<(), RetargetError> {
        self.hub.retarget(id, relay)
    }

    /// Sets a timer: [`WsActor::cast`] is called with this message after a delay. An actor's
    /// timers end with it.
    pub fn after(&mut self, delay: Duration, message: A::Cast) {
        let at = Instant::now().checked_add(delay);
        // A point in time beyond the clock's range never comes.
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

    /// Says that this call has failed: it is reported ([`Hub::on_actor_failure`]), and when the call has returned,
    /// [`ActorOptions::on_error`] is done, which closes the connection by default. Of several errors, the first counts.
    ///
    /// ```
    /// # use ws_actor::{Context, Inbound, WsActor};
    /// # struct Adder { sum: i64 }
    /// # impl Adder {
    /// fn add(&mut self, inbound: &Inbound) -> Result<(), Box<dyn std::error::Error>> {
    ///     let text = inbound.message.as_text().ok_or("no text")?;
    ///     self.sum += text.parse::<i64>()?;
    ///     Ok(())
    /// }
    /// # }
    /// # impl WsActor for Adder {
    /// # type Cast = ();
    /// async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
    ///     if let Err(error) = self.add(&inbound) {
    ///         cx.fail(error);
    ///     }
    /// }
    /// # }
    /// ```
    pub fn fail(&mut self, error: impl fmt::Display) {
        if self.fault.is_none() {
            self.fault = Some(Fault::error(&error));
        }
    }

    /// How often the actor has been made again ([`Recovery::Restart`](crate::Recovery::Restart)).
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Forgets the timers, and tells how many there were.
    pub(crate) fn clear_timers(&mut self) -> usize {
        let timers = std::mem::take(&mut self.timers);
        let count = timers.len();
        timers.into_iter().for_each(drop_contained);
        count
    }

    /// When the first of the timers is due.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse(timer)| timer.at)
    }

    pub(crate) fn pop_timer(&mut self) -> Option<A::Cast> {
        self.timers.pop().map(|Reverse(timer)| timer.message)
    }
}

impl<A: WsActor> Drop for Context<A> {
    fn drop(&mut self) {
        self.clear_timers();
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
    /// Starts an actor under a name. `make` creates its state, on the actor's own task.
    ///
    /// # Errors
    /// [`SpawnError`] tells the cases.
    pub fn spawn<A: WsActor>(
        &self,
        name: &str,
        make: impl Fn() -> A + Send + 'static,
    ) -> Result<Target, SpawnError> {
        self.spawn_with(name, ActorOptions::new(), make)
    }

    /// Starts an actor as [`Hub::spawn`] does, with options for what happens when it fails.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// # use ws_actor::{ActorOptions, Context, Hub, Inbound, Recovery, WsActor};
    /// # #[derive(Default)] struct Chat;
    /// # impl WsActor for Chat { type Cast = (); async fn message(&mut self, _: &mut Context<Self>, _: Inbound) {} }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), ws_actor::SpawnError> {
    /// # let hub = Hub::new();
    /// hub.on_actor_failure(|failure| eprintln!("{failure}"));
    /// let mut options = ActorOptions::restarting();
    /// options.max_restarts = 3;
    /// hub.spawn_with("chat", options, Chat::default)?;
    /// # Ok(()) }
    /// ```
    pub fn spawn_with<A: WsActor>(
        &self,
        name: &str,
        options: ActorOptions,
        make: impl Fn() -> A + Send + 'static,
    ) -> Result<Target, SpawnError> {
        let runtime = Handle::try_current().map_err(|_| SpawnError::NoRuntime)?;
        let mailbox = Arc::new(Mailbox::new(Arc::clone(&self.shared.meters)));
        let target = Target::new(name.into(), mailbox, TypeId::of::<A::Cast>());
        if !self.shared.names.enter(&target) {
            return Err(SpawnError::NameTaken);
        }
        runtime.spawn(run(Guard::new(self, &target), options, make));
        Ok(target)
    }
}
