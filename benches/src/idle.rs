//! Memory that open connections hold in a server while silent, before and after their first messages.
//!
//! It is resident memory, read from outside: buffers that were touched, and whatever the allocator keeps of freed ones.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use crate::check::Checker;
use crate::load::{LoadError, shake_hands};
use crate::report::NotAReport;
use crate::tape::Tape;
use crate::workload::Kind;

/// Payload of the smaller message, in bytes.
pub const SMALL: usize = 32;
/// Payload of the larger one.
pub const LARGE: usize = 16 << 10;

/// Messages in flight at once.
const AT_ONCE: usize = 64;

/// Silence before memory is read, for servers that give some of it back.
const SILENCE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// Maximum time for an answer.
    pub patience: Duration,
    /// The server's process.
    pub server: u32,
}

/// Resident memory of a server, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holds {
    /// Of the process, before any connection.
    pub base: f64,
    /// Per connection, after its handshake.
    pub open: f64,
    /// Per connection, after a message of [`SMALL`] bytes on each.
    pub small: f64,
    /// Per connection, after a message of [`LARGE`] bytes on each.
    pub large: f64,
}

impl fmt::Display for Holds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, open, small, large } = self;
        write!(out, "resident_base={base:.0} open={open:.1} after_small={small:.1} after_large={large:.1}")
    }
}

impl FromStr for Holds {
    type Err = NotAReport;

    fn from_str(line: &str) -> Result<Self, NotAReport> {
        let word = |name: &str| crate::report::word(line, name)?.parse().map_err(|_| NotAReport);
        Ok(Self {
            base: word("resident_base")?,
            open: word("open")?,
            small: word("after_small")?,
            large: word("after_large")?,
        })
    }
}

/// Opens connections, sends messages on each, and reads the server's memory in between.
///
/// # Errors
/// When the server does not answer correctly, or its memory is not known: only Linux reports it.
pub fn run(plan: &Plan) -> Result<Holds, LoadError> {
    if plan.connections == 0 {
        return Err(LoadError::NothingToDo);
    }
    // What the process allocates once, at its first connection, does not belong to the connections.
    let tapes = [SMALL, LARGE].map(|size| Tape::new(Kind::Binary, size, 1, false));
    let mut first = [open(plan)?];
    for tape in &tapes {
        echo(&mut first, tape)?;
    }
    drop(first);
    sleep(SILENCE);
    let base = resident(plan.server)?;
    let each = |now: f64| (now - base) / plan.connections as f64;

    let mut streams = (0..plan.connections).map(|_| open(plan)).collect::<Result<Vec<_>, _>>()?;
    sleep(SILENCE);
    let open = each(resident(plan.server)?);
    let mut after = [0.0; 2];
    for (tape, after) in tapes.iter().zip(&mut after) {
        for streams in streams.chunks_mut(AT_ONCE) {
            echo(streams, tape)?;
        }
        sleep(SILENCE);
        *after = each(resident(plan.server)?);
    }
    Ok(Holds { base, open, small: after[0], large: after[1] })
}

fn open(plan: &Plan) -> Result<TcpStream, LoadError> {
    let mut stream = TcpStream::connect(plan.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(plan.patience))?;
    shake_hands(&mut stream, None)?;
    Ok(stream)
}

/// Has a message echoed on each connection, every byte checked.
fn echo(streams: &mut [TcpStream], tape: &Tape) -> Result<(), LoadError> {
    let message = |index: usize| index % tape.messages();
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.write_all(tape.frame(message(index)))?;
    }
    let mut buffer = [0; 32 << 10];
    for (index, stream) in streams.iter_mut().enumerate() {
        let (mut checker, mut pongs) = (Checker::new(message(index)), Vec::new());
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if checker.take(tape, &buffer[..read], &mut pongs)? > 0 {
                break;
            }
        }
        stream.write_all(&pongs)?;
    }
    Ok(())
}

/// Resident memory of a process in bytes. The sum over its mappings: the quick figure that Linux also keeps is off by some
/// pages per core.
fn resident(pid: u32) -> io::Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Rss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_what_it_came_from() {
        let holds = Holds { base: 2_097_152.0, open: 80.5, small: 96.0, large: 16_480.5 };
        assert_eq!(holds.to_string().parse(), Ok(holds));
        assert_eq!("open=1".parse::<Holds>(), Err(NotAReport));
    }
}
