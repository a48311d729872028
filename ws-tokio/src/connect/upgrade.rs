//! The request out, the response in, over any stream.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_core::handshake::Body;
use ws_core::{ClientHandshake, Config, Instant, RequestError, Response};

use super::body::read_body;
use super::deadline::Deadline;
use super::error::ConnectError;
use crate::deflate::{self, Agreement};

/// What a server said to the request.
#[derive(Debug)]
pub(crate) enum Answer<S> {
    /// The connection is open. What stood behind the response is its first input.
    Open { stream: S, leftover: Vec<u8>, response: http::Response<()>, agreement: Option<Agreement> },
    /// Any other status.
    Refused(Refusal<S>),
}

#[derive(Debug)]
pub(crate) struct Refusal<S> {
    stream: S,
    pub(crate) response: http::Response<()>,
    body: Body,
    /// What stood behind the head.
    leftover: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Refusal<S> {
    /// The response with its body: what of it comes before the deadline, and no more than 64 KiB.
    pub(crate) async fn read_body(mut self, deadline: &Deadline) -> http::Response<Bytes> {
        let mut body = Vec::new();
        // Late, or cut short: the status is worth more than a complaint about that.
        let _ = deadline.limit(read_body(&mut self.stream, &self.leftover, self.body, &mut body)).await;
        self.response.map(|()| body.into())
    }

    /// The stream and the bytes behind the head, when this is no refusal after all: a proxy's 200.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.leftover)
    }
}

/// Sends the request, and reads the response.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    handshake: &mut ClientHandshake<'_>,
    config: &Config,
    deadline: &Deadline,
) -> Result<Answer<S>, ConnectError> {
    let request = encode(handshake)?;
    deadline.limit(write(&mut stream, &request)).await?.map_err(ConnectError::Lost)?;
    drop(request);
    read_answer(stream, handshake, config, deadline).await
}

fn encode(handshake: &mut ClientHandshake<'_>) -> Result<Vec<u8>, RequestError> {
    let mut request = vec![0; 512];
    loop {
        match handshake.write(&mut request) {
            Ok(len) => {
                request.truncate(len);
                return Ok(request);
            }
            Err(RequestError::NoSpace { needed }) => request.resize(needed, 0),
            Err(error) => return Err(error),
        }
    }
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads the response to a request that was sent.
pub(crate) async fn read_answer<S: AsyncRead + Unpin>(
    mut stream: S,
    handshake: &mut ClientHandshake<'_>,
    config: &Config,
    deadline: &Deadline,
) -> Result<Answer<S>, ConnectError> {
    // Grows with the bytes that arrive; the core refuses a head over its limit.
    let mut input = vec![0; 2 << 10];
    let mut filled = 0;
    loop {
        if filled == input.len() {
            input.resize(2 * filled, 0);
        }
        match deadline.limit(stream.read(&mut input[filled..])).await?.map_err(ConnectError::Lost)? {
            0 => handshake.recv_eof(Instant::ZERO)?,
            n => filled += n,
        }
        let Some(head) = handshake.recv(Instant::ZERO, &input[..filled])? else { continue };
        let agreement = deflate::check(config, &head)?;
        let response = response(&head);
        let (is_open, body, end) = (head.is_open(), head.body(), head.end());
        input.truncate(filled);
        input.drain(..end);
        return Ok(if is_open {
            Answer::Open { stream, leftover: input, response, agreement }
        } else {
            Answer::Refused(Refusal { stream, response, body, leftover: input })
        });
    }
}

/// The ecosystem's type from the core's view.
fn response(head: &Response<'_>) -> http::Response<()> {
    let mut headers = HeaderMap::new();
    for (name, value) in head.fields() {
        // What the core took for a token and a value is one for `http`, too.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let mut response = http::Response::new(());
    // From 100 to 999 the core and `http` agree.
    *response.status_mut() = http::StatusCode::from_u16(head.status()).unwrap_or_default();
    *response.headers_mut() = headers;
    response
}
