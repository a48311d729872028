//! The four forms of a request target (RFC 9112, section 3.2).

use super::authority::Authority;
use super::origin::split_scheme;

/// A request target, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Of the absolute and the authority form.
    pub(super) authority: Option<Authority<'a>>,
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Takes a target apart; `None` when it has none of the forms that its method allows.
    pub(super) fn parse(method: &[u8], raw: &'a [u8]) -> Option<Self> {
        if raw.first() == Some(&b'/') {
            return Some(Self::origin_form(None, raw));
        }
        // "only used for CONNECT requests" (3.2.3), and the only form that CONNECT has.
        if method == b"CONNECT" {
            let authority = Authority::parse(raw).ok()?;
            let named = !authority.is_nameless() && authority.port().is_some();
            return named.then_some(Self { authority: Some(authority), path: &[], query: None });
        }
        // "only used for a server-wide OPTIONS request" (3.2.4).
        if raw == b"*" {
            return (method == b"OPTIONS").then_some(Self { authority: None, path: raw, query: None });
        }
        let (_, rest) = split_scheme(raw)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = Authority::parse(authority).ok()?;
        (!authority.is_nameless()).then(|| Self::origin_form(Some(authority), rest))
    }

    fn origin_form(authority: Option<Authority<'a>>, raw: &'a [u8]) -> Self {
        let mut parts = raw.splitn(2, |&byte| byte == b'?');
        let path = match parts.next() {
            // RFC 9112, 3.2.1: "If the target URI's path component is empty, the client MUST send '/'".
            None | Some([]) => b"/",
            Some(path) => path,
        };
        Self { authority, path, query: parts.next() }
    }
}
