//! Bombs on a real socket: a gigabyte of zeros in a megabyte, sent to a ws-tokio server, with the heap counted.
//!
//! Server and peer share a thread, and that is what is counted.
#![cfg(feature = "deflate")]

#[path = "../../ws-core/tests/counting/mod.rs"]
mod counting;

use counting::thread;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_tokio::core::deflate::{Deflater, Pool, PoolLimits, Settings, WindowBits};
use ws_tokio::core::{Config, ConfigRef, Delivery, Event, Violation};
use ws_tokio::{Acceptance, Error, accept_with};

/// The largest message that the server takes.
const MAX: usize = 1 << 20;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65536 => {
            out.push(0xFE);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0xFF);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// A message of half the limit; and 1 GiB of zeros, in one frame and in frames of one byte.
fn wires() -> (Vec<u8>, [Vec<u8>; 2]) {
    let mut deflater = Deflater::new(WindowBits::MAX, true, 9, Pool::new(PoolLimits::new()));
    let zeros = vec![0; MAX];
    let mut block = vec![0; deflater.bound(MAX)];
    let mut len = deflater.deflate(&zeros[..MAX / 2], true, &mut block).unwrap();
    let half = frame(0xC2, &block[..len]);
    deflater.forget();
    len = deflater.deflate(&zeros, false, &mut block).unwrap();
    let mut bomb = block[..len].to_vec();
    // Compressed data that only refers to zeros can be repeated.
    len = deflater.deflate(&zeros, false, &mut block).unwrap();
    (1..1024).for_each(|_| bomb.extend_from_slice(&block[..len]));
    bomb.push(0);
    assert!((1_000_000..1_180_000).contains(&bomb.len()), "{}", bomb.len());
    let last = bomb.len() - 1;
    let cut = bomb.iter().enumerate().flat_map(|(at, byte)| {
        let first = if at == 0 { 0x42 } else { 0x80 * u8::from(at == last) };
        frame(first, &[*byte])
    });
    (half, [frame(0xC2, &bomb), cut.collect()])
}

/// Serves one connection: the bytes of messages that came before its end, and the end.
async fn serve(stream: TcpStream, config: ConfigRef) -> (usize, Option<Error>) {
    let mut ws = accept_with(stream, config, |_| Ok(Acceptance::default())).await.expect("an upgrade");
    let mut plain = 0;
    loop {
        match ws.recv_event().await {
            Ok(Some((Event::Text(_), _))) => panic!("bytes were sent"),
            Ok(Some((Event::Binary(bytes), _))) => plain += bytes.len(),
            Ok(Some((Event::Chunk(chunk), _))) => plain += chunk.payload.as_bytes().len(),
            Ok(Some(_)) => {}
            Ok(None) => return (plain, None),
            Err(error) => return (plain, Some(error)),
        }
    }
}

/// Sends as much as is accepted, and returns the code of the close frame that comes back.
async fn attack(address: std::net::SocketAddr, first: &[u8], bomb: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    stream.write_all(REQUEST).await.expect("open");
    let mut head = [0; 4096];
    let mut len = 0;
    while !head[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut head[len..len + 1]).await.expect("an answer");
    }
    let (mut read, mut write) = stream.split();
    let mut said = [0; 64];
    let mut heard = 0;
    let send = async {
        let _ = write.write_all(first).await;
        // It need not take all of it.
        let _ = write.write_all(bomb).await;
        std::future::pending::<()>().await;
    };
    let listen = async {
        while let Ok(n @ 1..) = read.read(&mut said[heard..]).await {
            heard += n;
        }
    };
    tokio::select! {
        () = send => {}
        () = listen => {}
    }
    (heard >= 4 && said[0] == 0x88).then(|| u16::from_be_bytes([said[2], said[3]]))
}

/// DP-15, DP-16, in full: 1009, and at most the largest message and 64 KiB of heap more than the
/// connection had, as the first message and after another, in one frame and in frames of one byte; whole and in parts.
#[tokio::test]
async fn dp15_dp16_bombs_on_a_socket() {
    let (half, bombs) = wires();
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let mut config = Config::server();
        config.limits.max_message = MAX as u64;
        config.limits.max_frame = 4 << 20;
        config.limits.max_fragments = u32::MAX;
        // How long to wait for a peer that never reads.
        config.timeouts.linger = std::time::Duration::from_millis(100);
        config.delivery = delivery;
        let mut settings = Settings::server();
        settings.pool = Some(Pool::new(PoolLimits::new()));
        config.deflate = Some(settings);
        let config = ConfigRef::from(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let close = frame(0x88, b"");
        // The thread's and the pool's buffers: they are not the attack's. It may end in a reset, or otherwise.
        let warm = async { serve(listener.accept().await.expect("a peer").0, config.clone()).await };
        let (warm, _) = tokio::join!(warm, attack(address, &half, &close));
        assert_eq!(warm.0, MAX / 2);
        for (cut, bomb) in bombs.iter().enumerate() {
            for nested in [false, true] {
                let before = thread::restart_peak();
                let first = if nested { &half[..] } else { &[] };
                let server =
                    async { serve(listener.accept().await.expect("a peer").0, config.clone()).await };
                let ((plain, end), code) = tokio::join!(server, attack(address, first, bomb));
                let extra = (thread::peak_in_place() - before).cast_unsigned();
                println!("{delivery:?}, cut {cut}, nested {nested}: {extra} bytes, {end:?}");
                assert!(matches!(end, Some(Error::Violation(Violation::MessageTooBig))), "{end:?}");
                assert_eq!(code, Some(1009), "{delivery:?}, cut {cut}, nested {nested}");
                let due = if nested { MAX / 2 } else { 0 };
                let parts = if delivery == Delivery::Chunks { MAX } else { 0 };
                assert!((due..=due + parts).contains(&plain), "{plain}");
                assert!(extra <= MAX + (64 << 10), "{delivery:?}, cut {cut}, nested {nested}: {extra} bytes");
            }
        }
    }
}
