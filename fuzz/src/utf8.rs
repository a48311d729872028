//! Checks that the incremental validator agrees with `core::str::from_utf8` on the whole, as early as that can be known.

use core::str::from_utf8;

use ws_core::utf8::{Utf8Validator, validate};

use super::cuts::Cuts;

/// The first byte decides the cuts, the rest is the text.
pub fn check(data: &[u8]) {
    let Some((&how, text)) = data.split_first() else { return };
    let expected = from_utf8(text);
    assert_eq!(validate(text).is_ok(), expected.is_ok());

    let mut cuts = Cuts::new(how);
    let mut validator = Utf8Validator::new();
    let mut fed = 0;
    while fed < text.len() {
        let end = fed + cuts.next(text.len() - fed);
        let so_far = from_utf8(&text[..end]);
        let hopeless = so_far.is_err_and(|error| error.error_len().is_some());
        assert_eq!(validator.feed(&text[fed..end]).is_err(), hopeless, "{fed}..{end}");
        if hopeless {
            return;
        }
        fed = end;
        assert_eq!(validator.pending(), end - so_far.map_or_else(|error| error.valid_up_to(), str::len));
    }
    assert_eq!(validator.finish().is_ok(), expected.is_ok());
}
