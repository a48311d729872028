//! The actor of everybody who chats.
//!
//! It sees every coming and going in order, so it knows exactly who is here. It does not tell each member of each
//! change, which would be n² messages when n people come; it tells them a few times a second what has changed, in a
//! message whose size is bounded. So a room costs each member the same, however many come and go.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::take;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use ws_actor::{
    CloseFrame, ConnId, Connect, Context, Disconnect, Hub, Inbound, Outgoing, Room, RoomOptions, SpawnError,
    Target, WsActor,
};

use crate::board::Watch;
use crate::names::Names;

pub(crate) const MAX_TEXT: usize = 2_000;
/// Maximum number of names in one message. If there are more people, the page shows how many.
pub(crate) const MAX_SHOWN: usize = 50;
/// How much newcomers to a room get of what was said before they came.
pub(crate) const HISTORY: (usize, Duration) = (50, Duration::from_secs(3_600));
/// Maximum number of empty rooms whose history is kept for people who come back.
const MAX_EMPTY: usize = 64;
/// How long changes are gathered before a room, and the lobby, are told of them.
const ROOM_PAUSE: Duration = Duration::from_millis(200);
const LOBBY_PAUSE: Duration = Duration::from_millis(500);

/// Of the program's own range: the page does not come back by itself after these.
pub(crate) const TAKEN_OVER: u16 = 4001;
pub(crate) const TAKEN: u16 = 4009;

pub(crate) struct Chat {
    names: Names,
    people: HashMap<ConnId, Person>,
    halls: BTreeMap<String, Hall>,
    /// Empty rooms, the longest empty first. One that has members again may still be listed.
    empty: VecDeque<String>,
    /// Newcomers to the lobby get the latest list of rooms first.
    lobby: Room,
    lobby_is_due: bool,
    last_at: u64,
}

#[derive(Clone)]
struct Person {
    name: String,
    room: String,
}

/// One chat room.
struct Hall {
    /// What is said here, and was.
    said: Room,
    /// What is only true now: who is here, who is typing. Newcomers need no history of it.
    live: Room,
    here: BTreeSet<String>,
    /// People who came (`true`) or left since the room was told. Somebody who leaves and comes back at once was never away.
    changes: BTreeMap<String, bool>,
    typing: BTreeSet<String>,
    is_due: bool,
}

/// It is time to tell...
pub(crate) enum Tell {
    Room(String),
    Lobby,
}

impl WsActor for Chat {
    type Cast = Tell;

    async fn connect(&mut self, cx: &mut Context<Self>, Connect { id, meta, .. }: Connect) {
        let text = |name| meta.text(name).unwrap_or_default().to_owned();
        let person = Person { name: text("name"), room: text("room") };
        match self.names.take(&person.name, &text("key"), id) {
            Ok(Some(old)) => {
                // The same person, who lost a connection or opened another window.
                self.leave(cx, old);
                let _ = cx.close(old, CloseFrame::new(TAKEN_OVER, "You came in again."));
            }
            Ok(None) => {}
            // Another was faster, between the decision and this.
            Err(refused) => {
                let _ = cx.close(id, CloseFrame::new(TAKEN, refused.to_string()));
                return;
            }
        }
        self.enter(cx, id, person);
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let Some(Person { name, room }) = self.people.get(&id).cloned() else { return };
        let Some(hall) = self.halls.get_mut(&room) else { return };
        let message = message.as_text().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(message) = message else {
            let _ = cx.close(id, CloseFrame::new(1003, "JSON is spoken here"));
            return;
        };
        match (message["type"].as_str(), said(&message["text"])) {
            (Some("typing"), _) => {
                hall.typing.insert(name);
                self.tell_soon(cx, &room);
            }
            (Some("say"), Some(text)) => {
                hall.typing.remove(&name);
                // Later than all before, so that a page which came back knows what it has seen.
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                self.last_at = (now.as_millis() as u64).max(self.last_at + 1);
                let said = json!({"type": "said", "name": name, "text": text, "at": self.last_at});
                hall.said.broadcast(said.to_string());
                self.list_soon(cx);
            }
            (Some("say"), None) => complain(cx, id, &format!("A message has 1 to {MAX_TEXT} characters.")),
            _ => complain(cx, id, "This is not understood."),
        }
    }

    async fn disconnect(&mut self, cx: &mut Context<Self>, gone: Disconnect) {
        self.leave(cx, gone.id);
    }

    async fn cast(&mut self, _: &mut Context<Self>, tell: Tell) {
        match tell {
            Tell::Room(name) => {
                if let Some(hall) = self.halls.get_mut(&name) {
                    hall.tell();
                }
            }
            Tell::Lobby => {
                self.lobby_is_due = false;
                self.lobby.broadcast(Outgoing::keyed("rooms", self.list_rooms()));
            }
        }
    }
}

