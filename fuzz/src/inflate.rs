//! Checks that any bytes are inflated or refused, in steps that progress, and alike however they and the output are cut.

use ws_core::deflate::{Inflater, InvalidDeflate, Pool, WindowBits};

use super::cuts::Cuts;

/// The first byte decides the cuts, the second the setting; the rest are messages, each preceded by its length.
pub fn check(data: &[u8]) {
    let [how, setting, messages @ ..] = data else { return };
    let window = WindowBits::new(8 + setting % 8).expect("8 to 15");
    let new = || Inflater::new(window, setting & 8 != 0, Pool::shared());
    let (mut whole, mut pieces, mut cuts) = (new(), new(), Cuts::new(*how));
    let mut rest = messages;
    while let Some((&len, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(behind.len().min(len.into()));
        rest = behind;
        let expected = inflate(&mut whole, payload, || 1 << 16);
        assert_eq!(inflate(&mut pieces, payload, || cuts.next(300)), expected);
        if payload.is_empty() || expected.is_err() {
            assert!(expected.is_err() && whole.finish(&mut [0]).is_err());
            return;
        }
        // A peer that keeps within 32 KiB does not notice this.
        if setting & 16 != 0 && window == WindowBits::MAX {
            pieces.park();
        }
    }
}

fn inflate(
    i: &mut Inflater,
    mut rest: &[u8],
    mut cut: impl FnMut() -> usize,
) -> Result<Vec<u8>, InvalidDeflate> {
    let mut message = Vec::new();
    loop {
        let (piece, mut out) = (&rest[..cut().min(rest.len())], vec![0; cut()]);
        let step = i.inflate(piece, &mut out)?;
        assert!(step.taken == piece.len() || step.written == out.len());
        message.extend(&out[..step.written]);
        rest = &rest[step.taken..];
        if rest.is_empty() && i.finish(&mut []).is_ok_and(|step| step.done) {
            return Ok(message);
        }
        // Bounded: each byte of input yields at most 1032.
        assert!(message.len() <= 1032 * 256 + 1032);
    }
}
