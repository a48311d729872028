//! Topics, over real sockets: which member gets what, and in which order.

mod support;

use std::io::Write;
use std::net::Shutdown;

use support::hall::{Guest, Hall, numbered};
use support::{BINARY, CLOSE, PING, TEXT, await_arrival, expect, expect_end, masked, plain};
use ws_mio::{MAX_TOPIC, RemoteError, TopicError};

/// A publisher need not be a member and does not get its message, unless it asks for it; and a connection gets everything in
/// the order of the calls.
#[test]
fn order_is_that_of_the_calls() {
    let hall = Hall::open(|_| ());
    let mut guests: Vec<Guest> = (0..3).map(|_| hall.guest()).collect();
    guests.iter_mut().for_each(|guest| guest.ask("join t", "joined true"));
    let mut stranger = hall.guest();

    guests[0].say("mix t");
    for words in ["own 1", "all 1", "own 2", "all 2", "own 3"] {
        assert_eq!(guests[0].hear(), words);
    }
    for guest in &mut guests[1..] {
        for words in ["all 1", "others", "all 2"] {
            assert_eq!(guest.hear(), words);
        }
    }
    stranger.ask("tell t hello", "3 0 0");
    stranger.ask("say t again", "3 0 0");
    guests[1].ask("tell t end", "hello");
    for words in ["again", "2 0 0"] {
        assert_eq!(guests[1].hear(), words);
    }
    for at in [0, 2] {
        for words in ["hello", "again", "end"] {
            assert_eq!(guests[at].hear(), words);
        }
    }
    stranger.expect_silence();
    hall.await_deliveries(2 + 2 + 1 + 2 + 1 + 3 + 3 + 2, 0);
}

/// Names are any text of a bounded length, compared byte by byte; a connection's topics are bounded, too.
#[test]
fn topics_are_names() {
    let hall = Hall::open(|settings| settings.max_topics = 4);
    let (mut one, mut two) = (hall.guest(), hall.guest());
    one.ask("join a", "joined true");
    one.ask("join a", "joined false");
    one.ask("join A", "joined true");
    one.ask("join ä/🦀", "joined true");
    one.ask("join ", "joined true");
    one.ask("join more", "TooMany");
    one.ask("join a", "joined false");
    one.ask("topics", ",A,a,ä/🦀");
    two.ask("topics", "");
    let (longest, longer) = ("x".repeat(MAX_TOPIC), "x".repeat(MAX_TOPIC + 1));
    one.ask("leave A", "left true");
    one.ask("leave A", "left false");
    one.ask(&format!("join {longest}"), "joined true");
    two.ask(&format!("join {longer}"), "TooLong");
    two.ask(&format!("tell {longer} hello"), "TooLong");
    assert_eq!(hall.remote.publish(&longer, "hello"), Err(RemoteError::Topic(TopicError::TooLong)));
    two.ask("leave nowhere", "left false");

    for (topic, len) in [("a", 1), ("A", 0), ("ä/🦀", 1), ("ä", 0), ("", 1), (&longest, 1), (&longer, 0)]
    {
        assert_eq!(hall.remote.topic_len(topic), len, "{topic}");
        if topic.len() <= MAX_TOPIC {
            two.ask(&format!("tell {topic} hello"), &format!("{len} 0 0"));
            if len > 0 {
                assert_eq!(one.hear(), "hello");
            }
        }
    }
    one.expect_silence();
}

/// Membership changes between two calls, also those of one event: a message goes to those that are members when it is
/// published.
#[test]
fn members_are_those_of_the_moment() {
    let hall = Hall::open(|_| ());
    let (mut one, mut two) = (hall.guest(), hall.guest());
    two.ask("join t", "joined true");
    one.say("away t hello");
    for words in ["hello2", "1 0 0"] {
        assert_eq!(one.hear(), words);
    }
    for words in ["hello1", "hello2", "hello3"] {
        assert_eq!(two.hear(), words);
    }
    // Left in the same event: what was published before still comes.
    one.ask("join t", "joined true");
    let leaves =
        [masked(TEXT, b"say t before"), masked(TEXT, b"leave t"), masked(TEXT, b"say t after")].concat();
    one.0.write_all(&leaves).expect("written");
    for words in ["before", "2 0 0", "left true", "1 0 0"] {
        assert_eq!(one.hear(), words);
    }
    for words in ["before", "after"] {
        assert_eq!(two.hear(), words);
    }
    // Many members, which come and go in any order.
    let mut guests: Vec<Guest> = (0..40).map(|_| hall.guest()).collect();
    for (at, guest) in guests.iter_mut().enumerate() {
        for topic in (0..5).filter(|topic| at % (topic + 1) == 0) {
            guest.ask(&format!("join {topic}"), "joined true");
        }
    }
    for (at, guest) in guests.iter_mut().enumerate() {
        let leaves = at % 7 % 5;
        guest.ask(&format!("leave {leaves}"), &format!("left {}", at % (leaves + 1) == 0));
    }
    for topic in 0..5 {
        let is_in = |at: usize| at.is_multiple_of(topic + 1) && at % 7 % 5 != topic;
        let count = (0..40).filter(|at| is_in(*at)).count();
        one.ask(&format!("tell {topic} m{topic}"), &format!("{count} 0 0"));
        for at in (0..40).filter(|at| is_in(*at)) {
            assert_eq!(guests[at].hear(), format!("m{topic}"));
        }
    }
    guests.iter_mut().for_each(Guest::expect_silence);
}

