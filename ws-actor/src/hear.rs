//! What comes from a peer, as its actor gets it, for tasks and loops alike: events of the protocol as messages, its failures
//! as reasons.

use std::io;
use std::task::Context;

use bytes::Bytes;
use ws_core::{Chunk, Closed, Event, Failure, Instant, Part, Payload, Utf8};

use crate::event::{CloseFrame, Message, Reason};
use crate::link::Link;

/// An event as a message of its own, and which part of one it is.
pub(crate) fn message(event: &Event<'_>) -> (Message, Part) {
    let message = match event {
        Event::Text(text) | Event::Chunk(Chunk { payload: Payload::Text(text), .. }) => {
            Message::Text(Utf8::from(*text))
        }
        Event::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(bytes)),
        Event::Ping(bytes) => Message::Ping(Bytes::copy_from_slice(bytes)),
        Event::Pong(bytes) => Message::Pong(Bytes::copy_from_slice(bytes)),
        Event::Close(closed) => Message::Close(closed.frame.map(CloseFrame::from)),
        Event::Chunk(Chunk { payload: Payload::Binary(bytes), .. }) => {
            Message::Binary(Bytes::copy_from_slice(bytes))
        }
    };
    let part = match event {
        Event::Chunk(chunk) => match (chunk.first, chunk.last) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, false) => Part::Middle,
            (false, true) => Part::Last,
        },
        _ => Part::Whole,
    };
    (message, part)
}

/// The end of a connection that failed.
pub(crate) fn reason(failure: Failure) -> Reason {
    match failure {
        Failure::Violation(violation) => Reason::Protocol(violation),
        Failure::Timeout(timer) => Reason::Timeout(timer),
        Failure::Eof => Reason::Io(io::ErrorKind::UnexpectedEof),
    }
}

impl Link {
    /// The peer's close frame has come: the connection ends cleanly, and for this reason if nothing else ends it.
    pub(crate) fn hear_end(&mut self, closed: &Closed<'_>) -> Reason {
        self.hear_close();
        self.hang_up();
        Reason::Peer(closed.frame.map(CloseFrame::from))
    }

    /// Whether the actor is to see an event at all, so that it is worth a message of its own.
    pub(crate) fn sees(&self, event: &Event<'_>) -> bool {
        // Pings are answered by the core; pongs were heard by it.
        !matches!(event, Event::Ping(_) | Event::Pong(_) | Event::Close(_)) || self.shows_control()
    }

    /// Gives a message, or a part of one, to the actor, if it may come. To be called only while the link is free, or its
    /// messages are dropped.
    pub(crate) fn hear(&mut self, cx: &Context<'_>, message: Message, part: Part, now: Instant) {
        if !message.is_data() || self.admits(message.len(), part, now) {
            self.give(cx, message, part);
        }
    }
}
