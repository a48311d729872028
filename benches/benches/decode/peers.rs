//! The peers over a stream that is a slice. Their futures are polled by hand: the bytes are always there.

use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use fastwebsockets::FragmentCollector;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite;
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_benches::micro::Entrant;

use crate::{Case, digest};

pub(crate) fn entrants(case: &Case) -> [Entrant<'_>; 4] {
    [
        Entrant::new("tungstenite (128 KiB buffer, its default)", tungstenite(case, 128 * 1024)),
        Entrant::new("tungstenite (4 KiB buffer)", tungstenite(case, 4 * 1024)),
        Entrant::new("fastwebsockets", fastwebsockets(case)),
        Entrant::new("tokio-websockets", tokio_websockets(case)),
    ]
}

fn tungstenite(case: &Case, read_buffer: usize) -> impl FnMut() -> u64 {
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let mut socket = tungstenite::WebSocket::from_raw_socket(Wire::new(case), Role::Server, Some(config));
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let payload = match socket.read() {
                Ok(tungstenite::Message::Text(text)) => text.into(),
                Ok(tungstenite::Message::Binary(payload)) => payload,
                _ => return 0,
            };
            sum = sum.wrapping_add(digest(&payload));
        }
        sum
    }
}

fn fastwebsockets(case: &Case) -> impl FnMut() -> u64 {
    let socket = fastwebsockets::WebSocket::after_handshake(Wire::new(case), fastwebsockets::Role::Server);
    let mut socket = FragmentCollector::new(socket);
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let Poll::Ready(Ok(frame)) = pin!(socket.read_frame()).poll(&mut idle()) else { return 0 };
            sum = sum.wrapping_add(digest(&frame.payload));
        }
        sum
    }
}

fn tokio_websockets(case: &Case) -> impl FnMut() -> u64 {
    let mut socket = tokio_websockets::ServerBuilder::new().serve(Wire::new(case));
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let Poll::Ready(Some(Ok(message))) = Pin::new(&mut socket).poll_next(&mut idle()) else {
                return 0;
            };
            sum = sum.wrapping_add(digest(message.as_payload()));
        }
        sum
    }
}

fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Reads the case's bytes over and over, and swallows what is written.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
}

impl Wire {
    fn new(case: &Case) -> Self {
        Self { bytes: case.wire.clone(), at: 0 }
    }

    fn advance(&mut self, most: usize) -> &[u8] {
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let rest = &self.bytes[self.at..];
        let read = &rest[..rest.len().min(most)];
        self.at += read.len();
        read
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.advance(buffer.len());
        buffer[..read.len()].copy_from_slice(read);
        Ok(read.len())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buffer.remaining();
        buffer.put_slice(self.get_mut().advance(most));
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
