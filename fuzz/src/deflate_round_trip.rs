//! Checks that compressed data inflates to the same, within the bound, whatever the settings, pieces, parks and resets.

use ws_core::deflate::{Deflater, Inflater, Pool, WindowBits};

use super::cuts::Cuts;

/// Three bytes of settings, half of them for level 1, the default; then operations, each a byte followed by the length and
/// the bytes of a piece.
pub fn check(data: &[u8]) {
    let [setting, level, how, rest @ ..] = data else { return };
    let window = WindowBits::new(8 + setting % 8).expect("8 to 15");
    let level = if level % 2 == 0 { 1 } else { level / 2 % 10 };
    let mut d = Deflater::new(window, setting & 8 != 0, level, Pool::shared());
    let mut i = Inflater::new(window, setting & 24 != 0, Pool::shared());
    let (mut cuts, mut plain, mut payload) = (Cuts::new(*how), Vec::new(), Vec::new());
    let mut rest = rest;
    while let [op, len, behind @ ..] = rest {
        let (piece, behind) = behind.split_at(behind.len().min((*len).into()));
        rest = behind;
        let piece = piece.repeat(usize::from(op >> 4));
        let last = op & 1 != 0;
        let mut out = vec![0; d.bound(piece.len())];
        assert!(d.deflate(&piece, last, &mut out[1..]).is_err());
        let n = d.deflate(&piece, last, &mut out).expect("room");
        payload.extend(&out[..n]);
        plain.extend(piece);
        if op & 2 != 0 {
            d.park();
        }
        if op & 4 != 0 {
            i.park();
        }
        if op & 8 != 0 && last {
            d.forget();
        }
        if last {
            let mut out = vec![0; plain.len() + 1];
            let (mut at, mut written) = (0, 0);
            while at < payload.len() {
                let end = at + cuts.next(payload.len() - at);
                let step = i.inflate(&payload[at..end], &mut out[written..]).expect("valid");
                (at, written) = (at + step.taken, written + step.written);
            }
            let end = i.finish(&mut out[written..]).expect("valid");
            assert!(end.done && out[..written + end.written] == plain[..]);
            (plain, payload) = (Vec::new(), Vec::new());
        }
    }
}
