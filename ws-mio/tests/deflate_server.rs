//! permessage-deflate on a server's loops: what a handler sees of it, and what connections at rest keep, counted.
#![cfg(feature = "deflate")]

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use counting::process;
use support::compressed::{Codec, OFFER, RSV1, another_text, empty_pool, line, request, settings};
use support::running::Running;
use support::{BINARY, CLOSE, TEXT, expect, masked, plain, read_frame};
use ws_mio::core::deflate::{Compress, Deflater, Pool, PoolLimits, Settings as Deflate, WindowBits};
use ws_mio::core::{Config, Event};
use ws_mio::{Acceptance, Handler, Peer, Refusal, Visitor};

/// Bytes that the process holds, for differences of either sign.
fn live() -> isize {
    process::live().cast_signed()
}

struct Echo;

impl Handler for Echo {
    /// The agreement, as the handler saw it in advance.
    type State = Option<String>;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<Option<String>>, Refusal> {
        let agreement = visitor.agreement();
        Ok(Acceptance::new(agreement.map(|agreement| {
            format!("{} {}", agreement.server_max_window_bits.bits(), agreement.client_max_window_bits.bits())
        })))
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Option<String>>) {
        let _ = match event {
            Event::Text("agreement") => {
                let said = peer.state.clone().unwrap_or_default();
                peer.send(&*said)
            }
            Event::Text("plain from here on") => {
                peer.set_compress(Compress::Never);
                Ok(())
            }
            Event::Text(text) => peer.send(text),
            Event::Binary(bytes) => peer.send(&*bytes),
            _ => Ok(()),
        };
    }
}

impl Running {
    fn start(deflate: Option<Deflate>) -> Self {
        let mut config = Config::server();
        config.deflate = deflate;
        Self::serve(|settings| settings.config = config.into(), |_| Echo)
    }

    fn open(&self, offer: &str) -> (TcpStream, Option<String>) {
        let (peer, head) = self.greet(&request(offer));
        (peer, line(&head).map(str::to_owned))
    }
}

/// DN-19: a handler sees what it agrees to, and chooses what is compressed.
#[test]
fn dn19_a_handler_sees_and_chooses() {
    let _alone = process::alone();
    for (deflate, offer, foretold) in [
        (Some(settings(11, true)), OFFER, "11 11"),
        (Some(settings(11, true)), "x-other", ""),
        (None, OFFER, ""),
    ] {
        let server = Running::start(deflate);
        let (mut peer, line) = server.open(offer);
        assert_eq!(line.is_some(), !foretold.is_empty());
        let mut codec = Codec::new(11, true);
        peer.write_all(&masked(TEXT, b"agreement")).expect("written");
        assert_eq!(codec.receive(&mut peer).2, foretold.as_bytes());
        if line.is_some() {
            let text = another_text(1, 2_000);
            assert!(codec.echo(&mut peer, &text) < 1_500);
            peer.write_all(&codec.frame(TEXT, b"plain from here on")).expect("written");
            assert_eq!(codec.echo(&mut peer, &text), text.len());
        }
    }
}

/// DP-13: connections that take turns on one loop, parked and woken again and again, each keep their own
/// context.
#[test]
fn dp13_each_connection_has_its_context() {
    let _alone = process::alone();
    let mut deflate = settings(12, true);
    deflate.idle = Duration::from_millis(20);
    let server = Running::start(Some(deflate));
    let mut peers: Vec<_> = (0..5).map(|_| (server.open(OFFER).0, Codec::new(12, true))).collect();
    for round in 0..6 {
        for (at, (peer, codec)) in peers.iter_mut().enumerate() {
            let len = codec.echo(peer, &another_text(at, 700));
            assert!(round == 0 || len < 60, "connection {at} has forgotten: {len} bytes in round {round}");
        }
        if round % 2 == 1 {
            std::thread::sleep(Duration::from_millis(120));
        }
    }
}

/// Loops share nothing that a message touches, compression states included; what was asked for is used.
#[test]
fn each_loop_has_its_pool() {
    let _alone = process::alone();
    let state = |pool: &Pool| format!("{pool:?}");
    let (shared, own) = (Pool::shared(), Pool::new(PoolLimits::new()));
    for (pool, is_used) in [(None, false), (Some(own.clone()), true)] {
        let (before, before_own) = (state(&shared), state(&own));
        let mut deflate = Deflate::server();
        // Each message takes its state from the pool, and gives it back.
        (deflate.inflate_takeover, deflate.deflate_takeover) = (false, false);
        deflate.pool = pool;
        let server = Running::start(Some(deflate));
        Codec::new(12, false).echo(&mut server.open(OFFER).0, &another_text(1, 700));
        assert_eq!(state(&shared), before);
        assert_eq!(state(&own) != before_own, is_used);
    }
}

