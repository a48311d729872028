//! The texts of errors: they say everything once, and what to look at.

use std::error::Error as _;
use std::io;
use std::net::Ipv4Addr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use ws_tokio::core::handshake::{AnswerError, HandshakeError, Rejection, RequestError, UriError};
use ws_tokio::core::{SendError, Timer, Violation};
use ws_tokio::{AcceptError, ConnectError, Error, RedirectError, connect};

type Cause = Box<dyn std::error::Error>;

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the pipe is broken")
}

fn response(status: u16) -> Box<http::Response<bytes::Bytes>> {
    Box::new(http::Response::builder().status(status).body(bytes::Bytes::new()).expect("well-formed"))
}

/// A reporter that prints an error and its sources repeats nothing.
#[test]
fn no_text_is_twice_in_a_chain() {
    let mut errors: Vec<Cause> = vec![
        Box::new(Error::Timeout(Timer::Write)),
        Box::new(Error::Lost(broken())),
        Box::new(Error::Refused(SendError::Closed)),
        Box::new(Error::QueueFull),
        Box::new(Error::InChunks),
        Box::new(AcceptError::Request(Rejection::MethodNotGet)),
        Box::new(AcceptError::Rejected(404)),
        Box::new(AcceptError::Answer(AnswerError::NotWaiting)),
        Box::new(AcceptError::Io(broken())),
        Box::new(ConnectError::Uri(UriError::Port)),
        Box::new(ConnectError::RequestLine),
        Box::new(ConnectError::Request(RequestError::InvalidProtocol)),
        Box::new(ConnectError::Entropy(broken())),
        Box::new(ConnectError::Resolve(broken())),
        Box::new(ConnectError::Connect(broken())),
        Box::new(ConnectError::Tls(broken())),
        Box::new(ConnectError::TlsUnavailable),
        Box::new(ConnectError::Lost(broken())),
        Box::new(ConnectError::Timeout),
        Box::new(ConnectError::Handshake(HandshakeError::Accept)),
        Box::new(ConnectError::Status(response(404))),
        Box::new(ConnectError::Proxy(response(407))),
        Box::new(ConnectError::Redirect(RedirectError::Location(UriError::Port))),
        Box::new(RedirectError::TooMany),
        Box::new(RedirectError::Insecure),
    ];
    errors.extend(Violation::ALL.iter().map(|&violation| -> Cause { Box::new(Error::Violation(violation)) }));
    for error in errors {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            texts.push(cause.to_string());
            source = cause.source();
        }
        for (i, text) in texts.iter().enumerate() {
            assert!(!text.is_empty());
            let others = texts.iter().enumerate().filter(|(j, _)| *j != i);
            others.for_each(|(_, other)| assert!(!other.contains(text.as_str()), "{texts:?}"));
        }
    }
}

/// A limit of ours is not a rule of the protocol.
#[test]
fn limits_are_named() {
    for violation in [
        Violation::FrameTooBig,
        Violation::MessageTooBig,
        Violation::TooManyFragments,
        Violation::TooManyEmptyFragments,
    ] {
        let text = Error::Violation(violation).to_string();
        assert!(text.starts_with("the peer exceeded a limit (Config::limits): "), "{text}");
    }
    let text = Error::Violation(Violation::InvalidUtf8).to_string();
    assert!(text.starts_with("the peer broke the protocol: invalid UTF-8"), "{text}");
}

/// The errors that people meet first: no one listens, or it is an HTTP server.
#[tokio::test]
async fn the_first_errors() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("open");
        stream
    });
    let error = connect(format!("ws://{address}/")).await.expect_err("no WebSocket");
    assert_eq!(error.to_string(), "the server answered 200 OK, not 101 Switching Protocols");
    drop(server.await.expect("no panic"));
    let error = connect(format!("ws://{address}/")).await.expect_err("nobody listens");
    assert!(
        matches!(&error, ConnectError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    );
    let text = error.to_string();
    assert!(text.starts_with(&format!("could not connect: {address}: ")), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert!(error.source().is_none());
}
