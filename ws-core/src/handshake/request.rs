//! A request, as a small view of its head.

use super::authority::Authority;
use super::extensions::Extensions;
use super::fields::{Fields, Lines};
use super::framing::Framing;
use super::grammar::{Span, ascii, is_token};
use super::head::Field;
use super::origin::same_host;
use super::request_line::RequestLine;
use super::rules;
use super::target::Target;
use super::tokens::{List, Tokens, has_token};
use super::{EXTENSIONS, PROTOCOL, Rejection};

/// What a server's handshake notes of the lines as they pass: offsets and answers, so that no rule walks the head again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) method: Span,
    pub(super) target: Span,
    /// Of `HTTP/1.x`.
    pub(super) minor: u8,
    /// The method is HEAD.
    pub(super) head_only: bool,
    pub(super) fields_at: usize,
    pub(super) len: usize,
    pub(super) host: Once,
    pub(super) key: Once,
    pub(super) version: Once,
    pub(super) framing: Framing,
    /// `Upgrade` names `websocket`.
    pub(super) upgrade: bool,
    /// `Connection` names `Upgrade`.
    pub(super) connection: bool,
    pub(super) expects_continue: bool,
    pub(super) bad_protocol: bool,
    pub(super) bad_extensions: bool,
    /// Where the first line of each list begins; 0 for none.
    pub(super) protocols_at: usize,
    pub(super) extensions_at: usize,
}

/// A field that may stand once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Once {
    #[default]
    Absent,
    One(Span),
    Several,
}

impl Once {
    fn note(&mut self, value: Span) {
        *self = if matches!(self, Self::Absent) { Self::One(value) } else { Self::Several };
    }
}

impl Facts {
    pub(super) fn new(input: &[u8], line: &RequestLine, fields_at: usize) -> Self {
        let head_only = line.method.of(input) == b"HEAD";
        Self {
            method: line.method,
            target: line.target,
            minor: line.minor,
            head_only,
            fields_at,
            ..Self::default()
        }
    }

    /// Notes a field that matters to the handshake. Names differ in length, so that few are compared.
    #[inline]
    pub(super) fn note(&mut self, input: &[u8], field: &Field) {
        let name = field.name.of(input);
        let value = field.value.of(input);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host.note(field.value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue |= has_token(value, "100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade |= has_token(value, "websocket"),
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection |= has_token(value, "upgrade"),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.framing.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.framing.transfer_encoding(value),
            17 if name.eq_ignore_ascii_case(b"sec-websocket-key") => self.key.note(field.value),
            21 if name.eq_ignore_ascii_case(b"sec-websocket-version") => self.version.note(field.value),
            22 if name.eq_ignore_ascii_case(PROTOCOL.as_bytes()) => {
                self.bad_protocol |= !List::new(value).all(is_token);
                self.protocols_at = first(self.protocols_at, field.line);
            }
            24 if name.eq_ignore_ascii_case(EXTENSIONS.as_bytes()) => {
                self.bad_extensions |= !super::extensions::is_extension_list(value);
                self.extensions_at = first(self.extensions_at, field.line);
            }
            _ => {}
        }
    }
}

const fn first(noted: usize, line: usize) -> usize {
    if noted == 0 { line } else { noted }
}

/// A complete and well-formed request head: a view of the caller's bytes, which are walked as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    head: &'b [u8],
    facts: Facts,
}

impl<'b> Request<'b> {
    /// The head of this input; nothing when the caller shows less than before.
    pub(super) fn new(input: &'b [u8], facts: Facts) -> Option<Self> {
        Some(Self { head: input.get(..facts.len)?, facts })
    }

