//! The connections of a loop, by number.
//!
//! Idle ones are in the table with the little they need, in pieces that never move; the others have a socket of their own
//! for as long as they have something to do. The memory of sockets is reused.

use ws_core::{ConfigRef, Connection, Instant};

use mio::Token;

use crate::link::Link;
use crate::quiet::Quiet;
use crate::remote::ConnId;
use crate::socket::Socket;
use crate::wire::Overflow;

/// Connections per piece: a power of two.
const PIECE: usize = 64;

/// Maximum number of sockets whose memory is kept.
const MOST_SPARE: usize = 64;

const NONE: u32 = u32::MAX;

/// How many bits of a token are the place; the others are the generation's. 24 bits are more places than fit into the
/// memory of a system whose tokens have 32.
const PLACE_BITS: u32 = if usize::BITS >= 64 { 32 } else { 24 };

/// Places are below this: what is above is left to the tokens of other things.
const END: u32 = (u32::MAX >> (32 - PLACE_BITS)) - PIECE as u32 * 16;

/// What a connection's events come with. They may come after its end, if somebody else has its descriptor, too: then they
/// are not those of the next one in its place.
#[inline]
pub(crate) fn token_of(id: ConnId) -> Token {
    Token((u64::from(id.generation) << PLACE_BITS | u64::from(id.slot)) as usize)
}

/// The place that a token names.
#[inline]
pub(crate) fn place_of(token: Token) -> u32 {
    (token.0 as u64 & ((1 << PLACE_BITS) - 1)) as u32
}

#[derive(Debug)]
enum Place {
    Free {
        next: u32,
    },
    /// Its connection is being made or ended.
    Out,
    AtRest(Quiet<Link>),
    Busy(Box<Option<Socket<Link>>>),
}

#[derive(Debug)]
pub(crate) struct Slot<D> {
    place: Place,
    /// Counts the connections that have stood here.
    generation: u32,
    /// What the application keeps with the connection, once it has agreed to it.
    state: Option<D>,
}

#[derive(Debug)]
pub(crate) struct Table<D> {
    /// The socket that serves a connection at rest when something comes; most are at rest again right after it.
    bench: Socket<Link>,
    config: ConfigRef,
    overflow: Overflow,
    loop_index: u16,
    pieces: Vec<Box<[Slot<D>]>>,
    free: u32,
    count: usize,
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Option<Socket<Link>>>>,
}

