//! Counts what topics cost: allocations, and memory for members that do not read.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use counting::process;
use support::hall::{Guest, Hall, numbered};
use support::running::Running;
use support::{BINARY, REQUEST, expect, masked, plain, until};
use ws_mio::core::{Config, Event};
use ws_mio::{Acceptance, Handler, Overflow, Peer, Refusal, Visitor};

/// Bytes that the process holds, for differences of either sign.
fn live() -> isize {
    process::live().cast_signed()
}

/// Every connection is in one topic, and publishes everything to it.
struct Crowd;

impl Handler for Crowd {
    type State = ();

    fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> {
        Ok(Acceptance::default())
    }

    fn open(&mut self, peer: &mut Peer<'_, ()>) {
        peer.subscribe("all").expect("room");
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, ()>) {
        if let Event::Binary(bytes) = event {
            peer.publish_to_all("all", &*bytes).expect("room");
        }
    }
}

const MEMBERS: usize = 150;

/// A message that is published allocates nothing, once there is memory for it: not per member, and not for itself. The
/// same with several per turn, from other threads, and over several loops.
#[test]
fn publishing_allocates_nothing() {
    let _alone = process::alone();
    for loops in [1, 2] {
        let server = Running::<()>::serve(|settings| settings.loops = loops, |_| Crowd);
        let mut peers: Vec<TcpStream> = (0..MEMBERS).map(|_| server.greet(REQUEST).0).collect();
        for len in [128, 16 << 10] {
            let message = vec![7; len];
            let (said, heard) = (masked(BINARY, &message), plain(BINARY, &message));
            let mut got = vec![0; heard.len() * 3];
            let mut round = |publishes: usize| {
                let before = process::calls();
                for _ in 0..publishes {
                    // Three in one turn, most likely, and one at a time.
                    for said in [&said.repeat(2)[..], &said] {
                        peers[0].write_all(said).expect("written");
                    }
                    for peer in &mut peers {
                        peer.read_exact(&mut got).expect("three messages");
                        assert!(got.chunks(heard.len()).all(|one| one == heard));
                    }
                    server.remote.publish("all", &message).expect("room");
                    for peer in &mut peers {
                        peer.read_exact(&mut got[..heard.len()]).expect("a message");
                        assert!(got[..heard.len()] == heard);
                    }
                }
                process::calls() - before
            };
            round(50);
            // `repeat` is the test's own.
            let made = round(25) - 25;
            assert!(made <= 50, "{made} allocations for 100 messages to {MEMBERS} members, {loops} loops");
        }
    }
}

/// A connection without topics owns nothing for them but four bytes of a table, and one with one less than 200 bytes; what
/// it owned is given back.
#[test]
fn members_cost_little() {
    let _alone = process::alone();
    let hall = Hall::open(|_| ());
    let mut guests: Vec<Guest> = (0..MEMBERS).map(|_| hall.guest()).collect();
    let mut warm = |words: &str, answer: &str| guests.iter_mut().for_each(|guest| guest.ask(words, answer));
    warm("join t", "joined true");
    warm("leave t", "left true");
    let before = live();
    warm("join t", "joined true");
    let each = (live() - before) / MEMBERS.cast_signed();
    assert!((8..200).contains(&each), "{each} bytes");
    warm("leave t", "left true");
    let left = (live() - before) / MEMBERS.cast_signed();
    assert!(left < 8, "{left} bytes");
}

/// Messages to a member that does not read, in all.
const COUNT: u32 = 2048;

const LEN: usize = 16 << 10;

/// N-02: what is published for a member that does not read is bounded, whatever the policy; it is counted; and the others
/// get everything.
#[test]
fn n02_a_slow_member() {
    let _alone = process::alone();
    for overflow in [Overflow::DropNew, Overflow::DropOld, Overflow::Close] {
        let mut config = Config::server();
        config.limits.max_queue = 300 << 10;
        let hall = Hall::open(|settings| {
            settings.config = config.into();
            settings.overflow = overflow;
        });
        let (mut slow, mut speaker) = (hall.guest(), hall.guest());
        let mut readers: Vec<Guest> = (0..2).map(|_| hall.guest()).collect();
        slow.ask("join t", "joined true");
        readers.iter_mut().for_each(|guest| guest.ask("join t", "joined true"));
        let expected: Vec<Vec<u8>> = (0..32).map(|at| numbered(at, LEN)).collect();

        let before = process::restart_peak().cast_signed();
        let (mut reached, mut dropped) = (0, 0);
        for _ in 0..COUNT / 32 {
            speaker.say(&format!("burst t 32x{LEN}"));
            for guest in &mut readers {
                expected.iter().for_each(|message| expect(&mut guest.0, &plain(BINARY, message)));
            }
            let told = speaker.hear();
            let counts: Vec<usize> = told.split(' ').map(|count| count.parse().expect("a number")).collect();
            (reached, dropped) = (reached + counts[0], dropped + counts[2]);
        }
        let (peak, now) = (process::peak().cast_signed() - before, live() - before);
        assert!(peak < 5 << 20, "{overflow:?}: {peak} bytes at a time");
        assert!(now < 3 << 20, "{overflow:?}: {now} bytes");

        let all = COUNT as usize;
        match overflow {
            Overflow::DropOld => assert_eq!((reached, dropped), (3 * all, 0)),
            Overflow::DropNew => assert_eq!(reached + dropped, 3 * all),
            _ => assert!(reached >= 2 * all && dropped >= 1, "{reached} {dropped}"),
        }
        // The outcome of the last turn is reported at its end.
        let mut deliveries = hall.remote.deliveries();
        until("its count", || {
            deliveries = hall.remote.deliveries();
            let in_all = deliveries.made + deliveries.dropped;
            deliveries.dropped >= dropped && (overflow == Overflow::Close || in_all == 3 * all)
        });
        if overflow == Overflow::DropOld {
            // What was dropped for newer ones was counted as made: this one is the last.
            speaker.ask("tell t welcome", "3 0 0");
        }
        let mut got = 0;
        let mut last = None;
        let end = loop {
            let mut one = slow.frame();
            if one.0 != BINARY {
                break one.1;
            }
            assert_eq!(one.1.len(), LEN);
            one.1.truncate(4);
            last = Some(u32::from_be_bytes(one.1.try_into().expect("four bytes")));
            got += 1;
            if overflow == Overflow::DropNew && got == deliveries.made - 2 * all {
                break Vec::new();
            }
        };
        assert!(got > 0 && got < all, "{overflow:?}: {got}");
        match overflow {
            Overflow::Close => {
                assert_eq!(end, 1013_u16.to_be_bytes());
                assert_eq!(hall.remote.topic_len("t"), 2);
            }
            Overflow::DropOld => {
                assert_eq!((last, &end[..]), (Some(31), &b"welcome"[..]), "the newest is there");
            }
            _ => assert_eq!((got, deliveries.made + deliveries.dropped), (all - deliveries.dropped, 3 * all)),
        }
        if overflow == Overflow::DropNew {
            // It reads again: it is a full member as before.
            speaker.ask("tell t welcome", "3 0 0");
            assert_eq!(slow.hear(), "welcome");
        }
    }
}
