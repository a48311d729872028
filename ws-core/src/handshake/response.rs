//! A response, as a small view of its head, and what a client must refuse in one (RFC 6455, section 4.1).

use super::client::Offer;
use super::error::HandshakeError;
use super::extensions::{Extensions, all_offered, is_extension_list, share_rsv1};
use super::fields::{Fields, Only};
use super::framing::{Body, Framing};
use super::grammar::Span;
use super::status_line::StatusLine;
use super::tokens::has_token;
use super::{ACCEPT, EXTENSIONS, PROTOCOL};

/// Where the head of a response stands in the input, and what its status line says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    start: usize,
    fields_at: usize,
    pub(super) len: usize,
    pub(super) status: u16,
    minor: u8,
    phrase: Span,
}

impl Place {
    pub(super) fn new(line: &StatusLine, fields_at: usize) -> Self {
        Self {
            start: line.start(),
            fields_at,
            len: 0,
            status: line.status,
            minor: line.minor,
            phrase: line.phrase,
        }
    }
}

/// The final response to an opening handshake: a view of the caller's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Response<'b> {
    head: &'b [u8],
    place: Place,
    body: Body,
}

impl<'b> Response<'b> {
    /// The head of this input; nothing when the caller shows less than before.
    pub(super) fn new(input: &'b [u8], place: Place) -> Result<Option<Self>, HandshakeError> {
        let Some(head) = input.get(..place.len) else { return Ok(None) };
        let mut framing = Framing::default();
        for (name, value) in Fields::new(head, place.fields_at) {
            if name.eq_ignore_ascii_case("Content-Length") {
                framing.content_length(value);
            } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
                framing.transfer_encoding(value);
            }
        }
        // Behind a 101 come frames, whatever these fields say: RFC 9112, 6.3: "any response with a 1xx […] status code […]
        // is always terminated by the first empty line after the header fields".
        let body = framing.response_body(place.status).ok_or(HandshakeError::Framing)?;
        Ok(Some(Self { head, place, body }))
    }

    /// The status: 101 for an open connection, which passed every rule; any other is the server's refusal.
    pub const fn status(&self) -> u16 {
        self.place.status
    }

    /// Whether the connection is open: what follows the head is frames.
    pub const fn is_open(&self) -> bool {
        self.place.status == 101
    }

    /// The phrase behind the status, often empty.
    pub fn phrase(&self) -> &'b [u8] {
        self.place.phrase.of(self.head)
    }

    /// All fields, in order.
    pub fn fields(&self) -> Fields<'b> {
        Fields::new(self.head, self.place.fields_at)
    }

    /// The value of the first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&'b str> {
        self.field(PROTOCOL).map(super::grammar::ascii)
    }

    /// The extensions that the server agreed to, from all lines (erratum 3433).
    pub fn extensions(&self) -> Extensions<'b> {
        Extensions::of_lines(self.fields().lines(EXTENSIONS))
    }

    /// How the body of a refusal ends; it begins at [`Response::end`].
    pub const fn body(&self) -> Body {
        self.body
    }

    /// Where the head ends in the input, interim responses before it included.
    pub const fn end(&self) -> usize {
        self.place.len
    }

    /// The head as it came, without the interim responses before it.
    pub fn head(&self) -> &'b [u8] {
        self.head.get(self.place.start..).unwrap_or_default()
    }

    /// Whether this 101 answers that request.
    pub(super) fn check_open(&self, offer: &Offer<'_>, accept: &[u8]) -> Result<(), HandshakeError> {
        // 4.2.2: "a Status-Line with a 101 response code as per RFC 2616", which HTTP/1.0 does not have.
        if self.place.minor == 0 {
            return Err(HandshakeError::HttpVersion);
        }
        // (2) "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an
        // ASCII case-insensitive match for the value 'websocket'".
        match Only::of(self.fields().lines("Upgrade")) {
            Only::One(value) if value.eq_ignore_ascii_case(b"websocket") => {}
            Only::One(_) | Only::Absent | Only::Several => return Err(HandshakeError::Upgrade),
        }
        // (3) "[…] doesn't contain a token that is an ASCII case-insensitive match for the value 'Upgrade'".
        if !self.fields().lines("Connection").any(|value| has_token(value, "upgrade")) {
            return Err(HandshakeError::Connection);
        }
        // (4) "ignoring any leading and trailing whitespace".
        match Only::of(self.fields().lines(ACCEPT)) {
            Only::One(value) if value == accept => {}
            Only::One(_) | Only::Absent | Only::Several => return Err(HandshakeError::Accept),
        }
        self.check_extensions(offer)?;
        // (6) "[…] indicates the use of a subprotocol that was not present in the client's handshake".
        match Only::of(self.fields().lines(PROTOCOL)) {
            Only::Absent if offer.require_protocol => Err(HandshakeError::ProtocolMissing),
            Only::Absent => Ok(()),
            Only::One(value) if offer.has_protocol(value) => Ok(()),
            // 11.3.4: "MUST NOT appear more than once in an HTTP response".
            Only::One(_) | Only::Several => Err(HandshakeError::Protocol),
        }
    }

    /// (5) "[…] indicates the use of an extension that was not present in the client's handshake".
    fn check_extensions(&self, offer: &Offer<'_>) -> Result<(), HandshakeError> {
        if !self.fields().lines(EXTENSIONS).all(is_extension_list) {
            return Err(HandshakeError::Extensions);
        }
        let offers = Extensions::of_value(offer.extensions.as_bytes());
        if !all_offered(self.extensions(), &offers) {
            return Err(HandshakeError::ExtensionNotOffered);
        }
        // RFC 7692, 5: a client that received such a response "MUST _Fail the WebSocket Connection_".
        if share_rsv1(self.extensions()) { Err(HandshakeError::Rsv1Shared) } else { Ok(()) }
    }
}
