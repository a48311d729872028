//! Testing your own actors without sockets: a [`Server`] in memory, and [`TestClient`]s that connect to it.
//!
//! What a test sees is the real thing except for the socket: the request is read and decided upon as one that came over TCP,
//! with the server's routes, limits and timeouts, and the client is ws-tokio's. All of it keeps tokio's time. With that
//! paused, an hour of heartbeats takes no time, and nothing depends on how fast the machine is.
//!
//! ```
//! use std::time::Duration;
//! use ws_actor::testing::TestServer;
//! # use ws_actor::{Context, Inbound, WsActor};
//! use ws_actor::{CloseFrame, Hub, Route, Server};
//! # #[derive(Default)] struct Echo;
//! # impl WsActor for Echo {
//! #     type Cast = ();
//! #     async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) { let _ = cx.send(inbound.id, inbound.message); }
//! # }
//!
//! # /*
//! #[tokio::test(start_paused = true)] // tokio's feature `test-util`
//! # */
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> { echoes().await }
//! async fn echoes() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = Hub::new();
//!     let echo = hub.spawn("echo", Echo::default)?;
//!     let server = TestServer::new(Server::new(&hub).route(Route::ws("/ws").target(echo)));
//!     let mut client = server.connect("/ws?name=ann").await?;
//!     client.send("hello").await?;
//!     assert_eq!(client.recv_text().await?, "hello");
//!     client.expect_nothing(Duration::from_secs(3_600)).await?;
//!     hub.close(hub.connections()[0], CloseFrame::new(4001, "enough"))?;
//!     assert_eq!(client.closed().await?, CloseFrame::new(4001, "enough"));
//!     Ok(())
//! }
//! ```

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use ws_core::{CloseCode, Event, Utf8};
use ws_tokio::{ConnectError, ConnectOptions, Error, ReadHalf, WriteHalf, connect_over};

use crate::dial::Connector;
use crate::event::{CloseFrame, Message};
use crate::server::Server;

/// How long a client waits for what it expects, by tokio's clock, before it says that nothing came.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The number of bytes that a connection in memory holds for each direction, as the buffers of a socket do.
const BUFFER: usize = 64 << 10;

/// A server in memory. A clone is the same server.
#[derive(Clone, Debug)]
pub struct TestServer {
    server: Arc<Server>,
    host: Arc<str>,
    client: SocketAddr,
    next_port: Arc<AtomicU16>,
}

impl TestServer {
    /// A server in memory. Its clients come from 127.0.0.1, each from a port of its own, to `localhost`.
    pub fn new(server: Server) -> Self {
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            server: Arc::new(server),
            host: "localhost".into(),
            client,
            next_port: Arc::new(AtomicU16::new(1)),
        }
    }

    /// The same server, for clients from elsewhere: for limits by address. With port 0, each has one of its own.
    #[must_use]
    pub fn clients_at(mut self, client: SocketAddr) -> Self {
        self.client = client;
        self
    }

    /// The same server under another name, as clients write it into `Host`.
    #[must_use]
    pub fn named(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// Opens a connection. `target` is a path and, behind a question mark, a query.
    ///
    /// # Errors
    /// [`ConnectError::Status`] for an upgrade that was refused, with the answer in it.
    pub async fn connect(&self, target: &str) -> Result<TestClient, ConnectError> {
        self.connect_with(target, &ConnectOptions::new()).await
    }

    /// Opens a connection with header fields, subprotocols, limits or compression of the client's.
    ///
    /// # Errors
    /// As for [`TestServer::connect`].
    pub async fn connect_with(
        &self,
        target: &str,
        options: &ConnectOptions,
    ) -> Result<TestClient, ConnectError> {
        let url = format!("ws://{}{target}", self.host);
        let (socket, response) = connect_over(self.open(), url, options).await?;
        Ok(TestClient::new(socket, response))
    }

    /// A connector to this server: for connections that are [dialled](crate::Hub::dial) in memory.
    ///
    /// ```
    /// # use ws_actor::testing::TestServer;
    /// # use ws_actor::{DialOptions, Hub, Route, Server, Target};
    /// # async fn example(hub: Hub, server: TestServer) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut options = DialOptions::to("feed");
    /// options.connector = Some(server.connector());
    /// let dialled = hub.dial("ws://localhost/ws", options).await?;
    /// # Ok(()) }
    /// ```
    pub fn connector(&self) -> Connector {
        let server = self.clone();
        Connector::new(move || std::future::ready(Ok::<_, io::Error>(server.open())))
    }

    /// A stream to the server, for bytes of any kind.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(&self) -> DuplexStream {
        let (near, far) = duplex(BUFFER);
        let mut client = self.client;
        if client.port() == 0 {
            client.set_port(self.next_port.fetch_add(1, Ordering::Relaxed).max(1));
        }
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        tokio::spawn(self.server.serve(far, client, local));
        near
    }
}

