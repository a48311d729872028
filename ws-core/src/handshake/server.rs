//! The server's side: a request in, a decision, an answer out.

use super::answer::{Accept, Refusal, check_headers};
use super::error::{AnswerError, HeadFault, Rejection};
use super::head::{FieldLines, Step, window};
use super::request::{Facts, Request};
use super::request_line::RequestLine;
use super::{LINGER_BYTES, rules};
use crate::config::ConfigRef;
use crate::event::Transport;
use crate::time::Instant;

/// The opening handshake of a server.
///
/// ```text
///            recv                    accept
/// Reading ----------> Waiting ------------------> Accepted: what follows the head belongs to the connection
///    | recv, tick        | reject, refuse
///    v                   v            shut_down                    discard, recv_eof, tick
/// Refused ---------> Answered -----------------> Lingering --------------------------------> Closed
///           refuse
/// ```
///
/// ```
/// use ws_core::{Accept, Config, Instant, ServerHandshake};
///
/// static CONFIG: Config = Config::server();
/// let mut handshake = ServerHandshake::new(Instant::ZERO, &CONFIG);
/// let input = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// let request = handshake.recv(Instant::ZERO, input).expect("well-formed").expect("complete");
/// assert_eq!(request.path(), b"/chat");
/// let mut out = [0; 256];
/// let len = handshake.accept(&request, Accept::default(), &mut out).expect("room");
/// assert!(out[..len].starts_with(b"HTTP/1.1 101 "));
/// assert_eq!(handshake.consumed(), Some(input.len()));
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandshake {
    config: ConfigRef,
    now: Instant,
    http_beside: bool,
    line: RequestLine,
    fields: Option<FieldLines>,
    facts: Facts,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading {
        deadline: Instant,
    },
    Waiting,
    Accepted,
    /// To be answered.
    Rejected(Rejection),
    /// The answer is written, and goes out.
    Answered {
        deadline: Instant,
        left: usize,
    },
    Lingering {
        deadline: Instant,
        left: usize,
    },
    Closed,
}

impl ServerHandshake {
    /// A handshake on a connection that was accepted at `now`, where WebSocket alone is spoken: what is no upgrade is
    /// refused.
    ///
    /// The deadline runs from `now` to the complete head, TLS included.
    pub fn new(now: Instant, config: impl Into<ConfigRef>) -> Self {
        let config = config.into();
        let deadline = now.saturating_add(config.timeouts.handshake);
        Self {
            config,
            now,
            http_beside: false,
            line: RequestLine::new(),
            fields: None,
            facts: Facts::default(),
            state: State::Reading { deadline },
        }
    }

    /// A handshake where HTTP is spoken beside WebSocket: a well-formed head that is no upgrade is handed over, and
    /// [`Request::is_upgrade`] tells.
    pub fn beside_http(now: Instant, config: impl Into<ConfigRef>) -> Self {
        Self { http_beside: true, ..Self::new(now, config) }
    }

