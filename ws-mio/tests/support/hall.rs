//! A server with topics, told by its clients what to do; and such a client.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};

use ws_mio::core::{Event, Part};
use ws_mio::{
    Acceptance, ConnId, Error, Handler, Peer, Published, Refusal, Remote, Settings, TopicError, Visitor,
};

use super::running::{Given, Running};
use super::{REQUEST, TEXT, masked, read_frame, until};

/// Does what a text says, and answers with the outcome.
pub(crate) struct Usher {
    remote: Remote,
    naps: Sender<Nap>,
}

/// A loop sleeps until this is dropped.
pub(crate) struct Nap(#[expect(dead_code, reason = "it is dropped")] Sender<()>);

impl Handler for Usher {
    /// What it publishes to the topic `ends` when it is over.
    type State = Option<String>;

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<Option<String>>, Refusal> {
        Ok(Acceptance::default())
    }

    fn open(&mut self, peer: &mut Peer<'_, Option<String>>) {
        peer.publish("opens", "somebody came").expect("a topic");
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Option<String>>) {
        let Event::Text(text) = event else { return };
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let answer = match (word(), word(), word()) {
            ("join", topic, _) => match peer.subscribe(topic) {
                Ok(new) => format!("joined {new}"),
                Err(error) => format!("{error:?}"),
            },
            ("leave", topic, _) => format!("left {}", peer.unsubscribe(topic)),
            ("topics", ..) => {
                let mut names: Vec<&str> = peer.topics().collect();
                names.sort_unstable();
                names.join(",")
            }
            ("tell", topic, message) => told(peer.publish(topic, message)),
            ("say", topic, message) => told(peer.publish_to_all(topic, message)),
            ("burst", topic, size) => {
                let (count, len) = size.split_once('x').expect("COUNTxLEN");
                let mut sum = Published::default();
                for at in 0..count.parse::<u32>().expect("a number") {
                    let one =
                        peer.publish(topic, &numbered(at, len.parse().expect("a number"))).expect("room");
                    sum.reached += one.reached;
                    sum.elsewhere += one.elsewhere;
                    sum.dropped += one.dropped;
                }
                told(Ok(sum))
            }
            ("mix", topic, _) => {
                peer.send("own 1").expect("room");
                peer.publish_to_all(topic, "all 1").expect("room");
                peer.send("own 2").expect("room");
                peer.publish(topic, "others").expect("room");
                peer.publish_to_all(topic, "all 2").expect("room");
                "own 3".to_owned()
            }
            ("script", ..) => {
                // All of it in one event.
                for step in text.split(' ').skip(1) {
                    let (what, topic) = step.split_at(1);
                    match what {
                        "+" => drop(peer.subscribe(topic)),
                        "-" => drop(peer.unsubscribe(topic)),
                        "!" => drop(peer.publish(topic, step)),
                        "*" => drop(peer.publish_to_all(topic, step)),
                        _ => drop(peer.send(step)),
                    }
                }
                "done".to_owned()
            }
            ("away", topic, message) => {
                // Said, joined, said, left, said: only the second time it is a member.
                peer.publish_to_all(topic, format!("{message}1").as_str()).expect("room");
                peer.subscribe(topic).expect("room");
                peer.publish_to_all(topic, format!("{message}2").as_str()).expect("room");
                peer.unsubscribe(topic);
                told(peer.publish_to_all(topic, format!("{message}3").as_str()))
            }
            ("last", words, _) => {
                *peer.state = Some(words.to_owned());
                "noted".to_owned()
            }
            ("nap", ..) => {
                let (alarm, rings) = channel();
                self.naps.send(Nap(alarm)).expect("the test waits for it");
                rings.recv().expect_err("nothing is said");
                "woken".to_owned()
            }
            ("begin", ..) => return peer.send_part("in ", Part::First).expect("room"),
            ("end", ..) => return peer.send_part("parts", Part::Last).expect("room"),
            ("bye", topic, message) => {
                peer.publish_to_all(topic, message).expect("room");
                return peer.close(None).expect("open");
            }
            other => format!("what is {other:?}"),
        };
        peer.send(answer.as_str()).expect("room");
    }

    fn stalled(&mut self, peer: &mut Peer<'_, Option<String>>) {
        // What is published while others are being written to.
        peer.publish("flow", "stalled").expect("room");
        peer.publish("flow", "twice").expect("room");
    }

    fn drained(&mut self, peer: &mut Peer<'_, Option<String>>) {
        peer.publish("flow", "drained").expect("room");
    }

    fn closed(&mut self, _: ConnId, state: Option<String>, _: Result<(), Error>) {
        if let Some(words) = state {
            self.remote.publish("ends", words.as_str()).expect("room");
        }
    }
}

pub(crate) fn told(result: Result<Published, TopicError>) -> String {
    match result {
        Ok(Published { reached, elsewhere, dropped, .. }) => format!("{reached} {elsewhere} {dropped}"),
        Err(error) => format!("{error:?}"),
    }
}

/// A message that contains its number.
pub(crate) fn numbered(at: u32, len: usize) -> Vec<u8> {
    let mut message = at.to_be_bytes().to_vec();
    message.resize(len.max(4), at as u8);
    message
}

/// A server with such a handler.
pub(crate) type Hall = Running<Nap>;

impl Hall {
    pub(crate) fn open(change: impl FnOnce(&mut Settings)) -> Self {
        Self::serve(change, |Given { remote, told, .. }| Usher { remote, naps: told })
    }

    pub(crate) fn guest(&self) -> Guest {
        self.guest_who(REQUEST).0
    }

    /// A client with its own request; and the answer.
    pub(crate) fn guest_who(&self, request: &[u8]) -> (Guest, String) {
        let (peer, head) = self.greet(request);
        (Guest(peer), head)
    }

    /// Waits until a topic has this many members.
    pub(crate) fn await_len(&self, topic: &str, len: usize) {
        until(&format!("{len} in {topic}"), || self.remote.topic_len(topic) == len);
    }

    pub(crate) fn await_deliveries(&self, made: usize, dropped: usize) {
        until(&format!("{made} made and {dropped} dropped"), || {
            let now = self.remote.deliveries();
            (now.made, now.dropped) == (made, dropped)
        });
    }
}

/// A client.
pub(crate) struct Guest(pub(crate) TcpStream);

impl Guest {
    pub(crate) fn say(&mut self, words: &str) {
        self.0.write_all(&masked(TEXT, words.as_bytes())).expect("written");
    }

    /// Sends something, and expects this answer.
    pub(crate) fn ask(&mut self, words: &str, answer: &str) {
        self.say(words);
        assert_eq!(self.hear(), answer, "after {words}");
    }

    /// The next frame: its first byte, and its payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        read_frame(&mut self.0)
    }

    /// The next message, a text in one frame.
    pub(crate) fn hear(&mut self) -> String {
        let (first, payload) = self.frame();
        assert_eq!(first, TEXT, "{:?}", &payload[..payload.len().min(40)]);
        String::from_utf8(payload).expect("text")
    }

    /// Checks that nothing else has come: a question is answered next.
    pub(crate) fn expect_silence(&mut self) {
        self.ask("silence", "what is (\"silence\", \"\", \"\")");
    }
}
