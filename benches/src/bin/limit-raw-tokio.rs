//! The floor over tokio: a TCP echo, one task and one 64 KiB buffer per connection, no WebSocket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ws_benches::flags::Flags;
use ws_benches::serve;

fn main() -> std::io::Result<()> {
    serve::serve(&serve::address(Flags::of_this_process())?, echo)
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
