//! The query behind a path's question mark, as names and values.
//!
//! As browsers write it (`application/x-www-form-urlencoded` of the URL standard): pairs between `&`, a name and a value
//! around the first `=`, `+` for a space. A query is the application's to judge, so nothing in it is refused: a broken
//! escape stands for itself, bytes that are not UTF-8 become U+FFFD.

use std::borrow::Cow;

use crate::event::Connect;
use crate::hub::ConnInfo;
use crate::path::octet;
use crate::upgrade::Upgrade;

/// The names and values of a query, in order and decoded.
#[derive(Clone, Debug)]
pub struct QueryPairs<'a> {
    rest: &'a str,
}

impl<'a> QueryPairs<'a> {
    /// The pairs of a query, given without its question mark, such as `name=Ann&room=a+b`.
    pub const fn new(query: &'a str) -> Self {
        Self { rest: query }
    }

    fn value(mut self, name: &str) -> Option<Cow<'a, str>> {
        self.find(|(one, _)| one == name).map(|(_, value)| value)
    }
}

impl<'a> Iterator for QueryPairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                return Some((decode(name), decode(value)));
            }
        }
        None
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, octet(rest)) {
            (b'%', Some(octet)) => {
                out.push(octet);
                rest = &rest[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

macro_rules! with_query {
    ($($type:ty),*) => {$(
        impl $type {
            /// The value of this name in the query, decoded; of several, the first. One without `=` is empty.
            pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
                self.query_pairs().value(name)
            }

            /// All names and values of the query, decoded.
            pub fn query_pairs(&self) -> QueryPairs<'_> {
                QueryPairs::new(&self.query)
            }
        }
    )*};
}

with_query!(Upgrade, Connect, ConnInfo);

#[cfg(test)]
mod tests {
    use super::*;

    /// A4: names and values are decoded, and nothing is an error.
    #[test]
    fn pairs() {
        let table: [(&str, &[(&str, &str)]); 10] = [
            ("", &[]),
            ("&&", &[]),
            ("name=Ann", &[("name", "Ann")]),
            ("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")]),
            ("a+b=c+d%2B", &[("a b", "c d+")]),
            ("n%61me=%C3%A9%26%3D", &[("name", "é&=")]),
            ("token=ab==", &[("token", "ab==")]),
            ("flag&x=", &[("flag", ""), ("x", "")]),
            ("x=%&y=%2&z=%zz", &[("x", "%"), ("y", "%2"), ("z", "%zz")]),
            ("x=%ff", &[("x", "\u{fffd}")]),
        ];
        for (query, expected) in table {
            let pairs: Vec<_> = QueryPairs::new(query).collect();
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(pairs, expected, "{query}");
        }
        assert_eq!(QueryPairs::new("a=1&b=2&a=3").value("a").as_deref(), Some("1"));
        assert_eq!(QueryPairs::new("a=1").value("b"), None);
    }
}
