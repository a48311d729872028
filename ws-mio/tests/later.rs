//! Answers to requests that are given later, from elsewhere. Over real TCP, against bytes written by hand.

mod support;

use std::any::Any;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use support::running::{Given, Running};
use support::{
    CLOSE, PATIENCE, REQUEST, SILENCE, TEXT, expect, masked, plain, read_head, until, waiting_bytes,
};
use ws_mio::core::handshake::MAX_EARLY_BYTES;
use ws_mio::core::{AnswerError, Config, Event, Timer};
use ws_mio::{
    Acceptance, ConnId, Decision, Error, Handler, Peer, Refusal, Remote, RemoteError, Server, Settings,
    Visitor,
};

#[derive(Debug)]
enum Seen {
    Asked(ConnId),
    Open(ConnId, &'static str),
    Left(ConnId, Error),
    Failed(Error),
    Closed(ConnId),
    Dropped,
}

/// Comes with an answer, and tells when it is dropped.
struct Kept {
    name: &'static str,
    seen: Sender<Seen>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.seen.send(Seen::Dropped);
    }
}

struct App {
    seen: Sender<Seen>,
    remote: Remote,
    asked: Vec<ConnId>,
}

impl App {
    fn tell(&self, seen: Seen) {
        let _ = self.seen.send(seen);
    }

    fn consent(&self, name: &'static str) -> Result<Acceptance<Kept>, Refusal> {
        Ok(Acceptance::new(Kept { name, seen: self.seen.clone() }))
    }
}

impl Handler for App {
    type State = Kept;

    fn decide(&mut self, visitor: &Visitor<'_>) -> Decision<Kept> {
        match visitor.request().path() {
            b"/now" => return self.consent("now").into(),
            b"/no" => return Decision::Reject(Refusal::new(403, "no")),
            b"/early" => self.remote.answer(visitor.id(), self.consent("early")).expect("room"),
            _ => {
                self.asked.push(visitor.id());
                self.tell(Seen::Asked(visitor.id()));
            }
        }
        Decision::Later
    }

    fn adopt(&mut self, state: Box<dyn Any + Send>) -> Option<Kept> {
        state.downcast().ok().map(|kept| *kept)
    }

    fn open(&mut self, peer: &mut Peer<'_, Kept>) {
        self.tell(Seen::Open(peer.id(), peer.state.name));
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, Kept>) {
        match event {
            Event::Text("let them in") => {
                for id in std::mem::take(&mut self.asked) {
                    peer.remote().answer(id, self.consent("let in")).expect("room");
                }
            }
            Event::Text("let them in and out") => {
                for id in std::mem::take(&mut self.asked) {
                    let remote = peer.remote();
                    remote.answer(id, self.consent("let in")).expect("room");
                    remote.send(id, "welcome").expect("room");
                    remote.close(id, None).expect("room");
                }
            }
            Event::Text("forget them") => {
                self.asked.clear();
                peer.send("forgotten").expect("room");
            }
            // What this loop's thread has used of a processor, in nanoseconds.
            Event::Text("cpu") => {
                let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
                peer.send(format!("{:>12}", stat.split(' ').next().expect("three")).as_str()).expect("room");
            }
            Event::Text(text) => peer.send(text).expect("room"),
            _ => {}
        }
    }

    fn closed(&mut self, id: ConnId, _: Kept, _: Result<(), Error>) {
        self.tell(Seen::Closed(id));
    }

    fn failed(&mut self, error: Error) {
        self.tell(Seen::Failed(error));
    }

    fn left(&mut self, id: ConnId, error: Error) {
        self.tell(Seen::Left(id, error));
    }
}

impl Running<Seen> {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::server();
        change(&mut config);
        Self::serve(
            |settings| settings.config = config.into(),
            |Given { told, remote, .. }| App { seen: told, remote, asked: Vec::new() },
        )
    }

    fn ask(&self, path: &str, behind: &[u8]) -> TcpStream {
        let mut peer = self.dial();
        let request = String::from_utf8_lossy(REQUEST).replace("/chat", path);
        peer.write_all(&[request.as_bytes(), behind].concat()).expect("written");
        peer
    }

    /// A client that waits.
    fn waiting(&self, behind: &[u8]) -> (TcpStream, ConnId) {
        let peer = self.ask("/later", behind);
        match self.next() {
            Seen::Asked(id) => (peer, id),
            other => panic!("{other:?}"),
        }
    }

    fn open(&self, path: &str) -> TcpStream {
        let mut peer = self.ask(path, b"");
        assert!(read_head(&mut peer).starts_with("HTTP/1.1 101 "));
        assert!(matches!(self.next(), Seen::Open(..)));
        peer
    }

    fn consent(&self, name: &'static str) -> Acceptance<Kept> {
        Acceptance::new(Kept { name, seen: self.told.clone() })
    }
}

