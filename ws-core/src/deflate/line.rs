//! The value of a header line: short, and bounded by what negotiation can say.

use core::fmt;
use core::ops::Deref;

/// The longest line: an offer in full, and the one without a window that follows it.
const LONGEST: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
    server_max_window_bits=14; client_max_window_bits=14, permessage-deflate; server_no_context_takeover; \
    client_no_context_takeover; client_max_window_bits=14";

/// The value of a line `Sec-WebSocket-Extensions`, for [`Accept::extensions`](crate::Accept::extensions) or
/// [`ClientRequest::extensions`](crate::ClientRequest::extensions). It is a `str`, held without an allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Zeros behind `len`, so that equal lines are equal bytes.
    bytes: [u8; LONGEST.len()],
    len: u8,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; LONGEST.len()], len: 0 }
    }

    /// Adds all of `text`; nothing where it does not fit, which no line of ours comes to.
    pub(super) fn put(&mut self, text: &str) {
        let start = usize::from(self.len);
        if let Some(room) = self.bytes.get_mut(start..start + text.len()) {
            room.copy_from_slice(text.as_bytes());
            self.len += text.len() as u8;
        }
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_fits_to_the_byte() {
        let mut line = Line::new();
        line.put(LONGEST);
        assert_eq!(&*line, LONGEST);
        line.put("a");
        assert_eq!(&*line, LONGEST);
        assert_eq!((line.to_string(), format!("{line:?}")), (LONGEST.into(), format!("{LONGEST:?}")));
    }
}
