//! What a server's connections run over.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::Interest;
use mio::net::TcpStream;

use crate::stream::Stream;

/// A TCP stream, or the lack of one in a socket that waits for a connection to serve.
#[derive(Debug)]
pub(crate) enum Link {
    None,
    Tcp(TcpStream),
}

/// Has each kind do the same.
macro_rules! each {
    ($link:expr, $stream:ident => $work:expr) => {
        match $link {
            Link::Tcp($stream) => $work,
            Link::None => Err(ErrorKind::NotConnected.into()),
        }
    };
}

impl Link {
    /// What is registered.
    pub(crate) fn tcp(&mut self) -> io::Result<&mut TcpStream> {
        each!(self, stream => Ok(stream))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        each!(self, stream => stream.peer_addr())
    }
}

impl Read for Link {
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(out))
    }
}

impl Write for Link {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(bytes))
    }

    #[inline]
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.write_vectored(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    #[inline]
    fn short_means_blocked(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.short_means_blocked(),
            Self::None => false,
        }
    }

    fn establish(&mut self) -> io::Result<Option<Interest>> {
        each!(self, stream => stream.establish())
    }

    fn shut_down(&mut self) -> io::Result<()> {
        each!(self, stream => stream.shut_down())
    }
}
