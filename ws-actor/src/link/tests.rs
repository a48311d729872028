use super::*;
use crate::decision::Relay;
use crate::fixture::{self, noop, target};
use crate::mailbox::MAX_LETTERS;
use crate::outbox::OutboxLimits;
use proptest::prelude::*;
use std::collections::HashMap;

fn full() -> Target {
    let target = target();
    for _ in 0..MAX_LETTERS {
        assert_eq!(target.cast(0_u32), Ok(()));
    }
    target
}

fn open(hub: &Hub, target: &Target) -> Link {
    fixture::open(hub, target, OutboxLimits::new())
}

fn read(target: &Target) -> Option<Letter> {
    match target.mailbox().poll_read(&noop()) {
        Poll::Ready(letter) => letter,
        Poll::Pending => None,
    }
}

fn events(target: &Target) -> Vec<String> {
    std::iter::from_fn(|| read(target))
        .filter_map(|letter| match letter {
            Letter::Event(Event::Connect(_)) => Some("connect".to_owned()),
            Letter::Event(Event::Message(inbound)) => inbound.message.as_text().map(str::to_owned),
            Letter::Event(Event::Disconnect(gone)) | Letter::Farewell(gone, _) => {
                Some(gone.reason.to_string())
            }
            _ => None,
        })
        .collect()
}

/// B3: an actor that never heard of a connection is not told of its end.
#[test]
fn unheard_of() {
    let (hub, target) = (Hub::new(), full());
    let mut link = open(&hub, &target);
    assert_eq!(link.poll_deliver(&noop()), Poll::Pending);
    drop(link);
    assert_eq!(events(&target), [""; 0]);
    assert_eq!(hub.connection_count(), 0);
}

/// B3, C7: nor is one that stops before a connection which was on the way to it has arrived.
#[test]
fn unheard_of_by_the_next() {
    for tries in [0, 1] {
        let (hub, from, to) = (Hub::new(), target(), target());
        let mut link = open(&hub, &from);
        assert_eq!(link.poll_deliver(&noop()), Poll::Ready(Ok(())));
        assert_eq!(hub.retarget(link.id(), Relay::to(&to)), Ok(()));
        assert!(link.attend(&noop(), now()));
        assert_eq!(events(&from), ["connect", &Reason::Moved.to_string()]);
        link.attend(&noop(), now());
        to.mailbox().seal();
        for _ in 0..tries {
            assert_eq!(link.poll_deliver(&noop()), Poll::Ready(Err(Down)));
        }
        drop(link);
        assert_eq!(events(&to), [""; 0]);
        assert_eq!((from.mailbox().attached_count(), to.mailbox().attached_count()), (0, 0));
    }
}

/// B3, B4: what was in hand arrives before the Disconnect, however the link ends and however full the mailbox is.
#[test]
fn in_hand_at_the_end() {
    for reason in [None, Some(Reason::Peer(None))] {
        let (hub, target) = (Hub::new(), full());
        assert!(read(&target).is_some());
        let mut link = open(&hub, &target);
        assert_eq!(link.poll_deliver(&noop()), Poll::Ready(Ok(())));
        assert_eq!(link.hold(Message::text("last")), Ok(()));
        assert_eq!(link.hold(Message::text("one too many")), Err(Message::text("one too many")));
        assert_eq!(link.poll_deliver(&noop()), Poll::Pending);
        let expected = reason.clone().unwrap_or(Reason::Aborted).to_string();
        match reason {
            Some(reason) => link.finish(reason),
            None => drop(link),
        }
        assert_eq!(events(&target), ["connect", "last", &*expected]);
    }
}

