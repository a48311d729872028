//! Large payloads on their way out, written from where they stand.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::frame::MAX_HEADER;
use ws_core::{Message, Part, Prepared, mask};

use super::{CORK, Encode, LARGE, Wire};
use crate::error::Error;

/// The length from which on a frame that was made for many goes out beside what waits, with nothing before it: it stands
/// in memory of its own, and copying it costs more than the write that it might share.
const LARGE_ALONE: usize = 8 << 10;

/// A large payload on its way out: its header is queued, and the payload follows from where it stands.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    /// What has neither been written nor queued.
    left: &'a [u8],
    /// The mask, turned to fit the first byte of it.
    key: Option<[u8; 4]>,
}

impl<'a> Payload<'a> {
    /// Queues the header. From here on the message counts as sent, and nothing but the payload may follow.
    pub(crate) fn begin<S: AsyncRead + AsyncWrite + Unpin>(
        wire: &mut Wire<S>,
        from: &mut impl Encode,
        message: Message<'a>,
        part: Part,
    ) -> Result<Self, Error> {
        if wire.is_stuck() {
            return Err(wire.lost());
        }
        // What is owed goes before.
        wire.queue_owed(from);
        let header = from.header(message, part)?;
        let mut head = [0; MAX_HEADER];
        let len = header.encode(&mut head);
        wire.reserve(len);
        wire.out[wire.end..wire.end + len].copy_from_slice(&head[..len]);
        wire.end += len;
        wire.cut = true;
        Ok(Self { left: message.as_bytes(), key: header.mask })
    }

    /// The same for a frame made for many, header included. From here on it counts as sent.
    pub(crate) fn begin_prepared<S: AsyncRead + AsyncWrite + Unpin>(
        wire: &mut Wire<S>,
        from: &mut impl Encode,
        prepared: &'a Prepared,
    ) -> Result<Self, Error> {
        if wire.is_stuck() {
            return Err(wire.lost());
        }
        wire.queue_owed(from);
        let frame = from.prepared(prepared)?;
        wire.cut = true;
        Ok(Self { left: frame, key: None })
    }

    /// Queues it if it is small, or not large and others already wait, with which it leaves; `None` then.
    pub(crate) fn unless_small<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        wire: &mut Wire<S>,
    ) -> Option<Self> {
        let large = if wire.queued() == 0 { LARGE_ALONE } else { LARGE };
        if self.left.len() >= large {
            return Some(self);
        }
        self.finish(wire);
        None
    }

    /// Ready when all of it is written or queued.
    pub(crate) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let beside = self.key.is_none() && wire.io.is_write_vectored();
        while !self.left.is_empty() {
            if wire.broken {
                return Poll::Ready(Err(wire.lost()));
            }
            if beside {
                let parts = [IoSlice::new(&wire.out[wire.start..wire.end]), IoSlice::new(self.left)];
                let parts = if wire.start == wire.end { &parts[1..] } else { &parts[..] };
                let taken = match Pin::new(&mut wire.io).poll_write_vectored(cx, parts) {
                    Poll::Ready(result) => wire.written(result, self.left.len()),
                    Poll::Pending => ready!(wire.poll_stall(cx)).map(|()| 0),
                };
                let taken = taken.map_err(|error| wire.told(error))?;
                self.left = &self.left[taken..];
            } else {
                ready!(wire.poll_room(cx))?;
                self.copy(wire, CORK);
            }
        }
        wire.cut = false;
        Poll::Ready(Ok(()))
    }

    /// The send is given up half way: the rest is copied behind what waits, so that a frame is never cut.
    pub(crate) fn finish<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) {
        // With nothing left, nothing is leased for it.
        if !wire.broken && !self.left.is_empty() {
            self.copy(wire, usize::MAX);
        }
        wire.cut = false;
    }

    /// Copies up to `most` bytes behind what waits.
    fn copy<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>, most: usize) {
        let (now, later) = self.left.split_at(most.min(self.left.len()));
        wire.reserve(now.len());
        let end = wire.end + now.len();
        let out = &mut wire.out[wire.end..end];
        match self.key {
            Some(key) => {
                mask::mask_copy(now, out, key);
                self.key = Some(mask::rotate(key, now.len()));
            }
            None => out.copy_from_slice(now),
        }
        wire.end = end;
        self.left = later;
    }
}

/// A [`Payload`] and the wire, which nothing else uses meanwhile.
pub(crate) struct Large<'a, S: AsyncRead + AsyncWrite + Unpin> {
    wire: &'a mut Wire<S>,
    payload: Payload<'a>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Large<'a, S> {
    /// As [`Payload::begin`].
    pub(crate) fn begin(
        wire: &'a mut Wire<S>,
        from: &mut impl Encode,
        message: Message<'a>,
        part: Part,
    ) -> Result<Self, Error> {
        let payload = Payload::begin(wire, from, message, part)?;
        Ok(Self { wire, payload })
    }

    /// As [`Payload::begin_prepared`]. Behind what waits if it is small, and `None` then.
    pub(crate) fn begin_prepared(
        wire: &'a mut Wire<S>,
        from: &mut impl Encode,
        prepared: &'a Prepared,
    ) -> Result<Option<Self>, Error> {
        let payload = Payload::begin_prepared(wire, from, prepared)?.unless_small(wire);
        Ok(payload.map(|payload| Self { wire, payload }))
    }

    /// As [`Payload::poll`].
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let sent = self.payload.poll(self.wire, cx);
        self.wire.waited |= sent.is_pending();
        sent
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Large<'_, S> {
    fn drop(&mut self) {
        self.payload.finish(self.wire);
    }
}
