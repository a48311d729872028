//! An in-memory stream: reads repeat the same bytes over and over, writes are counted.
//!
//! It is always ready, so peers' futures over it are polled by hand.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
#[cfg(feature = "peers")]
use std::task::Waker;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both ends are this side's.
#[derive(Clone)]
pub(super) struct Stream {
    bytes: Rc<[u8]>,
    at: usize,
    written: Rc<Cell<u64>>,
    record: Option<Rc<RefCell<Vec<u8>>>>,
}

impl Stream {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), at: 0, written: Rc::default(), record: None }
    }

    /// A stream that keeps what is written, for the check of an entrant.
    pub(super) fn recording(bytes: &[u8]) -> (Self, Rc<RefCell<Vec<u8>>>) {
        let record = Rc::<RefCell<Vec<u8>>>::default();
        (Self { record: Some(record.clone()), ..Self::new(bytes) }, record)
    }

    /// A handle that remains after a library takes the stream.
    #[cfg(feature = "peers")]
    pub(super) fn counter(&self) -> Rc<Cell<u64>> {
        self.written.clone()
    }

    /// Takes what is written, as a socket would.
    #[inline]
    pub(super) fn swallow(&self, bytes: &[u8]) {
        self.written.set(self.written.get() + black_box(bytes).len() as u64);
        if let Some(record) = &self.record {
            record.borrow_mut().extend_from_slice(bytes);
        }
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

/// Polls a future that is always ready.
#[cfg(feature = "peers")]
pub(super) fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.advance(buffer.len());
        buffer[..read.len()].copy_from_slice(read);
        Ok(read.len())
    }
}

impl AsyncRead for Stream {
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

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.swallow(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.swallow(buffer);
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        buffers.iter().for_each(|buffer| self.swallow(buffer));
        Poll::Ready(Ok(buffers.iter().map(|buffer| buffer.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
