//! The peers: whole sockets over an in-memory stream, and bare decoders where a library has one.

use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::BytesMut;
use fastwebsockets::FragmentCollector;
use futures_core::Stream as _;
use sockudo_ws::protocol::{Message, Protocol};
use tokio_tungstenite::tungstenite;
use tokio_util::codec::Decoder as _;
use tungstenite::protocol::{Role, WebSocketConfig};
use web_socket::{DataType, Event};
use ws_benches::micro::Entrant;

use super::{Work, digest};
use crate::suites::stream::{Stream, idle};

pub(crate) fn entrants(case: &Work) -> [Entrant<'_>; 7] {
    [
        Entrant::new("tungstenite (128 KiB buffer, its default)", tungstenite(case, 128 * 1024)),
        Entrant::new("tungstenite (4 KiB buffer)", tungstenite(case, 4 * 1024)),
        Entrant::new("fastwebsockets", fastwebsockets(case)),
        Entrant::new("tokio-websockets", tokio_websockets(case)),
        Entrant::new("sockudo-ws Protocol", sockudo_ws(case)),
        Entrant::new("yawc Decoder", yawc(case)),
        Entrant::new("web-socket", web_socket(case)),
    ]
}

fn tungstenite(case: &Work, read_buffer: usize) -> impl FnMut() -> u64 {
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let mut socket =
        tungstenite::WebSocket::from_raw_socket(Stream::new(&case.wire), Role::Server, Some(config));
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let payload = match socket.read() {
                Ok(tungstenite::Message::Text(text)) => text.into(),
                Ok(tungstenite::Message::Binary(payload)) => payload,
                _ => return 0,
            };
            sum = sum.wrapping_add(digest(&payload));
        }
        sum
    }
}

fn fastwebsockets(case: &Work) -> impl FnMut() -> u64 {
    let socket =
        fastwebsockets::WebSocket::after_handshake(Stream::new(&case.wire), fastwebsockets::Role::Server);
    let mut socket = FragmentCollector::new(socket);
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let Poll::Ready(Ok(frame)) = pin!(socket.read_frame()).poll(&mut idle()) else { return 0 };
            sum = sum.wrapping_add(digest(&frame.payload));
        }
        sum
    }
}

fn tokio_websockets(case: &Work) -> impl FnMut() -> u64 {
    let mut socket = tokio_websockets::ServerBuilder::new().serve(Stream::new(&case.wire));
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let Poll::Ready(Some(Ok(message))) = Pin::new(&mut socket).poll_next(&mut idle()) else {
                return 0;
            };
            sum = sum.wrapping_add(digest(message.as_payload()));
        }
        sum
    }
}

/// A bare decoder over a buffer that its socket would have read into.
fn sockudo_ws(case: &Work) -> impl FnMut() -> u64 {
    let mut protocol = Protocol::new(sockudo_ws::Role::Server, 64 << 20, 64 << 20);
    let (mut buffer, mut messages) = (BytesMut::with_capacity(case.buffer), Vec::new());
    move || {
        let mut sum = 0_u64;
        for part in case.wire.chunks(case.buffer) {
            buffer.extend_from_slice(part);
            if protocol.process_into(&mut buffer, &mut messages).is_err() {
                return 0;
            }
            for message in messages.drain(..) {
                if let Message::Text(payload) | Message::Binary(payload) = &message {
                    sum = sum.wrapping_add(digest(payload));
                }
            }
        }
        sum
    }
}

/// A bare decoder, which does not check text.
fn yawc(case: &Work) -> impl FnMut() -> u64 {
    let mut decoder = yawc::codec::Decoder::new(yawc::Role::Server, 64 << 20);
    let mut buffer = BytesMut::with_capacity(case.buffer);
    move || {
        let mut sum = 0_u64;
        for part in case.wire.chunks(case.buffer) {
            buffer.extend_from_slice(part);
            while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
                sum = sum.wrapping_add(digest(frame.payload()));
            }
        }
        sum
    }
}

/// With the buffered reader that its own benchmark uses. It does not check text.
fn web_socket(case: &Work) -> impl FnMut() -> u64 {
    let stream = tokio::io::BufReader::with_capacity(64 << 10, Stream::new(&case.wire));
    let mut socket = web_socket::WebSocket::server(stream);
    move || {
        let mut sum = 0_u64;
        for _ in 0..case.frames {
            let Poll::Ready(Ok(Event::Data { ty: DataType::Complete(_), data })) =
                pin!(socket.recv_event()).poll(&mut idle())
            else {
                return 0;
            };
            sum = sum.wrapping_add(digest(&data));
        }
        sum
    }
}
