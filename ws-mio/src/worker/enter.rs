//! Connections that come to a loop: from its listener, from elsewhere, or because it makes them.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;

use mio::Interest;
use mio::net::TcpStream;
use ws_core::Instant;

use super::Worker;
use crate::accept::Arrival;
use crate::adopt;
use crate::error::Error;
use crate::handler::Handler;
use crate::link::Link;
use crate::remote::ConnId;
use crate::socket::Socket;
use crate::table::token_of;

impl<H: Handler> Worker<H> {
    pub(super) fn let_in(&mut self, now: Instant) {
        let Some(mut door) = self.door.take() else { return };
        door.begin_turn(now);
        while self.table.count() < self.max_connections {
            match door.accept(now) {
                Arrival::Stream(stream) => {
                    if let Err(error) = self.welcome(stream, now) {
                        self.desk.handler.failed(Error::Lost(error));
                    }
                }
                Arrival::Nobody => break,
                Arrival::Failed(error) => self.desk.handler.accept_failed(error),
            }
        }
        self.door = Some(door);
    }

    fn welcome(&mut self, stream: TcpStream, now: Instant) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(not(feature = "tls"))]
        let link = Link::Tcp(stream);
        #[cfg(feature = "tls")]
        let link = match &self.desk.tls {
            None => Link::Tcp(stream),
            Some(config) => {
                let stream = crate::tls::Stream::accept(stream, config.clone()).map_err(io::Error::other)?;
                Link::Tls(Box::new(stream))
            }
        };
        let socket = Socket::accept_asking(link, self.desk.config.clone(), now);
        self.seat(socket).map(drop)
    }

    /// Goes on with a connection that was opened elsewhere.
    pub(super) fn take_in(&mut self, arrival: adopt::Arrival, now: Instant) {
        let adopt::Arrival { stream, session, state } = arrival;
        self.inbox().arriving.fetch_sub(1, Ordering::Relaxed);
        let Some(state) = self.desk.handler.adopt(state) else { return };
        // A blocking stream would block all others.
        let seated = stream
            .set_nonblocking(true)
            .and_then(|()| self.seat(Socket::over(Link::Tcp(TcpStream::from_std(stream)), session)));
        match seated {
            Ok(at) => {
                self.work(at, now, |hand| hand.open(state));
                if self.ends.is_some() {
                    self.say_good_bye(at, now);
                }
            }
            Err(error) => {
                self.desk.handler.closed(ConnId::nobodys(self.index), state, Err(Error::Lost(error)));
            }
        }
    }

    /// Gives a socket a place, and registers it.
    pub(super) fn seat(&mut self, mut socket: Socket<Link>) -> io::Result<u32> {
        socket.set_overflow(self.table.overflow());
        let (at, id) = self.table.take_place().ok_or(ErrorKind::OutOfMemory)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered =
            socket.stream_mut().tcp().and_then(|tcp| registry.register(tcp, token_of(id), interest));
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

    pub(super) fn shut_door(&mut self) {
        if let Some(mut door) = self.door.take() {
            // Dropped, it is closed; an error here would mean the same.
            let _ = self.poll.registry().deregister(door.listener());
        }
    }
}