/// Why a test's client has not seen what it expected.
#[derive(Debug)]
#[non_exhaustive]
pub enum TestError {
    /// Nothing came for [`PATIENCE`].
    Silent,
    /// Something else came.
    Unexpected(Message),
    /// The connection has ended: with this close frame, with 1005 for one that said nothing, or with 1006 without one.
    Ended(CloseFrame),
    /// It could not be sent.
    Unsent(Error),
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "nothing came for {PATIENCE:?}"),
            // A test's own messages may stand in its log.
            Self::Unexpected(Message::Text(text)) => write!(f, "a text came: {text:?}"),
            Self::Unexpected(message) => write!(f, "something else came: {message:?}"),
            Self::Ended(frame) => write!(f, "the connection has ended: {} {:?}", frame.code, &*frame.reason),
            Self::Unsent(error) => write!(f, "not sent: {error}"),
        }
    }
}

impl std::error::Error for TestError {}

/// A client in memory. In the background it reads what the server sends and answers its pings, as clients do, unless it is
/// [stalled](TestClient::stall). Dropped, it vanishes without a close frame.
#[derive(Debug)]
pub struct TestClient {
    write: WriteHalf<DuplexStream>,
    messages: mpsc::UnboundedReceiver<Message>,
    control: mpsc::UnboundedReceiver<Message>,
    end: watch::Receiver<Option<CloseFrame>>,
    reads: watch::Sender<bool>,
    reader: AbortHandle,
    response: http::Response<()>,
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl TestClient {
    fn new(socket: ws_tokio::WebSocket<DuplexStream>, response: http::Response<()>) -> Self {
        let (read, write) = socket.split();
        let (to_messages, messages) = mpsc::unbounded_channel();
        let (to_control, control) = mpsc::unbounded_channel();
        let (to_end, end) = watch::channel(None);
        let (reads, may_read) = watch::channel(true);
        let reader = tokio::spawn(run(read, to_messages, to_control, to_end, may_read)).abort_handle();
        Self { write, messages, control, end, reads, reader, response }
    }

    /// Sends a message, a ping, a pong or a close frame; ready when the stream has taken it.
    ///
    /// # Errors
    /// [`TestError::Unsent`] when the connection is closing or gone.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), TestError> {
        match message.into() {
            Message::Text(text) => self.write.send(&*text).await,
            Message::Binary(bytes) => self.write.send(&*bytes).await,
            Message::Ping(bytes) => match self.write.ping(&bytes) {
                Ok(()) => self.write.flush().await,
                error => error,
            },
            Message::Pong(bytes) => match self.write.pong(&bytes) {
                Ok(()) => self.write.flush().await,
                error => error,
            },
            Message::Close(frame) => match self.write.start_close(frame.as_ref().map(CloseFrame::borrow)) {
                Ok(()) => self.write.flush().await,
                error => error,
            },
        }
        .map_err(TestError::Unsent)
    }

    /// Waits for the next text or binary message.
    ///
    /// # Errors
    /// [`TestError::Silent`], or [`TestError::Ended`] when no more will come.
    pub async fn recv(&mut self) -> Result<Message, TestError> {
        match timeout(PATIENCE, self.messages.recv()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(TestError::Ended(self.ending())),
            Err(_) => Err(TestError::Silent),
        }
    }

    /// Waits for the next message, which has to be a text.
    ///
    /// # Errors
    /// As for [`TestClient::recv`]; [`TestError::Unexpected`] when it is not a text.
    pub async fn recv_text(&mut self) -> Result<String, TestError> {
        match self.recv().await? {
            Message::Text(text) => Ok(text.as_str().to_owned()),
            other => Err(TestError::Unexpected(other)),
        }
    }

