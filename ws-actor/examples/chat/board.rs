//! The actor for viewers: of the list of rooms before they enter one, or of the server's state.
//!
//! It puts each of them into the room of what they look at, and has no more to do with them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use ws_actor::{CloseFrame, Connect, Context, Hub, Inbound, Room, SpawnError, Target, WsActor};

use crate::chat::remembering;

/// What a viewer can look at: the topic of the connection, and the room of its viewers.
#[derive(Clone, Copy)]
pub(crate) enum Watch {
    Lobby,
    Admin,
}

impl AsRef<str> for Watch {
    fn as_ref(&self) -> &str {
        match self {
            Self::Lobby => "lobby",
            Self::Admin => "admin",
        }
    }
}

impl From<Watch> for Arc<str> {
    fn from(watch: Watch) -> Self {
        watch.as_ref().into()
    }
}

/// How often the charts go on, and how many points they show.
const EVERY: Duration = Duration::from_secs(1);
const POINTS: usize = 60;

pub(crate) struct Board {
    /// Remembers a minute, so that the charts are full at once.
    admin: Room,
}

pub(crate) struct Tick;

impl WsActor for Board {
    type Cast = Tick;

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let _ = cx.room(&connect.topic).join(connect.id);
        if *connect.topic == *Watch::Admin.as_ref() {
            let _ = cx.room(Watch::Lobby).join(connect.id);
        }
    }

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let _ = cx.close(inbound.id, CloseFrame::new(1008, "there is nothing to say here"));
    }

    async fn cast(&mut self, cx: &mut Context<Self>, _: Tick) {
        self.admin.broadcast(metrics(cx.hub()));
        cx.after(EVERY, Tick);
    }
}

impl Board {
    pub(crate) fn spawn(hub: &Hub) -> Result<Target, SpawnError> {
        let admin = hub.room_with(Watch::Admin, remembering(POINTS, EVERY * 2 * POINTS as u32));
        let board = hub.spawn("board", move || Self { admin: admin.clone() })?;
        let _ = board.cast(Tick);
        Ok(board)
    }
}

/// What the charts are drawn from. Messages and bytes are counts; the page makes rates of them.
fn metrics(hub: &Hub) -> String {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let metrics = hub.metrics();
    json!({
        "type": "metrics",
        "at": at.as_millis() as u64,
        "connections": metrics.connections,
        "in": metrics.messages_in,
        "out": metrics.messages_out,
        "bytes": metrics.bytes_out,
        "queued": metrics.queued,
        "dropped": metrics.dropped.total(),
        "refused": metrics.refused.total(),
        // Mostly one of the bounds of a histogram, in seconds.
        "wait": metrics.mailbox_wait.quantile(0.99).map_or(0.0, |wait| wait.as_secs_f64()),
    })
    .to_string()
}
