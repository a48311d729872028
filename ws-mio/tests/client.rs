//! A client's socket in a loop of its own, against a server whose bytes are written by hand: rows HC-05 to HC-18.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use support::{
    CLOSE, PATIENCE, TEXT, await_bytes, expect_end, has_heard, key, nobody, plain, read_head, switch,
};
use ws_mio::core::handshake::{HeadFault, MAX_BODY};
use ws_mio::core::{ClientRequest, Config, Event, HandshakeError, Instant, RequestError, Uri};
use ws_mio::{Buffers, ConnectError, Error, Refusal, Reply, Socket, State, Stream};

/// A loop with a client in it, and a virtual clock.
struct Caller<S = mio::net::TcpStream> {
    poll: Poll,
    events: Events,
    buffers: Buffers,
    socket: Socket<S>,
    now: Instant,
    last: Result<State, Error>,
    /// Whether it registers for what `interest` returns, as level-triggered loops do.
    leveled: bool,
    /// From the answer: its subprotocol, its `X-Extra`.
    answers: Vec<(Option<String>, Option<Vec<u8>>)>,
    texts: Vec<String>,
    turns: usize,
}

type Plain = mio::net::TcpStream;

impl Caller {
    fn new(address: SocketAddr, request: ClientRequest<'_>, config: Config) -> Self {
        let stream = Plain::connect(address).expect("begun");
        let mut socket = Socket::connect(stream, request, config, Instant::ZERO).expect("fit to send");
        let poll = Poll::new().expect("a poll");
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(socket.stream_mut(), Token(0), interest).expect("registered");
        Self {
            poll,
            events: Events::with_capacity(8),
            buffers: Buffers::new(),
            socket,
            now: Instant::ZERO,
            last: Ok(State::Waiting),
            leveled: false,
            answers: Vec::new(),
            texts: Vec::new(),
            turns: 0,
        }
    }

    fn to(server: &TcpListener) -> Self {
        Self::new(server.local_addr().expect("bound"), request(), Config::client())
    }

    /// One turn of the loop, which waits for an event for at most 5 ms.
    fn turn(&mut self) {
        if self.leveled && !self.is_over() {
            // Registered anew, an edge also reports what is ready already: this is how levels behave.
            let (registry, interest) = (self.poll.registry(), self.socket.interest());
            let _ = registry.deregister(self.socket.stream_mut());
            if let Some(interest) = interest {
                registry.register(self.socket.stream_mut(), Token(0), interest).expect("registered");
            }
        }
        self.poll.poll(&mut self.events, Some(Duration::from_millis(5))).expect("polled");
        let Self { events, socket, buffers, last, texts, answers, now, turns, .. } = self;
        *turns += usize::from(!events.is_empty());
        let mut hear = |event: Event<'_>, reply: &mut Reply<'_, Plain>| {
            if let Event::Text(text) = event {
                texts.push(text.to_owned());
                let _ = reply.send(text);
            }
        };
        for event in events.iter() {
            if matches!(last, Ok(State::Waiting)) {
                *last = socket.on_ready(event, buffers, *now, &mut hear);
            }
            while let Ok(State::Again | State::Answered) = last {
                if let Ok(State::Answered) = last {
                    assert!(socket.is_open());
                    let response = socket.response().expect("there until it goes on");
                    let extra = response.field("x-extra").map(<[u8]>::to_vec);
                    answers.push((response.protocol().map(str::to_owned), extra));
                }
                *last = socket.proceed(buffers, *now, &mut hear);
            }
        }
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "never came: {what}; last {:?}", self.last);
            self.turn();
        }
    }

    /// Turns until the peer has something to read.
    fn until_said(&mut self, peer: &TcpStream) {
        self.until("something to read", |_| has_heard(peer));
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        self.last = self.socket.tick(&mut self.buffers, now);
    }

    fn is_over(&self) -> bool {
        matches!(self.last, Ok(State::Closed) | Err(_))
    }

    /// Why it failed.
    fn failure(&mut self) -> ConnectError {
        self.until("the end", Self::is_over);
        match std::mem::replace(&mut self.last, Ok(State::Closed)) {
            Err(Error::Connect(error)) => *error,
            other => panic!("{other:?}"),
        }
    }
}

fn request() -> ClientRequest<'static> {
    let mut request = ClientRequest::new(Uri::parse("ws://example.com/chat?a=b").expect("an address"));
    request.protocols = &["chat", "echo"];
    request
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

