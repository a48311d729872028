//! permessage-deflate (RFC 7692): accepted as [`Config::deflate`](ws_core::Config) says, and parked when it lies idle.
//!
//! Everything that depends on the feature `deflate` is in this file; without the feature nothing is ever agreed on.

#[cfg(feature = "deflate")]
pub(crate) use with::*;
#[cfg(not(feature = "deflate"))]
pub(crate) use without::*;

#[cfg(feature = "deflate")]
mod with {
    use std::time::Duration;

    pub(crate) use ws_core::deflate::Agreement;
    use ws_core::deflate::{Line, Pool, PoolLimits};
    use ws_core::{Config, ConfigRef, Connection, HandshakeError, Part, Request, Response, Session};

    /// The configuration of one of several loops. Unless a pool was asked for, each loop has a pool to itself: then the
    /// state that a connection compresses with was last used on the same core, and no loop waits for another.
    pub(crate) fn for_a_loop(config: &ConfigRef, loops: usize) -> ConfigRef {
        let mut own = Config::clone(config);
        let Some(deflate) = own.deflate.as_mut().filter(|deflate| deflate.pool.is_none()) else {
            return config.clone();
        };
        let mut limits = PoolLimits::new();
        for most in [&mut limits.inflaters, &mut limits.deflaters, &mut limits.buffers] {
            *most = most.div_ceil(loops.max(1));
        }
        deflate.pool = Some(Pool::new(limits));
        own.into()
    }

    /// A server's answer to a client's offer.
    pub(crate) fn accept(config: &Config, request: &Request<'_>) -> Option<(Agreement, Line)> {
        config.deflate.as_ref()?.accept(request.extensions())
    }

    /// What a client offers.
    pub(crate) fn offer(config: &Config) -> Option<Line> {
        Some(config.deflate.as_ref()?.offer())
    }

    /// Checks the server's answer to it.
    pub(crate) fn check(
        config: &Config,
        response: &Response<'_>,
    ) -> Result<Option<Agreement>, HandshakeError> {
        match &config.deflate {
            Some(settings) => settings.check(response.extensions()),
            None => Ok(None),
        }
    }

    pub(crate) fn enable(session: &mut Session<Vec<u8>>, agreement: &Agreement) {
        session.enable_deflate(agreement);
    }

    /// Whether messages may come compressed.
    #[inline]
    pub(crate) fn is_agreed(session: &Session<Vec<u8>>) -> bool {
        session.agreement().is_some()
    }

    #[inline]
    pub(crate) fn is_live(session: &Session<Vec<u8>>) -> bool {
        session.has_live_deflate()
    }

    pub(crate) fn idle(config: &Config) -> Duration {
        config.deflate_idle()
    }

    pub(crate) fn park(session: &mut Session<Vec<u8>>) {
        session.park_idle();
    }

    pub(crate) fn compresses(connection: &Connection, len: usize, part: Part) -> bool {
        connection.will_compress(len, part)
    }

    pub(crate) fn has_context(connection: &mut Connection) -> bool {
        connection.has_context()
    }

    pub(crate) fn forget_context(connection: &mut Connection) {
        connection.forget_context();
    }
}

#[cfg(not(feature = "deflate"))]
mod without {
    use std::time::Duration;

    use ws_core::{Config, ConfigRef, Connection, HandshakeError, Part, Request, Response, Session};

    pub(crate) fn for_a_loop(config: &ConfigRef, _: usize) -> ConfigRef {
        config.clone()
    }

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

    #[inline]
    pub(crate) fn is_agreed(_: &Session<Vec<u8>>) -> bool {
        false
    }

    #[inline]
    pub(crate) fn is_live(_: &Session<Vec<u8>>) -> bool {
        false
    }

    pub(crate) fn idle(_: &Config) -> Duration {
        Duration::MAX
    }

    pub(crate) fn park(_: &mut Session<Vec<u8>>) {}

    pub(crate) fn compresses(_: &Connection, _: usize, _: Part) -> bool {
        false
    }

    pub(crate) fn has_context(_: &mut Connection) -> bool {
        false
    }

    pub(crate) fn forget_context(_: &mut Connection) {}
}
