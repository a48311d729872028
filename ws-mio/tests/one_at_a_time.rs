//! HC-20: at most one connection at a time is made to an address, whichever loop makes it and whichever of a call's
//! addresses it is; and what waiting calls cost senders.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::dialling::{BUSY, ByHand, Called, to};
use support::running::Running;
use support::{PATIENCE, nobody, switch};
use ws_mio::core::Config;
use ws_mio::{Connect, ConnectError, Server, Settings};

fn refuse(mut peer: TcpStream) {
    peer.write_all(b"HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n").expect("written");
}

fn agree(peer: &mut TcpStream, head: &str) {
    peer.write_all(&switch(head, "")).expect("written");
}

fn one(address: SocketAddr, tag: u64) -> Connect {
    let mut connect = to(address, "/", tag);
    connect.one_at_a_time = true;
    connect
}

/// HC-20: one at a time to the same address, in order, including those whose server refuses; others do not wait for
/// them. Waiting does not count against the deadline, and it ends with the loop.
#[test]
fn hc_20_one_at_a_time() {
    let by_hand = ByHand::listen();
    let other = Running::called();
    let clients = Running::callers(|settings| {
        settings.loops = 2;
        let mut config = Config::client();
        config.timeouts.handshake = Duration::from_secs(6);
        settings.client = config.into();
    });
    let one = |tag| one(by_hand.address(), tag);
    for tag in 0..5 {
        clients.remote.connect(one(tag)).expect("room");
    }
    clients.remote.connect(self::one(other.address, 9)).expect("room");
    assert_eq!(clients.connected(), 9);
    for tag in 0..4 {
        let (mut peer, head) = by_hand.next();
        // Four times this is more than anyone has.
        std::thread::sleep(Duration::from_millis(1_600));
        by_hand.expect_nobody();
        if tag % 2 == 0 {
            refuse(peer);
            assert!(matches!(clients.failure(), (other, ConnectError::Status(_)) if other == tag));
        } else {
            agree(&mut peer, &head);
            assert_eq!(clients.connected(), tag);
            drop(peer);
            assert!(matches!(clients.next(), Called::Closed(_)));
        }
    }
    // The last one takes too long, and those behind it never start: they are told of the end.
    let _silent = by_hand.next();
    clients.remote.connect(one(5)).expect("room");
    clients.remote.connect(one(6)).expect("room");
    assert!(matches!(clients.failure(), (4, ConnectError::Timeout)));
    clients.remote.shutdown(Duration::from_secs(10));
    assert_eq!(clients.stopped(2), [5, 6]);
}

/// HC-20: loops wait for each other.
#[test]
fn hc_20_on_all_loops() {
    let clients = Running::callers(|settings| settings.loops = 3);
    let by_hand = ByHand::listen();
    for tag in 0..6 {
        clients.remote.connect_on(tag as usize % 3, one(by_hand.address(), tag)).expect("room");
    }
    let (mut tags, mut agreed) = (Vec::new(), Vec::new());
    for turn in 0..6 {
        let (mut peer, head) = by_hand.only_one();
        if turn % 2 == 0 {
            refuse(peer);
            match clients.failure() {
                (tag, ConnectError::Status(_)) => tags.push(tag),
                other => panic!("{other:?}"),
            }
        } else {
            agree(&mut peer, &head);
            tags.push(clients.connected());
            agreed.push(peer);
        }
    }
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2, 3, 4, 5]);
}

