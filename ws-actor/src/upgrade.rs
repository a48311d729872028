//! What becomes of an upgrade: one decision, wherever its head was read.
//!
//! A head that ws-core read from the socket and one that an HTTP server read before come to the same [`decide`]. The
//! second kind is written out again and shown to ws-core, so that the rules of RFC 6455, section 4.2.1, stand in one
//! place. The answer is bytes, or the same bytes as an [`http::Response`].

use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ws_core::{Accept, Connection, Request, ServerHandshake};

use crate::conn::now;
use crate::event::Connect;
use crate::link::Link;
use crate::report::write_suppressed;
use crate::route::MAX_QUOTED;
use crate::server::Shared;

/// The two ends of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// An upgrade that was refused, for a log. Its `Display` is one line, whatever the client sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// Who asked.
    pub remote_addr: SocketAddr,
    /// What for: the request's target, its first 256 bytes, escaped; empty when there was no telling.
    pub target: String,
    /// The status it was answered with.
    pub status: u16,
    /// Why, in the words of the answer's body.
    pub reason: String,
    /// The RFC and the section that have the rule, such as `RFC 6455, section 4.2.2`.
    pub section: &'static str,
    /// Reports that were left out since the one before, because there were too many.
    pub suppressed: u64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote_addr, target, status, reason, suppressed, .. } = self;
        write!(f, "{remote_addr} refused with {status}: {reason} ({target})")?;
        write_suppressed(f, *suppressed)
    }
}

/// Decides on an upgrade that obeys the protocol: a connection in the Hub, or what to answer instead.
pub(crate) fn decide(server: &Shared, request: &Request<'_>, ends: Ends) -> Result<Link, ws_tokio::Refusal> {
    // 4.2.2: if the requested service is not available, the server "MUST send an appropriate HTTP error code (such as
    // 404 Not Found)".
    let Some(route) = server.routes.iter().find(|route| route.is_at(request.path())) else {
        return Err(reject(server, request, ends, 404, "nothing speaks WebSocket here"));
    };
    if let Err(reason) = route.check_origin(request) {
        return Err(reject(server, request, ends, 403, &reason));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (path, query) = (text(request.path()), text(request.query().unwrap_or_default()));
    let connect = |id| Connect {
        id,
        remote_addr: ends.remote,
        local_addr: ends.local,
        path: path.into(),
        query: query.into(),
    };
    route
        .deal()
        .and_then(|target| Link::open(&server.hub, target, route.outbox, connect).ok())
        .ok_or_else(|| reject(server, request, ends, 503, "no actor takes this connection"))
}

/// Reports a refusal of the server's own making.
fn reject(
    server: &Shared,
    request: &Request<'_>,
    ends: Ends,
    status: u16,
    reason: &str,
) -> ws_tokio::Refusal {
    // 10.2 has the origins; 4.2.2, "an appropriate HTTP error code", the rest.
    let section = if status == 403 { "RFC 6455, section 10.2" } else { "RFC 6455, section 4.2.2" };
    report(server, request.target(), ends, status, reason, section);
    let mut refusal = ws_tokio::Refusal::new(status, &format!("{reason}\n"));
    if status == 503 {
        refusal.headers.push(("Retry-After".to_owned(), b"1".to_vec()));
    }
    refusal
}

/// Reports a refusal, to whoever wants to know.
pub(crate) fn report(
    server: &Shared,
    target: &[u8],
    ends: Ends,
    status: u16,
    reason: &str,
    section: &'static str,
) {
    if let Some(refused) = &server.refused {
        refused.report(|suppressed| {
            let target = target.get(..MAX_QUOTED).unwrap_or(target);
            let (target, reason) = (target.escape_ascii().to_string(), reason.to_owned());
            Refusal { remote_addr: ends.remote, target, status, reason, section, suppressed }
        });
    }
}

/// What an upgrade that an HTTP server read comes to.
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made")]
pub(crate) enum Outcome {
    /// It is no upgrade to WebSocket.
    Http,
    Refused(http::Response<String>),
    Accepted(http::Response<String>, Link, Connection),
}

/// [`decide`] on a head that an HTTP server has read.
pub(crate) fn decide_http<B>(server: &Shared, request: &http::Request<B>, ends: Ends) -> Outcome {
    if !request.headers().contains_key(http::header::UPGRADE) {
        return Outcome::Http;
    }
    let now = now();
    let head = head(request);
    let mut handshake = ServerHandshake::beside_http(now, server.config.clone());
    let mut out = vec![0; ANSWER];
    let mut link = None;
    let len = match handshake.recv(now, &head) {
        Ok(Some(request)) if !request.is_upgrade() => return Outcome::Http,
        Ok(Some(request)) => match decide(server, &request, ends) {
            Ok(open) => {
                link = Some(open);
                handshake.accept(&request, Accept::default(), &mut out)
            }
            Err(ws_tokio::Refusal { status, headers, body }) => {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                handshake.reject(now, status, &headers, &body, &mut out)
            }
        },
        Err(rejection) => {
            report(server, &[], ends, rejection.status(), &rejection.to_string(), rejection.section());
            handshake.refuse(now, rejection, &mut out)
        }
        // A head that has its empty line is complete.
        Ok(None) => return Outcome::Http,
    };
    // Our own answers are valid and fit; an empty one would be a 500.
    let response = response(&out[..len.unwrap_or(0)]);
    match link {
        Some(link) => Outcome::Accepted(response, link, Connection::server(server.config.clone(), now)),
        None => Outcome::Refused(response),
    }
}

/// Room for any answer: the longest, a 403, quotes a little of an origin and of a host.
const ANSWER: usize = 4 << 10;

/// The head as it may have come. `Expect` has been dealt with by whoever read it.
fn head<B>(request: &http::Request<B>) -> Vec<u8> {
    let version = if request.version() == http::Version::HTTP_11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut head = format!("{} {} {version}\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        if name != http::header::EXPECT {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// An answer that ws-core has written, for an HTTP server to write.
fn response(bytes: &[u8]) -> http::Response<String> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let mut response = http::Response::new(body.to_owned());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers: HeaderMap = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
        })
        .collect();
    *response.headers_mut() = headers;
    response
}
