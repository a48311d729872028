//! A chat with rooms: one actor, one page, one port.
//!
//! ```text
//! cargo run --release --example chat [ADDRESS]        the default is 127.0.0.1:8080
//! ```
//!
//! The actor owns who is called what and sits where; the Hub's rooms carry the messages. Page and actor exchange JSON
//! objects, listed at the top of `script.js`.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::SystemTime;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use ws_actor::{
    CloseFrame, ConnId, Connect, Context, Disconnect, Hub, Inbound, Message, Route, Server, WsActor, deflate,
};

#[cfg(test)]
mod tests;

const MAX_NAME: usize = 32;
const MAX_ROOM: usize = 48;
const MAX_TEXT: usize = 2_000;

/// Those who have not joined a room; they are shown which rooms there are. Chat rooms begin with `room:`.
const LOBBY: &str = "lobby";

#[derive(Default)]
struct Chat {
    people: HashMap<ConnId, Person>,
    /// Who is in each chat room, by name.
    rooms: BTreeMap<String, BTreeMap<String, ConnId>>,
}

struct Person {
    name: String,
    room: String,
}

impl WsActor for Chat {
    type Cast = ();

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        self.enter_lobby(cx, connect.id);
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let Some(message) = message.as_text().and_then(|text| serde_json::from_str::<Value>(text).ok())
        else {
            let _ = cx.close(id, CloseFrame::new(1003, "JSON is spoken here"));
            return;
        };
        let field = |name: &str, max: usize| {
            // Only what is said may have several lines.
            let is_seen = |c: &char| !c.is_control() || *c == '\n' && name == "text";
            let value: String = message[name].as_str()?.chars().filter(is_seen).collect();
            let value = value.trim();
            let is_fine = !value.is_empty() && value.chars().count() <= max;
            is_fine.then(|| value.to_owned())
        };
        let done = match message["type"].as_str() {
            Some("join") => match (field("name", MAX_NAME), field("room", MAX_ROOM)) {
                (Some(name), Some(room)) => {
                    self.join(cx, id, &name, room);
                    Ok(())
                }
                _ => Err(format!("A name has 1 to {MAX_NAME} characters, a room 1 to {MAX_ROOM}.")),
            },
            Some("say") => match (field("text", MAX_TEXT), self.people.get(&id)) {
                (Some(text), Some(Person { name, room })) => {
                    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    let said =
                        json!({"type": "said", "name": name, "text": text, "at": at.as_millis() as u64});
                    cx.room(format!("room:{room}")).broadcast(said.to_string());
                    Ok(())
                }
                (None, _) => Err(format!("A message has 1 to {MAX_TEXT} characters.")),
                (_, None) => Err("Join a room first.".to_owned()),
            },
            Some("leave") => {
                self.leave(cx, id);
                let _ = cx.send(id, json!({"type": "left"}).to_string());
                self.enter_lobby(cx, id);
                Ok(())
            }
            _ => Err("This is not understood.".to_owned()),
        };
        if let Err(text) = done {
            let _ = cx.send(id, json!({"type": "error", "text": text}).to_string());
        }
    }

    async fn disconnect(&mut self, cx: &mut Context<Self>, gone: Disconnect) {
        self.leave(cx, gone.id);
    }
}

impl Chat {
    fn enter_lobby(&self, cx: &Context<Self>, id: ConnId) {
        let _ = cx.room(LOBBY).join(id);
        let _ = cx.send(id, self.list_rooms());
    }

    fn join(&mut self, cx: &Context<Self>, id: ConnId, name: &str, room: String) {
        self.leave(cx, id);
        let members = self.rooms.entry(room.clone()).or_default();
        // A second Ann is "Ann 2": after a broken connection the first may still seem to be here.
        let name = (1..)
            .map(|n| if n == 1 { name.to_owned() } else { format!("{name} {n}") })
            .find(|name| !members.contains_key(name))
            .unwrap_or_default();
        members.insert(name.clone(), id);
        let names: Vec<_> = members.keys().collect();
        let joined = json!({"type": "joined", "name": name, "room": room, "members": names});
        let enter = json!({"type": "enter", "name": name, "members": names});
        cx.room(LOBBY).leave(id);
        let hall = cx.room(format!("room:{room}"));
        let _ = hall.join(id);
        let _ = cx.send(id, joined.to_string());
        hall.broadcast_except(id, enter.to_string());
        self.people.insert(id, Person { name, room });
        cx.room(LOBBY).broadcast(self.list_rooms());
    }

    fn leave(&mut self, cx: &Context<Self>, id: ConnId) {
        let Some(Person { name, room }) = self.people.remove(&id) else { return };
        let hall = cx.room(format!("room:{room}"));
        hall.leave(id);
        if let Some(members) = self.rooms.get_mut(&room) {
            members.remove(&name);
            let names: Vec<_> = members.keys().collect();
            hall.broadcast(json!({"type": "exit", "name": name, "members": names}).to_string());
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
        cx.room(LOBBY).broadcast(self.list_rooms());
    }

    /// The rooms with somebody in them, the fullest first; a dozen of them.
    fn list_rooms(&self) -> Message {
        let mut rooms: Vec<_> = self.rooms.iter().map(|(name, members)| (members.len(), name)).collect();
        rooms.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let rooms: Vec<_> =
            rooms.iter().take(12).map(|(people, name)| json!({"name": name, "people": people})).collect();
        Message::text(json!({"type": "rooms", "rooms": rooms}).to_string())
    }
}

/// The page and its parts, compiled in. Nothing else may be loaded, so that no text can become a script.
fn page(path: &str) -> Response<String> {
    let (kind, body) = match path {
        "/" => ("text/html", include_str!("page.html")),
        "/style.css" => ("text/css", include_str!("style.css")),
        "/script.js" => ("text/javascript", include_str!("script.js")),
        _ => {
            let mut response = Response::new("There is no such page.\n".to_owned());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    let mut response = Response::new(body.to_owned());
    let headers: [(HeaderName, String); 3] = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; connect-src 'self' ws: wss:; img-src data:".to_owned(),
        ),
    ];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[tokio::main]
async fn main() -> ExitCode {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let hub = Hub::new();
    let chat = match hub.spawn("chat", Chat::default) {
        Ok(chat) => chat,
        Err(error) => {
            eprintln!("chat: {error}");
            return ExitCode::FAILURE;
        }
    };
    let listening = Server::new(&hub)
        .route(Route::ws("/ws").target(chat).deflate(deflate::Settings::server()))
        .on_http(|request| async move { page(request.uri().path()) })
        .on_refusal(|refusal| eprintln!("chat: {refusal}"))
        .listen(&addr)
        .await;
    match listening {
        Ok(listening) => {
            println!("Open http://{}/ in a browser, or in two. Ctrl-C ends it.", listening.local_addr());
            listening.stopped().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("chat: cannot listen on {addr}: {error}");
            if error.kind() == ErrorKind::AddrInUse {
                eprintln!(
                    "Another program listens there. End it, or name another address, such as this one:"
                );
                eprintln!("    cargo run --release --example chat 127.0.0.1:8081");
            } else {
                eprintln!("An address is an IP address and a port, such as 127.0.0.1:8080.");
            }
            ExitCode::FAILURE
        }
    }
}
