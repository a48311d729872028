//! The rules of a complete request head, in the order in which they decide.

use super::accept_key::is_key;
use super::authority::Authority;
use super::request::{Facts, Once, Request};
use super::{MAX_PROTOCOLS, Rejection};

/// Whether the head asks for WebSocket. In HTTP/1.0 it cannot: "A server MUST ignore an Upgrade header field that is
/// received in an HTTP/1.0 request" (RFC 9110, section 7.8).
pub(super) fn is_attempt(facts: &Facts) -> bool {
    facts.upgrade && facts.minor > 0
}

/// What every head must keep.
pub(super) fn check_head(request: &Request<'_>) -> Result<(), Rejection> {
    // RFC 9112, 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks
    // a Host header field and to any request message that contains more than one Host header field line or a Host
    // header field with an invalid field value."
    let facts = request.facts();
    match facts.host {
        Once::Absent if facts.minor > 0 => Err(Rejection::HostMissing),
        Once::Several => Err(Rejection::HostRepeated),
        Once::One(_) if Authority::parse(request.once(facts.host)).is_err() => Err(Rejection::HostInvalid),
        Once::Absent | Once::One(_) => Ok(()),
    }
}

/// What an upgrade must keep besides (RFC 6455, section 4.2.1).
pub(super) fn check_upgrade(request: &Request<'_>) -> Result<(), Rejection> {
    let facts = request.facts();
    if facts.framing.is_ambiguous_request(facts.minor == 0) {
        return Err(Rejection::Framing);
    }
    // 4.2.1: "An HTTP/1.1 or higher GET request".
    if facts.minor == 0 {
        return Err(Rejection::Http10);
    }
    if !request.is_get() {
        return Err(Rejection::MethodNotGet);
    }
    if !facts.upgrade {
        return Err(Rejection::NotAnUpgrade);
    }
    // A body would stand where the frames begin.
    if facts.framing.has_body() {
        return Err(Rejection::Body);
    }
    // 4.2.1: "A |Host| header field containing the server's authority". An empty one contains none.
    if !request.names_host() {
        return Err(Rejection::HostInvalid);
    }
    // 4.2.1: "A |Connection| header field that includes the token 'Upgrade'".
    if !facts.connection {
        return Err(Rejection::Connection);
    }
    check_version(request.once(facts.version))?;
    match facts.key {
        Once::Absent => return Err(Rejection::KeyMissing),
        // 11.3.1: "MUST NOT appear more than once in an HTTP request".
        Once::Several => return Err(Rejection::KeyRepeated),
        Once::One(_) if !is_key(request.key()) => return Err(Rejection::KeyInvalid),
        Once::One(_) => {}
    }
    if facts.bad_protocol {
        return Err(Rejection::ProtocolInvalid);
    }
    if facts.protocols_at != 0 {
        check_protocols(request)?;
    }
    // 9.1: "If a value is received by either the client or the server during negotiation that does not conform to the ABNF
    // […], the recipient of such malformed data MUST immediately Fail the WebSocket Connection."
    if facts.bad_extensions { Err(Rejection::Extensions) } else { Ok(()) }
}

/// `version = DIGIT | (NZDIGIT DIGIT) | ("1" DIGIT DIGIT) | ("2" DIGIT DIGIT)`, "Limited to 0-255 range, with no leading
/// zeros" (section 4.3).
fn check_version(value: &[u8]) -> Result<(), Rejection> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let number = match value {
        [_] | [b'1'..=b'9', _] | [b'1' | b'2', _, _] if digits => {
            value.iter().fold(0u16, |sum, byte| sum * 10 + u16::from(byte - b'0'))
        }
        _ => return Err(Rejection::VersionInvalid),
    };
    match number {
        13 => Ok(()),
        0..=255 => Err(Rejection::VersionUnsupported),
        _ => Err(Rejection::VersionInvalid),
    }
}

/// 4.1: "The elements that comprise this value […] MUST all be unique strings".
#[inline(never)]
fn check_protocols(request: &Request<'_>) -> Result<(), Rejection> {
    // Each is compared with all before it: the table bounds that work, as it bounds the stack.
    let mut seen = [""; MAX_PROTOCOLS];
    for (count, protocol) in request.protocols().enumerate() {
        if seen[..count.min(MAX_PROTOCOLS)].contains(&protocol) {
            return Err(Rejection::ProtocolRepeated);
        }
        *seen.get_mut(count).ok_or(Rejection::TooManyProtocols)? = protocol;
    }
    Ok(())
}
