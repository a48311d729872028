//! permessage-deflate's payloads over a pipe, for a check against another implementation (`.ci/deflate-foreign`).
//!
//! Reads records from its standard input until that ends. Numbers are of 4 bytes, the lowest first.
//!
//! | record | what it does |
//! |---|---|
//! | `D` window takeover | what follows is inflated, from nothing |
//! | `E` window takeover level | what follows is compressed, from nothing |
//! | `M` payload plain | inflates one and compares; both are a length and so many bytes |
//! | `P` plain | compresses one, in two pieces if it is long, and writes the payload with its length before it |
//! | `K` | parks: only the windows are kept |
//!
//! At the end it says on standard error how many messages it inflated, and how many came out wrong. It then exits 1.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

use ws_core::deflate::{Deflater, Inflater, InvalidDeflate, Pool, WindowBits};

struct Records<R>(R);

impl<R: Read> Records<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len)?;
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn window(&mut self) -> io::Result<WindowBits> {
        WindowBits::new(self.byte()?).ok_or_else(|| io::Error::other("a window of 8 to 15 bits"))
    }
}

/// In fragments and slices of changing sizes.
fn inflate(inflater: &mut Inflater, payload: &[u8], turn: usize) -> Result<Vec<u8>, InvalidDeflate> {
    let (mut message, mut out) = (Vec::new(), vec![0; [4096, 100, 7][turn % 3]]);
    for mut rest in payload.chunks([1 << 20, 50, 3, 1][turn % 4]) {
        while !rest.is_empty() {
            let step = inflater.inflate(rest, &mut out)?;
            message.extend(&out[..step.written]);
            rest = &rest[step.taken..];
        }
    }
    loop {
        let step = inflater.finish(&mut out)?;
        message.extend(&out[..step.written]);
        if step.done {
            return Ok(message);
        }
    }
}

fn main() -> io::Result<ExitCode> {
    let mut records = Records(BufReader::new(io::stdin().lock()));
    let mut output = BufWriter::new(io::stdout().lock());
    let pool = Pool::shared();
    let mut inflater = Inflater::new(WindowBits::MAX, true, pool.clone());
    let mut deflater = Deflater::new(WindowBits::MAX, true, 1, pool.clone());
    let (mut messages, mut wrong) = (0, 0);
    while let Ok(kind) = records.byte() {
        match kind {
            b'D' => inflater = Inflater::new(records.window()?, records.byte()? != 0, pool.clone()),
            b'E' => {
                deflater =
                    Deflater::new(records.window()?, records.byte()? != 0, records.byte()?, pool.clone());
            }
            b'K' => {
                inflater.park();
                deflater.park();
            }
            b'M' => {
                let (payload, plain) = (records.bytes()?, records.bytes()?);
                wrong += usize::from(inflate(&mut inflater, &payload, messages).as_ref() != Ok(&plain));
                messages += 1;
            }
            b'P' => {
                let plain = records.bytes()?;
                let (first, last) = plain.split_at(if plain.len() > 500 { 200 } else { 0 });
                let mut out = vec![0; deflater.bound(first.len()) + deflater.bound(last.len())];
                let len = deflater.deflate(first, false, &mut out).map_err(io::Error::other)?;
                let len = len + deflater.deflate(last, true, &mut out[len..]).map_err(io::Error::other)?;
                output.write_all(&(len as u32).to_le_bytes())?;
                output.write_all(&out[..len])?;
            }
            _ => return Err(io::Error::other("no such record")),
        }
    }
    output.flush()?;
    eprintln!("{messages} inflated, {wrong} wrong");
    Ok(ExitCode::from(u8::from(wrong > 0)))
}