/// C7, N-04: clients that come and go while they are on their way to an actor that is slow fill its mailbox up to a bound;
/// then they stay where they are, and newcomers go elsewhere.
#[test]
fn churn_through_a_move() {
    let (hub, lobby, to) = (Hub::new(), target(), full());
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut link = open(&hub, &lobby);
        assert_eq!(link.poll_deliver(&noop()), Poll::Ready(Ok(())));
        refused += u64::from(hub.retarget(link.id(), Relay::to(&to)).is_err());
        link.attend(&noop(), now());
        events(&lobby);
        link.attend(&noop(), now());
        let _ = link.poll_deliver(&noop());
        drop(link);
        events(&lobby);
    }
    assert!(refused > 10_000, "{refused}");
    let come = |pool: Pool| {
        Link::open(&hub, &pool, OutboxLimits::new(), fixture::who(), fixture::terms())
            .map(|link| link.target.clone())
    };
    assert!(come((&to).into()).is_err());
    for _ in 0..3 {
        assert!(come(Pool::new([&to, &lobby])).is_ok_and(|target| target.is(&lobby)));
    }
    let heard = events(&to);
    assert!(heard.len() <= 4 * MAX_LETTERS + 3, "{}", heard.len());
    // It is told of none by halves, and takes others again.
    assert_eq!(heard.iter().filter(|word| *word == "connect").count() * 2, heard.len());
    open(&hub, &to);
}

/// A payload whose owner's destructor panics.
fn bomb() -> Message {
    struct Bomb;
    impl AsRef<[u8]> for Bomb {
        fn as_ref(&self) -> &[u8] {
            b"tick"
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("a payload's owner");
        }
    }
    Message::Binary(bytes::Bytes::from_owner(Bomb))
}

/// B3, B14, D4: payloads whose owners panic when they are let go of, by the end of a connection, by a cut, by what replaces
/// them, or with the history of a room: what depends on the connection ends as ever.
#[test]
fn payloads_that_panic() {
    let ends: [fn(&Hub, &Link); 4] = [
        |_, _| {},
        |_, link| link.cut(CloseFrame::SLOW_CONSUMER, Reason::SlowConsumer),
        |hub, link| while hub.send(link.id(), "more").is_ok() && hub.metrics().dropped.total() < 10 {},
        |_, link| drop(fixture::written(link)),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let (hub, target) = (Hub::new(), target());
        let limits = OutboxLimits { max_messages: 6, overflow: Overflow::DropOld, ..OutboxLimits::new() };
        let link = fixture::link(&hub, &target, limits);
        let mut options = crate::presence::RoomOptions::new();
        options.history = Some((10, Duration::from_secs(60)));
        let room = hub.room_with("r", options);
        assert_eq!(room.join(link.id()), Ok(()));
        for _ in 0..2 {
            assert_eq!(hub.send(link.id(), bomb()), Ok(()));
            assert_eq!(room.broadcast(bomb()).delivered, 1);
            assert_eq!(hub.send(link.id(), Message::Ping("tick".into())), Ok(()));
        }
        drop(room);
        end(&hub, &link);
        drop(link);
        assert_eq!(events(&target), ["connect", &Reason::Aborted.to_string()], "{n}");
        assert_eq!((hub.connection_count(), hub.room_count()), (0, 0), "{n}");
        assert_eq!(target.mailbox().attached_count(), 0, "{n}");
    }
}

proptest! {
    /// B3, B4, C7: connections that come, speak, move and go in any order, among three mailboxes that are full or
    /// nearly so: one actor has a connection at a time, every message is seen once and in order, and an actor
    /// that is told of a move is not the last to be told.
    #[test]
    fn moves_in_order(steps in proptest::collection::vec((0..9_u8, 0..8_usize, 0..3_usize), 0..400)) {
        let hub = Hub::new();
        let targets = [full(), full(), full()];
        for target in &targets {
            for _ in 0..MAX_LETTERS - 2 {
                prop_assert!(read(target).is_some());
            }
        }
        let mut links: Vec<(Link, u64)> = Vec::new();
        let mut said: HashMap<ConnId, u64> = HashMap::new();
        let mut lives: HashMap<ConnId, Life> = HashMap::new();
        for (step, n, to) in steps {
            match step {
                0 => links.push((open(&hub, &targets[to]), 0)),
                1..=3 => hear(to, read(&targets[to]), &mut lives)?,
                4 if !links.is_empty() => drop(links.swap_remove(n % links.len())),
                5 if !links.is_empty() => {
                    let id = links[n % links.len()].0.id();
                    prop_assert_eq!(hub.retarget(id, Relay::to(&targets[to])), Ok(()));
                }
                _ if !links.is_empty() => {
                    let at = n % links.len();
                    let (link, next) = &mut links[at];
                    link.attend(&noop(), now());
                    let _ = link.poll_deliver(&noop());
                    if link.is_free() && link.hold(Message::text(next.to_string())).is_ok() {
                        *next += 1;
                        said.insert(link.id(), *next);
                    }
                }
                _ => {}
            }
        }
        drop(links);
        // What one has done with may bring another a letter.
        while targets.iter().any(|target| !target.mailbox().is_empty()) {
            for (at, target) in targets.iter().enumerate() {
                hear(at, read(target), &mut lives)?;
            }
        }
        for (id, life) in &lives {
            prop_assert_eq!(life.has, None);
            prop_assert!(life.is_over, "nobody was told of the end");
            prop_assert_eq!(life.next, said.get(id).copied().unwrap_or(0));
        }
        prop_assert!(targets.iter().all(|target| target.mailbox().attached_count() == 0));
        prop_assert_eq!(hub.connection_count(), 0);
    }
}

