//! Messages larger than the memory available: sent in parts, received in parts.

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;

use counting::thread;
use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::{Config, Delivery, Event, Part, Payload, Role};
use ws_tokio::{Error, WebSocket};

const PARTS: usize = 1024;
const PART: usize = 64 << 10;

async fn pair() -> [WebSocket<TcpStream>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let mut config = Config::server();
    config.limits.max_message = u64::MAX;
    config.limits.max_frame = u64::MAX;
    config.delivery = Delivery::Chunks;
    let ws = |stream, role| WebSocket::from_upgraded(stream, role, &[], config.clone()).expect("entropy");
    [ws(server.expect("a peer").0, Role::Server), ws(client.expect("listening"), Role::Client)]
}

/// The byte at this place of the message.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 9)) as u8
}

/// 64 MiB go through in either direction with less than 1 MiB of memory; as text too, with characters cut by parts.
#[tokio::test]
async fn messages_larger_than_memory() {
    for text in [false, true] {
        for forth in [true, false] {
            let [server, client] = pair().await;
            let (mut from, mut to) = if forth { (client, server) } else { (server, client) };
            let base = thread::restart_peak();
            let part: Vec<u8> = (0..PART).map(byte).collect();
            // Three bytes each, so that the receiver's parts do not end on their boundaries by themselves.
            let letters = "€".repeat(PART / 3);
            let send = async {
                for i in 0..PARTS {
                    let which = match i {
                        0 => Part::First,
                        i if i == PARTS - 1 => Part::Last,
                        _ => Part::Middle,
                    };
                    if text {
                        from.send_part(&letters, which).await.expect("open");
                    } else {
                        from.send_part(&part, which).await.expect("open");
                    }
                }
            };
            let recv = async {
                let (mut len, mut first) = (0, true);
                loop {
                    let Some((Event::Chunk(chunk), _)) = to.recv_event().await.expect("open") else {
                        panic!("not a part")
                    };
                    assert_eq!(std::mem::take(&mut first), chunk.first);
                    match &chunk.payload {
                        Payload::Text(text) => {
                            assert!(text.chars().all(|c| c == '€'));
                        }
                        Payload::Binary(bytes) => {
                            let mut left = &bytes[..];
                            while !left.is_empty() {
                                let at = (len + bytes.len() - left.len()) % PART;
                                let (now, later) = left.split_at(left.len().min(PART - at));
                                assert_eq!(now, &part[at..at + now.len()]);
                                left = later;
                            }
                        }
                    }
                    len += chunk.payload.as_bytes().len();
                    if chunk.last {
                        return len;
                    }
                }
            };
            let ((), len) = tokio::join!(send, recv);
            assert_eq!(len, if text { PARTS * letters.len() } else { PARTS * PART });
            let peak = thread::peak() - base;
            println!("64 MiB with {peak} bytes");
            assert!(peak < 1 << 20, "{peak} bytes");
        }
    }
}

/// `recv` reports that it is the wrong call for parts, and keeps reporting it.
#[tokio::test]
async fn recv_has_no_whole_messages_in_chunks() {
    let [mut server, mut client] = pair().await;
    client.send("x").await.expect("open");
    assert!(matches!(server.recv().await, Err(Error::InChunks)));
    client.send("y").await.expect("open");
    let event = server.recv_event().await.expect("open").expect("a part").0;
    assert!(matches!(event, Event::Chunk(chunk) if chunk.payload.as_bytes() == b"y" && chunk.last));
}
