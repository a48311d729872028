//! The task that runs one actor: calls it, and does what follows when a call fails.
//!
//! Every call is contained: a panic ends the call, and then the actor's [`ActorOptions`] decide. A guard frees the name,
//! closes the actor's connections with 1011 and tells the monitors, however the task ends: also when the runtime drops
//! it.
//!
//! For an actor that may be made again, the task knows which connections the present instance has been told of. Invariant,
//! across all instances: each later instance is told of a connection that one was told of (and whose `connect` did not
//! fail), until one has been called for its `disconnect`; of any other connection only the `connect` is told.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::actor::{Context, WsActor};
use crate::drain::Answer;
use crate::entry::Entry;
use crate::event::{CloseFrame, Connect, Disconnect, Event, Heartbeat, Inbound, Reason};
use crate::hub::Hub;
use crate::id::ConnId;
use crate::mailbox::Letter;
use crate::monitor::{EndCause, Ended};
use crate::seat::Receipt;
use crate::supervise::{ActorFailure, ActorOptions, Call, Fault, Recovery, Restarts, drop_contained};
use crate::sync::{lock, take_half_full};
use crate::target::Target;

/// Ends what depends on the actor when the actor's task ends, however it does.
pub(crate) struct Guard {
    hub: Hub,
    target: Target,
    ended: Ended,
}

impl Guard {
    pub(crate) fn new(hub: &Hub, target: &Target) -> Self {
        let ended = Ended { cause: EndCause::Aborted, connections: 0, letters: 0 };
        Self { hub: hub.clone(), target: target.clone(), ended }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.hub.shared.names.free(&self.target);
        let (closed, lost) = self.target.mailbox().close();
        self.ended.connections += closed;
        self.ended.letters += lost;
        self.target.news().tell(self.ended);
    }
}

pub(crate) async fn run<A: WsActor>(
    guard: Guard,
    options: ActorOptions,
    make: impl Fn() -> A + Send + 'static,
) {
    let cx = Context::new(guard.hub.clone(), guard.target.clone());
    let met = options.can_restart().then(HashMap::new);
    let mut runner =
        Runner { cx, options, restarts: Restarts::default(), met, stopping: false, stopped: None, guard };
    loop {
        let next = match catch_unwind(AssertUnwindSafe(&make)) {
            Ok(actor) => runner.live(Contained(Some(actor))).await,
            Err(panic) => match runner.recover(Call::Make, None, Fault::panic(panic)) {
                Then::Again => Next::Again,
                Then::GoOn | Then::Stop | Then::Die => Next::Nothing,
            },
        };
        if next == Next::Nothing {
            break;
        }
        runner.cx.stopping = false;
        runner.cx.restarts = runner.restarts.total;
    }
}

/// An actor whose destructor may panic and harm nobody.
struct Contained<A>(Option<A>);

impl<A> Drop for Contained<A> {
    fn drop(&mut self) {
        drop_contained(self.0.take());
    }
}

/// What follows an actor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    Nothing,
}

/// What a failure leaves to do.
enum Then {
    GoOn,
    Again,
    /// The actor is not called again.
    Die,
    /// The actor stops, and is told of the ends of its connections.
    Stop,
}

/// A connection that an actor has been told of.
enum Met {
    Here(Arc<Entry>),
    /// It was over before the actor was told of it.
    Gone(Box<Connect>),
}

struct Runner<A: WsActor> {
    cx: Context<A>,
    options: ActorOptions,
    restarts: Restarts,
    /// If the actor may be made again.
    met: Option<HashMap<ConnId, Met>>,
    /// The actor is to stop.
    stopping: bool,
    /// Dropped when the actor has ended.
    stopped: Option<Answer>,
    /// Goes last, after all of the actor.
    guard: Guard,
}

/// One call.
enum Todo<C> {
    Started,
    Connect(Box<Connect>),
    Message(Inbound),
    Heartbeat(Box<Heartbeat>),
    Disconnect(Disconnect, Option<Receipt>),
    Cast(C),
    Drain(Instant, Answer),
    Stop(Answer),
}

