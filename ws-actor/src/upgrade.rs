//! What becomes of an upgrade: one decision, wherever its head was read.
//!
//! A head that ws-core read from the socket and one that an HTTP server read before come to the same [`decide`]. The
//! second kind is written out again and shown to ws-core, so that the rules of RFC 6455, section 4.2.1, stand in one
//! place. The answer is bytes, or the same bytes as an [`http::Response`].

use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ws_core::{Accept, AnswerError, Connection, Instant, Rejection, Request, ServerHandshake};

use crate::conn::now;
use crate::event::Connect;
use crate::link::Link;
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
    /// What for: the request's target, escaped; empty when there was no telling.
    pub target: String,
    /// The status it was answered with.
    pub status: u16,
    /// Why, in the words of the answer's body.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote_addr, target, status, reason } = self;
        write!(f, "{remote_addr} refused with {status}: {reason} ({target})")
    }
}

/// Decides on an upgrade, writes the answer to `out`, and returns the connection if it was accepted.
pub(crate) fn decide(
    server: &Shared,
    handshake: &mut ServerHandshake,
    request: &Request<'_>,
    ends: Ends,
    out: &mut Vec<u8>,
) -> Option<Link> {
    // 4.2.2: a server that does not provide the resource named "MUST send an appropriate HTTP error code (such as 404
    // Not Found)".
    let Some(route) = server.routes.iter().find(|route| route.is_at(request.path())) else {
        reject(server, handshake, Some(request), ends, (404, &[]), "nothing speaks WebSocket here", out);
        return None;
    };
    if let Err(reason) = route.check_origin(request) {
        reject(server, handshake, Some(request), ends, (403, &[]), &reason, out);
        return None;
    }
    let path = lossy(request.path());
    let query = lossy(request.query().unwrap_or_default());
    let link = route.deal().and_then(|target| {
        Link::open(&server.hub, target, route.outbox, |id| Connect {
            id,
            remote_addr: ends.remote,
            local_addr: ends.local,
            path: path.into(),
            query: query.into(),
        })
        .ok()
    });
    let Some(link) = link else {
        let answer: Answer<'_> = (503, &[("Retry-After", b"1")]);
        reject(server, handshake, Some(request), ends, answer, "no actor takes this connection", out);
        return None;
    };
    write(out, |out| handshake.accept(request, Accept::default(), out)).ok()?;
    Some(link)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A status, and headers for it.
type Answer<'a> = (u16, &'a [(&'a str, &'a [u8])]);

/// Writes a refusal of the server's own making, and reports it.
fn reject(
    server: &Shared,
    handshake: &mut ServerHandshake,
    request: Option<&Request<'_>>,
    ends: Ends,
    (status, headers): Answer<'_>,
    reason: &str,
    out: &mut Vec<u8>,
) {
    let plain: (&str, &[u8]) = ("Content-Type", b"text/plain; charset=utf-8");
    let headers: Vec<_> = headers.iter().copied().chain([plain]).collect();
    let body = format!("{reason}\n");
    // Status and headers are ours, and so valid.
    let _ = write(out, |out| handshake.reject(now(), status, &headers, body.as_bytes(), out));
    report(server, request, ends, status, reason.to_owned());
}

/// Writes the refusal that a broken rule obliges, and reports it.
pub(crate) fn refuse(
    server: &Shared,
    handshake: &mut ServerHandshake,
    rejection: Rejection,
    ends: Ends,
    out: &mut Vec<u8>,
) {
    let _ = write(out, |out| handshake.refuse(now(), rejection, out));
    report(server, None, ends, rejection.status(), rejection.to_string());
}

fn report(server: &Shared, request: Option<&Request<'_>>, ends: Ends, status: u16, reason: String) {
    if let Some(refused) = &server.refused {
        let target = request.map(|request| request.target().escape_ascii().to_string()).unwrap_or_default();
        refused(&Refusal { remote_addr: ends.remote, target, status, reason });
    }
}

/// Writes an answer behind what is in `out`, in as much room as it needs.
fn write(
    out: &mut Vec<u8>,
    mut answer: impl FnMut(&mut [u8]) -> Result<usize, AnswerError>,
) -> Result<(), AnswerError> {
    let start = out.len();
    out.resize(start + 512, 0);
    let result = match answer(&mut out[start..]) {
        Err(AnswerError::NoSpace { needed }) => {
            out.resize(start + needed, 0);
            answer(&mut out[start..])
        }
        result => result,
    };
    out.truncate(start + result.as_ref().copied().unwrap_or(0));
    result.map(|_| ())
}

/// What an upgrade that an HTTP server read comes to.
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
    let now: Instant = now();
    let head = head(request);
    let mut handshake = ServerHandshake::beside_http(now, server.config.clone());
    let mut out = Vec::new();
    let link = match handshake.recv(now, &head) {
        Ok(Some(request)) if !request.is_upgrade() => return Outcome::Http,
        Ok(Some(request)) => decide(server, &mut handshake, &request, ends, &mut out),
        Err(rejection) => {
            refuse(server, &mut handshake, rejection, ends, &mut out);
            None
        }
        // A head that ends is complete.
        Ok(None) => return Outcome::Http,
    };
    let response = response(&out);
    match link {
        Some(link) => Outcome::Accepted(response, link, Connection::server(server.config.clone(), now)),
        None => Outcome::Refused(response),
    }
}

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
