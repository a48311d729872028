//! The transport of a socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::Interest;

/// A non-blocking transport: it answers [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting, and
/// [`Interrupted`](io::ErrorKind::Interrupted) where the same call is to be made again.
pub trait Stream: Read + Write {
    /// Whether a short read has emptied the transport and a short write has filled it, so that the next one would block.
    ///
    /// It spares one system call per readiness. True of a socket under epoll, wrong for TLS; when in doubt, no.
    #[inline]
    fn short_means_blocked(&self) -> bool {
        false
    }

    /// Whether the transport has something of its own to write, such as a TLS record, which [`flush`](Write::flush) does.
    #[inline]
    fn wants_flush(&self) -> bool {
        false
    }

    /// Whether bytes have left since this was asked before; `None`: what [`write`](Write::write) takes has left.
    ///
    /// For a transport with a buffer of its own, such as TLS: what it takes may wait there, and leave later.
    #[inline]
    fn take_sent(&mut self) -> Option<bool> {
        None
    }

    /// The transport's pending error, as far as it is known without reading or writing. Called when an event said that there
    /// is one, and nothing is being read.
    ///
    /// # Errors
    /// The error cannot be asked for.
    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    /// Goes on with connecting; `None`: it is connected, `Some`: call it again when this is ready. TLS shakes hands here,
    /// too. Called for clients only, and no more once it is connected.
    ///
    /// # Errors
    /// Why it will never be connected.
    fn establish(&mut self) -> io::Result<Option<Interest>> {
        Ok(None)
    }

    /// Ends the writing side and leaves the reading side open: FIN, or what stands for it.
    ///
    /// # Errors
    /// `WouldBlock`: call it again when the transport is writable. Any other error means that the peer ended it before.
    fn shut_down(&mut self) -> io::Result<()>;
}

/// Whether short reads and writes of a socket mean this on this system.
const SHORT_MEANS_BLOCKED: bool = cfg!(any(target_os = "linux", target_os = "android"));

impl Stream for mio::net::TcpStream {
    #[inline]
    fn short_means_blocked(&self) -> bool {
        SHORT_MEANS_BLOCKED
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Self::take_error(self)
    }

    fn establish(&mut self) -> io::Result<Option<Interest>> {
        if let Some(error) = Self::take_error(self)? {
            return Err(error);
        }
        match self.peer_addr() {
            Ok(_) => Ok(None),
            // Events may come before it is connected.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(Some(Interest::WRITABLE)),
            Err(error) => Err(error),
        }
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Stream for mio::net::UnixStream {
    #[inline]
    fn short_means_blocked(&self) -> bool {
        SHORT_MEANS_BLOCKED
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Self::take_error(self)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// For loops without mio; set it to non-blocking before.
impl Stream for std::net::TcpStream {
    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Self::take_error(self)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
