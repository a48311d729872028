//! A server: one loop per core, each with its own listening socket, connections and buffers.
//!
//! The kernel spreads new connections over the loops (`SO_REUSEPORT`), and a connection stays with its loop. Loops share
//! nothing that a message touches.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use ws_core::{Config, ConfigRef};

use crate::accept::Door;
use crate::handler::Handler;
use crate::remote::{Inbox, Remote};
use crate::wire::Overflow;
use crate::worker::{LISTENER, WAKER, Worker};

/// The settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Number of loops, and of threads. Default: the number of cores.
    pub loops: usize,
    /// Limits and deadlines of each accepted connection. Default: [`Config::server`].
    ///
    /// With permessage-deflate and no pool in its settings, each loop has a pool of its own, with its share of the
    /// default limits.
    pub config: ConfigRef,
    /// Limits and deadlines of each connection that the loops make. Default: [`Config::client`].
    pub client: ConfigRef,
    /// The TLS configuration of the listener. Default: none, and connections are in the clear.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The TLS configuration for connections to `wss` URLs, with your own certificates for example. Default: the roots that
    /// the system trusts.
    #[cfg(feature = "tls")]
    pub tls_client: Option<Arc<rustls::ClientConfig>>,
    /// Maximum number of connections per loop, including those that it makes, and those that only wait for their peers to
    /// hang up; others wait in the backlog. Default: no limit but the system's.
    pub max_connections: usize,
    /// Maximum number of bytes that other threads may have waiting for a loop, messages and their bookkeeping. Default 64
    /// MiB.
    pub max_inbox: usize,
    /// What happens to messages for a peer that does not read, beyond [`Limits::max_queue`](ws_core::Limits::max_queue).
    /// Default: they are refused.
    pub overflow: Overflow,
    /// Maximum number of topics that a connection may be in at a time. Default 1 024.
    pub max_topics: usize,
    /// Maximum number of events that a loop takes from the system in one turn, 1 at least. Default 1 024.
    pub max_events: usize,
    /// Maximum number of connections per loop that the system holds ready to be accepted. Default 1 024.
    pub backlog: i32,
    /// Whether to share the address with other servers of the same user that do so as well, such as a successor at an
    /// upgrade: the system spreads new connections over all of them (`SO_REUSEPORT`; Linux and Android). Default: no, and an
    /// address at which another server listens is taken.
    pub reuse_port: bool,
    /// The instant from which the loops count their time. Default: when these settings were made.
    pub epoch: std::time::Instant,
}

