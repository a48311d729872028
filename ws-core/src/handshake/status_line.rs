//! The status line as it arrives: `HTTP-version SP status-code SP [ reason-phrase ] CRLF` (RFC 9112, section 4).

use super::error::{HandshakeError, HeadFault};
use super::grammar::{Span, skip_text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `HTTP/1.1 101 `, thirteen bytes.
    Fixed,
    Phrase,
    Lf,
}

/// A cursor over the status line, and what it found.
#[derive(Clone, Debug)]
pub(super) struct StatusLine {
    at: usize,
    start: usize,
    state: State,
    major: u8,
    pub(super) minor: u8,
    pub(super) status: u16,
    pub(super) phrase: Span,
}

/// Where the phrase begins.
const FIXED: usize = 13;

impl StatusLine {
    pub(super) const fn new(start: usize) -> Self {
        Self { at: start, start, state: State::Fixed, major: 0, minor: 0, status: 0, phrase: Span::NONE }
    }

    /// Where the line begins.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// Walks on over `input`, which begins at the same byte at each call; returns where the line ends, or `None` for more.
    pub(super) fn walk(&mut self, input: &[u8], max_line: usize) -> Result<Option<usize>, HandshakeError> {
        loop {
            let Some(&byte) = input.get(self.at) else { return Ok(None) };
            match self.state {
                State::Fixed => {
                    self.fixed(byte)?;
                    self.at += 1;
                }
                State::Phrase => {
                    self.at = skip_text(input, self.at);
                    if self.at - self.start > max_line {
                        return Err(HandshakeError::Head(HeadFault::LineTooLong));
                    }
                    match input.get(self.at) {
                        None => return Ok(None),
                        Some(b'\r') => {}
                        Some(b'\n') => return Err(HandshakeError::Head(HeadFault::BareLf)),
                        Some(_) => return Err(HandshakeError::StatusLine),
                    }
                    self.phrase = Span::new(self.start + FIXED, self.at);
                    self.at += 1;
                    self.state = State::Lf;
                }
                State::Lf => {
                    if byte != b'\n' {
                        return Err(HandshakeError::Head(HeadFault::BareCr));
                    }
                    if self.major != 1 {
                        return Err(HandshakeError::HttpVersion);
                    }
                    return Ok(Some(self.at + 1));
                }
            }
        }
    }

    fn fixed(&mut self, byte: u8) -> Result<(), HandshakeError> {
        match (self.at - self.start, byte) {
            (at @ 0..=4, byte) if byte == b"HTTP/"[at] => {}
            (5, b'0'..=b'9') => self.major = byte - b'0',
            (6, b'.') | (8, b' ') => {}
            (7, b'0'..=b'9') => self.minor = byte - b'0',
            (9, b'1'..=b'9') | (10 | 11, b'0'..=b'9') => {
                self.status = self.status * 10 + u16::from(byte - b'0');
            }
            // "A server MUST send the space that separates the status-code from the reason-phrase even when the
            // reason-phrase is absent".
            (12, b' ') => self.state = State::Phrase,
            _ => return Err(HandshakeError::StatusLine),
        }
        Ok(())
    }
}
