//! `{"topic": …, "data": …}` around what a client is sent, if its route or its decision wants that
//! ([`Relay::envelope`](crate::Relay::envelope)).
//!
//! The envelope is put around a message where it enters a connection's outbox, so that one broadcast can reach clients
//! with envelopes and clients without. For those with envelopes, it is made once (`outgoing.rs`).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ws_core::{Kind, Utf8};

/// What an envelope says of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelope {
    /// Without one, it is that of the connection.
    pub(crate) topic: Option<Arc<str>>,
    /// The message is JSON text, and goes in as it is.
    pub(crate) is_json: bool,
}

impl Envelope {
    /// Whether it says nothing.
    pub(crate) fn is_usual(&self) -> bool {
        self.topic.is_none() && !self.is_json
    }

    /// The message in its envelope, under this topic.
    pub(crate) fn around(&self, topic: &str, kind: Kind, payload: &[u8]) -> Utf8 {
        write(topic, kind, payload, self.is_json)
    }
}

fn write(topic: &str, kind: Kind, payload: &[u8], is_json: bool) -> Utf8 {
    let mut text = String::with_capacity(22 + topic.len() + payload.len());
    text.push_str("{\"topic\":");
    text.push_str(&quoted(topic));
    text.push_str(",\"data\":");
    match (kind, std::str::from_utf8(payload)) {
        (Kind::Text, Ok(json)) if is_json => text.push_str(json),
        (Kind::Text, Ok(plain)) => text.push_str(&quoted(plain)),
        _ => {
            text.push('"');
            STANDARD.encode_string(payload, &mut text);
            text.push('"');
        }
    }
    text.push('}');
    text.into()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Message;
    use crate::outgoing::{Lane, Outgoing};

    /// C10: texts as strings, JSON as it is, bytes as base64, topics escaped; for many it is made once.
    #[test]
    fn what_is_written() {
        let json = serde_json::json!({ "n": [1, null] });
        let table: [(Outgoing, &str); 6] = [
            (Outgoing::from("hi").topic("a"), r#"{"topic":"a","data":"hi"}"#),
            (Outgoing::from("\"\\").topic("a\"b\n"), r#"{"topic":"a\"b\n","data":"\"\\"}"#),
            (Outgoing::json(&json).unwrap().topic("a"), r#"{"topic":"a","data":{"n":[1,null]}}"#),
            (Outgoing::from(vec![0, 255, 254]).topic("a"), r#"{"topic":"a","data":"AP/+"}"#),
            (Outgoing::json(&json).unwrap(), r#"{"topic":"own","data":{"n":[1,null]}}"#),
            (Message::binary(vec![]).into(), r#"{"topic":"own","data":""}"#),
        ];
        for (outgoing, expected) in table {
            let is_shared = expected.starts_with(r#"{"topic":"a"#);
            let lanes = [Lane::of(outgoing.clone()), Lane::for_many(outgoing, None)];
            for (lane, is_for_many) in lanes.into_iter().zip([false, true]) {
                let Ok(Lane::Data(frame, None)) = lane else { panic!("a data message") };
                let [one, two] = [(); 2].map(|()| frame.enveloped(|| "own".into()));
                assert_eq!((&**one.payload(), one.kind()), (expected.as_bytes(), Kind::Text));
                assert_eq!(one.many().is_some(), is_for_many);
                assert!(serde_json::from_str::<serde_json::Value>(expected).is_ok());
                assert_eq!(one.payload().as_ptr() == two.payload().as_ptr(), is_shared && is_for_many);
            }
        }
    }
}