/// What is held once this peer's loop is quiet.
fn settled(peer: &mut TcpStream) -> isize {
    let (mut held, mut since) = (0, 0);
    // Three times as long as it takes to park idle state; and the loop has had the time to do it.
    while since < 9 {
        std::thread::sleep(Duration::from_millis(20));
        peer.write_all(&masked(TEXT, b"plain")).expect("written");
        expect(peer, &plain(TEXT, b"plain"));
        let now = live();
        since = if now == held { since + 1 } else { 0 };
        held = now;
    }
    held
}

/// What each connection costs after `talk`.
fn cost(deflate: Deflate, connections: usize, mut talk: impl FnMut(&mut TcpStream)) -> isize {
    let server = Running::start(Some(deflate));
    // What the loop needs once is there after the first connection; the peer's end does not count.
    let mut peers = Vec::with_capacity(connections + 1);
    peers.push(server.open(OFFER).0);
    talk(&mut peers[0]);
    let before = settled(&mut peers[0]);
    for _ in 0..connections {
        let (mut peer, line) = server.open(OFFER);
        assert!(line.is_some());
        talk(&mut peer);
        peers.push(peer);
    }
    (settled(&mut peers[0]) - before) / connections.cast_signed()
}

/// DN-20, N-01: a connection that agreed to it and has said nothing, that has talked and is parked, and that keeps no
/// context: counted, over a server's loop. What a live one has is at least a hundred times that.
#[test]
fn dn20_what_connections_at_rest_keep() {
    let _alone = process::alone();
    // As many places as the loop's table makes at a time, twice.
    const CONNECTIONS: usize = 128;
    for (bits, takeover) in [(9, true), (12, true), (15, true), (12, false)] {
        let fills_the_window = another_text(3, (1 << bits) + 500);
        let frame = Codec::new(bits, takeover).frame(TEXT, fills_the_window.as_bytes());
        let mut deflate = settings(bits, takeover);
        deflate.idle = Duration::from_millis(30);
        let unused = cost(deflate.clone(), CONNECTIONS, |_| ());
        let used = cost(deflate.clone(), CONNECTIONS, |peer| {
            peer.write_all(&frame).expect("written");
            assert_eq!(read_frame(peer).0, TEXT | RSV1);
        });
        let windows = if takeover { 2 << bits } else { 0 };
        println!(
            "{bits} bits, takeover {takeover}: {unused} bytes unused, {used} parked, of them {windows} windows"
        );
        assert!((300..900).contains(&unused), "{unused} bytes unused");
        assert!((windows..=windows + 900).contains(&used), "{used} bytes parked, {windows} in the windows");
        // Checks that it was parked, and not free from the start: without the time to park, it is live.
        deflate.idle = Duration::from_secs(60);
        let live = cost(deflate, 4, |peer| {
            peer.write_all(&frame).expect("written");
            assert_eq!(read_frame(peer).0, TEXT | RSV1);
        });
        assert!(if takeover { live > windows + 60_000 } else { live < 20_000 }, "{live} bytes live");
    }
}

/// DP-15, DP-16: a bomb, whole, in fragments of a byte, and after a first message, is closed with 1009. Beyond the message
/// limit it costs 64 KiB, and the loop's buffers.
#[test]
fn dp15_a_bomb_is_bounded() {
    let _alone = process::alone();
    const LIMIT: isize = 1 << 20;
    // 256 MiB of zeros: after the first MiB each is the same few bytes.
    let bomb = {
        let mut deflater = Deflater::new(WindowBits::MAX, true, 9, empty_pool());
        let zeros = vec![0; 1 << 20];
        let mut out = vec![0; deflater.bound(zeros.len())];
        let [first, next, last] = [false, false, true].map(|is_last| {
            let len = deflater.deflate(&zeros, is_last, &mut out).expect("room");
            out[..len].to_vec()
        });
        [first, next.repeat(254), last].concat()
    };
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let whole = masked(BINARY | RSV1, &bomb);
    let mut fragments = masked(0x02 | RSV1, &bomb[..1]);
    bomb[1..50_000].iter().for_each(|byte| fragments.extend(masked(0, &[*byte])));
    for attack in [&whole, &fragments] {
        for settings in [settings(15, true), settings(9, false)] {
            let server = Running::start(Some(settings));
            let (mut peer, _) = server.open(OFFER);
            // What the loop has once, and a context, if there is one.
            let mut codec = Codec::new(9, false);
            codec.echo(&mut peer, &another_text(5, 1_000));
            let before = settled(&mut peer);
            process::restart_peak();
            // The server stops reading somewhere in the middle of it.
            let mut writer = peer.try_clone().expect("cloned");
            std::thread::scope(|scope| {
                let writing = scope.spawn(|| drop(writer.write_all(attack)));
                let (first, reason) = read_frame(&mut peer);
                let most = process::peak().cast_signed() - before;
                assert_eq!((first, &reason[..2]), (CLOSE, &b"\x03\xf1"[..]));
                // The message buffer doubles, old and new at once; the decompressor; the loop's buffers and those of a long
                // frame.
                assert!(most <= LIMIT * 3 / 2 + (64 << 10) + (256 << 10), "{most} bytes");
                drop(peer.shutdown(std::net::Shutdown::Both));
                writing.join().expect("no panic");
            });
        }
    }
}
