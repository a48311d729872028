//! Echo over soketto, like its example server: a buffered reader and writer around the socket, a flush after each message.
//! None of its futures may be dropped before it is done, so a server cannot ask first whether more has come.

use futures_util::io::{BufReader, BufWriter};
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use soketto::{Data, connection};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;
use ws_benches::flags::Flags;
use ws_benches::serve;

fn main() -> std::io::Result<()> {
    serve::serve(&serve::address(Flags::of_this_process())?, |stream| async {
        // How it ends does not matter here: the generator reports what was missing.
        let _ = echo(stream).await;
    })
}

async fn echo(stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let writer = BufWriter::with_capacity(64 << 10, stream.compat());
    let mut server = Server::new(BufReader::with_capacity(64 << 10, writer));
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await {
            Ok(Data::Binary(_)) => sender.send_binary_mut(&mut message).await?,
            Ok(Data::Text(_)) => sender.send_text(std::str::from_utf8(&message)?).await?,
            Err(connection::Error::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        sender.flush().await?;
    }
}