    pub(super) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The method, in the case it came in.
    pub fn method(&self) -> &'b str {
        ascii(self.facts.method.of(self.head))
    }

    /// The target as it came: visible ASCII and, maybe, bytes above it; escapes may be broken.
    pub fn target(&self) -> &'b [u8] {
        self.facts.target.of(self.head)
    }

    /// The path of the target, still escaped; `/` where an absolute target has none, nothing where CONNECT has none.
    pub fn path(&self) -> &'b [u8] {
        self.parsed_target().map_or(&[], |target| target.path)
    }

    /// What stands behind the first `?` of the target, still escaped.
    pub fn query(&self) -> Option<&'b [u8]> {
        self.parsed_target()?.query
    }

    fn parsed_target(&self) -> Option<Target<'b>> {
        Target::parse(self.facts.method.of(self.head), self.target())
    }

    /// The minor version: 1 for `HTTP/1.1`.
    pub const fn http_minor(&self) -> u8 {
        self.facts.minor
    }

    /// The host that the request addresses: the authority of an absolute target, else `Host`.
    ///
    /// RFC 9112, 3.2.2: "When an origin server receives a request with an absolute-form of request-target, the origin
    /// server MUST ignore the received Host header field (if any)".
    pub fn host(&self) -> Option<Authority<'b>> {
        self.parsed_target().and_then(|target| target.authority).or_else(|| self.host_field())
    }

    /// Whether there is a server that the request addresses. Cheap, where [`Request::host`] reads it all.
    pub(super) fn names_host(&self) -> bool {
        let is_absolute = self.target().first() != Some(&b'/');
        is_absolute || !matches!(self.once(self.facts.host), [] | [b':', ..])
    }

    pub(super) fn is_get(&self) -> bool {
        self.facts.method.of(self.head) == b"GET"
    }

    fn host_field(&self) -> Option<Authority<'b>> {
        let Once::One(host) = self.facts.host else { return None };
        Authority::parse(host.of(self.head)).ok()
    }

    /// All fields, in order.
    pub fn fields(&self) -> Fields<'b> {
        Fields::new(self.head, self.facts.fields_at)
    }

    /// The value of the first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The subprotocols that the client offers, most wanted first, from all lines.
    pub fn protocols(&self) -> Tokens<'b> {
        Tokens::new(self.lines(self.facts.protocols_at, PROTOCOL))
    }

    /// The extensions that the client offers, in order, from all lines.
    pub fn extensions(&self) -> Extensions<'b> {
        Extensions::of_lines(self.lines(self.facts.extensions_at, EXTENSIONS))
    }

    fn lines(&self, at: usize, name: &'static str) -> Lines<'b> {
        let at = if at == 0 { self.head.len() } else { at };
        Fields::new(self.head, at).lines(name)
    }

    /// Whether this is an upgrade to WebSocket, which passed every rule of the opening handshake.
    ///
    /// If not, it is another HTTP request: its bytes are for an HTTP server, or [`Request::rejection`] says what to answer.
    pub fn is_upgrade(&self) -> bool {
        rules::is_attempt(&self.facts)
    }

    /// What a listener for WebSocket alone answers to this request; `None` for an upgrade.
    pub fn rejection(&self) -> Option<Rejection> {
        rules::check_upgrade(self).err()
    }

    /// The origin of the page that asks, and whether it [is this host](same_host); `None` when the client names none.
    ///
    /// Several origins are nobody's.
    pub fn origin(&self) -> Option<(&'b [u8], bool)> {
        let mut origins = self.fields().lines("Origin");
        let origin = origins.next()?;
        let host = self.host().is_some_and(|host| same_host(origin, host.as_str().as_bytes()));
        Some((origin, host && origins.next().is_none()))
    }

    /// Whether the client waits for `100 Continue` (RFC 9110, section 10.1.1).
    pub const fn expects_continue(&self) -> bool {
        self.facts.expects_continue
    }

    /// The bytes of the head, an empty line before it and the one behind it included.
    pub const fn head_len(&self) -> usize {
        self.facts.len
    }

    /// The head as it came, to be shown to an HTTP server.
    pub const fn head(&self) -> &'b [u8] {
        self.head
    }

    pub(super) fn key(&self) -> &'b [u8] {
        self.once(self.facts.key)
    }

    pub(super) fn once(&self, field: Once) -> &'b [u8] {
        match field {
            Once::One(value) => value.of(self.head),
            Once::Absent | Once::Several => &[],
        }
    }
}
