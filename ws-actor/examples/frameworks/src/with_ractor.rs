//! ractor. Its mailboxes have no bound; a target that waits for the answer to each event has at most one in there, and
//! clients are not read meanwhile.

use std::ops::ControlFlow;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, call};
use ws_actor::{Event, Hub, SpawnError, Target};

/// The lines that it takes.
pub async fn target(hub: &Hub, name: &str) -> Result<Target, Error> {
    let (counter, _) = Actor::spawn(None, Counter, hub.clone()).await.map_err(Error::Ractor)?;
    let target = Target::from_fn(hub, name, move |event| {
        let counter = counter.clone();
        async move { call!(counter, Told, event).map_or(ControlFlow::Break(()), ControlFlow::Continue) }
    });
    target.map_err(Error::Target)
}

/// Why there is no target.
#[derive(Debug)]
pub enum Error {
    /// The actor did not start.
    Ractor(SpawnErr),
    /// Its name is taken, say.
    Target(SpawnError),
}

struct Counter;

/// What has happened on a connection, and the way to say that this actor has done with it.
struct Told(Event, RpcReplyPort<()>);

impl Actor for Counter {
    type Msg = Told;
    type State = (Hub, u64);
    type Arguments = Hub;

    async fn pre_start(&self, _: ActorRef<Told>, hub: Hub) -> Result<(Hub, u64), ActorProcessingErr> {
        Ok((hub, 0))
    }

    async fn handle(
        &self,
        me: ActorRef<Told>,
        Told(event, done): Told,
        (hub, count): &mut (Hub, u64),
    ) -> Result<(), ActorProcessingErr> {
        if let Event::Message(inbound) = event {
            *count += 1;
            let _ = hub.send(inbound.id, count.to_string());
            if inbound.message.as_text() == Some("stop") {
                me.stop(None);
            }
        }
        let _ = done.send(());
        Ok(())
    }
}
