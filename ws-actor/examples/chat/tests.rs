//! Well-behaved and malicious clients, and what the others notice of them.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{Client, Response, frame, listen, upgrade};
use ws_actor::{ConnId, Hub};
use ws_core::frame::Opcode;

use crate::chat::{HISTORY, MAX_SHOWN, MAX_TEXT, TAKEN_OVER};
use crate::names::{MAX_NAME, MAX_ROOM, Names, Refused};

const TOKEN: &str = "a token";

async fn chat() -> (Hub, SocketAddr) {
    let hub = Hub::new();
    let server = super::server(&hub, TOKEN).expect("a new Hub");
    (hub, listen(server).await)
}

async fn told(client: &mut Client, of: &str) -> Value {
    loop {
        let message: Value = serde_json::from_str(&client.read_text().await).expect("JSON");
        if message["type"] == of {
            return message;
        }
        assert!(message["type"] != "error", "{message}");
    }
}

/// Waits for news of which this is true.
async fn news(client: &mut Client, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    loop {
        let news = told(client, "news").await;
        if is_so(&news) {
            return news;
        }
    }
}

/// The path that somebody asks for. Whatever stands in it is escaped.
fn path(name: &str, room: &str, key: &str) -> String {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    format!("/ws?name={}&room={}&key={}", escaped(name), escaped(room), escaped(key))
}

async fn join(addr: SocketAddr, name: &str, room: &str) -> Client {
    let mut client = Client::open(addr, &path(name, room, name)).await;
    assert_eq!(told(&mut client, "joined").await["name"], name);
    client
}

async fn say(client: &mut Client, text: &str) {
    client.text(&json!({"type": "say", "text": text}).to_string()).await;
}

/// The answer to an upgrade, and to the same question in plain HTTP.
async fn ask(addr: SocketAddr, path: &str) -> [Response; 2] {
    let plain = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let upgrade = Client::new(addr).await.request(&upgrade(addr, path, "")).await;
    [upgrade, Client::new(addr).await.request(&plain).await]
}

