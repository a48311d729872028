//! Paths: where a route is, and what the parameters in its path say.
//!
//! A pattern is compared with a path segment by segment. A segment that begins with a colon is a parameter: it
//! takes any one segment that is not empty, and only its *value* is decoded (RFC 3986, section 2.1). So an escaped
//! slash is part of a value and never ends a segment. All other segments are compared as they are sent.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The values of the parameters in a [`Route`](crate::Route)'s path, decoded: for `/ws/chat/:room` and `/ws/chat/a%20b`,
/// `room` is `a b`.
///
/// A value is one whole segment, any UTF-8 and never empty; one that is escaped wrongly was refused with 400. It comes
/// from the client: it may hold slashes, dots and control characters. A clone shares the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Option<Arc<[Param]>>);

/// A name and its value.
type Param = (Arc<str>, Box<str>);

impl Params {
    /// The value of this parameter; of several of one name, the first.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(one, _)| *one == name).map(|(_, value)| value)
    }

    /// All names and values, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|params| params.iter()).map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |params| params.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The path of a route.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    /// Of the parameters, in order.
    names: Box<[Arc<str>]>,
}

/// A parameter's value is not text: a bad escape, or not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadValue;

impl Pattern {
    pub(crate) fn new(text: Box<str>) -> Self {
        let names = text.split('/').filter_map(name_of).map(Arc::from).collect();
        Self { text, names }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path is of this form.
    pub(crate) fn is_at(&self, path: &[u8]) -> bool {
        let mut segments = path.split(|byte| *byte == b'/');
        for wanted in self.text.split('/') {
            let fits = match (segments.next(), name_of(wanted)) {
                (Some(segment), Some(_)) => !segment.is_empty(),
                (Some(segment), None) => segment == wanted.as_bytes(),
                (None, _) => false,
            };
            if !fits {
                return false;
            }
        }
        segments.next().is_none()
    }

    /// What the parameters say in a path of this form.
    pub(crate) fn params(&self, path: &[u8]) -> Result<Params, BadValue> {
        if self.names.is_empty() {
            return Ok(Params::default());
        }
        let segments = path.split(|byte| *byte == b'/');
        let values = self.text.split('/').zip(segments).filter(|(wanted, _)| name_of(wanted).is_some()).map(
            |(_, segment)| {
                let value = decode(segment).ok_or(BadValue)?;
                String::from_utf8(value.into_owned()).map_err(|_| BadValue)
            },
        );
        let params = self.names.iter().zip(values);
        let params: Result<Vec<Param>, _> =
            params.map(|(name, value)| Ok((Arc::clone(name), value?.into_boxed_str()))).collect();
        Ok(Params(Some(params?.into())))
    }

    /// Which of two patterns that both fit says more: the one that is literal where they first differ comes before.
    pub(crate) fn by_precision(&self, other: &Self) -> Ordering {
        let kinds =
            |pattern: &Self| pattern.text.split('/').map(|one| name_of(one).is_some()).collect::<Vec<_>>();
        kinds(self).cmp(&kinds(other))
    }
}

/// The name of a segment that is a parameter. A colon alone is a colon.
fn name_of(segment: &str) -> Option<&str> {
    segment.strip_prefix(':').filter(|name| !name.is_empty())
}

/// Undoes percent-encoding; `None` for a percent sign without two hexadecimal digits behind it.
///
/// RFC 3986, 2.1: "A percent-encoded octet is encoded as a character triplet, consisting of the percent character '%'
/// followed by the two hexadecimal digits representing that octet's numeric value."
fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            out.push(octet(rest)?);
            rest = &rest[2..];
        } else {
            out.push(byte);
        }
    }
    Some(out.into())
}

/// The octet that two hexadecimal digits stand for.
pub(crate) fn octet(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A3: which paths are at a route.
    #[test]
    fn patterns() {
        let table = [
            ("/ws", "/ws", true),
            ("/ws", "/ws/", false),
            ("/ws", "/w%73", false),
            ("/ws", "/", false),
            ("/", "/", true),
            ("/ws/chat/:room", "/ws/chat/a", true),
            ("/ws/chat/:room", "/ws/chat/a%2Fb", true),
            ("/ws/chat/:room", "/ws/chat/", false),
            ("/ws/chat/:room", "/ws/chat", false),
            ("/ws/chat/:room", "/ws/chatX", false),
            ("/ws/chat/:room", "/ws/chat/a/", false),
            ("/ws/chat/:room", "/ws/chat/a/b", false),
            ("/:a/x/:b", "/1/x/2", true),
            ("/:a/x/:b", "/1/y/2", false),
            ("/ws/:", "/ws/:", true),
            ("/ws/:", "/ws/a", false),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(Pattern::new(pattern.into()).is_at(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    /// A3: what parameters say, and what they cannot say.
    #[test]
    fn values() {
        let pattern = Pattern::new("/:a/x/:b".into());
        type Row = (&'static [u8], Result<[&'static str; 2], BadValue>);
        let table: [Row; 9] = [
            (b"/1/x/2", Ok(["1", "2"])),
            (b"/a%20b/x/c+d", Ok(["a b", "c+d"])),
            (b"/%C3%A9/x/\xc3\xa9", Ok(["é", "é"])),
            (b"/a%2Fb/x/%2e%2E", Ok(["a/b", ".."])),
            (b"/%/x/2", Err(BadValue)),
            (b"/1/x/%2", Err(BadValue)),
            (b"/1/x/%+1", Err(BadValue)),
            (b"/1/x/%ff", Err(BadValue)),
            (b"/\xff/x/2", Err(BadValue)),
        ];
        for (path, expected) in table {
            assert!(pattern.is_at(path));
            let params = pattern.params(path);
            let values = params.as_ref().map(|params| ["a", "b"].map(|name| params.value(name).unwrap()));
            assert_eq!(values.map_err(|bad| *bad), expected, "{}", path.escape_ascii());
        }
        let params = pattern.params(b"/1/x/2").unwrap();
        assert_eq!((params.len(), params.value("c"), params.is_empty()), (2, None, false));
        assert_eq!(format!("{params:?}"), r#"{"a": "1", "b": "2"}"#);
        // Two of a name: both are there, the first is found.
        let params = Pattern::new("/:a/:a".into()).params(b"/1/2").unwrap();
        assert_eq!((params.iter().count(), params.value("a")), (2, Some("1")));
    }

    /// A3: of several patterns that fit, the one that is literal where they first differ.
    #[test]
    fn precision() {
        let cmp = |a: &str, b: &str| Pattern::new(a.into()).by_precision(&Pattern::new(b.into()));
        assert_eq!(cmp("/ws/lobby", "/ws/:room"), Ordering::Less);
        assert_eq!(cmp("/:a/x", "/ws/:b"), Ordering::Greater);
        assert_eq!(cmp("/:a/x", "/:b/x"), Ordering::Equal);
    }
}
