//! What a socket is made over.

use std::io::{self, Read, Write};
use std::net::Shutdown;

/// A non-blocking transport: it answers [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting.
pub trait Stream: Read + Write {
    /// Whether a short read has emptied the transport and a short write has filled it, so that the next one would block.
    ///
    /// It spares a system call a readiness. True of a socket under epoll, wrong for TLS; when in doubt, no.
    const SHORT_MEANS_BLOCKED: bool = false;

    /// Ends the writing side and leaves the reading side open: FIN, or what stands for it.
    ///
    /// # Errors
    /// `WouldBlock`: again when the transport is writable. Any other error means that the peer ended it before.
    fn shut_down(&mut self) -> io::Result<()>;
}

impl Stream for mio::net::TcpStream {
    const SHORT_MEANS_BLOCKED: bool = cfg!(any(target_os = "linux", target_os = "android"));

    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Stream for mio::net::UnixStream {
    const SHORT_MEANS_BLOCKED: bool = cfg!(any(target_os = "linux", target_os = "android"));

    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// For loops over something else than mio; set it to non-blocking before.
impl Stream for std::net::TcpStream {
    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
