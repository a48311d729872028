//! Rooms over other libraries: each message goes to all members. `peer-room --library NAME ADDRESS`, where NAME is one of
//! tokio-tungstenite-4k, tokio-websockets, sockudo-ws, yawc.
//!
//! One thread, a task and an inbox per member, as in tokio-tungstenite's example server and sockudo-ws's pub/sub. A task
//! takes everything in its inbox and flushes once. The payload is shared; each member's socket gets its own frame.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_core::Stream;
use futures_sink::Sink;
use futures_util::StreamExt;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::pubsub::PubSub;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite;
use tokio_websockets::{Limits, ServerBuilder};
use ws_benches::flags::Flags;
use ws_benches::{serve, upgrade};
use yawc::{OpCode, Options, Role, WebSocket};

type Failure = Box<dyn std::error::Error>;

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    let library = flags.text("--library").map_err(io::Error::other)?.unwrap_or_default();
    let address = serve::address(flags)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let members = tokio::task::LocalSet::new();
    members.block_on(&runtime, async {
        match library.as_str() {
            "tokio-tungstenite-4k" => listen(&address, tungstenite, Rc::default()).await,
            "tokio-websockets" => listen(&address, tokio_websockets, Rc::default()).await,
            "sockudo-ws" => {
                sockudo_ws::init_clock();
                listen(&address, sockudo_ws, Rc::new(PubSub::new())).await
            }
            "yawc" => listen(&address, yawc, Rc::default()).await,
            _ => Err(io::Error::other("--library: see the head of this file")),
        }
    })
}

async fn listen<Room, F>(address: &str, join: fn(TcpStream, Rc<Room>) -> F, room: Rc<Room>) -> io::Result<()>
where
    Room: 'static,
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let member = join(stream, room.clone());
        // How it ends does not matter here: the generator reports what was missing.
        tokio::task::spawn_local(async move { drop(member.await) });
    }
}

/// Everybody's inbox.
struct Inboxes<M>(RefCell<Vec<UnboundedSender<M>>>);

impl<M> Default for Inboxes<M> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<M: Clone> Inboxes<M> {
    fn join(&self) -> UnboundedReceiver<M> {
        let (inbox, news) = unbounded_channel();
        self.0.borrow_mut().push(inbox);
        news
    }

    /// Members that are gone are removed with the first message they miss.
    fn tell_all(&self, message: &M) {
        self.0.borrow_mut().retain(|inbox| inbox.send(message.clone()).is_ok());
    }
}

async fn tungstenite(stream: TcpStream, room: Rc<Inboxes<tungstenite::Message>>) -> Result<(), Failure> {
    let config = tungstenite::protocol::WebSocketConfig::default().read_buffer_size(4 << 10);
    let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let news = room.join();
    talk(socket, news, |message| match message {
        tungstenite::Message::Text(_) | tungstenite::Message::Binary(_) => room.tell_all(&message),
        _ => {}
    })
    .await
}

async fn tokio_websockets(
    stream: TcpStream,
    room: Rc<Inboxes<tokio_websockets::Message>>,
) -> Result<(), Failure> {
    let config = tokio_websockets::Config::default().frame_size(usize::MAX);
    let builder = ServerBuilder::new().config(config).limits(Limits::unlimited());
    let (_request, socket) = builder.accept(stream).await?;
    let news = room.join();
    talk(socket, news, |message| {
        if message.is_text() || message.is_binary() {
            room.tell_all(&message);
        }
    })
    .await
}

async fn sockudo_ws(mut stream: TcpStream, room: Rc<PubSub>) -> Result<(), Failure> {
    let mut head = bytes::BytesMut::with_capacity(4096);
    let answer = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if let Some((request, _)) = parse_request(&head)? {
            break build_response(&generate_accept_key(request.key), None, None);
        }
    };
    stream.write_all(&answer).await?;
    let socket = sockudo_ws::WebSocketStream::server(stream, sockudo_ws::Config::default());
    let (inbox, news) = unbounded_channel();
    let id = room.create_subscriber(inbox);
    room.subscribe(id, "room");
    let end = talk(socket, news, |message| match message {
        sockudo_ws::Message::Text(_) | sockudo_ws::Message::Binary(_) => {
            room.publish("room", message);
        }
        _ => {}
    })
    .await;
    room.remove_subscriber(id);
    end
}

async fn yawc(mut stream: TcpStream, room: Rc<Inboxes<yawc::Frame>>) -> Result<(), Failure> {
    upgrade::accept(&mut stream).await?;
    let options = Options::default()
        .with_utf8()
        .with_limits(16 << 20, 64 << 20)
        .with_read_buffer_capacity(4 << 10)
        .with_backpressure_boundary(64 << 10);
    let socket = WebSocket::from_stream_with_extensions(stream, Role::Server, None, options)
        .map_err(|error| error.to_string())?;
    let news = room.join();
    talk(socket.map(Ok), news, |frame| {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            room.tell_all(&frame);
        }
    })
    .await
}

/// A member's task, until either side hangs up.
async fn talk<S, M, E>(
    mut socket: S,
    mut news: UnboundedReceiver<M>,
    mut said: impl FnMut(M),
) -> Result<(), Failure>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    Failure: From<E>,
{
    enum Step<M> {
        Said(M),
        News(M),
        End,
    }
    loop {
        let step = poll_fn(|context| match Pin::new(&mut socket).poll_next(context) {
            Poll::Ready(Some(message)) => Poll::Ready(message.map(Step::Said)),
            Poll::Ready(None) => Poll::Ready(Ok(Step::End)),
            Poll::Pending => news.poll_recv(context).map(|message| Ok(message.map_or(Step::End, Step::News))),
        });
        match step.await? {
            Step::Said(message) => said(message),
            Step::News(message) => {
                let mut next = Some(message);
                while let Some(message) = next {
                    poll_fn(|context| Pin::new(&mut socket).poll_ready(context)).await?;
                    Pin::new(&mut socket).start_send(message)?;
                    next = news.try_recv().ok();
                }
                poll_fn(|context| Pin::new(&mut socket).poll_flush(context)).await?;
            }
            Step::End => return Ok(()),
        }
    }
}
