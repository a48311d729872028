//! The key and its answer (RFC 6455, sections 1.3, 4.1 and 4.2.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::grammar::are_all;

/// RFC 6455, section 1.3: appended to the key, so that no other protocol computes the answer by chance.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
///
/// It is "constructed by concatenating /key/ […] with the string" of section 1.3, "taking the SHA-1 hash of this
/// concatenated value to obtain a 20-byte value and base64-encoding […] this 20-byte hash" (RFC 6455, section 4.2.2). The
/// key is taken as it came, without white space around it; it is not checked.
///
/// ```
/// assert_eq!(&ws_core::accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    let mut text = [0; 28];
    encode(&sha1.finalize(), &mut text);
    text
}

/// The key for 16 random bytes, with zero pad bits (erratum 3150).
pub(super) fn client_key(nonce: &[u8; 16]) -> [u8; 24] {
    let mut text = [0; 24];
    encode(nonce, &mut text);
    text
}

/// Encodes into text of exactly the length that the bytes need.
fn encode(bytes: &[u8], text: &mut [u8]) {
    // It can only fail for want of room, and the two callers bring room for 16 and for 20 bytes.
    let written = STANDARD.encode_slice(bytes, text);
    debug_assert!(written.is_ok(), "room for the text");
}

/// Whether this is the base64 of 16 bytes: 22 characters and two pads.
///
/// Pad bits need not be zero: the RFC's own example once had others (erratum 3150), and "it is not necessary for
/// the server to base64-decode" the key (section 4.2.2).
pub(super) fn is_key(value: &[u8]) -> bool {
    let Some((body, b"==")) = value.split_last_chunk::<2>().map(|(body, pad)| (body, &pad[..])) else {
        return false;
    };
    let is_text = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'+') | (byte == b'/');
    let (Some(first), Some(last)) = (body.first_chunk(), body.last_chunk()) else { return false };
    body.len() == 22 && are_all(first, is_text) && are_all(last, is_text)
}
