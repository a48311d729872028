//! Actors of other frameworks as targets: [`Target::from_fn`].
//!
//! A closure stands behind an actor of this crate, so that order, bounds and ends are the same as everywhere else: its
//! mailbox is bounded, and while the closure waits for the other actor's, connections are not read.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::actor::{Context, SpawnError, WsActor};
use crate::event::{Connect, Disconnect, Event, Heartbeat, Inbound};
use crate::hub::Hub;
use crate::target::Target;

impl Target {
    /// A target whose events go to a closure, one after the other: to an actor of another framework, a channel, a log. It
    /// has a name as other targets have, and takes no [casts](Target::cast).
    ///
    /// When the closure breaks, because the other actor is gone, the target ends as an actor that stops: its connections
    /// close with 1011. It is told of their ends all the same.
    ///
    /// # Errors
    /// As for [`Hub::spawn`].
    ///
    /// `examples/frameworks` has a ractor and a kameo actor behind connections. With a channel:
    ///
    /// ```
    /// # use std::ops::ControlFlow;
    /// # use ws_actor::{Event, Hub, Target};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), ws_actor::SpawnError> {
    /// # let hub = Hub::new();
    /// let (mailbox, mut events) = tokio::sync::mpsc::channel::<Event>(100); // or an actor's handle
    /// let target = Target::from_fn(&hub, "chat", move |event| {
    ///     let mailbox = mailbox.clone();
    ///     async move { mailbox.send(event).await.map_or(ControlFlow::Break(()), ControlFlow::Continue) }
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn from_fn<F, R>(hub: &Hub, name: &str, forward: F) -> Result<Self, SpawnError>
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = ControlFlow<()>> + Send + 'static,
    {
        let forward = Arc::new(forward);
        hub.spawn(name, move || Forward(Arc::clone(&forward)))
    }
}

struct Forward<F>(Arc<F>);

impl<F, R> Forward<F>
where
    F: Fn(Event) -> R + Send + Sync + 'static,
    R: Future<Output = ControlFlow<()>> + Send + 'static,
{
    async fn forward(&self, cx: &mut Context<Self>, event: Event) {
        if (self.0)(event).await.is_break() {
            cx.stop();
        }
    }
}

/// A type without values, so that nothing can be cast.
pub(crate) enum Nothing {}

impl<F, R> WsActor for Forward<F>
where
    F: Fn(Event) -> R + Send + Sync + 'static,
    R: Future<Output = ControlFlow<()>> + Send + 'static,
{
    type Cast = Nothing;

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        self.forward(cx, Event::Connect(Box::new(connect))).await;
    }

    async fn message(&mut self, cx: &mut Context<Self>, message: Inbound) {
        self.forward(cx, Event::Message(message)).await;
    }

    async fn heartbeat(&mut self, cx: &mut Context<Self>, heartbeat: Heartbeat) {
        self.forward(cx, Event::Heartbeat(Box::new(heartbeat))).await;
    }

    async fn disconnect(&mut self, cx: &mut Context<Self>, gone: Disconnect) {
        self.forward(cx, Event::Disconnect(gone)).await;
    }
}
