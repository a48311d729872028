//! Validated bytes as text: with `bytes` feature aside, the one place of this crate that needs `unsafe`.
#![allow(unsafe_code, reason = "validating a message a second time costs as much as the first")]

/// The text that `bytes` are.
///
/// `validated`: the decoder has seen every one of them to be UTF-8, and nobody could write to them since. Otherwise
/// they are checked again, and `None` says that the caller has changed bytes that were still the decoder's.
#[inline(always)]
pub(crate) fn text(bytes: &[u8], validated: bool) -> Option<&str> {
    if validated {
        debug_assert!(core::str::from_utf8(bytes).is_ok());
        // SAFETY: `validated` is set for spans that the decoder's validator has taken from the first byte to the
        // last, with its end on a character's end, either within the current call, which holds the only `&mut` to
        // the buffer, or in storage that `Session` owns and lends out only behind the last validated byte.
        Some(unsafe { core::str::from_utf8_unchecked(bytes) })
    } else {
        simdutf8::basic::from_utf8(bytes).ok()
    }
}
