//! How much and how long a server reads, and what it does after a refusal: rows HS-04, HS-05, HS-30, HS-31, HS-33, HS-39.

mod heads;

use heads::server::{
    Outcome, decided_at, fault, is_accepted, is_handed_over, new, outcome, show, with_request,
};
use heads::upgrade;
use ws_core::handshake::{LINGER_BYTES, MAX_EARLY_BYTES};
use ws_core::{Accept, AnswerError, Config, HeadLimits, Instant, Rejection, ServerHandshake, Transport};

/// HS-04: a target longer than the limit is refused at the byte that passes it.
#[test]
fn hs_04_target_limit() {
    for (len, fits) in [(8191, true), (8192, true), (8193, false), (20_000, false)] {
        let head = upgrade().target(&format!("/{}", "a".repeat(len - 1))).to_string();
        if fits {
            assert!(matches!(show(&mut new(true), head.as_bytes()), Outcome::Request { upgrade: true, .. }));
        } else {
            assert_eq!(decided_at(head.as_bytes()), (4 + 8193, Rejection::TargetTooLong));
            assert_eq!(show(&mut new(true), head.as_bytes()), Outcome::Refused(Rejection::TargetTooLong));
        }
    }
    assert_eq!(Rejection::TargetTooLong.status(), 414);
}

/// HS-05: a method is not buffered without end.
#[test]
fn hs_05_method_limit() {
    let head = "M".repeat(100_000);
    assert_eq!(decided_at(head.as_bytes()), (33, Rejection::MethodTooLong));
    assert_eq!(Rejection::MethodTooLong.status(), 501);
    assert!(is_handed_over(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(32))));
}

/// HS-30: every limit applies at the byte that exceeds it; what just fits is accepted.
#[test]
fn hs_30_limits() {
    use ws_core::handshake::HeadFault::{HeadTooLong, LineTooLong, TooManyFields};
    // A head of exactly this many bytes, of lines that are short enough.
    let head_of = |len: usize| {
        let mut head = upgrade();
        while head.to_string().len() + 4003 < len {
            head = head.with("X", &"x".repeat(3000));
        }
        let rest = len - head.to_string().len() - "X: \r\n".len();
        head.with("X", &"x".repeat(rest)).to_string()
    };
    assert_eq!(head_of(16_384).len(), 16_384);
    assert!(matches!(
        show(&mut new(true), head_of(16_384).as_bytes()),
        Outcome::Request { upgrade: true, .. }
    ));
    let (at, rejection) = decided_at(head_of(16_385).as_bytes());
    assert_eq!((at, fault(rejection), rejection.status()), (16_385, HeadTooLong, 431));
    assert_eq!(show(&mut new(true), head_of(16_385).as_bytes()), Outcome::Refused(rejection));
    // Bytes after a head are not part of it.
    let mut more = head_of(16_384).into_bytes();
    more.resize(16_384 + MAX_EARLY_BYTES, 0x81);
    assert!(matches!(show(&mut new(true), &more), Outcome::Request { upgrade: true, .. }));

    // A line of name, colon and value.
    let line_of = |len: usize| upgrade().with("X", &"x".repeat(len - 3)).to_string();
    assert!(matches!(show(&mut new(true), line_of(8192).as_bytes()), Outcome::Request { upgrade: true, .. }));
    let start = line_of(8193).find("X: ").unwrap();
    let (at, rejection) = decided_at(line_of(8193).as_bytes());
    assert_eq!((at - start, fault(rejection), rejection.status()), (8193, LineTooLong, 431));
    // An endless name, too.
    let (at, rejection) = decided_at(format!("GET / HTTP/1.1\r\n{}", "n".repeat(20_000)).as_bytes());
    assert_eq!((at, fault(rejection)), (16 + 8193, LineTooLong));

    // A count. The field that is one too many may be the one that matters, so it is not dropped.
    let count_of = |count: usize| (5..count).fold(upgrade(), |head, _| head.with("X", "y")).to_string();
    assert!(is_accepted(count_of(100)));
    let head = count_of(101);
    let (at, rejection) = decided_at(head.as_bytes());
    assert_eq!(
        (at, fault(rejection), rejection.status()),
        (head.len() - "X: y\r\n\r\n".len() + 1, TooManyFields, 431)
    );
    assert_eq!(outcome(false, head.as_bytes()), Outcome::Refused(rejection));

    // All of them are settings.
    static SMALL: Config = {
        let mut config = Config::server();
        config.head = HeadLimits::new();
        config.head.max_fields = 5;
        config.head.max_bytes = 190;
        config.head.max_target = 1;
        config.head.max_line = 43;
        config
    };
    let small =
        |head: &str| ServerHandshake::new(Instant::ZERO, &SMALL).recv(Instant::ZERO, head.as_bytes()).err();
    assert_eq!(small(&upgrade().to_string()), None);
    assert_eq!(small(&upgrade().with("X", "y").to_string()).map(fault), Some(TooManyFields));
    assert_eq!(small(&upgrade().target("/a").to_string()), Some(Rejection::TargetTooLong));
    assert_eq!(small(&upgrade().replace("Host", &"h".repeat(38)).to_string()).map(fault), Some(LineTooLong));
    assert_eq!(small(&upgrade().replace("Host", &"h".repeat(37)).to_string()), None);
    let long =
        upgrade().replace("Host", &"h".repeat(37)).replace("Connection", "Upgrade, aaaaaaaaaaaaaaaaaaaa");
    assert_eq!(small(&long.to_string()).map(fault), Some(HeadTooLong));
}

