//! An inflater which is written for its notes and not for speed (RFC 1951): blocks, final bits, how far back it goes.

/// Everything that one direction has sent, and where its last message began.
#[derive(Default)]
pub(crate) struct Audit {
    pub(crate) plain: Vec<u8>,
    /// References must not go before this place.
    pub(crate) floor: usize,
    /// The farthest reference of the last message.
    pub(crate) farthest: usize,
    /// Type and final bit of each block of the last message.
    pub(crate) blocks: Vec<(u32, bool)>,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// A number of `n` bits, the lowest first.
    fn number(&mut self, n: usize) -> Option<u32> {
        let mut number = 0;
        for place in 0..n {
            let byte = self.bytes.get(self.at / 8)?;
            number |= u32::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(number)
    }

    /// A symbol of a Huffman code, by comparing with the first code of each length.
    fn symbol(&mut self, code: &Code) -> Option<usize> {
        let (mut value, mut first, mut before) = (0, 0, 0);
        for count in &code.counts[1..] {
            value |= self.number(1)? as usize;
            if value < first + count {
                return Some(code.symbols[before + value - first]);
            }
            before += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        None
    }
}

/// A Huffman code (section 3.2.2): how many symbols have each length, and the symbols in the order of their codes.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&at| lengths[at] > 0).collect();
        symbols.sort_by_key(|&at| lengths[at]);
        Self { counts, symbols }
    }
}

/// Base and extra bits of the symbols from 257 on, and of the distances (section 3.2.5).
const LENGTHS: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const LENGTH_BITS: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCES: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577,
];
/// The order of the code lengths' code lengths (section 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

impl Audit {
    /// Reads a message's payload and returns what is plain; `None` if it is not well formed to the last bit.
    pub(crate) fn read(&mut self, payload: &[u8]) -> Option<&[u8]> {
        let bytes = [payload, &[0x00, 0x00, 0xFF, 0xFF]].concat();
        let (start, mut bits) = (self.plain.len(), Bits { bytes: &bytes, at: 0 });
        self.farthest = 0;
        self.blocks.clear();
        while bits.at < 8 * bytes.len() {
            let is_final = bits.number(1)? == 1;
            let kind = bits.number(2)?;
            self.blocks.push((kind, is_final));
            match kind {
                0 => self.stored(&mut bits)?,
                1 => {
                    // Section 3.2.6.
                    let fixed = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
                    self.coded(&mut bits, &Code::new(&fixed), &Code::new(&[5; 30]))?;
                }
                2 => {
                    let (literals, distances) = tables(&mut bits)?;
                    self.coded(&mut bits, &literals, &distances)?;
                }
                _ => return None,
            }
            // What follows a final block begins with the next octet; where nothing does, the tail does not either.
            if is_final {
                bits.at = bits.at.next_multiple_of(8);
                if bits.at == 8 * payload.len() {
                    break;
                }
            }
        }
        Some(&self.plain[start..])
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        bits.at = bits.at.next_multiple_of(8);
        let (len, complement) = (bits.number(16)?, bits.number(16)?);
        if len ^ 0xFFFF != complement {
            return None;
        }
        for _ in 0..len {
            self.plain.push(bits.number(8)? as u8);
        }
        Some(())
    }

    fn coded(&mut self, bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> Option<()> {
        loop {
            match bits.symbol(literals)? {
                literal @ 0..=255 => self.plain.push(literal as u8),
                256 => return Some(()),
                symbol => {
                    let at = symbol - 257;
                    let length = *LENGTHS.get(at)? as usize + bits.number(LENGTH_BITS[at].into())? as usize;
                    let at = bits.symbol(distances)?;
                    let extra = (at / 2).saturating_sub(1);
                    let distance = *DISTANCES.get(at)? as usize + bits.number(extra)? as usize;
                    let from = self.plain.len().checked_sub(distance)?;
                    assert!(from >= self.floor, "a reference to what must be forgotten");
                    self.farthest = self.farthest.max(distance);
                    (from..from + length).for_each(|from| self.plain.push(self.plain[from]));
                }
            }
        }
    }
}

/// The codes of a block that brings its own (section 3.2.7).
fn tables(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    let (literals, distances, codes) =
        (bits.number(5)? as usize + 257, bits.number(5)? as usize + 1, bits.number(4)? as usize + 4);
    let mut code = [0; 19];
    for at in &ORDER[..codes] {
        code[*at] = bits.number(3)? as u8;
    }
    let code = Code::new(&code);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match bits.symbol(&code)? {
            16 => (*lengths.last()?, bits.number(2)? + 3),
            17 => (0, bits.number(3)? + 3),
            18 => (0, bits.number(7)? + 11),
            length => (length as u8, 1),
        };
        lengths.extend((0..times).map(|_| length));
    }
    let distances = lengths.split_off(literals);
    Some((Code::new(&lengths), Code::new(&distances)))
}