fn echo(peer: &mut TcpStream, text: &str) {
    peer.write_all(&masked(TEXT, text.as_bytes())).expect("written");
    expect(peer, &plain(TEXT, text.as_bytes()));
}

/// HS-38, HS-32: nothing is sent before the answer, the answer is the one given elsewhere, and frames that arrived before it
/// are delivered after it. A request that is decided at once does not wait.
#[test]
fn hs_32_yes_later() {
    let server = Running::start(|_| {});
    let (mut peer, id) = server.waiting(&masked(TEXT, b"with the request"));
    peer.write_all(&masked(TEXT, b"behind it")).expect("written");
    peer.set_read_timeout(Some(SILENCE)).expect("set");
    assert!(peer.read(&mut [0]).is_err(), "an answer that nobody gave");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    server.open("/now");
    assert!(matches!((server.next(), server.next()), (Seen::Closed(_), Seen::Dropped)));

    let mut consent = server.consent("from elsewhere");
    consent.protocol = Some("echo".to_owned());
    consent.headers = vec![("X-Extra".to_owned(), b"yes".to_vec())];
    server.remote.answer(id, Ok(consent)).expect("room");
    assert!(matches!(server.next(), Seen::Open(other, "from elsewhere") if other == id));
    let head = read_head(&mut peer);
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nSec-WebSocket-Protocol: echo\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nX-Extra: yes\r\n"), "{head}");
    expect(&mut peer, &[plain(TEXT, b"with the request"), plain(TEXT, b"behind it")].concat());
    echo(&mut peer, "and on");
    // The first answer counts.
    server.remote.answer(id, Err::<Acceptance<Kept>, _>(Refusal::new(403, "changed my mind"))).expect("room");
    server.remote.answer(id, Ok(server.consent("twice"))).expect("room");
    assert!(matches!(server.next(), Seen::Dropped) && server.is_silent());
    echo(&mut peer, "still open");
    drop(peer);
    assert!(matches!((server.next(), server.next()), (Seen::Closed(other), Seen::Dropped) if other == id));
}

/// HS-36: a later refusal, and acceptances that may not be sent or that the handler does not recognise.
#[test]
fn hs_36_no_later() {
    let server = Running::start(|_| {});
    for (way, status) in [("refused", 403), ("protocol", 500), ("stranger", 500)] {
        let (mut peer, id) = server.waiting(&masked(TEXT, b"never read"));
        let refusal = Err::<Acceptance<Kept>, _>(Refusal::new(403, "not you"));
        let sent = match way {
            "refused" => server.remote.answer(id, refusal),
            "stranger" => server.remote.answer(id, Ok(Acceptance::new("not what it keeps"))),
            _ => {
                let mut consent = server.consent("not offered");
                consent.protocol = Some("not offered".to_owned());
                server.remote.answer(id, Ok(consent))
            }
        };
        sent.expect("room");
        let mut answer = String::new();
        peer.read_to_string(&mut answer).expect("FIN, not a reset");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{way}: {answer}");
        assert_eq!(answer.ends_with("\r\n\r\nnot you"), way == "refused", "{answer}");
        drop(peer);
        if way == "protocol" {
            assert!(matches!(server.next(), Seen::Dropped));
        }
        match server.next() {
            Seen::Failed(Error::Rejected(other)) => assert_eq!(other, status, "{way}"),
            Seen::Failed(Error::Answer(AnswerError::ProtocolNotOffered)) => assert_eq!(way, "protocol"),
            other => panic!("{way}: {other:?}"),
        }
    }
    assert_eq!(server.remote.connection_count(), 0);
    let mut peer = server.ask("/no", b"");
    assert!(read_head(&mut peer).starts_with("HTTP/1.1 403 "), "at once, as ever");
}

/// In a later turn, from another connection's callback; and before `decide` has even returned.
#[test]
fn from_the_loop_itself() {
    let server = Running::start(|_| {});
    let mut usher = server.open("/now");
    let mut guests: Vec<_> = (0..3).map(|_| server.waiting(b"")).collect();
    usher.write_all(&masked(TEXT, b"let them in")).expect("written");
    for (guest, id) in &mut guests {
        assert!(matches!(server.next(), Seen::Open(other, "let in") if other == *id));
        assert!(read_head(guest).starts_with("HTTP/1.1 101 "));
        echo(guest, "here I am");
    }
    let mut early = server.open("/early");
    echo(&mut early, "and I");
}

