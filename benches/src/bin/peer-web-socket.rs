//! Echo over web-socket, like its README, with the buffered reader that its own benchmark puts before the socket:
//! without it each frame is three reads. The library writes each frame at once; it has no means of gathering them.

use std::io;

use tokio::io::BufReader;
use tokio::net::TcpStream;
use web_socket::{CloseCode, DataType, Event, MessageType, WebSocket};
use ws_benches::flags::Flags;
use ws_benches::{serve, upgrade};

fn main() -> io::Result<()> {
    serve::serve(&serve::address(Flags::of_this_process())?, |stream| async {
        // How it ends does not matter here: the generator reports what was missing.
        let _ = echo(stream).await;
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    upgrade::accept(&mut stream).await?;
    let mut socket = WebSocket::server(BufReader::with_capacity(64 << 10, stream));
    loop {
        match socket.recv_event().await? {
            // Text is not checked by the library; to send it as text, it must be a `str`.
            Event::Data { ty: DataType::Complete(MessageType::Text), data } => {
                match std::str::from_utf8(&data) {
                    Ok(text) => socket.send(text).await?,
                    Err(_) => return socket.close(CloseCode::InvalidPayload).await,
                }
            }
            Event::Data { ty: DataType::Complete(MessageType::Binary), data } => {
                socket.send(&data[..]).await?;
            }
            // The generator sends whole messages.
            Event::Data { ty: DataType::Stream(_), .. } => return socket.close(CloseCode::Unsupported).await,
            Event::Ping(data) => socket.send_pong(data).await?,
            Event::Pong(_) => {}
            Event::Error(_) => return socket.close(CloseCode::ProtocolError).await,
            Event::Close { .. } => return socket.close(()).await,
        }
    }
}
