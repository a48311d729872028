//! Settings of permessage-deflate: what one side offers or accepts.
//!
//! The windows are promises in both directions, and are kept on the wire by [`agreement`](super::agreement): a compressor
//! never uses more than `deflate_window`; a peer that cannot be held to `inflate_window` keeps no context.

use core::time::Duration;

use super::pool::Pool;

/// The size of a window, as its logarithm to base 2: 8 to 15 (RFC 7692, section 7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB: what holds where negotiation names no window.
    pub const MAX: Self = Self(15);

    /// The smallest window that our compressor uses. In 256 bytes there is little to find, and zlib, on which most peers
    /// rest, silently took 9 for 8 for years.
    pub(super) const SMALLEST_COMPRESSOR: Self = Self(9);

    pub(super) const ALL: [Self; 8] =
        [Self(8), Self(9), Self(10), Self(11), Self(12), Self(13), Self(14), Self(15)];

    /// `None` outside 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        if matches!(bits, 8..=15) { Some(Self(bits)) } else { None }
    }

    /// 8 to 15.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// In decimal, without leading zeros.
    pub(super) const fn as_str(self) -> &'static str {
        match self.0 {
            8 => "8",
            9 => "9",
            10 => "10",
            11 => "11",
            12 => "12",
            13 => "13",
            14 => "14",
            _ => "15",
        }
    }

    /// The window in bytes.
    pub const fn size(self) -> usize {
        1 << self.0
    }
}

/// What one side offers or accepts of permessage-deflate; nothing is compressed until the other side agrees.
///
/// ```
/// use ws_core::deflate::Settings;
/// use ws_core::{Config, Instant, ServerHandshake};
///
/// # static CONFIG: Config = Config::server();
/// # let mut handshake = ServerHandshake::new(Instant::ZERO, &CONFIG);
/// let input = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
///     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
/// let request = handshake.recv(Instant::ZERO, input).expect("well-formed").expect("complete");
/// let (agreement, line) = Settings::server().accept(request.extensions()).expect("an offer that we take");
/// assert_eq!(agreement.client_max_window_bits.size(), 4096);
/// assert_eq!(&*line, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
/// // The line goes into `Accept::extensions`. A client puts `Settings::offer` into `ClientRequest::extensions`, and holds
/// // `Response::extensions` against it by `Settings::check`.
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How hard our compressor tries: 0 (not at all) to 9. For JSON of 1 KiB, level 6 takes five times as long as level 1
    /// and makes it a fifth smaller, or a third with takeover; 9 is for large messages with many recipients.
    pub level: u8,
    /// The largest window of our compressor. 8 counts as 9, as there is no compressor of 8 bits.
    pub deflate_window: WindowBits,
    /// The largest window that the peer's compressor may keep between messages. A peer that cannot be told, because it did
    /// not offer that, uses 15, but starts each message from nothing.
    ///
    /// A setting of 8 is asked for as it is; peers that rest on zlib then send uncompressed, or fail.
    pub inflate_window: WindowBits,
    /// Whether our compressor keeps its context from message to message, if the peer lets it.
    pub deflate_takeover: bool,
    /// Whether the peer's compressor may do so.
    pub inflate_takeover: bool,
    /// Messages shorter than this are sent as they are, in bytes.
    pub threshold: usize,
    /// Live state that was not used for this long is parked: only its window is kept.
    pub idle: Duration,
    /// Where states come from; `None`: from the pool of the process.
    pub pool: Option<Pool>,
}

impl Settings {
    /// The defaults of a server: windows of 4 KiB in both directions, which suits many connections.
    pub const fn server() -> Self {
        Self::with_windows(WindowBits(12))
    }

    /// The defaults of a client: windows of 32 KiB.
    pub const fn client() -> Self {
        Self::with_windows(WindowBits::MAX)
    }

    /// The largest window that is promised for our own compressor.
    pub(super) fn compressor_window(&self) -> WindowBits {
        self.deflate_window.max(WindowBits::SMALLEST_COMPRESSOR)
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
