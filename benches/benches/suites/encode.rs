//! Benchmarks sending server frames: 64 of them, each a header and its payload, then a flush.
//!
//! Ours and the reference end with all frames in one buffer. Peers with vectored writes pass the payload on as it
//! is: here that costs nothing, over a socket the kernel copies it either way.

use ws_benches::micro::{self, Entrant};
use ws_core::{Config, Connection, Instant, Message};

use super::stream::Stream;

const FRAMES: usize = 64;
const NOW: Instant = Instant::from_secs(1);

/// A message, and the bytes that 64 of it must be on the wire.
struct Work {
    payload: Vec<u8>,
    wire: Vec<u8>,
}

pub(crate) fn cases() -> Vec<micro::Case<'static>> {
    let sizes = [("16 B", 16), ("125 B", 125), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10)];
    let case = |(name, size): (&str, usize)| {
        let payload: Vec<u8> = (0..size).map(|at| (at * 7) as u8).collect();
        let mut frame = Vec::new();
        push(&mut frame, &payload);
        let wire = frame.repeat(FRAMES);
        let work: &'static Work = Box::leak(Box::new(Work { payload, wire }));
        micro::Case {
            name: name.to_owned(),
            messages: FRAMES,
            size,
            expected: work.wire.len() as u64,
            entrants: entrants(work),
            most: Some(1.5),
        }
    };
    sizes.map(case).into()
}

fn entrants(work: &'static Work) -> Vec<Entrant<'static>> {
    #[allow(unused_mut, reason = "peers come with a feature")]
    let mut entrants = vec![
        checked("reference: header and copy", work, reference),
        checked("ws-core Connection", work, connection),
        checked("ws-core Connection, small messages first", work, small),
    ];
    #[cfg(feature = "peers")]
    entrants.extend(peers::entrants(work));
    entrants
}

/// An entrant, after a check that its frames are right, byte by byte.
fn checked<F: FnMut() -> u64 + 'static>(
    name: &'static str,
    work: &'static Work,
    make: fn(&'static Work, Stream) -> F,
) -> Entrant<'static> {
    let (stream, record) = Stream::recording(&[]);
    make(work, stream)();
    assert!(*record.borrow() == work.wire, "{name} writes something else");
    Entrant::new(name, make(work, Stream::new(&[])))
}

