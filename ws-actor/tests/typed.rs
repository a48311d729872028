//! Typed messages, and envelopes.

mod support;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use support::{Client, listen, soon};
use ws_actor::{
    ActorOptions, Codec, Context, DecodeError, EncodeError, Fault, Hub, Inbound, Json, Message,
    OnDecodeError, Outgoing, Recovery, Relay, RoomOptions, Route, Server, Typed, TypedSendError, Upgrade,
    WsActor,
};
use ws_core::frame::Opcode;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said {
    Add { amount: i64 },
    Show,
}

/// An amount of four bytes to add, none to be shown the sum.
#[derive(Default)]
struct Binary;

impl Codec for Binary {
    type In = Said;
    type Out = Said;

    fn decode(&self, message: &Message) -> Result<Said, DecodeError> {
        let Message::Binary(bytes) = message else { return Err(DecodeError::WrongKind) };
        match (bytes.first_chunk(), bytes.len()) {
            (_, 0) => Ok(Said::Show),
            (Some(amount), 4) => Ok(Said::Add { amount: i32::from_be_bytes(*amount).into() }),
            (_, other) => Err(DecodeError::malformed(format_args!("{other} bytes"))),
        }
    }

    fn encode(&self, said: &Said) -> Result<Outgoing, EncodeError> {
        Ok(match said {
            Said::Add { amount } => {
                let amount = i32::try_from(*amount).map_err(EncodeError::new)?;
                amount.to_be_bytes().to_vec().into()
            }
            Said::Show => Vec::new().into(),
        })
    }
}

struct Adder<C: Codec> {
    wire: Typed<C>,
    sum: i64,
}

impl<C: Codec<In = Said, Out = Said>> WsActor for Adder<C> {
    type Cast = ();

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        match self.wire.accept(cx, &inbound) {
            Some(Said::Add { amount }) => self.sum += amount,
            Some(Said::Show) => {
                let _ = self.wire.send(cx.hub(), inbound.id, &Said::Add { amount: self.sum });
            }
            None => {}
        }
    }
}

