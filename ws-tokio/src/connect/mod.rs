//! Connecting: from an address to an open connection (RFC 6455, section 4.1).
//!
//! ```text
//! address -> resolve -> (wait for others) -> TCP -> TLS -> request, response -> WebSocket
//!    ^                                                              |
//!    '--------------------------- redirect <------------------------'
//! ```
//!
//! All of it happens in a box, as in `handshake.rs`: what is large is freed when there is a WebSocket.
//!
//! | file | the rule you look for |
//! |---|---|
//! | `request`, `options` | what may be asked for |
//! | `deadline`, `limiter` | how long it may take, and how many at a time |
//! | `upgrade`, `body` | the request out, the response in, and what stands behind it |
//! | `redirect` | where it goes on, and without which fields |
//! | `error` | why there is no connection |

mod body;
mod deadline;
mod error;
mod limiter;
mod options;
mod redirect;
mod request;
mod upgrade;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use ws_core::{ClientHandshake, Role, Uri};

use self::limiter::Turn;
use self::request::{Attempt, Lines};
use crate::stream::MaybeTls;
use crate::timer::Clock;
use crate::websocket::{WebSocket, entropy};

pub(crate) use self::deadline::Deadline;
pub use self::error::ConnectError;
pub use self::limiter::Limiter;
pub use self::options::ConnectOptions;
pub use self::redirect::{MAX_REDIRECTS, RedirectError};
pub use self::request::ConnectRequest;
use self::upgrade::exchange;
pub(crate) use self::upgrade::{Answer, read_answer, write};

/// Connects to an address, with the default [`ConnectOptions`].
///
/// Returns the server's response as well: its fields, among them the subprotocol that it chose. If compression was agreed
/// on, it has a `ws_core::deflate::Agreement` among its [extensions](http::Response::extensions).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut ws, response) = ws_tokio::connect("ws://127.0.0.1:9001/chat").await?;
/// println!("{:?}", response.headers().get("server"));
/// ws.send("hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// See [`ConnectError`].
///
/// # Cancel safety
/// Dropped early, the socket is closed.
pub async fn connect(
    request: impl Into<ConnectRequest>,
) -> Result<(WebSocket<MaybeTls<TcpStream>>, http::Response<()>), ConnectError> {
    connect_with(request, &ConnectOptions::new()).await
}

/// Connects to an address, with the given options.
///
/// The IP addresses of the host are tried one after the other, each with its share of the time.
///
/// # Errors
/// See [`ConnectError`].
///
/// # Cancel safety
/// Dropped early, the socket is closed.
pub async fn connect_with(
    request: impl Into<ConnectRequest>,
    options: &ConnectOptions,
) -> Result<(WebSocket<MaybeTls<TcpStream>>, http::Response<()>), ConnectError> {
    Box::pin(follow(Attempt::new(request.into(), options)?, options)).await
}

async fn follow(
    mut attempt: Attempt,
    options: &ConnectOptions,
) -> Result<(WebSocket<MaybeTls<TcpStream>>, http::Response<()>), ConnectError> {
    let mut deadline = Deadline::after(options.config.timeouts.handshake);
    let mut followed = 0;
    loop {
        let answer = dial(&attempt, options, &mut deadline).await?;
        let location = match &answer {
            Answer::Refused(refusal) if options.redirects > 0 => redirect::location(&refusal.response),
            _ => None,
        };
        let Some(location) = location else { return open(answer, options, &deadline).await };
        if followed == options.redirects.min(MAX_REDIRECTS) {
            return Err(RedirectError::TooMany.into());
        }
        followed += 1;
        redirect::follow(&mut attempt, location)?;
    }
}

/// Performs the handshake over a stream that is already connected, as it is: for `wss` it must be a TLS stream.
///
/// Redirects are not followed, and no limiter is asked.
///
/// # Errors
/// See [`ConnectError`].
///
/// # Cancel safety
/// Dropped early, the stream is dropped too.
pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: impl Into<ConnectRequest>,
    options: &ConnectOptions,
) -> Result<(WebSocket<S>, http::Response<()>), ConnectError> {
    let attempt = Attempt::new(request.into(), options)?;
    Box::pin(async move {
        let deadline = Deadline::after(options.config.timeouts.handshake);
        let uri = Uri::parse(&attempt.url)?;
        let lines = attempt.lines(&options.config);
        let mut handshake = handshake(uri, &lines, options)?;
        let answer = exchange(stream, &mut handshake, &options.config, &deadline).await?;
        open(answer, options, &deadline).await
    })
    .await
}