/// Names that are none, or another's, are refused before there is a connection, and HTTP says why.
#[tokio::test]
async fn who_may_come_in() {
    let (hub, addr) = chat().await;
    let _ann = join(addr, "Ann", "garden").await;
    let long = |max: usize| "é".repeat(max + 1);
    let table = [
        ("", "r", 400, Refused::BadName),
        (" \t", "r", 400, Refused::BadName),
        ("two\nlines", "r", 400, Refused::BadName),
        ("nul\0", "r", 400, Refused::BadName),
        (&*long(MAX_NAME), "r", 400, Refused::BadName),
        ("Eve", " ", 400, Refused::BadRoom),
        ("Eve", &*long(MAX_ROOM), 400, Refused::BadRoom),
        ("Ann", "garden", 409, Refused::Taken),
        (" aNN ", "elsewhere", 409, Refused::Taken),
    ];
    for (name, room, status, why) in table {
        // Neither a wrong key nor none at all is Ann's.
        for key in ["", "Eve"] {
            for answer in ask(addr, &path(name, room, key)).await {
                assert_eq!((answer.status, answer.body.trim()), (status, &*why.to_string()), "{name} {room}");
            }
        }
    }
    for answer in ask(addr, "/ws").await {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(hub.connection_count(), 1);
    let shown = &long(MAX_NAME)["é".len()..];
    let _ = join(addr, shown, &long(MAX_ROOM)["é".len()..]).await;
}

/// Of two people who were both told that a name is free, one gets it.
#[test]
fn one_name_for_two() {
    let (names, [a, b]) =
        (Names::default(), ["1", "2"].map(|n| format!("{n:0>16}-{n}").parse::<ConnId>().expect("an id")));
    let asked = ["k", "l"].map(|key| names.decide(&format!("name=Ann&room=r&key={key}")).is_ok());
    assert_eq!(asked, [true, true]);
    assert_eq!(names.take("Ann", "k", a), Ok(None));
    assert_eq!(names.take("ann", "l", b), Err(Refused::Taken));
    names.free("Ann", b);
    assert_eq!(names.take("Ann", "k", b), Ok(Some(a)));
    // The older connection has nothing to give back any more.
    names.free("Ann", a);
    assert_eq!(names.take("Ann", "l", a), Err(Refused::Taken));
    names.free("Ann", b);
    assert_eq!(names.take("Ann", "l", a), Ok(None));
}

/// A person who comes back while the lost connection still seems to be here has the name at once, and was never away.
#[tokio::test]
async fn coming_back() {
    let (_, addr) = chat().await;
    let mut bob = join(addr, "Bob", "r").await;
    let mut lost = join(addr, "Ann", "r").await;
    news(&mut bob, |news| news["changes"]["Ann"] == true).await;
    let mut ann = join(addr, "Ann", "r").await;
    assert_eq!(lost.close_frame().await.0, TAKEN_OVER);
    let seen = news(&mut bob, |_| true).await;
    assert_eq!((&seen["here"], &seen["changes"]["Ann"]), (&json!(2), &json!(true)));
    say(&mut ann, "back").await;
    assert_eq!(told(&mut bob, "said").await["name"], "Ann");
    ann.close(1000).await;
    assert_eq!(news(&mut bob, |news| news["here"] == 1).await["changes"], json!({"Ann": false}));
}

/// Newcomers get what was said, in order and no more than is promised; also if all had left.
#[tokio::test]
async fn history() {
    let (hub, addr) = chat().await;
    let mut ann = join(addr, "Ann", "r").await;
    let said = hub.room("said:r");
    for n in 0..HISTORY.0 + 10 {
        said.broadcast(json!({"type": "said", "name": "Ann", "text": n, "at": n}).to_string());
    }
    say(&mut ann, "the end").await;
    ann.text(&json!({"type": "typing"}).to_string()).await;
    while told(&mut ann, "said").await["text"] != "the end" {}
    news(&mut ann, |news| news["typing"] == json!(["Ann"])).await;
    ann.close(1000).await;
    while ann.frame().await.is_some() {}
    support::until("Ann is gone", || said.is_empty()).await;
    let mut bob = join(addr, "Bob", "r").await;
    for n in 11..HISTORY.0 + 10 {
        assert_eq!(told(&mut bob, "said").await["text"], n);
    }
    assert_eq!(told(&mut bob, "said").await["text"], "the end");
    assert_eq!(news(&mut bob, |_| true).await["typing"], json!([]));
    let mut eve = join(addr, "Eve", "another").await;
    say(&mut eve, "first").await;
    assert_eq!(told(&mut eve, "said").await["text"], "first");
}

/// A crowd that comes costs each person here a few messages of bounded size, and the count is right in the end.
#[tokio::test]
async fn crowd() {
    const CROWD: usize = 300;
    let (_, addr) = chat().await;
    let start = std::time::Instant::now();
    let mut ann = join(addr, "Ann", "r").await;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        crowd.push(Client::open(addr, &path(&format!("{n:03}"), "r", "")).await);
    }
    let mut messages = 0;
    let last = news(&mut ann, |news| {
        messages += 1;
        let names = news["names"].as_array().map_or(0, Vec::len)
            + news["changes"].as_object().map_or(0, serde_json::Map::len);
        assert!(names <= MAX_SHOWN, "{names}");
        news["here"] == CROWD + 1
    });
    last.await;
    let mut bound = 2 + start.elapsed().as_millis() as usize / 200;
    bound += CROWD / 10;
    assert!(messages <= bound, "{messages}");
    let mut joined = Client::open(addr, &path("Zoe", "r", "")).await;
    let joined = told(&mut joined, "joined").await;
    assert_eq!(
        (&joined["here"], joined["names"].as_array().map(Vec::len)),
        (&json!(CROWD + 2), Some(MAX_SHOWN))
    );
}

/// The others are told who types, until the text is sent.
#[tokio::test]
async fn typing() {
    let (_, addr) = chat().await;
    let (mut ann, mut bob) = (join(addr, "Ann", "r").await, join(addr, "Bob", "r").await);
    ann.text(&json!({"type": "typing"}).to_string()).await;
    assert_eq!(news(&mut bob, |news| news["typing"] != json!([])).await["typing"], json!(["Ann"]));
    ann.text(&json!({"type": "typing"}).to_string()).await;
    say(&mut ann, "done").await;
    assert_eq!(told(&mut bob, "said").await["text"], "done");
    bob.text(&json!({"type": "typing"}).to_string()).await;
    assert_eq!(news(&mut ann, |news| news["typing"] == json!(["Bob"])).await["here"], 2);
}

