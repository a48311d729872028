//! Whether a message has a body, and where it ends (RFC 9112, section 6).

use super::grammar::trim;
use super::tokens::List;

/// What the fields of a head say about its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    length: Length,
    coding: Coding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    Absent,
    Bytes(u64),
    /// Not a number, too large for one, or several that differ.
    Invalid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Absent,
    /// The last one is `chunked`.
    Chunked,
    Other,
}

impl Framing {
    /// A `Content-Length`: `1*DIGIT`, nothing else (RFC 9110, section 8.6).
    pub(super) fn content_length(&mut self, value: &[u8]) {
        let length = match decimal(trim(value)) {
            Some(bytes) => Length::Bytes(bytes),
            None => Length::Invalid,
        };
        self.length = if matches!(self.length, Length::Absent) || self.length == length {
            length
        } else {
            Length::Invalid
        };
    }

    /// A `Transfer-Encoding`, maybe one line of several.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) {
        let chunked = List::new(value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
        self.coding = if chunked { Coding::Chunked } else { Coding::Other };
    }

    /// Whether the request is one that two parsers may cut differently.
    ///
    /// RFC 9112, 6.3: "If a message is received with both a Transfer-Encoding and a Content-Length header field […]
    /// ought to be handled as an error"; "without Transfer-Encoding and with an invalid Content-Length header field, then
    /// the message framing is invalid"; "If a Transfer-Encoding header field is present in a request and the chunked
    /// transfer coding is not the final encoding, the message body length cannot be determined reliably"; 6.1: "A
    /// server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field MUST treat
    /// the message as if the framing is faulty".
    pub(super) fn is_ambiguous_request(self, http_1_0: bool) -> bool {
        match (self.length, self.coding) {
            (Length::Invalid, _)
            | (Length::Bytes(_), Coding::Chunked | Coding::Other)
            | (_, Coding::Other) => true,
            (Length::Absent, Coding::Chunked) => http_1_0,
            (Length::Absent | Length::Bytes(_), Coding::Absent) => false,
        }
    }

    /// Whether a body follows.
    pub(super) fn has_body(self) -> bool {
        !matches!((self.length, self.coding), (Length::Absent | Length::Bytes(0), Coding::Absent))
    }

    /// How the body of a response ends; `None` when its length is no number (RFC 9112, section 6.3).
    pub(super) fn response_body(self, status: u16) -> Option<Body> {
        Some(match (self.length, self.coding) {
            _ if matches!(status, 100..=199 | 204 | 304) => Body::Empty,
            (_, Coding::Chunked) => Body::Chunked,
            (_, Coding::Other) | (Length::Absent, Coding::Absent) => Body::UntilEof,
            (Length::Bytes(0), Coding::Absent) => Body::Empty,
            (Length::Bytes(bytes), Coding::Absent) => Body::Bytes(bytes),
            (Length::Invalid, Coding::Absent) => return None,
        })
    }
}

/// How the body behind a response's head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// There is none.
    Empty,
    /// After so many bytes.
    Bytes(u64),
    /// With the last of the chunks it comes in (RFC 9112, section 7.1).
    Chunked,
    /// With the connection.
    UntilEof,
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
    })
}
