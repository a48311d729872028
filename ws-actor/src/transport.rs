//! Streams that carry connections: TCP sockets, and those that a program has made of them (TLS).

use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::rewind::Rewind;

/// What a connection is read from and written to.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ready when it can be told that nobody is on the other side any more; nothing is read.
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Transport for TcpStream {
    /// A client that has sent something ahead, or has closed behind that, is not noticed.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_peek(cx, &mut ReadBuf::new(&mut [0]))) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }
}

/// The form in which a stream comes that is only known to be one.
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Rewind<S> {}
