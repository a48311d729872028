//! Where a browser's page came from (RFC 6455, section 10.2; RFC 6454).

use super::authority::Authority;

/// Whether an `Origin` names the same host and port as `Host`: the rule that keeps other sites' pages out.
///
/// Letters compare in any case. The scheme does not count, because TLS often ends in front of the server; but a port that
/// either side leaves out is the default of the origin's scheme. `null`, and whatever is no origin, is no host's.
///
/// Behind a reverse proxy this holds only if the proxy passes the browser's `Host` on.
pub fn same_host(origin: &[u8], host: &[u8]) -> bool {
    let Some((scheme, origin)) = split_scheme(origin) else { return false };
    let (Ok(origin), Ok(host)) = (Authority::parse(origin), Authority::parse(host)) else { return false };
    let default = default_port(scheme);
    !origin.is_nameless()
        && origin.host().eq_ignore_ascii_case(host.host())
        && origin.port().or(default) == host.port().or(default)
}

/// Splits at `://`; the first part is a scheme (RFC 3986, section 3.1).
pub(super) fn split_scheme(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = bytes.split_at(colon);
    let rest = rest.strip_prefix(b"://")?;
    let (first, others) = scheme.split_first()?;
    let is_scheme = first.is_ascii_alphabetic()
        && others.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some((scheme, rest))
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"ws") => Some(80),
        scheme if scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"wss") => Some(443),
        _ => None,
    }
}
