//! An echo server on `ws-core` alone, over `io_uring`: `io-uring [ADDRESS]`. It needs Linux 6.1; where the kernel refuses,
//! it says so and ends with status 77.
//!
//! A completion loop needs no protocol code of its own. The kernel fills a buffer out of a ring that all connections share,
//! frames are read where they lie in it, answers are encoded behind those that wait, and the buffer goes back. An idle
//! connection holds none. Accepting and receiving are requested once (multishot), and one turn of the loop is one system
//! call, however many clients sent something.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{io, mem};

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use ws_core::{
    Accept, Config, ConfigRef, Connection, Event, Instant, Message, Rejection, ServerHandshake, Transport,
};

/// Receive buffers, a power of two, and the size of each.
const BUFFERS: u16 = 64;
const BUFFER: usize = 32 << 10;

/// Bytes of waiting answers from which on a client is not read, until they are on their way.
const FULL: usize = 1 << 20;

/// The longest answer to a handshake: it has no headers of ours.
const HEAD: usize = 1 << 10;

// As Linux has them on x86 and Arm.
const ETIME: i32 = 62;
const ENOBUFS: i32 = 105;
const ECANCELED: i32 = 125;
const MSG_WAITALL: i32 = 0x100; // a send goes on until all is sent

fn main() -> io::Result<ExitCode> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    match Server::new(TcpListener::bind(&address)?, Config::server()) {
        Ok(mut server) => {
            println!("listening on ws://{address}");
            server.run().map(|never| match never {})
        }
        Err(error) => {
            eprintln!("skipped: this kernel refuses io_uring as it is used here: {error}");
            Ok(ExitCode::from(77))
        }
    }
}

// -------------------------------------------------------------------------------------------------------- one connection

struct Client {
    stream: TcpStream,
    stage: Stage,
    /// Bytes received and not consumed: part of a head, of a frame, of a message.
    rest: Vec<u8>,
    /// Answers that wait, and those that the kernel reads, which stay untouched until it is done.
    queued: Vec<u8>,
    sending: Vec<u8>,
    /// A receive is under way; there is nothing more to receive.
    receiving: bool,
    ended: bool,
    /// Of no more use: closed when nothing is under way.
    over: bool,
}

enum Stage {
    Opening(ServerHandshake),
    Open(Connection),
}

/// Appends what `write` leaves of `len` bytes.
fn append(out: &mut Vec<u8>, room: usize, write: impl FnOnce(&mut [u8]) -> usize) {
    let at = out.len();
    out.resize(at + room, 0);
    let len = write(&mut out[at..]);
    out.truncate(at + len);
}

impl Client {
    fn new(stream: TcpStream, handshake: ServerHandshake) -> Self {
        let [rest, queued, sending] = [const { Vec::new() }; 3];
        let stage = Stage::Opening(handshake);
        Self { stream, stage, rest, queued, sending, receiving: false, ended: false, over: false }
    }

    /// Bytes have come. They are read where they lie; what is not consumed is copied out, to be shown again with more
    /// behind.
    fn received(&mut self, bytes: &mut [u8], config: &ConfigRef, now: Instant) {
        if self.rest.is_empty() {
            let used = self.advance(bytes, config, now);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            let mut rest = mem::take(&mut self.rest);
            rest.extend_from_slice(bytes);
            let used = self.advance(&mut rest, config, now);
            if used < rest.len() {
                rest.drain(..used);
                self.rest = rest;
            }
        }
    }

