//! Connections that a loop makes: from the order to the handler's word, exactly one for each.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Token};
use ws_core::{ClientRequest, CloseCode, CloseFrame, Instant, Uri};

use super::{Desk, Worker, heard};
use crate::connect::{Answer, Connect, ConnectError};
use crate::error::Error;
use crate::handler::{Handler, Peer};
use crate::link::Link;
use crate::remote::ConnId;
use crate::socket::{Socket, State};

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Call {
    connect: Connect,
    /// Which address is next.
    next: usize,
    /// What the one before said.
    error: io::Error,
    began: Instant,
    /// Since when it waits for another one.
    waits_since: Instant,
    /// The address that nobody else connects to meanwhile.
    pub(super) holds: Option<SocketAddr>,
}

impl<H: Handler> Worker<H> {
    /// Begins to connect.
    pub(super) fn call(&mut self, connect: Connect, now: Instant) {
        let error = ErrorKind::AddrNotAvailable.into();
        self.try_next(Call { connect, next: 0, error, began: now, waits_since: now, holds: None }, now);
    }

    /// A connection that was being made is over.
    #[cold]
    pub(super) fn hang_up(&mut self, mut call: Call, end: Result<(), Error>) {
        let error = match end {
            Err(Error::Connect(error)) => *error,
            Err(_) | Ok(()) => ConnectError::Stopped,
        };
        self.desk.lines.leave(&mut call);
        match error {
            ConnectError::Connect(error) => {
                call.error = error;
                let now = self.now();
                self.try_next(call, now);
            }
            error => self.desk.handler.not_connected(call.connect.tag, error),
        }
    }

    /// Goes on with those that waited for others.
    pub(super) fn take_turns(&mut self, now: Instant) {
        while let Some(mut call) = self.desk.lines.turn() {
            // Waiting does not count.
            call.began = call.began.saturating_add(now.saturating_since(call.waits_since));
            self.try_next(call, now);
        }
    }

    /// Tells those that were never tried of the end.
    pub(super) fn turn_away(&mut self, connects: Vec<Connect>) {
        let waiting = self.desk.lines.drain().map(|call| call.connect);
        for connect in waiting.chain(connects) {
            self.desk.handler.not_connected(connect.tag, ConnectError::Stopped);
        }
    }

    /// Connects to the first of the addresses left that can be tried.
    fn try_next(&mut self, mut call: Call, now: Instant) {
        let outcome = loop {
            if self.ends.is_some() {
                break ConnectError::Stopped;
            }
            let before = if call.holds.is_none() { self.desk.lines.waiting() } else { 0 };
            if self.table.count().saturating_add(before) >= self.max_connections {
                break ConnectError::Full;
            }
            let Some(&address) = call.connect.addresses.get(call.next) else {
                let error = std::mem::replace(&mut call.error, ErrorKind::Other.into());
                break ConnectError::Connect(error);
            };
            if call.connect.one_at_a_time && call.holds.is_none() {
                call.waits_since = now;
                match self.desk.lines.enter(address, call) {
                    Some(next) => call = next,
                    None => return,
                }
            }
            call.next += 1;
            let seated = match self.dial(&call, address, now) {
                Ok(socket) => self.seat(socket).map_err(ConnectError::Connect),
                Err(error) => Err(error),
            };
            match seated {
                Ok(at) => {
                    self.desk.calls.insert(at, call);
                    return;
                }
                Err(ConnectError::Connect(error)) => {
                    call.error = error;
                    self.desk.lines.leave(&mut call);
                }
                Err(error) => break error,
            }
        };
        self.desk.lines.leave(&mut call);
        self.desk.handler.not_connected(call.connect.tag, outcome);
    }