/// HS-31: one deadline for the head, which stops when the head is complete.
#[test]
fn hs_31_deadline() {
    let head = upgrade().to_string();
    let (first, rest) = head.as_bytes().split_at(40);
    let ten = Instant::from_secs(10);
    let before = Instant::from_micros(ten.as_micros() - 1);

    let mut handshake = new(true);
    assert_eq!(handshake.deadline(), Some(ten));
    // Bytes do not move it.
    assert!(handshake.recv(Instant::from_secs(9), first).unwrap().is_none());
    assert_eq!(handshake.deadline(), Some(ten));
    assert_eq!(handshake.tick(before), Ok(()));
    assert_eq!(handshake.tick(ten), Err(Rejection::Timeout));
    assert_eq!((Rejection::Timeout.status(), handshake.deadline()), (408, None));
    assert_eq!(handshake.recv(ten, head.as_bytes()).err(), Some(Rejection::Timeout));
    let mut out = [0; 512];
    let len = handshake.reject_as(ten, Rejection::Timeout, &mut out).unwrap();
    assert!(out[..len].starts_with(b"HTTP/1.1 408 "));

    // A read tells the time as well as a tick.
    let mut handshake = new(true);
    assert_eq!(handshake.recv(ten, first).err(), Some(Rejection::Timeout));

    // A complete head stops it: a decision may take its time.
    let mut handshake = new(true);
    assert!(handshake.recv(before, first).unwrap().is_none());
    let request = handshake.recv(before, head.as_bytes()).unwrap().unwrap();
    assert_eq!(handshake.deadline(), None);
    assert_eq!(handshake.tick(Instant::from_secs(3600)), Ok(()));
    assert!(handshake.accept(&request, Accept::default(), &mut out).is_ok());
    assert!(!rest.is_empty());
}

