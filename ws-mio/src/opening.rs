//! The server's side of the opening handshake (RFC 6455, section 4.2), as far as it needs a socket.
//!
//! The head is read through the loop's buffer; only what came is kept, at most the head's limit and
//! [`MAX_EARLY_BYTES`] behind it. It resumes after every `WouldBlock`. Rules, deadlines and lingering are the core's.

use std::io::ErrorKind;

use ws_core::handshake::MAX_EARLY_BYTES;
use ws_core::{
    Accept, AnswerError, Connection, Instant, Rejection, Request, ServerHandshake, Session, Transport,
};

use crate::buffers::Buffers;
use crate::deflate;
use crate::error::Error;
use crate::later::Meanwhile;
use crate::socket::{READS, Socket, State};
use crate::stream::Stream;
use ws_core::Moment;

#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) handshake: ServerHandshake,
    /// The head and what came behind it.
    input: Vec<u8>,
    /// The length of a head that is complete.
    head_len: usize,
    /// Whether the application decides.
    asks: bool,
    /// Until when, if it has put that off.
    pub(crate) decide_by: Moment,
}

impl Opening {
    pub(crate) fn new(handshake: ServerHandshake, asks: bool) -> Self {
        Self { handshake, input: Vec::new(), head_len: 0, asks, decide_by: Moment::NEVER }
    }

    /// The application decides later.
    pub(crate) fn put_off(&mut self, until: Instant) {
        // The head is complete and well-formed: the first blank line is its end.
        let blank = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        self.head_len = blank.map_or(self.input.len(), |at| at + 4);
        self.decide_by = until.into();
    }

    /// How much has come behind the head.
    pub(crate) fn early(&self) -> usize {
        self.input.len().saturating_sub(self.head_len)
    }

    /// How much is read at once: a head and what is behind it; while an answer is awaited, no more than may still come early
    /// (HS-32).
    fn space(&self) -> usize {
        if self.decide_by.is_set() { MAX_EARLY_BYTES.saturating_sub(self.early()) } else { MAX_EARLY_BYTES }
    }

    /// Keeps what came, in memory with the same bound.
    fn keep(&mut self, bytes: &[u8]) {
        let Self { input, head_len, .. } = self;
        let len = input.len() + bytes.len();
        if self.decide_by.is_set() && len > input.capacity() {
            let most = head_len.saturating_add(MAX_EARLY_BYTES);
            let wanted = input.capacity().saturating_mul(2).min(most).max(len);
            input.reserve_exact(wanted - input.len());
        }
        input.extend_from_slice(bytes);
    }

    /// The size of the memory that the head stands in.
    pub(crate) fn held(&self) -> usize {
        self.input.capacity()
    }
}

