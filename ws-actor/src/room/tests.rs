use super::*;
use crate::fixture::{link, target, written};
use crate::link::Link;
use crate::outbox::{OutboxLimits, Overflow};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn links(hub: &Hub, n: usize) -> Vec<Link> {
    let (target, limits) = (target(), OutboxLimits { max_messages: 1 << 20, ..OutboxLimits::new() });
    // A thousand connections fill the fixture's mailbox.
    (0..n)
        .map(|_| {
            let link = link(hub, &target, limits);
            assert!(target.mailbox().poll_read(&crate::fixture::noop()).is_ready());
            link
        })
        .collect()
}

/// D1: the list of members follows joins and leaves; joining twice is joining once.
#[test]
fn members_follow_joins_and_leaves() {
    let hub = Hub::new();
    let links = links(&hub, 3);
    let [a, b, c] = [0, 1, 2].map(|n: usize| links[n].id());
    let room = hub.room("kitchen");
    assert!(room.is_empty());
    assert_eq!([a, b, a].map(|id| room.join(id)), [Ok(()); 3]);
    assert_eq!(room.len(), 2);
    assert_eq!(room.members().into_iter().collect::<BTreeSet<_>>(), [a, b].into());
    assert!(room.contains(a) && !room.contains(c));
    assert!(room.leave(a) && !room.leave(a) && !room.leave(c));
    assert_eq!(hub.room("kitchen").members(), [b]);
}

/// D2: a broadcast reaches the members and says how many; the sender may be left out; a member that closes is not counted.
#[test]
fn broadcast_counts() {
    let hub = Hub::new();
    let links = links(&hub, 4);
    let room = hub.room("r");
    for link in &links[..3] {
        assert_eq!(room.join(link.id()), Ok(()));
    }
    assert_eq!(room.broadcast("all"), Sent { delivered: 3, dropped: 0 });
    assert_eq!(room.broadcast_except(links[0].id(), "others"), Sent { delivered: 2, dropped: 0 });
    assert_eq!(hub.send(links[1].id(), crate::Message::Close(None)), Ok(()));
    assert_eq!(room.broadcast("late"), Sent { delivered: 2, dropped: 1 });
    let words: Vec<_> = links.iter().map(written).collect();
    let expected: [&[&str]; 4] =
        [&["all", "late"], &["all", "others", "close"], &["all", "others", "late"], &[]];
    assert_eq!(words, expected);
    assert_eq!(hub.room("nobody").broadcast("x"), Sent::default());
}

/// D5: any UTF-8 names a room; names that differ name different rooms.
#[test]
fn any_name() {
    let hub = Hub::new();
    let links = links(&hub, 1);
    let names = ["", " ", ".", "*", ">", "a.b", "a/b", "é", "e\u{301}", "😀", "\0", "A", "a"];
    for name in names {
        assert_eq!(hub.room(name).join(links[0].id()), Ok(()));
    }
    assert_eq!(hub.room_count(), names.len());
    assert_eq!(hub.room("*").broadcast("x").delivered, 1);
    assert_eq!(written(&links[0]), ["x"]);
}

/// D1: the limits of names and of memberships hold.
#[test]
fn limits() {
    let hub = Hub::new();
    let links = links(&hub, 1);
    let id = links[0].id();
    assert_eq!(hub.room("x".repeat(MAX_ROOM_NAME + 1)).join(id), Err(JoinError::NameTooLong));
    assert_eq!(hub.room("x".repeat(MAX_ROOM_NAME)).join(id), Ok(()));
    for n in 1..MAX_ROOMS {
        assert_eq!(hub.room(n.to_string()).join(id), Ok(()));
    }
    assert_eq!(hub.room("more").join(id), Err(JoinError::TooManyRooms));
    assert!(hub.room("1").leave(id));
    assert_eq!(hub.room("more").join(id), Ok(()));
    drop(links);
    assert_eq!(hub.room("r").join(id), Err(JoinError::NotFound));
}

/// B11, D2: members of several shards see the broadcasts of several threads in one and the same order.
#[test]
fn one_order_for_all() {
    const MEMBERS: usize = MAX_SHARD + 100;
    let hub = Hub::new();
    let links = links(&hub, MEMBERS);
    let room = hub.room("r");
    for link in &links {
        assert_eq!(room.join(link.id()), Ok(()));
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let room = &room;
            scope.spawn(move || {
                for n in 0..5 {
                    assert_eq!(room.broadcast(format!("{thread} {n}")).delivered, MEMBERS);
                }
            });
        }
    });
    let first = written(&links[0]);
    assert_eq!(first.len(), 20);
    assert!(links[1..].iter().all(|link| written(link) == first));
}

/// B11: all members' queues share one payload.
#[test]
fn payload_is_shared() {
    let hub = Hub::new();
    let links = links(&hub, 10);
    for link in &links {
        assert_eq!(hub.room("r").join(link.id()), Ok(()));
    }
    assert_eq!(hub.room("r").broadcast(vec![7_u8; 1_000]).delivered, 10);
    let pointers: BTreeSet<_> = links
        .iter()
        .filter_map(|link| match link.poll_outgoing(&crate::fixture::noop()) {
            std::task::Poll::Ready(crate::outbox::Out::Data(frame)) => Some(frame.payload().as_ptr()),
            _ => None,
        })
        .collect();
    assert_eq!(pointers.len(), 1);
}

