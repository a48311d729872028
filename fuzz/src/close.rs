//! Checks that a close frame's body is read as section 5.5.1 requires, and that what was read may be sent back unchanged.

use ws_core::{CloseCode, CloseFrame, Violation};

/// All of the input is the body.
pub fn check(body: &[u8]) {
    // A control frame cannot hold more.
    let body = &body[..body.len().min(125)];
    let expected = match body {
        [] => Ok(None),
        [_] => Err(Violation::CloseBodyOfOneByte),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) * 256 + u16::from(*low);
            let reserved = [1004, 1005, 1006, 1015].contains(&code);
            // Section 7.4.2: 0-999 is not used, up to 2999 is for the protocol and IANA's registry, which ends at
            // 1015 so far, 3000-4999 is for libraries and applications.
            let travels = (1000..1016).contains(&code) && !reserved || (3000..5000).contains(&code);
            match String::from_utf8(reason.to_vec()) {
                _ if !travels => Err(Violation::InvalidCloseCode),
                Err(_) => Err(Violation::InvalidUtf8),
                Ok(reason) => Ok(Some((CloseCode(code), reason))),
            }
        }
    };
    let decoded = CloseFrame::decode(body);
    assert_eq!(decoded.map(|frame| frame.map(|frame| (frame.code, frame.reason.to_owned()))), expected);
    if let Ok(Some(frame)) = decoded {
        assert_eq!(frame.check(), Ok(()));
        assert_eq!([&frame.code.0.to_be_bytes(), frame.reason.as_bytes()].concat(), body);
    }
}
