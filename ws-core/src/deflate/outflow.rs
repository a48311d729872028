//! A sender's compressed messages: which are, and what their frames hold (RFC 7692, section 6.1).

use super::deflater::Deflater;
use super::pool::Pool;
use super::settings::{Settings, WindowBits};
use crate::event::Part;
use crate::prepared::Prepared;

/// Which messages of a connection that agreed to permessage-deflate are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compress {
    /// Those of at least [`Settings::threshold`] bytes, and those sent in parts.
    #[default]
    Auto,
    /// All.
    Always,
    /// None: for secrets beside text that an attacker chooses (RFC 7692, section 8).
    Never,
}

#[derive(Debug)]
pub(crate) struct Outflow {
    pub(crate) deflater: Deflater,
    /// A message that did not shrink may go plain: the compressor keeps nothing of it.
    pub(crate) forgets: bool,
    threshold: usize,
    pub(crate) mode: Compress,
    /// Whether the message that is open for more parts is compressed.
    pub(crate) open: bool,
    used: bool,
}

impl Outflow {
    pub(crate) fn new(settings: &Settings, window: WindowBits, takeover: bool) -> Self {
        let pool = settings.pool.clone().unwrap_or_else(Pool::shared);
        let deflater = Deflater::new(window, takeover, settings.level, pool);
        Self {
            forgets: !deflater.has_context(),
            deflater,
            threshold: settings.threshold,
            mode: Compress::Auto,
            open: false,
            used: false,
        }
    }

    /// Whether a part of `len` bytes is to be compressed.
    pub(crate) fn takes(&self, len: usize, part: Part) -> bool {
        if !part.is_first() {
            return self.open;
        }
        match self.mode {
            Compress::Always => true,
            Compress::Never => false,
            Compress::Auto => part == Part::First || len >= self.threshold,
        }
    }

    pub(crate) fn deflate(&mut self, input: &[u8], part: Part, out: &mut [u8]) -> Option<usize> {
        self.used = true;
        let len = self.deflater.deflate(input, part.is_last(), out).ok()?;
        self.open = !part.is_last();
        Some(len)
    }

    /// The compressed form of a message for many, if this connection is to have one.
    pub(crate) fn share<'p>(&mut self, prepared: &'p Prepared) -> Option<&'p [u8]> {
        if !self.takes(prepared.len(), Part::Whole) {
            return None;
        }
        let frame = prepared.deflated(&self.deflater)?;
        // The peer's window will have seen what our compressor has not.
        if !self.forgets {
            self.deflater.forget();
        }
        Some(frame)
    }

    /// As for the receiving direction.
    pub(crate) fn park_idle(&mut self) -> bool {
        if !core::mem::take(&mut self.used) {
            self.deflater.park();
        }
        self.deflater.is_live()
    }
}
