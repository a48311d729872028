//! What both sides agreed on, and how they come to it (RFC 7692, sections 5 and 7.1).
//!
//! A server answers the first offer that it can honour. A client compares the answer with what it offered: it is right if it
//! fits any one of the offers, for an answer does not say which it is about. Offers and answers have the same four
//! parameters, and are read by the same code; what an answer must have besides is checked after that.

use super::line::Line;
use super::settings::{Settings, WindowBits};
use crate::config::Role;
use crate::handshake::{Extension, Extensions, HandshakeError, ParamValue};

/// The registered name.
pub(super) const NAME: &str = "permessage-deflate";

const SERVER_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

/// The parameters agreed on for a connection, the same for both roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The server's compressor starts each message from nothing.
    pub server_no_context_takeover: bool,
    /// The client's compressor starts each message from nothing.
    pub client_no_context_takeover: bool,
    /// How far back the server's compressor refers.
    pub server_max_window_bits: WindowBits,
    /// How far back the client's compressor refers. A client that is told 8 sends its messages as they are: there is no
    /// compressor of 8 bits.
    pub client_max_window_bits: WindowBits,
}

/// One direction of an [`Agreement`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direction {
    pub(crate) window: WindowBits,
    pub(crate) takeover: bool,
}

impl Agreement {
    /// Our compressor's direction, and the peer's.
    pub(crate) fn directions(&self, role: Role) -> (Direction, Direction) {
        let server =
            Direction { window: self.server_max_window_bits, takeover: !self.server_no_context_takeover };
        let client =
            Direction { window: self.client_max_window_bits, takeover: !self.client_no_context_takeover };
        match role {
            Role::Server => (server, client),
            Role::Client => (client, server),
        }
    }

    /// What `answer` agreed to of these offers, the value of the line that was sent; `None` for nothing.
    ///
    /// [`Settings::check`] is the same for the offers of [`Settings::offer`]; this is for offers written by hand.
    ///
    /// # Errors
    /// The rule that the answer breaks; the connection is to be failed. Where it fits none of several offers, the rule that
    /// it breaks with the last of them.
    pub fn check(offers: &str, answer: Extensions<'_>) -> Result<Option<Self>, HandshakeError> {
        let mut answers = answer.filter(is_deflate);
        let Some(answer) = answers.next() else { return Ok(None) };
        // 5: a second one would use the same bit.
        if answers.next().is_some() {
            return Err(HandshakeError::Rsv1Shared);
        }
        let answer = Terms::read(&answer)?;
        // 7.1.2.2: only an offer may leave the number open.
        if answer.client_window == Some(None) {
            return Err(HandshakeError::DeflateValue);
        }
        let mut outcome = Err(HandshakeError::ExtensionNotOffered);
        for offer in Extensions::of_value(offers.as_bytes()).filter(is_deflate) {
            // An offer that breaks the rules is declined by every server: nothing is an answer to it.
            let Ok(offer) = Terms::read(&offer) else { continue };
            outcome = match (offer.agree(&answer), outcome) {
                // The answer does not say which of them the server took: what either binds us to, we do.
                (Ok(one), Ok(other)) => Ok(one.stricter(other)),
                (Err(_), Ok(other)) => Ok(other),
                (new, Err(_)) => new,
            };
        }
        outcome.map(Some)
    }

    /// Both promises of the client. Those of the server stand in the answer, whatever was offered.
    fn stricter(self, other: Self) -> Self {
        Self {
            client_no_context_takeover: self.client_no_context_takeover || other.client_no_context_takeover,
            client_max_window_bits: self.client_max_window_bits.min(other.client_max_window_bits),
            ..self
        }
    }
}

