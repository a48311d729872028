//! At most one connection in the CONNECTING state for each address (RFC 6455, section 4.1).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

/// Makes connections to the same IP address and port wait until the one before is open, or has failed.
///
/// Browsers must do so: "If the client already has a WebSocket connection to the remote host (IP address) […], the
/// client MUST wait until that connection has been established or for that connection to have failed" (RFC 6455, section
/// 4.1). It keeps a page from flooding a host. Clients that are servers themselves usually do without it.
///
/// Clones are the same limiter. Waiting is in order, and does not count against the handshake's deadline.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    gates: Arc<Mutex<Gates>>,
}

type Gates = HashMap<SocketAddr, Arc<Gate<()>>>;

impl Limiter {
    /// A new limiter, with no connection waiting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for the turn to connect to this address.
    pub(super) async fn turn(&self, address: SocketAddr) -> Turn {
        let gate = self.gates().entry(address).or_default().clone();
        let mut turn = Turn { limiter: self.clone(), address, gate: Some(gate.clone()), guard: None };
        turn.guard = Some(gate.lock_owned().await);
        turn
    }

    fn gates(&self) -> std::sync::MutexGuard<'_, Gates> {
        // No code panics while it holds the lock.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn, or the place in the queue. When it is dropped, the next in the queue has the turn.
#[derive(Debug)]
pub(super) struct Turn {
    limiter: Limiter,
    address: SocketAddr,
    gate: Option<Arc<Gate<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut gates = self.limiter.gates();
        self.gate = None;
        // The map holds the last reference, so nothing waits; addresses do not pile up.
        if gates.get(&self.address).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HC-20: what is remembered goes with the last that waits, also one that gave up.
    #[tokio::test]
    async fn nothing_is_left_behind() {
        let limiter = Limiter::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let first = limiter.turn(address).await;
        {
            let mut second = std::pin::pin!(limiter.turn(address));
            let waits = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(std::future::Future::poll(second.as_mut(), cx).is_pending())
            });
            assert!(waits.await);
            assert_eq!(limiter.gates().len(), 1);
        }
        assert_eq!(limiter.gates().len(), 1);
        drop(first);
        assert_eq!(limiter.gates().len(), 0);
    }
}
