//! The walk over field lines as they arrive: strict, resumable at any byte, each byte looked at once.
//!
//! It refuses what lets two parsers disagree about one message (RFC 9112, sections 2.2, 5.1, 5.2 and 11.2): line ends
//! other than CRLF, folded lines, white space before the colon, control bytes. A limit strikes at the byte that passes it.

use super::error::HeadFault;
use super::grammar::{Span, is_blank, is_tchar, skip_tchars, skip_text};
use crate::config::HeadLimits;

/// What the walk came to.
pub(super) enum Step {
    /// The end of what has arrived.
    More,
    /// A field, whose line is complete.
    Field(Field),
    /// The blank line: the head is complete.
    End,
}

/// Where a field stands in the input.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) line: usize,
    pub(super) name: Span,
    pub(super) value: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first byte of a line.
    Line,
    Name,
    Value,
    /// The LF of a field line.
    Lf,
    /// The LF of the blank line.
    EndLf,
}

/// A cursor over field lines.
#[derive(Clone, Debug)]
pub(super) struct FieldLines {
    /// Bytes before this one have been looked at.
    at: usize,
    line: usize,
    colon: usize,
    fields: usize,
    state: State,
    #[cfg(test)]
    examined: usize,
}

impl FieldLines {
    /// A walk that begins at `at`, behind the start line.
    pub(super) const fn new(at: usize) -> Self {
        Self {
            at,
            line: at,
            colon: at,
            fields: 0,
            state: State::Line,
            #[cfg(test)]
            examined: 0,
        }
    }

    /// How far the walk is: at [`Step::End`], the length of the head.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    #[cfg(test)]
    pub(super) const fn examined(&self) -> usize {
        self.examined
    }

    /// Walks on over `input`, which begins at the same byte at each call.
    #[inline]
    pub(super) fn next(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Step, HeadFault> {
        #[cfg(test)]
        let before = self.at;
        let step = self.walk(input, limits);
        // The byte at which a run stops is looked at again when the state changes or more bytes come.
        #[cfg(test)]
        {
            self.examined += self.at - before + 1;
        }
        step
    }

    // The states in the order of a line: a line that is all there passes through without going back to a branch.
    #[inline]
    fn walk(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Step, HeadFault> {
        if self.state == State::Line {
            let Some(&byte) = input.get(self.at) else { return Ok(Step::More) };
            if byte == b'\r' {
                self.at += 1;
                self.state = State::EndLf;
            } else {
                self.check_first(byte, limits)?;
                self.line = self.at;
                self.fields += 1;
                self.state = State::Name;
            }
        }
        if self.state == State::Name {
            self.at = skip_tchars(input, self.at);
            self.check_line(limits)?;
            match input.get(self.at) {
                None => return Ok(Step::More),
                Some(b':') => {}
                // RFC 9112, 5.1: "A server MUST reject […] any received request message that contains whitespace between a
                // header field name and colon".
                Some(b' ' | b'\t') => return Err(HeadFault::SpaceBeforeColon),
                Some(_) => return Err(HeadFault::FieldName),
            }
            self.colon = self.at;
            self.at += 1;
            self.check_line(limits)?;
            self.state = State::Value;
        }
        if self.state == State::Value {
            self.at = skip_text(input, self.at);
            self.check_line(limits)?;
            match input.get(self.at) {
                None => return Ok(Step::More),
                Some(b'\r') => {}
                Some(b'\n') => return Err(HeadFault::BareLf),
                Some(_) => return Err(HeadFault::Control),
            }
            self.at += 1;
            self.state = State::Lf;
        }
        match input.get(self.at) {
            None => return Ok(Step::More),
            Some(b'\n') => self.at += 1,
            Some(_) => return Err(HeadFault::BareCr),
        }
        if self.state == State::EndLf {
            return Ok(Step::End);
        }
        self.state = State::Line;
        let name = Span::new(self.line, self.colon);
        let value = trimmed(input, self.colon + 1, self.at - 2);
        Ok(Step::Field(Field { line: self.line, name, value }))
    }

    fn check_first(&self, byte: u8, limits: &HeadLimits) -> Result<(), HeadFault> {
        match byte {
            // RFC 9112, 5.2: "A server that receives an obs-fold […] MUST either reject the message […]"; and 2.2: "A
            // recipient that receives whitespace between the start-line and the first header field MUST either reject".
            b' ' | b'\t' => Err(HeadFault::ObsFold),
            b'\n' => Err(HeadFault::BareLf),
            byte if !is_tchar(byte) => Err(HeadFault::FieldName),
            // One too many is refused, not dropped: what follows might be the field that matters.
            _ if self.fields >= limits.max_fields.min(HeadLimits::MOST_FIELDS) => {
                Err(HeadFault::TooManyFields)
            }
            _ => Ok(()),
        }
    }

    fn check_line(&self, limits: &HeadLimits) -> Result<(), HeadFault> {
        if self.at - self.line > limits.max_line { Err(HeadFault::LineTooLong) } else { Ok(()) }
    }
}

/// The piece without optional white space at its ends.
#[inline]
fn trimmed(input: &[u8], mut start: usize, mut end: usize) -> Span {
    while start < end && input.get(start).is_some_and(|&byte| is_blank(byte)) {
        start += 1;
    }
    while start < end && input.get(end - 1).is_some_and(|&byte| is_blank(byte)) {
        end -= 1;
    }
    Span::new(start, end)
}

/// The part of the input that may be a head: what lies behind the limit is not even looked at.
pub(super) fn window<'b>(input: &'b [u8], limits: &HeadLimits) -> &'b [u8] {
    let most = limits.max_bytes.min(u32::MAX as usize);
    input.get(..most).unwrap_or(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks over `input` in reads of `by` bytes; returns the bytes looked at.
    fn examined(input: &[u8], by: usize) -> usize {
        let limits = HeadLimits::new();
        let mut lines = FieldLines::new(0);
        for end in (by..input.len()).step_by(by).chain([input.len()]) {
            loop {
                match lines.next(&input[..end], &limits) {
                    Ok(Step::Field(_)) => {}
                    Ok(Step::More) => break,
                    Ok(Step::End) => return lines.examined(),
                    Err(fault) => panic!("{fault}"),
                }
            }
        }
        panic!("the head does not end");
    }

    /// HS-30: parsing does not rescan: a head of 16 KiB costs at most two looks a byte, fed at once or byte by byte.
    #[test]
    fn hs_30_examined_bytes_grow_linearly() {
        for line in [8000, 4000, 160] {
            let mut head = [b'v'; 16_000];
            for field in head.chunks_mut(line) {
                let end = field.len() - 2;
                field[..2].copy_from_slice(b"n:");
                field[end..].copy_from_slice(b"\r\n");
            }
            let end = head.len() - 4;
            head[end..].copy_from_slice(b"\r\n\r\n");
            for by in [1, 2, 7, 1000, head.len()] {
                let examined = examined(&head, by);
                assert!(examined >= head.len(), "every byte is looked at");
                assert!(
                    examined <= 2 * head.len() + 200,
                    "{examined} looks at {} bytes, by {by}",
                    head.len()
                );
            }
        }
    }
}
