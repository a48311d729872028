//! An upgrade, and what becomes of it: one decision, wherever its head was read.
//!
//! A head that ws-core read from the socket and one that an HTTP server read before come to the same [`ask`] and
//! [`Asked::decide`]. The second kind is written out again and shown to ws-core, so that the rules of RFC 6455, section
//! 4.2.1, stand in one place. The answer is bytes, or the same bytes as an [`http::Response`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::Full;
use tokio::time::timeout;
use ws_core::{Accept, AnswerError, ConfigRef, Connection, Rejection, Request, Role, ServerHandshake};
use ws_tokio::Acceptance;

use crate::compress::{Extensions, Negotiated};
use crate::conn::now;
use crate::decision::{Decision, Relay, decided};
use crate::entry::{Terms, Way, Who};
use crate::limits::Bounds;
use crate::link::Link;
use crate::mailbox::Down;
use crate::meta::Meta;
use crate::meters::RefusalKind;
use crate::observer::Note;
use crate::path::{BadValue, Params};
use crate::places::Places;
use crate::report::write_suppressed;
use crate::route::{MAX_QUOTED, Route};
use crate::server::Shared;

/// The address of a stream that is not a socket.
pub(crate) const UNKNOWN_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The addresses of a connection's two ends. In the extensions of the requests that
/// [`Server::on_http`](crate::Server::on_http) and [`Server::http_service`](crate::Server::http_service) get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The peer's address. Behind a proxy this is the proxy's.
    pub remote: SocketAddr,
    /// This program's address.
    pub local: SocketAddr,
}

/// A client's request for a connection, on which [`Route::decide`](crate::Route::decide) decides. Path and origin
/// are checked already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Upgrade {
    /// The peer's end of the socket. Behind a proxy this is the proxy.
    pub remote_addr: SocketAddr,
    /// This end of the socket.
    pub local_addr: SocketAddr,
    /// The path, as sent.
    pub path: Arc<str>,
    /// The values of the parameters in the route's path, decoded.
    pub params: Params,
    /// The query: what followed the path's question mark, as sent; empty if there was none.
    pub query: Arc<str>,
    /// The header fields of the request.
    pub headers: HeaderMap,
    /// The subprotocols on offer, most wanted first.
    pub protocols: Vec<String>,
    /// The one that is agreed upon if the decision names no other
    /// ([`Route::subprotocols`](crate::Route::subprotocols)).
    pub subprotocol: Option<Arc<str>>,
}

impl Upgrade {
    /// `wants_all`: the fields will be looked at.
    pub(crate) fn new(
        request: &Request<'_>,
        ends: Ends,
        params: Params,
        subprotocol: Option<Arc<str>>,
        wants_all: bool,
    ) -> Self {
        let text = |bytes: &[u8]| Arc::from(&*String::from_utf8_lossy(bytes));
        let mut upgrade = Self {
            remote_addr: ends.remote,
            local_addr: ends.local,
            path: text(request.path()),
            params,
            query: text(request.query().unwrap_or_default()),
            headers: HeaderMap::new(),
            protocols: Vec::new(),
            subprotocol,
        };
        if wants_all {
            // ws-core has checked both: a field that is here is a name and a value by RFC 9110, section 5.
            upgrade.headers = request
                .fields()
                .filter_map(|(name, value)| {
                    Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value).ok()?))
                })
                .collect();
            upgrade.protocols = request.protocols().map(str::to_owned).collect();
        }
        upgrade
    }

    /// The first header field of this name, if it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An upgrade that was refused, for a log. Its `Display` is one line, whatever the client sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The peer that asked.
    pub remote_addr: SocketAddr,
    /// The request's target, its first 256 bytes, escaped; empty if it is unknown.
    pub target: String,
    /// The status it was answered with.
    pub status: u16,
    /// The kind of refusal, for metrics.
    pub kind: RefusalKind,
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

/// An upgrade that may come as far as the server itself is concerned.
pub(crate) struct Asked<'a> {
    route: &'a Route,
    upgrade: Upgrade,
    places: Places,
}

/// Looks at an upgrade that obeys the protocol, without waiting: is there such a route, may this page connect.
pub(crate) fn ask<'a>(
    server: &'a Shared,
    request: &Request<'_>,
    ends: Ends,
) -> Result<Asked<'a>, ws_tokio::Refusal> {
    if server.hub.is_draining() {
        return Err(draining(server, request.target(), ends));
    }
    // 4.2.2: if the requested service is not available, the server "MUST send an appropriate HTTP error code (such as
    // 404 Not Found)".
    let no = |kind, reason: &str| reject(server, request.target(), ends, kind, reason);
    let fitting = server.routes.iter().filter(|route| route.path.is_at(request.path()));
    // Of equals, `min_by` takes the first.
    let Some(route) = fitting.min_by(|one, other| one.path.by_precision(&other.path)) else {
        return Err(no(RefusalKind::NoRoute, "nothing speaks WebSocket here"));
    };
    route.check_origin(request).map_err(|reason| no(RefusalKind::Origin, &reason))?;
    let params = route
        .path
        .params(request.path())
        .map_err(|BadValue| no(RefusalKind::Malformed, "the path is escaped wrongly, or is no UTF-8"))?;
    let subprotocol = route.choose_subprotocol(request);
    if subprotocol.is_none() && route.require_subprotocol {
        let reason = "none of the subprotocols that are spoken here is offered";
        return Err(no(RefusalKind::Subprotocol, reason));
    }
    let gates = route.gate.iter().chain(&server.gate);
    let places =
        Places::take(gates, ends.remote.ip()).map_err(|full| no(RefusalKind::Limit, &full.to_string()))?;
    let upgrade = Upgrade::new(request, ends, params, subprotocol, route.decide.is_some());
    Ok(Asked { route, upgrade, places })
}

