//! What the tests share: a server on a free port, a client that writes frames by hand, an actor that keeps a log.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use ws_actor::{ConnId, Connect, Context, Disconnect, Hub, Inbound, Message, Reason, Route, Server, WsActor};
use ws_core::frame::{Header, MAX_HEADER, Opcode};

/// Longer than anything here may take; a test that waits for it fails.
pub const LONG: Duration = Duration::from_secs(60);

pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("this should have happened by now")
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until no connection is left, nor anything of one: it leaves the list first, and then its place, its rooms, the
/// counts.
pub async fn gone(hub: &Hub) {
    let is_gone = || {
        let metrics = hub.metrics();
        (metrics.connections, metrics.closed.total()) == (0, metrics.opened)
    };
    until("all are gone", is_gone).await;
}

#[derive(Clone, Debug)]
pub enum Seen {
    Connect(Connect),
    Message(ConnId, Message),
    Disconnect(ConnId, Reason),
    Cast(u32),
}

/// Tells the test what it is told, and echoes if it is asked to.
pub struct Witness {
    pub log: mpsc::UnboundedSender<Seen>,
    pub echo: bool,
}

impl WsActor for Witness {
    type Cast = u32;

    async fn connect(&mut self, _: &mut Context<Self>, connect: Connect) {
        let _ = self.log.send(Seen::Connect(connect));
    }

    async fn message(&mut self, cx: &mut Context<Self>, Inbound { id, message, .. }: Inbound) {
        let _ = self.log.send(Seen::Message(id, message.clone()));
        assert_ne!(message.as_text(), Some("panic"), "as the client asked");
        if self.echo {
            let _ = cx.send(id, message);
        }
    }

    async fn disconnect(&mut self, _: &mut Context<Self>, gone: Disconnect) {
        let _ = self.log.send(Seen::Disconnect(gone.id, gone.reason));
    }

    async fn cast(&mut self, cx: &mut Context<Self>, message: u32) {
        let _ = self.log.send(Seen::Cast(message));
        match message {
            0 => cx.stop(),
            n => cx.after(Duration::from_millis(1), n - 1),
        }
    }
}

pub struct Log(mpsc::UnboundedReceiver<Seen>);

impl Log {
    pub async fn next(&mut self) -> Seen {
        soon(self.0.recv()).await.expect("the actor lives")
    }

    /// The same, however long it takes; `None` when the actor is dropped.
    pub async fn at_last(&mut self) -> Option<Seen> {
        self.0.recv().await
    }

    pub async fn connect(&mut self) -> Connect {
        match self.next().await {
            Seen::Connect(connect) => connect,
            other => panic!("{other:?}"),
        }
    }

    pub async fn disconnect(&mut self) -> (ConnId, Reason) {
        loop {
            if let Seen::Disconnect(id, reason) = self.next().await {
                return (id, reason);
            }
        }
    }

    /// Whether nothing is left and the actor is dropped.
    pub async fn is_over(&mut self) -> bool {
        self.0.recv().await.is_none()
    }

    /// What has been seen by now.
    pub fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

pub fn witness(hub: &Hub, name: &str, echo: bool) -> (ws_actor::Target, Log) {
    let (log, seen) = mpsc::unbounded_channel();
    let target = hub.spawn(name, move || Witness { log: log.clone(), echo }).expect("a free name");
    (target, Log(seen))
}

/// A hub, its one actor on `/ws`, and where to find it.
pub async fn serve(echo: bool) -> (Hub, Log, SocketAddr) {
    let hub = Hub::new();
    let (target, log) = witness(&hub, "witness", echo);
    let addr = listen(Server::new(&hub).route(Route::ws("/ws").target(target))).await;
    (hub, log, addr)
}

pub async fn listen(server: Server) -> SocketAddr {
    driven(server).listen("127.0.0.1:0").await.expect("a free port").local_addr()
}

/// Whether these are the tests that have connections driven by loops.
pub const ON_LOOPS: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"on_loops" | b"soak_on_loops");

/// Keeps a loop busy until it is dropped.
pub struct Hold {
    _release: Option<std::sync::mpsc::Sender<()>>,
    /// What it cost the connection.
    pub messages: u64,
}

/// Has nothing of a connection's outbox written until what is returned is dropped. On tasks that is so as long as the test
/// does not wait; on loops it takes a message to the connection, or a few.
pub async fn hold(hub: &Hub, id: ConnId) -> Hold {
    if !ON_LOOPS {
        return Hold { _release: None, messages: 0 };
    }
    for messages in 1.. {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (tell, told) = tokio::sync::oneshot::channel();
        let payload = Held { of: std::thread::current().id(), parts: Mutex::new(Some((tell, released))) };
        hub.send(id, Message::Binary(bytes::Bytes::from_owner(payload))).expect("it is open");
        if soon(told).await.is_ok() {
            return Hold { _release: Some(release), messages };
        }
    }
    unreachable!("it is tried for ever")
}

impl Hold {
    /// Lets go, and reads what it took.
    pub async fn end<S: AsyncRead + AsyncWrite + Unpin>(self, client: &mut Client<S>) {
        let messages = self.messages;
        drop(self);
        for _ in 0..messages {
            assert_eq!(client.message().await, (Opcode::Binary, Vec::new()));
        }
    }
}

