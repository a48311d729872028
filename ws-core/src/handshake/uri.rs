//! Addresses: `ws://host[:port]/path?query`, and `wss` (RFC 6455, section 3; RFC 3986).

use super::authority::{self, Authority, is_made_of, is_sub_delim, is_unreserved};
use super::error::UriError;

/// The address of a WebSocket, as a view of its text.
///
/// ```
/// let uri = ws_core::Uri::parse("wss://[::1]:8443/chat?room=1").expect("well-formed");
/// assert_eq!((uri.is_secure(), uri.host(), uri.port()), (true, "::1", 8443));
/// assert_eq!((uri.path(), uri.query(), uri.authority()), ("/chat", Some("room=1"), "[::1]:8443"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uri<'a> {
    is_secure: bool,
    authority: Authority<'a>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads an address.
    ///
    /// # Errors
    /// The part that is not valid.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let is_secure = scheme.eq_ignore_ascii_case("wss");
        if !is_secure && !scheme.eq_ignore_ascii_case("ws") {
            return Err(UriError::Scheme);
        }
        // RFC 6455, 3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used".
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = Self::checked_authority(authority)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        if !is_path(path) || !query.is_none_or(is_query) {
            return Err(UriError::Target);
        }
        // RFC 6455, 3: the resource name is "'/' if the path component is empty".
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { is_secure, authority, path, query })
    }

    fn checked_authority(text: &'a str) -> Result<Authority<'a>, UriError> {
        if text.contains('@') {
            return Err(UriError::UserInfo);
        }
        let authority = Authority::parse(text.as_bytes()).map_err(|fault| match fault {
            authority::Fault::Host => UriError::Host,
            authority::Fault::Port => UriError::Port,
        })?;
        // RFC 9110, 4.2.1: an empty host is invalid. An address of a future version cannot be connected to.
        if authority.is_nameless() || authority.host().starts_with("[v") || authority.host().starts_with("[V")
        {
            return Err(UriError::Host);
        }
        if authority.port() == Some(0) { Err(UriError::Port) } else { Ok(authority) }
    }

    /// Whether the connection goes through TLS: `wss`.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host to connect to: a name, or an address without brackets.
    pub fn host(&self) -> &'a str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port: 80 for `ws` and 443 for `wss`, unless another is named.
    pub fn port(&self) -> u16 {
        self.authority.port().unwrap_or(self.default_port())
    }

    const fn default_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }

    /// The value of `Host`: the host, and the port "when not using the default port" (RFC 6455, section 4.1).
    pub fn authority(&self) -> &'a str {
        if self.port() == self.default_port() { self.authority.host() } else { self.authority.as_str() }
    }

    /// The path, `/` at least.
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind the first `?`.
    pub const fn query(&self) -> Option<&'a str> {
        self.query
    }
}

fn is_path(path: &str) -> bool {
    is_made_of(path.as_bytes(), |byte| is_pchar(byte) || byte == b'/')
}

fn is_query(query: &str) -> bool {
    is_made_of(query.as_bytes(), |byte| is_pchar(byte) || matches!(byte, b'/' | b'?'))
}

const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delim(byte) || matches!(byte, b':' | b'@')
}
