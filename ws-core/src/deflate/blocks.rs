//! Blocks: what was found in a part of a message, and the cheapest way to write it (RFC 1951, section 3.2.3).

use super::bits::Bits;
use super::deflater::STORED;
use super::huffman::{self, Code};

/// A reference, with the literals before it. The last one of a block may have none.
#[derive(Clone, Copy)]
struct Found {
    plain: u32,
    /// 3 to 258, or 0.
    len: u16,
    /// One less than the distance.
    less: u16,
}

/// Maximum numbers in a block: references; literals, or a little more; bytes.
const FOUND: usize = 2048;
const PLAIN: usize = 16_384;
const BYTES: usize = 1 << 20;

const END: usize = 256;
/// Literals, the end, 29 lengths; distances.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;

/// The longest codes. Four literals go out at once.
const LITERAL_LIMIT: usize = 14;
const DISTANCE_LIMIT: usize = 15;
const LENGTH_LIMIT: usize = 7;

/// With so few symbols the fixed codes are it: others would have to be described.
const FEW: usize = 24;

/// What is not written yet.
pub(super) struct Block {
    found: Vec<Found>,
    /// Bytes that references cover, and literals behind the last one.
    copied: usize,
    plain: usize,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

impl Block {
    pub(super) const fn new() -> Self {
        Self { found: Vec::new(), copied: 0, plain: 0, literals: [0; LITERALS], distances: [0; DISTANCES] }
    }

    /// Forgets what was found.
    pub(super) fn clear(&mut self) {
        self.found.clear();
        (self.copied, self.plain) = (0, 0);
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
    }

    /// How far it may go: what is found farther from its beginning belongs to another block.
    #[inline(always)]
    pub(super) fn room(&self) -> usize {
        if self.found.len() < FOUND { (self.copied + PLAIN).min(BYTES) } else { 0 }
    }

    /// Takes literals.
    #[inline(always)]
    pub(super) fn literals(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.literals[usize::from(byte)] += 1;
        }
        self.plain += bytes.len();
    }

    /// Takes a reference.
    #[inline(always)]
    pub(super) fn copy(&mut self, len: usize, distance: usize) {
        let less = (distance - 1) as u16;
        self.literals[257 + usize::from(LENGTH_SLOTS[(len - 3) & 0xFF])] += 1;
        self.distances[distance_slot(less.into()).0 as usize] += 1;
        self.found.push(Found { plain: self.plain as u32, len: len as u16, less });
        self.plain = 0;
        self.copied += len;
    }

    /// Writes the bytes that it covers, the cheapest way, and is empty then.
    pub(super) fn write(&mut self, bytes: &[u8], bits: &mut Bits<'_>) -> Option<()> {
        self.literals[END] = 1;
        let mut extra = 0;
        for (count, bits) in self.literals[257 + 8..].iter().zip(&LENGTH_EXTRA[8..]) {
            extra += count * bits;
        }
        for (count, slot) in self.distances.iter().zip(0..).skip(4) {
            extra += count * (slot / 2 - 1);
        }
        // A header, and up to a byte's end; each block has one of its own.
        let stored = (8 * bytes.len() + 42 * bytes.len().div_ceil(STORED)) as u32;
        let fixed = 3 + extra + self.fixed();
        let codes = if bytes.len() - self.copied + self.found.len() < FEW {
            None
        } else {
            let codes = Codes::best(&self.literals, &self.distances);
            (3 + extra + codes.cost < fixed.min(stored)).then_some(codes)
        };
        match codes {
            Some(codes) => {
                bits.put(0b100, 3);
                codes.description.write(bits)?;
                self.symbols(bytes, &codes.literals, &codes.distances, bits)?;
            }
            None if fixed <= stored => {
                bits.put(0b010, 3);
                self.symbols(bytes, &FIXED, &FIXED_DISTANCES, bits)?;
            }
            None => bytes.chunks(STORED).try_for_each(|some| bits.stored(some))?,
        }
        self.clear();
        Some(())
    }

