//! What both sides agreed on (RFC 7692, section 7.1).

use super::settings::WindowBits;

/// The parameters of a connection, seen by neither role in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The server's compressor starts each message from nothing.
    pub server_no_context_takeover: bool,
    /// The client's compressor starts each message from nothing.
    pub client_no_context_takeover: bool,
    /// How far back the server's compressor refers.
    pub server_max_window_bits: WindowBits,
    /// How far back the client's compressor refers.
    pub client_max_window_bits: WindowBits,
}
