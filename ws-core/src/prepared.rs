//! A message encoded once for many connections: what a broadcast is made of.
//!
//! A server's frames are not masked, so one frame fits all of them. Compressed forms are made when the first connection
//! asks for one, and shared from then on: one for each window that matters, since no peer may get a reference beyond the
//! window that it agreed to (RFC 7692, section 7.2.1).

use core::fmt;

#[cfg(feature = "deflate")]
use std::sync::OnceLock;

use alloc::sync::Arc;
use alloc::vec::Vec;

#[cfg(feature = "deflate")]
use crate::deflate::{Deflater, WindowBits};
use crate::event::{Kind, Message};
#[cfg(feature = "deflate")]
use crate::frame::RSV1;
use crate::frame::{Header, MAX_HEADER, Opcode};
use crate::view;

/// A message for many connections of a server: framed once, and compressed at most once for each window in use.
///
/// Cheap to clone, and shared by threads. [`Sender::prepared`](crate::Sender::prepared) says what to write to one
/// connection.
///
/// A message that is shorter than the windows is compressed once for all of them. Level and pool are those of the
/// connection that asks first; the others wait for it.
///
/// ```
/// use ws_core::{Config, Connection, Instant, Message, Prepared};
///
/// static CONFIG: Config = Config::server();
/// let mut members = [Connection::server(&CONFIG, Instant::ZERO), Connection::server(&CONFIG, Instant::ZERO)];
/// let news = Prepared::new(Message::Text("news"));
/// for member in &mut members {
///     assert_eq!(member.prepared(&news).unwrap(), b"\x81\x04news"); // to be written as it is
/// }
/// ```
#[derive(Clone)]
pub struct Prepared(Arc<Shared>);

struct Shared {
    kind: Kind,
    /// The length of the header in `plain`.
    head: usize,
    plain: Vec<u8>,
    /// Frames for windows of 9 to 15 bits; `None` where that is no shorter than `plain`.
    #[cfg(feature = "deflate")]
    deflated: [OnceLock<Option<Vec<u8>>>; 7],
}

impl Prepared {
    /// Frames a message.
    pub fn new(message: Message<'_>) -> Self {
        let mut plain = Vec::new();
        let head = put_frame(&mut plain, message.kind(), 0, message.as_bytes());
        Self(Arc::new(Shared {
            kind: message.kind(),
            head,
            plain,
            #[cfg(feature = "deflate")]
            deflated: Default::default(),
        }))
    }

    /// Takes the memory of a message back for the next one; `None`: the message is still held elsewhere.
    pub fn reclaim(mut self) -> Option<Spare> {
        #[cfg(not(feature = "deflate"))]
        Arc::get_mut(&mut self.0)?;
        #[cfg(feature = "deflate")]
        {
            // What it was compressed to is given up: only the plain frame's memory is used again.
            Arc::get_mut(&mut self.0)?.deflated = Default::default();
        }
        Some(Spare(self))
    }

    /// The message, for connections that need a frame of their own: those of clients, which mask.
    pub fn message(&self) -> Message<'_> {
        let payload = self.0.plain.get(self.0.head..).unwrap_or_default();
        match self.0.kind {
            Kind::Text => Message::Text(view::text(payload, false).unwrap_or_default()),
            Kind::Binary => Message::Binary(payload),
        }
    }

    /// Text or binary.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The length of the message, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty message is no special case")]
    pub fn len(&self) -> usize {
        self.0.plain.len() - self.0.head
    }

    /// Keeps a frame that [`Sender::prepared`](crate::Sender::prepared) lent of this message, for a write that goes on
    /// when the loan is over: a reference count, no copy. `None` for bytes that are none of its frames.
    pub fn hold(&self, frame: &[u8]) -> Option<Held> {
        let is_it = |own: &[u8]| core::ptr::eq(own, frame);
        if is_it(&self.0.plain) {
            return Some(Held {
                prepared: self.clone(),
                #[cfg(feature = "deflate")]
                class: None,
            });
        }
        #[cfg(feature = "deflate")]
        for (class, own) in self.0.deflated.iter().enumerate() {
            if own.get().and_then(Option::as_deref).is_some_and(is_it) {
                return Some(Held { prepared: self.clone(), class: Some(class) });
            }
        }
        None
    }

    /// The frame for connections that do not compress.
    #[inline]
    pub fn plain(&self) -> &[u8] {
        &self.0.plain
    }

    /// The frame with a payload that refers to nothing before it, and to nothing beyond the window of `own`; `None` if
    /// that is no shorter.
    #[cfg(feature = "deflate")]
    pub(crate) fn deflated(&self, own: &Deflater) -> Option<&[u8]> {
        let payload = self.0.plain.get(self.0.head..)?;
        // A larger window than the message makes no difference.
        let enough = (9..15).find(|bits| payload.len() <= 1 << bits).unwrap_or(15);
        let window = WindowBits::new(enough)?.min(own.window());
        let class = self.0.deflated.get(usize::from(window.bits()).checked_sub(9)?)?;
        let frame = class.get_or_init(|| {
            let mut once = own.fresh(window);
            let mut out = vec![0; once.bound(payload.len())];
            let len = once.deflate(payload, true, &mut out).ok()?;
            (len < payload.len()).then(|| frame(self.0.kind, RSV1, &out[..len]))
        });
        frame.as_deref()
    }
}

/// The memory of a [`Prepared`] message that is done with: see [`Prepared::reclaim`].
///
/// A publisher that keeps a few of these prepares messages without allocating.
pub struct Spare(Prepared);

impl Spare {
    /// Frames a message in this memory, which grows if it has to.
    pub fn prepare(mut self, message: Message<'_>) -> Prepared {
        let Some(shared) = Arc::get_mut(&mut self.0.0) else { return Prepared::new(message) };
        let payload = message.as_bytes();
        shared.kind = message.kind();
        shared.plain.clear();
        shared.head = put_frame(&mut shared.plain, message.kind(), 0, payload);
        self.0
    }

    /// The length of a frame that needs no more memory.
    pub fn capacity(&self) -> usize {
        self.0.0.plain.capacity()
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").field("capacity", &self.capacity()).finish()
    }
}

/// A frame of a [`Prepared`] message, held: see [`Prepared::hold`].
#[derive(Clone, Debug)]
pub struct Held {
    prepared: Prepared,
    /// Which of the compressed ones; `None`: the plain one.
    #[cfg(feature = "deflate")]
    class: Option<usize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        let shared = &self.prepared.0;
        #[cfg(feature = "deflate")]
        if let Some(frame) = self.class.and_then(|class| shared.deflated.get(class)?.get()?.as_deref()) {
            return frame;
        }
        &shared.plain
    }
}

#[cfg(feature = "deflate")]
fn frame(kind: Kind, rsv: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_frame(&mut frame, kind, rsv, payload);
    frame
}

/// Returns the length of the header.
fn put_frame(out: &mut Vec<u8>, kind: Kind, rsv: u8, payload: &[u8]) -> usize {
    let opcode = match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    };
    let header = Header { fin: true, rsv, opcode, mask: None, len: payload.len() as u64 };
    let mut head = [0; MAX_HEADER];
    let len = header.encode(&mut head);
    out.reserve_exact(len + payload.len());
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(payload);
    len
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("kind", &self.0.kind)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