/// What is left of a text without its control characters is what has to have a length.
#[tokio::test]
async fn texts() {
    let (_, addr) = chat().await;
    let mut eve = join(addr, "Eve", "r").await;
    let bad = ["", " ", "\u{1}", " \u{7f} \r\n", &"é".repeat(MAX_TEXT + 1)];
    let bad = bad.map(|text| json!({"type": "say", "text": text}));
    let odd = [
        json!({"type": "say"}),
        json!({"type": "say", "text": ["x"]}),
        json!({"type": 7}),
        json!([[[]]]),
        json!(null),
    ];
    for message in bad.iter().chain(&odd) {
        eve.text(&message.to_string()).await;
        while serde_json::from_str::<Value>(&eve.read_text().await).expect("JSON")["type"] != "error" {}
    }
    say(&mut eve, " two\r\nlines\u{1} <b> ").await;
    assert_eq!(told(&mut eve, "said").await["text"], "two\nlines <b>");
    // A message that is not JSON ends its connection, and no other.
    let mut ann = join(addr, "Ann", "r").await;
    eve.text("{").await;
    assert_eq!(eve.close_frame().await.0, 1003);
    say(&mut ann, "still here").await;
    while told(&mut ann, "said").await["text"] != "still here" {}
}

/// A client that says a lot at once is slowed down, and costs nobody else the connection.
#[tokio::test]
async fn flood() {
    let (_, addr) = chat().await;
    let (mut ann, mut eve) = (join(addr, "Ann", "r").await, join(addr, "Eve", "r").await);
    let say = frame(true, Opcode::Text, json!({"type": "say", "text": "x"}).to_string().as_bytes());
    let start = std::time::Instant::now();
    eve.write(&say.repeat(30)).await;
    let mut at = json!(0);
    for _ in 0..30 {
        let said = told(&mut ann, "said").await;
        assert!(said["at"].as_u64() > at.as_u64(), "{said} after {at}");
        at = said["at"].clone();
    }
    assert!(start.elapsed().as_millis() > 800, "{:?}", start.elapsed());
}

/// The lobby's newcomers see the rooms at once, the others each change.
#[tokio::test]
async fn lobby() {
    let (_, addr) = chat().await;
    let mut early = Client::open(addr, "/lobby").await;
    let mut ann = join(addr, "Ann", "garden").await;
    let _bob = join(addr, "Bob", "garden").await;
    let _eve = join(addr, "Eve", "cellar").await;
    say(&mut ann, "hello").await;
    let list = |name: &str, people: u64| json!({"name": name, "people": people});
    let brief = |rooms: &Value| -> Vec<Value> {
        let rooms = rooms["rooms"].as_array().expect("a list");
        rooms.iter().map(|room| json!({"name": room["name"], "people": room["people"]})).collect()
    };
    loop {
        let rooms = told(&mut early, "rooms").await;
        if rooms["rooms"][0]["said"] == 1 {
            assert_eq!(brief(&rooms), [list("garden", 2), list("cellar", 1)]);
            assert_eq!(rooms["rooms"][0]["delivered"], 2);
            break;
        }
    }
    let mut late = Client::open(addr, "/lobby").await;
    assert_eq!(brief(&told(&mut late, "rooms").await), [list("garden", 2), list("cellar", 1)]);
    drop(ann);
    while brief(&told(&mut late, "rooms").await) != [list("cellar", 1), list("garden", 1)] {}
}

/// The metrics are shown only to clients that know the token, and they move.
#[tokio::test]
async fn admin() {
    let (_, addr) = chat().await;
    for path in ["/admin", "/admin?token=", "/admin?token=another"] {
        let answer = Client::new(addr).await.request(&upgrade(addr, path, "")).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    let mut admin = Client::open(addr, "/admin?token=a%20token").await;
    let mut ann = join(addr, "Ann", "r").await;
    let first = told(&mut admin, "metrics").await;
    say(&mut ann, "counted").await;
    loop {
        let next = told(&mut admin, "metrics").await;
        assert!(next["at"].as_u64() > first["at"].as_u64());
        if next["in"] == 1 && next["connections"] == 2 {
            break;
        }
    }
    admin.text("?").await;
    assert_eq!(admin.close_frame().await.0, 1008);
}

/// The page's scripts are the page's own: they bear a nonce, a new one each time.
#[tokio::test]
async fn page() {
    let (_, addr) = chat().await;
    let mut nonces = Vec::new();
    for path in ["/", "/admin", "/"] {
        let get = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
        let Response { status, head, body } = Client::new(addr).await.request(&get).await;
        let (_, nonce) = head.split_once("script-src 'nonce-").expect("a policy");
        let nonce = nonce[..32].to_owned();
        assert_eq!((status, body.matches(&format!("nonce=\"{nonce}\"")).count()), (200, 2), "{head}");
        assert!(!body.contains("{nonce}") && !nonces.contains(&nonce));
        nonces.push(nonce);
    }
    let get = format!("GET /else HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    assert_eq!(Client::new(addr).await.request(&get).await.status, 404);
}
