//! Echo over fastwebsockets, like its README and its echo server: whole messages from a `FragmentCollector`,
//! vectored writes. The library writes each frame at once; it has no means of gathering them.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use tokio::net::TcpStream;
use ws_benches::flags::Flags;
use ws_benches::{serve, upgrade};

fn main() -> std::io::Result<()> {
    serve::serve(&serve::address(Flags::of_this_process())?, |stream| async {
        // How it ends does not matter here: the generator reports what was missing.
        let _ = echo(stream).await;
    })
}

async fn echo(mut stream: TcpStream) -> Result<(), WebSocketError> {
    upgrade::accept(&mut stream).await?;
    let mut socket = WebSocket::after_handshake(stream, Role::Server);
    socket.set_writev(true);
    socket.set_auto_close(true);
    socket.set_auto_pong(true);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
