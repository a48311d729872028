//! A room over a tokio broadcast channel and tokio-tungstenite, in its two usual forms. As in axum's chat example: the
//! socket split, one task that sends what the channel brings, one that reads. And with `--select`, as usual with one task
//! per connection: `select!` between the channel and the socket. Messages are shared, where the example clones them.
//!
//! `--read-buffer BYTES` sets the receive buffer; the default is the library's own, 128 KiB.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use ws_benches::flags::Flags;
use ws_benches::serve;

/// As in axum's example.
const CAPACITY: usize = 100;

fn main() -> std::io::Result<()> {
    let mut flags = Flags::of_this_process();
    let mut config = WebSocketConfig::default();
    if let Some(bytes) = flags.value("--read-buffer").map_err(std::io::Error::other)? {
        config = config.read_buffer_size(bytes);
    }
    let selects = flags.has("--select");
    let (room, _) = broadcast::channel(CAPACITY);
    let address = serve::address(flags)?;
    serve::serve(&address, move |stream| {
        let room = room.clone();
        async move {
            match tokio_tungstenite::accept_async_with_config(stream, Some(config)).await {
                Ok(socket) if selects => select(socket, &room).await,
                Ok(socket) => split(socket, room).await,
                Err(_) => {}
            }
        }
    })
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn select(mut socket: Socket, room: &broadcast::Sender<Utf8Bytes>) {
    let mut news = room.subscribe();
    loop {
        tokio::select! {
            news = news.recv() => {
                let Ok(text) = news else { return };
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            said = socket.next() => match said {
                Some(Ok(Message::Text(text))) => drop(room.send(text)),
                _ => return,
            },
        }
    }
}

async fn split(socket: Socket, room: broadcast::Sender<Utf8Bytes>) {
    let (mut sender, mut receiver) = socket.split();
    let mut news = room.subscribe();
    let mut send_task = tokio::spawn(async move {
        while let Ok(text) = news.recv().await {
            if sender.send(Message::Text(text)).await.is_err() {
                break;
            }
        }
    });
    let mut recv_task = tokio::spawn(async move {
        while let Some(Ok(Message::Text(text))) = receiver.next().await {
            let _ = room.send(text);
        }
    });
    tokio::select! {
        _ = &mut send_task => recv_task.abort(),
        _ = &mut recv_task => send_task.abort(),
    }
}
