//! A model receiver, written for clarity alone: a byte at a time, everything copied, nothing fast.
//!
//! It follows RFC 6455, sections 5 to 8, literally, and shares no code with what it is compared to. If one byte breaks
//! several rules, it does not say which comes first.

use core::str::from_utf8;

/// What a receiver reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason, and whether a message was interrupted.
    Close(Option<(u16, String)>, bool),
}

/// The limits that concern a message.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub frame: u64,
    pub message: u64,
    pub fragments: u32,
    pub empty_fragments: u32,
}

#[derive(Debug, Default)]
struct Open {
    is_text: bool,
    bytes: Vec<u8>,
    fragments: u32,
    empty_fragments: u32,
}

#[derive(Debug)]
pub struct Model {
    /// Whether frames must be masked: those that a server receives.
    masked: bool,
    bounds: Bounds,
    /// The current frame: the bytes of its header, then those of its payload, unmasked.
    head: Vec<u8>,
    payload: Vec<u8>,
    message: Option<Open>,
    /// The bytes so far of an incomplete character.
    character: Vec<u8>,
    pub seen: Vec<Seen>,
    /// The codes of the rules that the last byte broke; empty until a byte breaks one.
    pub faults: Vec<u16>,
    closed: bool,
}

impl Model {
    pub fn new(masked: bool, bounds: Bounds) -> Self {
        let [head, payload, character] = [const { Vec::new() }; 3];
        let (seen, faults) = (Vec::new(), Vec::new());
        Self { masked, bounds, head, payload, message: None, character, seen, faults, closed: false }
    }

    /// Whether nothing more counts: after a close frame or a fault.
    pub fn is_over(&self) -> bool {
        self.closed || !self.faults.is_empty()
    }

    /// Whether the last byte ended a frame, and no message is open.
    pub fn is_between_messages(&self) -> bool {
        self.head.is_empty() && self.message.is_none()
    }

    pub fn push(&mut self, byte: u8) {
        if self.is_over() {
            return;
        }
        if self.head_is_whole() {
            let key = if self.masked { &self.head[self.head.len() - 4..] } else { &[0; 4] };
            self.payload.push(byte ^ key[self.payload.len() % 4]);
            self.check_payload();
        } else {
            self.head.push(byte);
            self.check_head();
        }
        if !self.is_over() && self.head_is_whole() && self.payload.len() as u64 == self.len() {
            self.finish_frame();
        }
    }

    fn opcode(&self) -> u8 {
        self.head[0] & 0x0F
    }

    fn fin(&self) -> bool {
        self.head[0] & 0x80 != 0
    }

    fn is_control(&self) -> bool {
        self.opcode() >= 8
    }

    fn len7(&self) -> u8 {
        self.head.get(1).map_or(0, |byte| byte & 0x7F)
    }

    /// Number of bytes in the long form of the length.
    fn width(&self) -> usize {
        [2, 8].get(usize::from(self.len7()).wrapping_sub(126)).copied().unwrap_or(0)
    }

    /// The payload length if each of its missing bytes were `missing`.
    fn len_with(&self, missing: u8) -> u64 {
        match self.width() {
            0 => u64::from(self.len7()),
            width => (2..2 + width)
                .fold(0, |len, at| len << 8 | u64::from(self.head.get(at).copied().unwrap_or(missing))),
        }
    }

    fn len(&self) -> u64 {
        self.len_with(0)
    }

    fn head_is_whole(&self) -> bool {
        self.head.len() >= 2 && self.head.len() == 2 + self.width() + if self.masked { 4 } else { 0 }
    }

    /// The rules that the newest byte of the header may break.
    fn check_head(&mut self) {
        let mut faults = Vec::new();
        let mut forbid = |broken: bool, code| faults.extend(broken.then_some(code));
        let continues = self.opcode() == 0;
        let before = self.message.as_ref();
        match self.head.len() {
            1 => {
                forbid(self.head[0] & 0x70 != 0, 1002);
                forbid(matches!(self.opcode(), 3..=7 | 11..=15), 1002);
                forbid(self.is_control() && !self.fin(), 1002);
                forbid(continues && before.is_none(), 1002);
                forbid(matches!(self.opcode(), 1 | 2) && before.is_some(), 1002);
                forbid(continues && before.is_some_and(|open| open.fragments >= self.bounds.fragments), 1008);
            }
            at => {
                forbid(at == 2 && (self.head[1] & 0x80 != 0) != self.masked, 1002);
                forbid(self.is_control() && self.len7() > 125, 1002);
                forbid(self.opcode() == 8 && self.len7() == 1, 1002);
                let (least, most) = (self.len_with(0), self.len_with(0xFF));
                forbid(self.len7() == 127 && least >= 1 << 63, 1002);
                forbid(self.width() == 2 && most < 126 || self.width() == 8 && most < 0x1_0000, 1002);
                if !self.is_control() {
                    let total = before.map_or(0, |open| open.bytes.len() as u64).saturating_add(least);
                    forbid(least > self.bounds.frame || total > self.bounds.message, 1009);
                    let is_fragment = before.is_some() || !self.fin();
                    let empty = before.map_or(0, |open| open.empty_fragments);
                    forbid(is_fragment && self.len7() == 0 && empty >= self.bounds.empty_fragments, 1008);
                }
            }
        }
        self.faults = faults;
    }

    /// The rules that the newest byte of the payload may break.
    fn check_payload(&mut self) {
        let is_text = match (self.opcode(), &self.message) {
            (8, _) => self.payload.len() > 2,
            (0, Some(open)) => open.is_text,
            (opcode, _) => opcode == 1,
        };
        if is_text {
            // A close frame between two fragments has its own text, and no other text comes after it.
            if self.payload.len() == 1 && self.opcode() == 1 || self.payload.len() == 3 && self.opcode() == 8
            {
                self.character.clear();
            }
            self.character.extend(self.payload.last());
            match from_utf8(&self.character) {
                Ok(_) => self.character.clear(),
                Err(error) if error.error_len().is_some() => self.faults.push(1007),
                Err(_) => {}
            }
        }
        if self.opcode() == 8 && self.payload.len() == 2 {
            let code = u16::from_be_bytes([self.payload[0], self.payload[1]]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                self.faults.push(1002);
            }
        }
    }

    fn finish_frame(&mut self) {
        let payload = core::mem::take(&mut self.payload);
        let (opcode, fin) = (self.opcode(), self.fin());
        self.head.clear();
        match opcode {
            8 => match payload.split_first_chunk() {
                None => self.close(None),
                Some((code, reason)) => match String::from_utf8(reason.to_vec()) {
                    Ok(reason) => self.close(Some((u16::from_be_bytes(*code), reason))),
                    Err(_) => self.faults.push(1007),
                },
            },
            9 => self.seen.push(Seen::Ping(payload)),
            10 => self.seen.push(Seen::Pong(payload)),
            _ => {
                let mut open =
                    self.message.take().unwrap_or(Open { is_text: opcode == 1, ..Open::default() });
                open.fragments += 1;
                open.empty_fragments += u32::from(payload.is_empty());
                open.bytes.extend(payload);
                if !fin {
                    self.message = Some(open);
                } else if !open.is_text {
                    self.seen.push(Seen::Binary(open.bytes));
                } else if let Ok(text) = String::from_utf8(open.bytes) {
                    self.seen.push(Seen::Text(text));
                } else {
                    self.faults.push(1007);
                }
            }
        }
    }

    fn close(&mut self, frame: Option<(u16, String)>) {
        self.seen.push(Seen::Close(frame, self.message.is_some()));
        self.closed = true;
    }
}