impl<C: 'static> Todo<C> {
    fn of(letter: Letter) -> Option<Self> {
        Some(match letter {
            Letter::Event(Event::Connect(connect)) => Self::Connect(connect),
            Letter::Event(Event::Message(message)) => Self::Message(message),
            Letter::Event(Event::Heartbeat(beat)) => Self::Heartbeat(beat),
            Letter::Event(Event::Disconnect(gone)) => Self::Disconnect(gone, None),
            Letter::Farewell(gone, receipt) => Self::Disconnect(gone, Some(receipt)),
            // The type was checked by `Target::cast`.
            Letter::Cast(message) => Self::Cast(*message.downcast().ok()?),
            Letter::Drain(until, answer) => Self::Drain(until, answer),
            Letter::Stop(answer) => Self::Stop(answer),
        })
    }

    fn call(&self) -> (Call, Option<ConnId>) {
        match self {
            Self::Started => (Call::Started, None),
            Self::Connect(connect) => (Call::Connect, Some(connect.id)),
            Self::Message(message) => (Call::Message, Some(message.id)),
            Self::Heartbeat(beat) => (Call::Heartbeat, Some(beat.id)),
            Self::Disconnect(gone, _) => (Call::Disconnect, Some(gone.id)),
            Self::Cast(_) => (Call::Cast, None),
            Self::Drain(..) | Self::Stop(_) => (Call::Drain, None),
        }
    }
}

impl<A: WsActor> Runner<A> {
    /// Runs an actor to its end.
    async fn live(&mut self, mut actor: Contained<A>) -> Next {
        let mut owed = self.owed();
        let mut todo = Some(Todo::Started);
        loop {
            // Connections first: timers and messages may be about them.
            let next = todo.take().or_else(|| self.next_owed(&mut owed).map(Todo::Connect));
            let next = match next {
                Some(next) => next,
                None => match self.next().await {
                    Some(next) => next,
                    None => return Next::Nothing,
                },
            };
            if let Todo::Stop(answer) = next {
                self.stopped = Some(answer);
                self.cx.stopping = true;
            } else if self.takes_note(&next) {
                match self.call(&mut actor, next).await {
                    Then::GoOn => {}
                    Then::Again => return Next::Again,
                    Then::Die => return Next::Nothing,
                    Then::Stop => self.stopping = true,
                }
            }
            if self.cx.stopping && !self.stopping {
                self.stopping = true;
                self.guard.ended.cause = EndCause::Stopped;
            }
            // It is told of the ends of its connections, and hears of all of them before.
            if self.stopping && owed.is_empty() {
                break;
            }
            let_others_run(&self.guard.hub).await;
        }
        self.stop(&mut actor).await;
        Next::Nothing
    }