/// B11: a stuck member is counted as dropped and harms nobody.
#[test]
fn a_stuck_member_harms_nobody() {
    let hub = Hub::new();
    let target = target();
    let tight = OutboxLimits { max_messages: 1, overflow: Overflow::Close, ..OutboxLimits::new() };
    let stuck = link(&hub, &target, tight);
    let healthy = link(&hub, &target, OutboxLimits::new());
    let room = hub.room("r");
    assert_eq!([room.join(stuck.id()), room.join(healthy.id())], [Ok(()); 2]);
    assert_eq!(room.broadcast("1"), Sent { delivered: 2, dropped: 0 });
    assert_eq!(room.broadcast("2"), Sent { delivered: 1, dropped: 1 });
    assert_eq!(hub.broadcast("3"), Sent { delivered: 1, dropped: 1 });
    assert_eq!(written(&healthy), ["1", "2", "3"]);
    assert_eq!(written(&stuck), ["close 1013"]);
}

/// D2, B13: what a room's messages lose is counted for the room, whichever policy takes it and whenever.
#[test]
fn drops_are_counted_for_the_room() {
    let (hub, target) = (Hub::new(), target());
    // `Close` refuses the third, which takes two with it, and the fourth.
    for (overflow, dropped) in
        [(Overflow::Close, 4), (Overflow::DropNew, 2), (Overflow::DropOld, 2), (Overflow::Conflate, 2)]
    {
        let tight = OutboxLimits { max_messages: 2, overflow, ..OutboxLimits::new() };
        let stuck = link(&hub, &target, tight);
        let [room, other] = ["r", "other"].map(|name| hub.room(format!("{name} {overflow:?}")));
        assert_eq!([room.join(stuck.id()), other.join(stuck.id())], [Ok(()); 2]);
        for n in 0..4 {
            room.broadcast(Outgoing::keyed(if n == 1 { "b" } else { "a" }, n.to_string()));
        }
        let info = room.info();
        assert_eq!((info.broadcasts, info.dropped), (4, dropped), "{overflow:?}");
        assert_eq!(other.info().dropped, 0);
    }
}

/// D4: after 100 000 connections that came, joined and went, nothing is left: no room, no entry.
#[test]
fn nothing_is_left() {
    let hub = Hub::new();
    let mut entries = Vec::new();
    for n in 0..100_000_u32 {
        let links = links(&hub, 1);
        let id = links[0].id();
        for room in ["all", &format!("shared {}", n % 100), &n.to_string()] {
            assert_eq!(hub.room(room).join(id), Ok(()));
        }
        if n % 1_000 == 0 {
            assert_eq!(hub.room_count(), 3);
            entries.extend(hub.entry(id).map(|entry| Arc::downgrade(&entry)));
        }
    }
    assert_eq!((hub.room_count(), hub.connection_count()), (0, 0));
    assert_eq!(entries.len(), 100);
    assert!(entries.iter().all(|entry| entry.strong_count() == 0));
}

#[derive(Clone, Debug)]
enum Op {
    Join(usize, usize),
    Leave(usize, usize),
    Broadcast(usize),
    Except(usize, usize),
    Reconnect(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (link, room) = (0..5_usize, 0..3_usize);
    prop_oneof![
        3 => (link.clone(), room.clone()).prop_map(|(link, room)| Op::Join(link, room)),
        1 => (link.clone(), room.clone()).prop_map(|(link, room)| Op::Leave(link, room)),
        2 => room.clone().prop_map(Op::Broadcast),
        1 => (link.clone(), room).prop_map(|(link, room)| Op::Except(link, room)),
        1 => link.prop_map(Op::Reconnect),
    ]
}

proptest! {
    /// D3: a room's message reaches its members of that moment, all of them and nobody else.
    #[test]
    fn only_members_and_all_of_them(ops in proptest::collection::vec(op(), 0..120)) {
        let hub = Hub::new();
        let mut links = links(&hub, 5);
        let mut members: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut expected = vec![Vec::<String>::new(); 5];
        for (n, op) in ops.into_iter().enumerate() {
            let name = |room: usize| ["a", "b", "c"][room];
            match op {
                Op::Join(link, room) => {
                    prop_assert_eq!(hub.room(name(room)).join(links[link].id()), Ok(()));
                    members.entry(room).or_default().insert(link);
                }
                Op::Leave(link, room) => {
                    let left = hub.room(name(room)).leave(links[link].id());
                    prop_assert_eq!(left, members.entry(room).or_default().remove(&link));
                }
                Op::Broadcast(room) | Op::Except(_, room) => {
                    let text = format!("{n} to {}", name(room));
                    let (sent, except) = match op {
                        Op::Except(link, _) => {
                            (hub.room(name(room)).broadcast_except(links[link].id(), &*text), Some(link))
                        }
                        _ => (hub.room(name(room)).broadcast(&*text), None),
                    };
                    let reached: Vec<_> = members.entry(room).or_default().iter().copied()
                        .filter(|link| Some(*link) != except).collect();
                    prop_assert_eq!(sent, Sent { delivered: reached.len(), dropped: 0 });
                    for link in reached {
                        expected[link].push(text.clone());
                    }
                }
                Op::Reconnect(link) => {
                    prop_assert_eq!(&written(&links[link]), &expected[link]);
                    links[link] = self::links(&hub, 1).remove(0);
                    expected[link].clear();
                    members.values_mut().for_each(|room| { room.remove(&link); });
                }
            }
            for (room, of) in &members {
                prop_assert_eq!(hub.room(name(*room)).len(), of.len());
            }
        }
        for (link, expected) in links.iter().zip(expected) {
            prop_assert_eq!(written(link), expected);
        }
        drop(links);
        prop_assert_eq!(hub.room_count(), 0);
    }
}