/// Performs the handshake over a stream to the host, through a [proxy](crate::proxy) for example; for `wss`, with TLS
/// over it.
///
/// Redirects are not followed, and no limiter is asked.
///
/// # Errors
/// See [`ConnectError`].
///
/// # Cancel safety
/// Dropped early, the stream is dropped too.
pub async fn connect_through<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: impl Into<ConnectRequest>,
    options: &ConnectOptions,
) -> Result<(WebSocket<MaybeTls<S>>, http::Response<()>), ConnectError> {
    let attempt = Attempt::new(request.into(), options)?;
    Box::pin(async move {
        let deadline = Deadline::after(options.config.timeouts.handshake);
        let uri = Uri::parse(&attempt.url)?;
        let lines = attempt.lines(&options.config);
        let mut handshake = handshake(uri, &lines, options)?;
        let stream = secure(stream, uri, options, &deadline).await?;
        let answer = exchange(stream, &mut handshake, &options.config, &deadline).await?;
        open(answer, options, &deadline).await
    })
    .await
}

/// One attempt: a new key, a new socket.
async fn dial(
    attempt: &Attempt,
    options: &ConnectOptions,
    deadline: &mut Deadline,
) -> Result<Answer<MaybeTls<TcpStream>>, ConnectError> {
    let uri = Uri::parse(&attempt.url)?;
    let lines = attempt.lines(&options.config);
    // What may not be sent is refused before anything is connected.
    let mut handshake = handshake(uri, &lines, options)?;
    if uri.is_secure() && !cfg!(feature = "tls") {
        return Err(ConnectError::TlsUnavailable);
    }
    // 4.1: "There MUST be no more than one connection in a CONNECTING state": the turn ends with the response.
    let (stream, _turn) = reach(uri, options, deadline).await?;
    let stream = secure(stream, uri, options, deadline).await?;
    exchange(stream, &mut handshake, &options.config, deadline).await
}

fn handshake<'a>(
    uri: Uri<'a>,
    lines: &'a Lines<'a>,
    options: &ConnectOptions,
) -> Result<ClientHandshake<'a>, ConnectError> {
    // 4.1: "The nonce MUST be selected randomly for each connection."
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| ConnectError::Entropy(io::Error::other(error)))?;
    let request = lines.request(uri, options.require_protocol);
    // The deadline is ours: it began before there was a transport. So the core's clock stands still.
    Ok(ClientHandshake::new(ws_core::Instant::ZERO, options.config.clone(), request, nonce)?)
}

/// A TCP connection to one of the host's addresses, and the turn to have it.
async fn reach(
    uri: Uri<'_>,
    options: &ConnectOptions,
    deadline: &mut Deadline,
) -> Result<(TcpStream, Option<Turn>), ConnectError> {
    let found = deadline.limit(lookup_host((uri.host(), uri.port()))).await?;
    let mut addresses = found.map_err(ConnectError::Resolve)?;
    let mut next = addresses.next();
    let mut left = addresses.size_hint().0;
    let mut error = ConnectError::Resolve(io::ErrorKind::NotFound.into());
    while let Some(address) = next {
        next = addresses.next();
        let turn = match &options.limiter {
            Some(limiter) => Some(deadline.stop(limiter.turn(address)).await),
            None => None,
        };
        // An address that swallows everything does not take the time of the others.
        let share = if next.is_some() { deadline.share(left + 1) } else { deadline.clone() };
        left = left.saturating_sub(1);
        match share.limit(TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                if options.tcp_nodelay {
                    stream.set_nodelay(true).map_err(|error| unconnected(address, &error))?;
                }
                return Ok((stream, turn));
            }
            Ok(Err(refused)) => error = unconnected(address, &refused),
            Err(late) => error = late,
        }
    }
    Err(error)
}

/// What the system says, and of which address.
fn unconnected(address: SocketAddr, error: &io::Error) -> ConnectError {
    ConnectError::Connect(io::Error::new(error.kind(), format!("{address}: {error}")))
}

/// TLS over the stream, when the address asks for it.
async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    uri: Uri<'_>,
    options: &ConnectOptions,
    deadline: &Deadline,
) -> Result<MaybeTls<S>, ConnectError> {
    if !uri.is_secure() {
        return Ok(MaybeTls::Plain(stream));
    }
    #[cfg(feature = "tls")]
    return deadline.limit(crate::tls::client(stream, uri.host(), options.tls.clone())).await?;
    #[cfg(not(feature = "tls"))]
    {
        let _ = (stream, options, deadline);
        Err(ConnectError::TlsUnavailable)
    }
}

/// A connection from a response that opened one; bytes behind the response are its first.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    answer: Answer<S>,
    options: &ConnectOptions,
    deadline: &Deadline,
) -> Result<(WebSocket<S>, http::Response<()>), ConnectError> {
    match answer {
        Answer::Open { stream, leftover, mut response, agreement } => {
            if let Some(agreement) = agreement {
                response.extensions_mut().insert(agreement);
            }
            let seed = entropy(Role::Client).map_err(ConnectError::Entropy)?;
            let (config, clock) = (options.config.clone(), Clock::start());
            let ws = WebSocket::with_clock(stream, Role::Client, &leftover, config, clock, seed, agreement);
            Ok((ws, response))
        }
        Answer::Refused(refusal) => Err(ConnectError::Status(Box::new(refusal.read_body(deadline).await))),
    }
}
