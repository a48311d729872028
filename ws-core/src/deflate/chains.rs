//! The compressor of levels 2 to 9: the places of each hash in chains, matches that wait for a better one, and for each
//! block the cheapest codes.
//!
//! As [`Quick`](super::quick::Quick) it compresses a message where it stands, and against the history that stands before it;
//! places are counted on and on, and no table is ever cleared.

use super::bits::Bits;
use super::blocks::Block;
use super::history::History;
use super::window::Window;

/// Tables of places, and the history of the connection that has them.
pub(super) struct Chains {
    /// Where four bytes with this hash stood last; 0 and whatever lies before `origin` is nothing.
    places: Vec<u32>,
    /// For each place, how far before it the last one with its hash stands; a ring. What is beyond any window is an end.
    links: Vec<u16>,
    /// The number of the first byte of `history`, or of the message where there is no history.
    origin: u32,
    history: History,
    block: Box<Block>,
    effort: Effort,
}

/// What a level is.
#[derive(Clone, Copy)]
struct Effort {
    /// How many places are looked at for a match; half as many for a better one.
    depth: u32,
    /// With a match of this length, a quarter.
    good: usize,
    /// From this length on, a match is taken without a look at what begins one byte later; 0: any is.
    lazy: usize,
    /// A match of this length ends the search.
    nice: usize,
}

const fn effort(depth: u32, good: usize, lazy: usize, nice: usize) -> Effort {
    Effort { depth, good, lazy, nice }
}

/// Levels 2 to 9.
const EFFORTS: [Effort; 8] = [
    effort(4, 4, 0, 12),
    effort(7, 4, 0, 24),
    effort(12, 8, 16, 48),
    effort(19, 16, 24, 96),
    effort(28, 16, 32, 128),
    effort(96, 32, 128, 258),
    effort(400, 64, 258, 258),
    effort(1000, 258, 258, 258),
];

/// The shortest match, and what is hashed.
const LEAST: usize = 4;
/// The longest one (RFC 1951, section 3.2.5).
const MOST: usize = 258;
/// Maximum number of bytes at once: places are renumbered between two such pieces only.
const PIECE: usize = 1 << 30;

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            links: Vec::new(),
            origin: 1,
            history: History::new(),
            block: Box::new(Block::new()),
            effort: EFFORTS[4],
        }
    }

    /// Works as hard as `level` says from here on, 2 to 9.
    pub(super) fn set_level(&mut self, level: u8) {
        self.effort = EFFORTS[usize::from(level.clamp(2, 9) - 2)];
    }

    /// Forgets everything.
    pub(super) fn renew(&mut self) {
        self.pass(self.history.bytes().len());
        self.history.clear();
    }

    /// Takes over what a connection sent before.
    pub(super) fn arm(&mut self, window: &mut Window) {
        self.renew();
        let size = window.bits().size();
        self.history.fill(window);
        let history = core::mem::take(&mut self.history);
        let bytes = history.bytes();
        match Ring::of(size) {
            Ring::Small => self.tables::<10>().0.note_all(bytes, 0, bytes.len()),
            Ring::Middle => self.tables::<12>().0.note_all(bytes, 0, bytes.len()),
            Ring::Large => self.tables::<15>().0.note_all(bytes, 0, bytes.len()),
        }
        self.history = history;
    }

    /// Gives back what a connection sent, as much of it as the window takes.
    pub(super) fn disarm(&mut self, window: &mut Window) {
        window.push(self.history.bytes());
        self.renew();
    }

    /// Compresses a message that refers to nothing but itself; `None` if `out` is too short.
    pub(super) fn compress(&mut self, input: &[u8], size: usize, out: &mut [u8]) -> Option<usize> {
        let mut bits = Bits::new(out);
        for piece in input.chunks(PIECE) {
            self.encode(piece, 0, size, size.min(piece.len()), &mut bits)?;
            self.pass(piece.len());
        }
        bits.end()
    }

    /// Compresses the next bytes of a connection.
    pub(super) fn compress_on(&mut self, input: &[u8], size: usize, out: &mut [u8]) -> Option<usize> {
        let mut bits = Bits::new(out);
        let (first, rest) = input.split_at(input.len().min(size));
        let (start, gone) = self.history.push(first, size);
        self.pass(gone);
        let history = core::mem::take(&mut self.history);
        let done = self.encode(history.bytes(), start, size, size, &mut bits);
        self.history = history;
        done?;

        if !rest.is_empty() {
            // What is behind the first window refers to the message itself, and that need not be copied.
            self.pass(start);
            let mut from = 0;
            while from + size < input.len() {
                let piece = &input[from..input.len().min(from + PIECE)];
                self.encode(piece, size, size, size, &mut bits)?;
                self.pass(piece.len() - size);
                from += piece.len() - size;
            }
            self.history.set(&input[from..]);
        }
        bits.end()
    }

    /// Counts on, past `len` bytes. Numbers stay below 2^32.
    fn pass(&mut self, len: usize) {
        self.origin += len as u32;
        if self.origin > 1 << 30 {
            self.places.fill(0);
            self.origin = 1;
        }
    }

    /// Finds what there is in `data` from `start` on, and writes it. Nothing is ever `reach` bytes back.
    fn encode(
        &mut self,
        data: &[u8],
        start: usize,
        size: usize,
        reach: usize,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        let effort = self.effort;
        match Ring::of(reach) {
            Ring::Small => {
                let (tables, block) = self.tables::<10>();
                tables.encode(data, start, size, effort, block, bits)
            }
            Ring::Middle => {
                let (tables, block) = self.tables::<12>();
                tables.encode(data, start, size, effort, block, bits)
            }
            Ring::Large => {
                let (tables, block) = self.tables::<15>();
                tables.encode(data, start, size, effort, block, bits)
            }
        }
    }

    fn tables<const BITS: u32>(&mut self) -> (Tables<'_, BITS>, &mut Block) {
        let hashes = 1 << hash_bits(BITS);
        if self.places.len() < hashes {
            self.places.resize(hashes, 0);
        }
        if self.links.len() < 1 << BITS {
            self.links.resize(1 << BITS, 0);
        }
        let tables = Tables {
            places: &mut self.places[..hashes],
            links: &mut self.links[..1 << BITS],
            origin: self.origin,
        };
        (tables, &mut self.block)
    }
}

