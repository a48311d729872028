//! The bare minimum of WebSocket, as the limits speak it: they show what a server that did nothing else would cost.
//!
//! A handshake that looks for the key and for nothing else (RFC 6455, section 4.2.2), and whole frames (section 5.2) with
//! payloads of less than 2^63 bytes. No control frames but a close, no reassembly of fragments, no limits, no time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// The constant of section 1.3 that every accept value is made with.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const KEY: &[u8] = b"Sec-WebSocket-Key: ";

/// Appends the answer to the request at the front of `bytes`, if all of it is there, and returns the request's length.
/// A request without a key gets an answer that no client accepts.
pub fn answer(bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = &bytes[..end];
    let key = head.windows(KEY.len()).position(|window| window == KEY).map_or(&[][..], |at| {
        let rest = &head[at + KEY.len()..];
        rest.split(|byte| *byte == b'\r').next().unwrap_or_default()
    });
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; 28];
    // Twenty bytes are twenty-eight characters.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut accept);
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accept);
    out.extend_from_slice(b"\r\n\r\n");
    Some(end)
}

/// A client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The first byte: FIN and the opcode.
    pub first: u8,
    /// The payload as it arrived, masked.
    pub payload: &'a [u8],
    /// The masking key.
    pub key: [u8; 4],
    /// Length including the header.
    pub len: usize,
}

/// The frame at the front of `bytes`, if all of it is there.
#[inline]
pub fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (more, len) = match second & 0x7F {
        126 => (2, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        len => (0, usize::from(len)),
    };
    let (key, rest) = rest.get(more..)?.split_first_chunk()?;
    Some(Frame { first: *first, payload: rest.get(..len)?, key: *key, len: 2 + more + 4 + len })
}

/// Appends a server's frame with this payload, unmasked on the way.
#[inline]
pub fn push(out: &mut Vec<u8>, frame: &Frame<'_>) {
    out.push(frame.first);
    match frame.payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let start = out.len();
    out.extend_from_slice(frame.payload);
    unmask(&mut out[start..], frame.key);
}

/// Masks in words of eight bytes, which the compiler widens.
#[inline(always)]
pub fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let key = u32::from_ne_bytes(key);
    let wide = u64::from(key) << 32 | u64::from(key);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// A readiness loop with one buffer for all connections: one `recv` and one `send` per readiness event, like the
/// raw echo. What a socket does not take at once is kept for it, and it is not read from until that has been sent.
pub struct Loop {
    poll: Poll,
    listener: TcpListener,
    is_room: bool,
    members: Vec<Option<Member>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    /// Whether its handshake is done.
    open: bool,
    /// Part of a request or a frame.
    part: Vec<u8>,
    unsent: Vec<u8>,
    /// Whether there may be something to read: readiness is edge-triggered.
    readable: bool,
}

/// The outcome of a read.
struct Taken {
    /// Bytes consumed.
    used: usize,
    /// Where in `out` the part for the others begins.
    said: usize,
    /// Whether the connection continues.
    lives: bool,
}

const LISTENER: Token = Token(usize::MAX);

