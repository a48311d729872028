//! The size of a connection inside the task that waits for it: a task is as large as the largest future that it ever
//! awaits, and stays so.

#![cfg(target_pointer_width = "64")]

use tokio::net::TcpStream;
use ws_tokio::core::{Config, ConfigRef, Prepared};
use ws_tokio::{
    AcceptError, Acceptance, ConnectOptions, Error, Incoming, Refusal, WebSocket, accept, accept_with,
    connect, connect_over, connect_with,
};

type Stream = TcpStream;

fn config() -> ConfigRef {
    Config::server().into()
}

/// The size of the future; nothing is called.
fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

fn fits(what: &str, size: usize, most: usize) {
    println!("{size:5} of {most:5}: {what}");
    assert!(size <= most, "{what}: {size} bytes, and {most} are what it may have");
}

/// The future that an idle connection is for most of its life. The session's part, and its bound, are ws-core's.
#[test]
fn a_websocket_is_small() {
    fits("WebSocket", size_of::<WebSocket<Stream>>(), 512);
    fits("Incoming", size_of::<Incoming<Stream>>(), 8);
}

/// The handshakes, which end, are not much larger than what remains.
#[test]
fn handshakes_are_boxed() {
    let shared = |stream| accept_with(stream, config(), |_| Ok(Acceptance::default()));
    fits("accept", size(accept::<Stream>), 96);
    fits(
        "accept_with, a config of its own",
        size(|s: Stream| accept_with(s, Config::server(), |_| Ok(Acceptance::default()))),
        288,
    );
    fits("accept_with, a shared config", size::<Stream, _>(shared), 96);
    fits("Incoming::read", size(|s: Stream| Incoming::read(s, config())), 256);
    let consent = |incoming: Incoming<Stream>| incoming.accept(Acceptance::default());
    fits("Incoming::accept", size(consent), 384);
    fits("Incoming::reject", size(|i: Incoming<Stream>| i.reject(Refusal::new(404, ""))), 256);
    fits("connect", size(|()| connect("ws://localhost")), 400);
    fits(
        "connect_with",
        size(|()| async { connect_with("ws://localhost", &ConnectOptions::new()).await.map(drop) }),
        400,
    );
    fits(
        "connect_over",
        size(|s: Stream| async { connect_over(s, "ws://localhost", &ConnectOptions::new()).await.map(drop) }),
        320,
    );
}

/// The futures of an open connection's methods are small compared with it.
#[test]
fn methods_are_small() {
    async fn recv(ws: &mut WebSocket<Stream>) -> Result<bool, Error> {
        Ok(ws.recv().await?.is_some())
    }
    async fn echo(ws: &mut WebSocket<Stream>) -> Result<(), Error> {
        while let Some((message, mut reply)) = ws.recv().await? {
            reply.send(message).await?;
        }
        Ok(())
    }
    async fn prepared(ws: &mut WebSocket<Stream>) -> Result<(), Error> {
        ws.send_prepared(&Prepared::new("".into())).await
    }
    fits("recv", size(recv), 64);
    fits("recv and Reply::send", size(echo), 352);
    fits("send", size(|ws: &mut WebSocket<Stream>| async { ws.send("").await }), 320);
    fits("send_prepared", size(prepared), 384);
    fits("close", size(|ws: &mut WebSocket<Stream>| async { ws.close(None).await }), 96);
}

/// All of an echo server's task except the runtime's header: the connection, its handshake, and the loop.
#[test]
fn a_task_is_what_its_connection_is() {
    async fn serve(stream: Stream, config: ConfigRef) -> Result<(), AcceptError> {
        let mut ws = accept_with(stream, config, |_| Ok(Acceptance::default())).await?;
        while let Ok(Some((message, mut reply))) = ws.recv().await {
            let _ = reply.send(message).await;
        }
        Ok(())
    }
    fits("accept_with and an echo loop", size(|stream| serve(stream, config())), 920);
}
