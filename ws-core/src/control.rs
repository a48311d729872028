//! Control frames that wait to leave: pongs we owe, pings, the one close frame (RFC 6455, section 5.5).
//!
//! The queue is flat bytes: opcode, length, payload, again and again. A few bytes of it stand inline, enough for a
//! short pong or a close code, so that a quiet connection allocates nothing for them. The rest is boxed where there
//! is an allocator. Without one there is room for a pong, a ping and a close frame.

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

use crate::frame::{MAX_CONTROL, Opcode};

/// Maximum number of pongs and pings that wait; one more pong replaces those before it (C-06).
#[cfg(feature = "alloc")]
pub(crate) const MAX_WAITING: usize = 64;
#[cfg(not(feature = "alloc"))]
pub(crate) const MAX_WAITING: usize = 1;

/// Maximum number of their bytes.
const MAX_BYTES: usize = 8 << 10;

#[cfg(feature = "alloc")]
const INLINE: usize = 22;
/// One that is half transmitted, the newest, a ping of our own, a close frame.
#[cfg(not(feature = "alloc"))]
const INLINE: usize = 4 * (MAX_CONTROL + 2);

/// A mark beside the opcode of the pings that the core sends by itself.
const KEEPALIVE: u8 = 0x10;

/// One control frame that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting<'q> {
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'q [u8],
    /// Whether it is a ping of the keepalive timer.
    pub(crate) keepalive: bool,
}

#[derive(Debug)]
pub(crate) struct ControlQueue {
    #[cfg(feature = "alloc")]
    #[allow(clippy::box_collection, reason = "one word in every connection instead of three")]
    spill: Option<Box<Vec<u8>>>,
    len: u16,
    inline: [u8; INLINE],
}

impl ControlQueue {
    pub(crate) const fn new() -> Self {
        Self {
            #[cfg(feature = "alloc")]
            spill: None,
            len: 0,
            inline: [0; INLINE],
        }
    }

    fn bytes(&self) -> &[u8] {
        #[cfg(feature = "alloc")]
        if let Some(spill) = &self.spill {
            return spill;
        }
        &self.inline[..usize::from(self.len)]
    }

    /// The frame that leaves next.
    pub(crate) fn front(&self) -> Option<Waiting<'_>> {
        Entries(self.bytes()).next()
    }

    /// Takes the front away.
    pub(crate) fn pop(&mut self) {
        if let Some(waiting) = self.front() {
            let len = waiting.payload.len() + 2;
            self.remove(0, len);
        }
    }

    /// Queues a pong. Beyond the bound the newest replaces the older ones, but not the front when it is half sent.
    ///
    /// 5.5.3: an endpoint "MAY elect to send a Pong frame for only the most recently processed Ping frame".
    pub(crate) fn push_pong(&mut self, payload: &[u8], front_is_cut: bool) {
        if !self.has_room_for(payload) {
            self.drop_pongs(front_is_cut);
        }
        self.push(Opcode::Pong as u8, payload);
    }

    /// Queues a ping or pong that the user asked for, if the bound allows.
    #[must_use]
    pub(crate) fn push_own(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let room = self.has_room_for(payload);
        if room {
            self.push(opcode as u8, payload);
        }
        room
    }

    /// Queues a keepalive ping, unless one waits already.
    pub(crate) fn push_keepalive(&mut self) {
        if !Entries(self.bytes()).any(|waiting| waiting.keepalive) {
            self.push(Opcode::Ping as u8 | KEEPALIVE, &[]);
        }
    }

    /// Queues the close frame; there is only one in a connection's life.
    pub(crate) fn push_close(&mut self, head: &[u8], reason: &[u8]) {
        let mut body = [0; MAX_CONTROL];
        let len = head.len() + reason.len();
        body[..head.len()].copy_from_slice(head);
        body[head.len()..len].copy_from_slice(reason);
        self.push(Opcode::Close as u8, &body[..len]);
    }

    fn has_room_for(&self, payload: &[u8]) -> bool {
        let bytes = self.bytes();
        bytes.len() + payload.len() + 2 <= MAX_BYTES && Entries(bytes).count() < MAX_WAITING
    }

    fn drop_pongs(&mut self, front_is_cut: bool) {
        let mut at = 0;
        while let Some(waiting) = Entries(&self.bytes()[at..]).next() {
            let len = waiting.payload.len() + 2;
            if waiting.opcode != Opcode::Pong || at == 0 && front_is_cut {
                at += len;
            } else {
                self.remove(at, len);
            }
        }
    }

    /// Encoded payloads of at most 125 bytes each, with what the callers bound: all of it fits.
    fn push(&mut self, opcode: u8, payload: &[u8]) {
        let head = [opcode, payload.len() as u8];
        let len = usize::from(self.len);
        let end = len + 2 + payload.len();
        #[cfg(feature = "alloc")]
        {
            if self.spill.is_none() && end > INLINE {
                self.spill = Some(Box::new(self.inline[..len].to_vec()));
                self.len = 0;
            }
            if let Some(spill) = &mut self.spill {
                spill.extend_from_slice(&head);
                spill.extend_from_slice(payload);
                return;
            }
        }
        if let Some(free) = self.inline.get_mut(len..end) {
            free[..2].copy_from_slice(&head);
            free[2..].copy_from_slice(payload);
            self.len = end as u16;
        }
    }

    fn remove(&mut self, at: usize, len: usize) {
        #[cfg(feature = "alloc")]
        if let Some(spill) = &mut self.spill {
            spill.drain(at..at + len);
            if spill.is_empty() {
                self.spill = None;
            }
            return;
        }
        self.inline.copy_within(at + len..usize::from(self.len), at);
        self.len -= len as u16;
    }

    /// The wire length of everything that waits.
    pub(crate) fn wire_len(&self, masked: bool) -> usize {
        let key = if masked { 4 } else { 0 };
        Entries(self.bytes()).map(|waiting| 2 + key + waiting.payload.len()).sum()
    }
}

struct Entries<'q>(&'q [u8]);

impl<'q> Iterator for Entries<'q> {
    type Item = Waiting<'q>;

    fn next(&mut self) -> Option<Waiting<'q>> {
        let (&[opcode, len], rest) = self.0.split_first_chunk()?;
        let (payload, rest) = rest.split_at_checked(usize::from(len))?;
        self.0 = rest;
        let keepalive = opcode & KEEPALIVE != 0;
        Some(Waiting { opcode: Opcode::new(opcode & 0x0F)?, payload, keepalive })
    }
}
