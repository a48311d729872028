//! Servers written by hand: a head is read up to its blank line, and answered with whatever the test wants.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own, and takes what it needs"
)]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use ws_tokio::core::accept_key;

/// Reads a request's head, and not a byte more.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// The values of all lines of this name.
pub fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// The 101 that answers a head, with these additional lines.
pub fn switch(head: &str, lines: &str) -> String {
    let key = fields(head, "Sec-WebSocket-Key")[0].as_bytes();
    let accept = accept_key(key);
    let accept = std::str::from_utf8(&accept).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    )
}

/// Reads a head, answers it with 101, and returns it.
pub async fn accept_by_hand(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), lines: &str) -> String {
    let head = read_head(stream).await;
    stream.write_all(switch(&head, lines).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    head
}

/// A stream whose other side answers once the request is complete, in these pieces: one per read.
pub struct Script {
    /// Makes the pieces from the request's head.
    answer: Option<Answer>,
    pieces: VecDeque<Vec<u8>>,
    pub written: Vec<u8>,
}

type Answer = Box<dyn FnOnce(&str) -> Vec<Vec<u8>> + Send>;

impl Script {
    pub fn new(answer: impl FnOnce(&str) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self { answer: Some(Box::new(answer)), pieces: VecDeque::new(), written: Vec::new() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.written.ends_with(b"\r\n\r\n")
            && let Some(answer) = self.answer.take()
        {
            let head = String::from_utf8(self.written.clone()).unwrap();
            self.pieces = answer(&head).into();
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        // Nothing more: the end.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
