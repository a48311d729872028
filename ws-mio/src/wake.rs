//! Waking one connection of a loop, from anywhere.
//!
//! A waker is a pointer; what it points to knows its connection and whether the loop was told already. So it is in its
//! loop's inbox at most once, however often it is called, and calling it allocates nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::remote::{ConnId, Remote};

#[derive(Debug)]
pub(crate) struct Wake {
    remote: Remote,
    id: ConnId,
    /// It is in the inbox.
    is_told: AtomicBool,
}

impl Wake {
    /// The connection to wake. Calls from here on count again: their cause may lie after what the loop will look at now.
    pub(crate) fn hear(&self) -> ConnId {
        self.is_told.store(false, Ordering::SeqCst);
        self.id
    }
}

impl std::task::Wake for Wake {
    fn wake(self: Arc<Self>) {
        if !self.is_told.swap(true, Ordering::SeqCst) {
            let remote = self.remote.clone();
            remote.tell(self.id, self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_told.swap(true, Ordering::SeqCst) {
            self.remote.tell(self.id, Arc::clone(self));
        }
    }
}

impl Remote {
    /// Makes a waker that has [`Handler::woken`](crate::Handler::woken) called for a connection, once for all calls before
    /// the loop gets there. So a connection can wait for whatever futures wait for, without an executor.
    ///
    /// Keep it with the connection: two wakers of one connection are two calls. When the connection has ended, it does
    /// nothing.
    pub fn waker(&self, id: ConnId) -> Waker {
        Arc::new(Wake { remote: self.clone(), id, is_told: AtomicBool::new(false) }).into()
    }

    fn tell(&self, id: ConnId, wake: Arc<Wake>) {
        if let Ok(inbox) = self.inbox(id) {
            // A loop that has ended has nobody to wake.
            let _ = inbox.leave(|batch| {
                batch.wakes.push(wake);
                Ok(())
            });
        }
    }
}
