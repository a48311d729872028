//! The transport of a server's connections.

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
    #[cfg(feature = "tls")]
    Tls(Box<crate::tls::Stream>),
}

/// Has each kind do the same.
macro_rules! each {
    ($link:expr, $stream:ident => $work:expr) => {
        match $link {
            Link::Tcp($stream) => $work,
            #[cfg(feature = "tls")]
            Link::Tls($stream) => $work,
            Link::None => Err(ErrorKind::NotConnected.into()),
        }
    };
}

impl Link {
    /// What is registered.
    pub(crate) fn tcp(&mut self) -> io::Result<&mut TcpStream> {
        match self {
            Self::Tcp(stream) => Ok(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Ok(stream.io_mut()),
            Self::None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// What TLS knows, where there is any.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&rustls::Connection> {
        match self {
            Self::Tls(stream) => Some(stream.connection()),
            Self::Tcp(_) | Self::None => None,
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.io().peer_addr(),
            Self::None => Err(ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.io().local_addr(),
            Self::None => Err(ErrorKind::NotConnected.into()),
        }
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
        each!(self, stream => stream.flush())
    }
}

impl Stream for Link {
    #[inline]
    fn short_means_blocked(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.short_means_blocked(),
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
            Self::None => false,
        }
    }

    #[inline]
    fn wants_flush(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.wants_flush(),
            Self::Tcp(_) | Self::None => false,
        }
    }

    #[inline]
    fn take_sent(&mut self) -> Option<bool> {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.take_sent(),
            Self::Tcp(_) | Self::None => None,
        }
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => Stream::take_error(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.take_error(),
            Self::None => Ok(None),
        }
    }

    fn establish(&mut self) -> io::Result<Option<Interest>> {
        each!(self, stream => stream.establish())
    }

    fn shut_down(&mut self) -> io::Result<()> {
        each!(self, stream => stream.shut_down())
    }
}
