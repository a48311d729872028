//! Connections that a loop makes: from the request to the one call of the handler that tells the outcome.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::TcpStream;
use ws_core::{ClientRequest, CloseCode, CloseFrame, Instant, Uri};

use super::hand::InHand;
use super::{Desk, Worker};
use crate::connect::{Answer, Connect, ConnectError};
use crate::error::Error;
use crate::handler::Handler;
use crate::lines::{Ticket, Turn};
use crate::link::Link;
use crate::remote::Remote;
use crate::socket::{Socket, State};

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Call {
    connect: Connect,
    /// The index of the next address.
    next: usize,
    /// The error of the one before.
    error: io::Error,
    began: Instant,
    /// Since when it waits for another one.
    waits_since: Instant,
    /// The address that no other call connects to meanwhile.
    pub(super) holds: Option<SocketAddr>,
}

impl Call {
    /// Keeps why the address that was tried last does not take the connection, and which one that was.
    fn note(&mut self, error: io::Error) {
        let tried = self.next.checked_sub(1).and_then(|at| self.connect.addresses.get(at));
        self.error = match tried {
            Some(address) => io::Error::new(error.kind(), format!("{address}: {error}")),
            None => error,
        };
    }
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
        self.desk.release(&mut call);
        match error {
            ConnectError::Connect(error) => {
                call.note(error);
                let now = self.now();
                self.try_next(call, now);
            }
            error => self.desk.handler.not_connected(call.connect.tag, error),
        }
    }

    /// Goes on with one that waited for others.
    pub(super) fn take_turn(&mut self, turn: Turn, now: Instant) {
        let Some(mut call) = self.desk.waiting.remove(&turn.number) else {
            return self.desk.remote.pass_turn(turn.address);
        };
        call.holds = Some(turn.address);
        // Waiting does not count.
        call.began = call.began.saturating_add(now.saturating_since(call.waits_since));
        self.try_next(call, now);
    }

    /// Tells the calls that were never tried of the end, and lets those on other loops go on that waited for them.
    pub(super) fn hang_up_all(&mut self, connects: Vec<Connect>, turns: &[Turn]) {
        let waiting = std::mem::take(&mut self.desk.waiting).into_values().map(|call| call.connect);
        for connect in waiting.chain(connects) {
            self.desk.handler.not_connected(connect.tag, ConnectError::Stopped);
        }
        turns.iter().for_each(|turn| self.desk.remote.pass_turn(turn.address));
    }

    /// Connects to the first of the addresses left that can be tried.
    fn try_next(&mut self, mut call: Call, now: Instant) {
        let outcome = loop {
            if self.ends.is_some() {
                break ConnectError::Stopped;
            }
            let before = if call.holds.is_none() { self.desk.waiting.len() } else { 0 };
            if self.table.count().saturating_add(before) >= self.max_connections {
                break ConnectError::Full;
            }
            let Some(&address) = call.connect.addresses.get(call.next) else {
                let error = std::mem::replace(&mut call.error, ErrorKind::Other.into());
                break ConnectError::Connect(error);
            };
            if call.connect.one_at_a_time && call.holds.is_none() {
                let ticket = Ticket { loop_index: self.index, number: self.desk.ticket };
                if self.desk.remote.lines.enter(address, ticket) {
                    call.holds = Some(address);
                } else {
                    call.waits_since = now;
                    self.desk.waiting.insert(ticket.number, call);
                    self.desk.ticket += 1;
                    return;
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
                    call.note(error);
                    self.desk.release(&mut call);
                }
                Err(error) => break error,
            }
        };
        self.desk.release(&mut call);
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
        // An address that never answers does not take the time of the others.
        let others = call.connect.addresses.len().saturating_sub(call.next);
        let share = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        socket.stand_by(now.saturating_add(left / share));
        let stream = TcpStream::connect(address).map_err(ConnectError::Connect)?;
        if call.connect.tcp_nodelay {
            stream.set_nodelay(true).map_err(ConnectError::Connect)?;
        }
        *socket.stream_mut() = link_to(stream, uri, &call.connect)?;
        Ok(socket)
    }
}

impl<H: Handler> Desk<H> {
    /// Releases the address that a call has held, for others to connect to.
    fn release(&self, call: &mut Call) {
        if let Some(address) = call.holds.take() {
            self.remote.pass_turn(address);
        }
    }
}

impl<H: Handler> InHand<'_, H> {
    /// Tells the application of an answer, and goes on with what it says.
    pub(super) fn greet(&mut self) -> Result<State, Error> {
        let tag = match self.desk.calls.remove(&self.id.slot) {
            Some(mut call) => {
                self.desk.release(&mut call);
                call.connect.tag
            }
            None => 0,
        };
        #[cfg(feature = "deflate")]
        let agreement = self.socket.agreement().copied();
        let Some((response, link)) = self.socket.answered() else { return Ok(State::Waiting) };
        let answer = Answer {
            id: self.id,
            tag,
            response,
            link,
            #[cfg(feature = "deflate")]
            agreement,
        };
        match self.desk.handler.connected(&answer) {
            Some(state) => self.open(state),
            None => {
                let frame = CloseFrame { code: CloseCode::GOING_AWAY, reason: "" };
                self.socket.close(&mut self.desk.buffers, self.now, Some(frame))?;
                self.proceed()
            }
        }
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
        // The caller has tried it, and this says why it did not work.
        None => crate::tls::system_config().map_err(ConnectError::Tls)?,
    };
    Ok(Link::Tls(Box::new(crate::tls::Stream::connect(stream, uri.host(), config)?)))
}

impl Remote {
    /// Passes an address on: the next call in line has the turn, unless its loop has ended.
    fn pass_turn(&self, address: SocketAddr) {
        while let Some(Ticket { loop_index, number }) = self.lines.leave(address) {
            let told = self.inboxes.get(loop_index).map(|inbox| {
                inbox.leave(|batch| {
                    batch.turns.push(Turn { number, address });
                    Ok(())
                })
            });
            if matches!(told, Some(Ok(()))) {
                return;
            }
        }
    }
}
