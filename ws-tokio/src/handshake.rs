//! The server's side of the opening handshake (RFC 6455, section 4.2) over a stream.
//!
//! [`accept`] for the plain case, [`accept_with`] for a decision by the request, [`Incoming`] for one that takes its
//! time, or for HTTP on the same port.
//!
//! A task is as large as the largest future that it ever awaits, and for most of its life it waits for messages. So what
//! only the handshake needs stands in boxes of its own, which are freed when there is a WebSocket.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ws_core::handshake::MAX_EARLY_BYTES;
use ws_core::{
    Accept, AnswerError, Config, ConfigRef, Instant, Rejection, Request, Role, ServerHandshake, Transport,
};

use crate::deflate::{self, Agreement};
use crate::pool;
use crate::timer::{Clock, Timer};
use crate::websocket::WebSocket;

/// Accepts a WebSocket on a stream that was just accepted, with the defaults of [`Config::server`].
///
/// Call `set_nodelay(true)` on a TCP stream before: messages leave in as few writes as may be already, and Nagle's
/// algorithm would only hold the last one back.
///
/// # Errors
/// Why there is no WebSocket. The peer has had its answer, if it was still there to get one.
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn accept<S>(stream: S) -> Result<WebSocket<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let incoming = Incoming::open(stream, Config::server().into());
    Box::pin(async { incoming.read_head().await?.accept(Acceptance::default()).await }).await
}

/// Accepts a WebSocket if `decide`, which sees the request, agrees.
///
/// ```no_run
/// # async fn f(stream: tokio::net::TcpStream) -> Result<(), ws_tokio::AcceptError> {
/// use ws_tokio::{Acceptance, Refusal, accept_with, core::Config};
///
/// stream.set_nodelay(true)?; // see `accept`
/// let ws = accept_with(stream, Config::server(), |request| match request.path() {
///     b"/chat" => Ok(Acceptance { protocol: request.protocols().next().map(Into::into), ..Default::default() }),
///     _ => Err(Refusal::new(404, "no such room")),
/// });
/// # ws.await.map(drop) }
/// ```
///
/// # Errors
/// As for [`accept`].
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn accept_with<S, F>(
    stream: S,
    config: impl Into<ConfigRef>,
    decide: F,
) -> Result<WebSocket<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Request<'_>) -> Result<Acceptance, Refusal>,
{
    let incoming = Incoming::open(stream, config.into());
    Box::pin(async {
        let mut incoming = incoming.read_head().await?;
        let decision = incoming.request().map(|request| decide(&request));
        match decision {
            Some(Ok(acceptance)) => incoming.accept(acceptance).await,
            Some(Err(refusal)) => Err(incoming.reject(refusal).await),
            None => Err(AcceptError::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    })
    .await
}

/// What an application adds to the answer that accepts a connection.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// One of the subprotocols that the client offered.
    pub protocol: Option<String>,
    /// Header fields of the answer, such as `Set-Cookie`.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// An application's refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status, 300 to 599.
    pub status: u16,
    /// Header fields, such as `WWW-Authenticate` or `Location`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Refusal {
    /// A refusal with this status and this text.
    pub fn new(status: u16, text: &str) -> Self {
        let headers = vec![("Content-Type".to_owned(), b"text/plain; charset=utf-8".to_vec())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }
}

/// Why an accepted stream did not become a WebSocket.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request broke a rule, and was answered with the status that this rule implies.
    Request(Rejection),
    /// The application refused it, with this status.
    Rejected(u16),
    /// The application's answer may not be sent: the request was answered with 500.
    Answer(AnswerError),
    /// The stream failed, or ended before the request did.
    Io(io::Error),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(rejection) => write!(f, "the request was refused: {rejection}"),
            Self::Rejected(status) => write!(f, "the request was refused with status {status}"),
            Self::Answer(error) => write!(f, "the answer may not be sent: {error}"),
            Self::Io(error) => write!(f, "the stream failed during the handshake: {error}"),
        }
    }
}

/// Each variant prints what it holds; a source would say it again.
impl std::error::Error for AcceptError {}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A stream whose first request has come, and waits for an answer: for as long as the application needs.
#[derive(Debug)]
pub struct Incoming<S>(Box<Shake<S>>);

