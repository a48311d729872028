//! The request line as it arrives: `method SP request-target SP HTTP-version CRLF` (RFC 9112, section 3), strictly.

use super::error::{HeadFault, Rejection};
use super::grammar::{Span, skip_tchars};
use super::target::Target;
use crate::config::HeadLimits;

/// Longer than any registered method: "A server that receives a method longer than any that it implements SHOULD respond
/// with a 501".
const MAX_METHOD: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first byte, where one empty line is forgiven.
    Blank,
    BlankLf,
    Method,
    Target,
    Version,
    Lf,
}

/// A cursor over the request line, and what it found.
#[derive(Clone, Debug)]
pub(super) struct RequestLine {
    at: usize,
    start: usize,
    state: State,
    pub(super) method: Span,
    pub(super) target: Span,
    major: u8,
    /// Of `HTTP/1.x`.
    pub(super) minor: u8,
}

impl RequestLine {
    pub(super) const fn new() -> Self {
        let none = Span::NONE;
        Self { at: 0, start: 0, state: State::Blank, method: none, target: none, major: 0, minor: 0 }
    }

    /// What it means that the head is too long already here.
    pub(super) fn too_long(&self) -> Rejection {
        match self.state {
            State::Target => Rejection::TargetTooLong,
            _ => Rejection::Head(HeadFault::HeadTooLong),
        }
    }

    /// Walks on over `input`, which begins at the same byte at each call; returns where the line ends, or `None` for more.
    #[inline]
    pub(super) fn walk(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Rejection> {
        loop {
            let Some(&byte) = input.get(self.at) else { return Ok(None) };
            match self.state {
                State::Blank => {
                    if byte == b'\r' {
                        self.at += 1;
                        self.state = State::BlankLf;
                    } else {
                        self.state = State::Method;
                    }
                }
                State::BlankLf => {
                    // RFC 9112, 2.2: "a server […] SHOULD ignore at least one empty line (CRLF) received prior to the
                    // request-line". One, here.
                    if byte != b'\n' {
                        return Err(Rejection::Head(HeadFault::BareCr));
                    }
                    self.at += 1;
                    self.start = self.at;
                    self.state = State::Method;
                }
                State::Method => {
                    self.at = skip_tchars(input, self.at);
                    if self.at - self.start > MAX_METHOD {
                        return Err(Rejection::MethodTooLong);
                    }
                    match input.get(self.at) {
                        None => return Ok(None),
                        Some(b' ') if self.at > self.start => {}
                        Some(_) => return Err(Rejection::RequestLine),
                    }
                    self.method = Span::new(self.start, self.at);
                    self.at += 1;
                    self.start = self.at;
                    self.state = State::Target;
                }
                State::Target => {
                    self.at = skip_target(input, self.at);
                    if self.at - self.start > limits.max_target {
                        return Err(Rejection::TargetTooLong);
                    }
                    match input.get(self.at) {
                        None => return Ok(None),
                        Some(b' ') if self.at > self.start => {}
                        Some(_) => return Err(Rejection::RequestLine),
                    }
                    self.target = Span::new(self.start, self.at);
                    if Target::parse(self.method.of(input), self.target.of(input)).is_none() {
                        return Err(Rejection::Target);
                    }
                    self.at += 1;
                    self.start = self.at;
                    self.state = State::Version;
                }
                State::Version => {
                    self.version(byte)?;
                    self.at += 1;
                }
                State::Lf => {
                    if byte != b'\n' {
                        return Err(Rejection::Head(HeadFault::BareCr));
                    }
                    if self.major != 1 {
                        return Err(Rejection::HttpVersion);
                    }
                    return Ok(Some(self.at + 1));
                }
            }
        }
    }

    /// One byte of `"HTTP/" DIGIT "." DIGIT CR`.
    fn version(&mut self, byte: u8) -> Result<(), Rejection> {
        match (self.at - self.start, byte) {
            (at @ 0..=4, byte) if byte == b"HTTP/"[at] => {}
            (5, b'0'..=b'9') => self.major = byte - b'0',
            (6, b'.') => {}
            (7, b'0'..=b'9') => self.minor = byte - b'0',
            (8, b'\r') => self.state = State::Lf,
            (8, b'\n') => return Err(Rejection::Head(HeadFault::BareLf)),
            _ => return Err(Rejection::RequestLine),
        }
        Ok(())
    }
}

/// Where the run of target bytes that starts at `from` ends.
///
/// Visible ASCII without `#`, which no target may have, and bytes above: browsers send some that RFC 3986 would have
/// percent-encoded, and what they mean is the application's affair.
fn skip_target(bytes: &[u8], from: usize) -> usize {
    let run = bytes.get(from..).unwrap_or_default();
    let is_target = |byte: u8| byte > b' ' && byte != b'#' && byte != 0x7F;
    from + run.iter().position(|&byte| !is_target(byte)).unwrap_or(run.len())
}

#[cfg(test)]
mod tests {
    use super::super::grammar::is_tchar;
    use super::*;

    #[test]
    fn methods_are_tokens() {
        for byte in 0..=255u8 {
            let line = [b'G', byte, b'T', b' ', b'/'];
            let walked = RequestLine::new().walk(&line, &HeadLimits::new());
            // A space ends the method, and leaves a target of "T".
            assert_eq!(walked.is_ok(), is_tchar(byte), "{byte:#x}");
        }
    }
}
