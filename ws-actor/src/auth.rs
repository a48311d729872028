//! Naming the user of a connection while it is open: for an application that learns it from the first message, say.

use std::fmt;
use std::sync::Arc;

use crate::actor::{Context, WsActor};
use crate::hub::Hub;
use crate::id::ConnId;

/// Why a connection was not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// No connection has this id, or it has ended.
    NotFound,
    /// The connection is closing.
    Closed,
    /// The user has reached the limit of connections ([`Limits::max_per_user`](crate::Limits::max_per_user)).
    TooMany,
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such connection",
            Self::Closed => "the connection is closing",
            Self::TooMany => "there are too many connections of this user",
        })
    }
}

impl std::error::Error for AuthenticateError {}

impl Hub {
    /// Marks a connection as authenticated, and as that of `user` if one is given. It counts as that user's from
    /// here on, and no longer as another's.
    ///
    /// A connection whose decision named its user ([`Relay::user`](crate::Relay::user)) needs none of this.
    ///
    /// # Errors
    /// [`AuthenticateError`] tells the cases; nothing has changed.
    pub fn authenticate(&self, id: ConnId, user: Option<&str>) -> Result<(), AuthenticateError> {
        let entry = self.entry(id).ok_or(AuthenticateError::NotFound)?;
        if !entry.outbox().is_open() {
            return Err(AuthenticateError::Closed);
        }
        entry.authenticate(user.map(Arc::from).as_ref()).map_err(|_| AuthenticateError::TooMany)
    }
}

impl<A: WsActor> Context<A> {
    /// Calls [`Hub::authenticate`].
    ///
    /// # Errors
    /// As there.
    pub fn authenticate(&self, id: ConnId, user: Option<&str>) -> Result<(), AuthenticateError> {
        self.hub().authenticate(id, user)
    }
}