    /// The next thing to do: timers that are due go first, so that a flood of messages does not hold them back.
    async fn next(&mut self) -> Option<Todo<A::Cast>> {
        let mailbox = Arc::clone(self.guard.target.mailbox());
        loop {
            let letter = poll_fn(|task| mailbox.poll_read(task));
            let letter = match self.cx.next_timer() {
                None => letter.await,
                Some(at) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => return self.cx.pop_timer().map(Todo::Cast),
                    letter = letter => letter,
                },
            };
            if let Some(todo) = Todo::of(letter?) {
                return Some(todo);
            }
        }
    }

    /// Calls the actor. What a failure of the call leaves to do is begun here.
    async fn call(&mut self, actor: &mut Contained<A>, todo: Todo<A::Cast>) -> Then {
        let Some(actor) = &mut actor.0 else { return Then::Die };
        let (call, id) = todo.call();
        let panic = contained(dispatch(actor, &mut self.cx, todo)).await.map_err(Fault::panic);
        match (panic, self.cx.fault.take()) {
            (Err(fault), _) | (Ok(()), Some(fault)) => self.recover(call, id, fault),
            (Ok(()), None) => Then::GoOn,
        }
    }

    /// Does and reports what follows a failure, as far as it does not concern the actor's value.
    fn recover(&mut self, call: Call, id: Option<ConnId>, fault: Fault) -> Then {
        self.cx.fault = None;
        let wanted = if fault.is_panic() { self.options.on_panic } else { self.options.on_error };
        let recovery = match wanted {
            Recovery::Restart if self.stopping => Recovery::End,
            Recovery::Restart if !self.restarts.admit(&self.options, Instant::now()) => Recovery::End,
            // There is nothing to go on with.
            Recovery::Continue | Recovery::Close if call == Call::Make => Recovery::End,
            // It is over, or another actor's.
            Recovery::Close if id.is_none() || call == Call::Disconnect => Recovery::Continue,
            wanted => wanted,
        };
        if let Some(id) = id {
            let is_refused = recovery == Recovery::Restart && call == Call::Connect;
            if is_refused && let Some(met) = &mut self.met {
                met.remove(&id);
            }
            if is_refused || recovery == Recovery::Close {
                self.close(id);
            }
        }
        let meters = &self.guard.hub.shared.meters;
        meters.panics.add(u64::from(fault.is_panic()));
        meters.restarts.add(u64::from(recovery == Recovery::Restart));
        let timers = match recovery {
            Recovery::Restart | Recovery::End => self.cx.clear_timers(),
            Recovery::Continue | Recovery::Close => 0,
        };
        let (then, cause) = match (recovery, &fault) {
            (Recovery::Continue | Recovery::Close, _) => (Then::GoOn, None),
            (Recovery::Restart, _) => (Then::Again, None),
            (Recovery::End, Fault::Panic(_)) => (Then::Die, Some(EndCause::Panicked)),
            (Recovery::End, Fault::Error(_)) => (Then::Stop, Some(EndCause::Failed)),
        };
        if let Some(cause) = cause {
            self.guard.ended.cause = cause;
        }
        let observer = lock(&self.guard.hub.shared.failures).clone();
        if let Some(observer) = observer {
            let actor = Arc::clone(self.guard.target.shared_name());
            let restarts = self.restarts.total;
            observer.report(|suppressed| ActorFailure {
                actor,
                call,
                connection: id,
                fault,
                recovery,
                restarts,
                timers,
                suppressed,
            });
        }
        then
    }

    /// Closes the connection that the actor failed at, if it is the actor's still.
    fn close(&self, id: ConnId) {
        let Some(entry) = self.guard.hub.entry(id) else { return };
        let is_mine = lock(&entry.seat).target().is_some_and(|target| target.is(&self.guard.target));
        if is_mine {
            // Refused when it is closing anyway.
            let _ = entry.outbox().cut(CloseFrame::TARGET_FAILED, Reason::TargetFailed);
        }
    }

    /// Notes what the actor is about to be told; `false` if it is of a connection that this actor does not know, for its
    /// `connect` failed.
    fn takes_note(&mut self, todo: &Todo<A::Cast>) -> bool {
        let Some(met) = &mut self.met else { return true };
        match todo {
            Todo::Started | Todo::Cast(_) | Todo::Drain(..) | Todo::Stop(_) => true,
            Todo::Connect(connect) => {
                met.entry(connect.id).or_insert_with(|| match self.guard.hub.entry(connect.id) {
                    Some(entry) => Met::Here(entry),
                    None => Met::Gone(connect.clone()),
                });
                true
            }
            Todo::Message(Inbound { id, .. }) => met.contains_key(id),
            Todo::Heartbeat(beat) => met.contains_key(&beat.id),
            Todo::Disconnect(gone, _) => met.remove(&gone.id).is_some(),
        }
    }

    /// The connections that a new actor is to be told of, as they were opened.
    fn owed(&self) -> VecDeque<ConnId> {
        let mut owed: Vec<_> = self.met.iter().flat_map(HashMap::keys).copied().collect();
        owed.sort_unstable();
        owed.into()
    }

    fn next_owed(&self, owed: &mut VecDeque<ConnId>) -> Option<Box<Connect>> {
        let id = owed.pop_front()?;
        let mut connect = match self.met.as_ref()?.get(&id)? {
            Met::Here(entry) => Box::new(entry.connect()),
            Met::Gone(connect) => connect.clone(),
        };
        connect.restarted = true;
        Some(connect)
    }

    /// Closes the actor's connections, and calls it for their ends.
    async fn stop(&mut self, actor: &mut Contained<A>) {
        self.guard.hub.shared.names.free(&self.guard.target);
        let mailbox = Arc::clone(self.guard.target.mailbox());
        let (moved, closed) = mailbox.seal();
        self.guard.ended.connections += closed;
        let mut unmet = HashSet::new();
        while let Some(letter) = poll_fn(|cx| mailbox.poll_read(cx)).await {
            let is_wanted = match &letter {
                Letter::Event(Event::Connect(connect)) if moved.contains(&connect.id) => true,
                Letter::Event(Event::Connect(connect)) => {
                    unmet.insert(connect.id);
                    false
                }
                Letter::Event(Event::Message(message)) => moved.contains(&message.id),
                Letter::Event(Event::Disconnect(gone)) => !unmet.remove(&gone.id),
                Letter::Farewell(..) => true,
                Letter::Event(Event::Heartbeat(_))
                | Letter::Cast(_)
                | Letter::Drain(..)
                | Letter::Stop(_) => false,
            };
            match Todo::of(letter) {
                Some(todo) if is_wanted => {
                    if self.takes_note(&todo)
                        && let Then::Die | Then::Again = self.call(actor, todo).await
                    {
                        return;
                    }
                }
                Some(unread) => {
                    let is_lost = matches!(unread, Todo::Message(_) | Todo::Cast(_));
                    self.guard.ended.letters += usize::from(is_lost);
                    drop_contained(unread);
                }
                None => {}
            }
            let_others_run(&self.guard.hub).await;
        }
    }
}

