//! kameo. Its mailboxes are bounded, so that `tell` waits for room, and clients are not read meanwhile.

use std::convert::Infallible;
use std::ops::ControlFlow;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::message::{Context, Message};
use ws_actor::{Event, Hub, SpawnError, Target};

/// The lines that it takes.
pub fn target(hub: &Hub, name: &str) -> Result<Target, SpawnError> {
    let counter = Counter::spawn(hub.clone());
    Target::from_fn(hub, name, move |event| {
        let counter = counter.clone();
        async move { counter.tell(event).await.map_or(ControlFlow::Break(()), ControlFlow::Continue) }
    })
}

struct Counter {
    hub: Hub,
    count: u64,
}

impl Actor for Counter {
    type Args = Hub;
    type Error = Infallible;

    async fn on_start(hub: Hub, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self { hub, count: 0 })
    }
}

impl Message<Event> for Counter {
    type Reply = ();

    async fn handle(&mut self, event: Event, cx: &mut Context<Self, ()>) {
        if let Event::Message(inbound) = event {
            self.count += 1;
            let _ = self.hub.send(inbound.id, self.count.to_string());
            if inbound.message.as_text() == Some("stop") {
                cx.stop();
            }
        }
    }
}