/// HS-31: a client that waits too long is told so; an answer after that is dropped.
#[test]
fn hs_31_no_answer_in_time() {
    let server = Running::start(|config| {
        config.timeouts.handshake = Duration::from_millis(200);
        // Nothing waits for it to hang up.
        config.timeouts.linger = Duration::from_secs(600);
    });
    let began = Instant::now();
    let (mut peer, id) = server.waiting(b"");
    let mut answer = String::new();
    peer.read_to_string(&mut answer).expect("FIN, not a reset");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    // The application is told as soon as the client is, and not only when the client has hung up.
    match server.next() {
        Seen::Left(other, Error::Timeout(Timer::Handshake)) => assert_eq!(other, id),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.remote.connection_count(), 0);
    // While it lingers, and after it.
    server.remote.answer(id, Ok(server.consent("too late"))).expect("room");
    assert!(matches!(server.next(), Seen::Dropped));
    drop(peer);
    assert!(server.is_silent(), "once");
    server.remote.answer(id, Ok(server.consent("far too late"))).expect("room");
    assert!(matches!(server.next(), Seen::Dropped) && server.is_silent());
}

/// a client that lingers with its 503 is not reported when the server ends.
#[test]
fn x18_an_end_after_no_answer() {
    let mut server = Running::start(|config| config.timeouts.handshake = Duration::from_millis(100));
    let (mut peer, id) = server.waiting(b"");
    assert!(matches!(server.next(), Seen::Left(other, Error::Timeout(_)) if other == id));
    server.remote.shutdown(Duration::from_millis(100));
    server.end();
    assert!(server.is_silent() && server.remote.connection_count() == 0);
    assert!(read_head(&mut peer).starts_with("HTTP/1.1 503 "));
}

/// What is sent behind an answer comes after it, from any thread: it is not lost because both get there at once.
#[test]
fn what_is_sent_behind_an_answer() {
    let server = Running::start(|_| {});
    let mut usher = server.open("/now");
    for at in 0..20 {
        let (mut guest, id) = server.waiting(b"");
        if at % 2 == 0 {
            // The loop gets all of a callback's orders at once.
            usher.write_all(&masked(TEXT, b"let them in and out")).expect("written");
        } else {
            server.remote.answer(id, Ok(server.consent("let in"))).expect("room");
            server.remote.send(id, "welcome").expect("room");
            server.remote.close(id, None).expect("room");
        }
        assert!(matches!(server.next(), Seen::Open(other, "let in") if other == id));
        assert!(read_head(&mut guest).starts_with("HTTP/1.1 101 "));
        expect(&mut guest, &[plain(TEXT, b"welcome"), plain(CLOSE, b"")].concat());
        drop(guest);
        assert!(
            matches!((server.next(), server.next()), (Seen::Closed(other), Seen::Dropped) if other == id)
        );
        // Meanwhile the usher's list has one that was accepted otherwise.
        if at % 2 != 0 {
            usher.write_all(&masked(TEXT, b"forget them")).expect("written");
            expect(&mut usher, &plain(TEXT, b"forgotten"));
        }
    }
}

/// a client that gives up waiting is noticed, however it leaves and whatever it has sent; its answer is dropped, even
/// if another client has its place.
#[test]
fn x14_who_does_not_wait() {
    let server = Running::start(|_| {});
    for way in ["fin", "reset", "half", "much"] {
        let behind = if way == "much" { vec![0; 100_000] } else { masked(TEXT, b"early") };
        let (mut peer, id) = server.waiting(&behind);
        match way {
            "half" => peer.shutdown(Shutdown::Write).expect("open"),
            "reset" | "much" => {
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("set");
                drop(peer);
                peer = TcpStream::connect(server.address).expect("connected");
            }
            _ => {
                drop(peer);
                peer = TcpStream::connect(server.address).expect("connected");
            }
        }
        match server.next() {
            Seen::Left(other, Error::Lost(_)) => assert_eq!(other, id, "{way}"),
            other => panic!("{way}: {other:?}"),
        }
        drop(peer);
        if way != "half" {
            // It has connected, and asked for nothing.
            assert!(matches!(server.next(), Seen::Failed(Error::Lost(_))), "{way}");
        }
        let (_next, other) = server.waiting(b"");
        assert_ne!(id, other);
        server.remote.answer(id, Ok(server.consent("he has gone"))).expect("room");
        assert!(matches!(server.next(), Seen::Dropped) && server.is_silent(), "{way}");
        server.remote.answer(other, Ok(server.consent("he is here"))).expect("room");
        assert!(matches!(server.next(), Seen::Open(id, "he is here") if id == other), "{way}");
        drop(_next);
        assert!(matches!((server.next(), server.next()), (Seen::Closed(_), Seen::Dropped)), "{way}");
    }
}

