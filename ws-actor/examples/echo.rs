//! One actor for both sides: it echoes to clients that connect, and prints what it sees on connections that it was told
//! to dial.
//!
//! ```text
//! echo serve ADDRESS            says where it listens; echoes messages of up to 16 MiB, agrees to the first subprotocol that is
//!                               offered, and to compression
//! echo dial URL [STEP ...]      dials, does the steps in their order, and closes with 1000 if they do not end it:
//!   --subprotocol NAME          offers it (again for more; before the other steps)
//!   --deflate ""                offers compression (before the other steps)
//!   --text STRING               sends it, and waits for the same text
//!   --text-size N               the same with N bytes of text that are not all ASCII
//!   --binary-size N             the same with N bytes of every value, as a binary message
//!   --ping STRING               pings with it, and waits for the pong
//!   --close CODE REASON         closes, and waits for the end
//!   --expect-close CODE REASON  waits until the peer closes, with just that
//!   --expect-failure CODE       waits until our side fails the connection, and sends that code
//! ```
//!
//! A dial exits with 0 when every step went as described; otherwise it says what came instead. It waits 10 s for anything.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_actor::{
    CloseFrame, ConnId, Connect, Context, DialOptions, Disconnect, Hub, Inbound, Message, Origins,
    OutboxLimits, Reason, Relay, Role, Route, Server, Settings, Target, Upgrade, Utf8, WsActor, deflate,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MOST: u64 = 16 << 20;

/// Echoes on what came, and passes on what happens on what was dialled.
struct Echo {
    seen: mpsc::UnboundedSender<Seen>,
    dialled: Option<ConnId>,
}

enum Seen {
    Message(Message),
    End(Reason),
}

impl WsActor for Echo {
    type Cast = ();

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        if connect.role == Role::Client {
            self.dialled = Some(connect.id);
        }
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        if self.dialled == Some(id) {
            let _ = self.seen.send(Seen::Message(message));
        } else {
            let _ = cx.send(id, message);
        }
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        if self.dialled == Some(gone.id) {
            let _ = self.seen.send(Seen::End(gone.reason));
        }
    }
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
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let hub = Hub::new();
    let (tell, seen) = mpsc::unbounded_channel();
    let echo = hub.spawn("echo", move || Echo { seen: tell.clone(), dialled: None })?;
    match &*args {
        ["serve", address] => serve(&hub, echo, address).await,
        ["dial", url, steps @ ..] => dial(&hub, &echo, url, steps, seen).await,
        _ => Err("usage: echo serve ADDRESS | echo dial URL [STEP ...]".into()),
    }
}

/// What waits for a client that sends more than it reads: a thousand small messages, or a few large ones.
fn outbox() -> OutboxLimits {
    let mut limits = OutboxLimits::new();
    (limits.max_messages, limits.max_bytes) = (100_000, 128 << 20);
    limits
}

async fn serve(hub: &Hub, echo: Target, address: &str) -> Result<()> {
    let mut settings = Settings::new();
    settings.protocol.limits.max_message = MOST;
    settings.protocol.limits.max_frame = MOST;
    let first = |upgrade: Upgrade| async move {
        match upgrade.protocols.first() {
            Some(first) => Relay::new().subprotocol(first),
            None => Relay::new(),
        }
    };
    let route = Route::ws("/")
        .target(echo)
        .outbox(outbox())
        .origins(Origins::Any)
        // Windows as large as the client likes, for a program with few connections.
        .deflate(deflate::Settings::client())
        .decide(first);
    let listening = Server::new(hub).settings(settings).route(route).listen(address).await?;
    println!("listening on ws://{}", listening.local_addr());
    listening.stopped().await;
    Ok(())
}

/// What is said and seen on the dialled connection.
struct Peer<'a> {
    hub: &'a Hub,
    id: ConnId,
    seen: mpsc::UnboundedReceiver<Seen>,
}

