//! Benchmarks a browser's opening handshake on the server's side (RFC 6455, section 4.2): the request parsed, its fields
//! checked, the accept value computed, the answer written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ws_benches::micro::{self, Entrant};
use ws_core::{Accept, Config, ConfigRef, Instant, ServerHandshake};

use super::stream::Stream;

/// As Chromium sends it.
const REQUEST: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\n\
    Host: example.com:9001\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// The accept value for the key, both from section 1.3.
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const PASSES: usize = 64;
const NOW: Instant = Instant::from_secs(1);

pub(crate) fn cases() -> Vec<micro::Case<'static>> {
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut entrants = vec![
        checked("reference: httparse, sha1_smol", reference),
        checked("ws-core ServerHandshake", ours),
        checked("limit: httparse alone", parse_alone),
        checked("limit: sha1_smol of a key", sha1_alone),
    ];
    #[cfg(feature = "peers")]
    entrants.extend(peers::entrants());
    vec![micro::Case {
        name: "Chromium's request".to_owned(),
        messages: PASSES,
        size: REQUEST.len(),
        expected: PASSES as u64,
        entrants,
        most: Some(1.5),
    }]
}

/// An entrant, after a check of its answer. Its work returns how many requests it answered.
fn checked<F: FnMut() -> bool + 'static>(name: &'static str, make: fn(Stream) -> F) -> Entrant<'static> {
    let (stream, record) = Stream::recording(REQUEST);
    assert!(make(stream)(), "{name} refuses");
    let answer = record.borrow();
    let is_right = answer.starts_with(b"HTTP/1.1 101")
        && answer.windows(ACCEPT.len()).any(|window| window == ACCEPT)
        && answer.ends_with(b"\r\n\r\n");
    assert!(is_right || name.starts_with("limit"), "{name}: {}", String::from_utf8_lossy(&answer));
    let mut work = make(Stream::new(REQUEST));
    Entrant::new(name, move || (0..PASSES).filter(|_| work()).count() as u64)
}

fn reference(stream: Stream) -> impl FnMut() -> bool {
    let mut out = Vec::with_capacity(256);
    move || {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if !request.parse(std::hint::black_box(REQUEST)).is_ok_and(|status| status.is_complete()) {
            return false;
        }
        let (mut key, mut upgrade, mut connection, mut version, mut host) =
            (None, false, false, false, false);
        for header in &*request.headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("sec-websocket-key") {
                key = Some(header.value);
            } else if is("upgrade") {
                upgrade = header.value.eq_ignore_ascii_case(b"websocket");
            } else if is("connection") {
                connection = header.value.eq_ignore_ascii_case(b"upgrade");
            } else if is("sec-websocket-version") {
                version = header.value == b"13";
            } else if is("host") {
                host = true;
            }
        }
        let Some(key) = key.filter(|key| key.len() == 24) else { return false };
        if request.method != Some("GET") || !(upgrade && connection && version && host) {
            return false;
        }
        out.clear();
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        let mut accept = [0; 28];
        let encoded = STANDARD.encode_slice(digest(key), &mut accept);
        out.extend_from_slice(&accept);
        out.extend_from_slice(b"\r\n\r\n");
        stream.swallow(&out);
        encoded.is_ok()
    }
}

fn digest(key: &[u8]) -> [u8; 20] {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    hash.digest().bytes()
}

fn parse_alone(_: Stream) -> impl FnMut() -> bool {
    || {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(std::hint::black_box(REQUEST)).is_ok_and(|status| status.is_complete())
    }
}

fn sha1_alone(_: Stream) -> impl FnMut() -> bool {
    || std::hint::black_box(digest(std::hint::black_box(b"dGhlIHNhbXBsZSBub25jZQ==")))[0] != 0
}

fn ours(stream: Stream) -> impl FnMut() -> bool {
    let config = ConfigRef::from(Config::server());
    let mut out = vec![0; 512];
    move || {
        let mut handshake = ServerHandshake::new(NOW, config.clone());
        let Ok(Some(request)) = handshake.recv(NOW, std::hint::black_box(REQUEST)) else { return false };
        let Ok(len) = handshake.accept(&request, Accept::default(), &mut out) else { return false };
        stream.swallow(&out[..len]);
        handshake.consumed() == Some(REQUEST.len())
    }
}

#[cfg(feature = "peers")]
mod peers {
    use std::pin::pin;
    use std::task::Poll;

    use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
    use soketto::handshake::Server;
    use soketto::handshake::server::Response;
    use tokio_tungstenite::tungstenite;
    use tokio_util::compat::TokioAsyncReadCompatExt;
    use tungstenite::protocol::WebSocketConfig;
    use ws_benches::micro::Entrant;

    use super::{REQUEST, Stream, checked};
    use crate::suites::stream::idle;

    pub(super) fn entrants() -> [Entrant<'static>; 4] {
        [
            checked("tungstenite accept (4 KiB buffer)", tungstenite),
            checked("tokio-websockets accept", tokio_websockets),
            checked("sockudo-ws parse, key, answer", sockudo_ws),
            checked("soketto", soketto),
        ]
    }

    fn tungstenite(stream: Stream) -> impl FnMut() -> bool {
        let config = WebSocketConfig::default().read_buffer_size(4 << 10);
        move || tungstenite::accept_with_config(stream.clone(), Some(config)).is_ok()
    }

    fn tokio_websockets(stream: Stream) -> impl FnMut() -> bool {
        let builder = tokio_websockets::ServerBuilder::new();
        move || {
            let accept = builder.accept(stream.clone());
            matches!(pin!(accept).poll(&mut idle()), Poll::Ready(Ok(_)))
        }
    }

    fn sockudo_ws(stream: Stream) -> impl FnMut() -> bool {
        move || {
            let Ok(Some((request, _))) = parse_request(std::hint::black_box(REQUEST)) else { return false };
            stream.swallow(&build_response(&generate_accept_key(request.key), None, None));
            true
        }
    }

    fn soketto(stream: Stream) -> impl FnMut() -> bool {
        move || {
            let talk = async {
                let mut server = Server::new(stream.clone().compat());
                let key = server.receive_request().await.ok()?.key();
                server.send_response(&Response::Accept { key, protocol: None }).await.ok()
            };
            matches!(pin!(talk).poll(&mut idle()), Poll::Ready(Some(())))
        }
    }
}