/// HS-32, N-01: of what a client sends while it waits, a bounded part is read, and the loop does not spin on the rest.
#[test]
#[cfg(target_os = "linux")]
fn n01_early_bytes_are_bounded() {
    let server = Running::start(|_| {});
    let mut control = server.open("/now");
    let mut used = || {
        control.write_all(&masked(TEXT, b"cpu")).expect("written");
        let mut answer = [0; 14];
        control.read_exact(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[2..]).trim().parse::<u64>().expect("a number")
    };
    let (mut peer, id) = server.waiting(b"");
    peer.set_nonblocking(true).expect("set");
    let message = masked(TEXT, &[b'x'; 10_000]);
    let (mut sent, mut blocked) = (0, Instant::now());
    while blocked.elapsed() < Duration::from_millis(300) {
        assert!(sent < 64 << 20, "it is read");
        match peer.write(&message[sent % message.len()..]) {
            Ok(n) => (sent, blocked) = (sent + n, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    expect_taken(&peer, server.address, sent, MAX_EARLY_BYTES);
    let before = used();
    std::thread::sleep(Duration::from_millis(500));
    let spent = Duration::from_nanos(used() - before);
    assert!(spent < Duration::from_millis(100), "{spent:?} of half a second");
    // And nothing of it is lost.
    server.remote.answer(id, Ok(server.consent("at last"))).expect("room");
    assert!(matches!(server.next(), Seen::Open(..)));
    peer.set_nonblocking(false).expect("set");
    let whole = sent.div_ceil(message.len());
    let rest = message.len() * whole - sent;
    let mut writer = peer.try_clone().expect("cloned");
    let end = message[message.len() - rest..].to_vec();
    let writing = std::thread::spawn(move || writer.write_all(&end).expect("written"));
    read_head(&mut peer);
    let echo = plain(TEXT, &[b'x'; 10_000]);
    (0..whole).for_each(|_| expect(&mut peer, &echo));
    writing.join().expect("no panic");
}

/// HS-32: one byte is left below the bound, and much more than a byte arrives: the rest stays in the socket.
#[test]
#[cfg(target_os = "linux")]
fn hs_32_the_last_early_byte() {
    let server = Running::start(|_| {});
    for first in [1, 8_000, MAX_EARLY_BYTES - 1] {
        let (mut peer, id) = server.waiting(b"");
        let message = masked(TEXT, &[b'x'; 40_000]);
        peer.write_all(&message[..first]).expect("written");
        expect_taken(&peer, server.address, first, first);
        let second = first + MAX_EARLY_BYTES;
        peer.write_all(&message[first..second]).expect("written");
        expect_taken(&peer, server.address, second, MAX_EARLY_BYTES);
        // And nothing of it is lost.
        server.remote.answer(id, Ok(server.consent("at last"))).expect("room");
        assert!(matches!(server.next(), Seen::Open(..)));
        peer.write_all(&message[second..]).expect("written");
        read_head(&mut peer);
        expect(&mut peer, &plain(TEXT, &[b'x'; 40_000]));
        drop(peer);
        assert!(matches!((server.next(), server.next()), (Seen::Closed(_), Seen::Dropped)));
    }
}

/// Of `sent` bytes the server reads this many, and no more.
#[cfg(target_os = "linux")]
fn expect_taken(peer: &TcpStream, server: SocketAddr, sent: usize, due: usize) {
    let is_due = || {
        let (unsent, unread) = waiting_bytes(peer, server);
        unsent + unread == sent - due
    };
    until(&format!("{due} of {sent} bytes"), || {
        is_due() && {
            std::thread::sleep(SILENCE);
            is_due()
        }
    });
}

/// N-04: answers that no loop takes are bounded.
#[test]
fn n04_answers_are_bounded() {
    let server = Running::start(|_| {});
    let (_peer, id) = server.waiting(b"");
    let mut settings = Settings::new();
    (settings.loops, settings.max_inbox) = (1, 10_000);
    let idle = Server::unbound(settings).expect("loops");
    let remote = idle.remote();
    let no = || Err::<Acceptance<()>, _>(Refusal::new(403, &"x".repeat(1_000)));
    let accepted = (0..100).take_while(|_| remote.answer(id, no()).is_ok()).count();
    assert!((5..=10).contains(&accepted), "{accepted}");
    assert_eq!(remote.answer(id, no()), Err(RemoteError::Full));
}

/// a server that shuts down reports the waiting clients, once.
#[test]
fn x18_an_end_while_they_wait() {
    let server = Running::start(|_| {});
    let mut waiting: Vec<_> = (0..3).map(|_| server.waiting(b"")).collect();
    server.remote.shutdown(PATIENCE);
    for (peer, id) in &mut waiting {
        assert!(matches!(server.next(), Seen::Left(other, _) if other == *id));
        assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)));
    }
    assert!(server.is_silent());
}
