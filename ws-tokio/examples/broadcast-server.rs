//! Sends each member's messages to all members: `broadcast-server [ADDRESS]`.
//!
//! To the others a message goes as a `Prepared`: framed once, and compressed at most once for each window in use. Back to
//! its sender it goes as a message of its own, in parts if it is large. So each connection's stream has both, in any order.
//!
//! One thread; a channel for each member. A member that falls 4 096 messages behind is closed with 1013; one that takes no
//! byte for 10 s cannot even be told, and is cut off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use ws_tokio::core::{CloseFrame, Config, ConfigRef, Message, Part, Prepared, deflate};
use ws_tokio::{Acceptance, Error, Reply, WebSocket, accept_with};

/// How far a member may fall behind, in messages.
const BEHIND: usize = 4096;

/// How long a member may take no byte of what waits for it.
const STUCK: Duration = Duration::from_secs(10);

/// The length of a part, in bytes.
const PART: usize = 16 << 10;

/// Everybody's inbox.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<Members>>);

#[derive(Default)]
struct Members {
    next: u64,
    inboxes: HashMap<u64, Sender<Prepared>>,
}

/// A place in the hub, left when it is dropped.
struct Place {
    hub: Hub,
    id: u64,
}

impl Hub {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self) -> (Place, Receiver<Prepared>) {
        let (inbox, messages) = mpsc::channel(BEHIND);
        let mut members = self.members();
        let id = members.next;
        members.next += 1;
        members.inboxes.insert(id, inbox);
        drop(members);
        (Place { hub: self.clone(), id }, messages)
    }
}

impl Place {
    /// Never waits: an inbox that is full is closed, and its member with it.
    fn tell_the_others(&self, message: Message<'_>) {
        let mut members = self.hub.members();
        if members.inboxes.len() > 1 {
            let news = Prepared::new(message);
            members.inboxes.retain(|id, inbox| *id == self.id || inbox.try_send(news.clone()).is_ok());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.members().inboxes.remove(&self.id);
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on ws://{}", listener.local_addr()?);

    let mut config = Config::server();
    // Windows of 32 KiB, so that a peer's tests can ask for any. `Settings::server()` has 4 KiB ones: a server with many
    // connections takes those.
    config.deflate = Some(deflate::Settings::client());
    config.timeouts.write = Some(STUCK);
    let config = ConfigRef::from(config);
    let hub = Hub::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, config.clone(), hub.clone()))),
            // Out of descriptors, for instance: those that are open go on, and some of them will end.
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, config: ConfigRef, hub: Hub) {
    if let Err(error) = talk(stream, config, hub).await {
        eprintln!("{error}");
    }
}

async fn talk(stream: TcpStream, config: ConfigRef, hub: Hub) -> Result<(), Box<dyn std::error::Error>> {
    stream.set_nodelay(true)?;
    // It is a member from here on, so that it misses nothing that is sent once it knows that it is connected.
    let (place, mut inbox) = hub.join();
    let mut ws = accept_with(stream, config, |_| Ok(Acceptance::default())).await?;
    loop {
        tokio::select! {
            said = ws.recv() => {
                let Some((message, mut reply)) = said? else { return Ok(()) };
                place.tell_the_others(message);
                answer(&mut reply, message).await?;
            }
            news = inbox.recv() => match news {
                Some(news) => pass_on(&mut ws, &news, &mut inbox).await?,
                None => return Ok(ws.close(Some(CloseFrame::new(1013, "fell behind"))).await?),
            }
        }
    }
}

/// Sends all that waits, in as few writes as possible.
async fn pass_on(
    ws: &mut WebSocket<TcpStream>,
    news: &Prepared,
    inbox: &mut Receiver<Prepared>,
) -> Result<(), Error> {
    let mut reply = ws.reply();
    reply.send_prepared(news).await?;
    while let Ok(news) = inbox.try_recv() {
        reply.send_prepared(&news).await?;
    }
    ws.flush().await
}

/// Each part is compressed by itself, and on its way before the next one is: neither side holds more than one in its
/// buffers, and pongs and pings get between.
async fn answer(reply: &mut Reply<'_, TcpStream>, message: Message<'_>) -> Result<(), Error> {
    let (mut rest, mut first) = (message, true);
    loop {
        let (piece, behind) = split(rest);
        let last = behind.as_bytes().is_empty();
        let part = match (first, last) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, false) => Part::Middle,
            (false, true) => Part::Last,
        };
        reply.send_part(piece, part).await?;
        if last {
            return Ok(());
        }
        (rest, first) = (behind, false);
    }
}

/// A part, and what is left: a text is cut between two characters.
fn split(message: Message<'_>) -> (Message<'_>, Message<'_>) {
    let len = message.as_bytes().len();
    match message {
        Message::Text(text) => {
            let at = (0..=PART.min(len)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(len);
            let (piece, rest) = text.split_at(at);
            (Message::Text(piece), Message::Text(rest))
        }
        Message::Binary(bytes) => {
            let (piece, rest) = bytes.split_at(PART.min(len));
            (Message::Binary(piece), Message::Binary(rest))
        }
    }
}