impl<D> Table<D> {
    pub(crate) fn new(loop_index: u16, config: ConfigRef, overflow: Overflow) -> Self {
        Self {
            bench: vacant(&config, overflow),
            config,
            overflow,
            loop_index,
            pieces: Vec::new(),
            free: NONE,
            count: 0,
            spare: Vec::new(),
        }
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What is set for every connection.
    pub(crate) fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// One more than the highest number that was ever in use.
    pub(crate) fn end(&self) -> u32 {
        (self.pieces.len() * PIECE) as u32
    }

    /// A place for another connection, whose socket is out, and its name; `None`: there are four thousand million.
    pub(crate) fn take_place(&mut self) -> Option<(u32, ConnId)> {
        if self.free == NONE {
            self.grow()?;
        }
        let (at, loop_index) = (self.free, self.loop_index);
        let slot = self.slot(at)?;
        let Place::Free { next } = std::mem::replace(&mut slot.place, Place::Out) else { return None };
        let id = ConnId { loop_index, generation: slot.generation, slot: at };
        self.free = next;
        self.count += 1;
        Some((at, id))
    }

    #[cold]
    fn grow(&mut self) -> Option<()> {
        let start = u32::try_from(self.pieces.len() * PIECE).ok()?;
        let end = start.checked_add(PIECE as u32).filter(|&end| end <= END)?;
        let free = |next| Slot { place: Place::Free { next }, generation: 0, state: None };
        self.pieces.push((start + 1..end).chain([self.free]).map(free).collect());
        self.free = start;
        Some(())
    }

    fn slot(&mut self, at: u32) -> Option<&mut Slot<D>> {
        self.pieces.get_mut(at as usize / PIECE)?.get_mut(at as usize % PIECE)
    }

    /// A connection to work with: its socket, its name, and what the application keeps with it. Give it
    /// [back](Self::give_back), or [end](Self::remove) it, before the next.
    #[inline]
    pub(crate) fn lend(&mut self, at: u32) -> Option<(&mut Socket<Link>, ConnId, &mut Option<D>)> {
        let slot = self.pieces.get_mut(at as usize / PIECE)?.get_mut(at as usize % PIECE)?;
        let id = ConnId { loop_index: self.loop_index, generation: slot.generation, slot: at };
        let socket = match &mut slot.place {
            Place::AtRest(quiet) => {
                self.bench.exchange(quiet);
                self.bench.adopt_limit();
                &mut self.bench
            }
            Place::Busy(boxed) => boxed.as_mut().as_mut()?,
            Place::Free { .. } | Place::Out => return None,
        };
        Some((socket, id, &mut slot.state))
    }

    /// Ends the work with a connection.
    #[inline]
    pub(crate) fn give_back(&mut self, at: u32) {
        let Some(slot) =
            self.pieces.get_mut(at as usize / PIECE).and_then(|piece| piece.get_mut(at as usize % PIECE))
        else {
            return;
        };
        match &mut slot.place {
            Place::AtRest(quiet) if self.bench.is_quiet() => self.bench.exchange(quiet),
            Place::AtRest(_) => {
                let busy = std::mem::replace(&mut self.bench, vacant(&self.config, self.overflow));
                self.put(at, busy);
            }
            Place::Busy(boxed) if boxed.as_ref().as_ref().is_some_and(Socket::is_quiet) => {
                let quiet = boxed.take().map(Socket::into_quiet);
                let boxed = std::mem::replace(&mut slot.place, quiet.map_or(Place::Out, Place::AtRest));
                if let Place::Busy(boxed) = boxed
                    && self.spare.len() < MOST_SPARE
                {
                    self.spare.push(boxed);
                }
            }
            Place::Busy(_) | Place::Free { .. } | Place::Out => {}
        }
    }

    /// A connection at rest, to write to: what the transport does not take at once is a [socket](Self::lend)'s.
    #[inline]
    pub(crate) fn at_rest(&mut self, at: u32) -> Option<&mut Quiet<Link>> {
        match &mut self.slot(at)?.place {
            Place::AtRest(quiet) => Some(quiet),
            Place::Busy(_) | Place::Free { .. } | Place::Out => None,
        }
    }

    /// Has a socket that has something in hand stand in a place.
    #[cold]
    pub(crate) fn put(&mut self, at: u32, socket: Socket<Link>) {
        let mut boxed = self.spare.pop().unwrap_or_default();
        *boxed = Some(socket);
        if let Some(slot) = self.slot(at) {
            slot.place = Place::Busy(boxed);
        }
    }

    /// A connection's next deadline, found without lending it. `own` is the application's.
    pub(crate) fn deadline(&mut self, at: u32, own: impl FnOnce(&D) -> Option<Instant>) -> Option<Instant> {
        let slot = self.slot(at)?;
        let deadline = match &slot.place {
            Place::AtRest(quiet) => quiet.session.connection_ref().deadline(),
            Place::Busy(boxed) => boxed.as_ref().as_ref()?.deadline(),
            Place::Free { .. } | Place::Out => return None,
        };
        deadline.into_iter().chain(slot.state.as_ref().and_then(own)).min()
    }

    /// Ends a connection that was lent, or is not made yet, and hands over what the application kept with it.
    pub(crate) fn remove(&mut self, at: u32) -> Option<D> {
        let free = self.free;
        let slot = self.slot(at)?;
        let place = match &mut slot.place {
            Place::Free { .. } => return None,
            place => std::mem::replace(place, Place::Free { next: free }),
        };
        slot.generation = slot.generation.wrapping_add(1);
        let state = slot.state.take();
        self.free = at;
        self.count -= 1;
        if matches!(place, Place::AtRest(_)) {
            // What ends is on the bench.
            self.bench = vacant(&self.config, self.overflow);
        }
        state
    }
}

/// A socket without a connection to serve. Its own is never used.
fn vacant(config: &ConfigRef, overflow: Overflow) -> Socket<Link> {
    let mut socket = Socket::open_over(Link::None, Connection::server(config.clone(), Instant::ZERO));
    socket.set_overflow(overflow);
    socket
}

// An idle connection, with its 12 to 24 bytes of timer: 256 and no more.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Slot<()>>() <= 192 + DEBUG);

/// In debug builds mio stores with a stream where it is registered.
#[cfg(target_pointer_width = "64")]
const DEBUG: usize = if cfg!(debug_assertions) { 8 } else { 0 };
