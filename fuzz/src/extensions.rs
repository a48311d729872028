//! Checks that the header `Sec-WebSocket-Extensions` is read as by a parser that first splits, then examines the parts.

use ws_core::{Config, Instant, Rejection, ServerHandshake};

static CONFIG: Config = Config::server();

pub(super) const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

pub(super) type Extension = (String, Vec<(String, Option<String>)>);

/// Each line of the input is the value of one header.
pub fn check(data: &[u8]) {
    let Some((fields, expected)) = lines(data) else { return };
    let head = [HEAD, &fields, b"\r\n"].concat();
    let mut handshake = ServerHandshake::new(Instant::ZERO, &CONFIG);
    match (handshake.recv(Instant::ZERO, &head), expected) {
        (Ok(Some(request)), Some(expected)) => {
            let seen = request.extensions().map(|extension| {
                let params = extension.params().map(|(name, value)| {
                    (name.to_owned(), value.map(|value| value.bytes().map(char::from).collect::<String>()))
                });
                (extension.name().to_owned(), params.collect::<Vec<_>>())
            });
            assert!(seen.eq(expected));
        }
        (Err(Rejection::Extensions), None) => {}
        (outcome, expected) => panic!("{outcome:?} {expected:?}"),
    }
}

/// Each line of the input as a field, and the extensions in all of them; nothing for an input that is not such lines, or has
/// too many.
pub(super) fn lines(data: &[u8]) -> Option<(Vec<u8>, Option<Vec<Extension>>)> {
    let is_value = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~' | 0x80..);
    if !data.iter().all(is_value) || data.len() > 4096 || data.split(|&byte| byte == b'\n').count() > 50 {
        return None;
    }
    let lines = || data.split(|&byte| byte == b'\n');
    let fields = lines().flat_map(|line| [b"Sec-WebSocket-Extensions: ", line, b"\r\n"].concat()).collect();
    let extensions: Option<Vec<_>> = lines().map(list).collect();
    Some((fields, extensions.map(|lists| lists.concat())))
}

/// The extensions of one line; `None` for a line that breaks the grammar of section 9.1.
pub(super) fn list(line: &[u8]) -> Option<Vec<Extension>> {
    let elements = split(line, b',').map(trim).filter(|element| !element.is_empty());
    elements
        .map(|element| {
            let mut parts = split(element, b';').map(trim);
            let name = token(parts.next()?)?;
            Some((name, parts.map(param).collect::<Option<_>>()?))
        })
        .collect()
}

fn param(part: &[u8]) -> Option<(String, Option<String>)> {
    match part.iter().position(|&byte| byte == b'=') {
        None => Some((token(part)?, None)),
        Some(at) => Some((token(trim(&part[..at]))?, Some(value(trim(&part[at + 1..]))?))),
    }
}

fn value(value: &[u8]) -> Option<String> {
    let Some(inner) = value.strip_prefix(b"\"") else { return token(value) };
    let mut inner = inner.strip_suffix(b"\"")?.iter();
    let mut plain = Vec::new();
    while let Some(&byte) = inner.next() {
        plain.push(if byte == b'\\' { *inner.next()? } else { byte });
    }
    token(&plain)
}

/// The parts between `separator`s that are not in quotes.
fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    bytes.split(move |&byte| {
        let ends = byte == separator && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
        ends
    })
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn token(bytes: &[u8]) -> Option<String> {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!bytes.is_empty() && bytes.iter().all(is_tchar)).then(|| String::from_utf8_lossy(bytes).into_owned())
}
