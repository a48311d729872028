//! The listening side of a [`Server`]: accepted streams, their first heads, and plain HTTP on the same connections.
//!
//! Heads are read of a bounded number of connections at a time; a listener that runs out of file descriptors waits
//! for some and goes on.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use ws_core::Connection;
use ws_tokio::{AcceptError, Incoming};

use crate::compress::{Extensions, Negotiated};
use crate::conn::{Open, now};
use crate::drain::{Phase, until};
use crate::meters::RefusalKind;
use crate::rewind::Rewind;
use crate::server::{Server, boxed};
use crate::transport::Transport;
use crate::upgrade::{Accepted, Ends, ask, report_answer, report_malformed};

/// A server that listens. Dropping this changes nothing.
#[derive(Debug)]
pub struct Listening {
    pub(crate) local_addr: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

impl Listening {
    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting connections. Open ones go on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it no longer listens.
    pub async fn stopped(self) {
        // An error means that the task was dropped with its runtime.
        let _ = self.task.await;
    }
}

pub(crate) async fn accept(server: Arc<Server>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let handshakes = Arc::clone(&server.handshakes);
    let mut gate = server.shared.hub.shared.gate.watch();
    // The sender goes when `Listening` is dropped, which does not mean to stop.
    let stopped = async move {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let serve = async {
        let mut pause = Duration::ZERO;
        loop {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((io, remote)) => {
                    pause = Duration::ZERO;
                    tokio::spawn(serve_tcp(Arc::clone(&server), io, remote, permit));
                }
                // The client gave up while it waited in the system's queue.
                Err(error) if is_of_the_client(&error) => {}
                // No file descriptors, no memory: others have to end first.
                Err(_) => {
                    pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    };
    tokio::select! {
        () = stopped => {}
        () = until(&mut gate, Phase::Over) => {}
        () = serve => {}
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one TCP connection.
async fn serve_tcp(server: Arc<Server>, io: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) {
    let Ok(local) = io.local_addr() else { return };
    // Messages are written whole; waiting for more to send with them only delays them.
    let _ = io.set_nodelay(true);
    serve(server, io, Ends { remote, local }, permit).await;
}

/// Serves one stream, whatever it is.
pub(crate) async fn serve<S: Transport>(
    server: Arc<Server>,
    io: S,
    ends: Ends,
    permit: OwnedSemaphorePermit,
) {
    let began = now();
    // Boxed, for it is larger than an open connection, and over by then.
    let Some(opened) = Box::pin(open(&server, io, ends)).await else { return };
    drop(permit);
    let driving = match opened {
        Opened::WebSocket(open) => {
            server.shared.hub.shared.meters.handshake.record(now().saturating_since(began));
            let Some(driving) = server.shared.driving.begin(*open) else { return };
            drop(server);
            // Boxed as it is, and not inside of what led here.
            Box::pin(driving)
        }
        // A task of its own, for hyper's state is larger than that of a connection.
        Opened::Http { io } => {
            tokio::spawn(serve_http(server, io, ends));
            return;
        }
    };
    driving.await;
}

/// What a first head was.
enum Opened<S> {
    WebSocket(Box<Open<S>>),
    Http { io: Rewind<S> },
}

/// Reads the first head, and answers it if it is an upgrade or a mistake.
async fn open<S: Transport>(server: &Server, io: S, ends: Ends) -> Option<Opened<S>> {
    let shared = &server.shared;
    let config = shared.config.clone();
    let incoming = if server.http.is_some() || server.metrics.is_some() {
        Incoming::read_beside_http(io, config).await
    } else {
        Incoming::read(io, config).await
    };
    let mut incoming = match incoming {
        Ok(incoming) => incoming,
        Err(AcceptError::Request(rejection)) => {
            report_malformed(shared, ends, rejection);
            return None;
        }
        Err(_) => {
            shared.hub.shared.meters.refused.add(RefusalKind::Abandoned, 1);
            return None;
        }
    };
    let request = incoming.request()?;
    if !request.is_upgrade() {
        let (io, bytes) = incoming.into_parts();
        return Some(Opened::Http { io: Rewind::new(bytes.into(), io) });
    }
    let decided = match ask(shared, &request, ends) {
        Ok(asked) => {
            // By a unique reference, for a stream need not be `Sync`.
            let watched = &mut incoming;
            tokio::select! {
                biased;
                decided = asked.decide(shared) => decided,
                // Nobody waits for the answer: what the attempt holds is freed for others.
                () = poll_fn(move |cx| watched.stream().poll_gone(cx)) => return None,
            }
        }
        Err(refusal) => Err(refusal),
    };
    let accepted = match decided {
        Ok(Accepted { link, acceptance, config }) => {
            let extensions = Extensions::agreed(&config, &incoming.request()?);
            let answered = incoming.answer(acceptance, extensions.line());
            let answered = timeout(shared.driving.patience().write, answered).await.ok()?;
            answered.map(|(io, early)| {
                let connection = Negotiated::new(Connection::server(config, now()), extensions.agreement);
                Opened::WebSocket(Box::new(Open { io, early, connection, link, watch: shared.watch(ends) }))
            })
        }
        Err(refusal) => Err(incoming.reject(refusal).await),
    };
    if let Err(AcceptError::Answer(error)) = accepted {
        report_answer(shared, ends, error);
    }
    accepted.ok()
}

/// Serves plain HTTP, and the upgrades that come on the same connection later.
async fn serve_http<S: Transport>(server: Arc<Server>, io: Rewind<S>, ends: Ends) {
    let head_timeout = server.shared.config.timeouts.handshake;
    let head_limit = server.shared.config.head.max_bytes;
    let hub = server.shared.hub.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let server = Arc::clone(&server);
        async move {
            let response = match server.take_upgrade(request, ends) {
                Ok(answer) => answer.await.map(boxed),
                Err(request) => server.answer(request, ends).await,
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut gate = hub.shared.gate.watch();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        // The limit of the first head holds for those that follow it; hyper takes none below 8 KiB.
        .max_buf_size(head_limit.max(8 << 10))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // Its errors are the client's.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = until(&mut gate, Phase::Over) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = until(&mut gate, Phase::Ended) => {}
    }
}