/// What three actors together have heard of a connection.
#[derive(Default)]
struct Life {
    has: Option<usize>,
    next: u64,
    is_over: bool,
}

fn hear(at: usize, letter: Option<Letter>, lives: &mut HashMap<ConnId, Life>) -> Result<(), TestCaseError> {
    match letter {
        Some(Letter::Event(Event::Connect(connect))) => {
            let life = lives.entry(connect.id).or_default();
            prop_assert!(life.has.is_none() && !life.is_over);
            life.has = Some(at);
        }
        Some(Letter::Event(Event::Message(inbound))) => {
            let life = lives.entry(inbound.id).or_default();
            prop_assert_eq!(life.has, Some(at));
            prop_assert_eq!(inbound.message.as_text(), Some(&*life.next.to_string()));
            life.next += 1;
        }
        Some(Letter::Event(Event::Disconnect(gone)) | Letter::Farewell(gone, _)) => {
            let life = lives.entry(gone.id).or_default();
            prop_assert_eq!(life.has.take(), Some(at));
            life.is_over = gone.reason != Reason::Moved;
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    /// B3, B4: connections that come, speak and go in any order, before a mailbox that is full or nearly so.
    #[test]
    fn lives_in_order(steps in proptest::collection::vec((0..6_u8, 0..8_usize), 0..300)) {
        let (hub, target) = (Hub::new(), full());
        let mut links: Vec<(Link, u64)> = Vec::new();
        let mut said: HashMap<ConnId, u64> = HashMap::new();
        let mut letters = Vec::new();
        for (step, n) in steps {
            match step {
                0 => links.push((open(&hub, &target), 0)),
                1 => letters.extend(read(&target)),
                2 if !links.is_empty() => drop(links.swap_remove(n % links.len())),
                _ if !links.is_empty() => {
                    let at = n % links.len();
                    let (link, next) = &mut links[at];
                    let _ = link.poll_deliver(&noop());
                    if link.is_free() && link.hold(Message::text(next.to_string())).is_ok() {
                        *next += 1;
                        said.insert(link.id(), *next);
                    }
                }
                _ => {}
            }
        }
        drop(links);
        letters.extend(std::iter::from_fn(|| read(&target)));
        let mut heard: HashMap<ConnId, (u64, bool)> = HashMap::new();
        for letter in letters {
            match letter {
                Letter::Event(Event::Connect(connect)) => {
                    prop_assert!(heard.insert(connect.id, (0, false)).is_none());
                }
                Letter::Event(Event::Message(inbound)) => {
                    let life = heard.entry(inbound.id).or_insert((u64::MAX, true));
                    let next = life.0.to_string();
                    prop_assert!(!life.1 && inbound.message.as_text() == Some(&*next));
                    life.0 += 1;
                }
                Letter::Event(Event::Disconnect(gone)) => {
                    let life = heard.entry(gone.id).or_insert((u64::MAX, true));
                    prop_assert!(!life.1);
                    life.1 = true;
                    // Nothing that was taken from the socket is lost.
                    prop_assert_eq!(life.0, said.get(&gone.id).copied().unwrap_or(0));
                }
                _ => {}
            }
        }
        prop_assert!(heard.values().all(|life| life.1));
        prop_assert_eq!(hub.connection_count(), 0);
    }
}
