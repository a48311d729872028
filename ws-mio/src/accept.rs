//! Accepting connections, also when there are no file descriptors left.
//!
//! Out of descriptors, a server that keeps calling `accept` spins, and one that stops leaves its peers waiting for nothing.
//! So one descriptor is kept in reserve: it is given up to accept a connection and end it at once, which tells the
//! peer; then there is a pause.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use ws_core::Instant;

/// How long nothing is accepted after an error that retrying does not cure.
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of connections accepted in one turn of the loop: the open ones have waited, too.
const A_TURN: u32 = 64;

#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    reserve: Option<File>,
    /// A connection may wait to be accepted: edges are reported once.
    pub(crate) knocked: bool,
    shut_until: Option<Instant>,
    /// How many more connections this turn accepts.
    left: u32,
}

/// The outcome of an attempt to accept a connection.
#[derive(Debug)]
pub(crate) enum Arrival {
    Stream(TcpStream),
    /// There is none, or no more in this turn.
    Nobody,
    /// The system refuses; the door is shut for a while.
    Failed(io::Error),
}

impl Door {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, reserve: open_reserve(), knocked: false, shut_until: None, left: A_TURN }
    }

    pub(crate) fn listener(&mut self) -> &mut TcpListener {
        &mut self.listener
    }

    /// When to ask again without a knock: at once, or after a pause.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.knocked { Some(self.shut_until.unwrap_or(now)) } else { None }
    }

    /// A new turn of the loop.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.left = A_TURN;
        if self.shut_until.is_some_and(|until| until <= now) {
            self.shut_until = None;
        }
    }

    /// The next connection.
    pub(crate) fn accept(&mut self, now: Instant) -> Arrival {
        while self.knocked && self.shut_until.is_none() && self.left > 0 {
            self.left -= 1;
            match self.listener.accept() {
                Ok((stream, _)) => return Arrival::Stream(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.knocked = false,
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if is_out_of_descriptors(&error) {
                        self.turn_away();
                    }
                    self.shut_until = Some(now.saturating_add(PAUSE));
                    return Arrival::Failed(error);
                }
            }
        }
        Arrival::Nobody
    }

    /// Ends the connections that wait, as many as this turn takes, by means of the reserve.
    fn turn_away(&mut self) {
        while self.left > 0 && self.reserve.take().is_some() {
            self.left -= 1;
            let came = self.listener.accept().is_ok();
            self.reserve = open_reserve();
            if !came {
                break;
            }
        }
        if self.reserve.is_none() {
            self.reserve = open_reserve();
        }
    }
}

/// Any descriptor will do; without one the door only pauses.
fn open_reserve() -> Option<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}

/// Whether the connection to be accepted is gone or broken, while the next one may be fine.
fn is_about_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        Interrupted
            | ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
    )
}

/// EMFILE or ENFILE, which have these numbers on all Unix systems.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}
