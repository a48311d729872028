//! An axum server with a page at `/`, and a WebSocket that echoes at `/echo`: `axum [ADDRESS]`.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{Html, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use ws_tokio::core::{Config, Role};
use ws_tokio::{Acceptance, Error, WebSocket, answer_upgrade};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = Router::new().route("/", get(async || Html(PAGE))).route("/echo", get(upgrade));
    // Nagle's algorithm would hold a small message back until the one before is acknowledged.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await
}

/// axum reads the request and writes the response; ws-tokio says what the response is, and takes the stream over.
async fn upgrade(request: Request) -> Response {
    let response = answer_upgrade(&request, Config::server(), |_| Ok(Acceptance::default()));
    if response.status() == 101 {
        tokio::spawn(async move {
            if let Err(error) = echo(request).await {
                eprintln!("{error}");
            }
        });
    }
    response.map(Body::from)
}

async fn echo(request: Request) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(hyper::upgrade::on(request).await?);
    // hyper keeps what came behind the head, and reads it out first.
    let ws = WebSocket::from_upgraded(stream, Role::Server, &[], Config::server())?;
    Ok(serve(ws).await?)
}

async fn serve(mut ws: WebSocket<TokioIo<hyper::upgrade::Upgraded>>) -> Result<(), Error> {
    while let Some((message, mut reply)) = ws.recv().await? {
        reply.send(message).await?;
    }
    Ok(())
}

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>echo</title>
<form><input autofocus> <button>Send</button></form><ol></ol>
<script>
const socket = new WebSocket(location.origin.replace('http', 'ws') + '/echo')
const show = text => document.querySelector('ol').append(Object.assign(document.createElement('li'), { textContent: text }))
socket.onmessage = event => show(event.data)
socket.onclose = event => show(`closed: ${event.code} ${event.reason}`)
document.forms[0].onsubmit = event => {
  event.preventDefault()
  socket.send(event.target[0].value)
  event.target.reset()
}
</script>";
