//! How much a [`Route`] or a [`Server`] accepts: how many connections, from whom, and what each may do.
//!
//! The application sets this; `places.rs` counts connections by it, `conduct.rs` holds an open one to it.

use std::sync::Arc;
use std::time::Duration;

use ws_core::Config;

use crate::conduct::{Conduct, RateLimit};
use crate::conn::now;
use crate::outbox::OutboxLimits;
use crate::places::Places;
use crate::room::MAX_ROOMS;

#[cfg(doc)]
use crate::{Relay, Route, Server};

/// Limits on the connections of a [`Route`] ([`Route::limits`]), or of a whole [`Server`] ([`Server::limits`]).
///
/// Limits on *how many* hold at both: a connection needs a place on its route and on its server, for itself, for its
/// address and for its user. Where there is none, the upgrade is answered 503. A place is taken before [`Route::decide`]
/// is called, that of a user after, and it is free again when the connection, or
/// the attempt at one, has ended, however it did.
///
/// Limits on *what one may do* are the route's if it sets them, otherwise the server's.
///
/// ```
/// use ws_actor::{Limits, Route};
///
/// let mut limits = Limits::new();
/// limits.max_connections = Some(1_000);
/// limits.max_per_ip = Some(20);
/// let route = Route::ws("/ws/chat/:room").limits(limits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum number of connections at a time. Default: any number.
    pub max_connections: Option<usize>,
    /// Maximum number of connections at a time from one address. Default: any number. Behind a proxy all come from the
    /// proxy: leave this, and count by [`Relay::user`] what the proxy says of the client.
    ///
    /// An IPv4 address is the same whether it comes as such or mapped into IPv6.
    pub max_per_ip: Option<usize>,
    /// How many leading bits of an IPv6 address make it one for `max_per_ip`. Default 64: one client usually has all
    /// addresses of such a network. 128 tells all addresses apart.
    pub ipv6_prefix: u8,
    /// Maximum number of connections at a time of one user, as named by [`Relay::user`] or
    /// [`Hub::authenticate`](crate::Hub::authenticate). Default: any number.
    pub max_per_user: Option<usize>,
    /// Maximum size of a message, all fragments together, in bytes; a larger one closes with 1009 at the frame head
    /// that says so. Default: that of [`Settings::protocol`](crate::Settings::protocol).
    pub max_message: Option<u64>,
    /// Maximum number of rooms that a connection is in. Default 128 ([`MAX_ROOMS`]).
    pub max_rooms: Option<usize>,
    /// How fast messages may come, and what happens to those that come faster. Default: any number, as fast as the
    /// actor takes them. Control frames are not counted: the protocol bounds what they make the server do.
    pub rate: Option<RateLimit>,
    /// How long a connection may be open before it is authenticated: until
    /// [`Hub::authenticate`](crate::Hub::authenticate) is called, as for a first message with a token. Then it is
    /// closed with 3502. A decision that names the user ([`Relay::user`]) authenticates it. Default: for ever; 15 s is usual
    /// ([`Limits::AUTHENTICATE_WITHIN`]).
    pub authenticate_within: Option<Duration>,
    /// How long neither side may say anything before the connection is closed with 1001. Pings do not count; a peer
    /// that is gone is noticed by them, much earlier, with or without this. Default: for ever.
    pub idle: Option<Duration>,
}

impl Limits {
    /// Time enough for a first message with credentials: 15 s.
    pub const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(15);

    /// The defaults named at the fields: nothing that the server does not limit anyway.
    pub const fn new() -> Self {
        Self {
            max_connections: None,
            max_per_ip: None,
            ipv6_prefix: 64,
            max_per_user: None,
            max_message: None,
            max_rooms: None,
            rate: None,
            authenticate_within: None,
            idle: None,
        }
    }

    /// What each connection of a route may do, given its server's limits. Both limit how many there may be.
    pub(crate) fn or(&self, server: &Self) -> Self {
        Self {
            max_message: self.max_message.or(server.max_message),
            max_rooms: self.max_rooms.or(server.max_rooms),
            rate: self.rate.or(server.rate),
            authenticate_within: self.authenticate_within.or(server.authenticate_within),
            idle: self.idle.or(server.idle),
            ..*self
        }
    }

    /// Has the protocol's settings under these limits.
    pub(crate) fn apply_to(&self, config: &mut Config) {
        let Some(max_message) = self.max_message else { return };
        let limits = &mut config.limits;
        // One frame may be the whole message, unless frames have a limit of their own.
        let has_own = limits.max_frame < limits.max_message;
        limits.max_frame = if has_own { limits.max_frame.min(max_message) } else { max_message };
        limits.max_message = max_message;
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// What one connection is bound to from its first moment on.
pub(crate) struct Bounds {
    pub(crate) outbox: Arc<OutboxLimits>,
    pub(crate) max_rooms: usize,
    pub(crate) places: Places,
    pub(crate) conduct: Option<Box<Conduct>>,
    /// The actor sees the peer's control frames too.
    pub(crate) shows_control: bool,
}

impl Bounds {
    pub(crate) fn new(outbox: impl Into<Arc<OutboxLimits>>, limits: &Limits, places: Places) -> Self {
        let conduct = Conduct::new(limits, now());
        let max_rooms = limits.max_rooms.unwrap_or(MAX_ROOMS);
        Self { outbox: outbox.into(), max_rooms, places, conduct, shows_control: false }
    }
}

impl From<OutboxLimits> for Bounds {
    fn from(outbox: OutboxLimits) -> Self {
        Self::new(outbox, &Limits::new(), Places::default())
    }
}
