//! The texts of errors, and that a chain of causes does not repeat itself.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use ws_mio::core::{
    AnswerError, HandshakeError, Rejection, RequestError, SendError, Timer, UriError, Violation,
};
use ws_mio::{ConnectError, Error, Refusal, RemoteError, TopicError};

/// A system error, and one with another inside it.
fn broken() -> [io::Error; 2] {
    [io::Error::from(ErrorKind::ConnectionRefused), io::Error::other(Error::QueueFull)]
}

fn not_connected() -> Vec<ConnectError> {
    let mut all = vec![
        ConnectError::Uri(UriError::Scheme),
        ConnectError::Request(RequestError::NoSpace { needed: 7 }),
        ConnectError::TlsUnavailable,
        ConnectError::Timeout,
        ConnectError::Handshake(HandshakeError::Eof),
        ConnectError::Status(Box::new(Refusal::new(403, "not you"))),
        ConnectError::Full,
        ConnectError::Stopped,
    ];
    for of in [
        ConnectError::Entropy,
        ConnectError::Resolve,
        ConnectError::Connect,
        ConnectError::Tls,
        ConnectError::Lost,
    ] {
        all.extend(broken().map(of));
    }
    all
}

fn all() -> Vec<Error> {
    let mut all = vec![
        Error::Request(Rejection::Timeout),
        Error::Rejected(403),
        Error::Answer(AnswerError::NotWaiting),
        Error::Timeout(Timer::Pong),
        Error::Aborted,
        Error::Refused(SendError::Closed),
        Error::NotOpen,
        Error::QueueFull,
    ];
    all.extend(broken().map(Error::Lost));
    all.extend(Violation::ALL.iter().map(|&violation| Error::Violation(violation)));
    all.extend(not_connected().into_iter().map(|error| Error::Connect(Box::new(error))));
    all
}

#[test]
fn nothing_is_said_twice() {
    let remote = [
        RemoteError::Full,
        RemoteError::Unsendable(SendError::Closed),
        RemoteError::Topic(TopicError::TooLong),
    ];
    let errors = all().into_iter().map(|error| -> Box<dyn StdError> { Box::new(error) });
    let errors =
        errors.chain(not_connected().into_iter().map(|error| -> Box<dyn StdError> { Box::new(error) }));
    for error in errors.chain(remote.map(|error| -> Box<dyn StdError> { Box::new(error) })) {
        let mut texts = Vec::new();
        let mut next: Option<&dyn StdError> = Some(&*error);
        while let Some(error) = next {
            let text = error.to_string();
            assert!(!text.is_empty());
            assert!(!texts.iter().any(|said: &String| said.contains(&text)), "{texts:?}, and then {text:?}");
            texts.push(text);
            next = error.source();
        }
    }
}

/// The errors that most people meet first.
#[test]
fn first_words() {
    let refused = || io::Error::from(ErrorKind::ConnectionRefused);
    let answered = ConnectError::Status(Box::new(Refusal::new(404, "")));
    for (error, text) in [
        (answered.into(), "the server answered 404, not 101 Switching Protocols"),
        (ConnectError::Connect(refused()).into(), "could not connect: connection refused"),
        (
            Error::Violation(Violation::MessageTooBig),
            "the peer exceeded a limit (Config::limits): message too big (RFC 6455, section 10.4)",
        ),
        (
            Error::Violation(Violation::TooManyFragments),
            "the peer exceeded a limit (Config::limits): too many fragments (RFC 6455, section 10.4)",
        ),
        (
            Error::Violation(Violation::UnmaskedFrame),
            "the peer broke the protocol: client frame without mask (RFC 6455, section 5.1)",
        ),
    ] {
        assert_eq!(Error::to_string(&error), text);
    }
}
