//! The connections of a loop, by number.
//!
//! Those at rest stand in the table with the little they need, in pieces that never move; the others have a socket of
//! their own for as long as they have something in hand. Sockets' memory is used again.

use mio::net::TcpStream;

use crate::quiet::Quiet;
use crate::remote::ConnId;
use crate::socket::Socket;

/// Connections a piece: a power of two.
const PIECE: usize = 64;

/// Most sockets whose memory is kept.
const MOST_SPARE: usize = 64;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Place {
    Free {
        next: u32,
    },
    /// Its socket is being worked with.
    Out,
    AtRest(Quiet<TcpStream>),
    Busy(Box<Option<Socket<TcpStream>>>),
}

#[derive(Debug)]
pub(crate) struct Slot<D> {
    place: Place,
    /// Counts the connections that have stood here.
    generation: u32,
    /// What the application keeps with the connection, once it has agreed to it.
    pub(crate) state: Option<D>,
}

#[derive(Debug)]
pub(crate) struct Table<D> {
    loop_index: u16,
    pieces: Vec<Box<[Slot<D>]>>,
    free: u32,
    count: usize,
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Option<Socket<TcpStream>>>>,
}

impl<D> Table<D> {
    pub(crate) fn new(loop_index: u16) -> Self {
        Self { loop_index, pieces: Vec::new(), free: NONE, count: 0, spare: Vec::new() }
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// One more than the highest number that was ever in use.
    pub(crate) fn end(&self) -> u32 {
        (self.pieces.len() * PIECE) as u32
    }

    /// A place for another connection, whose socket is out; `None`: there are four thousand million.
    pub(crate) fn take_place(&mut self) -> Option<u32> {
        if self.free == NONE {
            self.grow()?;
        }
        let at = self.free;
        let slot = self.slot(at)?;
        let Place::Free { next } = std::mem::replace(&mut slot.place, Place::Out) else { return None };
        self.free = next;
        self.count += 1;
        Some(at)
    }

    #[cold]
    fn grow(&mut self) -> Option<()> {
        let start = u32::try_from(self.pieces.len() * PIECE).ok()?;
        let end = start.checked_add(PIECE as u32).filter(|&end| end < NONE - PIECE as u32 * 16)?;
        let free = |next| Slot { place: Place::Free { next }, generation: 0, state: None };
        self.pieces.push((start + 1..end).chain([self.free]).map(free).collect());
        self.free = start;
        Some(())
    }

    #[inline]
    pub(crate) fn slot(&mut self, at: u32) -> Option<&mut Slot<D>> {
        self.pieces.get_mut(at as usize / PIECE)?.get_mut(at as usize % PIECE)
    }

    /// The name of the connection that stands there.
    #[inline]
    pub(crate) fn id(&mut self, at: u32) -> Option<ConnId> {
        let loop_index = self.loop_index;
        let slot = self.slot(at)?;
        let generation = slot.generation;
        (!matches!(slot.place, Place::Free { .. })).then_some(ConnId { loop_index, generation, slot: at })
    }

    /// Takes a connection's socket out, to work with it.
    #[inline]
    pub(crate) fn take(&mut self, at: u32) -> Option<Socket<TcpStream>> {
        let slot = self.slot(at)?;
        match std::mem::replace(&mut slot.place, Place::Out) {
            Place::AtRest(quiet) => Some(Socket::from_quiet(quiet)),
            Place::Busy(mut boxed) => {
                let socket = boxed.take();
                if self.spare.len() < MOST_SPARE {
                    self.spare.push(boxed);
                }
                socket
            }
            other => {
                slot.place = other;
                None
            }
        }
    }

    /// Puts it back.
    #[inline]
    pub(crate) fn put(&mut self, at: u32, socket: Socket<TcpStream>) {
        let place = if socket.is_quiet() {
            Place::AtRest(socket.into_quiet())
        } else {
            let mut boxed = self.spare.pop().unwrap_or_default();
            *boxed = Some(socket);
            Place::Busy(boxed)
        };
        if let Some(slot) = self.slot(at) {
            slot.place = place;
        }
    }

    /// When a connection wants the time told; without taking it out.
    pub(crate) fn deadline(&mut self, at: u32) -> Option<ws_core::Instant> {
        match &self.slot(at)?.place {
            Place::AtRest(quiet) => quiet.connection.deadline(),
            Place::Busy(boxed) => boxed.as_ref().as_ref()?.deadline(),
            Place::Free { .. } | Place::Out => None,
        }
    }

    /// Ends the use of a place whose socket is out, and hands over what the application kept there.
    pub(crate) fn remove(&mut self, at: u32) -> Option<D> {
        let free = self.free;
        let slot = self.slot(at)?;
        if matches!(slot.place, Place::Free { .. }) {
            return None;
        }
        slot.place = Place::Free { next: free };
        slot.generation = slot.generation.wrapping_add(1);
        let state = slot.state.take();
        self.free = at;
        self.count -= 1;
        state
    }
}

// An idle connection, with its 12 to 24 bytes of timer: 256 and no more.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Slot<()>>() <= 192);