/// HS-33: no byte is parsed after a refusal, by the core or by the application.
#[test]
fn hs_33_nothing_after_a_refusal() {
    let good = upgrade().to_string();
    let bad = upgrade().method("PUT").to_string();
    let mut out = [0; 512];
    let mut handshake = new(true);
    let both = format!("{bad}{good}");
    assert_eq!(handshake.recv(Instant::ZERO, both.as_bytes()).err(), Some(Rejection::MethodNotGet));
    // Not even when the caller shows other bytes.
    assert_eq!(handshake.recv(Instant::ZERO, good.as_bytes()).err(), Some(Rejection::MethodNotGet));
    handshake.reject_as(Instant::ZERO, Rejection::MethodNotGet, &mut out).unwrap();
    assert!(handshake.recv(Instant::ZERO, good.as_bytes()).unwrap().is_none());
    assert_eq!(handshake.consumed(), None);

    with_request(good.as_bytes(), |handshake, request| {
        handshake.reject(Instant::ZERO, 403, &[], b"", &mut out).unwrap();
        assert!(handshake.recv(Instant::ZERO, good.as_bytes()).unwrap().is_none());
        assert_eq!(handshake.accept(&request, Accept::default(), &mut out), Err(AnswerError::NotWaiting));
        assert_eq!(handshake.transport(), Transport::Shutdown);
    });
}

/// HS-39: after a refusal the connection lingers: until EOF, 64 KiB or 2 s.
#[test]
fn hs_39_linger() {
    let refused = || {
        let mut handshake = new(true);
        assert!(handshake.recv(Instant::ZERO, b"nonsense\r\n\r\n").is_err());
        assert_eq!(handshake.transport(), Transport::Shutdown);
        let mut out = [0; 512];
        handshake.reject_as(Instant::from_secs(1), Rejection::RequestLine, &mut out).unwrap();
        // The answer is sent, and may not take forever.
        assert_eq!(
            (handshake.transport(), handshake.deadline()),
            (Transport::Shutdown, Some(Instant::from_secs(11)))
        );
        handshake
    };
    let lingering = || {
        let mut handshake = refused();
        handshake.shut_down(Instant::from_secs(3));
        assert_eq!(
            (handshake.transport(), handshake.deadline()),
            (Transport::Shutdown, Some(Instant::from_secs(5)))
        );
        handshake
    };
    let mut handshake = refused();
    assert_eq!(handshake.tick(Instant::from_secs(11)), Ok(()));
    assert_eq!(handshake.transport(), Transport::Close);

    let mut handshake = lingering();
    assert_eq!(handshake.tick(Instant::from_micros(4_999_999)), Ok(()));
    assert_eq!(handshake.transport(), Transport::Shutdown);
    assert_eq!(handshake.tick(Instant::from_secs(5)), Ok(()));
    assert_eq!((handshake.transport(), handshake.deadline()), (Transport::Close, None));

    let mut handshake = lingering();
    handshake.discard(LINGER_BYTES - 1);
    assert_eq!(handshake.transport(), Transport::Shutdown);
    handshake.discard(1);
    assert_eq!(handshake.transport(), Transport::Close);

    let mut handshake = lingering();
    handshake.recv_eof(Instant::from_secs(4));
    assert_eq!(handshake.transport(), Transport::Close);

    // What ends the lingering before the answer is out lets it go out first.
    for by_eof in [false, true] {
        let mut handshake = refused();
        if by_eof {
            handshake.recv_eof(Instant::from_secs(2));
        } else {
            handshake.discard(LINGER_BYTES);
        }
        assert_eq!(handshake.transport(), Transport::Shutdown);
        handshake.shut_down(Instant::from_secs(3));
        assert_eq!(handshake.transport(), Transport::Close);
    }

    // A clock that runs backwards is taken to stand still (N-06).
    let mut handshake = refused();
    handshake.shut_down(Instant::ZERO);
    assert_eq!(handshake.deadline(), Some(Instant::from_secs(3)));

    // The transport ends inside the head: there is no client left to answer.
    let mut handshake = new(true);
    assert!(handshake.recv(Instant::ZERO, b"GET").unwrap().is_none());
    handshake.recv_eof(Instant::ZERO);
    assert_eq!((handshake.transport(), handshake.deadline()), (Transport::Close, None));
}