impl Settings {
    /// The defaults, as documented at the fields.
    pub fn new() -> Self {
        Self {
            loops: thread::available_parallelism().map_or(1, usize::from),
            config: Config::server().into(),
            client: Config::client().into(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            tls_client: None,
            max_connections: usize::MAX,
            max_inbox: 64 << 20,
            overflow: Overflow::DropNew,
            max_topics: 1024,
            max_events: 1024,
            backlog: 1024,
            reuse_port: false,
            epoch: std::time::Instant::now(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// A WebSocket server, which listens when it is made and serves when it is [run](Self::run).
///
/// ```no_run
/// # use ws_mio::{Acceptance, Handler, Peer, Refusal, Visitor, core::Event};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn request(&mut self, _: &Visitor<'_>) -> Result<Acceptance<()>, Refusal> { Ok(Acceptance::default()) }
/// #     fn event(&mut self, _: Event<'_>, _: &mut Peer<'_, ()>) {}
/// # }
/// # fn main() -> std::io::Result<()> {
/// let server = ws_mio::Server::bind("127.0.0.1:9001", ws_mio::Settings::new())?;
/// let remote = server.remote(); // for other threads: to send, and to end it
/// server.run(|_| Echo)
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    loops: Vec<(Poll, Option<Door>)>,
    remote: Remote,
    address: SocketAddr,
}

impl Server {
    /// Listens at an address: the first of them that can be had, as for the standard library's `TcpListener::bind`. Port 0
    /// is one that the system chooses. A name is looked up here, and waited for.
    ///
    /// # Errors
    /// The address is taken ([`AddrInUse`](io::ErrorKind::AddrInUse)) or not ours, there is none, or the system has no room
    /// for the loops.
    pub fn bind(addresses: impl ToSocketAddrs, settings: Settings) -> io::Result<Self> {
        let count = settings.loops.clamp(1, usize::from(u16::MAX));
        let mut result = Err(ErrorKind::InvalidInput.into());
        for address in addresses.to_socket_addrs()? {
            result = listen_all(address, count, &settings);
            if result.is_ok() {
                break;
            }
        }
        let (listeners, address) = result?;
        let doors = listeners.into_iter().map(|listener| Some(Door::new(TcpListener::from_std(listener))));
        Self::with_doors(doors, address, settings)
    }

    /// Makes loops without a listening socket, for connections that are made by [`Remote::connect`] or moved here by
    /// [`Remote::adopt`].
    ///
    /// # Errors
    /// The system has no room for the loops.
    pub fn unbound(settings: Settings) -> io::Result<Self> {
        let count = settings.loops.clamp(1, usize::from(u16::MAX));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::with_doors((0..count).map(|_| None), nowhere, settings)
    }

    fn with_doors(
        doors: impl Iterator<Item = Option<Door>>,
        address: SocketAddr,
        settings: Settings,
    ) -> io::Result<Self> {
        let (mut loops, mut inboxes) = (Vec::new(), Vec::new());
        for mut door in doors {
            let poll = Poll::new()?;
            if let Some(door) = &mut door {
                poll.registry().register(door.listener(), LISTENER, Interest::READABLE)?;
            }
            inboxes.push(Inbox::new(Waker::new(poll.registry(), WAKER)?, settings.max_inbox));
            loops.push((poll, door));
        }
        let remote = Remote {
            inboxes: Arc::from(inboxes),
            turn: Arc::new(AtomicUsize::new(0)),
            lines: Arc::default(),
            #[cfg(feature = "tls")]
            tls: settings.tls_client.clone(),
        };
        Ok(Self { settings, loops, remote, address })
    }

    /// The address at which it listens; the unspecified address, port 0, if it does not.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle to it for other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Serves until [`Remote::shutdown`]. `handler` is called once on each loop's thread, with the loop's number; the
    /// first loop is the calling thread.
    ///
    /// # Errors
    /// A loop cannot wait for events, or has no thread. Then the others have been shut down.
    ///
    /// # Panics
    /// A handler that panics takes its loop with it; the others are shut down, and the panic goes on from here.
    pub fn run<H: Handler>(self, handler: impl Fn(usize) -> H + Sync) -> io::Result<()> {
        let Self { settings, loops, remote, .. } = self;
        let serve = |index: usize, poll: Poll, door: Option<Door>| {
            // Whatever ends a loop ends the server: half of a server looks healthy and is not.
            let mut end = ShutDown { remote: &remote, index, is_orderly: false };
            let worker = Worker::new(index as u16, poll, door, &settings, remote.clone(), handler(index));
            let result = worker.run();
            end.is_orderly = result.is_ok();
            result
        };
        thread::scope(|scope| {
            let mut loops = loops.into_iter().enumerate();
            let first = loops.next();
            let mut others = Vec::new();
            let mut result = Ok(());
            for (index, (poll, door)) in loops {
                let name = format!("ws-mio {index}");
                match thread::Builder::new().name(name).spawn_scoped(scope, move || serve(index, poll, door))
                {
                    Ok(thread) => others.push(thread),
                    Err(error) => {
                        result = Err(error);
                        remote.inboxes[index].stop();
                        remote.shutdown(Duration::ZERO);
                    }
                }
            }
            if let Some((index, (poll, door))) = first {
                result = result.and(serve(index, poll, door));
            }
            for thread in others {
                result = result.and(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            result
        })
    }
}

/// Ends the server when a loop fails or panics. That loop's inbox is no longer read: what is left there or comes later
/// is refused, or dropped.
struct ShutDown<'a> {
    remote: &'a Remote,
    index: usize,
    is_orderly: bool,
}

impl Drop for ShutDown<'_> {
    fn drop(&mut self) {
        if !self.is_orderly {
            drop(self.remote.inboxes[self.index].stop());
            self.remote.shutdown(Duration::ZERO);
        }
    }
}

/// Whether the system spreads connections over sockets that listen at the same address. Elsewhere the loops share one.
const SPREADS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A listening socket for each loop, and where they listen.
fn listen_all(
    address: SocketAddr,
    count: usize,
    settings: &Settings,
) -> io::Result<(Vec<std::net::TcpListener>, SocketAddr)> {
    let is_shared = count > 1 || settings.reuse_port;
    if SPREADS && is_shared && !settings.reuse_port && address.port() != 0 {
        // With SO_REUSEPORT set the system accepts this address beside any other server of the same user that has it set,
        // too; without, only if no socket listens there. There is a small race: two servers that start at the same moment
        // may both get this far.
        drop(bind_one(address, false)?);
    }
    let listen = |address| {
        let socket = bind_one(address, is_shared)?;
        socket.listen(settings.backlog)?;
        io::Result::Ok(std::net::TcpListener::from(socket))
    };
    let first = listen(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(if SPREADS { listen(address)? } else { listeners[0].try_clone()? });
    }
    Ok((listeners, address))
}

fn bind_one(address: SocketAddr, is_shared: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    let _ = is_shared;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
