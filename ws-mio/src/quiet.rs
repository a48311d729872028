//! An idle connection: what is left of a [`Socket`] that has nothing to do.
//!
//! A socket has room for a request, a buffer, a queue, an error. At any moment nearly all connections of a busy server need
//! none of them, and a loop keeps only this of those. Live compression state counts as something to do, until it is parked.

use std::mem;

use ws_core::{AtRest, Transport};

use crate::socket::Socket;
use crate::stream::Stream;

#[derive(Debug)]
pub(crate) struct Quiet<S> {
    pub(crate) session: AtRest,
    pub(crate) io: S,
}

impl<S: Stream> Socket<S> {
    /// Whether it consists of the connection and the stream alone.
    pub(crate) fn is_quiet(&self) -> bool {
        let connection = self.session.connection_ref();
        self.opening.is_none()
            && self.dial.is_none()
            && !self.readable
            && !self.wire.is_in_use()
            && self.session.is_at_rest()
            && connection.pending() == 0
            && connection.transport() == Transport::Open
            && self.is_untroubled()
    }

    /// What is left of a quiet socket.
    pub(crate) fn into_quiet(self) -> Quiet<S> {
        Quiet { session: self.session.into_at_rest(), io: self.wire.io }
    }

    /// The connection in hand is one that was quiet: a client's limit is another than a server's.
    #[inline]
    pub(crate) fn adopt_limit(&mut self) {
        self.wire.set_max_queue(self.session.connection_ref().config().limits.max_queue);
    }

    /// Exchanges what a quiet socket consists of. With another one at hand this moves a connection into a socket and
    /// back for less than making one.
    #[inline]
    pub(crate) fn exchange(&mut self, quiet: &mut Quiet<S>) {
        self.session.exchange(&mut quiet.session);
        mem::swap(&mut self.wire.io, &mut quiet.io);
    }
}
