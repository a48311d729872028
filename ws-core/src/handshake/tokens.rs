//! Lists of tokens, over one line or several (RFC 9110, section 5.6.1).
//!
//! "A recipient MUST parse and ignore a reasonable number of empty list elements".

use super::fields::Lines;
use super::grammar::{ascii, trim};

/// The elements of one line: split at commas, trimmed, without the empty ones.
#[derive(Clone, Debug, Default)]
pub(super) struct List<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
            self.rest = rest.get(end + 1..);
            let element = trim(&rest[..end]);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Whether the list has this element, in any case of its ASCII letters.
#[inline]
pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    // Most lists have one element, and need no splitting.
    value.eq_ignore_ascii_case(token.as_bytes())
        || (value.len() > token.len()
            && List::new(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes())))
}

/// The tokens of all lines of a name, in order, as one list: the subprotocols of an offer.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    lines: Lines<'a>,
    list: List<'a>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(lines: Lines<'a>) -> Self {
        Self { lines, list: List::default() }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            if let Some(token) = self.list.next() {
                return Some(ascii(token));
            }
            self.list = List::new(self.lines.next()?);
        }
    }
}
