//! Validated bytes as text, without a second look at them.
#![allow(unsafe_code, reason = "validating a message a second time costs as much as the first")]

/// The text that `bytes` are.
///
/// `validated`: the decoder has seen every one of them to be UTF-8, and nobody could write to them since. Otherwise
/// they are checked again, and `None` says that the caller has changed bytes that were still the decoder's.
#[inline(always)]
pub(crate) fn text(bytes: &[u8], validated: bool) -> Option<&str> {
    if validated {
        debug_assert!(core::str::from_utf8(bytes).is_ok());
        Some(trusted(bytes))
    } else {
        simdutf8::basic::from_utf8(bytes).ok()
    }
}

/// The text that `bytes` are, for the two callers that know they are valid: [`text`], and [`Utf8`](crate::Utf8).
#[inline(always)]
pub(crate) fn trusted(bytes: &[u8]) -> &str {
    // SAFETY: for `text`, `validated` is set for spans that the decoder's validator has taken from the first byte to the
    // last, with its end on a character's end, either within the current call, which holds the only `&mut` to the buffer,
    // or in storage that `Session` owns and lends out only behind the last validated byte. As for `Utf8`, each of its
    // constructors either takes a `str` or has checked the bytes, and nothing changes them after.
    unsafe { core::str::from_utf8_unchecked(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "aé€😀\0";

    #[test]
    fn bytes_are_their_text() {
        for validated in [false, true] {
            assert_eq!(text(TEXT.as_bytes(), validated), Some(TEXT));
            assert_eq!(text(b"", validated), Some(""));
        }
        assert_eq!(trusted(TEXT.as_bytes()).chars().count(), 5);
        assert_eq!(text(&TEXT.as_bytes()[..2], false), None);
    }

    /// Every way in leads to the same text.
    #[cfg(feature = "bytes")]
    #[test]
    fn every_constructor_of_utf8_keeps_the_text() -> Result<(), crate::utf8::InvalidUtf8> {
        use crate::Utf8;
        use bytes::Bytes;
        use std::format;
        use std::string::String;
        use std::vec::Vec;

        let all = [
            Utf8::from_static(TEXT),
            Utf8::from(TEXT),
            Utf8::from(String::from(TEXT)),
            TEXT.parse().unwrap_or_default(),
            Utf8::try_from(Bytes::from_static(TEXT.as_bytes()))?,
            Utf8::try_from(Vec::from(TEXT))?,
            Utf8::from(TEXT).clone(),
        ];
        for text in &all {
            assert_eq!(text, TEXT);
            assert_eq!(text.chars().count(), 5);
            assert_eq!(format!("{text} {text:?}"), format!("{TEXT} {TEXT:?}"));
            assert_eq!(text.clone().into_bytes(), TEXT.as_bytes());
        }
        assert_eq!(Utf8::default(), "");
        Ok(())
    }
}