/// HC-20: a call whose first address fails waits for the next one like any other, and its first is free meanwhile.
#[test]
fn hc_20_of_later_addresses() {
    for loops in [1, 2] {
        let clients = Running::callers(|settings| settings.loops = loops);
        let (by_hand, (_kept, nobody)) = (ByHand::listen(), nobody());
        for tag in 0..3 {
            let mut connect = one(nobody, tag);
            connect.addresses.push(by_hand.address());
            clients.remote.connect_on(tag as usize % loops, connect).expect("room");
        }
        let (first, _) = by_hand.only_one();
        // A call without the setting does not wait.
        let mut beside = one(by_hand.address(), 9);
        beside.one_at_a_time = false;
        clients.remote.connect(beside).expect("room");
        refuse(by_hand.next().0);
        assert!(matches!(clients.failure(), (9, ConnectError::Status(_))));
        refuse(first);
        assert!(matches!(clients.failure(), (_, ConnectError::Status(_))));
        for _ in 0..2 {
            let (peer, _) = by_hand.only_one();
            refuse(peer);
            assert!(matches!(clients.failure(), (_, ConnectError::Status(_))));
        }
    }
}

/// Those that wait are told of the end, on whichever loop.
#[test]
fn who_waits_is_told_of_the_end() {
    let mut clients = Running::callers(|settings| settings.loops = 2);
    let by_hand = ByHand::listen();
    for tag in 0..6 {
        clients.remote.connect_on(tag as usize % 2, one(by_hand.address(), tag)).expect("room");
    }
    let _first = by_hand.only_one();
    clients.remote.shutdown(PATIENCE);
    assert_eq!(clients.stopped(6), [0, 1, 2, 3, 4, 5]);
    clients.end();
    assert!(clients.seen.try_recv().is_err());
}

/// They are told at once, even if the one that they wait for is on a busy loop, and a peer that does not answer the close
/// frame keeps their own loop running.
#[test]
fn who_waits_does_not_wait_for_others() {
    let clients = Running::callers(|settings| settings.loops = 2);
    let by_hand = ByHand::listen();
    clients.remote.connect_on(0, one(by_hand.address(), 0)).expect("room");
    let (mut silent, head) = by_hand.only_one();
    agree(&mut silent, &head);
    assert_eq!(clients.connected(), 0);
    clients.remote.connect_on(1, one(by_hand.address(), 1)).expect("room");
    let _held = by_hand.only_one();
    for tag in 2..5 {
        clients.remote.connect_on(0, one(by_hand.address(), tag)).expect("room");
    }
    let mut none = Connect::new("no address", by_hand.address());
    none.tag = BUSY;
    clients.remote.connect_on(1, none).expect("room");
    assert!(matches!(clients.failure(), (BUSY, ConnectError::Uri(_))));
    let busy = clients.next();
    assert!(matches!(busy, Called::Busy(_)), "{busy:?}");
    // They are queued before the end comes, since orders keep their sequence.
    clients.remote.shutdown(10 * PATIENCE);
    assert_eq!(clients.stopped(3), [2, 3, 4]);
    // The loop has time again.
    drop(busy);
    assert_eq!(clients.stopped(1), [1]);
    drop(silent);
}

/// N-04: what is left for a loop is counted as it comes. So sending costs the same, however many connects wait there.
#[test]
fn sending_beside_many_connects() {
    let clients = Running::callers(|_| {});
    let by_hand = ByHand::listen();
    clients.remote.connect(one(by_hand.address(), 0)).expect("room");
    let (mut peer, head) = by_hand.only_one();
    agree(&mut peer, &head);
    let Called::Connected(_, id) = clients.next() else { panic!("not connected") };
    let took = |connects: u64| {
        let mut settings = Settings::new();
        settings.loops = 1;
        // It does not run, so nothing is taken out, and any connection's name works.
        let server = Server::unbound(settings).expect("loops");
        let remote = server.remote();
        for tag in 0..connects {
            remote.connect(one(by_hand.address(), tag)).expect("room");
        }
        let began = Instant::now();
        (0..5_000).for_each(|_| remote.send(id, "x").expect("room"));
        began.elapsed()
    };
    // The minimum of several: the machine may be busy with other things.
    let least = |connects| (0..5).map(|_| took(connects)).min().expect("five");
    let (few, many) = (least(1), least(20_000));
    assert!(many < few * 20 + Duration::from_millis(50), "{many:?} instead of {few:?}");
}
