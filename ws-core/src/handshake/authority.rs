//! `host[:port]` as defined by RFC 3986, section 3.2: in `Host`, in targets, in origins and in URIs.

use core::fmt;
use core::net::Ipv6Addr;

use super::grammar::ascii;

/// A host, and maybe a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authority<'a> {
    /// ASCII, as is the host.
    bytes: &'a [u8],
    host: &'a [u8],
    port: Option<u16>,
}

/// Which part of an authority is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Host,
    Port,
}

impl<'a> Authority<'a> {
    /// Reads `host[:port]`. The host may be empty, as RFC 3986 allows; a port behind the colon may be, too.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let end = match bytes.first() {
            Some(b'[') => bytes.iter().position(|&byte| byte == b']').ok_or(Fault::Host)? + 1,
            _ => bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len()),
        };
        let (host, rest) = bytes.split_at(end);
        if !(is_ip_literal(host) || is_reg_name(host)) {
            return Err(Fault::Host);
        }
        let port = match rest {
            [] | [b':'] => None,
            // A second colon: an IPv6 address without brackets.
            [b':', digits @ ..] if !digits.contains(&b':') => Some(port(digits).ok_or(Fault::Port)?),
            _ => return Err(Fault::Host),
        };
        Ok(Self { bytes, host, port })
    }

    /// All of it, as it came.
    pub fn as_str(&self) -> &'a str {
        ascii(self.bytes)
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &'a str {
        ascii(self.host)
    }

    /// Whether the host is empty, as RFC 3986 allows.
    pub(super) const fn is_nameless(&self) -> bool {
        self.host.is_empty()
    }

    /// The port, if one is named.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |sum, &byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u16::from(byte - b'0'))
    })
}

/// `"[" ( IPv6address / IPvFuture ) "]"`.
fn is_ip_literal(host: &[u8]) -> bool {
    let [b'[', inside @ .., b']'] = host else { return false };
    match inside {
        [b'v' | b'V', rest @ ..] => {
            let Some(dot) = rest.iter().position(|&byte| byte == b'.') else { return false };
            let (version, address) = (&rest[..dot], &rest[dot + 1..]);
            !version.is_empty()
                && version.iter().all(u8::is_ascii_hexdigit)
                && !address.is_empty()
                && address.iter().all(|&byte| byte == b':' || is_unreserved(byte) || is_sub_delim(byte))
        }
        _ => core::str::from_utf8(inside).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    }
}

/// `*( unreserved / pct-encoded / sub-delims )`. An underscore is unreserved.
fn is_reg_name(host: &[u8]) -> bool {
    static UNESCAPED: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = is_unreserved(byte as u8) || is_sub_delim(byte as u8);
            byte += 1;
        }
        table
    };
    is_made_of(host, |byte| UNESCAPED[usize::from(byte)])
}

/// Whether the bytes are of this class or percent-encoded.
pub(super) fn is_made_of(mut bytes: &[u8], class: impl Fn(u8) -> bool) -> bool {
    loop {
        bytes = match bytes {
            [] => return true,
            [byte, rest @ ..] if class(*byte) => rest,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            _ => return false,
        };
    }
}

pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(super) const fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}
