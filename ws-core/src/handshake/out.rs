//! Writing a head into the caller's slice: all of it, or nothing.

/// Where pieces of text go: first they are only counted, then they are written.
pub(super) struct Out<'o> {
    room: &'o mut [u8],
    at: usize,
}

impl Out<'_> {
    pub(super) fn put(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let end = self.at + bytes.len();
        if let Some(room) = self.room.get_mut(self.at..end) {
            room.copy_from_slice(bytes);
        }
        self.at = end;
    }

    /// `name: value`, and the end of the line.
    pub(super) fn field(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.put(name);
        self.put(": ");
        self.put(value);
        self.put("\r\n");
    }

    /// A number in decimal.
    pub(super) fn number(&mut self, number: usize) {
        let mut digits = [0; 20];
        let mut rest = number;
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }
}

/// Writes what `put` puts, or tells how much room it would need.
pub(super) fn write(out: &mut [u8], put: impl Fn(&mut Out<'_>)) -> Result<usize, usize> {
    let mut count = Out { room: &mut [], at: 0 };
    put(&mut count);
    let needed = count.at;
    let Some(room) = out.get_mut(..needed) else { return Err(needed) };
    let mut out = Out { room, at: 0 };
    put(&mut out);
    Ok(needed)
}