async fn dial(
    hub: &Hub,
    echo: &Target,
    url: &str,
    mut steps: &[&str],
    seen: mpsc::UnboundedReceiver<Seen>,
) -> Result<()> {
    let mut options = DialOptions::to(echo);
    options.outbox = outbox();
    options.control_frames = true;
    loop {
        steps = match steps {
            ["--subprotocol", name, rest @ ..] => {
                options.subprotocols.push((*name).to_owned());
                rest
            }
            ["--deflate", "", rest @ ..] => {
                options.protocol.deflate = Some(deflate::Settings::client());
                rest
            }
            _ => break,
        };
    }
    let (offers, compresses) = (!options.subprotocols.is_empty(), options.protocol.deflate.is_some());
    let dialled = hub.dial(url, options).await?;
    let agreed = |name| dialled.response().headers().get(name).map_or(Ok("none"), |value| value.to_str());
    if offers {
        println!("agreed on {}", agreed("sec-websocket-protocol")?);
    }
    if compresses {
        println!("extensions {}", agreed("sec-websocket-extensions")?);
    }
    let mut peer = Peer { hub, id: dialled.id().ok_or("it was lost at once")?, seen };
    if steps.is_empty() {
        steps = &["--text", "hello"];
    }
    loop {
        steps = match steps {
            ["--text", text, rest @ ..] => {
                peer.echo(Message::text(*text)).await?;
                rest
            }
            ["--text-size", size, rest @ ..] => {
                peer.echo(Message::text(text_of(size.parse()?))).await?;
                rest
            }
            ["--binary-size", size, rest @ ..] => {
                let bytes: Vec<u8> = (0..size.parse()?).map(|n: usize| (n % 256) as u8).collect();
                peer.echo(Message::binary(bytes)).await?;
                rest
            }
            ["--ping", payload, rest @ ..] => {
                peer.ping(payload).await?;
                rest
            }
            ["--close", code, reason] => return peer.close(code.parse()?, reason).await,
            ["--expect-close", code, reason] => {
                let frame = CloseFrame::new(code.parse::<u16>()?, *reason);
                return peer.end(|end| *end == Reason::Peer(Some(frame.clone())), "closed").await;
            }
            ["--expect-failure", code] => {
                let code: u16 = code.parse()?;
                return peer
                    .end(|end| matches!(end, Reason::Protocol(rule) if rule.close_code().0 == code), "failed")
                    .await;
            }
            [] => return peer.close(1000, "").await,
            [other, ..] => return Err(format!("unknown step {other}").into()),
        };
    }
}

impl Peer<'_> {
    /// What comes next, except for the peer's pings, which are answered, and its close frame, which the end tells of.
    async fn next(&mut self) -> Result<Seen> {
        loop {
            let next = timeout(Duration::from_secs(10), self.seen.recv()).await;
            match next.map_err(|_| "nothing came for 10 s")?.ok_or("the actor ended")? {
                Seen::Message(Message::Ping(_) | Message::Close(_)) => {}
                seen => return Ok(seen),
            }
        }
    }

    async fn echo(&mut self, message: Message) -> Result<()> {
        self.hub.send(self.id, message.clone())?;
        match self.next().await? {
            Seen::Message(echo) if echo == message => {}
            Seen::Message(other) => return Err(format!("another message came: {other:?}").into()),
            Seen::End(reason) => return Err(format!("instead of the echo came the end: {reason}").into()),
        }
        match message {
            Message::Text(text) => println!("text {} bytes", text.len()),
            Message::Binary(bytes) => println!("binary {} bytes", bytes.len()),
            _ => {}
        }
        Ok(())
    }

    async fn ping(&mut self, payload: &str) -> Result<()> {
        self.hub.send(self.id, Message::Ping(payload.to_owned().into()))?;
        match self.next().await? {
            Seen::Message(Message::Pong(pong)) if pong == payload => println!("pong {payload}"),
            Seen::Message(other) => return Err(format!("instead of the pong came {other:?}").into()),
            Seen::End(reason) => return Err(format!("instead of the pong came the end: {reason}").into()),
        }
        Ok(())
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        let frame = CloseFrame::new(code, reason);
        self.hub.close(self.id, frame.clone())?;
        self.end(|end| *end == Reason::Local(Some(frame.clone())), "closed").await
    }

    async fn end(&mut self, is_due: impl Fn(&Reason) -> bool, how: &str) -> Result<()> {
        let reason = match self.next().await? {
            Seen::End(reason) if is_due(&reason) => reason,
            Seen::End(reason) => return Err(format!("another end came: {reason:?}").into()),
            Seen::Message(other) => return Err(format!("instead of the end came {other:?}").into()),
        };
        match &reason {
            Reason::Peer(Some(frame)) | Reason::Local(Some(frame)) => {
                println!("{how} {} {}", frame.code, &*frame.reason);
            }
            _ => println!("{how} {}: {reason}", reason.code()),
        }
        Ok(())
    }
}

fn text_of(len: usize) -> Utf8 {
    let mut text = "aé世🌍".repeat(len / 10);
    text.extend(std::iter::repeat_n('a', len - text.len()));
    text.into()
}
