//! Topics with members that compress and members that do not.
#![cfg(feature = "deflate")]

mod support;

use support::compressed::{Codec, RSV1, another_text, empty_pool, line, request, settings};
use support::hall::{Guest, Hall};
use support::{BINARY, REQUEST, TEXT};
use ws_mio::core::Config;
use ws_mio::core::deflate::Pool;

/// What a member offers, what it inflates with, and the name of both in a failure.
const KINDS: [(&str, Option<(u8, bool)>); 5] = [
    ("", None),
    ("permessage-deflate", Some((15, true))),
    ("permessage-deflate; server_no_context_takeover", Some((15, false))),
    ("permessage-deflate; server_max_window_bits=10", Some((10, true))),
    ("permessage-deflate; server_max_window_bits=9; server_no_context_takeover", Some((9, false))),
];

struct Member {
    guest: Guest,
    codec: Option<Codec>,
    kind: &'static str,
}

impl Member {
    fn join(hall: &Hall, (offer, codec): (&'static str, Option<(u8, bool)>)) -> Self {
        let request = if offer.is_empty() { REQUEST.to_vec() } else { request(offer) };
        let (mut guest, head) = hall.guest_who(&request);
        assert_eq!(line(&head).is_some(), codec.is_some(), "{head}");
        guest.say("join t");
        let mut member =
            Self { guest, codec: codec.map(|(bits, takeover)| Codec::new(bits, takeover)), kind: offer };
        assert_eq!(member.hear().1, b"joined true");
        member
    }

    /// The next message: whether it was compressed, and its content.
    fn hear(&mut self) -> (bool, Vec<u8>) {
        let (first, payload) = self.guest.frame();
        assert!(matches!(first & !RSV1, TEXT | BINARY), "{first:#x}");
        match &mut self.codec {
            Some(codec) if first & RSV1 != 0 => (true, codec.inflate(&payload)),
            _ => (first & RSV1 != 0, payload),
        }
    }

    fn expect(&mut self, words: &str, compressed: bool) {
        let (was, message) = self.hear();
        assert!(message == words.as_bytes(), "{:?}: other words", self.kind);
        assert_eq!(was, compressed && self.codec.is_some(), "{:?}, {} bytes", self.kind, words.len());
    }
}

fn hall(pool: Pool) -> Hall {
    let mut config = Config::server();
    let mut deflate = settings(15, true);
    deflate.pool = Some(pool);
    config.deflate = Some(deflate);
    Hall::open(|settings| settings.config = config.into())
}

/// Each member gets what it agreed to, and can read it, whatever it was sent before: its own messages, with their context,
/// and several at a time.
#[test]
fn each_gets_his_own_form() {
    let hall = hall(empty_pool());
    let mut members: Vec<Member> =
        KINDS.iter().cycle().take(15).map(|kind| Member::join(&hall, *kind)).collect();
    for round in 0..4 {
        let (long, longer) = (another_text(round, 3_000), another_text(round + 10, 40_000));
        hall.remote.publish("t", long.as_str()).expect("room");
        members.iter_mut().for_each(|member| member.expect(&long, true));

        // Three at once, one of them too short to be compressed.
        let words = [&*long, "short", &*longer];
        for words in words {
            hall.remote.publish("t", words).expect("room");
        }
        for member in &mut members {
            words.iter().for_each(|words| member.expect(words, words.len() > 5));
        }

        // And each one's own reply, between two of them: a text that is compressed separately, with its context.
        for (at, member) in members.iter_mut().enumerate() {
            let own = another_text(at, 2_000).replace(' ', "_");
            member.guest.say(&own);
            member.expect(&format!("what is {:?}", (&*own, "", "")), true);
        }
    }
}

/// A message is compressed once for each window in use, however many members there are.
#[test]
fn compressed_once_for_all() {
    let pool = empty_pool();
    let hall = hall(pool.clone());
    let mut members: Vec<Member> =
        KINDS.iter().cycle().take(30).map(|kind| Member::join(&hall, *kind)).collect();
    let words = another_text(1, 60_000);
    hall.remote.publish("t", words.as_str()).expect("room");
    members.iter_mut().for_each(|member| member.expect(&words, true));
    let before = pool.lent();
    for _ in 0..10 {
        hall.remote.publish("t", words.as_str()).expect("room");
        members.iter_mut().for_each(|member| member.expect(&words, true));
    }
    let taken = pool.lent().deflaters_taken - before.deflaters_taken;
    assert_eq!(taken, 10 * 3, "windows of 15, 10 and 9 bits");
}
