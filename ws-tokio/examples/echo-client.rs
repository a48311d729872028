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

use tokio::net::TcpStream;
use tokio::time::timeout;
use ws_tokio::core::deflate::{Settings, WindowBits};
use ws_tokio::core::{CloseFrame, Config, Event, Message, Part};
use ws_tokio::{ConnectOptions, MaybeTls, WebSocket, connect_with};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

enum Step {
    Fragments(usize),
    Text(String),
    Binary(Vec<u8>),
    Ping(String),
    Close(u16, String),
    ExpectClose(u16, String),
    ExpectFailure(u16),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("usage: echo-client URL [STEP ...]")?;
    let mut options = ConnectOptions::new();
    let mut steps = Vec::new();
    let mut is_deflate_asked = false;
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        steps.push(match name.as_str() {
            "--subprotocol" if steps.is_empty() => {
                options.protocols.push(value()?);
                continue;
            }
            "--deflate" if steps.is_empty() => {
                let mut config = Config::client();
                config.deflate = Some(wishes(&value()?)?);
                options.config = config.into();
                is_deflate_asked = true;
                continue;
            }
            "--mix" => {
                steps.extend(mix(value()?.parse()?));
                continue;
            }
            "--fragments" => Step::Fragments(value()?.parse::<usize>()?.max(1)),
            "--text" => Step::Text(value()?),
            "--text-size" => Step::Text(text_of(value()?.parse()?)),
            "--binary-size" => Step::Binary((0..value()?.parse()?).map(|n: usize| (n % 256) as u8).collect()),
            "--ping" => Step::Ping(value()?),
            "--close" => Step::Close(value()?.parse()?, value()?),
            "--expect-close" => Step::ExpectClose(value()?.parse()?, value()?),
            "--expect-failure" => Step::ExpectFailure(value()?.parse()?),
            _ => return Err(format!("unknown step {name}").into()),
        });
    }
    if steps.is_empty() {
        steps = vec![Step::Text("hello".into())];
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
    if !matches!(steps.last(), Some(Step::Close(..) | Step::ExpectClose(..) | Step::ExpectFailure(_))) {
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
    for n in 0..fragments {
        let part = match (n == 0, n + 1 == fragments) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, false) => Part::Middle,
            (false, true) => Part::Last,
        };
        let at = |n: usize| sent.as_bytes().len() * n / fragments;
        let piece = match sent {
            Message::Text(text) => Message::Text(&text[floor(text, at(n))..floor(text, at(n + 1))]),
            Message::Binary(bytes) => Message::Binary(&bytes[at(n)..at(n + 1)]),
        };
        // Control frames may go between the frames of a message, compressed or not.
        if n > 0 {
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
    let kind = if matches!(sent, Message::Text(_)) { "text" } else { "binary" };
    println!("{kind} {} bytes", sent.as_bytes().len());
    Ok(())
}

/// The last boundary of characters up to `at`: a part of a text is text.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn text_of(len: usize) -> String {
    let mut text = "aé世🌍".repeat(len / 10);
    text.extend(std::iter::repeat_n('a', len - text.len()));
    text
}

/// The parameters of RFC 7692, section 7.1, as the wishes of a client.
fn wishes(parameters: &str) -> Result<Settings> {
    let mut settings = Settings::client();
    for parameter in parameters.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        let (name, bits) = parameter.split_once('=').unwrap_or((parameter, "15"));
        let window = WindowBits::new(bits.parse()?).ok_or("a window has 8 to 15 bits")?;
        match name {
            "server_no_context_takeover" => settings.inflate_takeover = false,
            "client_no_context_takeover" => settings.deflate_takeover = false,
            "server_max_window_bits" => settings.inflate_window = window,
            "client_max_window_bits" => settings.deflate_window = window,
            _ => return Err(format!("unknown parameter {name}").into()),
        }
    }
    Ok(settings)
}

/// The same messages each time: short ones mostly, the first of 100 KiB, the second of nothing.
fn mix(count: usize) -> impl Iterator<Item = Step> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // xorshift64: noise enough for a compressor.
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(move |n| {
        let share = (random() % 1001) as usize;
        let len = match n {
            0 => 100 << 10,
            1 => 0,
            _ => (100 << 10) * share / 1000 * share / 1000 * share / 1000,
        };
        match n % 4 {
            0 => Step::Text(row_of(n, len)),
            1 => Step::Binary((0..len).map(|_| random() as u8).collect()),
            2 => Step::Text((0..len).map(|_| char::from(b' ' + (random() % 95) as u8)).collect()),
            _ => Step::Binary(row_of(n, len).into_bytes()),
        }
    })
}

/// Records that resemble each other, within a message and from one to the next.
fn row_of(n: usize, len: usize) -> String {
    let mut row = String::with_capacity(len + 64);
    for line in 0.. {
        if row.len() >= len {
            break;
        }
        row += &format!("{{\"id\":{n},\"line\":{line},\"name\":\"grüße, 世界 🌍\"}}\n");
    }
    let end = floor(&row, len);
    row.truncate(end);
    row
}