    /// Reads the head. `input` is all that has come since the connection began: what was shown is shown again, with more
    /// behind it, and is not looked at twice.
    ///
    /// `None` asks for more. The same request is returned again when asked again. Bytes behind its head are
    /// the caller's to hold, at most [`MAX_EARLY_BYTES`](super::MAX_EARLY_BYTES) of them before it answers.
    ///
    /// # Errors
    /// The first rule broken, at the byte that breaks it, or, for what is missing, at the end of the head. It is final: say
    /// it with [`ServerHandshake::reject_as`], then do what [`ServerHandshake::transport`] says.
    pub fn recv<'b>(&mut self, now: Instant, input: &'b [u8]) -> Result<Option<Request<'b>>, Rejection> {
        self.advance(now);
        match self.state {
            State::Reading { deadline } => self.read(deadline, input),
            State::Waiting => Ok(Request::new(input, self.facts)),
            State::Rejected(rejection) => Err(rejection),
            // RFC 9112, 11.2: what follows a request that was refused is never another request.
            State::Accepted | State::Answered { .. } | State::Lingering { .. } | State::Closed => Ok(None),
        }
    }

    fn read<'b>(&mut self, deadline: Instant, input: &'b [u8]) -> Result<Option<Request<'b>>, Rejection> {
        let outcome = match self.walk(input) {
            Ok(None) if self.now >= deadline => Err(Rejection::Timeout),
            other => other,
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(_)) => self.state = State::Waiting,
            Err(rejection) => self.state = State::Rejected(rejection),
        }
        outcome
    }

    fn walk<'b>(&mut self, input: &'b [u8]) -> Result<Option<Request<'b>>, Rejection> {
        let limits = &self.config.head;
        let head = window(input, limits);
        let is_cut = head.len() < input.len();
        let fields = match &mut self.fields {
            Some(fields) => fields,
            None => match self.line.walk(head, limits)? {
                Some(end) => {
                    self.facts = Facts::new(head, &self.line, end);
                    self.fields.insert(FieldLines::new(end))
                }
                None if is_cut => return Err(self.line.too_long()),
                None => return Ok(None),
            },
        };
        loop {
            match fields.next(head, limits)? {
                Step::Field(field) => self.facts.note(head, &field),
                Step::End => break,
                Step::More if is_cut => return Err(Rejection::Head(HeadFault::HeadTooLong)),
                Step::More => return Ok(None),
            }
        }
        self.facts.len = fields.at();
        let Some(request) = Request::new(input, self.facts) else { return Ok(None) };
        rules::check_head(&request)?;
        if !self.http_beside || request.is_upgrade() {
            rules::check_upgrade(&request)?;
        }
        Ok(Some(request))
    }

    /// Writes the answer that opens the connection, and returns its length. What comes after the head, in either
    /// direction, is frames.
    ///
    /// # Errors
    /// [`AnswerError`]; nothing was written, and another answer may be given.
    pub fn accept(
        &mut self,
        request: &Request<'_>,
        accept: Accept<'_>,
        out: &mut [u8],
    ) -> Result<usize, AnswerError> {
        if self.state != State::Waiting {
            return Err(AnswerError::NotWaiting);
        }
        if !request.is_upgrade() {
            return Err(AnswerError::NotAnUpgrade);
        }
        let len = accept.write(request, out)?;
        self.state = State::Accepted;
        Ok(len)
    }

    /// Writes a refusal of the application's making, and returns its length: status, headers, `Connection: close`,
    /// `Content-Length`, body.
    ///
    /// # Errors
    /// [`AnswerError`]; nothing was written, and another answer may be given.
    pub fn reject(
        &mut self,
        now: Instant,
        status: u16,
        headers: &[(&str, &[u8])],
        body: &[u8],
        out: &mut [u8],
    ) -> Result<usize, AnswerError> {
        check_headers(headers)?;
        self.answer(now, status, [headers, &[]], &[body], out)
    }

    /// Writes the refusal that a broken rule demands, and returns its length. The body says which rule it was.
    ///
    /// It serves for what [`ServerHandshake::recv`] and [`ServerHandshake::tick`] returned, and for
    /// [`Request::rejection`].
    ///
    /// # Errors
    /// [`AnswerError::NoSpace`] and [`AnswerError::NotWaiting`].
    pub fn reject_as(
        &mut self,
        now: Instant,
        rejection: Rejection,
        out: &mut [u8],
    ) -> Result<usize, AnswerError> {
        let headers = [rejection.headers(), &[("Content-Type", b"text/plain; charset=utf-8")]];
        let body = [rejection.reason(), " (", rejection.section(), ")\n"].map(str::as_bytes);
        self.answer(now, rejection.status(), headers, &body, out)
    }

    fn answer(
        &mut self,
        now: Instant,
        status: u16,
        headers: [&[(&str, &[u8])]; 2],
        body: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, AnswerError> {
        self.advance(now);
        if !matches!(self.state, State::Waiting | State::Rejected(_)) {
            return Err(AnswerError::NotWaiting);
        }
        let len = Refusal { status, headers, body, head_only: self.facts.head_only }.write(out)?;
        let deadline = self.now.saturating_add(self.config.timeouts.close);
        self.state = State::Answered { deadline, left: LINGER_BYTES };
        Ok(len)
    }

    /// How many bytes of the input the handshake took, once it is accepted: what follows them is for the connection.
    pub fn consumed(&self) -> Option<usize> {
        (self.state == State::Accepted).then_some(self.facts.len)
    }

    /// What the caller should do with the transport.
    ///
    /// After a refusal: write it, shut the writing side down and say so with [`ServerHandshake::shut_down`], then read
    /// and [discard](ServerHandshake::discard) until [`Transport::Close`], so that no reset destroys the answer.
    pub fn transport(&self) -> Transport {
        match self.state {
            State::Reading { .. } | State::Waiting | State::Accepted => Transport::Open,
            State::Rejected(_) | State::Answered { .. } | State::Lingering { .. } => Transport::Shutdown,
            State::Closed => Transport::Close,
        }
    }

    /// Says that the writing side is shut down; the time to linger begins.
    pub fn shut_down(&mut self, now: Instant) {
        self.advance(now);
        let left = match self.state {
            State::Rejected(_) => LINGER_BYTES,
            State::Answered { left, .. } => left,
            _ => return,
        };
        let deadline = self.now.saturating_add(self.config.timeouts.linger);
        self.state = if left == 0 { State::Closed } else { State::Lingering { deadline, left } };
    }

    /// Says that `len` bytes were read after a refusal, and thrown away. Past [`LINGER_BYTES`](super::LINGER_BYTES) the
    /// transport is to be closed, once the answer is out.
    pub fn discard(&mut self, len: usize) {
        match &mut self.state {
            State::Answered { left, .. } => *left = left.saturating_sub(len),
            State::Lingering { left, .. } if *left > len => *left -= len,
            State::Lingering { .. } => self.state = State::Closed,
            _ => {}
        }
    }

    /// Says that the peer has ended its side. Inside the head, and while lingering, that is the end; an answer still goes
    /// out.
    pub fn recv_eof(&mut self, now: Instant) {
        self.advance(now);
        match &mut self.state {
            State::Reading { .. } | State::Lingering { .. } => self.state = State::Closed,
            State::Answered { left, .. } => *left = 0,
            State::Waiting | State::Accepted | State::Rejected(_) | State::Closed => {}
        }
    }

    /// When [`ServerHandshake::tick`] is due: while the head is incomplete, while a refusal goes out, and while
    /// lingering. The time that a decision takes is the application's.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Reading { deadline }
            | State::Answered { deadline, .. }
            | State::Lingering { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    /// Lets time pass. Harmless when early.
    ///
    /// # Errors
    /// [`Rejection::Timeout`] when the head did not come in time.
    pub fn tick(&mut self, now: Instant) -> Result<(), Rejection> {
        self.advance(now);
        match self.state {
            State::Reading { deadline } if self.now >= deadline => {
                self.state = State::Rejected(Rejection::Timeout);
                Err(Rejection::Timeout)
            }
            State::Answered { deadline, .. } | State::Lingering { deadline, .. } if self.now >= deadline => {
                self.state = State::Closed;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}