impl<S: Stream> Socket<S> {
    /// The request that awaits an answer: after [`State::Asked`], until [`agree`](Self::agree),
    /// [`reject`](Self::reject) or [`reject_as`](Self::reject_as).
    pub fn request(&mut self, now: Instant) -> Option<Request<'_>> {
        let opening = self.opening.as_mut()?;
        opening.handshake.recv(now, &opening.input).ok().flatten()
    }

    /// The same, and the stream beside it.
    pub(crate) fn asked(&mut self, now: Instant) -> Option<(Request<'_>, &S)> {
        let opening = self.opening.as_mut()?;
        let request = opening.handshake.recv(now, &opening.input).ok().flatten()?;
        Some((request, &self.wire.io))
    }

    /// Answers 101. Then call [`proceed`](Self::proceed), which writes it: frames may already be there.
    ///
    /// permessage-deflate is agreed on as the configuration says, unless `accept` itself names extensions.
    ///
    /// # Errors
    /// An acceptance that may not be sent, such as a subprotocol that was not offered. Nothing was sent, and another
    /// answer may be given.
    pub fn agree(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        accept: Accept<'_>,
    ) -> Result<(), AnswerError> {
        let Self { opening, wire, .. } = self;
        let opening = opening.as_mut().ok_or(AnswerError::NotWaiting)?;
        let Opening { handshake, input, .. } = &mut **opening;
        let Ok(Some(request)) = handshake.recv(now, input) else { return Err(AnswerError::NotWaiting) };
        let config = self.session.connection_ref().config().clone();
        let agreed = if accept.extensions.is_empty() { deflate::accept(&config, &request) } else { None };
        let accept = match &agreed {
            Some((_, line)) => Accept { extensions: line, ..accept },
            None => accept,
        };
        wire.put(buffers, |out| handshake.accept(&request, accept, out), space_missing)?;
        let connection = Connection::server(config, now);
        let leftover = handshake.consumed().and_then(|consumed| input.get(consumed..)).unwrap_or_default();
        self.session = if leftover.is_empty() {
            Session::new(connection)
        } else {
            Session::with_storage(connection, leftover.to_vec(), leftover.len())
        };
        if let Some((agreement, _)) = &agreed {
            deflate::enable(&mut self.session, agreement);
        }
        self.opening = None;
        Ok(())
    }

    /// Refuses the request with a status from 300 to 599. Then call [`proceed`](Self::proceed), which writes the answer.
    ///
    /// # Errors
    /// An answer that may not be sent. Nothing was sent, and another answer may be given.
    pub fn reject(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        status: u16,
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> Result<(), AnswerError> {
        let opening = self.opening.as_mut().ok_or(AnswerError::NotWaiting)?;
        let reject = |out: &mut [u8]| opening.handshake.reject(now, status, headers, body, out);
        self.wire.put(buffers, reject, space_missing)?;
        (opening.input, opening.decide_by) = (Vec::new(), Moment::NEVER);
        self.fail(Error::Rejected(status));
        Ok(())
    }

    /// Refuses a request that breaks a rule which only the application can check, such as [`Request::rejection`]
    /// finds, with that rule's status. Then call [`proceed`](Self::proceed).
    ///
    /// # Errors
    /// [`AnswerError::NotWaiting`]: no request awaits an answer.
    pub fn reject_as(
        &mut self,
        buffers: &mut Buffers,
        now: Instant,
        rejection: Rejection,
    ) -> Result<(), AnswerError> {
        let opening = self.opening.as_mut().ok_or(AnswerError::NotWaiting)?;
        let reject = |out: &mut [u8]| opening.handshake.reject_as(now, rejection, out);
        self.wire.put(buffers, reject, space_missing)?;
        // RFC 9112, 11.2: what came behind it is never another request.
        (opening.input, opening.decide_by) = (Vec::new(), Moment::NEVER);
        self.fail(Error::Request(rejection));
        Ok(())
    }

    /// Goes on with the handshake; `None`: it is done.
    pub(crate) fn open(&mut self, buffers: &mut Buffers, now: Instant) -> Option<Result<State, Error>> {
        // What TLS has to say before there is an answer.
        self.wire.write(buffers);
        for _ in 0..READS {
            let opening = self.opening.as_mut()?;
            match opening.handshake.transport() {
                Transport::Close => return Some(self.finish(buffers)),
                Transport::Shutdown => {
                    self.say_no(buffers, now);
                }
                Transport::Open => match opening.handshake.recv(now, &opening.input) {
                    Ok(Some(_)) if opening.asks => match self.meanwhile() {
                        Meanwhile::Ask => return Some(Ok(State::Asked)),
                        Meanwhile::Read => {}
                        Meanwhile::Wait => return Some(Ok(State::Waiting)),
                        Meanwhile::Gone => return Some(self.finish(buffers)),
                    },
                    Ok(Some(_)) => {
                        if self.agree(buffers, now, Accept::default()).is_ok() {
                            return None;
                        }
                        let _ = self.reject(buffers, now, 500, &[], b"");
                        self.say_no(buffers, now);
                    }
                    Ok(None) => {}
                    Err(rejection) => {
                        let _ = self.reject_as(buffers, now, rejection);
                        self.say_no(buffers, now);
                    }
                },
            }
            if self.opening.as_ref()?.handshake.transport() == Transport::Close || self.wire.broken {
                return Some(self.finish(buffers));
            }
            if !self.read_head(buffers, now) {
                self.wire.rest(buffers);
                return Some(Ok(State::Waiting));
            }
        }
        Some(Ok(State::Again))
    }

    /// One read; `false`: there is nothing now.
    fn read_head(&mut self, buffers: &mut Buffers, now: Instant) -> bool {
        let Some(opening) = self.opening.as_mut() else { return true };
        let space = opening.space();
        if !self.readable || self.eof || space == 0 {
            return false;
        }
        // No more at once than may come early: what is kept is bounded by the head's limit and one read.
        let mut lease = buffers.lease();
        let mut came = true;
        match self.wire.io.read(&mut lease[..space]) {
            Ok(0) => {
                self.eof = true;
                opening.handshake.recv_eof(now);
                // Not recorded if there is a reason already.
                self.fail(Error::Lost(ErrorKind::UnexpectedEof.into()));
            }
            Ok(n) if opening.handshake.transport() == Transport::Open => {
                opening.keep(&lease[..n]);
                self.note_short(n, space);
            }
            Ok(n) => {
                opening.handshake.discard(n);
                self.note_short(n, space);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                came = false;
            }
            Err(error) => {
                self.wire.broken = true;
                self.fail(Error::Lost(error));
            }
        }
        buffers.give(lease);
        came
    }

    /// HS-39: writes the refusal, and shuts our side down behind it.
    fn say_no(&mut self, buffers: &mut Buffers, now: Instant) {
        self.wire.write(buffers);
        if self.wire.is_flushed() && !self.wire.blocked && !self.shut {
            self.shut = self.shut_wire();
        }
        if let Some(opening) = self.opening.as_mut().filter(|_| self.shut) {
            opening.handshake.shut_down(now);
        }
    }
}

fn space_missing(error: &AnswerError) -> Option<usize> {
    match error {
        AnswerError::NoSpace { needed } => Some(*needed),
        _ => None,
    }
}