/// A connection that may begin, what its client is told, and the settings of its route.
pub(crate) struct Accepted {
    pub(crate) link: Link,
    pub(crate) acceptance: Acceptance,
    pub(crate) config: ConfigRef,
}

impl Asked<'_> {
    /// Has the application decide, if it wants to, and opens the connection in the Hub.
    pub(crate) async fn decide(self, server: &Shared) -> Result<Accepted, ws_tokio::Refusal> {
        let Self { route, upgrade, mut places } = self;
        let ends = Ends { remote: upgrade.remote_addr, local: upgrade.local_addr };
        let (path, query) = (Arc::clone(&upgrade.path), Arc::clone(&upgrade.query));
        let (params, chosen) = (upgrade.params.clone(), upgrade.subprotocol.clone());
        let target = if query.is_empty() { path.to_string() } else { format!("{path}?{query}") };
        let no = |kind, reason: &str| reject(server, target.as_bytes(), ends, kind, reason);
        let decision = match &route.decide {
            None => Relay::new().into(),
            Some(decide) => match timeout(server.decision_timeout, decided(decide, upgrade)).await {
                Ok(Some(decision)) => decision,
                Ok(None) => return Err(no(RefusalKind::Undecided, "the decision failed")),
                Err(_) => return Err(no(RefusalKind::TooLate, "the decision took too long")),
            },
        };
        let mut relay = match decision {
            Decision::Accept(relay) => relay,
            Decision::Reject(response) => {
                let (kind, reason) = (RefusalKind::Application, "the application refused it");
                report(server, target.as_bytes(), ends, response.status(), kind, reason, SERVICE);
                return Err(response.into());
            }
        };
        let pool = relay.pool.take().unwrap_or_else(|| route.pool.clone());
        let subprotocol = relay.subprotocol.take().map(Arc::from).or(chosen);
        let protocol = subprotocol.as_deref().map(str::to_owned);
        if let Some(user) = relay.user.take() {
            places.name_user(&user).map_err(|full| no(RefusalKind::Limit, &full.to_string()))?;
        }
        let envelope = relay.envelope.unwrap_or(route.envelope);
        let (role, remote_addr, local_addr) = (Role::Server, ends.remote, ends.local);
        let way = route.share(Way { role, local_addr, path, params, query, subprotocol, envelope });
        let who = Who { remote_addr, way };
        let mut terms = Terms { topic: Arc::clone(&route.no_topic), meta: Meta::new(), heartbeat: None };
        terms.apply(relay);
        let bounds = Bounds {
            shows_control: route.shows_control,
            ..Bounds::new(Arc::clone(&route.outbox), &route.held, places)
        };
        let link = Link::open(&server.hub, &pool, bounds, who, terms).map_err(|Down| {
            if server.hub.is_draining() {
                draining(server, target.as_bytes(), ends)
            } else {
                no(RefusalKind::NoTarget, "no actor takes this connection")
            }
        })?;
        let acceptance = Acceptance { protocol, headers: Vec::new() };
        Ok(Accepted { link, acceptance, config: route.config.clone() })
    }
}

/// 4.2.2: "an appropriate HTTP error code".
const SERVICE: &str = "RFC 6455, section 4.2.2";

/// Reports a refusal of the server's own making.
fn reject(server: &Shared, target: &[u8], ends: Ends, kind: RefusalKind, reason: &str) -> ws_tokio::Refusal {
    let (status, section) = match kind {
        RefusalKind::NoRoute => (404, SERVICE),
        RefusalKind::Origin => (403, "RFC 6455, section 10.2"),
        RefusalKind::Malformed | RefusalKind::Subprotocol => (400, SERVICE),
        RefusalKind::Undecided => (500, SERVICE),
        _ => (503, SERVICE),
    };
    report(server, target, ends, status, kind, reason, section);
    let mut refusal = ws_tokio::Refusal::new(status, &format!("{reason}\n"));
    if status == 503 {
        // When another node may have taken over, or this one has started again.
        let seconds = server.hub.drains_for().map_or(1, |left| left.as_secs().max(1));
        refusal.headers.push(("Retry-After".to_owned(), seconds.to_string().into_bytes()));
    }
    refusal
}

fn draining(server: &Shared, target: &[u8], ends: Ends) -> ws_tokio::Refusal {
    reject(server, target, ends, RefusalKind::Draining, "the service is shutting down")
}

