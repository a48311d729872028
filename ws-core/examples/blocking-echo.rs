//! An echo server on `ws-core` alone, over blocking `std::net`, one thread per connection: `blocking-echo [ADDRESS]`.
//!
//! All of the loop is here. It answers pings, keeps deadlines, closes as the RFC requires, and holds no more than a message.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use ws_core::{
    Accept, Advance, Config, ConfigRef, Connection, Event, Instant, Message, ServerHandshake, Session,
    Transport,
};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}", listener.local_addr()?);
    let config = ConfigRef::from(Config::server());
    for stream in listener.incoming() {
        let (stream, config) = (stream?, config.clone());
        std::thread::spawn(move || serve(stream, config).unwrap_or_else(|error| eprintln!("{error}")));
    }
    Ok(())
}

fn serve(mut stream: TcpStream, config: ConfigRef) -> io::Result<()> {
    let epoch = std::time::Instant::now();
    let clock = || Instant::since(epoch, std::time::Instant::now());
    let mut out = vec![0; 2 << 20];

    // The opening handshake: all that has come is shown until a request is there.
    let mut handshake = ServerHandshake::new(clock(), config.clone());
    let mut input = Vec::new();
    let consumed = loop {
        match handshake.recv(clock(), &input) {
            Ok(Some(request)) => {
                let len =
                    handshake.accept(&request, Accept::default(), &mut out).map_err(io::Error::other)?;
                stream.write_all(&out[..len])?;
                break handshake.consumed().unwrap_or(input.len());
            }
            Ok(None) => {
                let mut part = [0; 4096];
                let n = wait(&mut stream, handshake.deadline(), clock(), &mut part)?;
                match n {
                    Some(0) => return Ok(()),
                    Some(n) => input.extend_from_slice(&part[..n]),
                    None => drop(handshake.tick(clock())), // told again by `recv`
                }
            }
            Err(rejection) => {
                let len = handshake.reject_as(clock(), rejection, &mut out).map_err(io::Error::other)?;
                return stream.write_all(&out[..len]);
            }
        }
    };

    // The connection: parse what came, answer, write, read.
    input.drain(..consumed);
    let filled = input.len();
    let mut session = Session::with_storage(Connection::server(config, clock()), input, filled);
    loop {
        let mut len = 0;
        let at_least = loop {
            match session.advance(clock()) {
                Ok(Advance::Event) => {
                    let (event, connection) = session.lend();
                    let message = match event {
                        Some(Event::Text(text)) => Message::Text(text),
                        Some(Event::Binary(bytes)) => Message::Binary(bytes),
                        _ => continue,
                    };
                    stream.write_all(&out[..std::mem::take(&mut len)])?;
                    len = connection.send(message, &mut out).map_err(io::Error::other)?;
                }
                Ok(Advance::Read { at_least }) => break at_least,
                Ok(Advance::Finished) => break 1,
                // The close frame that says so is queued already.
                Err(failure) => eprintln!("{failure}"),
            }
        };
        stream.write_all(&out[..len])?;
        len = session.connection().transmit(&mut out);
        stream.write_all(&out[..len])?;
        match session.connection().transport() {
            Transport::Open => {}
            Transport::Shutdown => {
                stream.shutdown(Shutdown::Write)?;
                session.connection().shut_down(clock());
            }
            Transport::Close => return Ok(()),
        }
        let deadline = session.connection().deadline();
        match wait(&mut stream, deadline, clock(), session.space(|| vec![0; 64 << 10], at_least))? {
            Some(0) => return session.connection().recv_eof(clock()).map_err(io::Error::other),
            Some(n) => session.received(n),
            None => session.connection().tick(clock()).map_err(io::Error::other)?,
        }
    }
}

/// Reads; `None` when the deadline came first.
fn wait(
    stream: &mut TcpStream,
    deadline: Option<Instant>,
    now: Instant,
    buf: &mut [u8],
) -> io::Result<Option<usize>> {
    let left = deadline.map(|deadline| deadline.saturating_since(now).max(Duration::from_millis(1)));
    stream.set_read_timeout(left)?;
    match stream.read(buf) {
        Ok(n) => Ok(Some(n)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error),
    }
}
