//! Settings of a connection: plain structs with public fields and `const` constructors.
//!
//! A connection does not copy them in; it holds a [`ConfigRef`], a static reference or a shared one.

use core::ops::Deref;
use core::time::Duration;

#[cfg(feature = "alloc")]
use alloc::sync::Arc;

/// Everything that can be set about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How much a peer may make us hold.
    pub limits: Limits,
    /// How long a peer may take.
    pub timeouts: Timeouts,
    /// Whether messages are handed over whole or in parts as they arrive.
    pub delivery: Delivery,
    /// How large the head of an opening handshake may be.
    pub head: HeadLimits,
    /// Whether and how permessage-deflate is offered or accepted (RFC 7692); `None`: not at all.
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::deflate::Settings>,
}

impl Config {
    /// The defaults of a server: messages of at most 1 MiB.
    pub const fn server() -> Self {
        Self {
            limits: Limits::new(1 << 20),
            timeouts: Timeouts::new(),
            delivery: Delivery::Whole,
            head: HeadLimits::new(),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// The defaults of a client: messages of at most 16 MiB.
    pub const fn client() -> Self {
        Self {
            limits: Limits::new(16 << 20),
            timeouts: Timeouts::new(),
            delivery: Delivery::Whole,
            head: HeadLimits::new(),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// How long adapters let live compression state lie idle: as [`deflate`](Self::deflate) says, or the default where an
    /// agreement was made by hand without it.
    #[cfg(feature = "deflate")]
    pub fn deflate_idle(&self) -> Duration {
        let defaults = crate::deflate::Settings::server();
        self.deflate.as_ref().unwrap_or(&defaults).idle
    }
}

/// Bounds on messages that arrive (RFC 6455, section 10.4). A header that passes one fails the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum payload of a frame, in bytes.
    ///
    /// A compressed frame is measured as it arrives, and may exceed this by an eighth, a 64th, and 64 bytes for each
    /// frame of its message so far, because what does not compress takes a little more. What is inflated from it
    /// is held against [`max_message`](Self::max_message) alone.
    pub max_frame: u64,
    /// Maximum length of a message, all fragments together, in bytes.
    ///
    /// Of a compressed message the inflated bytes are counted, as they are made. Its payloads as they arrive may exceed
    /// this together by as much as a compressed frame may exceed [`max_frame`](Self::max_frame).
    ///
    /// With [`Delivery::Whole`] a message that is not compressed has at most 2^31 - 1025 bytes, whatever is set here;
    /// 2^30 - 1 where an address has 32 bits.
    pub max_message: u64,
    /// Maximum number of frames in a message.
    pub max_fragments: u32,
    /// Maximum number of frames without payload in a message.
    pub max_empty_fragments: u32,
    /// Maximum output that an adapter holds back for a peer that does not read, in bytes. The core holds none but
    /// control frames.
    pub max_queue: usize,
}

impl Limits {
    /// Frames and messages of at most `max_message` bytes; 131 072 fragments, 1 024 of them empty; 1 MiB of output.
    pub const fn new(max_message: u64) -> Self {
        Self {
            max_frame: max_message,
            max_message,
            max_fragments: 131_072,
            max_empty_fragments: 1_024,
            max_queue: 1 << 20,
        }
    }
}

/// How long each deadline is. The core keeps deadlines as data; the loop that drives it sleeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From accept or connect to the complete head of the opening handshake. Default 10 s.
    pub handshake: Duration,
    /// Silence after which a ping is sent; `None` sends none. Default 20 s.
    pub keepalive: Option<Duration>,
    /// From that ping to any sign of life. Default 20 s.
    pub pong: Duration,
    /// How long the transport may take no byte of output that waits; `None`: for ever. Default 60 s. The core sees no
    /// transport, so adapters keep this one; ws-actor has its own, `Settings::write_timeout`.
    pub write: Option<Duration>,
    /// From our close frame to the peer's, and from there to the end of the transport. Default 10 s.
    pub close: Duration,
    /// From the shutdown of our writing side to the peer's. Default 2 s.
    pub linger: Duration,
}

impl Timeouts {
    /// The defaults named at the fields.
    pub const fn new() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            keepalive: Some(Duration::from_secs(20)),
            pong: Duration::from_secs(20),
            write: Some(Duration::from_secs(60)),
            close: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::new()
    }
}

/// How messages are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// One event per message, as one contiguous view.
    #[default]
    Whole,
    /// One event for each part as it arrives, for messages that should never be held whole.
    Chunks,
}

/// Bounds on the head of an opening handshake (HTTP/1.1 request or response).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadLimits {
    /// Maximum length of the head, start line and blank line included, in bytes. Default 16 KiB.
    pub max_bytes: usize,
    /// Maximum length of a field line, in bytes. Default 8 KiB.
    pub max_line: usize,
    /// Maximum length of the request target, in bytes. Default 8 KiB.
    pub max_target: usize,
    /// Maximum number of fields; more than 100 are never accepted. Default 100.
    pub max_fields: usize,
}

impl HeadLimits {
    /// The upper bound of [`max_fields`](Self::max_fields), whatever is set.
    pub const MOST_FIELDS: usize = 100;

    /// The defaults named at the fields.
    pub const fn new() -> Self {
        Self { max_bytes: 16 << 10, max_line: 8 << 10, max_target: 8 << 10, max_fields: Self::MOST_FIELDS }
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// A configuration that many connections share: one pointer, cheap to clone.
///
/// With an allocator it is an `Arc<Config>`; make it once and clone it for each connection. Without one it is a
/// `&'static Config`.
#[derive(Clone, Debug)]
pub struct ConfigRef(#[cfg(feature = "alloc")] Arc<Config>, #[cfg(not(feature = "alloc"))] &'static Config);

impl Deref for ConfigRef {
    type Target = Config;

    #[inline]
    #[allow(clippy::needless_borrow, reason = "an Arc with an allocator, a reference without")]
    fn deref(&self) -> &Config {
        &self.0
    }
}

impl From<&'static Config> for ConfigRef {
    fn from(config: &'static Config) -> Self {
        #[cfg(feature = "alloc")]
        return Self(Arc::new(config.clone()));
        #[cfg(not(feature = "alloc"))]
        Self(config)
    }
}

#[cfg(feature = "alloc")]
impl From<Arc<Config>> for ConfigRef {
    fn from(config: Arc<Config>) -> Self {
        Self(config)
    }
}

#[cfg(feature = "alloc")]
impl From<Config> for ConfigRef {
    fn from(config: Config) -> Self {
        Self(Arc::new(config))
    }
}

/// The side of the connection that an endpoint is on. It decides which one masks (RFC 6455, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends masked frames and takes unmasked ones.
    Client,
    /// Sends unmasked frames and takes masked ones.
    Server,
}