    /// The bits of all symbols by the fixed codes, without the extra ones.
    fn fixed(&self) -> u32 {
        let sum = |counts: &[u32]| counts.iter().sum::<u32>();
        let (low, high) = (sum(&self.literals[..144]), sum(&self.literals[144..256]));
        let (short, long) = (sum(&self.literals[256..280]), sum(&self.literals[280..]));
        8 * (low + long) + 9 * high + 7 * short + 5 * sum(&self.distances)
    }

    fn symbols(
        &self,
        mut bytes: &[u8],
        literals: &Code<LITERALS>,
        distances: &Code<DISTANCES>,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        for found in &self.found {
            let (plain, rest) = bytes.split_at_checked(found.plain as usize)?;
            put_literals(plain, literals, bits)?;
            let less = usize::from(found.len - 3) & 0xFF;
            let slot = usize::from(LENGTH_SLOTS[less]);
            // At most 14 + 5 bits, and 15 + 13.
            put(bits, literals[257 + slot]);
            bits.put((less - usize::from(LENGTH_BASE[slot])) as u64, LENGTH_EXTRA[slot]);
            let (slot, extra) = distance_slot(found.less.into());
            put(bits, distances[slot as usize]);
            bits.put(u64::from(u32::from(found.less) & ((1 << extra) - 1)), extra);
            bits.flush()?;
            bytes = rest.get(usize::from(found.len)..)?;
        }
        put_literals(bytes, literals, bits)?;
        put(bits, literals[END]);
        bits.flush()
    }
}

#[inline(always)]
fn put(bits: &mut Bits<'_>, code: u32) {
    bits.put(u64::from(code & 0xFFFF), code >> 16);
}

#[inline(always)]
fn put_literals(bytes: &[u8], code: &Code<LITERALS>, bits: &mut Bits<'_>) -> Option<()> {
    for some in bytes.chunks(4) {
        for &byte in some {
            put(bits, code[usize::from(byte)]);
        }
        bits.flush()?;
    }
    Some(())
}

/// Codes for a block, and what they cost it with their description, without the extra bits.
struct Codes {
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
    description: Description,
    cost: u32,
}

impl Codes {
    fn best(literals: &[u32; LITERALS], distances: &[u32; DISTANCES]) -> Self {
        let mut this = Self {
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            description: Description::new(),
            cost: 0,
        };
        this.cost = huffman::best(literals, LITERAL_LIMIT, &mut this.literals)
            + huffman::best(distances, DISTANCE_LIMIT, &mut this.distances)
            + this.description.tell(&this.literals, &this.distances);
        this
    }
}

/// How a block's codes are described (section 3.2.7).
struct Description {
    /// How many symbols have lengths, and how many lengths of those codes travel.
    counts: u64,
    told: usize,
    /// The lengths of both codes, as symbols of a third one, with their extra bits from bit 8 on.
    runs: [u16; LITERALS + DISTANCES],
    len: usize,
    code: Code<19>,
}

/// The order in which the lengths of the third code travel, and the extra bits of its symbols.
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const RUN_EXTRA: [u32; 19] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];

impl Description {
    const fn new() -> Self {
        Self { counts: 0, told: 0, runs: [0; LITERALS + DISTANCES], len: 0, code: [0; 19] }
    }

    /// A description of these codes, and how many bits it takes.
    fn tell(&mut self, literals: &Code<LITERALS>, distances: &Code<DISTANCES>) -> u32 {
        let mut lens = [0_u8; LITERALS + DISTANCES];
        let len = |code: &u32| (code >> 16) as u8;
        // At least 257 and 1 of them.
        let far = distances.iter().rposition(|&code| code > 0).unwrap_or(0) + 1;
        let near = literals.iter().rposition(|&code| code > 0).unwrap_or(END) + 1;
        literals[..near]
            .iter()
            .chain(&distances[..far])
            .zip(&mut lens)
            .for_each(|(code, to)| *to = len(code));

        let mut counts = [0_u32; 19];
        let mut rest = &lens[..near + far];
        while let [len, behind @ ..] = rest {
            let more = behind.iter().take_while(|next| *next == len).count();
            let (symbol, extra, taken) = match (*len, more + 1) {
                // "18: Repeat a code length of 0 for 11 - 138 times", "17: [...] 3 - 10 times".
                (0, all @ 11..) => (18, all.min(138) - 11, all.min(138)),
                (0, all @ 3..) => (17, all - 3, all),
                (len, _) => (len, 0, 1),
            };
            self.push(&mut counts, symbol, extra);
            rest = &rest[taken..];
            // "16: Copy the previous code length 3 - 6 times".
            let mut more = if *len > 0 { more } else { 0 };
            while more >= 3 {
                let taken = if more == 7 { 4 } else { more.min(6) };
                self.push(&mut counts, 16, taken - 3);
                rest = &rest[taken..];
                more -= taken;
            }
        }
        let mut cost = huffman::best(&counts, LENGTH_LIMIT, &mut self.code);
        self.told = ORDER
            .iter()
            .rposition(|&symbol| self.code[usize::from(symbol)] > 0)
            .map_or(4, |last| 4.max(last + 1));
        self.counts = (near - 257) as u64 | ((far - 1) as u64) << 5 | ((self.told - 4) as u64) << 10;
        cost += 14 + 3 * self.told as u32;
        cost + counts.iter().zip(RUN_EXTRA).map(|(count, extra)| count * extra).sum::<u32>()
    }