/// How many places the tables have: a power of two that is known where they are used.
enum Ring {
    Small,
    Middle,
    Large,
}

impl Ring {
    /// For references that go so far back.
    const fn of(reach: usize) -> Self {
        match reach {
            0..=0x400 => Self::Small,
            0x401..=0x1000 => Self::Middle,
            _ => Self::Large,
        }
    }
}

/// Bits of a hash for tables of so many places: more of them for a message by itself, where there are few places that
/// matter; more than 14 are not worth the caches that they take.
const fn hash_bits(bits: u32) -> u32 {
    if bits < 14 { bits + 1 } else { 14 }
}

/// The longest match so far, and how far back it is.
#[derive(Clone, Copy)]
struct Match {
    len: usize,
    distance: usize,
}

/// 2^`BITS` entries each.
struct Tables<'a, const BITS: u32> {
    places: &'a mut [u32],
    links: &'a mut [u16],
    origin: u32,
}

impl<const BITS: u32> Tables<'_, BITS> {
    /// Notes where these four bytes are: how far before them others with their hash are.
    #[inline(always)]
    fn note(&mut self, four: u32, at: usize) -> usize {
        let here = self.origin.wrapping_add(at as u32);
        let bits = hash_bits(BITS);
        let hash = (four.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize;
        let places = &mut self.places[..1 << bits];
        let back = here.wrapping_sub(core::mem::replace(&mut places[hash], here));
        let links = &mut self.links[..1 << BITS];
        links[here as usize & ((1 << BITS) - 1)] = back.min(0xFFFF) as u16;
        back as usize
    }

    #[inline(always)]
    fn note_all(&mut self, data: &[u8], from: usize, to: usize) {
        for at in from..to {
            let Some(four) = word(data, at) else { return };
            self.note(four, at);
        }
    }

    /// Looks at `depth` places for a longer match than `best`, the first one `back` bytes before `at`.
    #[inline(always)]
    fn find(
        &self,
        data: &[u8],
        at: usize,
        mut back: usize,
        size: usize,
        (mut depth, nice): (u32, usize),
        mut best: Match,
    ) -> Match {
        let reach = size.min(at);
        if back.wrapping_sub(1) >= reach {
            return best;
        }
        let here = &data[at..data.len().min(at + MOST)];
        // Its last four bytes would be these.
        let Some(mut end) = word(here, best.len - 3) else { return best };
        let number = self.origin.wrapping_add(at as u32) as usize;
        let links = &self.links[..1 << BITS];
        while back <= reach {
            let old = &data[at - back..];
            if word(old, best.len - 3) == Some(end) {
                let len = alike(&old[..here.len()], here);
                if len > best.len {
                    best = Match { len, distance: back };
                    match word(here, len - 3) {
                        Some(four) if len < nice => end = four,
                        _ => break,
                    }
                }
            }
            depth -= 1;
            if depth == 0 {
                break;
            }
            back += usize::from(links[number.wrapping_sub(back) & ((1 << BITS) - 1)]);
        }
        best
    }

    fn encode(
        mut self,
        data: &[u8],
        start: usize,
        size: usize,
        Effort { depth, good, lazy, nice }: Effort,
        block: &mut Block,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        const NONE: Match = Match { len: LEAST - 1, distance: 0 };
        // Those at the end of what came before had not all their bytes then.
        self.note_all(data, start.saturating_sub(LEAST - 1), start);
        block.clear();
        // Where the block begins, and the literals that it does not have yet.
        let (mut at, mut plain, mut begin) = (start, start, start);
        let mut full = begin + block.room();
        while let Some(four) = word(data, at) {
            if at > full {
                block.literals(&data[plain..at]);
                block.write(&data[begin..at], bits)?;
                (plain, begin) = (at, at);
                full = begin + block.room();
            }
            let back = self.note(four, at);
            let mut found = self.find(data, at, back, size, (depth, nice), NONE);
            at += 1;
            if found.len < LEAST {
                continue;
            }
            // `at` is behind the beginning of the match. All places before `noted` are noted.
            let mut noted = at;
            while found.len < lazy {
                let Some(four) = word(data, at) else { break };
                let back = self.note(four, at);
                noted = at + 1;
                let depth = 1 + if found.len >= good { depth / 4 } else { depth / 2 };
                let better = self.find(data, at, back, size, (depth, nice), found);
                if better.len == found.len {
                    break;
                }
                found = better;
                at += 1;
            }
            block.literals(&data[plain..at - 1]);
            block.copy(found.len, found.distance);
            at += found.len - 1;
            plain = at;
            full = begin + block.room();
            self.note_all(data, noted, at);
        }
        block.literals(&data[plain..]);
        block.write(&data[begin..], bits)
    }
}

