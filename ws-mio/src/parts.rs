//! A prepared message sent in parts: one so large that control frames should overtake it.
//!
//! Its frame is made once for all connections; the sender cuts it. Invariant: from the moment that the frame is lent,
//! the connection's message is open, and nothing of another one gets in before the last part (RFC 6455, section 5.4);
//! and the parts are what was lent, neither more nor less.

use ws_core::frame::{Header, MAX_HEADER, Opcode};
use ws_core::{Connection, Kind, Part, Prepared, SendError};

use crate::buffers::Buffers;
use crate::error::Error;
use crate::handler::Peer;
use crate::stream::Stream;
use crate::wire::{LARGE, Wire};

/// How a frame that was lent goes on. How much of it is left stands beside this, where it takes no padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    kind: Kind,
    /// The next part's.
    opcode: Opcode,
    rsv: u8,
}

impl Parts {
    fn of(prepared: &Prepared, frame: &[u8]) -> Option<(Self, usize)> {
        let (Header { opcode, rsv, .. }, head_len) = Header::decode(frame).ok()??;
        Some((Self { kind: prepared.kind(), opcode, rsv }, frame.len() - head_len))
    }

    /// How it goes on after this part, if that is the next one, and how much is left then.
    fn after(self, left: usize, header: &Header, payload: &[u8]) -> Option<(Self, usize)> {
        let left = left.checked_sub(payload.len())?;
        // 5.4: "a single frame with the FIN bit clear and an opcode other than 0", then those with opcode 0, and one with
        // the FIN bit at the end. RFC 7692, 6.1: RSV1 is on the first of them alone.
        let follows = header.opcode == self.opcode
            && header.rsv == self.rsv
            && header.mask.is_none()
            && header.len == payload.len() as u64
            && (!header.fin || left == 0);
        follows.then_some((Self { opcode: Opcode::Continuation, rsv: 0, ..self }, left))
    }
}

impl<D> Peer<'_, D> {
    /// The frame of a prepared message as this connection has to send it: compressed for its window, or plain. It counts as
    /// sent. So [`put_frame`](Self::put_frame) all of it, whole or in parts (RFC 6455, section 5.4): until then the message
    /// is open, and the connection accepts no other, neither here nor from other threads.
    ///
    /// Use it for frames so large that control frames should overtake parts of them, and
    /// [`send_prepared`](Self::send_prepared) for all others.
    ///
    /// # Errors
    /// [`Error::Refused`]: the connection is closing, or another message is open.
    pub fn prepared_frame<'p>(&mut self, prepared: &'p Prepared) -> Result<&'p [u8], Error> {
        self.catch_up();
        let (connection, wire) = (&mut *self.reply.connection, &mut *self.reply.wire);
        let frame = connection.prepared(prepared)?;
        if let Some((parts, left)) = Parts::of(prepared, frame) {
            // Its own frame is not wanted: from here on the message is open to the core, too.
            connection.frame_header(parts.kind, 0, Part::First)?;
            (wire.parts, wire.parts_left) = (Some(parts), left);
        }
        Ok(frame)
    }

    /// Queues a part of what [`prepared_frame`](Self::prepared_frame) returned, as a frame with this header.
    ///
    /// # Errors
    /// [`Error::Refused`]: the connection is closing, or this is not the next part of a frame that was lent: its first
    /// opcode and reserved bits, then [`Opcode::Continuation`] without them; the length of `payload`, no mask; FIN where
    /// the frame ends, and not before. Otherwise as for [`send`](Self::send). Nothing was queued, and the same part can be
    /// put again; without its last one the message cannot go on, and neither can the connection.
    pub fn put_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Error> {
        let reply = &mut self.reply;
        if !reply.connection.can_send() {
            return Err(SendError::Closed.into());
        }
        let (parts, left) = (reply.wire.parts, reply.wire.parts_left);
        let rest = parts.and_then(|parts| parts.after(left, &header, payload));
        let (parts, left) = rest.ok_or(SendError::NoMessageOpen)?;
        match reply.wire.put_frame(reply.buffers, reply.connection, parts.kind, header, payload) {
            Err(Error::QueueFull) => return Err(reply.overflow()),
            result => result?,
        }
        (reply.wire.parts, reply.wire.parts_left) = (Some(parts), left);
        if header.fin {
            reply.wire.parts = None;
            reply.connection.frame_header(parts.kind, 0, Part::Last)?;
        }
        Ok(())
    }
}

impl<S: Stream> Wire<S> {
    /// Sends a part of a frame that was made elsewhere.
    #[cold]
    fn put_frame(
        &mut self,
        buffers: &mut Buffers,
        connection: &mut Connection,
        kind: Kind,
        header: Header,
        payload: &[u8],
    ) -> Result<(), Error> {
        if self.broken || !self.has_room() {
            let needed = (connection.pending() + MAX_HEADER).saturating_add(payload.len());
            // Its own frame's message is open, to the core, too.
            self.check_room(buffers, connection, needed, (kind, Part::Middle))?;
        }
        self.queue_owed(buffers, connection);
        let mut head = [0; MAX_HEADER];
        let len = header.encode(&mut head);
        self.copy(buffers, &head[..len]);
        if payload.len() >= LARGE && !self.blocked {
            self.write_beside(buffers, payload);
        } else {
            self.copy(buffers, payload);
        }
        Ok(())
    }
}
