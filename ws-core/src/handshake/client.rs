//! The client's side: a request out, a response in.

use super::accept_key::{accept_key, client_key};
use super::answer::is_reserved;
use super::error::{HandshakeError, HeadFault, RequestError};
use super::extensions::is_extension_list;
use super::grammar::{is_token, is_value};
use super::head::{FieldLines, Step, window};
use super::out::{Out, write};
use super::response::{Place, Response};
use super::status_line::StatusLine;
use super::uri::Uri;
use super::{EXTENSIONS, MAX_INTERIM, PROTOCOL};
use crate::config::ConfigRef;
use crate::event::Transport;
use crate::time::Instant;

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

/// A client's request: the address, and what it offers and asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientRequest<'a> {
    /// The address.
    pub uri: Uri<'a>,
    /// The subprotocols on offer, most wanted first.
    pub protocols: &'a [&'a str],
    /// Whether a server that chooses none of them fails the handshake, as in browsers. Default: no.
    pub require_protocol: bool,
    /// The extensions on offer, as the value of one line; empty for none.
    pub extensions: &'a str,
    /// Other fields, such as `Authorization`, `Cookie` or `Origin`.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> ClientRequest<'a> {
    /// A request for this address, and nothing more.
    pub const fn new(uri: Uri<'a>) -> Self {
        Self { uri, protocols: &[], require_protocol: false, extensions: "", headers: &[] }
    }

    fn check(&self) -> Result<(), RequestError> {
        for (at, protocol) in self.protocols.iter().enumerate() {
            if !is_token(protocol.as_bytes()) {
                return Err(RequestError::InvalidProtocol);
            }
            if self.protocols[..at].contains(protocol) {
                return Err(RequestError::RepeatedProtocol);
            }
        }
        if !is_extension_list(self.extensions.as_bytes()) {
            return Err(RequestError::InvalidExtensions);
        }
        for (name, value) in self.headers {
            if !is_token(name.as_bytes()) || !is_value(value) {
                return Err(RequestError::InvalidHeader);
            }
            // RFC 9112, 3.2: "A client MUST send a Host header field"; one, and it names the address.
            if is_reserved(name) || name.eq_ignore_ascii_case("Host") {
                return Err(RequestError::ReservedHeader);
            }
        }
        Ok(())
    }
}

/// The opening handshake of a client.
///
/// The parts of the request are borrowed, because the response is checked against them. Once it is written, an adapter that
#[cfg_attr(feature = "alloc", doc = "cannot keep them beside it [cuts it loose](Self::into_owned).")]
#[cfg_attr(not(feature = "alloc"), doc = "cannot keep them beside it cuts it loose (feature `alloc`).")]
///
/// ```
/// use ws_core::{ClientHandshake, ClientRequest, Config, Instant, Uri};
///
/// static CONFIG: Config = Config::client();
/// let request = ClientRequest::new(Uri::parse("ws://example.com/chat").expect("an address"));
/// let nonce = *b"the sample nonce"; // 16 bytes of a good generator, new for each attempt
/// let mut handshake = ClientHandshake::new(Instant::ZERO, &CONFIG, request, nonce).expect("fit to send");
/// let mut out = [0; 256];
/// let len = handshake.write(&mut out).expect("room");
/// assert!(out[..len].starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
///
/// let input = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// let response = handshake.recv(Instant::ZERO, input).expect("well-formed").expect("complete");
/// assert!(response.is_open());
/// assert_eq!(handshake.consumed(), Some(input.len()));
/// ```
#[derive(Clone, Debug)]
pub struct ClientHandshake<'a> {
    config: ConfigRef,
    now: Instant,
    asked: Asked<'a>,
    key: [u8; 24],
    is_written: bool,
    interim: usize,
    line: StatusLine,
    fields: Option<FieldLines>,
    place: Place,
    state: State,
}

/// What the response is checked against.
#[derive(Clone, Debug)]
enum Asked<'a> {
    Lent(ClientRequest<'a>),
    #[cfg(feature = "alloc")]
    Kept {
        protocols: Box<[Box<str>]>,
        require_protocol: bool,
        extensions: Box<str>,
    },
}