async fn dispatch<A: WsActor>(actor: &mut A, cx: &mut Context<A>, todo: Todo<A::Cast>) {
    match todo {
        Todo::Started => actor.started(cx).await,
        Todo::Connect(connect) => actor.connect(cx, *connect).await,
        Todo::Message(message) => actor.message(cx, message).await,
        Todo::Heartbeat(beat) => actor.heartbeat(cx, *beat).await,
        Todo::Disconnect(gone, _receipt) => actor.disconnect(cx, gone).await,
        Todo::Cast(message) => actor.cast(cx, message).await,
        Todo::Drain(until, _answer) => {
            actor.drain(cx, until.saturating_duration_since(Instant::now())).await;
        }
        // Not for the actor.
        Todo::Stop(_) => {}
    }
}

/// Runs a call of the actor to its end, or to its panic, whose payload it returns.
async fn contained(call: impl Future<Output = ()>) -> Result<(), Box<dyn Any + Send>> {
    let mut call = pin!(call);
    // What a panic leaves half done of the call is not looked at again; what it leaves of the actor, the options decide.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The longest that an actor waits for a loop that lags behind it. It does not wait for a client that is slow.
const RELIEF: Duration = Duration::from_millis(250);

/// The mailbox is not a tokio resource, so a busy actor has to let others run by itself: now and then, and when it fills
/// outboxes faster than the connections' tasks, or loops, get to write.
async fn let_others_run(hub: &Hub) {
    let Some(id) = take_half_full() else { return tokio::task::consume_budget().await };
    tokio::task::yield_now().await;
    if let Some(entry) = hub.entry(id) {
        let mut ticket = None;
        let relieved = poll_fn(|cx| entry.poll_relieved(cx, &mut ticket));
        let _ = timeout(RELIEF, relieved).await;
        entry.outbox().give_up(&mut ticket);
    }
}
