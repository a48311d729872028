//! A transport controlled by the test: what is read from it, how much it takes, and what was done to it. And frames by
//! hand, made and taken apart without the code under test.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own, and takes what it needs"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A request that any server here accepts.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A final frame as a client sends it, with a mask that is not zero.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, Some([0x11, 0x92, 0x53, 0xE4]))
}

/// A final frame as a server sends it.
pub fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, None)
}

/// A frame whose first byte is `first`.
pub fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![first];
    let bit = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..126 => out.push(bit | len as u8),
        len @ 126..65536 => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    let key_bytes = key.unwrap_or_default();
    if key.is_some() {
        out.extend(key_bytes);
    }
    out.extend(payload.iter().zip(key_bytes.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// The body of a close frame.
pub fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// A frame taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

/// All whole frames of `bytes`, and how many bytes of half a frame follow.
pub fn parse(bytes: &[u8]) -> (Vec<Frame>, usize) {
    let mut frames = Vec::new();
    let mut left = bytes;
    while let Some((frame, len)) = parse_one(left) {
        frames.push(frame);
        left = &left[len..];
    }
    (frames, left.len())
}

fn parse_one(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], mut rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0x70, 0, "reserved bits");
    assert!(matches!(first & 15, 0..=2 | 8..=10), "opcode {}", first & 15);
    let masked = second & 0x80 != 0;
    let len = match second & 0x7F {
        126 => {
            let (len, behind) = rest.split_first_chunk()?;
            rest = behind;
            usize::from(u16::from_be_bytes(*len))
        }
        127 => {
            let (len, behind) = rest.split_first_chunk()?;
            rest = behind;
            u64::from_be_bytes(*len) as usize
        }
        len => usize::from(len),
    };
    let mut key = [0; 4];
    if masked {
        let (found, behind) = rest.split_first_chunk()?;
        (key, rest) = (*found, behind);
    }
    let payload = rest.get(..len)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let total = bytes.len() - rest.len() + len;
    Some((Frame { fin: first & 0x80 != 0, opcode: first & 15, masked, payload }, total))
}

#[derive(Debug, Default)]
struct State {
    /// What reads return, one piece each.
    input: VecDeque<Vec<u8>>,
    eof: bool,
    reset: bool,
    /// Writes fail, and reads do not.
    deaf: bool,
    /// How many bytes writes still take.
    room: usize,
    /// Maximum that one write takes.
    most: usize,
    vectored: bool,
    written: Vec<u8>,
    /// The length of each write.
    writes: Vec<usize>,
    /// How many reads returned something.
    reads: usize,
    /// How often anything was polled.
    polls: usize,
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The transport.
#[derive(Debug)]
pub struct Near(Arc<Mutex<State>>);

/// The test's end of it.
#[derive(Clone, Debug)]
pub struct Far(Arc<Mutex<State>>);

/// A transport that takes all that is written, and has nothing to read yet.
pub fn transport() -> (Near, Far) {
    let state = State { room: usize::MAX, most: usize::MAX, vectored: true, ..State::default() };
    let state = Arc::new(Mutex::new(state));
    (Near(Arc::clone(&state)), Far(state))
}

impl Far {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panicked in there")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Like a socket, wakes only the task that waits for this direction.
    fn change_one(&self, change: impl FnOnce(&mut State) -> &mut Option<Waker>) {
        let mut state = self.state();
        let waker = change(&mut state).take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// One read's worth.
    pub fn feed(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.change_one(|state| {
                state.input.push_back(bytes);
                &mut state.reader
            });
        }
    }

    /// The peer shuts down its writing side.
    pub fn end(&self) {
        self.change(|state| state.eof = true);
    }

    /// The peer is gone: reads and writes fail.
    pub fn reset(&self) {
        self.change(|state| state.reset = true);
    }

    /// Writes fail from now on, while reads go on.
    pub fn stop_listening(&self) {
        self.change(|state| state.deaf = true);
    }

    /// Takes this many bytes from now on, and no more.
    pub fn allow(&self, room: usize) {
        self.change_one(|state| {
            state.room = room;
            &mut state.writer
        });
    }

    /// Takes at most this many bytes at a time.
    pub fn allow_at_once(&self, most: usize) {
        self.change(|state| state.most = most);
    }

    pub fn no_vectored(&self) {
        self.change(|state| state.vectored = false);
    }

    /// Everything written so far.
    pub fn written(&self) -> Vec<u8> {
        self.state().written.clone()
    }

    pub fn written_len(&self) -> usize {
        self.state().written.len()
    }

    /// The frames written so far, all of them whole.
    pub fn frames(&self) -> Vec<Frame> {
        let (frames, left) = parse(&self.state().written);
        assert_eq!(left, 0, "half a frame was written");
        frames
    }

    pub fn writes(&self) -> Vec<usize> {
        self.state().writes.clone()
    }

    pub fn reads(&self) -> usize {
        self.state().reads
    }

    pub fn polls(&self) -> usize {
        self.state().polls
    }

    /// Pieces that nobody has read.
    pub fn unread(&self) -> usize {
        self.state().input.len()
    }

    /// Whether the transport is gone.
    pub fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub fn is_shut(&self) -> bool {
        self.state().shut
    }
}

impl AsyncRead for Near {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock().expect("no panic");
        state.polls += 1;
        if state.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(piece) = state.input.front_mut() else {
            if state.eof {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let n = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..n]);
        piece.drain(..n);
        if piece.is_empty() {
            state.input.pop_front();
        }
        state.reads += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Near {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.lock().expect("no panic");
        state.polls += 1;
        if state.reset || state.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut room = state.room.min(state.most);
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = state.written.len();
        for part in parts {
            let n = part.len().min(room);
            state.written.extend_from_slice(&part[..n]);
            room -= n;
        }
        let n = state.written.len() - before;
        state.room -= n;
        state.writes.push(n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().expect("no panic").vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().expect("no panic").shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A peer that sends the same again and again, as fast as it is read, and takes all that is written.
#[derive(Debug)]
pub struct Talker {
    speech: Vec<u8>,
    at: usize,
}

impl Talker {
    pub fn new(speech: Vec<u8>) -> Self {
        Self { speech, at: 0 }
    }
}

impl AsyncRead for Talker {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while buf.remaining() > 0 {
            let n = (this.speech.len() - this.at).min(buf.remaining());
            buf.put_slice(&this.speech[this.at..this.at + n]);
            this.at = (this.at + n) % this.speech.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Talker {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls once, with a waker that does nothing.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets the tasks of a current-thread runtime run until none has anything to do.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