/// B17: the same actor over JSON and over bytes; what neither can read, by policy: closed with 1003 or 1007, dropped and
/// counted, or a failure of the actor.
#[tokio::test]
async fn codecs_and_policies() {
    let json = [
        (Opcode::Text, br#"{"type":"add","amount":2}"#.to_vec()),
        (Opcode::Text, br#"{"type":"show"}"#.to_vec()),
    ];
    let binary = [(Opcode::Binary, vec![0, 0, 0, 2]), (Opcode::Binary, Vec::new())];
    let bad_json: &[(Opcode, &[u8], u16)] = &[
        (Opcode::Text, b"{", 1007),
        (Opcode::Text, b"", 1007),
        (Opcode::Text, br#"{"type":"sub"}"#, 1007),
        (Opcode::Text, br#"{"type":"show"} x"#, 1007),
        (Opcode::Binary, br#"{"type":"show"}"#, 1003),
    ];
    let deep = "[".repeat(100_000);
    let bad_binary: &[(Opcode, &[u8], u16)] =
        &[(Opcode::Binary, b"123", 1007), (Opcode::Binary, b"12345", 1007), (Opcode::Text, b"", 1003)];
    policies(Json::new, &json, bad_json).await;
    policies(Json::new, &json, &[(Opcode::Text, deep.as_bytes(), 1007)]).await;
    policies(|| Binary, &binary, bad_binary).await;
}

async fn policies<C: Codec<In = Said, Out = Said>>(
    codec: fn() -> C,
    good: &[(Opcode, Vec<u8>); 2],
    bad: &[(Opcode, &[u8], u16)],
) {
    for policy in [OnDecodeError::Close, OnDecodeError::Drop, OnDecodeError::Fail] {
        let (hub, wire) = (Hub::new(), Typed::new(codec()).on_error(policy));
        let faults = Arc::<std::sync::Mutex<Vec<Fault>>>::default();
        let to = Arc::clone(&faults);
        hub.on_actor_failure(move |failure| to.lock().unwrap().push(failure.fault.clone()));
        let mut options = ActorOptions::new();
        options.on_error = Recovery::Continue;
        let make = {
            let wire = wire.clone();
            move || Adder { wire: wire.clone(), sum: 0 }
        };
        let target = hub.spawn_with("adder", options, make).unwrap();
        let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target).control_frames())).await;
        for (n, (opcode, payload, code)) in bad.iter().enumerate() {
            let case = format!("{policy:?} {opcode:?} {:?}", payload.get(..20).unwrap_or(payload));
            let mut client = Client::open(addr, "/ws").await;
            for (opcode, payload) in good {
                client.send(*opcode, payload).await;
            }
            let sum = client.message().await.1;
            client.send(Opcode::Ping, b"no message").await;
            assert_eq!(client.message().await.0, Opcode::Pong);
            client.send(*opcode, payload).await;
            match policy {
                OnDecodeError::Close => {
                    let (closed, reason) = client.close_frame().await;
                    assert_eq!(closed, *code, "{case}");
                    // Nothing of the decoder's words, which may quote others.
                    assert!(reason.ends_with("is not understood") && !reason.contains(':'), "{reason}");
                }
                _ => {
                    client.send(good[1].0, &good[1].1).await;
                    assert_eq!(client.message().await.1, sum, "{case}");
                }
            }
            assert_eq!(wire.failed(), n as u64 + 1, "{case}");
        }
        let faults = faults.lock().unwrap();
        assert_eq!(faults.len(), if policy == OnDecodeError::Fail { bad.len() } else { 0 });
        assert!(
            faults.iter().all(|fault| matches!(fault, Fault::Error(text) if text.contains("understood")))
        );
    }
}

/// B17: what is encoded can be decoded, and what cannot be encoded is an error that sends nothing.
#[tokio::test]
async fn values_that_cannot_be_sent() {
    let wire = Typed::new(Binary);
    assert!(wire.encode(&Said::Add { amount: 1 << 40 }).is_err());
    let json = Typed::new(Json::<std::collections::HashMap<(u8, u8), u8>>::new());
    assert!(json.encode(&[((1, 2), 3)].into()).is_err());
    let hub = Hub::new();
    let (target, mut log) = support::witness(&hub, "witness", false);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    let mut client = Client::open(addr, "/ws").await;
    let id = log.connect().await.id;
    assert!(matches!(wire.send(&hub, id, &Said::Add { amount: 1 << 40 }), Err(TypedSendError::Encode(_))));
    assert_eq!(wire.send(&hub, id, &Said::Add { amount: 7 }), Ok(()));
    assert_eq!(client.message().await, (Opcode::Binary, vec![0, 0, 0, 7]));
    hub.close(id, ws_actor::CloseFrame::new(1000, "")).unwrap();
    assert!(matches!(wire.send(&hub, id, &Said::Show), Err(TypedSendError::Send(_))));
}

/// C10, S5: one broadcast reaches clients with envelopes and clients without, live and from a room's history; off unless the
/// route or the decision says so.
#[tokio::test]
async fn envelopes() {
    let hub = Hub::new();
    let (target, mut log) = support::witness(&hub, "witness", true);
    let decide = async |upgrade: Upgrade| match &*upgrade.query {
        "on" => Relay::new().envelope(true).topic("mine"),
        "off" => Relay::new().envelope(false).topic("mine"),
        _ => Relay::new().topic("mine"),
    };
    let plain = Route::ws("/plain").target(&target).decide(decide);
    let wrapped = Route::ws("/wrapped").target(&target).decide(decide).envelope();
    let addr = listen(Server::new(&hub).route(plain).route(wrapped)).await;
    let json = serde_json::json!({ "client_count": 5 });
    let said = [
        (
            Outgoing::from("hi \"you\""),
            (Opcode::Text, b"hi \"you\"".to_vec()),
            r#"{"topic":"mine","data":"hi \"you\""}"#,
        ),
        (
            Outgoing::from("hi").topic("chat"),
            (Opcode::Text, b"hi".to_vec()),
            r#"{"topic":"chat","data":"hi"}"#,
        ),
        (
            Outgoing::json(&json).unwrap().topic("welcome"),
            (Opcode::Text, br#"{"client_count":5}"#.to_vec()),
            r#"{"topic":"welcome","data":{"client_count":5}}"#,
        ),
        (
            Outgoing::from(vec![0, 255]).topic("bytes"),
            (Opcode::Binary, vec![0, 255]),
            r#"{"topic":"bytes","data":"AP8="}"#,
        ),
        (Outgoing::keyed("k", "v").topic("t"), (Opcode::Text, b"v".to_vec()), r#"{"topic":"t","data":"v"}"#),
    ];
    // Of the past, all get what they would have got live.
    let mut options = RoomOptions::new();
    options.history = Some((10, std::time::Duration::from_secs(3_600)));
    let past = hub.room_with("past", options);
    for (outgoing, ..) in &said {
        past.broadcast(outgoing.clone());
    }
    let room = hub.room("all");
    let mut clients = Vec::new();
    // The default of each route, and what a decision makes of it.
    let table = [
        ("/plain", false),
        ("/plain?on", true),
        ("/plain?off", false),
        ("/wrapped", true),
        ("/wrapped?off", false),
    ];
    for (path, is_wrapped) in table {
        let client = Client::open(addr, path).await;
        let id = log.connect().await.id;
        room.join(id).unwrap();
        past.join(id).unwrap();
        clients.push((client, id, is_wrapped));
    }
    for (client, _, is_wrapped) in &mut clients {
        for (_, plain, wrapped) in &said {
            let wrapped = (Opcode::Text, wrapped.as_bytes().to_vec());
            assert_eq!(client.message().await, if *is_wrapped { wrapped } else { plain.clone() });
        }
    }
    for (outgoing, plain, wrapped) in said {
        let wrapped = (Opcode::Text, wrapped.as_bytes().to_vec());
        assert_eq!(room.broadcast(outgoing.clone()).delivered, 5);
        assert_eq!(hub.broadcast(outgoing.clone()).delivered, 5);
        for (client, id, is_wrapped) in &mut clients {
            assert_eq!(hub.send(*id, outgoing.clone()), Ok(()));
            assert_eq!(soon(hub.send_acked(*id, outgoing.clone())).await, Ok(()));
            for _ in 0..4 {
                assert_eq!(client.message().await, if *is_wrapped { wrapped.clone() } else { plain.clone() });
            }
        }
    }
    // The topic is that of the moment; what the client says is left as it is; control frames have no envelope.
    let (client, id, _) = &mut clients[1];
    assert_eq!(hub.retarget(*id, Relay::new().topic("other")), Ok(()));
    client.text(r#"{"topic":"x","data":"y"}"#).await;
    let echo = r#"{"topic":"other","data":"{\"topic\":\"x\",\"data\":\"y\"}"}"#;
    assert_eq!(client.read_text().await, echo);
    assert_eq!(hub.send(*id, Message::Ping(b"p".to_vec().into())), Ok(()));
    assert_eq!(client.message().await, (Opcode::Ping, b"p".to_vec()));
}
