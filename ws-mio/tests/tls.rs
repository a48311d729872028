//! TLS, both sides, over real sockets.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use support::certificates::{for_client, for_server};
use support::running::Running;
use support::{CLOSE, REQUEST, TEXT, masked, plain, read_head};
use ws_mio::core::{CloseCode, CloseFrame, Config, Event, Rejection};
use ws_mio::tls::rustls::pki_types::ServerName;
use ws_mio::tls::rustls::{ClientConnection, RootCertStore, StreamOwned};
use ws_mio::tls::{self, client_config};
use ws_mio::{
    Acceptance, Answer, ConnId, Connect, ConnectError, Error, Handler, Peer, Refusal, Settings, Visitor,
};

#[derive(Debug)]
enum Seen {
    Request { sni: Option<String> },
    Connected(ConnId),
    Failed(ConnectError),
    Text(String),
    Closed(Result<(), Error>),
    NotOpened(Error),
}

struct App {
    seen: Sender<Seen>,
}

impl Handler for App {
    /// Whether it echoes.
    type State = bool;

    fn request(&mut self, visitor: &Visitor<'_>) -> Result<Acceptance<bool>, Refusal> {
        let sni = match visitor.tls() {
            Some(tls::rustls::Connection::Server(tls)) => tls.server_name().map(str::to_owned),
            _ => return Err(Refusal::new(400, "in the clear")),
        };
        let _ = self.seen.send(Seen::Request { sni });
        Ok(Acceptance::new(true))
    }

    fn open(&mut self, peer: &mut Peer<'_, bool>) {
        if *peer.state {
            peer.subscribe("all").expect("a name");
        }
    }

    fn event(&mut self, event: Event<'_>, peer: &mut Peer<'_, bool>) {
        let Event::Text(text) = event else { return };
        if *peer.state {
            let _ = peer.send(text);
        } else {
            let _ = self.seen.send(Seen::Text(text.to_owned()));
        }
    }

    fn connected(&mut self, answer: &Answer<'_>) -> Option<bool> {
        assert!(answer.tls().is_some_and(|tls| tls.alpn_protocol() == Some(b"http/1.1")));
        let _ = self.seen.send(Seen::Connected(answer.id()));
        Some(false)
    }

    fn not_connected(&mut self, _: u64, error: ConnectError) {
        let _ = self.seen.send(Seen::Failed(error));
    }

    fn closed(&mut self, _: ConnId, _: bool, end: Result<(), Error>) {
        let _ = self.seen.send(Seen::Closed(end));
    }

    fn failed(&mut self, error: Error) {
        let _ = self.seen.send(Seen::NotOpened(error));
    }
}

/// A server and clients on one loop, all over TLS.
impl Running<Seen> {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let secured = |settings: &mut Settings| {
            settings.tls = Some(for_server());
            settings.tls_client = Some(for_client());
            change(settings);
        };
        Self::serve(secured, |given| App { seen: given.told })
    }

    fn connect(&self, host: &str) {
        self.remote.connect(Connect::new(format!("wss://{host}/"), self.address)).expect("room");
    }

    /// Another library's TLS client, blocking: the test decides what is sent over it and what is not.
    fn dial_tls(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls =
            StreamOwned::new(ClientConnection::new(for_client(), name).expect("usable"), self.dial());
        tls.write_all(REQUEST).expect("written");
        assert!(read_head(&mut tls).starts_with("HTTP/1.1 101 "));
        assert!(matches!(self.next(), Seen::Request { .. }));
        tls
    }
}

/// HC-19, N-07: a name goes into SNI, an address does not; messages small and large go both ways, and it ends cleanly.
#[test]
fn hc_19_both_sides() {
    let running = Running::start(|_| {});
    for (host, sni) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        running.connect(host);
        let Seen::Request { sni: named } = running.next() else { panic!("no request") };
        assert_eq!(named.as_deref(), sni);
        let Seen::Connected(id) = running.next() else { panic!("no answer") };
        for len in [0, 1, 125, 1_000, 16_384, 70_000, 1 << 20] {
            let text = "x".repeat(len);
            running.remote.send(id, text.as_str()).expect("sent");
            match running.next() {
                Seen::Text(echo) => assert!(echo == text, "{len}"),
                other => panic!("{other:?}"),
            }
        }
        let frame = CloseFrame { code: CloseCode::NORMAL, reason: "" };
        running.remote.close(id, Some(frame)).expect("sent");
        for _ in 0..2 {
            assert!(matches!(running.next(), Seen::Closed(Ok(()))));
        }
        assert_eq!(running.remote.connection_count(), 0);
    }
}

