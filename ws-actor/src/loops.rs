//! Open connections on loops of ws-mio instead of tokio tasks.
//!
//! Heads are read, decisions made and plain HTTP served on tokio in either case, for decisions are async functions and
//! HTTP is hyper's. When the `101` has left, a connection over plain TCP is given to a loop, which drives it from there
//! on (`driver.rs`): the same `Link` (`link.rs`), so that its actor, its rooms and everything that sends to it see no
//! difference. A connection that is not plain TCP, such as TLS, stays a task.

use std::any::Any;
use std::io;
use std::sync::Arc;

use ws_core::{Config, Session};
use ws_mio::Remote;

use crate::conn::{Open, epoch};

use crate::patience::Patience;

mod driver;
mod plain;

use driver::{Attached, Driver};
use plain::take_tcp;

/// Threads that drive open connections, each with a loop of [`ws_mio`]: for servers with many connections, which take a
/// third of the memory that they take as tasks, and whose sockets are served beside the runtime that the actors run on.
/// [`Server::on_loops`](crate::Server::on_loops) chooses them; nothing else changes.
///
/// Between a loop and an actor every message changes threads. Where many are under way that costs nothing; one question and
/// one answer at a time cost half as much processor time again as between tasks of one thread.
///
/// This is a handle, and cheap to clone; several servers may share one. When the last one is gone, and every server that
/// had it, the threads end with their last connections.
#[derive(Clone, Debug)]
pub struct Loops(Arc<Running>);

#[derive(Debug)]
struct Running {
    remote: Remote,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.wind_down();
    }
}

impl Loops {
    /// Starts `count` threads, at least one. A good number is that of the cores that are not needed for actors.
    ///
    /// # Errors
    /// The system has no room for a thread, or for what a loop waits with.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut settings = ws_mio::Settings::new();
        settings.loops = count.max(1);
        settings.epoch = epoch();
        settings.config = Config::server().into();
        let server = ws_mio::Server::unbound(settings)?;
        let remote = server.remote();
        std::thread::Builder::new().name("ws-mio 0".into()).spawn(move || server.run(|_| Driver))?;
        Ok(Self(Arc::new(Running { remote })))
    }

    /// How many connections they have.
    pub fn connection_count(&self) -> usize {
        self.0.remote.connection_count()
    }

    /// Drives an open connection from here on; one that is not for a loop comes back.
    pub(crate) fn take<S: 'static>(&self, open: Open<S>, patience: &Arc<Patience>) -> Option<Open<S>> {
        let Open { io, early, connection, link, watch } = open;
        let mut io = Some(io);
        let Some((tcp, unread)) = take_tcp(&mut io) else {
            return Some(Open { io: io?, early, connection, link, watch });
        };
        // A socket that the runtime cannot let go of is lost; its link says so to the actor.
        let tcp = tcp.into_std().ok()?;
        let early = if unread.is_empty() { early } else { [&unread[..], &early].concat() };
        let mut session: Session<Vec<u8>> = connection.into_session();
        if !early.is_empty() {
            let filled = early.len();
            session.restore(early, filled);
        }
        let attached: Box<dyn Any + Send> = Box::new(Attached::new(link, Arc::clone(patience), watch));
        // Loops that have ended, for lack of memory say, drop the link as well.
        let _ = self.0.remote.adopt(tcp, session, attached);
        None
    }
}
