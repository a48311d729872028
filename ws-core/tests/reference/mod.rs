//! A decoder as naive as the RFC's text: the whole input at once, byte by byte, copying everything.
#![allow(unreachable_pub, reason = "a module of the test files")]

use ws_core::{CloseFrame, Limits, Role, Violation};

use crate::wire::Seen;

/// What the bytes mean for `role`: the events, and the rule that the bytes so far break.
pub fn decode(role: Role, limits: &Limits, input: &[u8]) -> (Vec<Seen>, Option<Violation>) {
    let mut events = Vec::new();
    let violation = walk(role, limits, input, &mut events).err();
    (events, violation)
}

fn walk(role: Role, limits: &Limits, input: &[u8], events: &mut Vec<Seen>) -> Result<(), Violation> {
    // Text or not, the bytes so far, frames, empty frames.
    let mut open: Option<(bool, Vec<u8>, u32, u32)> = None;
    let mut bytes = input.iter().copied();
    while let Some(b0) = bytes.next() {
        let (fin, opcode) = (b0 & 0x80 != 0, b0 & 0x0F);
        let control = opcode >= 8;
        check(!matches!(opcode, 3..=7 | 11..=15), Violation::ReservedOpcode)?;
        check(fin || !control, Violation::FragmentedControl)?;
        check(b0 & 0x70 == 0, Violation::ReservedBit)?;
        match (opcode, &open) {
            (0, None) => return Err(Violation::UnexpectedContinuation),
            (0, Some(open)) => check(open.2 < limits.max_fragments, Violation::TooManyFragments)?,
            (1 | 2, Some(_)) => return Err(Violation::ContinuationExpected),
            _ => {}
        }
        let Some(b1) = bytes.next() else { return Ok(()) };
        let (masked, len7) = (b1 & 0x80 != 0, b1 & 0x7F);
        check(!control || len7 <= 125, Violation::ControlTooLong)?;
        check(masked || role == Role::Client, Violation::UnmaskedFrame)?;
        check(!masked || role == Role::Server, Violation::MaskedFrame)?;
        check(opcode != 8 || len7 != 1, Violation::CloseBodyOfOneByte)?;
        let empties = open.as_ref().map_or(0, |open| open.3);
        let fragment = !(control || fin && open.is_none());
        check(
            !fragment || len7 != 0 || empties < limits.max_empty_fragments,
            Violation::TooManyEmptyFragments,
        )?;
        let so_far = open.as_ref().map_or(0, |open| open.1.len() as u64);
        let mut len = u64::from(len7);
        if len7 > 125 {
            let width = if len7 == 126 { 2 } else { 8 };
            let digits: Vec<u8> = bytes.by_ref().take(width).collect();
            let value = digits.iter().fold(0_u64, |value, digit| value << 8 | u64::from(*digit));
            let missing = 8 * (width - digits.len());
            check(width == 2 || digits.first().is_none_or(|digit| *digit < 0x80), Violation::LengthTopBit)?;
            // The least and the most that it can still be.
            len = value.checked_shl(missing as u32).unwrap_or(0);
            let most = len | 1_u64.checked_shl(missing as u32).map_or(u64::MAX, |bit| bit - 1);
            check(most > if width == 2 { 125 } else { 0xFFFF }, Violation::LengthNotMinimal)?;
            check(len <= limits.max_frame, Violation::FrameTooBig)?;
            check(len.saturating_add(so_far) <= limits.max_message, Violation::MessageTooBig)?;
            if missing > 0 {
                return Ok(());
            }
        }
        check(control || len <= limits.max_frame, Violation::FrameTooBig)?;
        check(control || len + so_far <= limits.max_message, Violation::MessageTooBig)?;
        let key: Vec<u8> = if masked { bytes.by_ref().take(4).collect() } else { vec![0; 4] };
        if key.len() < 4 {
            return Ok(());
        }
        let payload: Vec<u8> =
            bytes.by_ref().take(len as usize).enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        let whole = payload.len() as u64 == len;
        if control {
            match (opcode, whole) {
                (8, true) => {
                    let frame =
                        CloseFrame::decode(&payload)?.map(|frame| (frame.code.0, frame.reason.into()));
                    events.push(Seen::Close { frame, interrupted: open.is_some() });
                    return Ok(());
                }
                // A code that is there is judged, and so is what begins a reason.
                (8, false) => match CloseFrame::decode(&payload) {
                    Err(Violation::InvalidUtf8) => utf8(&payload[2..], false)?,
                    Err(Violation::InvalidCloseCode) => return Err(Violation::InvalidCloseCode),
                    _ => {}
                },
                (9, true) => events.push(Seen::Ping(payload)),
                (_, true) => events.push(Seen::Pong(payload)),
                _ => {}
            }
            continue;
        }
        let (text, message, frames, empty) = open.get_or_insert_with(|| (opcode == 1, Vec::new(), 0, 0));
        message.extend(payload);
        (*frames, *empty) = (*frames + 1, *empty + u32::from(len == 0));
        let done = fin && whole;
        if *text {
            utf8(message, done)?;
        }
        if done {
            let (text, message, ..) = open.take().expect("just there");
            events.push(match text {
                true => Seen::Text(String::from_utf8(message).expect("just checked")),
                false => Seen::Binary(message),
            });
        }
    }
    Ok(())
}

fn utf8(bytes: &[u8], done: bool) -> Result<(), Violation> {
    match core::str::from_utf8(bytes) {
        Err(error) if done || error.error_len().is_some() => Err(Violation::InvalidUtf8),
        _ => Ok(()),
    }
}

fn check(holds: bool, rule: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(rule) }
}
