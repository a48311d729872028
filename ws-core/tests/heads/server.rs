//! Feeds heads to a server: the outcome, however they are cut.

use ws_core::{Accept, AnswerError, Config, Instant, Rejection, Request, ServerHandshake};

static CONFIG: Config = Config::server();

/// The outcome of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More is needed.
    More,
    /// An upgrade, or another request.
    Request {
        upgrade: bool,
        seen: String,
    },
    Refused(Rejection),
}

pub(crate) fn new(only: bool) -> ServerHandshake {
    if only {
        ServerHandshake::new(Instant::ZERO, &CONFIG)
    } else {
        ServerHandshake::beside_http(Instant::ZERO, &CONFIG)
    }
}

pub(crate) fn seen(request: &Request<'_>) -> String {
    let fields: Vec<_> = request.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let protocols: Vec<_> = request.protocols().collect();
    let extensions: Vec<_> = request
        .extensions()
        .map(|extension| {
            let params: Vec<_> = extension
                .params()
                .map(|(name, value)| {
                    (name, value.map(|value| value.bytes().map(char::from).collect::<String>()))
                })
                .collect();
            (extension.name(), params)
        })
        .collect();
    format!(
        "{} {:?} {:?} {:?} {} {:?} {fields:?} {protocols:?} {extensions:?} {:?} {:?} {} {}",
        request.method(),
        request.target(),
        request.path(),
        request.query(),
        request.http_minor(),
        request.host(),
        request.origin(),
        request.rejection(),
        request.expects_continue(),
        request.head_len(),
    )
}

pub(crate) fn show(handshake: &mut ServerHandshake, input: &[u8]) -> Outcome {
    match handshake.recv(Instant::ZERO, input) {
        Ok(None) => Outcome::More,
        Ok(Some(request)) => Outcome::Request { upgrade: request.is_upgrade(), seen: seen(&request) },
        Err(rejection) => Outcome::Refused(rejection),
    }
}

/// The outcome of a head shown at once; then cut in two at every byte, and byte by byte, which must be the same.
pub(crate) fn outcome(only: bool, head: &[u8]) -> Outcome {
    let at_once = show(&mut new(only), head);
    let mut bytewise = new(only);
    let mut last = Outcome::More;
    for end in 0..=head.len() {
        last = show(&mut bytewise, &head[..end]);
        if last != Outcome::More {
            break;
        }
        let mut cut = new(only);
        assert_eq!(show(&mut cut, &head[..end]), Outcome::More);
        assert_eq!(show(&mut cut, head), at_once, "cut at {end}: {:?}", String::from_utf8_lossy(head));
    }
    assert_eq!(last, at_once, "byte by byte: {:?}", String::from_utf8_lossy(head));
    at_once
}

/// How many bytes of a bad head it takes to refuse it.
pub(crate) fn decided_at(head: &[u8]) -> (usize, Rejection) {
    let mut handshake = new(true);
    for end in 0..=head.len() {
        if let Err(rejection) = handshake.recv(Instant::ZERO, &head[..end]) {
            return (end, rejection);
        }
    }
    panic!("not refused: {:?}", String::from_utf8_lossy(head));
}

pub(crate) fn is_accepted(head: impl AsRef<[u8]>) -> bool {
    matches!(outcome(true, head.as_ref()), Outcome::Request { upgrade: true, .. })
}

pub(crate) fn refused(head: impl AsRef<[u8]>) -> Rejection {
    match outcome(true, head.as_ref()) {
        Outcome::Refused(rejection) => rejection,
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(head.as_ref())),
    }
}

/// Checks that the head is accepted where plain HTTP is also served, and is not an upgrade.
pub(crate) fn is_handed_over(head: impl AsRef<[u8]>) -> bool {
    matches!(outcome(false, head.as_ref()), Outcome::Request { upgrade: false, .. })
}

pub(crate) fn with_request<R>(head: &[u8], use_it: impl FnOnce(&mut ServerHandshake, Request<'_>) -> R) -> R {
    let mut handshake = new(true);
    let request = handshake.recv(Instant::ZERO, head).expect("well-formed").expect("complete");
    use_it(&mut handshake, request)
}

pub(crate) fn answer(head: &[u8], accept: Accept<'_>) -> Result<String, AnswerError> {
    with_request(head, |handshake, request| {
        let mut out = [0; 2048];
        let len = handshake.accept(&request, accept, &mut out)?;
        Ok(String::from_utf8(out[..len].to_vec()).expect("ASCII"))
    })
}

pub(crate) fn refusal(rejection: Rejection) -> String {
    let mut handshake = new(true);
    let _ = handshake.tick(Instant::from_secs(10));
    let mut out = [0; 1024];
    let len = handshake.reject_as(Instant::ZERO, rejection, &mut out).expect("room");
    String::from_utf8(out[..len].to_vec()).expect("ASCII")
}

pub(crate) fn fault(rejection: Rejection) -> ws_core::handshake::HeadFault {
    match rejection {
        Rejection::Head(fault) => fault,
        other => panic!("{other:?}"),
    }
}