/// The server's end of the next connection, and the request's head.
fn take(server: &TcpListener, caller: &mut Caller) -> (TcpStream, String) {
    let (mut peer, _) = server.accept().expect("somebody");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    peer.set_nodelay(true).expect("set");
    caller.until_said(&peer);
    let head = read_head(&mut peer);
    (peer, head)
}

/// A client's frame, unmasked: its first byte and its payload.
fn read_masked(peer: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    peer.read_exact(&mut head).expect("a frame");
    assert!(head[1] >= 0x80 && head[1] < 0x80 + 126, "masked and short");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    peer.read_exact(&mut payload).expect("a payload");
    payload.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    (head[0], payload)
}

/// HC-02, HC-06, HC-17: an answer with interim ones before it and frames after it, cut at every byte; its fields can be
/// read, and no frame is lost. In an edge-triggered loop and in a level-triggered one.
#[test]
fn hc_17_an_answer_in_two_pieces() {
    let server = listen();
    let mut cut = 0;
    loop {
        let mut caller = Caller::to(&server);
        caller.leveled = cut % 2 == 1;
        let (mut peer, head) = take(&server, &mut caller);
        assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\n"), "{head}");
        let mut answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec();
        answer.extend_from_slice(&switch(&head, "Sec-WebSocket-Protocol: echo\r\nX-Extra: yes\r\n"));
        answer.extend_from_slice(&plain(TEXT, b"one"));
        answer.extend_from_slice(&plain(TEXT, b"two"));
        if cut > answer.len() {
            break;
        }
        peer.write_all(&answer[..cut]).expect("written");
        caller.turn();
        peer.write_all(&answer[cut..]).expect("written");
        caller.until("two texts", |caller| caller.texts.len() == 2);
        assert_eq!(caller.texts, ["one", "two"], "cut at {cut}");
        assert_eq!(caller.answers, [(Some("echo".to_owned()), Some(b"yes".to_vec()))], "cut at {cut}");
        assert_eq!(read_masked(&mut peer), (TEXT, b"one".to_vec()));
        assert_eq!(read_masked(&mut peer), (TEXT, b"two".to_vec()));
        assert_eq!((caller.socket.held(), caller.socket.response().is_none()), (0, true));
        cut += 1;
    }
}

/// HC-13: a server that chooses no subprotocol is accepted, unless one is required.
#[test]
fn hc_13_no_choice() {
    let server = listen();
    for required in [false, true] {
        let mut request = request();
        request.require_protocol = required;
        let mut caller = Caller::new(server.local_addr().expect("bound"), request, Config::client());
        let (mut peer, head) = take(&server, &mut caller);
        assert!(head.contains("Sec-WebSocket-Protocol: chat, echo\r\n"));
        peer.write_all(&switch(&head, "")).expect("written");
        if required {
            let error = caller.failure();
            assert!(matches!(error, ConnectError::Handshake(HandshakeError::ProtocolMissing)), "{error:?}");
        } else {
            caller.until("the answer", |caller| caller.answers == [(None, None)]);
        }
    }
}

/// HC-16, HC-17: byte by byte, whatever the fields say of a body, and to its clean end (X-10: the server ends the
/// transport).
#[test]
fn hc_17_an_answer_byte_by_byte() {
    let server = listen();
    let mut caller = Caller::to(&server);
    let (mut peer, head) = take(&server, &mut caller);
    let mut answer = switch(&head, "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n");
    answer.extend_from_slice(&plain(TEXT, b"hi"));
    for byte in answer {
        peer.write_all(&[byte]).expect("written");
        caller.turn();
    }
    caller.until("a text", |caller| caller.texts == ["hi"]);
    assert_eq!(read_masked(&mut peer), (TEXT, b"hi".to_vec()));
    peer.write_all(&plain(CLOSE, &[3, 232])).expect("written");
    caller.until_said(&peer);
    assert_eq!(read_masked(&mut peer), (CLOSE, vec![3, 232]));
    drop(peer);
    caller.until("the end", Caller::is_over);
    assert!(matches!(caller.last, Ok(State::Closed)), "{:?}", caller.last);
}

/// HC-03: another key for each connection, and other masks.
#[test]
fn hc_03_keys_are_new() {
    let server = listen();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..8 {
        let mut caller = Caller::to(&server);
        let (_peer, head) = take(&server, &mut caller);
        assert!(seen.insert(key(&head).to_owned()));
    }
}

