//! The client's side of the opening handshake (RFC 6455, section 4.1), as far as it needs a socket.
//!
//! ```text
//! establishing -> asking -> answered -> open
//!  (TCP, TLS)        \-> refused: its body is read
//! ```
//!
//! The request waits in the output queue until the transport stands, and nothing can be queued behind it before the
//! answer is there (HC-05). It resumes after every `WouldBlock`; rules and their deadline are the core's.

use std::io::{self, ErrorKind};

use mio::Interest;
use ws_core::handshake::{BodyReader, MAX_EARLY_BYTES};
use ws_core::{
    ClientHandshake, ClientRequest, ConfigRef, Connection, HandshakeError, Instant, RequestError, Response,
    Session,
};

use crate::buffers::Buffers;
use crate::connect::ConnectError;
use crate::deflate::{self, Agreement};
use crate::error::Error;
use crate::handler::Refusal;
use crate::socket::{READS, Socket, State};
use crate::stream::Stream;

#[derive(Debug)]
pub(crate) struct Dial {
    handshake: ClientHandshake<'static>,
    /// For the mask keys.
    seed: [u8; 32],
    /// The response's head and what came behind it.
    input: Vec<u8>,
    stage: Stage,
    /// For all of it, the body of a refusal included.
    deadline: Instant,
    /// Until when the transport must stand.
    stands_by: Instant,
    /// Why the request could not be written. The server may have said why before it went.
    lost: Option<io::Error>,
    /// Whether we offered permessage-deflate, and the caller named no extensions.
    offers: bool,
    pub(crate) agreement: Option<Agreement>,
    /// When the answer came.
    answered: Instant,
}

#[derive(Debug)]
enum Stage {
    /// What the transport waits for.
    Establishing(Interest),
    Asking,
    Answered,
    Refused(Refusal, BodyReader),
}

impl Dial {
    /// The size of the memory that the head stands in.
    pub(crate) fn held(&self) -> usize {
        self.input.capacity()
    }

    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Answered)
    }

    pub(crate) fn interest(&self, is_flushed: bool) -> Option<Interest> {
        match self.stage {
            Stage::Establishing(interest) => Some(interest),
            Stage::Answered => None,
            Stage::Asking | Stage::Refused(..) if is_flushed || self.lost.is_some() => {
                Some(Interest::READABLE)
            }
            Stage::Asking | Stage::Refused(..) => Some(Interest::READABLE | Interest::WRITABLE),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Establishing(_) => Some(self.deadline.min(self.stands_by)),
            Stage::Asking | Stage::Refused(..) => Some(self.deadline),
            Stage::Answered => None,
        }
    }
}

impl<S: Stream> Socket<S> {
    /// Makes the client's side of a stream that is connected or about to be: `mio::net::TcpStream::connect` does not wait.
    ///
    /// Drive it like any socket, registered for reading and writing. When the server has agreed, the state is
    /// [`State::Answered`], once; otherwise it ends with [`Error::Connect`].
    /// [`Timeouts::handshake`](ws_core::Timeouts::handshake) is one deadline for all of connecting, counted from `now`.
    ///
    /// permessage-deflate is offered as the configuration says, unless the request itself names extensions. The stream is
    /// used as it is: for `wss` give it one with TLS. A redirect is a refusal like any other.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ws_mio::Socket;
    /// use ws_mio::core::{ClientRequest, Config, Instant, Uri};
    ///
    /// let mut request = ClientRequest::new(Uri::parse("ws://127.0.0.1:9001/chat")?);
    /// request.protocols = &["chat.v2"];
    /// let stream = mio::net::TcpStream::connect("127.0.0.1:9001".parse()?)?;
    /// let mut socket = Socket::connect(stream, request, Config::client(), Instant::ZERO)?;
    /// // registry.register(socket.stream_mut(), token, Interest::READABLE | Interest::WRITABLE)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Request`]: a part of the request that may not be sent. [`ConnectError::Entropy`]: the system has
    /// none for the key and the masks.
    pub fn connect(
        stream: S,
        request: ClientRequest<'_>,
        config: impl Into<ConfigRef>,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let config = config.into();
        // 4.1: "The nonce MUST be selected randomly for each connection."
        let (mut nonce, mut seed) = ([0; 16], [0; 32]);
        for bytes in [&mut nonce[..], &mut seed[..]] {
            getrandom::fill(bytes).map_err(|error| ConnectError::Entropy(io::Error::other(error)))?;
        }
        let offer = if request.extensions.is_empty() { deflate::offer(&config) } else { None };
        let mut request = request;
        if let Some(line) = &offer {
            request.extensions = line;
        }
        let deadline = now.saturating_add(config.timeouts.handshake);
        let mut handshake = ClientHandshake::new(now, config.clone(), request, nonce)?;
        let text = encode(&mut handshake)?;
        let dial = Dial {
            handshake: handshake.into_owned(),
            seed,
            input: Vec::new(),
            stage: Stage::Establishing(Interest::WRITABLE),
            deadline,
            stands_by: deadline,
            lost: None,
            offers: offer.is_some(),
            agreement: None,
            answered: now,
        };
        let mut socket = Self::open_over(stream, Connection::server(config, now));
        socket.wire.hold(text);
        socket.dial = Some(Box::new(dial));
        Ok(socket)
    }

