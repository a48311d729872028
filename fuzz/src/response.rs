//! Checks that a response's head is read the same however it arrives, never more leniently than by httparse, and opens a
//! connection only if it answers what was asked.

use ws_core::{ClientHandshake, ClientRequest, Config, Instant, Response, Transport, Uri};

use super::cuts::Cuts;

static CONFIG: Config = Config::client();
const NOW: Instant = Instant::ZERO;

/// The first byte decides the cuts; the rest is what a server sends.
///
/// The nonce is the one in RFC 6455, section 1.3, so that seeds contain the right answer.
pub fn check(data: &[u8]) {
    let Some((&how, input)) = data.split_first() else { return };
    let uri = Uri::parse("ws://example.com/chat").expect("an address");
    let mut request = ClientRequest::new(uri);
    request.protocols = &["chat", "superchat"];
    request.extensions = "x-one; a=1, x-two";
    let new = || ClientHandshake::new(NOW, &CONFIG, request, *b"the sample nonce").expect("fit to send");
    let mut handshake = new();
    let mut cuts = Cuts::new(how);
    let mut shown = 0;
    loop {
        let outcome = handshake.recv(NOW, &input[..shown]);
        let at_once = new().recv(NOW, &input[..shown]);
        assert_eq!(outcome.map(|response| response.map(parts)), at_once.map(|response| response.map(parts)));
        match outcome {
            Ok(Some(response)) => return check_response(&handshake, &response, &input[..shown]),
            Ok(None) if shown == input.len() => return,
            Ok(None) => shown += cuts.next(input.len() - shown),
            Err(error) => {
                assert_eq!(handshake.recv(NOW, input).map(|_| ()), Err(error), "final");
                assert_eq!((handshake.transport(), handshake.consumed()), (Transport::Close, None));
                return assert_eq!(handshake.recv_eof(NOW), Err(error));
            }
        }
    }
}

fn parts<'b>(response: Response<'b>) -> (&'b [u8], u16, usize, usize) {
    (response.head(), response.status(), response.end(), response.fields().count())
}

fn check_response(handshake: &ClientHandshake<'_>, response: &Response<'_>, input: &[u8]) {
    let head = response.head();
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut other = httparse::Response::new(&mut fields);
    match other.parse(head) {
        // RFC 9110, 2.5: a later minor version is read as HTTP/1.1; httparse accepts none.
        Err(httparse::Error::Version) => assert!(head.starts_with(b"HTTP/1.") && head[7] > b'1'),
        outcome => {
            assert_eq!(outcome, Ok(httparse::Status::Complete(head.len())));
            assert_eq!(other.code, Some(response.status()));
            assert!(other.headers.iter().map(|field| (field.name, field.value)).eq(response.fields()));
        }
    }
    assert!(input[..response.end()].ends_with(head));

    assert_eq!(response.is_open(), response.status() == 101);
    assert_eq!(handshake.consumed(), response.is_open().then_some(response.end()));
    if response.is_open() {
        assert_eq!(response.field("Sec-WebSocket-Accept"), Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
        assert!(response.protocol().is_none_or(|chosen| ["chat", "superchat"].contains(&chosen)));
        assert!(response.extensions().all(|extension| ["x-one", "x-two"].contains(&extension.name())));
    } else {
        assert!(!matches!(response.status(), 100..=199));
    }
}