/// A connection that ends leaves its topics, even before it is gone; and a topic without members does not exist.
#[test]
fn whoever_ends_leaves() {
    let hall = Hall::open(|_| ());
    let (mut one, mut two, mut three) = (hall.guest(), hall.guest(), hall.guest());
    for guest in [&mut one, &mut two, &mut three] {
        guest.ask("join t", "joined true");
    }
    drop(three);
    hall.await_len("t", 2);
    // It closes, and its peer does not answer yet: what it published before closing it still gets.
    two.say("bye t farewell");
    assert_eq!(two.hear(), "farewell");
    expect(&mut two.0, &plain(CLOSE, b""));
    assert_eq!(one.hear(), "farewell");
    assert_eq!(hall.remote.topic_len("t"), 1);
    assert_eq!(hall.remote.connection_count(), 2);
    one.ask("say t alone", "alone");
    assert_eq!(one.hear(), "1 0 0");
    two.0.write_all(&masked(CLOSE, b"")).expect("written");
    expect_end(&mut two.0);
    one.0.write_all(&masked(CLOSE, b"\x03\xe8")).expect("written");
    expect(&mut one.0, &plain(CLOSE, b"\x03\xe8"));
    hall.await_len("t", 0);
    assert_eq!(hall.remote.publish("t", "nobody").expect("fine"), ws_mio::Published::default());
    hall.guest().ask("join t", "joined true");
}

/// Handlers publish wherever they are called: when a connection opens, and when it is closed.
#[test]
fn handlers_publish_from_everywhere() {
    let hall = Hall::open(|_| ());
    let (mut one, mut two) = (hall.guest(), hall.guest());
    one.ask("join opens", "joined true");
    one.ask("join ends", "joined true");
    let _three = hall.guest();
    assert_eq!(one.hear(), "somebody came");
    two.ask("join ends", "joined true");
    two.ask("last goodbye", "noted");
    drop(two);
    assert_eq!(one.hear(), "goodbye");
    one.expect_silence();
}

/// A connection that is sent its own message in the turn of a publication gets both in the order of the calls.
#[test]
fn a_turn_keeps_the_order() {
    let hall = Hall::open(|_| ());
    let (mut one, mut two, mut sleeper) = (hall.guest(), hall.guest(), hall.guest());
    for guest in [&mut one, &mut two] {
        guest.ask("join t", "joined true");
    }
    for _ in 0..3 {
        // While the loop is held both send, one after the other: they are served in one turn.
        sleeper.say("nap");
        let nap = hall.next();
        one.say("say t first");
        await_arrival(&one.0);
        two.say("say t second");
        await_arrival(&two.0);
        drop(nap);
        assert_eq!(sleeper.hear(), "woken");
        for words in ["first", "2 0 0", "second"] {
            assert_eq!(one.hear(), words);
        }
        for words in ["first", "second", "2 0 0"] {
            assert_eq!(two.hear(), words);
        }
    }
}

/// A member that leaves in the turn of a publication gets what was published before, and nothing else.
#[test]
fn a_turn_keeps_who_leaves() {
    let hall = Hall::open(|_| ());
    let (mut one, mut two, mut three, mut four) = (hall.guest(), hall.guest(), hall.guest(), hall.guest());
    let mut sleeper = hall.guest();
    for (leaves, left) in [("leave t", "left true"), ("bye t end", "end")] {
        two.ask("join t", "joined true");
        three.ask("join t", "joined true");
        sleeper.say("nap");
        let nap = hall.next();
        for (guest, words) in [(&mut one, "tell t first"), (&mut two, leaves), (&mut four, "tell t second")] {
            guest.say(words);
            await_arrival(&guest.0);
        }
        drop(nap);
        assert_eq!(sleeper.hear(), "woken");
        for words in ["first", left] {
            assert_eq!(two.hear(), words);
        }
        for words in ["first", "end", "second"].iter().filter(|words| **words == left || **words != "end") {
            assert_eq!(three.hear(), *words);
        }
        assert_eq!(hall.remote.topic_len("t"), 1);
        three.ask("leave t", "left true");
    }
    expect(&mut two.0, &plain(CLOSE, b""));
    hall.await_deliveries(3 + 5, 0);
}

