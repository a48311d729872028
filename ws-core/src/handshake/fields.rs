//! Views of the fields of a head that has been walked, and found well-formed, before.

use super::grammar::{ascii, skip_tchars, skip_text, trim};

/// The fields of a head, in order: names as they came, values without white space around them.
///
/// Nothing is stored: the lines are walked again.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The lines of a head from `at`, where one begins.
    pub(super) fn new(head: &'a [u8], at: usize) -> Self {
        Self { rest: head.get(at..).unwrap_or_default() }
    }

    /// The values of the fields of this name.
    pub(super) fn lines(self, name: &'static str) -> Lines<'a> {
        Lines { fields: self, name }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let colon = skip_tchars(self.rest, 0);
        // The blank line ends it.
        if colon == 0 {
            return None;
        }
        let end = skip_text(self.rest, colon);
        let name = self.rest.get(..colon)?;
        let value = self.rest.get(colon + 1..end)?;
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        Some((ascii(name), trim(value)))
    }
}

/// The values of all fields of one name.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines<'a> {
    fields: Fields<'a>,
    name: &'static str,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.fields.find(|(name, _)| name.eq_ignore_ascii_case(self.name)).map(|(_, value)| value)
    }
}

/// The only value of a name: nothing for none, and nothing for several.
pub(super) enum Only<'a> {
    Absent,
    One(&'a [u8]),
    Several,
}

impl<'a> Only<'a> {
    pub(super) fn of(mut lines: Lines<'a>) -> Self {
        match (lines.next(), lines.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}
