//! What is left of a session while nothing is in flight: no storage, no event.
//!
//! A server with many connections keeps them like this, and one session works for whichever of them is in hand.

use super::{Endpoint, Session};
use crate::buffer::Storage;
use crate::connection::Connection;
#[cfg(feature = "deflate")]
use crate::deflate::Inflow;

/// A connection, and the peer's compression context if one was agreed on: all that a [`Session`] needs between two
/// messages.
#[derive(Debug)]
pub struct AtRest<C = Connection> {
    connection: C,
    #[cfg(feature = "deflate")]
    inflow: Option<Box<Inflow>>,
}

impl<C> AtRest<C> {
    /// The connection, to look at.
    #[inline]
    pub fn connection_ref(&self) -> &C {
        &self.connection
    }

    /// The connection, to send with. What it sends is the only thing in flight then.
    #[inline]
    pub fn connection(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<B: Storage, C: Endpoint> Session<B, C> {
    /// Whether nothing is in flight: no storage is held, no message is half inflated, no compression state is live.
    #[inline]
    pub fn is_at_rest(&self) -> bool {
        #[cfg(feature = "deflate")]
        if self.has_live_deflate() || self.inflow.as_ref().is_some_and(|inflow| inflow.is_busy()) {
            return false;
        }
        self.buffer.size() == 0
    }

    /// What is left without the storage. Bytes in it are dropped, so ask [`is_at_rest`](Self::is_at_rest) before.
    pub fn into_at_rest(mut self) -> AtRest<C> {
        self.release_event();
        #[cfg(feature = "deflate")]
        if let Some(inflow) = self.inflow.as_mut().filter(|inflow| inflow.is_busy()) {
            inflow.drop_message(&mut self.buffer);
        }
        AtRest {
            connection: self.connection,
            #[cfg(feature = "deflate")]
            inflow: self.inflow,
        }
    }

    /// Exchanges the connection, with its context, for another. What is received goes on to the other one, so ask
    /// [`is_at_rest`](Self::is_at_rest) before.
    #[inline]
    pub fn exchange(&mut self, other: &mut AtRest<C>) {
        self.release_event();
        self.known = None;
        core::mem::swap(&mut self.connection, &mut other.connection);
        #[cfg(feature = "deflate")]
        core::mem::swap(&mut self.inflow, &mut other.inflow);
    }
}