    /// Returns how much is consumed.
    fn advance(&mut self, input: &mut [u8], config: &ConfigRef, now: Instant) -> usize {
        let mut used = 0;
        if let Stage::Opening(handshake) = &mut self.stage {
            match handshake.recv(now, input) {
                Ok(Some(request)) => {
                    let answer = Accept::default();
                    append(&mut self.queued, HEAD, |out| {
                        handshake.accept(&request, answer, out).unwrap_or(0)
                    });
                    used = handshake.consumed().unwrap_or(input.len());
                    self.stage = Stage::Open(Connection::server(config.clone(), now));
                }
                Ok(None) if handshake.transport() == Transport::Open => return 0,
                Ok(None) => handshake.discard(input.len()),
                Err(rejection) => self.refuse(rejection, now),
            }
        }
        // What a refused client sends is dropped.
        let Stage::Open(connection) = &mut self.stage else { return input.len() };
        loop {
            let recv = connection.recv(now, &mut input[used..]);
            used += recv.as_ref().map_or(0, |recv| recv.consumed);
            let message = match recv.map(|recv| recv.event) {
                Ok(None) => return used,
                Ok(Some(Event::Text(text))) => Message::Text(text),
                Ok(Some(Event::Binary(bytes))) => Message::Binary(bytes),
                // Pings and closes have their answers without us.
                Ok(Some(_)) => continue,
                // Final. The close frame that says so is queued; what follows is consumed and dropped.
                Err(failure) => {
                    eprintln!("{failure}");
                    continue;
                }
            };
            // Nothing more is sent to one that is closing.
            let room = connection.pending() + 10 + message.as_bytes().len();
            append(&mut self.queued, room, |out| connection.send(message, out).unwrap_or(0));
        }
    }

    fn refuse(&mut self, rejection: Rejection, now: Instant) {
        if let Stage::Opening(handshake) = &mut self.stage {
            append(&mut self.queued, HEAD, |out| handshake.reject_as(now, rejection, out).unwrap_or(0));
        }
    }

    fn received_eof(&mut self, now: Instant) {
        self.ended = true;
        match &mut self.stage {
            Stage::Opening(handshake) => handshake.recv_eof(now),
            Stage::Open(connection) => {
                connection.recv_eof(now).unwrap_or_else(|failure| eprintln!("{failure}"));
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Opening(handshake) => {
                if let Err(rejection) = handshake.tick(now) {
                    self.refuse(rejection, now);
                }
            }
            Stage::Open(connection) => connection.tick(now).unwrap_or_else(|failure| eprintln!("{failure}")),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Opening(handshake) => handshake.deadline(),
            Stage::Open(connection) => connection.deadline(),
        }
    }

    /// Queues the pongs and the close frame that are due, and does with the socket what the protocol says.
    fn obey(&mut self, now: Instant) {
        if let Stage::Open(connection) = &mut self.stage {
            append(&mut self.queued, connection.pending(), |out| connection.transmit(out));
        }
        let is_written = self.queued.is_empty() && self.sending.is_empty();
        let transport = match &self.stage {
            Stage::Opening(handshake) => handshake.transport(),
            Stage::Open(connection) => connection.transport(),
        };
        match transport {
            // Reading goes on: a close with bytes unread would destroy what is on its way.
            Transport::Shutdown if is_written => {
                // One that is gone shows when it is read from.
                let _ = self.stream.shutdown(Shutdown::Write);
                match &mut self.stage {
                    Stage::Opening(handshake) => handshake.shut_down(now),
                    Stage::Open(connection) => connection.shut_down(now),
                }
            }
            Transport::Close => self.give_up(),
            Transport::Open | Transport::Shutdown => {}
        }
    }

    /// What is under way ends by this.
    fn give_up(&mut self) {
        self.over = true;
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

// -------------------------------------------------------------------------------------------------------------- the loop

/// What an operation was: in the lowest bits of the word that its completions carry, below the client's descriptor.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const CANCEL: u64 = 3;

const fn word(op: u64, fd: RawFd) -> u64 {
    (fd as u64) << 2 | op
}

pub(crate) struct Server {
    ring: IoUring,
    buffers: Buffers,
    listener: TcpListener,
    config: ConfigRef,
    epoch: std::time::Instant,
    clients: HashMap<RawFd, Client>,
    accepting: bool,
    /// No deadline is earlier. When it comes, all are looked at; most deadlines move on before they come.
    alarm: Instant,
}

impl Server {
    /// # Errors
    /// The kernel has no `io_uring`, an old one, or forbids it.
    pub(crate) fn new(listener: TcpListener, config: impl Into<ConfigRef>) -> io::Result<Self> {
        // Completions are worked off when we ask for them: the newest thing here (6.1). Multishot receives came with 6.0,
        // rings of buffers with 5.19.
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(1024)?;
        let (buffers, config) = (Buffers::register(&ring)?, config.into());
        let (epoch, clients) = (std::time::Instant::now(), HashMap::new());
        let (accepting, alarm) = (false, Instant::ZERO);
        Ok(Self { ring, buffers, listener, config, epoch, clients, accepting, alarm })
    }

    fn now(&self) -> Instant {
        Instant::since(self.epoch, std::time::Instant::now())
    }

    pub(crate) fn run(&mut self) -> io::Result<Infallible> {
        let (mut completions, mut touched) = (Vec::new(), Vec::new());
        loop {
            self.wait()?;
            let now = self.now();
            completions.extend(self.ring.completion());
            touched.extend(completions.drain(..).filter_map(|completion| self.complete(&completion, now)));
            if self.alarm <= now {
                touched.extend(self.ring_alarm(now)?);
            }
            // All that a client gets in this turn goes in one operation.
            touched.sort_unstable();
            touched.dedup();
            touched.drain(..).try_for_each(|fd| self.settle(fd, now))?;
        }
    }

    /// Submits what was prepared, and sleeps until something is complete or the alarm goes off.
    fn wait(&self) -> io::Result<()> {
        let left = Timespec::from(self.alarm.saturating_since(self.now()));
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&left)) {
            Err(error) if error.raw_os_error() == Some(ETIME) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other.map(drop),
        }
    }

    /// Lets time pass for those whose deadline has come, and sets the alarm anew. Returns the clients concerned.
    fn ring_alarm(&mut self, now: Instant) -> io::Result<Vec<RawFd>> {
        let (mut due, mut next) = (Vec::new(), Instant::from_micros(u64::MAX));
        for (fd, client) in &mut self.clients {
            match client.deadline() {
                Some(at) if at > now => next = next.min(at),
                Some(_) => {
                    client.tick(now);
                    due.push(*fd);
                }
                None => {}
            }
        }
        self.alarm = next;
        if !mem::replace(&mut self.accepting, true) {
            let accept = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).build();
            submit(&mut self.ring, &accept.user_data(ACCEPT))?;
        }
        Ok(due)
    }

