//! A way through an HTTP proxy: `CONNECT` (RFC 9110, section 9.3.6; RFC 6455, section 4.1).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::net::TcpStream;
//! use ws_tokio::{ConnectOptions, connect_through, proxy};
//!
//! let mut headers = http::HeaderMap::new(); // seen by the proxy alone
//! headers.insert("Proxy-Authorization", "Basic dXNlcjpwYXNz".parse()?);
//! let stream = TcpStream::connect("proxy.example.com:3128").await?;
//! let tunnel = proxy::tunnel(stream, "example.com:443", &headers).await?;
//! let (ws, _) = connect_through(tunnel, "wss://example.com/chat", &ConnectOptions::new()).await?;
//! # Ok(())
//! # }
//! ```

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ws_core::{ClientHandshake, ClientRequest, Config, Instant, RequestError, Uri, UriError};

use crate::connect::{Answer, ConnectError, Deadline, read_answer, write};

/// Asks a proxy, over a stream that leads to it, for a tunnel to `authority`, a host and a port: `example.com:443`,
/// `[::1]:80`. The fields go to the proxy only.
///
/// The proxy has ten seconds to answer, as a server has.
///
/// # Errors
/// [`ConnectError::Uri`] for something that is not an authority, [`ConnectError::Proxy`] when the proxy answers anything
/// but 2xx, and those of a transport that breaks.
///
/// # Cancel safety
/// Dropped early, the stream is dropped too.
pub async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    authority: &str,
    headers: &HeaderMap,
) -> Result<Tunnel<S>, ConnectError> {
    let config = Config::client();
    let deadline = Deadline::after(config.timeouts.handshake);
    // The rules for an authority are those of an address; a path, or a line break, cannot hide in it.
    let url = format!("ws://{authority}");
    let uri = Uri::parse(&url)?;
    let (_, port) = authority.rsplit_once(':').ok_or(UriError::Port)?;
    // RFC 9110, 9.3.6: "the host and port number of the tunnel destination, separated by a colon".
    if authority.contains(['/', '?']) || port.parse() != Ok(uri.port()) {
        return Err(UriError::Port.into());
    }
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    for (name, value) in headers {
        // RFC 9110, 9.3.6: a CONNECT has no body; a field that says otherwise would hide what follows.
        if matches!(name.as_str(), "host" | "content-length" | "transfer-encoding") {
            return Err(RequestError::ReservedHeader.into());
        }
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    deadline.limit(write(&mut stream, &request)).await?.map_err(ConnectError::Lost)?;
    // The head of a proxy's response is one like any other. The handshake that reads it is never written, and its key
    // is no secret: nothing is held against it but a 101, which no CONNECT is answered with.
    let mut reader = ClientHandshake::new(Instant::ZERO, config.clone(), ClientRequest::new(uri), [0; 16])?;
    match read_answer(stream, &mut reader, &config, &deadline).await? {
        // "Any 2xx (Successful) response indicates that the sender […] will switch to tunnel mode immediately after the
        // response header section".
        Answer::Refused(answer) if answer.response.status().is_success() => {
            let (stream, leftover) = answer.into_parts();
            Ok(Tunnel { stream, leftover, read: 0 })
        }
        Answer::Refused(refusal) => Err(ConnectError::Proxy(Box::new(refusal.read_body(&deadline).await))),
        Answer::Open { .. } => Err(ConnectError::Handshake(ws_core::HandshakeError::StatusLine)),
    }
}

/// A stream through a proxy. What the far end sent together with the proxy's answer is read first.
#[derive(Debug)]
pub struct Tunnel<S> {
    stream: S,
    leftover: Vec<u8>,
    read: usize,
}

impl<S> Tunnel<S> {
    /// The stream to the proxy, by reference.
    pub fn transport(&self) -> &S {
        &self.stream
    }

    /// The stream to the proxy, and what was received and not read yet.
    pub fn into_inner(mut self) -> (S, Vec<u8>) {
        self.leftover.drain(..self.read);
        (self.stream, self.leftover)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tunnel<S> {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.leftover.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let rest = &this.leftover[this.read..];
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        this.read += n;
        if this.read == this.leftover.len() {
            (this.leftover, this.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tunnel<S> {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