#[inline(always)]
fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

/// How many bytes are alike, of slices of the same length.
#[inline(always)]
fn alike(old: &[u8], new: &[u8]) -> usize {
    let mut len = 0;
    while let (Some(a), Some(b)) = (old[len..].first_chunk(), new[len..].first_chunk()) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + old[len..].iter().zip(&new[len..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::super::quick::tests::inflate;
    use super::super::{Inflater, Pool, WindowBits};
    use super::*;

    /// Matches of many lengths at distances about each power of two, in messages of many sizes; for each table, what comes
    /// after a longer window and after a shorter one.
    fn messages() -> Vec<Vec<u8>> {
        let noise: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 13) as u8).collect();
        let mut messages = vec![b"a".to_vec(), b"abcd".to_vec(), noise[..5000].to_vec(), vec![0; 100_000]];
        for distance in [1, 2, 3, 4, 7, 8, 9, 257, 1024, 4097, 32_767, 32_768, 32_769] {
            let mut message = noise[..distance.min(40_000)].to_vec();
            for len in (3..20).chain(250..262) {
                message.push(noise[len]);
                for _ in 0..len {
                    message.push(message[message.len() - distance]);
                }
            }
            messages.push(message);
        }
        messages.push(noise[..300].repeat(3));
        messages
    }

    /// Places are renumbered now and then, and a state goes from one window, connection and level to the next: all of that
    /// may cost matches, and nothing else.
    #[test]
    fn numbers_begin_anew() {
        let mut out = vec![0; 200_000];
        for begin in [1, (1 << 30) - 150_000, (1 << 30) - 1] {
            let (mut fresh, mut kept) = (Chains::new(), Chains::new());
            (fresh.origin, kept.origin) = (begin, begin);
            for (bits, level) in [(15, 9), (9, 6), (12, 2), (15, 4), (10, 8)] {
                let window = WindowBits::new(bits).unwrap();
                let mut alone = Inflater::new(window, false, Pool::shared());
                let mut on = Inflater::new(window, true, Pool::shared());
                let mut parked = Window::new(window);
                fresh.set_level(level);
                kept.set_level(level);
                kept.renew();
                for (turn, message) in messages().into_iter().enumerate() {
                    let len = fresh.compress(&message, window.size(), &mut out).unwrap();
                    assert!(inflate(&mut alone, &out[..len]) == message, "{bits} bits, level {level}");
                    let len = kept.compress_on(&message, window.size(), &mut out).unwrap();
                    assert!(inflate(&mut on, &out[..len]) == message, "{bits} bits, level {level}, takeover");
                    assert!(kept.history.bytes().len() <= 2 * window.size());
                    if turn % 3 == 0 {
                        kept.disarm(&mut parked);
                        kept.arm(&mut parked);
                    }
                }
            }
        }
    }

    /// Output that is too short is reported.
    #[test]
    fn too_short() {
        for message in messages() {
            for len in [0, 1, 7, 8, 9, 100, message.len() / 20] {
                let mut out = vec![0; len];
                if let Some(len) = Chains::new().compress(&message, 1 << 15, &mut out) {
                    let mut inflater = Inflater::new(WindowBits::MAX, false, Pool::shared());
                    assert!(inflate(&mut inflater, &out[..len]) == message);
                }
            }
        }
    }
}
