//! The floor: a TCP echo over a bare readiness loop with one buffer for all connections, no WebSocket.
//!
//! One `recv` and one `send` per readiness event. What a socket does not take at once is kept for it, and it is not
//! read from until that has been sent.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use ws_benches::flags::Flags;
use ws_benches::serve;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// Whether there may be something to read: readiness is edge-triggered.
    readable: bool,
}

fn main() -> io::Result<()> {
    let address = serve::address(Flags::of_this_process())?.parse().map_err(io::Error::other)?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let slot = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(slot), interest)?;
                    connections[slot] = Some(Connection { stream, unsent: Vec::new(), readable: false });
                }
            } else if let Some(connection) = &mut connections[event.token().0] {
                connection.readable |= event.is_readable();
                if !connection.echo(&mut buffer).unwrap_or(false) {
                    connections[event.token().0] = None;
                    free.push(event.token().0);
                }
            }
        }
    }
}

impl Connection {
    /// Echoes what has arrived. Returns whether the connection continues.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let left = send(&mut self.stream, &self.unsent)?.len();
        self.unsent.drain(..self.unsent.len() - left);
        while self.readable && self.unsent.is_empty() {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            // A short read has emptied the socket.
            self.readable = read == buffer.len();
            self.unsent.extend_from_slice(send(&mut self.stream, &buffer[..read])?);
        }
        Ok(true)
    }
}

/// Writes as much as the socket takes; returns the rest.
fn send<'a>(stream: &mut TcpStream, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
