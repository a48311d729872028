//! What one side wants of permessage-deflate.

use core::time::Duration;

use super::pool::Pool;

/// The size of a window, as its logarithm to base 2: 8 to 15 (RFC 7692, section 7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB: what holds when nothing is said.
    pub const MAX: Self = Self(15);

    /// `None` outside 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        if matches!(bits, 8..=15) { Some(Self(bits)) } else { None }
    }

    /// 8 to 15.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The window in bytes.
    pub const fn size(self) -> usize {
        1 << self.0
    }
}

/// What one side offers or accepts; nothing is compressed until the other side agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How hard our compressor tries: 0 (not at all) to 9.
    pub level: u8,
    /// The largest window of our compressor.
    pub deflate_window: WindowBits,
    /// The largest window that the peer's compressor may use.
    pub inflate_window: WindowBits,
    /// Whether our compressor keeps its context from message to message, if the peer lets it.
    pub deflate_takeover: bool,
    /// Whether the peer's may.
    pub inflate_takeover: bool,
    /// Messages shorter than this are sent as they are, in bytes.
    pub threshold: usize,
    /// Live state that was not used for so long is parked: only its window is kept.
    pub idle: Duration,
    /// Where states come from; `None`: from the pool of the process.
    pub pool: Option<Pool>,
}

impl Settings {
    /// The defaults of a server: windows of 4 KiB.
    pub const fn server() -> Self {
        Self::with_windows(WindowBits(12))
    }

    /// The defaults of a client: windows of 32 KiB.
    pub const fn client() -> Self {
        Self::with_windows(WindowBits::MAX)
    }

    const fn with_windows(window: WindowBits) -> Self {
        Self {
            level: 1,
            deflate_window: window,
            inflate_window: window,
            deflate_takeover: true,
            inflate_takeover: true,
            threshold: 64,
            idle: Duration::from_secs(1),
            pool: None,
        }
    }
}
