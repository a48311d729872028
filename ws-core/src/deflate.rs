//! permessage-deflate (RFC 7692): negotiation, and both directions of the payload.
//!
//! It is off until [`Config::deflate`](crate::Config::deflate) asks for it, and nothing is compressed until the peer
//! agrees:
//!
//! ```
//! use ws_core::deflate::Settings;
//! use ws_core::{Config, Connection, Instant, Session};
//!
//! let mut config = Config::server();
//! config.deflate = Some(Settings::server());
//! // The adapters do the rest. By hand: the server's answer to the client's offer ...
//! # let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//! #     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//! #     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
//! # let mut handshake = ws_core::ServerHandshake::new(Instant::ZERO, config.clone());
//! # let request = handshake.recv(Instant::ZERO, head).unwrap().unwrap();
//! let settings = config.deflate.as_ref().unwrap();
//! let (agreement, line) = settings.accept(request.extensions()).expect("an offer that can be honoured");
//! assert_eq!(&*line, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
//! // ... goes into `Accept::extensions`, and what was agreed on into the session.
//! let mut session = Session::<Vec<u8>>::new(Connection::server(config, Instant::ZERO));
//! session.enable_deflate(&agreement);
//! ```
//!
//! From there on [`Sender::send_part`](crate::Sender::send_part) compresses what [`Compress`] says, and the session
//! inflates as bytes arrive. [`Limits::max_message`](crate::Limits::max_message) bounds the inflated bytes, counted as they
//! are made; [`Limits::max_frame`](crate::Limits::max_frame) bounds a compressed frame as it arrives, and leaves room for
//! what does not shrink (`limit + limit / 8 + limit / 64`, and 64 bytes for each frame of the message), as does the sum of a
//! message's compressed payloads. No limit is one on what a single frame inflates to. Text is checked as it is inflated.
//! Whatever is not whole, or is no DEFLATE data, fails with 1007.
//!
//! # Memory
//!
//! A connection has nothing before its first compressed message. State comes from a [`Pool`]: for the
//! length of a message without context takeover; with it, until it was not used for [`Settings::idle`] and the
//! adapter calls [`Session::park_idle`](crate::Session::park_idle). Then only the window's bytes are kept,
//! from which the next message makes the state anew (10 to 40 µs). Bytes requested from the allocator, for each
//! direction:
//!
//! | window | compressor of level 1, with takeover | without | of level 2 to 9, with takeover | without | decompressor, with takeover | without | parked, with takeover | without |
//! |--:|--:|--:|--:|--:|--:|--:|--:|--:|
//! | 8 bits | 0 | 0 | 0 | 0 | 47 960 | 47 960 | 256 | 0 |
//! | 9 bits | 17 536 | 65 664 | 29 072 | 28 048 | 48 216 | 48 216 | 512 | 0 |
//! | 10 bits | 18 560 | 65 664 | 30 096 | 28 048 | 48 728 | 48 728 | 1 024 | 0 |
//! | 11 bits | 20 608 | 65 664 | 62 864 | 58 768 | 49 752 | 49 752 | 2 048 | 0 |
//! | 12 bits | 24 704 | 65 664 | 66 960 | 58 768 | 51 800 | 51 800 | 4 096 | 0 |
//! | 13 bits | 32 896 | 65 664 | 165 264 | 148 880 | 55 896 | 55 896 | 8 192 | 0 |
//! | 14 bits | 49 280 | 65 664 | 181 648 | 148 880 | 64 088 | 64 088 | 16 384 | 0 |
//! | 15 bits | 82 048 | 65 664 | 214 416 | 148 880 | 80 472 | 80 472 | 32 768 | 0 |
//!
//! There is no compressor of 8 bits: an endpoint held to them sends uncompressed. Both directions of a connection together,
//! beside what it holds without permessage-deflate:
//!
//! | idle connection | agreed on, not used | used, with takeover, parked | used, without takeover |
//! |--:|--:|--:|--:|
//! | 9 bits | 232 | 1 256 | 232 |
//! | 12 bits | 232 | 8 424 | 232 |
//! | 15 bits | 232 | 65 768 | 232 |
//!
//! A pool keeps at most what its [`PoolLimits`] say, by default 16 MiB for all connections of the process; what is lent
//! to connections amid their messages, or used less than [`Settings::idle`] ago, is not in it. `tests/alloc.rs` measures
//! each row and holds it against this page.
//!
//! So a server's default is 12 bits both ways: 8 KiB for an idle connection instead of 64, and for JSON of 1 KiB 8 %
//! more bytes than with 15. A client, which has few connections, takes 15. [`Settings::accept`] says what
//! happens with a client that cannot be told a window.
//!
//! # The back end
//!
//! zlib-rs inflates, and is used directly: flate2, through which it is mostly used, does not let a caller stop at the end of
//! a block, which is the only certain way to tell that a message was whole (section 7.2.2). A distance beyond the agreed
//! window is followed as far as the back end still has it; our own compressors never make one.
//!
//! The compressors are our own, because messages are not streams: a compressor for streams spends more on the state around a
//! message of 1 KiB than on the message. Ours read it where it stands, and their tables are never cleared. Level 1, the
//! default, is one pass with the codes that need no description (section 3.2.6 of RFC 1951). Levels 2 to 9 look at more and
//! more places for each match, and make the codes that suit each block. For JSON of 1 KiB, level 6 takes half of
//! zlib-rs's time for as few bytes as at its level 6; of JSON no level makes more than 3 % more than zlib-rs does, and most
//! make less. Other data may fare worse: zeros with single ones strewn in come out a sixth larger at level 6, and sequences
//! that are nothing but long overlapping repetitions (a Fibonacci word) more than twice as large at level 2.

mod agreement;
mod bits;
mod blocks;
mod chains;
mod deflater;
mod history;
mod huffman;
mod inflater;
mod inflow;
mod line;
mod outflow;
mod pool;
mod quick;
mod settings;
mod window;

pub use agreement::Agreement;
pub use deflater::{Deflater, NoRoom};
pub use inflater::{Finished, Inflated, Inflater, InvalidDeflate};
pub use line::Line;
pub use outflow::Compress;
pub use pool::{Lent, Pool, PoolLimits};
pub use settings::{Settings, WindowBits};

pub(crate) use inflow::{Inflow, Run};
pub(crate) use outflow::Outflow;
