//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455, section 9.1): checked once, then walked without failure.
//!
//! ```text
//! extension-list  = 1#extension
//! extension       = extension-token *( ";" extension-param )
//! extension-param = token [ "=" ( token / quoted-string ) ]
//! ```
//!
//! White space may stand around every part (the RFC's "implied *LWS rule"), empty elements of the list are ignored, and
//! "the value after quoted-string unescaping MUST conform to the 'token' ABNF". Each byte is looked at once.

use super::fields::Lines;
use super::grammar::{ascii, is_blank, is_tchar, skip_tchars};

/// One extension of an offer or an answer.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    name: &'a [u8],
    params: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Its registered name.
    pub fn name(&self) -> &'a str {
        ascii(self.name)
    }

    /// Its parameters, in order.
    pub const fn params(&self) -> Params<'a> {
        Params { cursor: Cursor { bytes: self.params, at: 0 } }
    }
}

/// The parameters of an extension: names, and values where there are any.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<ParamValue<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.cursor.param().ok().flatten()?;
        Some((ascii(name), value.map(|raw| ParamValue { raw })))
    }
}

/// The value of a parameter. A quoted string equals the token that it quotes.
#[derive(Clone, Copy, Debug)]
pub struct ParamValue<'a> {
    /// What stands between the quotes, or the token.
    raw: &'a [u8],
}

impl<'a> ParamValue<'a> {
    /// The bytes of the token, unescaped.
    pub fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        // A backslash is no `tchar`: where one stands, it escapes.
        self.raw.iter().copied().filter(|&byte| byte != b'\\')
    }
}

impl PartialEq<str> for ParamValue<'_> {
    fn eq(&self, other: &str) -> bool {
        self.bytes().eq(other.bytes())
    }
}

/// The extensions of all lines, in order, as one list.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    lines: Lines<'a>,
    cursor: Cursor<'a>,
}

impl<'a> Extensions<'a> {
    /// Those of header lines that [`is_extension_list`] found right.
    pub(super) fn of_lines(lines: Lines<'a>) -> Self {
        Self { lines, cursor: Cursor { bytes: &[], at: 0 } }
    }

    /// Those of one value; nothing behind an element that is malformed.
    pub(crate) fn of_value(value: &'a [u8]) -> Self {
        Self { lines: Lines::default(), cursor: Cursor { bytes: value, at: 0 } }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        loop {
            match self.cursor.extension() {
                Ok(Some(extension)) => return Some(extension),
                Ok(None) | Err(Malformed) => self.cursor = Cursor { bytes: self.lines.next()?, at: 0 },
            }
        }
    }
}

/// Whether a value follows the grammar. Linear, and without a look at what the extensions are.
pub(super) fn is_extension_list(value: &[u8]) -> bool {
    let mut cursor = Cursor { bytes: value, at: 0 };
    loop {
        match cursor.extension() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(Malformed) => return false,
        }
    }
}

/// Whether each extension of `answer` stands in `offers` by its name (RFC 6455, section 9.1).
pub(super) fn all_offered<'a>(answer: Extensions<'a>, offers: &Extensions<'a>) -> bool {
    let mut answer = answer;
    answer.all(|extension| offers.clone().any(|offer| offer.name == extension.name))
}

/// Whether two of these use the bit RSV1: `permessage-deflate` twice, or beside another compression.
///
/// RFC 7692, 5: a server "MUST NOT accept a PMCE extension negotiation offer together with another extension if the PMCE
/// will conflict with the extension on their use of the RSV1 bit". The bit belongs to all of the former, and to the
/// compression a frame that was there before them.
pub(super) fn share_rsv1(extensions: Extensions<'_>) -> bool {
    let uses_rsv1 = |name: &[u8]| name.starts_with(b"permessage-") || name.ends_with(b"deflate-frame");
    extensions.filter(|extension| uses_rsv1(extension.name)).nth(1).is_some()
}

struct Malformed;

/// The name and, if there is one, the value.
type Param<'a> = (&'a [u8], Option<&'a [u8]>);

#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next extension; `None` at the end.
    fn extension(&mut self) -> Result<Option<Extension<'a>>, Malformed> {
        loop {
            self.skip_blanks();
            if !self.eat(b',') {
                break;
            }
        }
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let name = self.token()?;
        let start = self.at;
        while self.param()?.is_some() {}
        self.skip_blanks();
        let end = self.at;
        match self.bytes.get(self.at) {
            None => {}
            Some(b',') => self.at += 1,
            Some(_) => return Err(Malformed),
        }
        Ok(Some(Extension { name, params: &self.bytes[start..end] }))
    }

    /// The next `; name [= value]`; `None` where none begins.
    fn param(&mut self) -> Result<Option<Param<'a>>, Malformed> {
        self.skip_blanks();
        if !self.eat(b';') {
            return Ok(None);
        }
        self.skip_blanks();
        let name = self.token()?;
        self.skip_blanks();
        if !self.eat(b'=') {
            return Ok(Some((name, None)));
        }
        self.skip_blanks();
        let raw = if self.eat(b'"') { self.quoted()? } else { self.token()? };
        Ok(Some((name, Some(raw))))
    }

    fn skip_blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(|&byte| is_blank(byte)) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        self.at = skip_tchars(self.bytes, start);
        if self.at == start { Err(Malformed) } else { Ok(&self.bytes[start..self.at]) }
    }

    /// The rest of a quoted string behind its first quote, each byte of it, unescaped, a `tchar`.
    fn quoted(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        loop {
            match self.bytes.get(self.at..).unwrap_or_default() {
                [b'"', ..] if self.at > start => {
                    self.at += 1;
                    return Ok(&self.bytes[start..self.at - 1]);
                }
                [b'\\', byte, ..] if is_tchar(*byte) => self.at += 2,
                [byte, ..] if is_tchar(*byte) => self.at += 1,
                _ => return Err(Malformed),
            }
        }
    }
}
