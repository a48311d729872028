//! Cuts through a stream of bytes, decided by one byte of the input.

/// Lengths of the parts: bytes one by one, all at once, or short and long parts mixed.
#[derive(Clone, Debug)]
pub struct Cuts {
    how: u8,
    state: u32,
}

impl Cuts {
    pub fn new(how: u8) -> Self {
        Self { how, state: u32::from(how) + 1 }
    }

    /// The length of the next part, at least 1, when `left` bytes are left.
    pub fn next(&mut self, left: usize) -> usize {
        let len = match self.how {
            0 => left,
            1 => 1,
            _ => {
                // A fixed sequence (Numerical Recipes' constants): the same input, the same cuts.
                self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let bits = (self.state >> 16) as usize;
                if bits.is_multiple_of(5) { bits % 600 } else { bits % 7 }
            }
        };
        len.clamp(1, left.max(1))
    }
}