    /// An operation is over, or has a part of its result. Returns the client concerned.
    fn complete(&mut self, completion: &cqueue::Entry, now: Instant) -> Option<RawFd> {
        let (op, fd) = (completion.user_data() & 3, (completion.user_data() >> 2) as RawFd);
        let (result, goes_on) = (completion.result(), cqueue::more(completion.flags()));
        if op == ACCEPT {
            self.accepting = goes_on;
            return self.accepted(result, now);
        }
        let client = self.clients.get_mut(&fd)?;
        if op == RECEIVE {
            client.receiving = goes_on;
            if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
                let bytes = self.buffers.filled(buffer, result.max(0) as usize);
                if !client.over {
                    client.received(bytes, &self.config, now);
                }
                self.buffers.give_back(buffer);
            }
            match -result {
                0 => client.received_eof(now),
                ..0 | ENOBUFS | ECANCELED => {}
                _ => client.give_up(),
            }
        } else if op == SEND {
            if usize::try_from(result) != Ok(client.sending.len()) {
                client.give_up();
            }
            client.sending.clear();
            client.sending.shrink_to(BUFFER);
        }
        Some(fd)
    }

    fn accepted(&mut self, fd: RawFd, now: Instant) -> Option<RawFd> {
        if !self.accepting {
            // Out of descriptors, for instance: those that are open go on, and some of them will end.
            self.alarm = self.alarm.min(now.saturating_add(Duration::from_millis(50)));
        }
        if fd < 0 {
            eprintln!("accept: {}", io::Error::from_raw_os_error(-fd));
            return None;
        }
        // SAFETY: a descriptor that the kernel has just made for us, and that nothing else holds.
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        // Without it answers only come later.
        let _ = stream.set_nodelay(true);
        self.clients.insert(fd, Client::new(stream, ServerHandshake::new(now, self.config.clone())));
        Some(fd)
    }

    /// Brings the operations under way for a client in line with its state.
    fn settle(&mut self, fd: RawFd, now: Instant) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&fd) else { return Ok(()) };
        client.obey(now);
        if client.over {
            if !client.receiving && client.sending.is_empty() {
                self.clients.remove(&fd);
            }
            return Ok(());
        }
        if client.sending.is_empty() && !client.queued.is_empty() {
            mem::swap(&mut client.sending, &mut client.queued);
            let len = client.sending.len().try_into().unwrap_or(u32::MAX);
            let send = opcode::Send::new(Fd(fd), client.sending.as_ptr(), len).flags(MSG_WAITALL).build();
            submit(&mut self.ring, &send.user_data(word(SEND, fd)))?;
        }
        let is_full = client.queued.len() > FULL;
        if client.receiving && is_full {
            if let Stage::Open(connection) = &mut client.stage {
                connection.pause(now);
            }
            let cancel = opcode::AsyncCancel::new(word(RECEIVE, fd)).build();
            submit(&mut self.ring, &cancel.user_data(word(CANCEL, fd)))?;
        } else if !client.receiving && !is_full && !client.ended {
            client.receiving = true;
            let receive = opcode::RecvMulti::new(Fd(fd), Buffers::GROUP).build();
            submit(&mut self.ring, &receive.user_data(word(RECEIVE, fd)))?;
        }
        self.alarm = client.deadline().map_or(self.alarm, |at| self.alarm.min(at));
        Ok(())
    }
}

fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: what an operation refers to outlives it. A socket and what is sent belong to a client, which stays, and leaves
    // `sending` alone, until the operation is over; the listening socket is the server's, the buffers are for ever.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------- receive buffers

/// Memory that the kernel takes a buffer of when bytes have come, and the ring through which it gets it back.
struct Buffers {
    ring: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    const GROUP: u16 = 0;

    fn register(uring: &IoUring) -> io::Result<Self> {
        // Never freed. The ring begins at a page, as the kernel wants it; the buffers are behind it.
        let (page, ring) = (4096, usize::from(BUFFERS) * size_of::<BufRingEntry>());
        let memory = vec![0; page + ring + usize::from(BUFFERS) * BUFFER].leak();
        let start = memory.as_ptr().align_offset(page);
        let (ring, memory) = memory[start..].split_at_mut(ring);
        let ring = ring.as_mut_ptr().cast::<BufRingEntry>();
        let uring = uring.submitter();
        // SAFETY: so many entries lie there, for ever.
        unsafe { uring.register_buf_ring_with_flags(ring as u64, BUFFERS, Self::GROUP, 0) }?;
        let mut buffers = Self { ring, memory: memory.as_mut_ptr(), tail: 0 };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    /// What the kernel has put into a buffer: ours until it is given back.
    fn filled(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        assert!(buffer < BUFFERS && len <= BUFFER, "the kernel keeps to what it was given");
        // SAFETY: in bounds and initialised. The kernel writes to no buffer that it has handed out, and `&mut self` keeps
        // everybody else from it.
        unsafe { std::slice::from_raw_parts_mut(self.memory.add(usize::from(buffer) * BUFFER), len) }
    }

    fn give_back(&mut self, buffer: u16) {
        // SAFETY: entry and buffer are in bounds. The kernel reads an entry after the tail has passed it; there are as many
        // entries as buffers, so that none is written over. The tail is an aligned word, an atomic on both sides.
        unsafe {
            let entry = &mut *self.ring.add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.memory.add(usize::from(buffer) * BUFFER) as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut());
            tail.store(self.tail, Ordering::Release);
        }
    }
}