/// All loops' members get it, once each; from one thread in order, and mixed with what it sends to one of them.
#[test]
#[cfg(target_os = "linux")]
fn every_loop_has_members() {
    const GUESTS: usize = 48;
    let hall = Hall::open(|settings| settings.loops = 3);
    let mut guests: Vec<Guest> = (0..GUESTS).map(|_| hall.guest()).collect();
    guests.iter_mut().for_each(|guest| guest.ask("join t", "joined true"));
    assert_eq!(hall.remote.topic_len("t"), GUESTS);

    for at in 0..500 {
        let published = hall.remote.publish("t", &numbered(at, 40)).expect("room");
        assert_eq!((published.reached, published.elsewhere, published.dropped), (0, GUESTS, 0));
    }
    for guest in &mut guests {
        (0..500).for_each(|at| assert_eq!(guest.frame(), (BINARY, numbered(at, 40))));
    }
    hall.await_deliveries(500 * GUESTS, 0);

    // What a member says, all others get, wherever they are.
    guests[0].say("burst t 100x10");
    let told = guests[0].hear();
    let counts: Vec<usize> = told.split(' ').map(|count| count.parse().expect("a number")).collect();
    assert_eq!((counts[0] + counts[1], counts[2]), (100 * (GUESTS - 1), 0));
    assert!(counts[0] > 0 && counts[1] > 0, "{told}");
    for guest in &mut guests[1..] {
        (0..100).for_each(|at| assert_eq!(guest.frame(), (BINARY, numbered(at, 10))));
    }
    hall.await_deliveries(500 * GUESTS + 100 * (GUESTS - 1), 0);
    guests.iter_mut().for_each(Guest::expect_silence);
}

/// A handler that is told during the delivery that a peer does not read publishes in turn, to members that were written to
/// and to members that still are to be: no member misses anything, and all get the same order.
#[test]
fn publishing_while_it_is_delivered() {
    const COUNT: u32 = 400;
    for slow_at in 0..3 {
        let hall = Hall::open(|settings| settings.max_topics = 2);
        let mut guests: Vec<Guest> = (0..3).map(|_| hall.guest()).collect();
        let mut slow = hall.guest();
        for (at, guest) in guests.iter_mut().enumerate() {
            if at == slow_at {
                slow.ask("join flow", "joined true");
            }
            guest.ask("join flow", "joined true");
        }
        let mut heard: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
        'all: for at in 0.. {
            assert!(at < COUNT, "it never stalls");
            hall.remote.publish("flow", &numbered(at, 100_000)).expect("room");
            for (guest, heard) in guests.iter_mut().zip(&mut heard) {
                loop {
                    let (_, message) = guest.frame();
                    let is_own = message.len() > 10;
                    heard.push(message);
                    if is_own {
                        break;
                    }
                }
            }
            if hall.remote.deliveries().dropped > 0 {
                break 'all;
            }
        }
        hall.remote.publish("flow", "end").expect("room");
        for (guest, heard) in guests.iter_mut().zip(&mut heard) {
            while heard.last().is_none_or(|last| last != b"end") {
                heard.push(guest.frame().1);
            }
            // A stall that passes was not the peer's: the system had no time for it.
            let words: Vec<&[u8]> = heard.iter().map(Vec::as_slice).filter(|one| one.len() < 10).collect();
            let (passed, last) = words.split_last_chunk::<3>().expect("it has stalled");
            assert_eq!(*last, [&b"stalled"[..], b"twice", b"end"]);
            assert!(passed.chunks(3).all(|one| one == [&b"stalled"[..], b"twice", b"drained"]), "{passed:?}");
        }
        assert!(heard.iter().all(|one| *one == heard[0]), "one order");
        // It reads again, and this is reported.
        let mut reader = slow.0.try_clone().expect("cloned");
        let reading = std::thread::spawn(move || drop(std::io::copy(&mut reader, &mut std::io::sink())));
        guests.iter_mut().for_each(|guest| assert_eq!(guest.frame().1, b"drained"));
        slow.0.shutdown(Shutdown::Both).expect("open");
        reading.join().expect("no panic");
    }
}