    /// Waits for the next ping or pong. Those that came are kept until they are asked for.
    ///
    /// # Errors
    /// As for [`TestClient::recv`].
    pub async fn recv_control(&mut self) -> Result<Message, TestError> {
        match timeout(PATIENCE, self.control.recv()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(TestError::Ended(self.ending())),
            Err(_) => Err(TestError::Silent),
        }
    }

    /// Lets this time pass, in which no message may come and the connection may not end.
    ///
    /// # Errors
    /// What came instead.
    pub async fn expect_nothing(&mut self, during: Duration) -> Result<(), TestError> {
        match timeout(during, self.messages.recv()).await {
            Ok(Some(message)) => Err(TestError::Unexpected(message)),
            Ok(None) => Err(TestError::Ended(self.ending())),
            Err(_) => Ok(()),
        }
    }

    /// Waits for the end of the connection, which the server brings about, and tells how it ended: the close frame that
    /// came, 1005 for one that said nothing, 1006 when there was none.
    ///
    /// # Errors
    /// [`TestError::Unexpected`] for a message that comes before it, [`TestError::Silent`].
    pub async fn closed(&mut self) -> Result<CloseFrame, TestError> {
        match self.recv().await {
            Err(TestError::Ended(frame)) => Ok(frame),
            Ok(message) => Err(TestError::Unexpected(message)),
            Err(error) => Err(error),
        }
    }

    /// Closes, and tells what the server answered. Messages that come before that are dropped.
    ///
    /// # Errors
    /// [`TestError::Unsent`] for a frame that may not travel, [`TestError::Silent`].
    pub async fn close(&mut self, frame: Option<CloseFrame>) -> Result<CloseFrame, TestError> {
        self.send(Message::Close(frame)).await?;
        loop {
            match self.recv().await {
                Ok(_) => {}
                Err(TestError::Ended(frame)) => return Ok(frame),
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops reading and answering pings, until it is told to [go on](Self::resume): what the server sends fills the
    /// stream's 64 KiB, then its outbox.
    pub fn stall(&self) {
        self.reads.send_replace(false);
    }

    /// Reads again.
    pub fn resume(&self) {
        self.reads.send_replace(true);
    }

    /// The server's answer to the request.
    pub fn response(&self) -> &http::Response<()> {
        &self.response
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.response.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()
    }

    /// How it ended, once the reader has.
    fn ending(&self) -> CloseFrame {
        self.end.borrow().clone().unwrap_or_else(|| CloseFrame::new(CloseCode::ABNORMAL, ""))
    }
}

/// Reads until the end.
async fn run(
    mut read: ReadHalf<DuplexStream>,
    messages: mpsc::UnboundedSender<Message>,
    control: mpsc::UnboundedSender<Message>,
    end: watch::Sender<Option<CloseFrame>>,
    mut may_read: watch::Receiver<bool>,
) {
    loop {
        if may_read.wait_for(|may_read| *may_read).await.is_err() {
            return;
        }
        let event = tokio::select! {
            biased;
            _ = may_read.wait_for(|may_read| !*may_read) => continue,
            event = read.recv_event() => event,
        };
        let (to, message) = match event {
            Ok(Some(Event::Text(text))) => (&messages, Message::Text(Utf8::from(text))),
            Ok(Some(Event::Binary(bytes))) => (&messages, Message::Binary(Bytes::copy_from_slice(bytes))),
            Ok(Some(Event::Ping(bytes))) => (&control, Message::Ping(Bytes::copy_from_slice(bytes))),
            Ok(Some(Event::Pong(bytes))) => (&control, Message::Pong(Bytes::copy_from_slice(bytes))),
            // Parts come only to clients that ask for them, and the end says what the close frame did.
            Ok(Some(Event::Chunk(_) | Event::Close(_))) => continue,
            Ok(None) | Err(_) => break,
        };
        let _ = to.send(message);
    }
    let reason = read.close_reason();
    end.send_replace(reason.map(|reason| CloseFrame::new(reason.code, reason.reason.clone())));
}