#[inline(always)]
fn push(out: &mut Vec<u8>, payload: &[u8]) {
    match payload.len() {
        len @ 0..=125 => out.extend_from_slice(&[0x82, len as u8]),
        len @ 126..=0xFFFF => {
            let [high, low] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[0x82, 126, high, low]);
        }
        len => {
            out.extend_from_slice(&[0x82, 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

fn reference(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
    let mut out = Vec::with_capacity(work.wire.len());
    move || {
        out.clear();
        for _ in 0..FRAMES {
            push(&mut out, std::hint::black_box(&work.payload));
        }
        stream.swallow(&out);
        out.len() as u64
    }
}

fn connection(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
    let mut connection = Connection::server(Config::server(), NOW);
    let mut out = vec![0; work.wire.len()];
    move || {
        let mut len = 0;
        for _ in 0..FRAMES {
            let message = Message::Binary(std::hint::black_box(&work.payload));
            len += connection.send(message, &mut out[len..]).unwrap_or(0);
        }
        stream.swallow(&out[..len]);
        len as u64
    }
}

/// As in the adapters: a small message with nothing queued before it takes a fast path.
fn small(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
    let mut connection = Connection::server(Config::server(), NOW);
    let mut out = vec![0; work.wire.len()];
    move || {
        let mut len = 0;
        for _ in 0..FRAMES {
            let message = Message::Binary(std::hint::black_box(&work.payload));
            let free = &mut out[len..];
            len += match connection.send_small(message, free) {
                Some(written) => written,
                None => connection.send(message, free).unwrap_or(0),
            };
        }
        stream.swallow(&out[..len]);
        len as u64
    }
}

#[cfg(feature = "peers")]
mod peers {
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use bytes::{Bytes, BytesMut};
    use fastwebsockets::Payload;
    use futures_sink::Sink;
    use tokio_tungstenite::tungstenite;
    use tokio_util::codec::Encoder as _;
    use tungstenite::protocol::Role;
    use ws_benches::micro::Entrant;

    use super::{FRAMES, Stream, Work, checked};
    use crate::suites::stream::idle;

    pub(super) fn entrants(work: &'static Work) -> [Entrant<'static>; 6] {
        [
            checked("tungstenite", work, tungstenite),
            checked("fastwebsockets, vectored", work, fastwebsockets),
            checked("tokio-websockets, vectored", work, tokio_websockets),
            checked("sockudo-ws encode_frame", work, sockudo_ws),
            checked("yawc Encoder", work, yawc),
            checked("web-socket, vectored", work, web_socket),
        ]
    }

    fn tungstenite(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
        let (counter, payload) = (stream.counter(), Bytes::from_static(&work.payload));
        let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Server, None);
        move || {
            let before = counter.get();
            for _ in 0..FRAMES {
                if socket.write(tungstenite::Message::Binary(payload.clone())).is_err() {
                    return 0;
                }
            }
            socket.flush().map_or(0, |()| counter.get() - before)
        }
    }

    fn fastwebsockets(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
        let counter = stream.counter();
        let mut socket = fastwebsockets::WebSocket::after_handshake(stream, fastwebsockets::Role::Server);
        socket.set_writev(true);
        move || {
            let before = counter.get();
            for _ in 0..FRAMES {
                let frame = fastwebsockets::Frame::binary(Payload::Borrowed(&work.payload));
                let Poll::Ready(Ok(())) = pin!(socket.write_frame(frame)).poll(&mut idle()) else { return 0 };
            }
            counter.get() - before
        }
    }

    fn tokio_websockets(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
        let (counter, payload) = (stream.counter(), Bytes::from_static(&work.payload));
        let config = tokio_websockets::Config::default().frame_size(usize::MAX).flush_threshold(64 << 10);
        let mut socket = tokio_websockets::ServerBuilder::new().config(config).serve(stream);
        move || {
            let before = counter.get();
            for _ in 0..FRAMES {
                let Poll::Ready(Ok(())) = Pin::new(&mut socket).poll_ready(&mut idle()) else { return 0 };
                let message = tokio_websockets::Message::binary(payload.clone());
                if Pin::new(&mut socket).start_send(message).is_err() {
                    return 0;
                }
            }
            let Poll::Ready(Ok(())) = Pin::new(&mut socket).poll_flush(&mut idle()) else { return 0 };
            counter.get() - before
        }
    }

    fn sockudo_ws(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
        let mut out = BytesMut::with_capacity(work.wire.len());
        move || {
            out.clear();
            for _ in 0..FRAMES {
                let payload = std::hint::black_box(&work.payload);
                sockudo_ws::frame::encode_frame(&mut out, sockudo_ws::OpCode::Binary, payload, true, None);
            }
            stream.swallow(&out);
            out.len() as u64
        }
    }

    fn yawc(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
        let mut encoder = yawc::codec::Encoder::new(yawc::Role::Server);
        let mut out = BytesMut::with_capacity(work.wire.len());
        let payload = Bytes::from_static(&work.payload);
        move || {
            out.clear();
            for _ in 0..FRAMES {
                if encoder.encode(yawc::Frame::binary(payload.clone()), &mut out).is_err() {
                    return 0;
                }
            }
            stream.swallow(&out);
            out.len() as u64
        }
    }

    fn web_socket(work: &'static Work, stream: Stream) -> impl FnMut() -> u64 {
        let counter = stream.counter();
        let mut socket = web_socket::WebSocket::server(stream);
        move || {
            let before = counter.get();
            for _ in 0..FRAMES {
                let Poll::Ready(Ok(())) = pin!(socket.send(&work.payload[..])).poll(&mut idle()) else {
                    return 0;
                };
            }
            counter.get() - before
        }
    }
}