/// HC-05: before the answer only the request is sent.
#[test]
fn hc_05_nothing_before_the_answer() {
    let server = listen();
    let mut caller = Caller::to(&server);
    let send = |caller: &mut Caller| caller.socket.send(&mut caller.buffers, Instant::ZERO, "early");
    assert!(matches!(send(&mut caller), Err(Error::NotOpen)));
    let (mut peer, head) = take(&server, &mut caller);
    assert!(matches!(send(&mut caller), Err(Error::NotOpen)));
    assert!(matches!(caller.socket.close(&mut caller.buffers, Instant::ZERO, None), Err(Error::NotOpen)));
    peer.write_all(&switch(&head, "")).expect("written");
    caller.until("the answer", |caller| caller.answers.len() == 1);
    send(&mut caller).expect("open");
    let _ = caller.socket.flush(&mut caller.buffers, Instant::ZERO).expect("written");
    assert_eq!(read_masked(&mut peer), (TEXT, b"early".to_vec()));
}

/// HC-04: what may not be sent is refused before anything is.
#[test]
fn hc_04_requests_that_may_not_be_sent() {
    let server = listen();
    let address = server.local_addr().expect("bound");
    let refused = |change: &dyn Fn(&mut ClientRequest<'_>)| {
        let mut request = request();
        change(&mut request);
        let stream = Plain::connect(address).expect("begun");
        match Socket::connect(stream, request, Config::client(), Instant::ZERO) {
            Err(ConnectError::Request(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|request| request.protocols = &["a b"]), RequestError::InvalidProtocol);
    assert_eq!(refused(&|request| request.headers = &[("A", b"b\r\nC: d")]), RequestError::InvalidHeader);
    assert_eq!(refused(&|request| request.headers = &[("Host", b"b")]), RequestError::ReservedHeader);
    assert_eq!(refused(&|request| request.extensions = ";"), RequestError::InvalidExtensions);
}

/// HC-06, HC-09, HC-10, HC-11, HC-12, HC-14, HC-15, HC-18: an answer that breaks a rule ends it at once, without a frame.
#[test]
fn hc_09_to_18_bad_answers() {
    let server = listen();
    let good = |head: &str, from: &str, to: &str| {
        let text = String::from_utf8(switch(head, "")).expect("ASCII");
        assert!(text.contains(from), "{from}");
        text.replace(from, to).into_bytes()
    };
    type Make<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let table: [(&str, Make<'_>, HandshakeError); 12] = [
        ("HC-09", &|head| good(head, "Upgrade: websocket", "Upgrade: h2c"), HandshakeError::Upgrade),
        ("HC-10", &|head| good(head, "Connection: Upgrade", "Connection: close"), HandshakeError::Connection),
        ("HC-11", &|head| good(head, "Accept: ", "Accept: x"), HandshakeError::Accept),
        ("HC-11", &|head| switch(&head.replace("Key: ", "Key: x"), ""), HandshakeError::Accept),
        ("HC-12", &|head| switch(head, "Sec-WebSocket-Protocol: Chat\r\n"), HandshakeError::Protocol),
        (
            "HC-14",
            &|head| switch(head, "Sec-WebSocket-Extensions: x-a\r\n"),
            HandshakeError::ExtensionNotOffered,
        ),
        ("HC-15", &|head| good(head, "HTTP/1.1", "HTTP/1.0"), HandshakeError::HttpVersion),
        ("HC-15", &|_| b"SSH-2.0-x\r\n".to_vec(), HandshakeError::StatusLine),
        ("HC-06", &|_| b"HTTP/1.1 100 \r\n\r\n".repeat(9), HandshakeError::TooManyInterim),
        (
            "HC-18",
            &|_| [b"HTTP/1.1 101 \r\n".to_vec(), b"a: b\r\n".repeat(101)].concat(),
            HandshakeError::Head(HeadFault::TooManyFields),
        ),
        (
            "HC-18",
            &|_| [b"HTTP/1.1 101 \r\nA: ".to_vec(), vec![b'x'; 20_000]].concat(),
            HandshakeError::Head(HeadFault::LineTooLong),
        ),
        ("HC-15", &|_| b"HTTP/1.1 101 \r\nUpgrade".to_vec(), HandshakeError::Eof),
    ];
    for (row, make, expected) in table {
        let mut caller = Caller::to(&server);
        let (mut peer, head) = take(&server, &mut caller);
        peer.write_all(&make(&head)).expect("written");
        peer.shutdown(Shutdown::Write).expect("shut down");
        match caller.failure() {
            ConnectError::Handshake(error) => assert_eq!(error, expected, "{row}"),
            other => panic!("{row}: {other:?}"),
        }
        assert_eq!(caller.socket.held(), 0);
        assert_eq!((caller.socket.interest(), caller.socket.deadline()), (None, None));
        drop(caller);
        // Nothing, or a reset because of what was not read.
        assert!(matches!(peer.read(&mut [0; 16]), Ok(0) | Err(_)), "{row}: a frame");
    }
}

/// HC-07: another status comes with its fields and its body, of which 64 KiB are kept.
#[test]
fn hc_07_refusals() {
    let server = listen();
    let long = "x".repeat(MAX_BODY + 1);
    for (answer, status, body, ends) in [
        ("401 \r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?more", 401, "who?", false),
        ("302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, "", false),
        ("503 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlat\r\n2\r\ner\r\n0\r\n\r\n", 503, "later", false),
        ("200 OK\r\n\r\nhello", 200, "hello", true),
        ("404 \r\nContent-Length: 9\r\n\r\ncut", 404, "cut", true),
        (&format!("404 \r\n\r\n{long}"), 404, &long[..MAX_BODY], false),
    ] {
        let mut caller = Caller::to(&server);
        let (mut peer, _) = take(&server, &mut caller);
        for piece in format!("HTTP/1.1 {answer}").as_bytes().chunks(1000) {
            peer.write_all(piece).expect("written");
            caller.turn();
        }
        if ends {
            peer.shutdown(Shutdown::Write).expect("shut down");
        }
        let ConnectError::Status(refusal) = caller.failure() else { panic!("{answer:.20}") };
        let Refusal { status: got, headers, body: read } = *refusal;
        assert_eq!((got, str::from_utf8(&read)), (status, Ok(body)), "{answer:.20}");
        if status == 401 {
            assert_eq!(headers[0], ("WWW-Authenticate".to_owned(), b"Basic".to_vec()));
        }
    }
}

/// HC-18: one deadline, from the first step to the answer; what has arrived of a refusal by then is reported.
#[test]
fn hc_18_deadlines() {
    let server = listen();
    let late = Instant::from_secs(10);
    for (answer, status) in [("", 0), ("HTTP/1.1 101 Swi", 0), ("HTTP/1.1 404 \r\n\r\nslow", 404)] {
        let mut caller = Caller::to(&server);
        let (mut peer, _) = take(&server, &mut caller);
        peer.write_all(answer.as_bytes()).expect("written");
        if !answer.is_empty() {
            await_bytes(caller.socket.stream(), answer.len());
        }
        caller.until("it is read", |caller| caller.socket.stream().peek(&mut [0]).is_err());
        assert_eq!(caller.socket.deadline(), Some(late));
        caller.tick(Instant::from_millis(9_999));
        assert!(!caller.is_over());
        caller.tick(late);
        match caller.failure() {
            ConnectError::Timeout if status == 0 => {}
            ConnectError::Status(refusal) => {
                assert_eq!((refusal.status, &refusal.body[..]), (status, &b"slow"[..]));
            }
            other => panic!("{answer}: {other:?}"),
        }
    }
    // No one has been told, and no one answers.
    let mut caller = Caller::to(&server);
    caller.tick(late);
    assert!(matches!(caller.failure(), ConnectError::Timeout));
}

/// A port where nobody listens.
#[test]
fn a_refused_connection() {
    let (_kept, address) = nobody();
    for leveled in [false, true] {
        let mut caller = Caller::new(address, request(), Config::client());
        caller.leveled = leveled;
        match caller.failure() {
            ConnectError::Connect(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
            other => panic!("{other:?}"),
        }
    }
}

/// A server's answer is read even if it answers and closes before it has read the request.
#[test]
fn an_answer_before_the_request() {
    let server = listen();
    let mut caller = Caller::to(&server);
    let (mut peer, _) = server.accept().expect("somebody");
    peer.write_all(b"HTTP/1.1 503 \r\nContent-Length: 4\r\n\r\nbusy").expect("written");
    peer.shutdown(Shutdown::Write).expect("shut down");
    let ConnectError::Status(refusal) = caller.failure() else { panic!("no status") };
    assert_eq!((refusal.status, &refusal.body[..]), (503, &b"busy"[..]));
}

/// A loop that waits for a connection sleeps: no event, no turn.
#[test]
fn no_busy_loop() {
    let server = listen();
    for leveled in [false, true] {
        let mut caller = Caller::to(&server);
        caller.leveled = leveled;
        let (mut peer, head) = take(&server, &mut caller);
        let before = caller.turns;
        (0..10).for_each(|_| caller.turn());
        assert_eq!(caller.turns, before, "events for nothing, leveled: {leveled}");
        peer.write_all(&switch(&head, "")).expect("written");
        caller.until("the answer", |caller| caller.answers.len() == 1);
        let before = caller.turns;
        (0..10).for_each(|_| caller.turn());
        assert_eq!(caller.turns, before, "events for nothing, leveled: {leveled}");
    }
}

/// N-05: a server that does not read is not read from, with a client's own limit; nothing is lost when it does.
#[test]
fn n05_backpressure() {
    let server = listen();
    let mut config = Config::client();
    config.limits.max_queue = 4 << 10;
    let mut caller = Caller::new(server.local_addr().expect("bound"), request(), config);
    let (mut peer, head) = take(&server, &mut caller);
    peer.write_all(&switch(&head, "")).expect("written");
    caller.until("the answer", |caller| caller.answers.len() == 1);
    let text = "x".repeat(100);
    let frame = plain(TEXT, text.as_bytes());
    peer.set_nonblocking(true).expect("set");
    let (mut sent, mut idle) = (0, 0);
    let mut rest: &[u8] = &[];
    while idle < 20 {
        if rest.is_empty() {
            rest = &frame;
            sent += 1;
        }
        match peer.write(rest) {
            Ok(n) => {
                rest = &rest[n..];
                idle = 0;
            }
            Err(_) => {
                caller.turn();
                idle += 1;
            }
        }
        assert!(sent < 1_000_000, "it reads on and on");
    }
    assert!(caller.socket.reply(&mut caller.buffers, Instant::ZERO).expect("open").queued() <= 8 << 10);
    // Now it reads.
    peer.set_nonblocking(false).expect("set");
    let rest = rest.to_vec();
    let reader = std::thread::spawn(move || {
        let mut writer = peer.try_clone().expect("a handle");
        std::thread::spawn(move || writer.write_all(&rest).expect("written"));
        for _ in 0..sent {
            assert_eq!(read_masked(&mut peer), (TEXT, text.clone().into_bytes()));
        }
        peer
    });
    caller.until("all texts", |caller| caller.texts.len() == sent);
    while !reader.is_finished() {
        caller.turn();
    }
    let mut peer = reader.join().expect("all of it");
    caller.socket.close(&mut caller.buffers, Instant::ZERO, None).expect("open");
    let _ = caller.socket.flush(&mut caller.buffers, Instant::ZERO).expect("written");
    assert_eq!(read_masked(&mut peer), (CLOSE, vec![]));
    peer.write_all(&plain(CLOSE, b"")).expect("written");
    peer.shutdown(Shutdown::Write).expect("shut down");
    caller.until("the end", Caller::is_over);
    assert!(matches!(caller.last, Ok(State::Closed)), "{:?}", caller.last);
    drop(caller);
    expect_end(&mut peer);
}

/// A transport that is not a TCP stream counts as connected from the start.
#[test]
fn other_streams_stand() {
    let server = listen();
    let stream = TcpStream::connect(server.local_addr().expect("bound")).expect("connected");
    stream.set_nonblocking(true).expect("set");
    assert!(!stream.short_means_blocked());
    let mut socket = Socket::connect(stream, request(), Config::client(), Instant::ZERO).expect("fit");
    let mut buffers = Buffers::new();
    let state = socket.on_writable(&mut buffers, Instant::ZERO, |_, _| {}).expect("asked");
    assert_eq!(state, State::Waiting);
    let (mut peer, _) = server.accept().expect("somebody");
    let head = read_head(&mut peer);
    peer.write_all(&switch(&head, "")).expect("written");
    let mut state = Ok(State::Waiting);
    while let Ok(State::Waiting) = state {
        state = socket.on_readable(&mut buffers, Instant::ZERO, |_, _| {});
    }
    assert!(matches!(state, Ok(State::Answered)), "{state:?}");
}