impl Loop {
    /// A loop that echoes, or a room where each message goes to all.
    ///
    /// # Errors
    /// The system's error.
    pub fn listen(address: SocketAddr, is_room: bool) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let buffer = vec![0; 256 << 10];
        let (members, free, out) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { poll, listener, is_room, members, free, buffer, out })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves forever.
    ///
    /// # Errors
    /// When the loop itself fails; a connection that fails is dropped.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let Token(slot) = event.token();
                if event.token() == LISTENER {
                    self.accept()?;
                } else if let Some(mut member) = self.members[slot].take() {
                    member.readable |= event.is_readable();
                    if self.serve(&mut member).unwrap_or(false) {
                        self.members[slot] = Some(member);
                    } else {
                        self.free.push(slot);
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.members.push(None);
                self.members.len() - 1
            });
            self.poll.registry().register(
                &mut stream,
                Token(slot),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            let (part, unsent) = (Vec::new(), Vec::new());
            self.members[slot] = Some(Member { stream, open: false, part, unsent, readable: false });
        }
        Ok(())
    }

    /// Reads what has arrived and answers it. Returns whether the connection continues.
    fn serve(&mut self, member: &mut Member) -> io::Result<bool> {
        if !member.unsent.is_empty() {
            let left = send(&mut member.stream, &member.unsent)?.len();
            member.unsent.drain(..member.unsent.len() - left);
        }
        while member.readable && member.unsent.is_empty() {
            let read = match member.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            // A short read has emptied the socket.
            member.readable = read == self.buffer.len();
            let taken = if member.part.is_empty() {
                let buffer = std::mem::take(&mut self.buffer);
                let taken = self.take(member, &buffer[..read]);
                member.part.extend_from_slice(&buffer[taken.used..read]);
                self.buffer = buffer;
                taken
            } else {
                member.part.extend_from_slice(&self.buffer[..read]);
                let mut part = std::mem::take(&mut member.part);
                let taken = self.take(member, &part);
                part.drain(..taken.used);
                if !part.is_empty() {
                    member.part = part;
                }
                taken
            };
            if self.is_room && taken.lives {
                self.tell_the_others(taken.said);
            }
            member.unsent.extend_from_slice(send(&mut member.stream, &self.out)?);
            self.out.clear();
            if !taken.lives {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Leaves in `out` what the member gets back for these bytes.
    fn take(&mut self, member: &mut Member, bytes: &[u8]) -> Taken {
        let mut used = 0;
        if !member.open {
            let Some(len) = answer(bytes, &mut self.out) else { return Taken { used, said: 0, lives: true } };
            (used, member.open) = (len, true);
        }
        let said = self.out.len();
        while let Some(frame) = frame(&bytes[used..]) {
            used += frame.len;
            push(&mut self.out, &frame);
            if frame.first & 0x0F == 0x8 {
                return Taken { used, said, lives: false };
            }
        }
        Taken { used, said, lives: true }
    }

    /// One `send` per member, of everything that one read brought. The sender is not in the list at that moment.
    fn tell_the_others(&mut self, said: usize) {
        let news = &self.out[said..];
        for other in self.members.iter_mut().flatten().filter(|other| other.open) {
            if other.unsent.is_empty() {
                // A member that is gone is noticed in its own turn.
                let rest = send(&mut other.stream, news).unwrap_or_default();
                other.unsent.extend_from_slice(rest);
            } else {
                other.unsent.extend_from_slice(news);
            }
        }
    }
}

/// Writes as much as the socket takes; returns the rest.
fn send<'a>(stream: &mut TcpStream, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{check_answer, request};
    use crate::tape::push_masked;

    #[test]
    fn the_generator_takes_the_answer() {
        let request = request(None);
        let mut out = Vec::new();
        for end in 0..request.len() {
            assert_eq!(answer(&request[..end], &mut out), None);
        }
        assert_eq!(answer(&[&request[..], b"more"].concat(), &mut out), Some(request.len()));
        check_answer(&out, None).expect("as section 1.3 has it");
    }

    #[test]
    fn frames_come_back_without_their_masks() {
        for (len, head) in [(0, 2), (1, 2), (125, 2), (126, 4), (0xFFFF, 4), (0x1_0000, 10)] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let (mut bytes, mut out) = (Vec::new(), Vec::new());
            push_masked(&mut bytes, 0x2, &payload, [9, 8, 7, 6]);
            assert_eq!(frame(&bytes[..bytes.len() - 1]), None);
            let frame = frame(&bytes).expect("all of it");
            assert_eq!(frame.len, bytes.len());
            push(&mut out, &frame);
            assert_eq!((out[0], out.len(), &out[head..]), (0x82, head + len, &payload[..]));
        }
    }
}
