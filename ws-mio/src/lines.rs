//! At most one connection being made per address (RFC 6455, section 4.1), for requests that ask for that, on all loops of a
//! server together.
//!
//! 4.1: "If the client already has a WebSocket connection to the remote host (IP address) […], even if the remote host is
//! known by another name, the client MUST wait until that connection has been established or for that connection to have
//! failed." So what counts is the address that is being tried, be it the first of its call or a later one. A call that
//! waits for an address holds none.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A call that waits, on its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) loop_index: usize,
    pub(crate) number: u64,
}

/// The turn of a call has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    /// It holds this address from here on.
    pub(crate) address: SocketAddr,
}

/// The calls that wait for an address. It is in here as long as a call is connecting to it.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<SocketAddr, VecDeque<Ticket>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, VecDeque<Ticket>>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else holds the address: then it is held now. Otherwise the ticket is in its line.
    pub(crate) fn enter(&self, address: SocketAddr, ticket: Ticket) -> bool {
        let mut lines = self.lock();
        if let Some(line) = lines.get_mut(&address) {
            line.push_back(ticket);
            return false;
        }
        lines.insert(address, VecDeque::new());
        true
    }

    /// The call that held the address is connected, or has failed: the next in its line holds it.
    pub(crate) fn leave(&self, address: SocketAddr) -> Option<Ticket> {
        let mut lines = self.lock();
        let next = lines.get_mut(&address).and_then(VecDeque::pop_front);
        if next.is_none() {
            // Addresses do not pile up.
            lines.remove(&address);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HC-20: in order, each address by itself, and nothing is left behind.
    #[test]
    fn one_after_the_other() {
        let lines = Lines::default();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let ticket = |number| Ticket { loop_index: number as usize % 2, number };
        assert!(lines.enter(address(1), ticket(0)));
        assert!(lines.enter(address(2), ticket(1)));
        assert!(!lines.enter(address(1), ticket(2)));
        assert!(!lines.enter(address(1), ticket(3)));
        assert_eq!(lines.leave(address(2)), None);
        assert_eq!(lines.leave(address(1)), Some(ticket(2)));
        assert!(!lines.enter(address(1), ticket(4)));
        assert_eq!(lines.leave(address(1)), Some(ticket(3)));
        assert_eq!(lines.leave(address(1)), Some(ticket(4)));
        assert_eq!(lines.leave(address(1)), None);
        assert!(lines.lock().is_empty());
    }
}
