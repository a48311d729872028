//! A server on its own threads, and what its handlers report.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ws_mio::{Handler, Remote, Server, Settings};

use super::{PATIENCE, SILENCE, dial, read_head, until};

/// What a loop's handler is made from.
pub(crate) struct Given<S> {
    /// The loop's number.
    pub(crate) index: usize,
    pub(crate) remote: Remote,
    /// Where it reports to the test.
    pub(crate) told: Sender<S>,
}

/// Loops on their own threads, whose handlers report what they see. They end when this is dropped. A test file adds what it
/// needs for its own reports: `impl Running<Seen> { ... }`.
pub(crate) struct Running<S = ()> {
    pub(crate) address: SocketAddr,
    pub(crate) remote: Remote,
    /// For reports from outside the handlers.
    pub(crate) told: Sender<S>,
    pub(crate) seen: Receiver<S>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<S: Send + 'static> Running<S> {
    /// A server on its own port, with one loop unless `change` sets more.
    pub(crate) fn serve<H: Handler>(
        change: impl FnOnce(&mut Settings),
        app: impl Fn(Given<S>) -> H + Send + Sync + 'static,
    ) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::run(Server::bind(anywhere, one_loop(change)).expect("bound"), app)
    }

    /// Loops without a listener.
    pub(crate) fn unbound<H: Handler>(
        change: impl FnOnce(&mut Settings),
        app: impl Fn(Given<S>) -> H + Send + Sync + 'static,
    ) -> Self {
        let running = Self::run(Server::unbound(one_loop(change)).expect("loops"), app);
        assert_eq!(running.address.port(), 0);
        running
    }

    fn run<H: Handler>(server: Server, app: impl Fn(Given<S>) -> H + Send + Sync + 'static) -> Self {
        let (address, remote) = (server.local_addr(), server.remote());
        let (told, seen) = channel();
        let (to, theirs) = (told.clone(), remote.clone());
        let app = move |index| app(Given { index, remote: theirs.clone(), told: to.clone() });
        let thread = Some(std::thread::spawn(move || server.run(app)));
        Self { address, remote, told, seen, thread }
    }

    pub(crate) fn dial(&self) -> TcpStream {
        dial(self.address)
    }

    /// A connection whose handshake is done, and the answer to its request.
    pub(crate) fn greet(&self, request: &[u8]) -> (TcpStream, String) {
        let mut peer = self.dial();
        peer.write_all(request).expect("written");
        let head = read_head(&mut peer);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (peer, head)
    }

    pub(crate) fn next(&self) -> S {
        self.seen.recv_timeout(PATIENCE).expect("something")
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.seen.recv_timeout(SILENCE).is_err()
    }

    /// The outcome, once it has ended by itself.
    pub(crate) fn join(&mut self) -> std::thread::Result<io::Result<()>> {
        let thread = self.thread.take().expect("it runs");
        until("the end", || thread.is_finished());
        thread.join()
    }

    /// Checks that it ends by itself, without an error.
    pub(crate) fn end(&mut self) {
        self.join().expect("no panic").expect("no error");
    }
}

fn one_loop(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::new();
    settings.loops = 1;
    change(&mut settings);
    settings
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        self.remote.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let end = thread.join();
            assert!(matches!(end, Ok(Ok(()))) || std::thread::panicking(), "{end:?}");
        }
    }
}
