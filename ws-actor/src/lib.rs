//! Realtime applications over WebSocket: actors, rooms, and a Hub that reaches every connection.
//!
//! An application is one or more **actors**. An actor is a value that one task owns; for each of its connections it gets
//! [`Connect`], then every message, then [`Disconnect`], once each and in this order, whatever happens. It
//! answers through the [`Hub`], which any task and any thread can hold: send to one connection, to a [`Room`], or to
//! all. A [`Server`] listens, and serves plain HTTP on the same port if asked to. If you know another such system, begin
//! with the [`guide`].
//!
//! ```no_run
//! use ws_actor::{Connect, Context, Disconnect, Hub, Inbound, Route, Server, WsActor};
//!
//! #[derive(Default)]
//! struct Chat {
//!     said: u64,
//! }
//!
//! impl WsActor for Chat {
//!     type Cast = ();
//!
//!     async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
//!         let _ = cx.room("chat").join(connect.id);
//!         let _ = cx.send(connect.id, format!("{} messages so far", self.said));
//!     }
//!
//!     async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
//!         self.said += 1;
//!         cx.room("chat").broadcast_except(inbound.id, inbound.message);
//!     }
//!
//!     async fn disconnect(&mut self, cx: &mut Context<Self>, gone: Disconnect) {
//!         // It has left its rooms already.
//!         cx.room("chat").broadcast(format!("{} left: {}", gone.id, gone.reason));
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = Hub::new();
//!     let chat = hub.spawn("chat", Chat::default)?;
//!     let listening = Server::new(&hub)
//!         .route(Route::ws("/ws").target(chat))
//!         .on_http(|_| async { http::Response::new("Connect to /ws".to_owned()) })
//!         .listen("127.0.0.1:8080")
//!         .await?;
//!     println!("ws://{}/ws", listening.local_addr());
//!
//!     // From any task, also while the actor is busy:
//!     for id in hub.connections() {
//!         let _ = hub.send(id, "hello from outside");
//!     }
//!     listening.stopped().await;
//!     Ok(())
//! }
//! ```
//!
//! The example is a whole program. The rest of this page is what it grows into, in the order in which you will need it.
//!
//! # Accepting connections
//!
//! A [`Route`] leads from a path, with parameters if need be (`/ws/chat/:room`), to an actor, or to a [`Pool`] of them
//! in turn. [`Route::decide`] asks an async function of yours about every upgrade before it is answered. The function
//! sees the request ([`Upgrade`]) and says where the connection goes and what goes with it ([`Relay`]: actor, topic,
//! values ([`Meta`]), heartbeat, user, subprotocol), or what the client is answered instead ([`Response`]). Nothing of
//! a `Relay` but the subprotocol reaches the client. Most of it may be changed while the connection lives
//! ([`Hub::retarget`]): moved to another actor, it loses no message, and none comes out of order.
//!
//! Requests that are not upgrades go to [`Server::on_http`] or to a tower service ([`Server::http_service`]); the other way
//! round, [`Server::upgrade`] takes connections from an HTTP server that you have, and [`Server::serve`] any stream.
//!
//! All of that can be data: a [`Manifest`] says where to listen, which actors run and which paths lead to them, and starts
//! them.
//!
//! # Messages
//!
//! Text or bytes ([`Message`]). With a [`Codec`] between, an actor deals in types of its own ([`Typed`], [`Json`]), and what
//! cannot be read closes the connection, is dropped, or is told. For clients that expect `{"topic": …, "data": …}`,
//! [`Route::envelope`] puts that around what they are sent ([`Outgoing::topic`]).
//!
//! # Rooms
//!
//! A [`Room`] is a set of connections under any name. It begins with the first member and ends with the last; a
//! connection that ends has left. What is broadcast to it is framed once, and all members get the messages of several
//! senders in the same order. A broadcast queues to one member after the other in the caller's task, a fraction of a
//! microsecond for each. With [`Hub::room_with`] a room keeps its last messages for newcomers, and tells its members
//! who joins and leaves; [`Room::roster`] has the members with their values, [`Room::info`] what was delivered and
//! dropped.
//!
//! # Backpressure
//!
//! ```text
//!  socket ──read──▶ one event in hand ──▶ mailbox ──▶ actor     reading waits: the actor is slow, TCP pushes back
//!  socket ◀─write── outbox ◀── send, broadcast, close           sending never waits: it says Full
//! ```
//!
//! One task drives a connection. It holds at most **one** event that the actor has not taken, and reads no further
//! before it has; writing goes on meanwhile, so an actor and its clients cannot wait for each other in a circle.
//! Every queue is bounded, in messages and in bytes: an outbox by [`OutboxLimits`], a mailbox by 1 024 messages and 8 MiB.
//!
//! | what is slow or broken | what happens |
//! |---|---|
//! | a client that takes no messages | its outbox fills and the [`Overflow`] policy decides, closing it with 1013 by default; a socket that takes no byte for the write timeout is cut |
//! | an actor | its clients are not read; after the mailbox timeout they are closed with 1013 |
//! | an actor that panics | its connections are closed with 1011, its name is free, no other actor notices; or as [`ActorOptions`] say |
//! | a peer that breaks the protocol | it is closed with the code of the rule, and [`Reason::Protocol`] names it |
//! | a client that vanishes | it is pinged, and given up after [`Settings`]`.protocol.timeouts` |
//! | a client that sends too much, or too fast | [`Limits`]: it is closed with 1009, or with 1008, or dropped messages, or slowed down |
//! | a crowd | [`Limits`]: connections beyond them are answered 503 before any upgrade |
//!
//! # When an actor fails
//!
//! A panic ends the call that it happened in, and so does an error that an actor reports ([`Context::fail`]).
//! [`Hub::spawn_with`] says what else ends: nothing, the connection, the actor, or the actor but not its connections:
//! it is made again and told of them ([`Recovery`]). [`Hub::on_actor_failure`] tells a log; [`Target::ended`] and
//! [`Target::monitor`] tell what depends on an actor.
//!
//! # What is safe by default, and what you set
//!
//! Pages from other hosts are refused ([`Origins`]); messages are limited to 1 MiB, heads to 16 KiB and 10 s; upgrades
//! to paths without a route are answered 404, malformed ones are refused by the rule that they break, before any `101`.
//! Only you know how many connections there may be (in all, per route, per address, per user), how fast they may speak
//! and how soon they must authenticate: say it in [`Limits`]. For anything beyond loopback, put TLS in front.
//!
//! [`Route::deflate`] turns permessage-deflate (RFC 7692) on; it is off by default. A broadcast is compressed once for each
//! window that its receivers have agreed on (one, mostly), not once for each of them, and an idle connection keeps no
//! compressor, only the last few KiB that it has sent and received.
//!
//! # Connections that the program opens
//!
//! [`Hub::dial`] connects to a server, and gives the connection to an actor, like those that clients open: the same
//! events and sends, so that one actor may serve both kinds ([`Connect::role`] tells which). A dial that fails is a
//! typed error at once. One that is lost later is [dialled again](DialOptions::reconnect) if you ask for it, after
//! random delays that grow; the actor gets `Disconnect` for the lost one and `Connect` for the next, and [`Dialled`]
//! shows the present state.
//!
//! # In operation
//!
//! [`Hub::metrics`] is a snapshot of what a Hub has seen, and [`Server::metrics_at`] serves it to a collector. An
//! [`Observer`] is called for what happens, on a thread of its own; [`Server::on_refusal`] and [`Server::on_failure`]
//! tell a log, at a bounded rate, so that no peer can flood it. [`Hub::inspect`] looks at one connection.
//! [`Hub::shutdown`] ends all within a deadline: no new connections, a last word of the actors, batches of close frames
//! behind what was accepted before.
//!
//! # Tasks or loops
//!
//! A connection is a tokio task. With the feature `mio` a server may have its connections on loops of ws-mio instead,
//! by one line (`Server::on_loops`): the same Hub, actors, rooms, limits and contracts, and a third of the memory: an
//! idle connection takes less than 1 KiB in all. Heads are read, decisions made and HTTP served on tokio in either
//! case; a connection that is not plain TCP stays a task.
//!
//! # Tests without sockets
//!
//! [`testing`] has a server in memory and clients for it, through the same code as over TCP and on tokio's clock, which
//! a test may pause: an hour of heartbeats takes no time.
//!
//! # Where to find what
//!
//! | to | look at |
//! |---|---|
//! | write an actor | [`WsActor`], [`Context`]; its events [`Connect`], [`Inbound`], [`Heartbeat`], [`Disconnect`] |
//! | start it, find it, tell it something | [`Hub::spawn`], [`Hub::spawn_with`], [`Hub::lookup`], [`Target::cast`]; of another framework: [`Target::from_fn`] |
//! | send | [`Hub::send`], [`Hub::send_acked`], [`Hub::broadcast`], [`Room::broadcast`]; [`Message`], [`Outgoing::keyed`] |
//! | say who may come | [`Route::decide`], [`Origins`], [`Limits`], [`Hub::authenticate`] |
//! | set times and sizes | [`Settings`], [`Limits`], [`OutboxLimits`]; [`DialOptions`] |
//! | see what happens | [`Hub::inspect`], [`Hub::metrics`], [`Observer`] |
//! | come from Ergo, Theater, FluentAI, Worpen or Wippy | [`guide`]: their concepts, and the names here |
//!
//! A [`ConnId`] names one connection of one start of the program; kept longer, it names nothing. All connections are on
//! one node for now: an [`Engine`] that joins nodes will follow. The feature `deflate` is on by default; `tls` adds
//! `wss` addresses for dialled connections, `mio` the loops. Of the examples, `chat` shows decisions, rooms with a
//! history, presence and live metrics, `dashboard` the keep-latest policy; each comes with a page.
#![forbid(unsafe_code)]