/// Reports an answer of the application's that may not be sent. The client gets a 500.
pub(crate) fn report_answer(server: &Shared, ends: Ends, error: AnswerError) {
    let reason = format!("the application's answer may not be sent: {error}");
    report(server, &[], ends, 500, RefusalKind::BadAnswer, &reason, SERVICE);
}

/// Reports a request that breaks a rule.
pub(crate) fn report_malformed(server: &Shared, ends: Ends, rejection: Rejection) {
    let (kind, reason) = (RefusalKind::Malformed, rejection.to_string());
    report(server, &[], ends, rejection.status(), kind, &reason, rejection.section());
}

/// Reports a refusal, to observers and to the log.
fn report(
    server: &Shared,
    target: &[u8],
    ends: Ends,
    status: u16,
    kind: RefusalKind,
    reason: &str,
    section: &'static str,
) {
    let meters = &server.hub.shared.meters;
    meters.refused.add(kind, 1);
    let refusal = |suppressed| {
        let target = target.get(..MAX_QUOTED).unwrap_or(target);
        let (target, reason) = (target.escape_ascii().to_string(), reason.to_owned());
        Refusal { remote_addr: ends.remote, target, status, kind, reason, section, suppressed }
    };
    meters.observers.tell(|| Note::Refused(refusal(0)));
    if let Some(refused) = &server.refused {
        refused.report(refusal);
    }
}

/// An answer for an HTTP server to send, with the connection if it is a 101.
pub(crate) type Answered = (http::Response<Full<Bytes>>, Option<(Link, Negotiated)>);

/// The same on a head that an HTTP server has read: `None` if it is not an upgrade to WebSocket.
pub(crate) fn read_http<B>(server: &Shared, request: &http::Request<B>) -> Option<HttpHead> {
    if !request.headers().contains_key(http::header::UPGRADE) {
        return None;
    }
    let now = now();
    let mut head = HttpHead {
        bytes: head(request),
        handshake: ServerHandshake::beside_http(now, server.config.clone()),
    };
    match head.handshake.recv(now, &head.bytes) {
        Ok(Some(request)) if request.is_upgrade() => Some(head),
        // A head that has its empty line is complete.
        Ok(_) => None,
        Err(_) => Some(head),
    }
}

/// An upgrade that an HTTP server has read, and ws-core after it.
pub(crate) struct HttpHead {
    bytes: Vec<u8>,
    handshake: ServerHandshake,
}

impl HttpHead {
    pub(crate) async fn answer(mut self, server: &Shared, ends: Ends) -> Answered {
        let asked = match self.handshake.recv(now(), &self.bytes) {
            Ok(Some(request)) => ask(server, &request, ends),
            Ok(None) => return (response(&[]), None),
            Err(rejection) => {
                report_malformed(server, ends, rejection);
                let answer = encode(|out| self.handshake.reject_as(now(), rejection, out));
                return (response(&answer.unwrap_or_default()), None);
            }
        };
        let decided = match asked {
            Ok(asked) => asked.decide(server).await,
            Err(refusal) => Err(refusal),
        };
        let now = now();
        let (answer, opened) = match decided {
            Ok(Accepted { link, acceptance, config }) => match self.handshake.recv(now, &self.bytes) {
                Ok(Some(request)) => {
                    let extensions = Extensions::agreed(&config, &request);
                    let accept = Accept {
                        protocol: acceptance.protocol.as_deref(),
                        extensions: extensions.line(),
                        ..Accept::default()
                    };
                    let answer = encode(|out| self.handshake.accept(&request, accept, out));
                    let connection = Connection::server(config, now);
                    (answer, Some((link, Negotiated::new(connection, extensions.agreement))))
                }
                _ => (Err(AnswerError::NotWaiting), None),
            },
            Err(ws_tokio::Refusal { status, headers, body }) => {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                (encode(|out| self.handshake.reject(now, status, &headers, &body, out)), None)
            }
        };
        match answer {
            Ok(answer) => (response(&answer), opened),
            Err(error) => {
                report_answer(server, ends, error);
                let answer = encode(|out| self.handshake.reject(now, 500, &[], b"", out));
                (response(&answer.unwrap_or_default()), None)
            }
        }
    }
}

/// Encodes an answer into a buffer of its size.
fn encode(mut write: impl FnMut(&mut [u8]) -> Result<usize, AnswerError>) -> Result<Vec<u8>, AnswerError> {
    let mut out = vec![0; 512];
    loop {
        match write(&mut out) {
            Ok(len) => {
                out.truncate(len);
                return Ok(out);
            }
            Err(AnswerError::NoSpace { needed }) if needed > out.len() => out.resize(needed, 0),
            Err(error) => return Err(error),
        }
    }
}

/// The head as it may have come. The HTTP server that read it has dealt with `Expect`.
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

/// An answer that ws-core has written, for an HTTP server to write; an empty one is a 500.
fn response(bytes: &[u8]) -> http::Response<Full<Bytes>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut response = http::Response::new(Full::from(body.get(4..).unwrap_or_default().to_vec()));
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line.get(9..12)?).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers: HeaderMap = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii_start());
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        })
        .collect();
    *response.headers_mut() = headers;
    response
}
