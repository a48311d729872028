//! Transports that are counted or held up.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use ws_mio::Stream;

use super::Registered;

/// A stream that counts.
pub(crate) struct Counted {
    pub(crate) io: mio::net::TcpStream,
    pub(crate) reads: Rc<Cell<u32>>,
    pub(crate) writes: Rc<Cell<u32>>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        self.io.read(out)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.set(self.writes.get() + 1);
        self.io.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

impl Stream for Counted {
    fn short_means_blocked(&self) -> bool {
        self.io.short_means_blocked()
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.io.shut_down()
    }
}

impl Registered for Counted {
    fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.io
    }
}

/// A stream that takes a number of bytes and then no more, and gives a number at a time.
pub(crate) struct Narrow {
    pub(crate) io: mio::net::TcpStream,
    pub(crate) room: Rc<Cell<usize>>,
    pub(crate) read: usize,
}

impl Read for Narrow {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.read.min(out.len());
        self.io.read(&mut out[..most])
    }
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.room.get().min(bytes.len());
        if most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.io.write(&bytes[..most])?;
        self.room.set(self.room.get() - n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

impl Stream for Narrow {
    fn shut_down(&mut self) -> io::Result<()> {
        self.io.shut_down()
    }
}

impl Registered for Narrow {
    fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.io
    }
}