mod actor;
mod auth;
mod backoff;
mod buffers;
mod codec;
mod compress;
mod conduct;
mod conn;
mod decision;
mod dial;
mod drain;
mod driving;
mod engine;
mod entry;
mod envelope;
mod event;
mod exposition;
#[cfg(test)]
mod fixture;
mod forward;
pub mod guide;
mod hear;
mod history;
mod hub;
mod id;
mod limits;
mod link;
mod listen;
#[cfg(feature = "mio")]
mod loops;
mod mailbox;
mod manifest;
mod meta;
mod meters;
mod metrics;
mod monitor;
mod observer;
mod outbox;
mod outgoing;
mod output;
mod path;
mod patience;
mod places;
mod presence;
mod query;
mod rate;
mod report;
mod rewind;
mod room;
mod route;
mod runner;
mod seat;
mod server;
mod supervise;
mod sync;
mod target;
pub mod testing;
mod transport;
mod upgrade;
mod waiters;

pub use actor::{Context, SpawnError, WsActor};
pub use auth::AuthenticateError;
pub use backoff::Jitter;
pub use codec::{Codec, DecodeError, EncodeError, Json, OnDecodeError, Typed, TypedSendError};
pub use conduct::{OverRate, RateLimit};
pub use decision::{Decision, Relay, Response};
pub use dial::{AttachError, Connector, DialError, DialOptions, DialState, DialStatus, Dialled};
pub use drain::{Drain, Summary};
pub use engine::{Engine, Local};
pub use event::{CloseFrame, Connect, Disconnect, Event, Heartbeat, Inbound, Message, Reason};
pub use hub::{ConnInfo, Hub, SendError, Sent};
pub use id::{ConnId, NodeId, ParseConnIdError};
pub use limits::Limits;
pub use listen::Listening;
#[cfg(feature = "mio")]
pub use loops::Loops;
pub use manifest::{ActorSpec, Catalog, Manifest, ManifestError, RouteSpec};
pub use meta::Meta;
pub use meters::{DropReason, Ending, Label, RefusalKind};
pub use metrics::{Durations, Metrics, Tally};
pub use monitor::{EndCause, Ended};
pub use observer::{Closed, Dropped, Observer};
pub use outbox::{OutboxLimits, Overflow};
pub use outgoing::Outgoing;
pub use path::Params;
pub use presence::{Member, Presence, PresenceEvents, RoomOptions};
pub use query::QueryPairs;
pub use rate::Rate;
pub use report::FailureReport;
pub use room::{JoinError, MAX_ROOM_NAME, MAX_ROOMS, Room, RoomInfo};
pub use route::{OriginCheck, Origins, Route};
pub use seat::RetargetError;
pub use serde_json::Value;
pub use server::{Server, Settings};
pub use supervise::{ActorFailure, ActorOptions, Call, Fault, Recovery};
pub use target::{CastError, Pool, Target};
pub use upgrade::{Ends, Refusal, Upgrade};
/// permessage-deflate (RFC 7692): the settings of [`Route::deflate`], and the pool of compression state.
#[cfg(feature = "deflate")]
pub use ws_core::deflate;
pub use ws_core::{Backoff, CloseCode, Config, Part, Role, Utf8};
pub use ws_tokio::{ConnectError, ConnectOptions, Limiter, RedirectError};

/// The README's code is compiled, and run where it can be, with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