/// A payload that blocks the loop which has done with it.
struct Held {
    /// The thread that made it, which must not be blocked: the loop may be faster than the sender.
    of: std::thread::ThreadId,
    parts: Mutex<Option<(tokio::sync::oneshot::Sender<()>, std::sync::mpsc::Receiver<()>)>>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        b""
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let parts = self.parts.lock().unwrap().take();
        if let Some((tell, released)) = parts.filter(|_| std::thread::current().id() != self.of) {
            let _ = tell.send(());
            let _ = released.recv_timeout(LONG);
        }
    }
}

/// A server whose connections are driven by what the tests are for: tasks, or loops.
pub fn driven(server: Server) -> Server {
    #[cfg(feature = "mio")]
    if ON_LOOPS {
        return server.on_loops(&ws_actor::Loops::start(2).expect("threads"));
    }
    server
}

/// Collects the lines of refusals.
pub fn refusals(server: Server) -> (Server, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let to = Arc::clone(&lines);
    (server.on_refusal(move |refusal| to.lock().unwrap().push(refusal.to_string())), lines)
}

/// A connection, spoken by hand.
pub struct Client<S = TcpStream> {
    pub io: S,
    buffer: Vec<u8>,
}

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    pub async fn new(addr: SocketAddr) -> Self {
        Self::of(soon(TcpStream::connect(addr)).await.expect("it listens"))
    }

    /// A WebSocket on this path.
    pub async fn open(addr: SocketAddr, path: &str) -> Self {
        let mut client = Self::new(addr).await;
        let response = client.request(&upgrade(addr, path, "")).await;
        assert_eq!(response.status, 101, "{}", response.head);
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn of(io: S) -> Self {
        Self { io, buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        soon(self.io.write_all(bytes)).await.expect("it reads");
    }

    /// Sends a request and reads the response.
    pub async fn request(&mut self, head: &str) -> Response {
        self.write(head.as_bytes()).await;
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await, "no response");
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let length = length.unwrap_or(0);
        while self.buffer.len() < length {
            assert!(self.more().await, "no body");
        }
        let body = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
        self.buffer.drain(..length);
        let status = head[9..12].parse().expect("a status");
        Response { status, head, body }
    }

    /// The next line of text.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return line;
            }
            assert!(self.more().await, "no line");
        }
    }

    pub async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.write(&frame(true, opcode, payload)).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes()).await;
    }

    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<(Header, Vec<u8>)> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The same, however long it takes.
    pub async fn frame_at_last(&mut self) -> Option<(Header, Vec<u8>)> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if self.io.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn take_frame(&mut self) -> Option<(Header, Vec<u8>)> {
        let (header, at) = Header::decode(&self.buffer).expect("a server's frames are right")?;
        let end = at + header.len as usize;
        let payload = self.buffer.get(at..end)?.to_vec();
        self.buffer.drain(..end);
        Some((header, payload))
    }

    /// The next message, put together.
    pub async fn message(&mut self) -> (Opcode, Vec<u8>) {
        let (first, mut payload) = self.unasked().await.expect("a message");
        let mut fin = first.fin;
        while !fin {
            let (header, more) = self.unasked().await.expect("the rest of the message");
            payload.extend_from_slice(&more);
            fin = header.fin;
        }
        (first.opcode, payload)
    }

    /// The next frame except keepalive pings, which come on a slow machine and are answered.
    async fn unasked(&mut self) -> Option<(Header, Vec<u8>)> {
        loop {
            let (header, payload) = self.frame().await?;
            if header.opcode != Opcode::Ping || !payload.is_empty() {
                return Some((header, payload));
            }
            self.send(Opcode::Pong, b"").await;
        }
    }

    pub async fn read_text(&mut self) -> String {
        let (opcode, payload) = self.message().await;
        assert_eq!(opcode, Opcode::Text);
        String::from_utf8(payload).expect("UTF-8")
    }

    /// The server's close frame, whatever comes before it.
    pub async fn close_frame(&mut self) -> (u16, String) {
        loop {
            let (opcode, payload) = self.message().await;
            if opcode == Opcode::Close {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                return (code, String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned());
            }
        }
    }

    pub async fn is_at_end(&mut self) -> bool {
        self.frame().await.is_none()
    }

    pub async fn close(&mut self, code: u16) {
        self.send(Opcode::Close, &code.to_be_bytes()).await;
    }

    async fn more(&mut self) -> bool {
        soon(self.io.read_buf(&mut self.buffer)).await.unwrap_or(0) > 0
    }
}

pub fn upgrade(addr: SocketAddr, path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// A client's frame: masked.
pub fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let key = [0x1B, 0x2C, 0x3D, 0x4E];
    let header = Header { fin, rsv: 0, opcode, mask: Some(key), len: payload.len() as u64 };
    let mut head = [0; MAX_HEADER];
    let len = header.encode(&mut head);
    let masked = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    head[..len].iter().copied().chain(masked).collect()
}