#[derive(Debug)]
struct Shake<S> {
    stream: S,
    config: ConfigRef,
    clock: Clock,
    handshake: ServerHandshake,
    /// The head and what came behind it.
    input: Vec<u8>,
    timer: Timer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Reads the request. One that is not an upgrade, or breaks a rule, is refused at once.
    ///
    /// # Errors
    /// [`AcceptError::Request`] or [`AcceptError::Io`], after the peer has had its answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn read(stream: S, config: impl Into<ConfigRef>) -> Result<Self, AcceptError> {
        Self::open(stream, config.into()).read_head().await
    }

    /// Reads a request where HTTP is spoken beside WebSocket: one that is not an upgrade comes back too, as
    /// [`Request::is_upgrade`] tells, to be handed on by [`into_parts`](Self::into_parts).
    ///
    /// # Errors
    /// As for [`read`](Self::read): a head that is malformed in any case, or an upgrade that breaks a rule.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn read_beside_http(stream: S, config: impl Into<ConfigRef>) -> Result<Self, AcceptError> {
        let (config, clock) = (config.into(), Clock::start());
        let handshake = ServerHandshake::beside_http(clock.now(), config.clone());
        Self::begin(stream, config, clock, handshake).read_head().await
    }

    fn open(stream: S, config: ConfigRef) -> Self {
        let clock = Clock::start();
        let handshake = ServerHandshake::new(clock.now(), config.clone());
        Self::begin(stream, config, clock, handshake)
    }

    pub(crate) fn begin(stream: S, config: ConfigRef, clock: Clock, handshake: ServerHandshake) -> Self {
        let (input, timer) = (Vec::new(), Timer::default());
        Self(Box::new(Shake { stream, config, clock, handshake, input, timer }))
    }

    pub(crate) async fn read_head(mut self) -> Result<Self, AcceptError> {
        match poll_fn(|cx| self.0.poll_head(cx)).await {
            Ok(()) => Ok(self),
            Err(AcceptError::Request(rejection)) => Err(self.reject_as(rejection).await),
            Err(error) => Err(error),
        }
    }

    /// The request, a view of the bytes that this object holds.
    pub fn request(&mut self) -> Option<Request<'_>> {
        self.0.request()
    }

    /// The transport, by reference: for its addresses, say.
    pub fn stream(&self) -> &S {
        &self.0.stream
    }

    /// Answers 101, and becomes a WebSocket. What came behind the request is its first input.
    ///
    /// # Errors
    /// [`AcceptError::Answer`] for an acceptance that may not be sent, such as a subprotocol that was not offered: the
    /// client got a 500. [`AcceptError::Io`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn accept(mut self, acceptance: Acceptance) -> Result<WebSocket<S>, AcceptError> {
        let (answer, agreement) = self.0.agree(acceptance);
        let Shake { stream, config, clock, handshake, input, .. } = *self.say_yes(answer).await?.0;
        let leftover = &input[handshake.consumed().unwrap_or(input.len())..];
        Ok(WebSocket::with_clock(stream, Role::Server, leftover, config, clock, [0; 32], agreement))
    }

    /// Answers 101 and returns the stream, with what came behind the request: for programs that drive the connection
    /// themselves. `extensions` is what they accept of [`Request::extensions`], as the value of one line, and have to keep
    /// to; empty for none, whatever the configuration says.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn answer(
        mut self,
        acceptance: Acceptance,
        extensions: &str,
    ) -> Result<(S, Vec<u8>), AcceptError> {
        let answer = self.0.encode_acceptance(acceptance, extensions);
        let Shake { stream, handshake, mut input, .. } = *self.say_yes(answer).await?.0;
        let head = handshake.consumed().unwrap_or(input.len());
        Ok((stream, input.split_off(head)))
    }

    async fn say_yes(mut self, answer: Result<Vec<u8>, AnswerError>) -> Result<Self, AcceptError> {
        match answer {
            Ok(answer) => {
                // A peer that takes nothing is given as long as it had for its request.
                let patience = self.0.config.timeouts.handshake;
                let deadline = self.0.clock.now().saturating_add(patience);
                let mut left = &answer[..];
                poll_fn(|cx| self.0.poll_answer(cx, &mut left, deadline)).await?;
                Ok(self)
            }
            Err(error) => {
                self.reject(Refusal::new(500, "the server chose an answer that may not be sent\n")).await;
                Err(AcceptError::Answer(error))
            }
        }
    }

    /// Refuses the request, sends all of the answer, and returns the error that stands for it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn reject(mut self, refusal: Refusal) -> AcceptError {
        let (answer, outcome) = self.0.encode_refusal(refusal);
        self.say_goodbye(answer).await;
        outcome
    }

    /// Refuses a request that breaks a rule which only the application can check, with that rule's answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn reject_as(mut self, rejection: Rejection) -> AcceptError {
        let now = self.0.clock.now();
        let answer = encode(|out| self.0.handshake.reject_as(now, rejection, out));
        self.say_goodbye(answer.ok()).await;
        AcceptError::Request(rejection)
    }

    /// The stream and everything read from it, for an HTTP server that goes on with it.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.0.stream, self.0.input)
    }

    /// Writes a last answer, shuts down, and reads on for a while, so that no reset destroys it (HS-39). The peer may be
    /// gone already; that changes nothing.
    async fn say_goodbye(&mut self, answer: Option<Vec<u8>>) {
        let Some(answer) = answer else { return };
        let mut left = &answer[..];
        poll_fn(|cx| self.0.poll_end(cx, &mut left)).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shake<S> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AcceptError>> {
        loop {
            match self.handshake.recv(self.clock.now(), &self.input) {
                Ok(Some(_)) => return Poll::Ready(Ok(())),
                Ok(None) => {}
                Err(rejection) => return Poll::Ready(Err(AcceptError::Request(rejection))),
            }
            // Through a leased buffer, so that the one that is kept is as long as what came. And no more at a time than
            // may come early: the length of the last read then bounds it.
            let mut lease = pool::lease();
            let mut buf = ReadBuf::new(&mut lease[..MAX_EARLY_BYTES]);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
            self.input.extend_from_slice(buf.filled());
            let came = buf.filled().len();
            pool::give(lease);
            match read {
                Poll::Ready(Ok(())) if came > 0 => {}
                Poll::Ready(Ok(())) => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    let Some(deadline) = self.handshake.deadline() else { return Poll::Pending };
                    ready!(self.timer.poll(cx, self.clock, deadline));
                    if let Err(rejection) = self.handshake.tick(self.clock.now()) {
                        return Poll::Ready(Err(AcceptError::Request(rejection)));
                    }
                }
            }
        }
    }

    fn request(&mut self) -> Option<Request<'_>> {
        self.handshake.recv(self.clock.now(), &self.input).ok().flatten()
    }

    /// The 101, and which of the client's extensions it accepts.
    fn agree(&mut self, acceptance: Acceptance) -> (Result<Vec<u8>, AnswerError>, Option<Agreement>) {
        let agreed = self.handshake.recv(self.clock.now(), &self.input).ok().flatten();
        let agreed = agreed.and_then(|request| deflate::accept(&self.config, &request));
        let extensions = agreed.as_ref().map_or("", |(_, line)| line);
        let answer = self.encode_acceptance(acceptance, extensions);
        (answer, agreed.map(|(agreement, _)| agreement))
    }

    fn encode_acceptance(
        &mut self,
        acceptance: Acceptance,
        extensions: &str,
    ) -> Result<Vec<u8>, AnswerError> {
        let now = self.clock.now();
        let Acceptance { protocol, headers } = acceptance;
        let headers = borrow(&headers);
        let Ok(Some(request)) = self.handshake.recv(now, &self.input) else {
            return Err(AnswerError::NotWaiting);
        };
        let accept = Accept { protocol: protocol.as_deref(), extensions, headers: &headers };
        encode(|out| self.handshake.accept(&request, accept, out))
    }

    /// The refusal, or a 500 if it may not be sent; and the error that stands for it.
    fn encode_refusal(&mut self, refusal: Refusal) -> (Option<Vec<u8>>, AcceptError) {
        let now = self.clock.now();
        let Refusal { status, headers, body } = refusal;
        let headers = borrow(&headers);
        match encode(|out| self.handshake.reject(now, status, &headers, &body, out)) {
            Ok(answer) => (Some(answer), AcceptError::Rejected(status)),
            Err(error) => {
                let answer = encode(|out| self.handshake.reject(now, 500, &[], b"", out));
                (answer.ok(), AcceptError::Answer(error))
            }
        }
    }

    /// Writes the 101.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        left: &mut &[u8],
        deadline: Instant,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(written) = self.poll_write(cx, left) {
            return Poll::Ready(written);
        }
        ready!(self.timer.poll(cx, self.clock, deadline));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes all of it, and flushes.
    fn poll_write(&mut self, cx: &mut Context<'_>, left: &mut &[u8]) -> Poll<io::Result<()>> {
        while !left.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *left = &left[n..],
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, left: &mut &[u8]) -> Poll<()> {
        loop {
            if self.handshake.transport() == Transport::Close || self.poll_goodbye(cx, left).is_ready() {
                return Poll::Ready(());
            }
            let Some(deadline) = self.handshake.deadline() else { return Poll::Ready(()) };
            ready!(self.timer.poll(cx, self.clock, deadline));
            // While it says goodbye, a deadline is the end and no error.
            let _ = self.handshake.tick(self.clock.now());
        }
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>, left: &mut &[u8]) -> Poll<io::Result<()>> {
        while !left.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *left = &left[n..],
            }
            if left.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            }
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.handshake.shut_down(self.clock.now());
        while self.handshake.transport() != Transport::Close {
            let mut trash = [0; 1024];
            let mut buf = ReadBuf::new(&mut trash);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                n => self.handshake.discard(n),
            }
        }
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn borrow(headers: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

/// Encodes an answer into a buffer of its size.
pub(crate) fn encode(
    mut write: impl FnMut(&mut [u8]) -> Result<usize, AnswerError>,
) -> Result<Vec<u8>, AnswerError> {
    let mut out = vec![0; 256];
    loop {
        match write(&mut out) {
            Ok(len) => {
                out.truncate(len);
                return Ok(out);
            }
            Err(AnswerError::NoSpace { needed }) => out.resize(needed, 0),
            Err(error) => return Err(error),
        }
    }
}