impl Settings {
    /// A server's answer: the first offer that can be honoured, "in the client's order of preference" (RFC 7692, section 5),
    /// and the value of the line that says so. `None`: none can, and the connection goes on without compression.
    ///
    /// - What the client asks of our compressor is done and confirmed. Where our own settings ask for less, the answer says
    ///   so, so that the client may save the memory too.
    /// - What the client declares about its own compressor is confirmed, which makes it a promise.
    /// - A client that did not offer `client_max_window_bits` cannot be told a window. If
    ///   [`inflate_window`](Settings::inflate_window) is below 15, it is told `client_no_context_takeover` instead, which
    ///   needs no offer: its window of 32 KiB is there only while a message is inflated, and nothing is kept between.
    /// - An offer of `server_max_window_bits=8` is declined: there is no compressor of 8 bits, and 9 would break it.
    pub fn accept(&self, offers: Extensions<'_>) -> Option<(Agreement, Line)> {
        // 7: "A server MUST decline an extension negotiation offer" with a parameter that is not defined, that has an
        // invalid value, or that stands there twice.
        offers
            .filter(is_deflate)
            .filter_map(|offer| Terms::read(&offer).ok())
            .find_map(|offer| self.answer(offer))
    }

    fn answer(&self, offer: Terms) -> Option<(Agreement, Line)> {
        let server_window = offer.server_window.unwrap_or(WindowBits::MAX).min(self.compressor_window());
        // 7.1.2.1: "the same or smaller value as the offer", which has no compressor.
        if server_window < WindowBits::SMALLEST_COMPRESSOR {
            return None;
        }
        let client_window = match offer.client_window {
            Some(hint) => hint.unwrap_or(WindowBits::MAX).min(self.inflate_window),
            None => WindowBits::MAX,
        };
        let agreement = Agreement {
            server_no_context_takeover: offer.server_no_takeover || !self.deflate_takeover,
            client_no_context_takeover: offer.client_no_takeover
                || !self.inflate_takeover
                || client_window > self.inflate_window,
            server_max_window_bits: server_window,
            client_max_window_bits: client_window,
        };
        let answer = Terms {
            server_no_takeover: agreement.server_no_context_takeover,
            client_no_takeover: agreement.client_no_context_takeover,
            // 7.1.2.1: a server accepts the parameter "by including" it, and "MAY include" it unasked.
            server_window: (offer.server_window.is_some() || server_window < WindowBits::MAX)
                .then_some(server_window),
            // 7.1.2.2: if the offer lacks it, the response "MUST NOT include the 'client_max_window_bits' extension
            // parameter". A window that was not offered is 15 here.
            client_window: (client_window < WindowBits::MAX).then_some(Some(client_window)),
        };
        let mut line = Line::new();
        answer.write(&mut line);
        Some((agreement, line))
    }

    /// A client's offers, as the value of one line, most wanted first.
    ///
    /// It always offers `client_max_window_bits`, as a server can only then bound its memory. Where our settings
    /// restrict our own compressor, the offer says so, and this holds whatever the server answers. Where
    /// [`inflate_window`](Settings::inflate_window) is below 15, a second offer is for servers that cannot
    /// bound theirs: they may send without context takeover, so that the 32 KiB are there only while a message is inflated.
    /// [`Settings::client`] gives `permessage-deflate; client_max_window_bits`.
    pub fn offer(&self) -> Line {
        let own = self.compressor_window();
        let last = Terms {
            server_no_takeover: !self.inflate_takeover,
            client_no_takeover: !self.deflate_takeover,
            server_window: None,
            client_window: Some((own < WindowBits::MAX).then_some(own)),
        };
        let mut line = Line::new();
        if self.inflate_window == WindowBits::MAX {
            last.write(&mut line);
        } else {
            Terms { server_window: Some(self.inflate_window), ..last }.write(&mut line);
            line.put(", ");
            Terms { server_no_takeover: true, ..last }.write(&mut line);
        }
        line
    }

    /// A client's check of the response to [`Settings::offer`]: what was agreed on; `None` for nothing.
    ///
    /// # Errors
    /// The rule that the answer breaks: "the client MUST _Fail the WebSocket Connection_" (RFC 7692, section 7).
    pub fn check(&self, answer: Extensions<'_>) -> Result<Option<Agreement>, HandshakeError> {
        Agreement::check(&self.offer(), answer)
    }
}