/// Anything that one connection may do in one event, in any order, compared with a model: what each of several gets,
/// message by message.
#[test]
fn any_script_does_what_it_says() {
    const GUESTS: usize = 5;
    let mut random = 1_u64;
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let hall = Hall::open(|_| ());
    let mut guests: Vec<Guest> = (0..GUESTS).map(|_| hall.guest()).collect();
    let mut is_in = [[false; 3]; GUESTS];
    for round in 0..400 {
        let speaker = draw(GUESTS);
        let mut script = "script".to_owned();
        let mut expected: [Vec<String>; GUESTS] = Default::default();
        for _ in 0..1 + draw(20) {
            let topic = draw(3);
            // Publishing more often than all else, and twice in a row mostly.
            let what = ["+", "-", "!", "!", "!", "*", "*", "*", "own"][draw(9)];
            for _ in 0..1 + draw(3) {
                let step = format!("{what}{topic}");
                script = format!("{script} {step}");
                match what {
                    "+" => is_in[speaker][topic] = true,
                    "-" => is_in[speaker][topic] = false,
                    "own" => expected[speaker].push(step),
                    _ => (0..GUESTS)
                        .filter(|at| is_in[*at][topic] && (what == "*" || *at != speaker))
                        .for_each(|at| expected[at].push(step.clone())),
                }
            }
        }
        expected[speaker].push("done".to_owned());
        guests[speaker].say(&script);
        for (guest, expected) in guests.iter_mut().zip(&expected) {
            let heard: Vec<String> = expected.iter().map(|_| guest.hear()).collect();
            assert_eq!(heard, *expected, "round {round}, {script}");
        }
    }
    guests.iter_mut().for_each(Guest::expect_silence);
}

/// Several threads: each one's messages in order, and all members of a loop get them in the same one.
#[test]
fn all_members_get_one_order() {
    let hall = Hall::open(|_| ());
    let mut guests: Vec<Guest> = (0..5).map(|_| hall.guest()).collect();
    guests.iter_mut().for_each(|guest| guest.ask("join t", "joined true"));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let remote = &hall.remote;
            scope.spawn(move || {
                (0..300).for_each(|at| {
                    let published = remote.publish("t", &numbered(thread << 16 | at, 20)).expect("room");
                    assert_eq!(published.elsewhere, 5);
                });
            });
        }
    });
    let mut heard: Vec<Vec<u32>> = Vec::new();
    for guest in &mut guests {
        heard.push(
            (0..900)
                .map(|_| u32::from_be_bytes(guest.frame().1[..4].try_into().expect("four bytes")))
                .collect(),
        );
    }
    for thread in 0..3 {
        let own: Vec<u32> = heard[0].iter().filter(|at| *at >> 16 == thread).map(|at| at & 0xffff).collect();
        assert!(own.iter().copied().eq(0..300));
    }
    assert!(heard.iter().all(|one| *one == heard[0]));
}

/// Messages of every size, one at a time and many per turn: from those that are gathered to those that are written without
/// a copy.
#[test]
fn every_size_arrives() {
    let hall = Hall::open(|_| ());
    let mut guests: Vec<Guest> = (0..4).map(|_| hall.guest()).collect();
    guests.iter_mut().for_each(|guest| guest.ask("join t", "joined true"));
    for (count, len) in
        [(1, 4), (1, 125), (1, 126), (1, 70_000), (1, 900_000), (300, 100), (50, 16 << 10), (7, 100_000)]
    {
        let (speaker, others) = guests.split_at_mut(1);
        speaker[0].say(&format!("burst t {count}x{len}"));
        for guest in others {
            (0..count)
                .for_each(|at| assert_eq!(guest.frame(), (BINARY, numbered(at, len)), "{count} x {len}"));
        }
        assert_eq!(speaker[0].hear(), format!("{} 0 0", 3 * count));
    }
    let remote = hall.remote.publish("t", &numbered(7, 50_000)).expect("room");
    assert_eq!(remote.elsewhere, 4);
    guests.iter_mut().for_each(|guest| assert_eq!(guest.frame(), (BINARY, numbered(7, 50_000))));
}

/// A member in the middle of a message that is sent in parts misses what is published meanwhile, and this is counted; a
/// ping's answer and a keepalive do not get into a frame.
#[test]
fn parts_are_not_cut() {
    let hall = Hall::open(|_| ());
    let (mut one, mut two) = (hall.guest(), hall.guest());
    one.ask("join t", "joined true");
    one.say("begin");
    assert_eq!(one.frame(), (0x01, b"in ".to_vec()));
    two.ask("tell t lost", "0 0 1");
    one.0.write_all(&masked(PING, b"?")).expect("written");
    expect(&mut one.0, &plain(0x8a, b"?"));
    one.say("end");
    assert_eq!(one.frame(), (0x80, b"parts".to_vec()));
    two.ask("tell t found", "1 0 0");
    assert_eq!(one.hear(), "found");
    hall.await_deliveries(1, 1);
}
