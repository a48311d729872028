//! The texts of errors, and what their chains add.

use std::error::Error;
use std::io;

use ws_actor::testing::TestError;
use ws_actor::{
    AttachError, AuthenticateError, CastError, CloseFrame, ConnId, ConnectError, DecodeError, DialError,
    EncodeError, JoinError, ManifestError, Message, RedirectError, RetargetError, SendError, SpawnError,
    TypedSendError,
};

fn broken() -> io::Error {
    io::Error::other("it is broken")
}

fn all() -> Vec<Box<dyn Error>> {
    let mut all: Vec<Box<dyn Error>> = Vec::new();
    let uri = ws_core::Uri::parse("ftp://x").unwrap_err();
    let failed = [
        ConnectError::Uri(uri),
        ConnectError::RequestLine,
        ConnectError::Entropy(broken()),
        ConnectError::Resolve(broken()),
        ConnectError::Connect(broken()),
        ConnectError::Tls(broken()),
        ConnectError::TlsUnavailable,
        ConnectError::Lost(broken()),
        ConnectError::Timeout,
        ConnectError::Status(Box::default()),
        ConnectError::Redirect(RedirectError::TooMany),
    ];
    all.extend(failed.map(|error| DialError::from(error).into()));
    let (actor, path) = (|| "actor".to_owned(), || "path".to_owned());
    all.extend([
        ManifestError::Listen(broken()).into(),
        ManifestError::UnknownKind { actor: actor(), kind: "kind".into() }.into(),
        ManifestError::UnknownAuth { path: path(), auth: "auth".into() }.into(),
        ManifestError::UnknownTarget { path: path(), target: actor() }.into(),
        ManifestError::NoTarget { path: path() }.into(),
        ManifestError::SamePath(path()).into(),
        ManifestError::Spawn { actor: actor(), error: SpawnError::NameTaken }.into(),
        TestError::Silent.into(),
        TestError::Unexpected(Message::text("x")).into(),
        TestError::Ended(CloseFrame::new(1000, "bye")).into(),
        TestError::Unsent(ws_tokio::Error::Lost(broken())).into(),
    ]);
    all.extend([DialError::NoTarget, DialError::ShutDown].map(Into::into));
    all.extend([AttachError::NoTarget, AttachError::ShutDown, AttachError::Taken].map(Into::into));
    let invalid = SendError::Invalid(ws_core::SendError::UnsendableCode);
    all.extend([SendError::NotFound, SendError::Closed, SendError::Full, invalid].map(Into::into));
    all.extend([CastError::Full, CastError::Down, CastError::WrongType].map(Into::into));
    all.extend([RetargetError::NotFound, RetargetError::Closed, RetargetError::NoTarget].map(Into::into));
    all.extend([JoinError::NotFound, JoinError::TooManyRooms, JoinError::NameTooLong].map(Into::into));
    let many = AuthenticateError::TooMany;
    all.extend([AuthenticateError::NotFound, AuthenticateError::Closed, many].map(Into::into));
    all.extend([SpawnError::NameTaken, SpawnError::NoRuntime].map(Into::into));
    all.extend([DecodeError::WrongKind, DecodeError::malformed("x")].map(Into::into));
    all.push(TypedSendError::Encode(EncodeError::new(broken())).into());
    all.push(TypedSendError::Send(SendError::Full).into());
    all.push("x".parse::<ConnId>().unwrap_err().into());
    all
}

/// K1: an error's own text is complete, and its chain repeats nothing.
#[test]
fn nothing_is_said_twice() {
    let mut texts = Vec::new();
    for error in all() {
        let chain: Vec<_> = std::iter::successors(Some(&*error), |error| (**error).source()).collect();
        let said: Vec<_> = chain.iter().map(ToString::to_string).collect();
        assert!(said.iter().all(|text| !text.is_empty()));
        for (at, text) in said.iter().enumerate() {
            assert!(!said[..at].iter().any(|before| before.contains(text)), "{said:?}");
        }
        // One line, and of a broken transport what broke.
        assert!(!said[0].contains('\n') && said[0].matches("it is broken").count() <= 1, "{said:?}");
        texts.push(said[0].clone());
    }
    assert_eq!(texts.iter().filter(|text| text.contains("it is broken")).count(), 8);
    // A user of this crate has its features to choose from.
    assert!(texts.iter().any(|text| text == "wss needs the feature `tls` of ws-actor"));
}
