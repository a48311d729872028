//! `echo-client URL [STEP ...]`: opens one connection, and does the steps in their order. Without a step it sends `hello`,
//! shows the echo and closes with 1000.
//!
//! ```text
//! --subprotocol NAME            offers it (again for more; before the other steps)
//! --deflate PARAMETERS          offers permessage-deflate as they ask, "" for no wish of ours (before the other steps)
//! --fragments N                 sends the messages after it in N fragments (1: whole again)
//! --text STRING                 sends it, and waits for the same text
//! --text-size N                 the same with N bytes of text that are not all ASCII
//! --binary-size N               the same with N bytes of every value, as a binary message
//! --mix N                       N messages one by one, each echoed: text and binary, 0 to 100 KiB, repetitive and random
//! --ping STRING                 pings with it, and waits for the pong
//! --close CODE REASON           closes, and waits for the peer's close
//! --expect-close CODE REASON    waits until the peer closes, with just that
//! --expect-failure CODE         waits until our side fails the connection, and sends that code
//! ```
//!
//! It exits with 0 when every step went as described; otherwise it says what came instead. It waits 10 s for anything.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use steps::{Plan, Step, parts, report};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ws_tokio::core::{CloseFrame, Config, Event, Message, Part};
use ws_tokio::{ConnectOptions, MaybeTls, WebSocket, connect_with};

mod steps;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let Plan { url, protocols, deflate, steps } = Plan::parse(std::env::args().skip(1))?;
    let mut options = ConnectOptions::new();
    options.protocols = protocols;
    let is_deflate_asked = deflate.is_some();
    if is_deflate_asked {
        let mut config = Config::client();
        config.deflate = deflate;
        options.config = config.into();
    }
    let (mut ws, response) = connect_with(url, &options).await?;
    if !options.protocols.is_empty() {
        let agreed = response.headers().get("Sec-WebSocket-Protocol");
        println!("agreed on {}", agreed.map_or(Ok("none"), |name| name.to_str())?);
    }
    if is_deflate_asked {
        let agreed = response.headers().get("Sec-WebSocket-Extensions");
        println!("extensions {}", agreed.map_or(Ok("none"), |line| line.to_str())?);
    }
    let mut fragments = 1;
    for step in &steps {
        let step = take(&mut ws, step, &mut fragments);
        timeout(Duration::from_secs(10), step).await.map_err(|_| "nothing came for 10 s")??;
    }
    if !steps.last().is_some_and(Step::ends) {
        timeout(Duration::from_secs(10), ws.close(Some(CloseFrame::new(1000, "")))).await??;
    }
    Ok(())
}

async fn take(ws: &mut WebSocket<MaybeTls<TcpStream>>, step: &Step, fragments: &mut usize) -> Result<()> {
    match step {
        Step::Fragments(n) => *fragments = *n,
        Step::Text(text) => echo(ws, Message::Text(text), *fragments).await?,
        Step::Binary(bytes) => echo(ws, Message::Binary(bytes), *fragments).await?,
        Step::Ping(payload) => {
            ws.ping(payload.as_bytes())?;
            loop {
                match ws.recv_event().await? {
                    Some((Event::Pong(pong), _)) if pong == payload.as_bytes() => break,
                    Some((Event::Pong(_) | Event::Ping(_), _)) => {}
                    other => {
                        return Err(format!("instead of the pong came {:?}", other.map(|it| it.0)).into());
                    }
                }
            }
            println!("pong {payload}");
        }
        Step::Close(code, reason) => {
            ws.close(Some(CloseFrame::new(*code, reason))).await?;
            let got = ws.close_reason().ok_or("no close frame came")?;
            println!("closed {} {}", got.code, got.reason);
        }
        Step::ExpectClose(code, reason) => {
            if let Some((message, _)) = ws.recv().await? {
                return Err(format!("instead of a close came {message:?}").into());
            }
            let got = ws.close_reason().ok_or("no close frame came")?;
            println!("closed {} {}", got.code, got.reason);
            if got.code.0 != *code || got.reason != *reason {
                return Err(format!("expected {code} {reason}").into());
            }
        }
        Step::ExpectFailure(code) => {
            let error = match ws.recv().await {
                Err(error) => error,
                Ok(other) => {
                    return Err(format!("instead of a failure came {:?}", other.map(|it| it.0)).into());
                }
            };
            let got = error.close_code().ok_or("no failure of the connection")?;
            println!("failed {got}: {error}");
            if got.0 != *code {
                return Err(format!("expected {code}").into());
            }
        }
    }
    Ok(())
}

async fn echo(ws: &mut WebSocket<MaybeTls<TcpStream>>, sent: Message<'_>, fragments: usize) -> Result<()> {
    for (piece, part) in parts(sent, fragments) {
        // Control frames may go between the frames of a message, compressed or not.
        if !matches!(part, Part::Whole | Part::First) {
            ws.ping(b"in between")?;
        }
        ws.send_part(piece, part).await?;
    }
    match ws.recv().await? {
        Some((message, _)) if message == sent => {}
        Some((message, _)) => {
            return Err(format!("another message came: {:.60}", format!("{message:?}")).into());
        }
        None => return Err(format!("instead of the echo came {:?}", ws.close_reason()).into()),
    }
    report(sent);
    Ok(())
}
