//! Methods of a session that only adapters need: shorter ways through it, and storage that is exchanged.

use core::ops::Range;

use super::{Endpoint, Session};
use crate::buffer::Storage;
use crate::decoder::{Found, Step};
#[cfg(feature = "deflate")]
use crate::deflate::Agreement;
use crate::event::Event;
use crate::receiver;
#[cfg(feature = "deflate")]
use crate::sender::Sender;
use crate::time::Instant;

/// For adapters: shorter ways to small messages, storage to exchange or to take away, and idle compression state.
impl<B: Storage, C: Endpoint> Session<B, C> {
    /// Goes on to the next event if that is a whole message in a small frame that has all arrived, as most have.
    ///
    /// `false` is no verdict, and nothing has changed except that the last event is consumed: ask
    /// [`advance`](Self::advance).
    #[inline(always)]
    pub fn advance_small(&mut self, now: Instant) -> bool {
        self.release_event();
        let Some(frame) = self.connection.small_frame(now, self.buffer.filled()) else { return false };
        self.step.take(frame);
        self.known = None;
        true
    }

    /// Does [`advance_small`](Self::advance_small), [`lend`](Self::lend) and [`buffered`](Self::buffered) in one, for
    /// loops that hand messages on.
    #[inline(always)]
    pub fn lend_small(&mut self, now: Instant) -> Option<(Event<'_>, &mut C, usize)> {
        self.release_event();
        let buffered = self.buffer.len();
        let input = self.buffer.filled();
        let frame = self.connection.small_frame(now, input)?;
        self.step.take(frame);
        self.known = None;
        Some((receiver::view_small(frame, input).event?, &mut self.connection, buffered))
    }

    /// Takes the storage of the current event away, and where the event's bytes stand in it, instead of copying them.
    ///
    /// What was received behind the event moves to `storage`, which grows if it must.
    ///
    /// # Errors
    /// The storage handed in, when there is no event, or no room for what came behind it; nothing changed then.
    pub fn detach(&mut self, mut storage: B) -> Result<(B, Range<usize>), B> {
        if self.step.found == Found::Nothing {
            return Err(storage);
        }
        #[cfg(feature = "deflate")]
        if self.step.found == Found::Inflated {
            // It stands elsewhere already, and what was received stays.
            let Some(inflow) = &self.inflow else { return Err(storage) };
            let bytes = inflow.lent();
            if !put(bytes, &mut storage) {
                return Err(storage);
            }
            let taken = 0..bytes.len();
            self.release_event();
            return Ok((storage, taken));
        }
        let behind = self.buffer.filled().get(self.step.consumed..).unwrap_or_default();
        if !put(behind, &mut storage) {
            return Err(storage);
        }
        let rest = behind.len();
        let (start, end) = (self.buffer.start() + self.step.start, self.buffer.start() + self.step.end);
        let taken = self.buffer.exchange(storage, rest)?;
        self.step = Step::NOTHING;
        Ok((taken, start..end))
    }

    /// Moves the unconsumed bytes to other storage, larger or smaller, and gives back the old.
    ///
    /// # Errors
    /// The storage handed in, when it is too small and cannot grow; nothing changed then.
    pub fn move_to(&mut self, mut storage: B) -> Result<Option<B>, B> {
        self.release_event();
        let filled = self.buffer.filled();
        if !put(filled, &mut storage) {
            return Err(storage);
        }
        let len = filled.len();
        Ok(self.buffer.replace(storage, len))
    }

    /// Takes storage with `filled` unconsumed bytes at its front: what [`rest`](Self::rest) gave, unaltered.
    pub fn restore(&mut self, storage: B, filled: usize) {
        self.release_event();
        self.known = None;
        self.buffer.put(storage, filled);
    }

    /// The size of the storage that is held, in bytes; 0 without any.
    pub fn storage_len(&self) -> usize {
        self.buffer.size()
    }

    /// How many bytes wait in the storage, those of the current event included.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What was agreed on about permessage-deflate, if anything was.
    #[cfg(feature = "deflate")]
    #[inline]
    pub fn agreement(&self) -> Option<&Agreement> {
        self.inflow.as_ref().map(|inflow| inflow.agreement())
    }

    /// Whether live compression state is held, for [`park_idle`](Self::park_idle) to give back some day.
    #[cfg(feature = "deflate")]
    #[inline]
    pub fn has_live_deflate(&self) -> bool {
        self.inflow.as_ref().is_some_and(|inflow| inflow.is_live()) || self.connection.has_live_deflate()
    }

    /// Parks the compression state that was not used since the last call: of a window only its bytes are kept. Returns
    /// whether any is still live; then call again after [`Settings::idle`](crate::deflate::Settings::idle).
    ///
    /// The compressor of a split connection is parked by [`Sender::park_idle`].
    #[cfg(feature = "deflate")]
    pub fn park_idle(&mut self) -> bool {
        let out = self.connection.own_sender().is_some_and(Sender::park_idle);
        self.inflow.as_mut().is_some_and(|inflow| inflow.park_idle()) || out
    }
}

/// Copies `bytes` to the front of `storage`, which grows if it must; `false`: there is no room.
fn put<B: Storage>(bytes: &[u8], storage: &mut B) -> bool {
    let has_room = storage.grow(bytes.len());
    if let Some(front) = storage.as_mut().get_mut(..bytes.len()) {
        front.copy_from_slice(bytes);
    }
    has_room
}
