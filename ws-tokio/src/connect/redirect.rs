//! Redirects, when they are asked for (RFC 6455, section 4.1; RFC 9110, section 15.4).
//!
//! Fields with credentials do not go to another origin, and an address never changes from `wss` to `ws`.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION, PROXY_AUTHORIZATION};
use http::{Response, StatusCode};
use ws_core::{Uri, UriError};

use super::request::Attempt;

/// Maximum number of redirects that are followed, whatever the options say.
pub const MAX_REDIRECTS: usize = 10;

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectError {
    /// One more than the options allow, or than [`MAX_REDIRECTS`].
    TooMany,
    /// From `wss` to `ws`: what was secret would no longer be.
    Insecure,
    /// A `Location` that is not the address of a WebSocket.
    Location(UriError),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many redirects"),
            Self::Insecure => f.write_str("a redirect from wss to ws"),
            Self::Location(error) => write!(f, "a redirect to no address: {error}"),
        }
    }
}

/// Each variant prints what it holds; a source would say it again.
impl std::error::Error for RedirectError {}

/// Where a response sends its reader, if it does.
pub(super) fn location(response: &Response<()>) -> Option<&[u8]> {
    let moves = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    response.headers().get(LOCATION).filter(|_| moves).map(http::HeaderValue::as_bytes)
}

/// Turns the attempt to the new address, without what another origin must not see.
pub(super) fn follow(attempt: &mut Attempt, location: &[u8]) -> Result<(), RedirectError> {
    let location = std::str::from_utf8(location).map_err(|_| RedirectError::Location(UriError::Target))?;
    let before = Uri::parse(&attempt.url).map_err(RedirectError::Location)?;
    let url = resolve(before, location);
    let after = Uri::parse(&url).map_err(RedirectError::Location)?;
    if before.is_secure() && !after.is_secure() {
        return Err(RedirectError::Insecure);
    }
    if !is_same_origin(before, after) {
        forget(&mut attempt.headers);
    }
    attempt.url = url;
    Ok(())
}

fn is_same_origin(a: Uri<'_>, b: Uri<'_>) -> bool {
    a.is_secure() == b.is_secure() && a.port() == b.port() && a.host().eq_ignore_ascii_case(b.host())
}

fn forget(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
}

/// RFC 3986, section 5.2, for the schemes that lead to a WebSocket; `http` and `https` mean `ws` and `wss`.
fn resolve(base: Uri<'_>, location: &str) -> String {
    // RFC 9110, 10.2.2: a fragment is for the program that shows the result.
    let location = location.split_once('#').map_or(location, |(location, _)| location);
    let scheme = if base.is_secure() { "wss" } else { "ws" };
    if let Some((own, rest)) = scheme_of(location) {
        return match own.to_ascii_lowercase().as_str() {
            "http" => format!("ws:{rest}"),
            "https" => format!("wss:{rest}"),
            _ => location.to_owned(),
        };
    }
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (location, None),
    };
    let (path, query) = match path {
        "" => (base.path().to_owned(), query.or(base.query())),
        _ if path.starts_with('/') => (without_dots(path), query),
        _ => {
            let folder = base.path().rfind('/').map_or("/", |at| &base.path()[..=at]);
            (without_dots(&format!("{folder}{path}")), query)
        }
    };
    let authority = base.authority();
    match query {
        Some(query) => format!("{scheme}://{authority}{path}?{query}"),
        None => format!("{scheme}://{authority}{path}"),
    }
}

/// The scheme of a reference that has one, and what stands behind its colon.
fn scheme_of(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some((scheme, rest))
}

/// RFC 3986, section 5.2.4, for a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for part in path.split('/').skip(1) {
        is_folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if is_folder {
        parts.push("");
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HC-08: references, as RFC 3986 resolves them.
    #[test]
    fn references() {
        let table = [
            ("wss://other/x?y", "wss://other/x?y"),
            ("HTTPS://other/x", "wss://other/x"),
            ("http://other:81/", "ws://other:81/"),
            ("//other/x", "ws://other/x"),
            ("/x", "ws://host:8080/x"),
            ("/x/../y/./z?q#f", "ws://host:8080/y/z?q"),
            ("x", "ws://host:8080/a/b/x"),
            ("./x", "ws://host:8080/a/b/x"),
            ("../x", "ws://host:8080/a/x"),
            ("../../../../x", "ws://host:8080/x"),
            ("..", "ws://host:8080/a/"),
            (".", "ws://host:8080/a/b/"),
            ("?new", "ws://host:8080/a/b/c?new"),
            ("#f", "ws://host:8080/a/b/c?q=1"),
            ("", "ws://host:8080/a/b/c?q=1"),
            ("x:y", "x:y"),
            ("./x:y", "ws://host:8080/a/b/x:y"),
        ];
        let base = Uri::parse("ws://host:8080/a/b/c?q=1").unwrap();
        for (location, url) in table {
            assert_eq!(resolve(base, location), url, "{location:?}");
        }
    }
}
