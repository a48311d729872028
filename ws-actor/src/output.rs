//! Encoded bytes on their way to the socket: small frames gathered in a leased buffer, one large payload behind them.
//!
//! A message leaves in one of three ways:
//!
//! - plain: the core makes the head, and the payload is copied behind it or, if it is large, written from where it is;
//!   a client's is masked in a copy, for others may have it too;
//! - compressed by the connection's own compressor, in parts that do not keep the thread for long;
//! - for many, where this connection compresses: one frame that all of its kind share ([`ws_core::Prepared`]).
//!
//! Long messages are cut into fragments (RFC 6455, section 5.4), so that control frames can overtake.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;
use ws_core::frame::MAX_HEADER;
use ws_core::{Connection, Kind, Message, Part, Role, SendError, mask};

use crate::buffers;
use crate::compress;
use crate::outgoing::{Frame, Payload, Shared};

/// A payload of this size or more is written from where it is, one below is copied behind its head.
const LARGE: usize = 16 << 10;

/// Messages above this size are cut into fragments of it, so that pongs can overtake them.
const FRAGMENT: usize = 256 << 10;

/// The same where they are compressed: a fraction of a millisecond for each.
const COMPRESSED: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    /// Where the encoded bytes begin and end.
    start: usize,
    end: usize,
    /// Follows the buffer's bytes on the wire.
    large: Payload,
    /// What is left of the message that is being sent.
    message: Option<Rest>,
}

enum Rest {
    /// Sent up to here.
    Message(Frame, usize),
    Shared(Shared),
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end && self.large.is_empty()
    }

    /// Whether another frame may be encoded behind what is there.
    pub(crate) fn has_room(&self) -> bool {
        self.large.is_empty()
            && (self.buffer.is_empty() || self.end + LARGE + MAX_HEADER <= self.buffer.len())
    }

    pub(crate) fn begin(&mut self, frame: Frame) {
        self.message = Some(Rest::Message(frame, 0));
    }

    /// Encodes what the core has to say by itself.
    pub(crate) fn transmit(&mut self, connection: &mut Connection) {
        if connection.pending() > 0 {
            let n = connection.transmit(self.space());
            self.end += n;
        }
    }

    /// Encodes the next frame of the message in hand; `false` when there is none.
    pub(crate) fn encode_fragment(&mut self, connection: &mut Connection) -> bool {
        match self.message.take() {
            None => return false,
            // A close frame ends the message with everything else.
            Some(Rest::Shared(_)) if !connection.can_send() => {}
            Some(Rest::Shared(shared)) => self.put_shared(shared),
            Some(Rest::Message(frame, sent)) => self.encode(frame, sent, connection),
        }
        true
    }

    fn encode(&mut self, frame: Frame, sent: usize, connection: &mut Connection) {
        let (len, part) = frame.next_part(sent, FRAGMENT);
        if !compress::compresses(connection, len, part) {
            return self.encode_plain(frame, sent, len, part, connection);
        }
        // A client masks: its frames are nobody else's.
        let is_shared = sent == 0 && connection.role() == Role::Server;
        match frame.many().filter(|_| is_shared) {
            Some(many) => {
                let prepared = many.prepared();
                // Refused after a close frame.
                let Ok(bytes) = connection.prepared(prepared) else { return };
                if bytes.len() < LARGE {
                    self.put(bytes);
                } else if let Some(shared) = Shared::new(prepared, bytes) {
                    self.put_shared(shared);
                }
            }
            None => self.compress(frame, sent, connection),
        }
    }

    fn encode_plain(
        &mut self,
        frame: Frame,
        sent: usize,
        len: usize,
        part: Part,
        connection: &mut Connection,
    ) {
        // Refused after a close frame.
        let Ok(header) = connection.frame_header(frame.kind(), len as u64, part) else { return };
        let mut head = [0; MAX_HEADER];
        let head_len = header.encode(&mut head);
        self.put(&head[..head_len]);
        let payload = sent..sent + len;
        match header.mask {
            None if len < LARGE => self.put(&frame.payload()[payload]),
            None => self.large = frame.payload().slice(payload).into(),
            Some(key) if len < LARGE => {
                mask::mask_copy(&frame.payload()[payload], self.space(), key);
                self.end += len;
            }
            Some(key) => {
                let mut masked = vec![0; len];
                mask::mask_copy(&frame.payload()[payload], &mut masked, key);
                self.large = masked.into();
            }
        }
        if !part.is_last() {
            self.message = Some(Rest::Message(frame, sent + len));
        }
    }

    /// Encodes the next part by the connection's own compressor.
    fn compress(&mut self, frame: Frame, sent: usize, connection: &mut Connection) {
        let (len, part) = frame.next_part(sent, COMPRESSED);
        let payload = &frame.payload()[sent..sent + len];
        let message = match frame.kind() {
            Kind::Binary => Message::Binary(payload),
            Kind::Text => match std::str::from_utf8(payload) {
                Ok(text) => Message::Text(text),
                // A text that is none cannot have become a frame.
                Err(_) => return,
            },
        };
        let mut result = connection.send_part(message, part, self.space());
        if let Err(SendError::NoSpace { needed }) = result {
            let mut out = vec![0; needed];
            result = connection.send_part(message, part, &mut out).map(|n| {
                out.truncate(n);
                out.shrink_to_fit();
                self.large = out.into();
                0
            });
        }
        // Refused after a close frame.
        let Ok(n) = result else { return };
        self.end += n;
        if !part.is_last() {
            self.message = Some(Rest::Message(frame, sent + len));
        }
    }

    /// Encodes the next part of a frame that others share.
    fn put_shared(&mut self, shared: Shared) {
        let (header, payload, rest) = shared.cut(FRAGMENT);
        let mut head = [0; MAX_HEADER];
        let head_len = header.encode(&mut head);
        self.put(&head[..head_len]);
        if payload.len() < LARGE {
            self.put(&payload);
        } else {
            self.large = payload.into();
        }
        self.message = rest.map(Rest::Shared);
    }

    /// Copies what fits for sure: less than [`LARGE`] and a head, where there [is room](Self::has_room).
    fn put(&mut self, bytes: &[u8]) {
        self.space()[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    fn space(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = buffers::lease();
        }
        &mut self.buffer[self.end..]
    }

    pub(crate) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let small = &self.buffer[self.start..self.end];
        let written = if self.large.is_empty() {
            Pin::new(io).poll_write(cx, small)
        } else {
            Pin::new(io).poll_write_vectored(cx, &[IoSlice::new(small), IoSlice::new(&self.large)])
        };
        let n = ready!(written)?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_small = n.min(self.end - self.start);
        self.start += of_small;
        let of_large = (n - of_small).min(self.large.len());
        self.large.advance(of_large);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.large.is_empty() {
            // The payload is not kept alive by an empty rest of it.
            self.large = Payload::default();
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the buffer back if nothing waits in it.
    pub(crate) fn rest(&mut self) {
        if self.start == self.end {
            self.give_back();
        }
    }

    /// Gives the buffer back, with what it holds.
    pub(crate) fn give_back(&mut self) {
        (self.start, self.end) = (0, 0);
        if !self.buffer.is_empty() {
            buffers::give_back(std::mem::take(&mut self.buffer));
        }
    }
}
