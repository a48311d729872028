//! Checks that a frame header is read as section 5.2 defines it, at the byte that decides, and written back unchanged.

use ws_core::frame::{Header, MAX_HEADER};

/// All of the input is the start of a frame.
pub fn check(frame: &[u8]) {
    let mut decided = None;
    for len in 0..=frame.len().min(MAX_HEADER + 2) {
        let result = Header::decode(&frame[..len]);
        // More bytes never undo what fewer bytes have decided.
        if let Some(before) = decided {
            assert_eq!(result, before);
        } else if result != Ok(None) {
            assert_eq!(result.is_err(), breaks_a_rule(&frame[..len]), "{result:?}");
            decided = Some(result);
        } else {
            assert!(len < MAX_HEADER && !breaks_a_rule(&frame[..len]));
        }
    }
    if let Some(Ok(Some((header, len)))) = decided {
        let mut out = [0; MAX_HEADER];
        assert_eq!(header.encoded_len(), len);
        assert_eq!(header.encode(&mut out), len);
        assert_eq!(out[..len], frame[..len]);
        assert!(header.len < 1 << 63);
    }
}

/// Whether no header begins with these bytes.
fn breaks_a_rule(bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or(0x80);
    let len7 = bytes.get(1).map_or(0, |byte| byte & 0x7F);
    let is_control = first & 0x08 != 0;
    let reserved = matches!(first & 0x0F, 0x3..=0x7 | 0xB..=0xF);
    // The longest length that these bytes may still become.
    let mut most = [0xFF; 8];
    let width = if len7 == 126 { 2 } else { 8 };
    let there = bytes.get(2..).unwrap_or_default();
    for (place, byte) in most.iter_mut().zip(there.iter().take(width)) {
        *place = *byte;
    }
    let too_long_a_form = match len7 {
        126 => u16::from_be_bytes([most[0], most[1]]) < 126,
        127 => u64::from_be_bytes(most) < 0x1_0000,
        _ => false,
    };
    let top_bit = len7 == 127 && there.first().is_some_and(|byte| byte & 0x80 != 0);
    reserved || is_control && (first & 0x80 == 0 || len7 > 125) || too_long_a_form || top_bit
}
