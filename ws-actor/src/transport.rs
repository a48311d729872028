//! Streams that carry connections: TCP sockets, and those that a program has made of them (TLS).

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::listen::serve;
use crate::rewind::Rewind;
use crate::server::Server;
use crate::upgrade::Ends;

/// A stream that a connection is read from and written to.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ready when it is known that the peer is gone; nothing is read.
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

/// The form of a stream of unknown type.
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Rewind<S> {}

impl Server {
    /// Serves a stream that the program has accepted itself, over TLS for example: what comes over it is read as from
    /// a socket of [`Server::listen`]. To be called when the stream is ready to be read, that is after
    /// its own handshake, to which this server's limits do not apply.
    ///
    /// The future ends with the connection. It belongs in a task of its own, as the accepting does:
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use tokio::net::{TcpListener, TcpStream};
    /// # use ws_actor::Server;
    /// # struct TlsAcceptor;
    /// # impl TlsAcceptor {
    /// #     async fn accept(&self, tcp: TcpStream) -> std::io::Result<TcpStream> { Ok(tcp) }
    /// # }
    /// async fn serve_tls(server: Server, listener: TcpListener, tls: TlsAcceptor) -> std::io::Result<()> {
    ///     let (server, tls) = (Arc::new(server), Arc::new(tls)); // tokio_rustls::TlsAcceptor, say
    ///     loop {
    ///         let (tcp, remote) = listener.accept().await?;
    ///         let local = tcp.local_addr()?;
    ///         let (server, tls) = (Arc::clone(&server), Arc::clone(&tls));
    ///         tokio::spawn(async move {
    ///             let handshake = tokio::time::timeout(std::time::Duration::from_secs(10), tls.accept(tcp));
    ///             if let Ok(Ok(stream)) = handshake.await {
    ///                 server.serve(stream, remote, local).await;
    ///             }
    ///         });
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection without a close frame; its actor gets its
    /// [`Disconnect`](crate::Disconnect).
    pub fn serve<S>(
        self: &Arc<Self>,
        stream: S,
        remote_addr: SocketAddr,
        local_addr: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let server = Arc::clone(self);
        let ends = Ends { remote: remote_addr, local: local_addr };
        async move {
            let Ok(permit) = Arc::clone(&server.handshakes).acquire_owned().await else { return };
            serve(server, Rewind::new(Bytes::new(), stream), ends, permit).await;
        }
    }
}