    /// A socket on its way to an address.
    fn dial(&self, call: &Call, address: SocketAddr, now: Instant) -> Result<Socket<Link>, ConnectError> {
        let Connect { url, protocols, headers, config, .. } = &call.connect;
        let config = config.as_ref().unwrap_or(&self.desk.client);
        let uri = Uri::parse(url)?;
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let headers = super::fields(headers);
        let mut request = ClientRequest::new(uri);
        request.protocols = &protocols;
        request.require_protocol = call.connect.require_protocol;
        request.headers = &headers;
        // What may not be sent is refused before anything is connected.
        let mut socket = Socket::connect(Link::None, request, config.clone(), call.began)?;
        let deadline = call.began.saturating_add(config.timeouts.handshake);
        let left = deadline.saturating_since(now);
        if left.is_zero() {
            return Err(ConnectError::Timeout);
        }
        // An address that swallows everything does not take the time of the others.
        let others = call.connect.addresses.len().saturating_sub(call.next);
        let share = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        socket.stand_by(now.saturating_add(left / share));
        socket.set_overflow(self.table.overflow());
        let stream = TcpStream::connect(address).map_err(ConnectError::Connect)?;
        if call.connect.tcp_nodelay {
            stream.set_nodelay(true).map_err(ConnectError::Connect)?;
        }
        *socket.stream_mut() = link_to(stream, uri, &call.connect)?;
        Ok(socket)
    }

    /// Gives a socket a place, and has its events told.
    fn seat(&mut self, mut socket: Socket<Link>) -> io::Result<u32> {
        let at = self.table.take_place().ok_or(ErrorKind::OutOfMemory)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered =
            socket.stream_mut().tcp().and_then(|tcp| registry.register(tcp, Token(at as usize), interest));
        if let Err(error) = registered {
            self.table.remove(at);
            return Err(error);
        }
        if let Some(deadline) = socket.deadline() {
            self.wheel.set(at, deadline);
        }
        self.table.put(at, socket);
        self.note_count();
        Ok(at)
    }
}

impl<H: Handler> Desk<H> {
    /// Tells the application of an answer, and goes on with what it says.
    pub(super) fn greet(
        &mut self,
        at: u32,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        state: &mut Option<H::State>,
    ) -> Result<State, Error> {
        let tag = match self.calls.remove(&at) {
            Some(mut call) => {
                self.lines.leave(&mut call);
                call.connect.tag
            }
            None => 0,
        };
        let Self { handler, buffers, remote, topics, .. } = self;
        #[cfg(feature = "deflate")]
        let agreement = socket.agreement().copied();
        let Some((response, link)) = socket.answered() else { return Ok(State::Waiting) };
        let answer = Answer {
            id,
            tag,
            response,
            link,
            #[cfg(feature = "deflate")]
            agreement,
        };
        match handler.connected(&answer) {
            Some(kept) => {
                let state = state.insert(kept);
                let reply = socket.reply(buffers, now)?;
                handler.open(&mut Peer { reply, id, state, remote, topics });
            }
            None => {
                let frame = CloseFrame { code: CloseCode::GOING_AWAY, reason: "" };
                socket.close(buffers, now, Some(frame))?;
            }
        }
        socket.proceed(buffers, now, heard(handler, remote, topics, id, state))
    }
}

#[cfg(not(feature = "tls"))]
fn link_to(stream: TcpStream, uri: Uri<'_>, _: &Connect) -> Result<Link, ConnectError> {
    if uri.is_secure() { Err(ConnectError::TlsUnavailable) } else { Ok(Link::Tcp(stream)) }
}

#[cfg(feature = "tls")]
fn link_to(stream: TcpStream, uri: Uri<'_>, connect: &Connect) -> Result<Link, ConnectError> {
    if !uri.is_secure() {
        return Ok(Link::Tcp(stream));
    }
    let config = match &connect.tls {
        Some(config) => config.clone(),
        // Whoever asked has tried it, and this says why it did not work.
        None => crate::tls::system_config().map_err(ConnectError::Tls)?,
    };
    Ok(Link::Tls(Box::new(crate::tls::Stream::connect(stream, uri.host(), config)?)))
}