/// What is published reaches members behind TLS, whether a socket takes it at once or not.
#[test]
fn topics() {
    const MEMBERS: usize = 3;
    let running = Running::start(|_| {});
    for _ in 0..MEMBERS {
        running.connect("localhost");
    }
    let mut connected = 0;
    while connected < MEMBERS {
        connected += usize::from(matches!(running.next(), Seen::Connected(_)));
    }
    for len in [0, 1, 1_000, 40_000, 70_000, 500_000] {
        // Two in a turn, most of the time.
        let texts = ["x".repeat(len), "y".repeat(len)];
        for text in &texts {
            let published = running.remote.publish("all", text.as_str()).expect("room");
            assert_eq!(published.elsewhere, MEMBERS);
        }
        for _ in 0..MEMBERS * texts.len() {
            match running.next() {
                Seen::Text(text) => assert!(texts.contains(&text), "{len}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// HC-19: a certificate for another host, one from an unknown issuer, and a server that does not speak TLS.
#[test]
fn hc_19_untrusted() {
    let running = Running::start(|_| {});
    let strange = Running::start(|settings| {
        settings.tls_client = Some(Arc::new(client_config(RootCertStore::empty()).expect("versions")));
    });
    running.connect("other.host");
    strange.connect("localhost");
    for running in [&running, &strange] {
        let mut failed = 0;
        for _ in 0..2 {
            match running.next() {
                Seen::Failed(ConnectError::Tls(error)) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                    failed += 1;
                }
                // Told by an alert.
                Seen::NotOpened(Error::Lost(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failed, 1);
    }
    let clear = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut connect = Connect::new("wss://localhost/", clear.local_addr().expect("bound"));
    connect.tag = 1;
    running.remote.connect(connect).expect("room");
    let (mut peer, _) = clear.accept().expect("somebody");
    peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
    assert!(matches!(running.next(), Seen::Failed(ConnectError::Tls(_))));
}

/// Bytes that are not TLS, and HS-31: none at all, or half a hello, until the deadline.
#[test]
fn hs_31_no_handshake() {
    let running = Running::start(|_| {});
    let mut peer = running.dial();
    peer.write_all(REQUEST).expect("written");
    assert!(
        matches!(running.next(), Seen::NotOpened(Error::Lost(error)) if error.kind() == ErrorKind::InvalidData)
    );
    let running = Running::start(|settings| {
        let mut config = Config::server();
        config.timeouts.handshake = Duration::from_millis(300);
        config.timeouts.linger = Duration::from_millis(50);
        settings.config = config.into();
    });
    for begun in [&b""[..], &[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]] {
        let mut peer = running.dial();
        peer.write_all(begun).expect("written");
        match running.next() {
            Seen::NotOpened(Error::Request(Rejection::Timeout)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(running.remote.connection_count(), 0);
    }
}

/// The head of a handshake message that is longer than a receiver keeps, in full records: it never ends.
fn overfull(kind: u8) -> Vec<u8> {
    const RECORD: usize = 16_384;
    let mut message = vec![kind, 0, 0xff, 0xff];
    message.resize(4 + 0xffff, 0);
    let mut raw = Vec::new();
    for piece in message.chunks(RECORD) {
        raw.extend_from_slice(&[22, 3, 3]);
        raw.extend_from_slice(&(piece.len() as u16).to_be_bytes());
        raw.extend_from_slice(piece);
    }
    raw
}

/// N-01: a handshake message that is too large to keep ends the connection, on both sides, and the loop goes on with the
/// others.
#[test]
fn n01_an_overfull_handshake_message() {
    let running = Running::start(|_| {});
    let wild = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let connect = Connect::new("wss://localhost/", wild.local_addr().expect("bound"));
    running.remote.connect(connect).expect("room");
    let (mut peer, _) = wild.accept().expect("somebody");
    peer.write_all(&overfull(2)).expect("written");
    match running.next() {
        Seen::Failed(ConnectError::Tls(error)) => assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}"),
        other => panic!("{other:?}"),
    }
    drop(peer);

    let mut peer = running.dial();
    peer.write_all(&overfull(1)).expect("written");
    match running.next() {
        Seen::NotOpened(Error::Lost(error)) => assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}"),
        other => panic!("{other:?}"),
    }
    drop(peer);

    running.connect("localhost");
    assert!(matches!(running.next(), Seen::Request { .. }));
    assert!(matches!(running.next(), Seen::Connected(_)));
}

/// an end of the transport without `close_notify` is not an end of the stream, and one with it is not an end of the
/// connection. X-16: after both close frames, it is.
#[test]
fn x_16_truncation() {
    let running = Running::start(|_| {});
    let lost = |seen: Seen| match seen {
        Seen::Closed(Err(Error::Lost(error))) => {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    // Cut off, also inside a record.
    for half in [false, true] {
        let mut peer = running.dial_tls();
        if half {
            peer.conn.writer().write_all(&masked(TEXT, &[b'x'; 1000])).expect("room");
            let mut record = Vec::new();
            peer.conn.write_tls(&mut record).expect("written");
            peer.sock.write_all(&record[..record.len() / 2]).expect("written");
        }
        drop(peer);
        assert!(lost(running.next()).contains("close_notify"));
    }
    // Ended by TLS, not by WebSocket.
    let mut peer = running.dial_tls();
    peer.conn.send_close_notify();
    peer.flush().expect("written");
    assert!(!lost(running.next()).contains("close_notify"));
    // The other way round, and the transport just goes.
    let mut peer = running.dial_tls();
    peer.write_all(&masked(CLOSE, &[3, 232])).expect("written");
    let mut rest = Vec::new();
    // To its `close_notify`, or this fails.
    peer.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(rest, plain(CLOSE, &[3, 232]));
    drop(peer);
    assert!(matches!(running.next(), Seen::Closed(Ok(()))));
}

/// The server's end of a peer that leaves its records unread, many at a time: none waits for an event that does not come.
#[test]
fn many_records_in_one_read() {
    let running = Running::start(|_| {});
    let mut peer = running.dial_tls();
    let (mut raw, mut expected) = (Vec::new(), Vec::new());
    for number in 0..500 {
        let text = format!("{number} {}", "x".repeat(number));
        peer.conn.writer().write_all(&masked(TEXT, text.as_bytes())).expect("room");
        peer.conn.write_tls(&mut raw).expect("written");
        expected.extend_from_slice(&plain(TEXT, text.as_bytes()));
    }
    peer.sock.write_all(&raw).expect("written");
    let mut echoes = vec![0; expected.len()];
    peer.read_exact(&mut echoes).expect("all of them");
    assert!(echoes == expected);
}
