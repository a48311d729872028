//! permessage-deflate (RFC 7692) of a connection: what is agreed on in the handshakes, and when it compresses.
//!
//! All that depends on the feature `deflate` stands here and in [`Route::deflate`](crate::Route); without it nothing is
//! ever agreed on.

use ws_core::{Config, Connection, Request, Session};

#[cfg(feature = "deflate")]
pub(crate) use with::*;
#[cfg(not(feature = "deflate"))]
pub(crate) use without::*;

/// A connection, and what was agreed on in its handshake.
pub(crate) struct Negotiated {
    connection: Connection,
    agreement: Option<Agreement>,
}

impl Negotiated {
    pub(crate) fn new(connection: Connection, agreement: Option<Agreement>) -> Self {
        Self { connection, agreement }
    }

    pub(crate) fn into_session(self) -> Session<Vec<u8>> {
        let mut session = Session::new(self.connection);
        if let Some(agreement) = &self.agreement {
            enable_in(&mut session, agreement);
        }
        session
    }
}

impl From<Connection> for Negotiated {
    fn from(connection: Connection) -> Self {
        Self::new(connection, None)
    }
}

/// A server's answer to what the client offers: what it comes to, and the value of the line that says so.
pub(crate) struct Extensions {
    pub(crate) agreement: Option<Agreement>,
    line: Option<Line>,
}

impl Extensions {
    pub(crate) fn agreed(config: &Config, request: &Request<'_>) -> Self {
        let (agreement, line) = accept(config, request).unzip();
        Self { agreement, line }
    }

    pub(crate) fn line(&self) -> &str {
        self.line.as_ref().map_or("", |line| line)
    }
}

#[cfg(feature = "deflate")]
mod with {
    use std::time::Duration;

    use tokio::io::{AsyncRead, AsyncWrite};
    pub(crate) use ws_core::deflate::{Agreement, Line};
    use ws_core::{Config, Connection, HandshakeError, Part, Request, Session};
    use ws_tokio::WebSocket;

    pub(super) fn accept(config: &Config, request: &Request<'_>) -> Option<(Agreement, Line)> {
        config.deflate.as_ref()?.accept(request.extensions())
    }

    /// What a server made of what was offered to it, as ws-tokio has checked it.
    pub(crate) fn answered(response: &http::Response<()>) -> Result<Option<Agreement>, HandshakeError> {
        Ok(response.extensions().get().copied())
    }

    pub(super) fn enable_in(session: &mut Session<Vec<u8>>, agreement: &Agreement) {
        session.enable_deflate(agreement);
    }

    /// Has ws-tokio keep to what was agreed on.
    pub(crate) fn enable<S>(socket: &mut WebSocket<S>, agreement: Option<Agreement>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(agreement) = &agreement {
            socket.enable_deflate(agreement);
        }
    }

    /// How long what is live may lie idle; `None` when nothing is live.
    #[inline]
    pub(crate) fn idle(session: &Session<Vec<u8>>) -> Option<Duration> {
        session.has_live_deflate().then(|| session.connection_ref().config().deflate_idle())
    }

    pub(crate) fn park(session: &mut Session<Vec<u8>>) {
        session.park_idle();
    }

    #[inline]
    pub(crate) fn compresses(connection: &Connection, len: usize, part: Part) -> bool {
        connection.will_compress(len, part)
    }
}

#[cfg(not(feature = "deflate"))]
mod without {
    use std::time::Duration;

    use ws_core::{Config, Connection, HandshakeError, Part, Request, Session};
    use ws_tokio::WebSocket;

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Agreement {}

    pub(crate) type Line = &'static str;

    pub(super) fn accept(_: &Config, _: &Request<'_>) -> Option<(Agreement, Line)> {
        None
    }

    /// Another crate may have switched the feature on in ws-tokio; what it then agrees on cannot be kept here.
    pub(crate) fn answered(response: &http::Response<()>) -> Result<Option<Agreement>, HandshakeError> {
        match response.headers().get(http::header::SEC_WEBSOCKET_EXTENSIONS) {
            Some(_) => Err(HandshakeError::ExtensionNotOffered),
            None => Ok(None),
        }
    }

    pub(super) fn enable_in(_: &mut Session<Vec<u8>>, agreement: &Agreement) {
        match *agreement {}
    }

    pub(crate) fn enable<S>(_: &mut WebSocket<S>, _: Option<Agreement>) {}

    pub(crate) fn idle(_: &Session<Vec<u8>>) -> Option<Duration> {
        None
    }

    pub(crate) fn park(_: &mut Session<Vec<u8>>) {}

    pub(crate) fn compresses(_: &Connection, _: usize, _: Part) -> bool {
        false
    }
}
