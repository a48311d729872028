//! A peer that vanishes while its pongs wait: the connection ends, and does not spin.

use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ws_tokio::{Error, accept};

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// A ping of 125 bytes with a mask of zeros.
const PING: [u8; 131] = {
    let mut ping = [b'p'; 131];
    (ping[0], ping[1]) = (0x89, 0x80 | 125);
    (ping[2], ping[3], ping[4], ping[5]) = (0, 0, 0, 0);
    ping
};

/// C-06: a peer that does not read is not read from; what is owed to it when it goes is dropped.
#[test]
fn c06_a_reset_with_pongs_owed_ends_the_connection() {
    let (tell, ending) = mpsc::channel();
    // On its own thread: what must not happen would also stop a timeout on the same one.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let server =
                tokio::spawn(async move { accept(ours).await.expect("an upgrade").recv().await.map(|_| ()) });
            theirs.write_all(HEAD).await.expect("open");
            let mut answer = [0; 4096];
            assert!(theirs.read(&mut answer).await.expect("open") > 0);
            let flood = PING.repeat(2000);
            let stalled = tokio::time::timeout(Duration::from_millis(300), theirs.write_all(&flood)).await;
            assert!(stalled.is_err(), "the server went on reading with its output blocked");
            drop(theirs);
            let _ = tell.send(server.await.expect("no panic"));
        });
    });
    let ending = ending.recv_timeout(Duration::from_secs(60)).expect("recv() came back");
    assert!(matches!(ending, Err(Error::Lost(_))), "{ending:?}");
}
