//! A dashboard: numbers, twenty times a second, to any number of browsers.
//!
//! ```text
//! cargo run --release --example dashboard [ADDRESS]        the default is 127.0.0.1:8080
//! ```
//!
//! Of a number that changes all the time, only the latest value matters. So each message goes under the key of its
//! series, and a connection keeps one of each at most ([`Overflow::Conflate`]): a browser that is slow gets fewer values,
//! none of them old, and costs the server no more memory than one that is fast.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::{TcpListener, TcpSocket};
use ws_actor::{Hub, Limits, OutboxLimits, Overflow, Route, Server, SpawnError};

use feed::{Feed, SERIES};
use page::{cannot_listen, line, page};

mod feed;
#[path = "../shared/page.rs"]
#[allow(dead_code, reason = "shared with the chat, which has secrets")]
mod page;
#[cfg(test)]
mod tests;

fn server(hub: &Hub) -> Result<Server, SpawnError> {
    let mut outbox = OutboxLimits::new();
    outbox.overflow = Overflow::Conflate;
    // One of each series, and the past that a newcomer gets.
    outbox.max_messages = SERIES.len() + 1;

    let mut limits = Limits::new();
    limits.max_connections = Some(10_000);
    limits.max_message = Some(64);

    Ok(Server::new(hub)
        .limits(limits)
        .route(Route::ws("/ws").target(Feed::spawn(hub)?).outbox(outbox))
        .on_http(|request| async move {
            match request.uri().path() {
                "/" => page(include_str!("page.html")),
                _ => line(404, "There is no such page."),
            }
        })
        .on_refusal(|refusal| eprintln!("dashboard: {refusal}")))
}

/// Listens with small send buffers: what the system holds is on its way, and no newer value can take its place. By
/// itself it would take megabytes of a slow browser's values, which is minutes of them.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(cfg!(unix))?;
    // The sockets of connections inherit it.
    socket.set_send_buffer_size(8 << 10)?;
    socket.bind(addr)?;
    socket.listen(1_024)
}

#[tokio::main]
async fn main() -> ExitCode {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let hub = Hub::new();
    let server = server(&hub).expect("this Hub has no other actors");
    let socket =
        addr.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error)).and_then(listen);
    match socket.and_then(|listener| server.listen_on(listener)) {
        Ok(listening) => {
            println!("Open http://{}/ in a browser. Ctrl-C ends it.", listening.local_addr());
            listening.stopped().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            cannot_listen("dashboard", &addr, &error);
            ExitCode::FAILURE
        }
    }
}