impl Chat {
    pub(crate) fn spawn(hub: &Hub, names: &Names) -> Result<Target, SpawnError> {
        let (names, lobby) = (names.clone(), hub.room_with(Watch::Lobby, remembering(1, Duration::MAX)));
        hub.spawn("chat", move || Self {
            names: names.clone(),
            people: HashMap::new(),
            halls: BTreeMap::new(),
            empty: VecDeque::new(),
            lobby: lobby.clone(),
            lobby_is_due: false,
            last_at: 0,
        })
    }

    fn enter(&mut self, cx: &mut Context<Self>, id: ConnId, person: Person) {
        let Person { name, room } = &person;
        let hall = self.halls.entry(room.clone()).or_insert_with(|| Hall::open(cx.hub(), room));
        hall.here.insert(name.clone());
        hall.changes.insert(name.clone(), true);
        let joined = json!({
            "type": "joined", "name": name, "room": room, "here": hall.here.len(), "names": hall.names(),
        });
        let _ = cx.send(id, joined.to_string());
        // Here the history is sent, in order with what is said meanwhile.
        let _ = hall.said.join(id);
        let _ = hall.live.join(id);
        self.tell_soon(cx, room);
        self.list_soon(cx);
        self.people.insert(id, person);
    }

    fn leave(&mut self, cx: &mut Context<Self>, id: ConnId) {
        let Some(Person { name, room }) = self.people.remove(&id) else { return };
        self.names.free(&name, id);
        let Some(hall) = self.halls.get_mut(&room) else { return };
        hall.said.leave(id);
        hall.live.leave(id);
        hall.typing.remove(&name);
        hall.here.remove(&name);
        hall.changes.insert(name, false);
        if hall.here.is_empty() {
            self.empty.push_back(room.clone());
        }
        if self.empty.len() > MAX_EMPTY
            && let Some(oldest) = self.empty.pop_front()
            && self.halls.get(&oldest).is_some_and(|hall| hall.here.is_empty())
        {
            self.halls.remove(&oldest);
        }
        self.tell_soon(cx, &room);
        self.list_soon(cx);
    }

    fn tell_soon(&mut self, cx: &mut Context<Self>, room: &str) {
        if let Some(hall) = self.halls.get_mut(room)
            && !std::mem::replace(&mut hall.is_due, true)
        {
            cx.after(ROOM_PAUSE, Tell::Room(room.to_owned()));
        }
    }

    fn list_soon(&mut self, cx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.lobby_is_due, true) {
            cx.after(LOBBY_PAUSE, Tell::Lobby);
        }
    }

    /// The rooms with somebody in them, the fullest first; a dozen of them.
    fn list_rooms(&self) -> String {
        let mut rooms: Vec<_> = self.halls.iter().filter(|(_, hall)| !hall.here.is_empty()).collect();
        rooms.sort_by_key(|(_, hall)| std::cmp::Reverse(hall.here.len()));
        let of = |(name, hall): &(&String, &Hall)| {
            let info = hall.said.info();
            json!({"name": name, "people": hall.here.len(), "said": info.broadcasts, "delivered": info.delivered})
        };
        json!({"type": "rooms", "rooms": rooms.iter().take(12).map(of).collect::<Vec<_>>()}).to_string()
    }
}

impl Hall {
    fn open(hub: &Hub, name: &str) -> Self {
        Self {
            said: hub.room_with(format!("said:{name}"), remembering(HISTORY.0, HISTORY.1)),
            live: hub.room(format!("live:{name}")),
            here: BTreeSet::new(),
            changes: BTreeMap::new(),
            typing: BTreeSet::new(),
            is_due: false,
        }
    }

    fn names(&self) -> Vec<&String> {
        self.here.iter().take(MAX_SHOWN).collect()
    }

    /// Tells everybody what is new, or the whole state where that is shorter.
    fn tell(&mut self) {
        self.is_due = false;
        let (changes, typing) = (take(&mut self.changes), take(&mut self.typing));
        let mut news = json!({
            "type": "news", "here": self.here.len(), "typing": typing.iter().take(4).collect::<Vec<_>>(),
        });
        if changes.len() > MAX_SHOWN {
            news["names"] = json!(self.names());
        } else {
            news["changes"] = json!(changes);
        }
        self.live.broadcast(news.to_string());
    }
}

/// A room that keeps its last messages for newcomers.
pub(crate) fn remembering(messages: usize, time: Duration) -> RoomOptions {
    let mut options = RoomOptions::new();
    options.history = Some((messages, time));
    options
}

/// What somebody says, without control characters except line ends, if it is neither empty nor too long.
fn said(text: &Value) -> Option<String> {
    let text: String = text.as_str()?.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let text = text.trim();
    (!text.is_empty() && text.chars().count() <= MAX_TEXT).then(|| text.to_owned())
}

fn complain(cx: &Context<Chat>, id: ConnId, text: &str) {
    let _ = cx.send(id, json!({"type": "error", "text": text}).to_string());
}
