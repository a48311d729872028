//! Frame headers: pure decoding and encoding of 2 to 14 bytes (RFC 6455, section 5.2).
//!
//! ```text
//!  0               1               2               3
//!  7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M|   length    |  length in 16 bits, if 126,   |
//! |I|S|S|S|  (4)  |A|     (7)     |  or in 64 bits, if 127        |
//! |N|V|V|V|       |S|             |                               |
//! | |1|2|3|       |K|             |                               |
//! +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//! |                               |  masking key, if MASK is set  |
//! +-------------------------------+-------------------------------+
//! |       the rest of the key     |           payload ...         |
//! +-------------------------------+-------------------------------+
//! ```
//!
//! The rules that one frame obeys by itself are checked here, at the byte that decides. Those that depend on the
//! role, the extensions or the frames before it are the receiver's.

use crate::error::Violation;

/// The one of the three reserved bits that marks a compressed message (RFC 7692, section 6).
pub(crate) const RSV1: u8 = 0b100;

/// The longest header: 2 bytes, 8 of length, 4 of key.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;

/// What a frame is (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next part of a message.
    Continuation = 0x0,
    /// A text message, or its first part.
    Text = 0x1,
    /// A binary message, or its first part.
    Binary = 0x2,
    /// The last frame of an endpoint.
    Close = 0x8,
    /// A question for a sign of life.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of the low four bits of a frame's first byte.
    pub const fn new(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping or pong.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The first byte of a frame: FIN, the reserved bits, the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// RSV1, RSV2 and RSV3 as bits 2, 1 and 0.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
}

impl First {
    /// Decodes a frame's first byte.
    ///
    /// # Errors
    /// [`Violation::ReservedOpcode`] and [`Violation::FragmentedControl`].
    #[inline]
    pub const fn decode(byte: u8) -> Result<Self, Violation> {
        let Some(opcode) = Opcode::new(byte & 0x0F) else { return Err(Violation::ReservedOpcode) };
        let fin = byte & 0x80 != 0;
        // 5.5: control frames "MUST NOT be fragmented".
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        Ok(Self { fin, rsv: byte >> 4 & 0x7, opcode })
    }
}

/// The second byte of a frame: MASK and the short length, which tell how long the header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Whether a masking key follows the length.
    pub masked: bool,
    /// The 7-bit length: the length itself up to 125, otherwise the sign of a longer form.
    pub len7: u8,
}

impl Second {
    /// Decodes a frame's second byte, given the opcode of the first.
    ///
    /// # Errors
    /// [`Violation::ControlTooLong`].
    #[inline]
    pub const fn decode(opcode: Opcode, byte: u8) -> Result<Self, Violation> {
        let len7 = byte & 0x7F;
        // 5.5: control frames "MUST have a payload length of 125 bytes or less".
        if opcode.is_control() && len7 as usize > MAX_CONTROL {
            return Err(Violation::ControlTooLong);
        }
        Ok(Self { masked: byte & 0x80 != 0, len7 })
    }

    /// Where the length ends: 2, 4 or 10 bytes from the start of the frame.
    #[inline]
    pub const fn len_end(self) -> usize {
        match self.len7 {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    /// Where the header ends: `len_end`, and 4 bytes more for the key.
    #[inline]
    pub const fn header_len(self) -> usize {
        self.len_end() + if self.masked { 4 } else { 0 }
    }

    /// The smallest and the largest payload that `frame`, which starts at its first byte, may still announce.
    ///
    /// The two are equal as soon as the length is there, and close in on each other before.
    ///
    /// # Errors
    /// [`Violation::LengthNotMinimal`] and [`Violation::LengthTopBit`], at the byte that decides.
    #[inline]
    pub fn len_range(self, frame: &[u8]) -> Result<(u64, u64), Violation> {
        let (width, shorter) = match self.len7 {
            126 => (2, 125),
            127 => (8, 0xFFFF),
            len => return Ok((u64::from(len), u64::from(len))),
        };
        // What has not arrived is zeros at the least and ones at the most.
        let (mut least, mut most) = ([0; 8], [0; 8]);
        most[8 - width..].fill(0xFF);
        for (i, &byte) in frame.iter().skip(2).take(width).enumerate() {
            least[8 - width + i] = byte;
            most[8 - width + i] = byte;
        }
        let (least, most) = (u64::from_be_bytes(least), u64::from_be_bytes(most));
        // 5.2: "the most significant bit MUST be 0".
        if least >> 63 != 0 {
            return Err(Violation::LengthTopBit);
        }
        // 5.2: "the minimal number of bytes MUST be used to encode the length".
        if most <= shorter {
            return Err(Violation::LengthNotMinimal);
        }
        Ok((least, most))
    }
}

/// A whole frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// RSV1, RSV2 and RSV3 as bits 2, 1 and 0.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes; at most 2^63 − 1.
    pub len: u64,
}

impl Header {
    /// Decodes the header at the start of `frame`, and its length; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The first rule broken by the bytes that are there; no later byte can undo it.
    pub fn decode(frame: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&byte) = frame.first() else { return Ok(None) };
        let First { fin, rsv, opcode } = First::decode(byte)?;
        let Some(&byte) = frame.get(1) else { return Ok(None) };
        let second = Second::decode(opcode, byte)?;
        let (len, most) = second.len_range(frame)?;
        if len != most {
            return Ok(None);
        }
        let mask = if second.masked {
            let Some(key) = frame.get(second.len_end()..).and_then(|rest| rest.first_chunk()) else {
                return Ok(None);
            };
            Some(*key)
        } else {
            None
        };
        Ok(Some((Self { fin, rsv, opcode, mask, len }, second.header_len())))
    }

    /// How many bytes [`Header::encode`] writes: 2 to 14.
    #[inline]
    pub const fn encoded_len(&self) -> usize {
        Self::len_for(self.len, self.mask.is_some())
    }

    /// The length of a header for `len` bytes of payload.
    #[inline]
    pub const fn len_for(len: u64, masked: bool) -> usize {
        let key = if masked { 4 } else { 0 };
        key + match len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        }
    }

    /// Writes the header, its length always in the shortest form, and returns how many bytes it took.
    #[inline]
    pub fn encode(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        let masked = self.mask.is_some();
        out[0] = u8::from(self.fin) << 7 | (self.rsv & 0x7) << 4 | self.opcode as u8;
        let bit = u8::from(masked) << 7;
        let at = match self.len {
            len @ 0..=125 => {
                out[1] = bit | len as u8;
                2
            }
            len @ 126..=0xFFFF => {
                out[1] = bit | 126;
                out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                out[1] = bit | 127;
                out[2..10].copy_from_slice(&len.to_be_bytes());
                10
            }
        };
        match self.mask {
            Some(key) => {
                out[at..at + 4].copy_from_slice(&key);
                at + 4
            }
            None => at,
        }
    }
}
