//! [`Utf8`]: text in [`Bytes`], the owned text of all adapters.
//!
//! The invariant is the one of `str`, checked once on the way in. A clone is a reference count.

use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::convert::Infallible;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use core::str::FromStr;

use bytes::Bytes;

use crate::utf8::{InvalidUtf8, validate};
use crate::view;

/// Text that is shared, cheap to clone, and UTF-8 by type.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utf8(
    /// Always UTF-8. No method lends it for change, and `Bytes` has no interior mutability.
    Bytes,
);

impl Utf8 {
    /// Text of the program itself, without an allocation.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        view::trusted(&self.0)
    }

    /// The text as bytes that share its storage.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Utf8 {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8 {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Utf8 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<str> for Utf8 {
    fn borrow(&self) -> &str {
        self
    }
}

impl Hash for Utf8 {
    /// As `str` hashes, which [`Borrow`] asks for; the order and the equality of bytes are those of `str` anyway.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl TryFrom<Bytes> for Utf8 {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        validate(&bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<Vec<u8>> for Utf8 {
    type Error = InvalidUtf8;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidUtf8> {
        validate(&bytes)?;
        Ok(Self(bytes.into()))
    }
}

impl From<String> for Utf8 {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Utf8 {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl FromStr for Utf8 {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl From<Utf8> for Bytes {
    fn from(text: Utf8) -> Self {
        text.0
    }
}

impl From<Utf8> for String {
    fn from(text: Utf8) -> Self {
        text.as_str().into()
    }
}

impl PartialEq<str> for Utf8 {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8 {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<Utf8> for str {
    fn eq(&self, other: &Utf8) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Utf8> for &str {
    fn eq(&self, other: &Utf8) -> bool {
        *self == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashMap};

    const TEXT: &str = "aé€😀\0";

    /// U-08: what is no UTF-8 does not become text, so text that is sent is valid by type.
    #[test]
    fn u08_invalid_bytes_are_no_text() {
        let long = [&[b'a'; 300][..], &[0xC3]].concat();
        for bytes in [&[0xFF][..], &[0xE2, 0x82], &[0xED, 0xA0, 0x80], &[b'a', 0xC0, 0x80], &long] {
            assert_eq!(Utf8::try_from(Bytes::copy_from_slice(bytes)), Err(InvalidUtf8));
            assert_eq!(Utf8::try_from(Vec::from(bytes)), Err(InvalidUtf8));
        }
    }

    #[test]
    fn a_clone_shares_the_storage() {
        let text = Utf8::from(String::from(TEXT));
        assert_eq!(text.clone().as_ptr(), text.as_ptr());
        assert_eq!(Bytes::from(text.clone()).as_ptr(), text.as_ptr());
    }

    #[test]
    fn it_is_a_key_like_str() {
        let mut map = HashMap::new();
        map.insert(Utf8::from(TEXT), 1);
        assert_eq!(map.get(TEXT), Some(&1));
        let order: BTreeSet<_> = ["b", "é", "a", "😀", "\u{FFFF}"].map(Utf8::from).into();
        assert!(order.iter().map(Utf8::as_str).eq(["a", "b", "é", "\u{FFFF}", "😀"]));
        assert!(order.contains("é"));
    }
}
