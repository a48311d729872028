//! Messages that are framed once for many connections: what they are for connections that do not compress.
#![cfg(feature = "alloc")]

use ws_core::{Config, Connection, Instant, Message, Part, Prepared, SendError, Spare};

static CONFIG: Config = Config::server();

type Step = fn(&mut Connection);

fn server() -> Connection {
    Connection::server(&CONFIG, Instant::ZERO)
}

/// [`Connection::shares_plain`] predicts what [`Connection::prepared`] does: in each state either both say yes, or neither.
#[test]
fn who_shares_the_plain_frame() {
    let news = Prepared::new(Message::Text("news"));
    let steps: [(&str, Step, bool); 6] = [
        ("fresh", |_| (), true),
        ("control frames wait", |one| one.ping(b"ping").unwrap(), true),
        (
            "a message is open",
            |one| assert_eq!(one.send_part(Message::Text("a"), Part::First, &mut [0; 99]), Ok(9)),
            false,
        ),
        (
            "it is done",
            |one| assert_eq!(one.send_part(Message::Text("b"), Part::Last, &mut [0; 99]), Ok(3)),
            true,
        ),
        (
            "a control frame is cut",
            |one| {
                one.ping(b"another").unwrap();
                one.transmit(&mut [0; 3]);
            },
            false,
        ),
        ("it closes", |one| one.close(Instant::ZERO, None).unwrap(), false),
    ];
    let mut one = server();
    for (name, step, shares) in steps {
        step(&mut one);
        assert_eq!(one.shares_plain(), shares, "{name}");
        assert_eq!(one.prepared(&news).ok(), shares.then_some(news.plain()), "{name}");
        assert_eq!(one.has_open_message(), name == "a message is open");
    }
    let mut client = Connection::client(&CONFIG, Instant::ZERO, [7; 32]);
    assert!(!client.shares_plain());
    assert_eq!(client.prepared(&news), Err(SendError::Unmasked));
}

/// The memory of a message is used again only when no clone holds it, and nothing of the message stays in it.
#[test]
fn memory_is_used_again() {
    let long = "x".repeat(70_000);
    let mut spare: Option<Spare> = None;
    for text in ["first", "", &long, "short again", &long[..200]] {
        let message = Message::Text(text);
        let room = spare.as_ref().map_or(0, Spare::capacity);
        let prepared = match spare.take() {
            Some(spare) => spare.prepare(message),
            None => Prepared::new(message),
        };
        let fresh = Prepared::new(message);
        assert_eq!((prepared.plain(), prepared.message()), (fresh.plain(), message));
        assert_eq!((prepared.len(), prepared.kind()), (text.len(), message.kind()));
        let other = prepared.clone();
        assert!(other.reclaim().is_none(), "somebody holds it");
        let held = prepared.hold(prepared.plain()).unwrap();
        assert!(prepared.clone().reclaim().is_none());
        assert_eq!(held.as_ref(), fresh.plain());
        drop(held);
        spare = prepared.reclaim();
        assert!(spare.as_ref().is_some_and(|spare| spare.capacity() >= room.max(fresh.plain().len())));
    }
    let binary = spare.unwrap().prepare(Message::Binary(b"\xff"));
    assert_eq!(binary.plain(), b"\x82\x01\xff");
}
