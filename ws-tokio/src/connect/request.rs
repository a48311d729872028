//! What a caller asks for: a URL, or an `http::Request` with fields of its own.

use http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use http::{Method, Version};
use ws_core::{ClientRequest, Config, RequestError, Uri};

use super::error::ConnectError;
use super::options::ConnectOptions;
use crate::deflate;

/// An address to connect to, and the fields to send: made from a URL or an `http::Request<()>`.
///
/// ```
/// use ws_tokio::ConnectRequest;
///
/// let from_text = ConnectRequest::from("ws://example.com/chat");
/// let from_parts: ConnectRequest = http::Request::builder()
///     .uri("wss://example.com/chat")
///     .header("Authorization", "Bearer 1234")
///     .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1") // these are offered
///     .body(())
///     .expect("well-formed")
///     .into();
/// ```
///
/// The handshake writes its own fields, such as `Host`, `Upgrade` and `Sec-WebSocket-Key`, with a new key for each
/// attempt; a request that brings one of them is refused.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    url: String,
    headers: HeaderMap,
    is_get: bool,
}

impl ConnectRequest {
    fn of_url(url: String) -> Self {
        Self { url, headers: HeaderMap::new(), is_get: true }
    }

    /// The address, as given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The fields, as given.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl From<&str> for ConnectRequest {
    fn from(url: &str) -> Self {
        Self::of_url(url.to_owned())
    }
}

impl From<String> for ConnectRequest {
    fn from(url: String) -> Self {
        Self::of_url(url)
    }
}

impl From<&String> for ConnectRequest {
    fn from(url: &String) -> Self {
        Self::of_url(url.clone())
    }
}

impl From<http::Uri> for ConnectRequest {
    fn from(uri: http::Uri) -> Self {
        Self::of_url(uri.to_string())
    }
}

impl From<http::Request<()>> for ConnectRequest {
    fn from(request: http::Request<()>) -> Self {
        let (parts, ()) = request.into_parts();
        Self {
            url: parts.uri.to_string(),
            headers: parts.headers,
            // RFC 6455, 4.1: "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
            is_get: parts.method == Method::GET && parts.version == Version::HTTP_11,
        }
    }
}

/// An attempt's own data, from which the core's borrowed request is made; a redirect changes it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) protocols: Vec<String>,
}

impl Attempt {
    pub(super) fn new(request: ConnectRequest, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let ConnectRequest { url, mut headers, is_get } = request;
        if !is_get {
            return Err(ConnectError::RequestLine);
        }
        for (name, value) in &options.headers {
            headers.append(name, value.clone());
        }
        let mut protocols = Vec::new();
        for line in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
            let line = line.to_str().map_err(|_| RequestError::InvalidProtocol)?;
            protocols.extend(line.split(',').map(|protocol| protocol.trim_matches([' ', '\t']).to_owned()));
        }
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
        protocols.extend(options.protocols.iter().cloned());
        Ok(Self { url, headers, protocols })
    }
}

/// The attempt's data, lent to the core.
pub(super) struct Lines<'a> {
    extensions: String,
    protocols: Vec<&'a str>,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl Attempt {
    pub(super) fn lines(&self, config: &Config) -> Lines<'_> {
        Lines {
            extensions: deflate::offer(config).map(|line| line.to_string()).unwrap_or_default(),
            protocols: self.protocols.iter().map(String::as_str).collect(),
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
        }
    }
}

impl<'a> Lines<'a> {
    pub(super) fn request(&'a self, uri: Uri<'a>, require_protocol: bool) -> ClientRequest<'a> {
        let mut request = ClientRequest::new(uri);
        request.extensions = &self.extensions;
        request.protocols = &self.protocols;
        request.require_protocol = require_protocol;
        request.headers = &self.headers;
        request
    }
}
