//! Clients that mean harm, and what the others notice of it.

#[path = "../../tests/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::{Client, frame, listen};
use ws_actor::{Hub, Route, Server};
use ws_core::frame::Opcode;

use super::{Chat, MAX_NAME, MAX_ROOM, MAX_TEXT};

async fn chat() -> std::net::SocketAddr {
    let hub = Hub::new();
    let chat = hub.spawn("chat", Chat::default).expect("a free name");
    listen(Server::new(&hub).route(Route::ws("/ws").target(chat))).await
}

async fn told(client: &mut Client, of: &str) -> Value {
    loop {
        let message: Value = serde_json::from_str(&client.read_text().await).expect("JSON");
        if message["type"] == of {
            return message;
        }
        assert!(of != "error" || message["type"] == "rooms", "this was taken: {message}");
    }
}

async fn join(addr: std::net::SocketAddr, name: &str) -> Client {
    let mut client = Client::open(addr, "/ws").await;
    client.text(&json!({"type": "join", "name": name, "room": "r"}).to_string()).await;
    assert_eq!(told(&mut client, "joined").await["name"], name);
    client
}

/// What is left of a name, a room or a text without its control characters is what has to have a length.
#[tokio::test]
async fn fields() {
    let addr = chat().await;
    let mut client = Client::open(addr, "/ws").await;
    let long = |max: usize| "é".repeat(max + 1);
    let bad = [String::new(), " ".into(), "\u{1}".into(), " \u{7f} \r\n".into()];
    for bad in &bad {
        for message in [
            json!({"type": "join", "name": bad, "room": "r"}),
            json!({"type": "join", "name": "Eve", "room": bad}),
            json!({"type": "say", "text": bad}),
        ] {
            client.text(&message.to_string()).await;
            told(&mut client, "error").await;
        }
    }
    for message in [
        json!({"type": "join", "name": long(MAX_NAME), "room": "r"}),
        json!({"type": "join", "name": "Eve", "room": long(MAX_ROOM)}),
        json!({"type": "join", "name": ["Eve"], "room": {}}),
        json!({"type": "say", "text": "before a room was joined"}),
        json!({"type": 7}),
        json!([[[]]]),
        json!(null),
    ] {
        client.text(&message.to_string()).await;
        told(&mut client, "error").await;
    }
    client.text(&json!({"type": "join", "name": " E\nv\u{1}e<b> ", "room": "r\n"}).to_string()).await;
    let joined = told(&mut client, "joined").await;
    assert_eq!((&joined["name"], &joined["room"]), (&json!("Eve<b>"), &json!("r")));
    client.text(&json!({"type": "say", "text": "two\nlines\u{1}"}).to_string()).await;
    assert_eq!(told(&mut client, "said").await["text"], "two\nlines");
    client.text(&json!({"type": "say", "text": long(MAX_TEXT)}).to_string()).await;
    told(&mut client, "error").await;
    // What is no JSON at all ends the connection, and no other.
    let mut other = join(addr, "Ann").await;
    client.text("{").await;
    assert_eq!(client.close_frame().await.0, 1003);
    other.text(&json!({"type": "say", "text": "still here"}).to_string()).await;
    assert_eq!(told(&mut other, "said").await["name"], "Ann");
}

/// Somebody who says a lot at once, or who comes and goes all the time, costs nobody else the connection.
#[tokio::test]
async fn floods() {
    let addr = chat().await;
    let mut ann = join(addr, "Ann").await;
    let mut eve = join(addr, "Eve").await;
    let say = json!({"type": "say", "text": "x"}).to_string();
    let come = json!({"type": "join", "name": "Eve", "room": "r"}).to_string();
    let go = json!({"type": "leave"}).to_string();
    let flood: Vec<u8> = (0..500)
        .flat_map(|_| [&say, &go, &come])
        .flat_map(|text| frame(true, Opcode::Text, text.as_bytes()))
        .collect();
    eve.write(&flood).await;
    for _ in 0..500 {
        for (what, name) in [("said", "Eve"), ("exit", "Eve"), ("enter", "Eve")] {
            assert_eq!(told(&mut ann, what).await["name"], name);
        }
    }
}
