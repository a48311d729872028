//! The grammar of extension offers: rows HS-18, HS-19 and, for the client's side, HC-14.

mod heads;

use heads::upgrade;
use ws_core::{Accept, AnswerError, Config, Instant, Rejection, ServerHandshake};

static CONFIG: Config = Config::server();

/// The offers of these lines, written plainly: `name;param;param=value`.
fn offers(lines: &[&[u8]]) -> Result<Vec<String>, Rejection> {
    let mut head = upgrade().to_string().into_bytes();
    head.truncate(head.len() - 2);
    for line in lines {
        head.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\nX-Between: 1\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let mut handshake = ServerHandshake::new(Instant::ZERO, &CONFIG);
    let request = handshake.recv(Instant::ZERO, &head)?.expect("a complete head");
    let offers = request.extensions().map(|extension| {
        let params = extension.params().map(|(name, value)| match value {
            None => format!(";{name}"),
            Some(value) => format!(";{name}={}", value.bytes().map(char::from).collect::<String>()),
        });
        format!("{}{}", extension.name(), params.collect::<String>())
    });
    Ok(offers.collect())
}

/// HS-19: unknown offers, several lines, mixed lists, quoted values: all read, in order.
#[test]
fn hs_19_offers() {
    for (lines, expected) in [
        (
            &[&b"permessage-deflate; client_max_window_bits"[..]][..],
            &["permessage-deflate;client_max_window_bits"][..],
        ),
        (&[b"a", b"b;c=d, e", b"f"], &["a", "b;c=d", "e", "f"]),
        (&[b"a;b=\"c\""], &["a;b=c"]),
        (&[b"a;b=\"1\\0\""], &["a;b=10"]),
        (&[b"a;b=\"\\x\\y\", c"], &["a;b=xy", "c"]),
        (&[b"a;b=\"permessage-deflate\";permessage-deflate"], &["a;b=permessage-deflate;permessage-deflate"]),
        // Spaces are legal around every part, and empty elements are ignored.
        (&[b" \ta\t; b =\tc ;d , ,, e\t=f".split_at(15).0], &["a;b=c;d"]),
        (&[b",,a,,"], &["a"]),
        (&[b""], &[]),
        (&[b" , ,\t"], &[]),
        (&[b"", b"a"], &["a"]),
        (&[b"a;b;b;b=1"], &["a;b;b;b=1"]),
        (&[b"!#$%&'*+-.^_`|~09AZaz"], &["!#$%&'*+-.^_`|~09AZaz"]),
    ] {
        assert_eq!(offers(lines).expect("well-formed"), expected, "{lines:?}");
    }
}

/// HS-18: what violates the grammar is refused.
#[test]
fn hs_18_malformed() {
    for line in [
        &b"a;b=\"c"[..],
        b"a;b=\"c\\\"",
        b"a;b=\"",
        b"a;;b",
        b"a;",
        b"a; ,b",
        b";a",
        b"a;b=",
        b"a;b=;c",
        b"a;b=\"\"",
        b"a;b=\" 9\"",
        b"a;b=\"c d\"",
        b"a;b=\"c,d\"",
        b"a;b=\"c;d\"",
        b"a;b=\"c\\,d\"",
        b"a;b=\"\\\"\"",
        b"a;b=\"c\"d",
        b"a;b=c d",
        b"a b",
        b"a=b",
        b"a;b=c=d",
        b"a;=b",
        b"\"a\"",
        b"a;\"b\"",
        b"a/b",
        b"a;b=c\\d",
        b"\xff",
        b"a;b=\"\xff\"",
        b"(a)",
        b"a;b=\"c\",\"d\"",
        b"a\\",
        b"a;b=\"c\\",
    ] {
        assert_eq!(offers(&[line]), Err(Rejection::Extensions), "{:?}", String::from_utf8_lossy(line));
        assert_eq!(offers(&[b"fine", line]), Err(Rejection::Extensions));
        assert_eq!(offers(&[line, b"fine"]), Err(Rejection::Extensions));
        // A second line cannot close what the first left open.
        assert!(offers(&[line, b"\""]).is_err());
    }
    assert_eq!(Rejection::Extensions.status(), 400);
}

/// HS-18: no line takes more than one pass over it, whatever it contains.
#[test]
fn hs_18_long_lines() {
    for piece in [&b"a,"[..], b",", b";", b"a;", b"\"", b"\\", b"a;b=\"c\",", b"a;b;", b"a;b=\"", b" "] {
        let line = piece.repeat(8000 / piece.len());
        let _ = offers(&[&line]);
    }
    let many = b"a;b=\"c\",".repeat(1000);
    assert_eq!(offers(&[&many]).map(|offers| offers.len()), Ok(1000));
}

/// HS-19: nothing that was not offered is answered.
#[test]
fn hs_19_answer_only_offers() {
    let head = upgrade().with("Sec-WebSocket-Extensions", "x-a; p=1, x-b").to_string();
    let answer = |extensions: &str| {
        let mut handshake = ServerHandshake::new(Instant::ZERO, &CONFIG);
        let request = handshake.recv(Instant::ZERO, head.as_bytes()).unwrap().unwrap();
        let mut out = [0; 512];
        let len = handshake.accept(&request, Accept { extensions, ..Accept::default() }, &mut out)?;
        Ok(String::from_utf8(out[..len].to_vec()).unwrap())
    };
    assert!(answer("x-b; q").unwrap().ends_with("\r\nSec-WebSocket-Extensions: x-b; q\r\n\r\n"));
    assert!(!answer("").unwrap().contains("Extensions"));
    for wrong in ["x-c", "x-b, x-c", "X-A", "x-a;", "x-a\r\nX: y", "p"] {
        assert_eq!(answer(wrong), Err(AnswerError::ExtensionNotOffered), "{wrong:?}");
    }
}

#[test]
fn a_quoted_value_equals_its_token() {
    let head = upgrade().with("Sec-WebSocket-Extensions", "a; b=\"1\\0\"; c=10; d").to_string();
    let mut handshake = ServerHandshake::new(Instant::ZERO, &CONFIG);
    let request = handshake.recv(Instant::ZERO, head.as_bytes()).unwrap().unwrap();
    let params: Vec<_> = request.extensions().next().unwrap().params().collect();
    assert!(params[0].1.is_some_and(|value| value == *"10"));
    assert!(params[1].1.is_some_and(|value| value == *"10" && value != *"1" && value != *"100"));
    assert!(params[2].1.is_none());
}
