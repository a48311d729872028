//! Checks what one connection receives against the tape, byte by byte (RFC 6455, section 5). Compressed messages are
//! inflated, every one of them and completely (RFC 7692).
//!
//! A server may split a message into fragments and may ping in between; everything else that differs from the
//! message that was sent is a [`Fault`]. Messages come back in the order in which they were sent.

use crate::deflate::Inflater;
use crate::tape::{Tape, push_masked};

/// How a server's bytes differ from what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A server must not mask (section 5.1).
    Masked,
    /// A reserved bit or opcode, or a control frame that is fragmented or too long: the frame's first two bytes.
    Malformed([u8; 2]),
    /// A length in more bytes than it needs (section 5.2).
    LongLength,
    /// A message of this opcode instead of the one that was sent.
    Opcode(u8),
    /// A continuation without a message, or a new message within another.
    Sequence,
    /// A message longer or shorter than the one that was sent.
    Length,
    /// Other bytes than those that were sent.
    Content,
    /// A message that is not compressed, after that was agreed on.
    Uncompressed,
    /// A compressed message that is not DEFLATE data.
    Deflate,
    /// A close frame with this code (1005: none) in the middle of the run.
    Closed(u16),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Masked => write!(out, "a masked frame from the server"),
            Self::Malformed([first, second]) => write!(out, "a malformed frame: {first:#04x} {second:#04x}"),
            Self::LongLength => write!(out, "a length in more bytes than it needs"),
            Self::Opcode(opcode) => write!(out, "opcode {opcode:#x} instead of the one sent"),
            Self::Sequence => write!(out, "fragments out of sequence"),
            Self::Length => write!(out, "a message of another length than the one sent"),
            Self::Content => write!(out, "other bytes than those sent"),
            Self::Uncompressed => write!(out, "a message that is not compressed"),
            Self::Deflate => write!(out, "a compressed message that does not inflate"),
            Self::Closed(code) => write!(out, "closed by the server, code {code}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The receiving side of one connection.
pub struct Checker {
    /// The message that is next or in progress, by its place on the tape.
    message: usize,
    /// How much of it has arrived.
    received: usize,
    /// Whether its first frame has arrived.
    begun: bool,
    phase: Phase,
    head: [u8; 10],
    head_len: usize,
    control: Vec<u8>,
    /// Created with the first compressed message.
    inflater: Option<Box<Inflater>>,
}

#[derive(Clone, Copy)]
enum Phase {
    Head,
    Data { left: usize, last: bool },
    Control { left: usize, opcode: u8 },
}

struct Head {
    first: u8,
    len: usize,
    size: usize,
}

impl Checker {
    /// Expects the message at `first` on the tape, then those after it.
    pub fn new(first: usize) -> Self {
        Self {
            message: first,
            received: 0,
            begun: false,
            phase: Phase::Head,
            head: [0; 10],
            head_len: 0,
            control: Vec::new(),
            inflater: None,
        }
    }

    /// Takes received bytes; answers pings into `pongs`. Returns how many messages they complete.
    pub fn take(&mut self, tape: &Tape, bytes: &[u8], pongs: &mut Vec<u8>) -> Result<usize, Fault> {
        if tape.raw() { self.take_raw(tape, bytes) } else { self.take_frames(tape, bytes, pongs) }
    }

    fn take_raw(&mut self, tape: &Tape, mut bytes: &[u8]) -> Result<usize, Fault> {
        let mut complete = 0;
        while !bytes.is_empty() {
            let frame = tape.frame(self.message);
            let expected = &frame[self.received..];
            let n = expected.len().min(bytes.len());
            if bytes[..n] != expected[..n] {
                return Err(Fault::Content);
            }
            bytes = &bytes[n..];
            self.received += n;
            if self.received == frame.len() {
                self.advance(tape);
                complete += 1;
            }
        }
        Ok(complete)
    }

    fn take_frames(&mut self, tape: &Tape, mut bytes: &[u8], pongs: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut complete = 0;
        loop {
            match self.phase {
                Phase::Head => {
                    let Some(head) = self.take_head(&mut bytes, tape.compression().is_some())? else {
                        return Ok(complete);
                    };
                    self.phase = self.begin_frame(tape, &head)?;
                }
                Phase::Data { left, last } => {
                    let n = left.min(bytes.len());
                    if let Some(inflater) = &mut self.inflater {
                        if !inflater.take(&bytes[..n]) {
                            return Err(Fault::Length);
                        }
                    } else if bytes[..n] != tape.payload(self.message)[self.received..self.received + n] {
                        return Err(Fault::Content);
                    }
                    bytes = &bytes[n..];
                    self.received += n;
                    if n < left {
                        self.phase = Phase::Data { left: left - n, last };
                        return Ok(complete);
                    }
                    self.phase = Phase::Head;
                    if last {
                        if let Some(inflater) = &mut self.inflater {
                            let message = inflater.finish().ok_or(Fault::Deflate)?;
                            if message.len() != tape.size() {
                                return Err(Fault::Length);
                            }
                            if message != tape.payload(self.message) {
                                return Err(Fault::Content);
                            }
                        }
                        self.advance(tape);
                        complete += 1;
                    }
                }
                Phase::Control { left, opcode } => {
                    let n = left.min(bytes.len());
                    self.control.extend_from_slice(&bytes[..n]);
                    bytes = &bytes[n..];
                    if n < left {
                        self.phase = Phase::Control { left: left - n, opcode };
                        return Ok(complete);
                    }
                    self.phase = Phase::Head;
                    match opcode {
                        0x8 => {
                            let code =
                                self.control.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                            return Err(Fault::Closed(code));
                        }
                        0x9 => push_masked(pongs, 0xA, &self.control, [1, 2, 3, 4]),
                        _ => {}
                    }
                    self.control.clear();
                }
            }
        }
    }

    /// Takes a whole frame header from the front of `bytes`, or keeps what there is of it.
    #[inline]
    fn take_head(&mut self, bytes: &mut &[u8], deflate: bool) -> Result<Option<Head>, Fault> {
        if self.head_len == 0
            && let Some(head) = decode(bytes, deflate)?
        {
            *bytes = &bytes[head.size..];
            return Ok(Some(head));
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.head[self.head_len] = byte;
            self.head_len += 1;
            if let Some(head) = decode(&self.head[..self.head_len], deflate)? {
                self.head_len = 0;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn begin_frame(&mut self, tape: &Tape, head: &Head) -> Result<Phase, Fault> {
        let opcode = head.first & 0x0F;
        if opcode & 0x8 != 0 {
            return Ok(Phase::Control { left: head.len, opcode });
        }
        match (opcode, self.begun) {
            (0x0, false) | (0x1 | 0x2, true) => return Err(Fault::Sequence),
            (0x0, true) => {}
            (opcode, _) if opcode != tape.kind().opcode() => return Err(Fault::Opcode(opcode)),
            _ => self.begun = true,
        }
        let last = head.first & 0x80 != 0;
        if let Some(compression) = tape.compression() {
            // RFC 7692, section 6.1: RSV1 is set on the first frame of a message, and nowhere else.
            match (opcode, head.first & 0x40) {
                (0x0, 0) | (0x1 | 0x2, 0x40) => {}
                (0x0, _) => return Err(Fault::Sequence),
                _ => return Err(Fault::Uncompressed),
            }
            self.inflater.get_or_insert_with(|| Box::new(Inflater::new(compression, tape.size())));
            return Ok(Phase::Data { left: head.len, last });
        }
        let missing = tape.size() - self.received;
        if head.len > missing || (last && head.len < missing) {
            return Err(Fault::Length);
        }
        Ok(Phase::Data { left: head.len, last })
    }

    fn advance(&mut self, tape: &Tape) {
        self.received = 0;
        self.begun = false;
        self.message = if self.message + 1 == tape.messages() { 0 } else { self.message + 1 };
    }
}

/// A server's frame header, if all of it is there.
#[inline]
fn decode(bytes: &[u8], deflate: bool) -> Result<Option<Head>, Fault> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (first, second) = (*first, *second);
    if second & 0x80 != 0 {
        return Err(Fault::Masked);
    }
    let control_fits = first & 0x80 != 0 && second <= 125;
    // RSV1 of a data frame is permessage-deflate's.
    let reserved = if deflate && first & 0x08 == 0 { 0x30 } else { 0x70 };
    if first & reserved != 0
        || !matches!(first & 0x0F, 0x0..=0x2 | 0x8..=0xA)
        || (first & 0x08 != 0 && !control_fits)
    {
        return Err(Fault::Malformed([first, second]));
    }
    let (len, size, shortest) = match second {
        126 => match rest.first_chunk() {
            Some(len) => (u64::from(u16::from_be_bytes(*len)), 4, 126),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(len) => (u64::from_be_bytes(*len), 10, 0x1_0000),
            None => return Ok(None),
        },
        len => (u64::from(len), 2, 0),
    };
    if len < shortest {
        return Err(Fault::LongLength);
    }
    Ok(Some(Head { first, len: usize::try_from(len).map_err(|_| Fault::Length)?, size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Compression;
    use crate::workload::Kind;

    /// A server's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(len as u8),
            len @ 126..=0xFFFF => {
                out.push(126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    /// Feeds `bytes` whole and then byte by byte: both must give the same result.
    fn verdict(tape: &Tape, bytes: &[u8]) -> Result<(usize, Vec<u8>), Fault> {
        let run = |step: usize| {
            let (mut checker, mut pongs, mut complete) = (Checker::new(0), Vec::new(), 0);
            for part in bytes.chunks(step) {
                complete += checker.take(tape, part, &mut pongs)?;
            }
            Ok((complete, pongs))
        };
        let whole = run(bytes.len().max(1));
        assert_eq!(whole, run(1), "depends on how the bytes arrive");
        whole
    }

    #[test]
    fn the_right_answer_is_counted() {
        for size in [0, 5, 125, 126, 0x1_0000] {
            let tape = Tape::new(Kind::Binary, size, 1, false);
            let round: Vec<u8> = (0..tape.messages()).flat_map(|at| frame(0x82, tape.payload(at))).collect();
            let twice = [&round[..], &round[..]].concat();
            assert_eq!(verdict(&tape, &twice), Ok((2 * tape.messages(), Vec::new())), "size {size}");
        }
    }

    #[test]
    fn fragments_pings_and_pongs_are_allowed() {
        let tape = Tape::new(Kind::Text, 300, 1, false);
        let payload = tape.payload(0);
        let bytes = [
            frame(0x01, &payload[..7]),
            frame(0x89, b"hi"),
            frame(0x00, b""),
            frame(0x8A, b"unasked"),
            frame(0x80, &payload[7..]),
        ]
        .concat();
        let mut pong = Vec::new();
        push_masked(&mut pong, 0xA, b"hi", [1, 2, 3, 4]);
        assert_eq!(verdict(&tape, &bytes), Ok((1, pong)));
    }

    #[test]
    fn every_other_answer_is_a_fault() {
        let tape = Tape::new(Kind::Binary, 8, 1, false);
        let good = tape.payload(0);
        let mut flipped = good.to_vec();
        flipped[7] ^= 1;
        let long = [&[0x82, 126, 0, 8], good].concat();
        let longer = [&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 8], good].concat();
        for (bytes, fault) in [
            (frame(0x82, &flipped), Fault::Content),
            (frame(0x82, tape.payload(1)), Fault::Content),
            (frame(0x82, &good[..7]), Fault::Length),
            (frame(0x82, &[good, b"x"].concat()), Fault::Length),
            ([frame(0x02, good), frame(0x80, b"x")].concat(), Fault::Length),
            (frame(0x81, good), Fault::Opcode(1)),
            (frame(0x80, good), Fault::Sequence),
            ([frame(0x02, &good[..4]), frame(0x82, &good[4..])].concat(), Fault::Sequence),
            (frame(0xC2, good), Fault::Malformed([0xC2, 8])),
            (frame(0x83, good), Fault::Malformed([0x83, 8])),
            (frame(0x09, b""), Fault::Malformed([0x09, 0])),
            (vec![0x89, 126, 0, 126], Fault::Malformed([0x89, 126])),
            (vec![0x82, 0x88, 0, 0, 0, 0], Fault::Masked),
            (long, Fault::LongLength),
            (longer, Fault::LongLength),
            (frame(0x88, &1009_u16.to_be_bytes()), Fault::Closed(1009)),
            (frame(0x88, b""), Fault::Closed(1005)),
        ] {
            assert_eq!(verdict(&tape, &bytes), Err(fault), "{bytes:02x?}");
        }
    }

    /// Compressed messages, in one stream that keeps its context, in one that does not, and in fragments.
    #[test]
    fn compressed_answers_are_inflated() {
        for takeover in [true, false] {
            let compression = Compression { level: 6, window_bits: 15, takeover };
            let tape = Tape::compressed(Kind::Json, 500, 1, false, Some(compression));
            let (first, second) =
                (compression.compress(tape.payload(0)), compression.compress(tape.payload(1)));
            let bytes = [
                frame(0x41, &first[..9]),
                frame(0x89, b"hi"),
                frame(0x80, &first[9..]),
                frame(0xC1, &second),
            ]
            .concat();
            assert_eq!(verdict(&tape, &bytes).map(|(complete, _)| complete), Ok(2));
            let long = compression.compress(&[tape.payload(0), b"x"].concat());
            for (bytes, fault) in [
                (frame(0xC1, &second), Fault::Content),
                (frame(0xC1, &long), Fault::Length),
                (frame(0xC1, &compression.compress(&tape.payload(0)[1..])), Fault::Length),
                (frame(0xC1, b"\xFF\xFF"), Fault::Deflate),
                (frame(0x81, tape.payload(0)), Fault::Uncompressed),
                (frame(0xC2, &first), Fault::Opcode(2)),
                ([frame(0x41, &first[..9]), frame(0xC0, &first[9..])].concat(), Fault::Sequence),
                (frame(0xC9, b""), Fault::Malformed([0xC9, 0])),
                (frame(0xE1, &first[..5]), Fault::Malformed([0xE1, 5])),
            ] {
                assert_eq!(verdict(&tape, &bytes), Err(fault), "{bytes:02x?}");
            }
        }
    }

    #[test]
    fn raw_bytes_come_back_as_they_went() {
        let tape = Tape::new(Kind::Binary, 32, 1, true);
        let mut bytes = [tape.frames(), tape.frames()].concat();
        assert_eq!(verdict(&tape, &bytes), Ok((2 * tape.messages(), Vec::new())));
        *bytes.last_mut().expect("not empty") ^= 1;
        assert_eq!(verdict(&tape, &bytes), Err(Fault::Content));
    }
}
