//! What a server's connections run over.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use crate::stream::Stream;

/// A TCP stream, or the lack of one in a socket that waits for a connection to serve.
#[derive(Debug)]
pub(crate) struct Link(pub(crate) Option<TcpStream>);

impl Link {
    fn tcp(&mut self) -> io::Result<&mut TcpStream> {
        self.0.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.as_ref().ok_or(ErrorKind::NotConnected)?.peer_addr()
    }
}

impl Read for Link {
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.tcp()?.read(out)
    }
}

impl Write for Link {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp()?.write(bytes)
    }

    #[inline]
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tcp()?.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    const SHORT_MEANS_BLOCKED: bool = TcpStream::SHORT_MEANS_BLOCKED;

    fn shut_down(&mut self) -> io::Result<()> {
        self.tcp()?.shut_down()
    }
}