/// The parameters of an offer or of an answer, as they stand there.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_window: Option<WindowBits>,
    /// In an offer the number may be missing: the client can be told one.
    client_window: Option<Option<WindowBits>>,
}

impl Terms {
    fn read(extension: &Extension<'_>) -> Result<Self, HandshakeError> {
        let mut terms = Self::default();
        for (name, value) in extension.params() {
            // 7: "multiple extension parameters with the same name".
            let is_repeated = match (name, value) {
                // 7.1.1: "This extension parameter has no value."
                (SERVER_TAKEOVER, None) => core::mem::replace(&mut terms.server_no_takeover, true),
                (CLIENT_TAKEOVER, None) => core::mem::replace(&mut terms.client_no_takeover, true),
                (SERVER_WINDOW, Some(value)) => terms.server_window.replace(window(value)?).is_some(),
                // 7.1.2.2: "This parameter has no value or a decimal integer value".
                (CLIENT_WINDOW, value) => {
                    terms.client_window.replace(value.map(window).transpose()?).is_some()
                }
                (SERVER_TAKEOVER | CLIENT_TAKEOVER | SERVER_WINDOW, _) => {
                    return Err(HandshakeError::DeflateValue);
                }
                _ => return Err(HandshakeError::DeflateParameter),
            };
            if is_repeated {
                return Err(HandshakeError::DeflateRepeated);
            }
        }
        Ok(terms)
    }

    /// What this offer and a well-formed answer come to.
    fn agree(&self, answer: &Self) -> Result<Agreement, HandshakeError> {
        // 7.1.1.1: a server accepts the parameter "by including" it in the response.
        if self.server_no_takeover && !answer.server_no_takeover {
            return Err(HandshakeError::DeflateTakeover);
        }
        // 7.1.2.1: "with the same or smaller value as the offer".
        let server_window = answer.server_window.unwrap_or(WindowBits::MAX);
        if self.server_window.is_some_and(|asked| answer.server_window.is_none() || server_window > asked) {
            return Err(HandshakeError::DeflateServerWindow);
        }
        // 7.1.2.2: "MUST NOT include".
        if self.client_window.is_none() && answer.client_window.is_some() {
            return Err(HandshakeError::DeflateClientWindow);
        }
        let number = |window: Option<Option<WindowBits>>| window.flatten().unwrap_or(WindowBits::MAX);
        Ok(Agreement {
            server_no_context_takeover: answer.server_no_takeover,
            // 7.1.1.2 and 7.1.2.2: what the client declared about itself holds, even if the server did not take it up.
            client_no_context_takeover: self.client_no_takeover || answer.client_no_takeover,
            server_max_window_bits: server_window,
            client_max_window_bits: number(self.client_window).min(number(answer.client_window)),
        })
    }

    fn write(&self, line: &mut Line) {
        line.put(NAME);
        let params = [
            (SERVER_TAKEOVER, self.server_no_takeover, None),
            (CLIENT_TAKEOVER, self.client_no_takeover, None),
            (SERVER_WINDOW, self.server_window.is_some(), self.server_window),
            (CLIENT_WINDOW, self.client_window.is_some(), self.client_window.flatten()),
        ];
        for (name, _, value) in params.into_iter().filter(|(_, is_there, _)| *is_there) {
            line.put("; ");
            line.put(name);
            if let Some(window) = value {
                line.put("=");
                line.put(window.as_str());
            }
        }
    }
}

fn is_deflate(extension: &Extension<'_>) -> bool {
    extension.name() == NAME
}

/// 7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn window(value: ParamValue<'_>) -> Result<WindowBits, HandshakeError> {
    WindowBits::ALL.into_iter().find(|window| value == *window.as_str()).ok_or(HandshakeError::DeflateValue)
}
