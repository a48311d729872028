//! Compressed messages that are sent in parts: each part leaves when it is sent, and control frames go between them.
#![cfg(feature = "deflate")]

mod rig;

use std::pin::pin;
use std::time::Duration;

use rig::{Far, Near, masked, poll_once, transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use ws_tokio::core::deflate::{Agreement, Settings, WindowBits};
use ws_tokio::core::{CloseFrame, Config, Delivery, Event, Message, Part, Payload, Role, SendError};
use ws_tokio::{Acceptance, ConnectOptions, Error, WebSocket, accept_with, connect_over};

fn agreement(takeover: bool, bits: u8) -> Agreement {
    let window = WindowBits::new(bits).unwrap();
    Agreement {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: window,
        client_max_window_bits: window,
    }
}

fn server(takeover: bool) -> (WebSocket<Near>, Far) {
    let (near, far) = transport();
    let mut ws = WebSocket::from_upgraded(near, Role::Server, &[], Config::server()).expect("a server");
    ws.enable_deflate(&agreement(takeover, 15));
    (ws, far)
}

/// The frames that were written: their first byte, and their payload.
fn frames(far: &Far) -> Vec<(u8, Vec<u8>)> {
    let (written, mut at, mut frames) = (far.written(), 0, Vec::new());
    while at < written.len() {
        let (len, head) = match written[at + 1] {
            126 => (usize::from(u16::from_be_bytes([written[at + 2], written[at + 3]])), 4),
            127 => (u64::from_be_bytes(written[at + 2..at + 10].try_into().unwrap()) as usize, 10),
            len => (usize::from(len), 2),
        };
        frames.push((written[at], written[at + head..at + head + len].to_vec()));
        at += head + len;
    }
    frames
}

/// Inflates a stream as it arrives, with the library's own decompressor fed by hand.
struct Inflating(ws_tokio::core::deflate::Inflater, Vec<u8>);

impl Inflating {
    fn new(takeover: bool) -> Self {
        let pool = ws_tokio::core::deflate::Pool::shared();
        Self(ws_tokio::core::deflate::Inflater::new(WindowBits::MAX, takeover, pool), vec![0; 1 << 20])
    }

    fn read(&mut self, payload: &[u8], last: bool) -> Vec<u8> {
        let step = self.0.inflate(payload, &mut self.1).unwrap();
        assert_eq!(step.taken, payload.len());
        let mut len = step.written;
        if last {
            let end = self.0.finish(&mut self.1[len..]).unwrap();
            assert!(end.done);
            len += end.written;
        }
        self.1[..len].to_vec()
    }
}

/// 5.4, and 6.1 of RFC 7692: the first frame of a compressed message has RSV1 and the opcode, the following ones have
/// neither, the last has FIN. A ping and a pong go between them, in the order of the calls. Each frame can be inflated as
/// soon as it arrives. With context, without, in one piece and in halves.
#[tokio::test]
async fn parts_are_frames_and_control_frames_go_between() {
    let parts =
        ["first größe, ".repeat(900), String::new(), "middle, größe ".repeat(5000), "the last größe".into()];
    for takeover in [true, false] {
        for halves in [false, true] {
            let (mut ws, far) = server(takeover);
            far.feed(masked(9, b"are you there"));
            assert!(poll_once(pin!(ws.recv())).is_pending());
            let kinds = [Part::First, Part::Middle, Part::Middle, Part::Last];
            let mut inflating = Inflating::new(takeover);
            if halves {
                let (mut read, mut write) = ws.split();
                for (n, (text, part)) in parts.iter().zip(kinds).enumerate() {
                    write.send_part(text, part).await.unwrap();
                    let got = frames(&far).pop().unwrap();
                    assert_eq!(inflating.read(&got.1, n == 3), text.as_bytes());
                    if n == 1 {
                        write.ping(b"mine").unwrap();
                    }
                    if n == 2 {
                        far.feed(masked(9, b"and now?"));
                        assert!(poll_once(pin!(read.recv())).is_pending());
                    }
                    let whole = write.send_part("another", Part::Whole).await;
                    assert!(matches!(whole, Err(Error::Refused(SendError::MessageOpen))) == (n < 3));
                }
            } else {
                for (n, (text, part)) in parts.iter().zip(kinds).enumerate() {
                    ws.send_part(text, part).await.unwrap();
                    let got = frames(&far).pop().unwrap();
                    assert_eq!(inflating.read(&got.1, n == 3), text.as_bytes());
                    if n == 1 {
                        ws.ping(b"mine").unwrap();
                    }
                    if n == 2 {
                        far.feed(masked(9, b"and now?"));
                        assert!(poll_once(pin!(ws.recv())).is_pending());
                    }
                    let whole = ws.send_part("another", Part::Whole).await;
                    assert!(matches!(whole, Err(Error::Refused(SendError::MessageOpen))) == (n < 3));
                }
            }
            let frames = frames(&far);
            let firsts: Vec<u8> = frames.iter().map(|frame| frame.0).collect();
            assert_eq!(firsts, [0x8A, 0x41, 0x00, 0x89, 0x00, 0x8A, 0x80, 0x81], "{takeover} {halves}");
            assert_eq!(
                (&*frames[0].1, &*frames[3].1, &*frames[5].1),
                (&b"are you there"[..], &b"mine"[..], &b"and now?"[..])
            );
            assert!(frames[4].1.len() < parts[2].len() / 50, "compressed: {}", frames[4].1.len());
            assert_eq!(frames[7].1, b"another", "below the threshold");
        }
    }
}

/// A part that is cancelled while it waits for room was not sent; later, all of it is queued. A close frame in between
/// ends the message, and what is left of it is refused.
#[tokio::test]
async fn a_part_given_up_is_whole_or_not_there() {
    let (mut ws, far) = server(true);
    ws.send_part("one ".repeat(100).as_str(), Part::First).await.unwrap();
    far.allow(0);
    // Noise, so that the queue is full.
    let noise: Vec<u8> =
        (0..100_000_u32).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let noise: String = noise.iter().map(|byte| (32 + byte % 95) as char).collect();
    assert!(poll_once(pin!(ws.send_part(&noise, Part::Middle))).is_pending());
    assert!(poll_once(pin!(ws.send_part("waits for room", Part::Middle))).is_pending());
    far.allow(usize::MAX);
    ws.send_part(" end", Part::Last).await.unwrap();
    let mut inflating = Inflating::new(true);
    let frames = frames(&far);
    assert_eq!(frames.iter().map(|frame| frame.0).collect::<Vec<_>>(), [0x41, 0x00, 0x80]);
    let text: Vec<u8> =
        frames.iter().flat_map(|(first, payload)| inflating.read(payload, *first == 0x80)).collect();
    assert!(text == ["one ".repeat(100).as_str(), &noise, " end"].concat().as_bytes());

    ws.send_part("begun", Part::First).await.unwrap();
    ws.start_close(Some(CloseFrame::new(1001, ""))).unwrap();
    assert!(matches!(ws.send_part("more", Part::Last).await, Err(Error::Refused(SendError::Closed))));
    ws.flush().await.unwrap();
    assert_eq!(last_of(&far), 0x88);
}

fn last_of(far: &Far) -> u8 {
    frames(far).pop().unwrap().0
}

/// A message that never ends: each part arrives while the next has not been made, on a real socket, and pings are
/// answered in between, both ways.
#[tokio::test]
async fn a_stream_is_heard_as_it_is_sent() {
    for takeover in [true, false] {
        let mut settings = Settings::client();
        (settings.deflate_takeover, settings.inflate_takeover) = (takeover, takeover);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let mut config = Config::server();
        config.deflate = Some(settings.clone());
        let mut options = ConnectOptions::new();
        let mut client = Config::client();
        client.deflate = Some(settings);
        client.delivery = Delivery::Chunks;
        options.config = client.into();
        let (server, client) = tokio::join!(
            accept_with(far, config, |_| Ok(Acceptance::default())),
            connect_over(near, "ws://localhost/", &options)
        );
        let (mut server, (mut client, _)) = (server.unwrap(), client.unwrap());
        for message in 0..3 {
            for n in 0..50 {
                let text = format!("größe {n} of {message}, ").repeat(1 + n * 20);
                let part = match n {
                    0 => Part::First,
                    49 => Part::Last,
                    _ => Part::Middle,
                };
                server.send_part(&text, part).await.unwrap();
                server.ping(&[n as u8]).unwrap();
                let heard = timeout(Duration::from_secs(60), hear(&mut client, text.len(), n as u8));
                let (heard, last) = tokio::join!(heard, flush(&mut server, n as u8)).0.expect("at once");
                assert_eq!((heard, last), (text, n == 49));
            }
        }
    }
}

/// Reads until this many bytes of parts have arrived, and the ping after them; returns whether the message ended.
async fn hear(client: &mut WebSocket<TcpStream>, len: usize, ping: u8) -> (String, bool) {
    let (mut heard, mut ended, mut pinged) = (String::new(), false, false);
    while heard.len() < len || !pinged {
        match client.recv_event().await.unwrap().unwrap().0 {
            Event::Chunk(chunk) => {
                ended |= chunk.last;
                match chunk.payload {
                    Payload::Text(text) => heard.push_str(text),
                    Payload::Binary(_) => panic!("text was sent"),
                }
            }
            Event::Ping(payload) => {
                assert_eq!(payload, [ping]);
                pinged = true;
            }
            other => panic!("{other:?}"),
        }
    }
    client.flush().await.unwrap();
    (heard, ended)
}

/// Sends the ping, and waits for its pong.
async fn flush(server: &mut WebSocket<TcpStream>, ping: u8) {
    server.flush().await.unwrap();
    loop {
        match server.recv_event().await.unwrap().unwrap().0 {
            Event::Pong(payload) => return assert_eq!(payload, [ping]),
            Event::Text(_) | Event::Binary(_) => panic!("nothing was said"),
            _ => {}
        }
    }
}

/// The frames of parts with nothing in them are whole messages too.
#[tokio::test]
async fn empty_parts() {
    let (mut ws, far) = server(true);
    for part in [Part::First, Part::Middle, Part::Last] {
        ws.send_part(Message::Binary(b""), part).await.unwrap();
    }
    let frames = frames(&far);
    assert_eq!(frames, [(0x42, vec![]), (0x00, vec![]), (0x80, vec![0])]);
}