    /// Gives up earlier if the transport is not connected by then.
    pub(crate) fn stand_by(&mut self, at: Instant) {
        if let Some(dial) = &mut self.dial {
            dial.stands_by = at;
        }
    }

    /// The server's response, while the state is [`State::Answered`]: its fields and the subprotocol that it chose.
    pub fn response(&mut self) -> Option<Response<'_>> {
        self.answered().map(|(response, _)| response)
    }

    /// The same, and the stream beside it.
    pub(crate) fn answered(&mut self) -> Option<(Response<'_>, &S)> {
        let dial = self.dial.as_mut().filter(|dial| dial.is_answered())?;
        let response = dial.handshake.recv(dial.answered, &dial.input).ok().flatten()?;
        Some((response, &self.wire.io))
    }

    /// From the answer to the connection: lets the head go.
    #[inline]
    pub(crate) fn enter(&mut self) {
        if self.dial.as_ref().is_some_and(|dial| dial.is_answered()) {
            self.begin_frames();
        }
    }

    #[cold]
    fn begin_frames(&mut self) {
        let Some(dial) = self.dial.take() else { return };
        let Dial { handshake, seed, input, agreement, answered, .. } = *dial;
        let config = self.session.connection_ref().config().clone();
        let connection = Connection::client(config, answered, seed);
        // HC-17: what came behind the head is frames.
        let leftover = handshake.consumed().and_then(|consumed| input.get(consumed..)).unwrap_or_default();
        self.session = if leftover.is_empty() {
            Session::new(connection)
        } else {
            Session::with_storage(connection, leftover.to_vec(), leftover.len())
        };
        if let Some(agreement) = &agreement {
            deflate::enable(&mut self.session, agreement);
        }
    }

    /// Goes on with the handshake; `None`: it is done.
    pub(crate) fn go_on_dialling(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
    ) -> Option<Result<State, Error>> {
        for _ in 0..READS {
            self.enter();
            let dial = self.dial.as_mut()?;
            if let Stage::Establishing(before) = dial.stage {
                match self.wire.io.establish() {
                    Ok(None) => {
                        dial.stage = Stage::Asking;
                        self.wire.blocked = false;
                        // What shook hands may have more in hand, of which no event will tell.
                        self.readable |= !self.wire.io.short_means_blocked();
                    }
                    Ok(Some(interest)) => {
                        dial.stage = Stage::Establishing(interest);
                        return Some(Ok(State::Waiting));
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        return Some(self.give_up(buffers, not_established(error, before)));
                    }
                }
            }
            self.wire.write(buffers);
            dial.lost = dial.lost.take().or(self.wire.failure.take());
            if let Err(error) = self.judge(now) {
                return Some(self.give_up(buffers, error));
            }
            match &self.dial.as_ref()?.stage {
                Stage::Answered => return Some(Ok(State::Answered)),
                Stage::Refused(_, reader) if reader.is_complete() => return Some(self.refused(buffers)),
                Stage::Establishing(_) | Stage::Asking | Stage::Refused(..) => {}
            }
            match self.read_answer(buffers, now) {
                Ok(true) => {}
                Ok(false) => {
                    self.wire.rest(buffers);
                    return Some(Ok(State::Waiting));
                }
                Err(error) => return Some(self.give_up(buffers, error)),
            }
        }
        Some(Ok(State::Again))
    }

    /// Looks at what came of the response's head.
    fn judge(&mut self, now: Instant) -> Result<(), ConnectError> {
        let Some(dial) = self.dial.as_mut() else { return Ok(()) };
        if !matches!(dial.stage, Stage::Asking) {
            return Ok(());
        }
        let Some(response) = dial.handshake.recv(now, &dial.input)? else { return Ok(()) };
        if response.is_open() {
            if dial.offers {
                dial.agreement = deflate::check(self.session.connection_ref().config(), &response)?;
            }
            dial.answered = now;
            dial.stage = Stage::Answered;
            return Ok(());
        }
        // HC-07: the status, the fields, and what of its body comes in time.
        let headers = response.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        let mut refusal = Refusal { status: response.status(), headers, body: Vec::new() };
        let mut reader = BodyReader::new(response.body());
        let behind = dial.input.get(response.end()..).unwrap_or_default();
        reader.recv(behind, |piece| refusal.body.extend_from_slice(piece));
        dial.input = Vec::new();
        dial.stage = Stage::Refused(refusal, reader);
        Ok(())
    }

    /// One read; `false`: there is nothing now.
    fn read_answer(&mut self, buffers: &mut Buffers, now: Instant) -> Result<bool, ConnectError> {
        let Some(dial) = self.dial.as_mut() else { return Ok(true) };
        if !self.readable {
            return match dial.lost.take() {
                // The server has gone, and will not answer.
                Some(error) if self.wire.broken => Err(ConnectError::Lost(error)),
                lost => {
                    dial.lost = lost;
                    Ok(false)
                }
            };
        }
        let mut lease = buffers.lease();
        let read = self.wire.io.read(&mut lease[..MAX_EARLY_BYTES]);
        if let Ok(n) = read {
            let came = lease.get(..n).unwrap_or_default();
            match &mut dial.stage {
                Stage::Refused(refusal, reader) => {
                    reader.recv(came, |piece| refusal.body.extend_from_slice(piece));
                }
                Stage::Establishing(_) | Stage::Asking | Stage::Answered => {
                    dial.input.extend_from_slice(came);
                }
            }
        }
        buffers.give(lease);
        match read {
            Ok(0) => self.end_dialling(now, None).map(|()| true),
            Ok(n) => {
                self.note_short(n, MAX_EARLY_BYTES);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                self.read_answer(buffers, now)
            }
            Err(error) => self.end_dialling(now, Some(error)).map(|()| true),
        }
    }

    /// The transport has no more to read, before there was a connection.
    fn end_dialling(&mut self, now: Instant, error: Option<io::Error>) -> Result<(), ConnectError> {
        let Some(dial) = self.dial.as_mut() else { return Ok(()) };
        if let Stage::Refused(refusal, _) = &mut dial.stage {
            // Cut short: the status is worth more than a complaint about that.
            return Err(ConnectError::Status(Box::new(take(refusal))));
        }
        match dial.lost.take().or(error) {
            Some(error) => Err(lost(error)),
            None => Err(dial.handshake.recv_eof(now).err().unwrap_or(HandshakeError::Eof).into()),
        }
    }

    /// Time has passed before there was a connection.
    pub(crate) fn tick_dial(&mut self, buffers: &mut Buffers, now: Instant) -> Result<State, Error> {
        let Some(dial) = self.dial.as_mut() else { return Ok(State::Waiting) };
        if dial.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(State::Waiting);
        }
        match &dial.stage {
            Stage::Refused(..) => self.refused(buffers),
            Stage::Establishing(_) if now < dial.deadline => {
                self.give_up(buffers, ConnectError::Connect(ErrorKind::TimedOut.into()))
            }
            Stage::Establishing(_) | Stage::Asking | Stage::Answered => {
                self.give_up(buffers, ConnectError::Timeout)
            }
        }
    }

    /// The server said no, and this is all of it that is of interest.
    fn refused(&mut self, buffers: &mut Buffers) -> Result<State, Error> {
        let error = match self.dial.as_mut().map(|dial| &mut dial.stage) {
            Some(Stage::Refused(refusal, _)) => ConnectError::Status(Box::new(take(refusal))),
            _ => ConnectError::Timeout,
        };
        self.give_up(buffers, error)
    }

    fn give_up(&mut self, buffers: &mut Buffers, error: ConnectError) -> Result<State, Error> {
        self.fail(error);
        self.finish(buffers)
    }
}

fn take(refusal: &mut Refusal) -> Refusal {
    let Refusal { status, headers, body } = refusal;
    Refusal { status: *status, headers: std::mem::take(headers), body: std::mem::take(body) }
}

fn encode(handshake: &mut ClientHandshake<'_>) -> Result<Vec<u8>, RequestError> {
    match handshake.write(&mut []) {
        Err(RequestError::NoSpace { needed }) => {
            let mut request = vec![0; needed];
            handshake.write(&mut request)?;
            Ok(request)
        }
        Err(error) => Err(error),
        Ok(_) => Ok(Vec::new()),
    }
}

/// The transport never stood. Once it has waited to read, TCP did, and it was TLS that failed.
fn not_established(error: io::Error, waited_for: Interest) -> ConnectError {
    if is_tls(&error) || waited_for.is_readable() {
        ConnectError::Tls(error)
    } else {
        ConnectError::Connect(error)
    }
}

/// The transport broke after the request. An alert of TLS 1.3 comes as late as that.
fn lost(error: io::Error) -> ConnectError {
    if is_tls(&error) { ConnectError::Tls(error) } else { ConnectError::Lost(error) }
}

#[cfg(feature = "tls")]
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &io::Error) -> bool {
    false
}
