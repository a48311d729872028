//! Checks that a request's head is read the same however it arrives, never more leniently than by httparse, and that each
//! gets an answer that httparse can read.

use ws_core::{Accept, AnswerError, Config, Instant, Rejection, Request, ServerHandshake, Transport};

use super::cuts::Cuts;

static CONFIG: Config = Config::server();
const NOW: Instant = Instant::ZERO;

/// The first byte decides whether plain HTTP is also served, the second the cuts; the rest is what a client sends.
pub fn check(data: &[u8]) {
    let &[flags, how, ref input @ ..] = data else { return };
    let alone = flags & 1 == 0;
    let new = || {
        if alone { ServerHandshake::new(NOW, &CONFIG) } else { ServerHandshake::beside_http(NOW, &CONFIG) }
    };
    let mut handshake = new();
    let mut cuts = Cuts::new(how);
    let mut shown = 0;
    loop {
        let outcome = handshake.recv(NOW, &input[..shown]);
        let at_once = new().recv(NOW, &input[..shown]);
        assert_eq!(outcome.map(|request| request.map(parts)), at_once.map(|request| request.map(parts)));
        match outcome {
            Ok(Some(request)) => {
                check_head(&request, input);
                return check_answers(&mut handshake, &request);
            }
            Ok(None) if shown == input.len() => return,
            Ok(None) => shown += cuts.next(input.len() - shown),
            Err(rejection) => {
                assert_eq!(handshake.recv(NOW, input).map(|_| ()), Err(rejection), "final");
                return check_refusal(&mut handshake, rejection);
            }
        }
    }
}

fn parts<'b>(request: Request<'b>) -> (&'b [u8], &'b str, &'b [u8], usize) {
    (request.head(), request.method(), request.target(), request.fields().count())
}

fn check_head(request: &Request<'_>, input: &[u8]) {
    // A later minor version is read as HTTP/1.1 (RFC 9110, 2.5), and any byte of a target is the application's to
    // judge (HS-40). httparse supports neither.
    if request.http_minor() > 1 || core::str::from_utf8(request.target()).is_err() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(input), Ok(httparse::Status::Complete(request.head_len())), "{request:?}");
    assert_eq!(other.method, Some(request.method()));
    assert_eq!(other.path.map(str::as_bytes), Some(request.target()));
    assert_eq!(other.version, Some(request.http_minor()));
    assert!(other.headers.iter().map(|field| (field.name, field.value)).eq(request.fields()));
    assert!(request.target().ends_with(request.query().unwrap_or_default()));
    if request.is_upgrade() {
        assert!(request.method() == "GET" && request.http_minor() == 1);
        // What was offered passed the grammar: every list can be walked to its end.
        assert!(request.protocols().all(|token| !token.is_empty()));
        let _ = request.extensions().flat_map(|extension| extension.params()).count();
    }
}

fn check_answers(handshake: &mut ServerHandshake, request: &Request<'_>) {
    let mut out = vec![0; 1024];
    if !request.is_upgrade() {
        assert_eq!(handshake.accept(request, Accept::default(), &mut out), Err(AnswerError::NotAnUpgrade));
        assert_eq!(handshake.consumed(), None);
        let rejection = request.rejection().expect("a reason");
        return check_refusal(handshake, rejection);
    }
    let accept = Accept::default();
    let Err(AnswerError::NoSpace { needed }) = handshake.accept(request, accept, &mut []) else {
        panic!("an upgrade can be accepted");
    };
    assert_eq!(handshake.accept(request, accept, &mut out), Ok(needed));
    // HS-22: a client that waits for a 100 gets it first.
    let interim = if request.expects_continue() { &b"HTTP/1.1 100 Continue\r\n\r\n"[..] } else { b"" };
    let open = out[..needed].strip_prefix(interim).expect("an interim response");
    let (status, fields) = answer(open, 0);
    assert_eq!(status, 101);
    let count = |name: &str| fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count();
    assert_eq!(["Upgrade", "Connection", "Sec-WebSocket-Accept", "Content-Length"].map(count), [1, 1, 1, 0]);
    assert_eq!(handshake.consumed(), Some(request.head_len()));
    assert_eq!(handshake.transport(), Transport::Open);
}

fn check_refusal(handshake: &mut ServerHandshake, rejection: Rejection) {
    let mut out = vec![0; 1024];
    let len = handshake.reject_as(NOW, rejection, &mut out).expect("room for a refusal");
    let head_len = out.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let (status, fields) = answer(&out[..len], len - head_len);
    assert_eq!(status, rejection.status());
    assert!((400..=505).contains(&status));
    assert!(fields.iter().any(|(name, value)| name == "Connection" && value.contains("close")));
    assert_eq!(handshake.transport(), Transport::Shutdown);
    assert_eq!(handshake.reject_as(NOW, rejection, &mut out), Err(AnswerError::NotWaiting));
}

/// The status and the fields of what was written; its head is followed by `body` bytes.
fn answer(bytes: &[u8], body: usize) -> (u16, Vec<(String, String)>) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    assert_eq!(response.parse(bytes), Ok(httparse::Status::Complete(bytes.len() - body)));
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("ASCII");
    let fields = response.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
    (response.code.expect("a status"), fields)
}
