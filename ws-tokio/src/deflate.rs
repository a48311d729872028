//! permessage-deflate in the handshakes (RFC 7692): offered and accepted as [`Config::deflate`](ws_core::Config) says.
//!
//! All that depends on the feature `deflate` is in this module; without it nothing is ever agreed on.

#[cfg(feature = "deflate")]
pub(crate) use with::*;
#[cfg(not(feature = "deflate"))]
pub(crate) use without::*;

#[cfg(feature = "deflate")]
mod with {
    use std::time::Duration;

    pub(crate) use ws_core::deflate::Agreement;
    use ws_core::deflate::Line;
    use ws_core::{Config, Connection, Endpoint, HandshakeError, Part, Request, Response, Sender, Session};

    /// A server's answer to what the client offers.
    pub(crate) fn accept(config: &Config, request: &Request<'_>) -> Option<(Agreement, Line)> {
        config.deflate.as_ref()?.accept(request.extensions())
    }

    /// What a client offers.
    pub(crate) fn offer(config: &Config) -> Option<Line> {
        Some(config.deflate.as_ref()?.offer())
    }

    /// What the server made of it.
    pub(crate) fn check(
        config: &Config,
        response: &Response<'_>,
    ) -> Result<Option<Agreement>, HandshakeError> {
        match &config.deflate {
            Some(settings) if response.is_open() => settings.check(response.extensions()),
            _ => Ok(None),
        }
    }

    pub(crate) fn enable(session: &mut Session<Vec<u8>>, agreement: &Agreement) {
        session.enable_deflate(agreement);
    }

    #[inline]
    pub(crate) fn is_live<C: Endpoint>(session: &Session<Vec<u8>, C>) -> bool {
        session.has_live_deflate()
    }

    pub(crate) fn idle(config: &Config) -> Duration {
        config.deflate_idle()
    }

    pub(crate) fn sender_is_live(sender: &Sender) -> bool {
        sender.has_live_deflate()
    }

    pub(crate) fn park_sender(sender: &mut Sender) -> bool {
        sender.park_idle()
    }

    pub(crate) fn park<C: Endpoint>(session: &mut Session<Vec<u8>, C>) -> bool {
        session.park_idle()
    }

    pub(crate) fn compresses(sender: &Sender, len: usize, part: Part) -> bool {
        sender.will_compress(len, part)
    }

    pub(crate) fn connection_compresses(connection: &Connection, len: usize, part: Part) -> bool {
        connection.will_compress(len, part)
    }
}

#[cfg(not(feature = "deflate"))]
mod without {
    use std::time::Duration;

    use ws_core::{Config, Connection, Endpoint, HandshakeError, Part, Request, Response, Sender, Session};

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Agreement {}

    pub(crate) fn accept(_: &Config, _: &Request<'_>) -> Option<(Agreement, &'static str)> {
        None
    }

    pub(crate) fn offer(_: &Config) -> Option<&'static str> {
        None
    }

    pub(crate) fn check(_: &Config, _: &Response<'_>) -> Result<Option<Agreement>, HandshakeError> {
        Ok(None)
    }

    pub(crate) fn enable(_: &mut Session<Vec<u8>>, agreement: &Agreement) {
        match *agreement {}
    }

    pub(crate) fn is_live<C: Endpoint>(_: &Session<Vec<u8>, C>) -> bool {
        false
    }

    pub(crate) fn idle(_: &Config) -> Duration {
        Duration::MAX
    }

    pub(crate) fn sender_is_live(_: &Sender) -> bool {
        false
    }

    pub(crate) fn park_sender(_: &mut Sender) -> bool {
        false
    }

    pub(crate) fn park<C: Endpoint>(_: &mut Session<Vec<u8>, C>) -> bool {
        false
    }

    pub(crate) fn compresses(_: &Sender, _: usize, _: Part) -> bool {
        false
    }

    pub(crate) fn connection_compresses(_: &Connection, _: usize, _: Part) -> bool {
        false
    }
}