impl Asked<'_> {
    fn offer(&self) -> Offer<'_> {
        match self {
            Self::Lent(request) => Offer {
                protocols: Protocols::Lent(request.protocols),
                require_protocol: request.require_protocol,
                extensions: request.extensions,
            },
            #[cfg(feature = "alloc")]
            Self::Kept { protocols, require_protocol, extensions } => Offer {
                protocols: Protocols::Kept(protocols),
                require_protocol: *require_protocol,
                extensions,
            },
        }
    }
}

/// The part of a request that a response answers.
#[derive(Clone, Copy)]
pub(super) struct Offer<'a> {
    protocols: Protocols<'a>,
    pub(super) require_protocol: bool,
    pub(super) extensions: &'a str,
}

#[derive(Clone, Copy)]
enum Protocols<'a> {
    Lent(&'a [&'a str]),
    #[cfg(feature = "alloc")]
    Kept(&'a [Box<str>]),
}

impl Offer<'_> {
    pub(super) fn has_protocol(&self, name: &[u8]) -> bool {
        match self.protocols {
            Protocols::Lent(protocols) => protocols.iter().any(|offer| offer.as_bytes() == name),
            #[cfg(feature = "alloc")]
            Protocols::Kept(protocols) => protocols.iter().any(|offer| offer.as_bytes() == name),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading { deadline: Instant },
    Complete,
    Failed(HandshakeError),
}

impl<'a> ClientHandshake<'a> {
    /// A handshake that begins at `now`.
    ///
    /// `nonce` is 16 bytes "selected randomly for each connection" (RFC 6455, section 4.1), also for each retry: bytes of a
    /// generator fit for secrets, and no handshake where there are none. The deadline runs from `now` to the complete
    /// response.
    ///
    /// # Errors
    /// The part of the request that may not be sent.
    pub fn new(
        now: Instant,
        config: impl Into<ConfigRef>,
        request: ClientRequest<'a>,
        nonce: [u8; 16],
    ) -> Result<Self, RequestError> {
        request.check()?;
        let config = config.into();
        let deadline = now.saturating_add(config.timeouts.handshake);
        Ok(Self {
            config,
            now,
            asked: Asked::Lent(request),
            key: client_key(&nonce),
            is_written: false,
            interim: 0,
            line: StatusLine::new(0),
            fields: None,
            place: Place::default(),
            state: State::Reading { deadline },
        })
    }

    /// Writes the request, and returns its length.
    ///
    /// # Errors
    /// [`RequestError::NoSpace`], and [`RequestError::Written`] the second time.
    pub fn write(&mut self, out: &mut [u8]) -> Result<usize, RequestError> {
        if self.is_written {
            return Err(RequestError::Written);
        }
        #[cfg_attr(not(feature = "alloc"), expect(irrefutable_let_patterns, reason = "nothing is kept"))]
        let Asked::Lent(request) = &self.asked else { return Err(RequestError::Written) };
        let put = |out: &mut Out<'_>| {
            out.put("GET ");
            out.put(request.uri.path());
            if let Some(query) = request.uri.query() {
                out.put("?");
                out.put(query);
            }
            out.put(" HTTP/1.1\r\n");
            out.field("Host", request.uri.authority());
            out.put("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
            out.field("Sec-WebSocket-Key", self.key);
            if let [first, others @ ..] = request.protocols {
                out.put(PROTOCOL);
                out.put(": ");
                out.put(first);
                for protocol in others {
                    out.put(", ");
                    out.put(protocol);
                }
                out.put("\r\n");
            }
            if !request.extensions.is_empty() {
                out.field(EXTENSIONS, request.extensions);
            }
            for (name, value) in request.headers {
                out.field(name, value);
            }
            out.put("\r\n");
        };
        let len = write(out, put).map_err(|needed| RequestError::NoSpace { needed })?;
        self.is_written = true;
        Ok(len)
    }

    /// Ends the loan: copies the parts of the request that the response is checked against. Write the request before, or
    /// never.
    #[cfg(feature = "alloc")]
    pub fn into_owned(self) -> ClientHandshake<'static> {
        let Self { config, now, asked, key, is_written: _, interim, line, fields, place, state } = self;
        let asked = match asked {
            Asked::Lent(request) => Asked::Kept {
                protocols: request.protocols.iter().map(|&protocol| Box::from(protocol)).collect(),
                require_protocol: request.require_protocol,
                extensions: request.extensions.into(),
            },
            Asked::Kept { protocols, require_protocol, extensions } => {
                Asked::Kept { protocols, require_protocol, extensions }
            }
        };
        ClientHandshake { config, now, asked, key, is_written: true, interim, line, fields, place, state }
    }

    /// Reads the response. `input` is all that has come since the connection began: what was shown is shown again, with more
    /// behind it, and is not looked at twice. Interim responses are skipped.
    ///
    /// `None` asks for more. The same response is returned again when asked again. What follows a 101 is frames;
    /// what follows another status is its [body](Response::body), of which an adapter reads at most
    /// [`MAX_BODY`](super::MAX_BODY) bytes.
    ///
    /// # Errors
    /// The first rule broken. It is final: the transport is to be closed.
    pub fn recv<'b>(
        &mut self,
        now: Instant,
        input: &'b [u8],
    ) -> Result<Option<Response<'b>>, HandshakeError> {
        self.advance(now);
        let deadline = match self.state {
            State::Reading { deadline } => deadline,
            State::Complete => return Response::new(input, self.place),
            State::Failed(error) => return Err(error),
        };
        let outcome = match self.walk(input) {
            Ok(None) if self.now >= deadline => Err(HandshakeError::Timeout),
            other => other,
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(_)) => self.state = State::Complete,
            Err(error) => self.state = State::Failed(error),
        }
        outcome
    }

    fn walk<'b>(&mut self, input: &'b [u8]) -> Result<Option<Response<'b>>, HandshakeError> {
        let limits = &self.config.head;
        // One bound for all heads together: they stand in one buffer.
        let head = window(input, limits);
        let more = if head.len() < input.len() { Err(HeadFault::HeadTooLong.into()) } else { Ok(None) };
        loop {
            let fields = match &mut self.fields {
                Some(fields) => fields,
                None => match self.line.walk(head, limits.max_line)? {
                    Some(end) => {
                        self.place = Place::new(&self.line, end);
                        self.fields.insert(FieldLines::new(end))
                    }
                    None => return more,
                },
            };
            loop {
                match fields.next(head, limits)? {
                    Step::Field(_) => {}
                    Step::End => break,
                    Step::More => return more,
                }
            }
            self.place.len = fields.at();
            // RFC 9110, 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response".
            if !matches!(self.place.status, 100 | 102..=199) {
                break;
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(HandshakeError::TooManyInterim);
            }
            self.line = StatusLine::new(self.place.len);
            self.fields = None;
        }
        let Some(response) = Response::new(input, self.place)? else { return Ok(None) };
        if response.is_open() {
            response.check_open(&self.asked.offer(), &accept_key(&self.key))?;
        }
        Ok(Some(response))
    }

    /// How many bytes of the input the handshake took, once the connection is open: what follows them is frames.
    pub fn consumed(&self) -> Option<usize> {
        (self.state == State::Complete && self.place.status == 101).then_some(self.place.len)
    }

    /// What the caller should do with the transport: a handshake that failed closes it at once, without a frame.
    pub fn transport(&self) -> Transport {
        match self.state {
            State::Reading { .. } | State::Complete => Transport::Open,
            State::Failed(_) => Transport::Close,
        }
    }

    /// Says that the transport ended.
    ///
    /// # Errors
    /// [`HandshakeError::Eof`] when the response is not complete, or the error it had before.
    pub fn recv_eof(&mut self, now: Instant) -> Result<(), HandshakeError> {
        self.advance(now);
        match self.state {
            State::Reading { .. } => self.fail(HandshakeError::Eof),
            State::Complete => Ok(()),
            State::Failed(error) => Err(error),
        }
    }

    /// When [`ClientHandshake::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Reading { deadline } => Some(deadline),
            State::Complete | State::Failed(_) => None,
        }
    }

    /// Lets time pass. Harmless when early.
    ///
    /// # Errors
    /// [`HandshakeError::Timeout`] when the response did not come in time.
    pub fn tick(&mut self, now: Instant) -> Result<(), HandshakeError> {
        self.advance(now);
        match self.state {
            State::Reading { deadline } if self.now >= deadline => self.fail(HandshakeError::Timeout),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: HandshakeError) -> Result<(), HandshakeError> {
        self.state = State::Failed(error);
        Err(error)
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}