    fn push(&mut self, counts: &mut [u32; 19], symbol: u8, extra: usize) {
        counts[usize::from(symbol)] += 1;
        self.runs[self.len] = u16::from(symbol) | (extra as u16) << 8;
        self.len += 1;
    }

    fn write(&self, bits: &mut Bits<'_>) -> Option<()> {
        bits.put(self.counts, 14);
        bits.flush()?;
        for some in ORDER[..self.told].chunks(16) {
            for symbol in some {
                bits.put(u64::from(self.code[usize::from(*symbol)] >> 16), 3);
            }
            bits.flush()?;
        }
        for some in self.runs[..self.len].chunks(4) {
            for run in some {
                let symbol = usize::from(run & 0xFF);
                put(bits, self.code[symbol]);
                bits.put(u64::from(run >> 8), RUN_EXTRA[symbol]);
            }
            bits.flush()?;
        }
        Some(())
    }
}

/// Section 3.2.6.
static FIXED: Code<LITERALS> = {
    let mut code = [0; LITERALS];
    let mut symbol = 0;
    while symbol < LITERALS as u32 {
        let (bits, len) = match symbol {
            0..144 => (0x30 + symbol, 8),
            144..256 => (0x190 + symbol - 144, 9),
            256..280 => (symbol - 256, 7),
            _ => (0xC0 + symbol - 280, 8),
        };
        code[symbol as usize] = bits.reverse_bits() >> (32 - len) | len << 16;
        symbol += 1;
    }
    code
};
static FIXED_DISTANCES: Code<DISTANCES> = {
    let mut code = [0; DISTANCES];
    let mut symbol = 0;
    while symbol < DISTANCES as u32 {
        code[symbol as usize] = symbol.reverse_bits() >> 27 | 5 << 16;
        symbol += 1;
    }
    code
};

/// Section 3.2.5: the lengths' slots are the symbols from 257 on.
const LENGTH_SLOTS: [u8; 256] = {
    let mut slots = [0; 256];
    let mut less = 0_u32;
    while less < 255 {
        slots[less as usize] = if less < 8 {
            less as u8
        } else {
            let log = less.ilog2();
            (4 * (log - 1) + (less >> (log - 2) & 3)) as u8
        };
        less += 1;
    }
    slots[255] = 28;
    slots
};

/// The first length of each slot, less 3, and its extra bits.
const LENGTH_BASE: [u8; 29] = {
    let mut base = [0; 29];
    let mut less = 256;
    while less > 0 {
        less -= 1;
        base[LENGTH_SLOTS[less] as usize] = less as u8;
    }
    base
};
const LENGTH_EXTRA: [u32; 29] = {
    let mut extra = [0; 29];
    let mut slot = 8;
    while slot < 28 {
        extra[slot] = slot as u32 / 4 - 1;
        slot += 1;
    }
    extra
};

/// A distance's symbol and how many extra bits it has, from one less than the distance, which is below 2^15.
#[inline(always)]
pub(super) fn distance_slot(less: u32) -> (u32, u32) {
    match less {
        0..4 => (less, 0),
        _ => {
            let log = less.ilog2();
            (2 * log + (less >> (log - 1) & 1), log - 1)
        }
    }
}
