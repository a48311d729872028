//! Which side agrees to what about permessage-deflate: rows DN-01 to DN-18, for both roles, over whole handshakes. Row by
//! row here; every offer and every answer in `every.rs`.
#![cfg(feature = "deflate")]

mod every;
#[path = "../heads/mod.rs"]
mod heads;
#[path = "../../../fuzz/src/rfc7692.rs"]
#[allow(unreachable_pub, reason = "the same file is a library where the fuzzer runs it")]
mod rfc7692;

use heads::upgrade;
use ws_core::deflate::{Agreement, Settings, WindowBits};
use ws_core::{
    Accept, AnswerError, ClientHandshake, ClientRequest, Config, HandshakeError, Instant, ServerHandshake,
    Uri,
};

static SERVER: Config = Config::server();
static CLIENT: Config = Config::client();

const PLAIN: &str = "permessage-deflate; client_max_window_bits";
const NAME: &str = "Sec-WebSocket-Extensions";

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).expect("8 to 15")
}

/// Windows of our compressor and of the peer's, context takeover of both.
fn settings(windows: [u8; 2], takeovers: [bool; 2]) -> Settings {
    let mut settings = Settings::server();
    [settings.deflate_window, settings.inflate_window] = windows.map(bits);
    [settings.deflate_takeover, settings.inflate_takeover] = takeovers;
    settings
}

/// Some windows of both directions with all takeovers.
fn all_settings() -> impl Iterator<Item = Settings> {
    let windows = [8, 9, 12, 15];
    (0..64).map(move |n: usize| settings([windows[n % 4], windows[n / 4 % 4]], [n & 16 == 0, n & 32 == 0]))
}

/// `server_no_context_takeover`, `client_no_context_takeover`, and both windows.
fn agreement(no_takeover: [bool; 2], windows: [u8; 2]) -> Agreement {
    Agreement {
        server_no_context_takeover: no_takeover[0],
        client_no_context_takeover: no_takeover[1],
        server_max_window_bits: bits(windows[0]),
        client_max_window_bits: bits(windows[1]),
    }
}

/// What a server agrees to from the offers in these lines, and the line in its answer as sent.
fn accept(settings: &Settings, lines: &[&str]) -> Option<(Agreement, String)> {
    let head = lines.iter().fold(upgrade(), |head, line| head.with(NAME, line)).to_string();
    let mut handshake = ServerHandshake::new(Instant::ZERO, &SERVER);
    let request = handshake.recv(Instant::ZERO, head.as_bytes()).expect("well-formed").expect("complete");
    let (agreement, line) = settings.accept(request.extensions())?;
    let mut out = [0; 512];
    let accept = Accept { extensions: &line, ..Accept::default() };
    let len = handshake.accept(&request, accept, &mut out).expect("an answer to the offers");
    let text = std::str::from_utf8(&out[..len]).expect("ASCII");
    let lines: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: ")).collect();
    assert_eq!(lines, [&*line], "one line");
    Some((agreement, line.to_string()))
}

/// How a client reads the lines of a response to these offers.
fn check(offers: &str, lines: &[&str]) -> Result<Option<Agreement>, HandshakeError> {
    let mut request = ClientRequest::new(Uri::parse("ws://a/").expect("an address"));
    request.extensions = offers;
    let mut handshake =
        ClientHandshake::new(Instant::ZERO, &CLIENT, request, *b"the sample nonce").expect("fit to send");
    let lines: String = lines.iter().map(|line| format!("{NAME}: {line}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{lines}\r\n"
    );
    let response = handshake.recv(Instant::ZERO, head.as_bytes())?.expect("complete");
    Agreement::check(offers, response.extensions())
}

/// The answers of a server with full windows and of one with small ones: `None` where the offers are declined.
#[track_caller]
fn assert_answers(lines: &[&str], full: Option<&str>, lean: Option<&str>) {
    let answer = |windows| accept(&settings(windows, [true; 2]), lines).map(|(_, line)| line);
    assert_eq!(answer([15, 15]).as_deref(), full, "{lines:?}");
    assert_eq!(answer([12, 12]).as_deref(), lean, "{lines:?}");
    assert_eq!(accept(&Settings::server(), lines).map(|(_, line)| line).as_deref(), lean);
}

const LEAN: Option<&str> = Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");

/// DN-01: an offer with an unknown parameter is declined, and the next one is looked at; an unknown extension likewise.
#[test]
fn dn01_unknown_parameters() {
    for unknown in ["permessage-deflate; x", "permessage-deflate; client_max_window_bits; x=1", "x-a"] {
        assert_answers(&[unknown], None, None);
        assert_answers(&[unknown, PLAIN], Some("permessage-deflate"), LEAN);
    }
    for name in [
        "Permessage-Deflate",
        "permessage-deflate; Client_max_window_bits",
        "permessage-deflate; client-max-window-bits",
        "permessage-deflate; server_max_window_bit=9",
    ] {
        assert_answers(&[name], None, None);
    }
    assert_eq!(check(PLAIN, &["permessage-deflate; x"]), Err(HandshakeError::DeflateParameter));
    assert_eq!(check("x-a", &["x-a; x"]), Ok(None));
    assert_eq!(check(PLAIN, &[]), Ok(None));
    assert_eq!(check(PLAIN, &[""]), Ok(None));
}

/// DN-02: a repeated parameter declines the offer, and fails the answer.
#[test]
fn dn02_repeated_parameters() {
    for params in [
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits=11",
        "client_max_window_bits=10; server_no_context_takeover; client_max_window_bits=\"10\"",
    ] {
        let line = format!("permessage-deflate; {params}");
        assert_answers(&[&line], None, None);
        assert_eq!(check(PLAIN, &[&line]), Err(HandshakeError::DeflateRepeated), "{line}");
    }
    assert_answers(&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None, None);
    assert_answers(&["permessage-deflate; client_max_window_bits; client_max_window_bits=9"], None, None);
}

/// DN-03: `*_no_context_takeover` has no value.
#[test]
fn dn03_takeover_with_a_value() {
    for name in ["server_no_context_takeover", "client_no_context_takeover"] {
        for value in ["1", "true", "\"false\"", "10", "server_no_context_takeover"] {
            let line = format!("permessage-deflate; {name}={value}");
            assert_answers(&[&line], None, None);
            assert_eq!(check(PLAIN, &[&line]), Err(HandshakeError::DeflateValue), "{line}");
        }
    }
}

/// DN-04, DN-18: a window is 8 to 15 in decimal; with anything else an offer is declined, and an answer fails.
#[test]
fn dn04_dn18_window_values() {
    let wrong = [
        "08",
        "7",
        "16",
        "+9",
        "0x9",
        "0",
        "00",
        "1",
        "015",
        "150",
        "9a",
        "1e1",
        "8.0",
        "10-",
        "99",
        "256",
        "264",
        "-9",
        "65546",
        "4294967306",
        "18446744073709551626",
        "99999999999999999999999999",
        "none",
        "\"1\\6\"",
        "\"015\"",
    ];
    for value in wrong {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let line = format!("permessage-deflate; {name}={value}");
            assert_answers(&[&line], None, None);
            assert_eq!(check(PLAIN, &[&line]), Err(HandshakeError::DeflateValue), "{line}");
        }
    }
    assert_answers(&["permessage-deflate; server_max_window_bits"], None, None);
    assert_eq!(
        check(PLAIN, &["permessage-deflate; server_max_window_bits"]),
        Err(HandshakeError::DeflateValue)
    );
    // Not even the grammar: HS-18 and HC-14.
    for value in ["", "\" 9\"", "\"\""] {
        let line = format!("permessage-deflate; server_max_window_bits={value}");
        assert_eq!(check(PLAIN, &[&line]), Err(HandshakeError::Extensions), "{line}");
    }
    for number in 8..=15 {
        let line = format!(
            "permessage-deflate\t;  server_max_window_bits\t= {number} ;client_max_window_bits={number}"
        );
        assert_eq!(check(PLAIN, &[&line]), Ok(Some(agreement([false; 2], [number; 2]))), "{line}");
    }
}

/// DN-05: with `client_max_window_bits` without a value a client can be told; with one it tells.
#[test]
fn dn05_client_window_offered() {
    assert_answers(&[PLAIN], Some("permessage-deflate"), LEAN);
    let server = "permessage-deflate; server_max_window_bits=12; client_max_window_bits";
    assert_answers(
        &["permessage-deflate; client_max_window_bits=10"],
        Some("permessage-deflate; client_max_window_bits=10"),
        Some(&format!("{server}=10")),
    );
    assert_answers(
        &["permessage-deflate; client_max_window_bits=15"],
        Some("permessage-deflate"),
        Some(&format!("{server}=12")),
    );
    // A client may keep itself to 8; we inflate that.
    assert_answers(
        &["permessage-deflate; client_max_window_bits=8"],
        Some("permessage-deflate; client_max_window_bits=8"),
        Some(&format!("{server}=8")),
    );
    // What the client declared about itself binds it, taken up or not.
    let hint = "permessage-deflate; client_no_context_takeover; client_max_window_bits=10";
    for (answer, expected) in
        [("", 10), ("; client_max_window_bits=15", 10), ("; client_max_window_bits=9", 9)]
    {
        let answer = format!("permessage-deflate{answer}");
        assert_eq!(check(hint, &[&answer]), Ok(Some(agreement([false, true], [15, expected]))), "{answer}");
    }
}

/// DN-06: a client that did not offer `client_max_window_bits` is not told one: our server takes the context away instead,
/// and our client fails.
#[test]
fn dn06_client_window_not_offered() {
    assert_answers(
        &["permessage-deflate"],
        Some("permessage-deflate"),
        Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=12"),
    );
    let (agreed, _) = accept(&settings([15, 14], [true; 2]), &["permessage-deflate"]).expect("accepted");
    assert_eq!(agreed, agreement([false, true], [15, 15]));
    for number in 8..=15 {
        let answer = format!("permessage-deflate; client_max_window_bits={number}");
        assert_eq!(check("permessage-deflate", &[&answer]), Err(HandshakeError::DeflateClientWindow));
        assert_eq!(check(PLAIN, &[&answer]), Ok(Some(agreement([false; 2], [15, number]))));
    }
}

/// DN-07: a window that the client asks of the server is answered by the same or a smaller one; unasked by our own, if it
/// is below 15.
#[test]
fn dn07_server_window() {
    for asked in 9..=15u8 {
        let offer = format!("permessage-deflate; server_max_window_bits={asked}; client_max_window_bits");
        assert_answers(
            &[&offer],
            Some(&format!("permessage-deflate; server_max_window_bits={asked}")),
            Some(&format!(
                "permessage-deflate; server_max_window_bits={}; client_max_window_bits=12",
                asked.min(12)
            )),
        );
    }
    let offer = "permessage-deflate; server_max_window_bits=12";
    for (answer, expected) in [
        ("", Err(HandshakeError::DeflateServerWindow)),
        ("; server_max_window_bits=13", Err(HandshakeError::DeflateServerWindow)),
        ("; server_max_window_bits=15", Err(HandshakeError::DeflateServerWindow)),
        ("; server_max_window_bits=12", Ok(Some(agreement([false; 2], [12, 15])))),
        ("; server_max_window_bits=8", Ok(Some(agreement([false; 2], [8, 15])))),
    ] {
        assert_eq!(check(offer, &[&format!("permessage-deflate{answer}")]), expected, "{answer}");
    }
    // Unasked.
    assert_eq!(
        check(PLAIN, &["permessage-deflate; server_max_window_bits=9"]),
        Ok(Some(agreement([false; 2], [9, 15])))
    );
}

/// DN-08: an answer is right if it fits any of the offers, and one that some servers give to every offer fits ours.
#[test]
fn dn08_any_of_the_offers() {
    for (windows, takeovers, line) in [
        ([15, 15], [true, true], PLAIN),
        ([10, 15], [true, true], "permessage-deflate; client_max_window_bits=10"),
        ([15, 15], [false, true], "permessage-deflate; client_no_context_takeover; client_max_window_bits"),
        ([15, 15], [true, false], "permessage-deflate; server_no_context_takeover; client_max_window_bits"),
        (
            [15, 12],
            [true, true],
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits, \
             permessage-deflate; server_no_context_takeover; client_max_window_bits",
        ),
        (
            [14, 14],
            [false, false],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=14; client_max_window_bits=14, \
             permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=14",
        ),
    ] {
        assert_eq!(&*settings(windows, takeovers).offer(), line);
    }
    assert_eq!(&*Settings::client().offer(), PLAIN);

    let literal = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for settings in all_settings() {
        let agreed = check(&settings.offer(), &[literal]).expect("fits").expect("agreed");
        let own = settings.deflate_window.bits().max(9);
        assert_eq!(agreed, agreement([true; 2], [15, own]), "{settings:?}");
    }
    let offers = settings([15, 12], [true; 2]).offer();
    for (answer, expected) in [
        // The first fits, the second, both; none.
        ("server_max_window_bits=12", Ok(Some(agreement([false; 2], [12, 15])))),
        ("server_no_context_takeover", Ok(Some(agreement([true, false], [15, 15])))),
        (
            "server_no_context_takeover; server_max_window_bits=13; client_max_window_bits=8",
            Ok(Some(agreement([true, false], [13, 8]))),
        ),
        ("server_no_context_takeover; server_max_window_bits=9", Ok(Some(agreement([true, false], [9, 15])))),
        ("server_max_window_bits=13", Err(HandshakeError::DeflateTakeover)),
        ("client_no_context_takeover", Err(HandshakeError::DeflateTakeover)),
    ] {
        assert_eq!(check(&offers, &[&format!("permessage-deflate; {answer}")]), expected, "{answer}");
    }
    // Where both fit and promise different things of the client, both promises are kept; an offer that breaks the rules
    // promises nothing.
    let offers = "permessage-deflate; client_max_window_bits=10, permessage-deflate; client_no_context_takeover, \
        permessage-deflate; client_max_window_bits=99";
    assert_eq!(check(offers, &["permessage-deflate"]), Ok(Some(agreement([false, true], [15, 10]))));
    assert_eq!(
        check(offers, &["permessage-deflate; client_max_window_bits=12"]),
        Ok(Some(agreement([false, false], [15, 10])))
    );
    assert_eq!(
        check("permessage-deflate; x", &["permessage-deflate"]),
        Err(HandshakeError::ExtensionNotOffered)
    );
}

/// DN-09: a server that was asked for no context takeover confirms it.
#[test]
fn dn09_server_takeover_asked() {
    let offer = "permessage-deflate; server_no_context_takeover";
    assert_eq!(check(offer, &["permessage-deflate"]), Err(HandshakeError::DeflateTakeover));
    assert_eq!(
        check(offer, &["permessage-deflate; client_no_context_takeover"]),
        Err(HandshakeError::DeflateTakeover)
    );
    assert_eq!(check(offer, &[offer]), Ok(Some(agreement([true, false], [15, 15]))));
    assert_eq!(
        accept(&settings([15, 15], [true; 2]), &[offer]),
        Some((agreement([true, false], [15, 15]), offer.into()))
    );
}

/// DN-10: a server may renounce its context unasked.
#[test]
fn dn10_server_takeover_unasked() {
    let answer = "permessage-deflate; server_no_context_takeover";
    assert_eq!(check(PLAIN, &[answer]), Ok(Some(agreement([true, false], [15, 15]))));
    let agreed = accept(&settings([15, 15], [false, true]), &[PLAIN]);
    assert_eq!(agreed, Some((agreement([true, false], [15, 15]), answer.into())));
}

/// DN-11: a client that is told to has no context, whether it offered that or not.
#[test]
fn dn11_client_takeover() {
    let told = "permessage-deflate; client_no_context_takeover";
    for offer in [PLAIN, told, "permessage-deflate"] {
        assert_eq!(check(offer, &[told]), Ok(Some(agreement([false, true], [15, 15]))), "{offer}");
        let agreed = accept(&settings([15, 15], [true, false]), &[offer]);
        assert_eq!(agreed, Some((agreement([false, true], [15, 15]), told.into())), "{offer}");
    }
    // What it offered is taken up.
    assert_answers(
        &[told],
        Some(told),
        Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=12"),
    );
}

/// DN-12: in an answer, `client_max_window_bits` has a value.
#[test]
fn dn12_client_window_without_a_value() {
    assert_eq!(check(PLAIN, &[PLAIN]), Err(HandshakeError::DeflateValue));
}

/// DN-13: a quoted value equals the token that it quotes.
#[test]
fn dn13_quoted_values() {
    for value in ["10", "\"10\"", "\"1\\0\"", "\"\\1\\0\""] {
        let line =
            format!("permessage-deflate; server_max_window_bits={value}; client_max_window_bits={value}");
        let same = "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10";
        assert_answers(&[&line], Some(same), Some(same));
        assert_eq!(check(PLAIN, &[&line]), Ok(Some(agreement([false; 2], [10, 10]))));
    }
    // Quotes protect separators and names, so that this is one unknown parameter; and a name is not a value.
    assert_answers(&["x-a; x=\"permessage-deflate\""], None, None);
}

/// DN-14: the first offer that can be honoured wins, over all lines, and one is in the answer; a client that sees two
/// fails.
#[test]
fn dn14_several_offers() {
    for lines in [
        &["x-a, permessage-deflate; server_max_window_bits=10, permessage-deflate"][..],
        &["x-a", "permessage-deflate; server_max_window_bits=10", "permessage-deflate"],
        &[
            "permessage-deflate; x, permessage-deflate; server_max_window_bits=8",
            "",
            ",permessage-deflate;server_max_window_bits=10,",
            PLAIN,
        ],
    ] {
        let first = "permessage-deflate; server_max_window_bits=10";
        let lean = "permessage-deflate; client_no_context_takeover; server_max_window_bits=10";
        assert_answers(lines, Some(first), Some(lean));
    }
    let many = ["permessage-deflate; server_max_window_bits=8"; 40];
    assert_answers(&many, None, None);
    for lines in [
        &["permessage-deflate, permessage-deflate"][..],
        &["permessage-deflate", "permessage-deflate; client_max_window_bits=9"],
        &["permessage-deflate", "permessage-deflate; x"],
    ] {
        assert_eq!(check(PLAIN, lines), Err(HandshakeError::Rsv1Shared), "{lines:?}");
    }
    // Also for a list that no handshake has checked as an answer.
    let head = upgrade().with(NAME, "permessage-deflate, permessage-deflate").to_string();
    let mut handshake = ServerHandshake::new(Instant::ZERO, &SERVER);
    let request = handshake.recv(Instant::ZERO, head.as_bytes()).expect("well-formed").expect("complete");
    assert_eq!(Settings::client().check(request.extensions()), Err(HandshakeError::Rsv1Shared));
}

/// DN-15: a second extension in use of RSV1 is refused by both roles, in a line of either side; others may be there as well.
#[test]
fn dn15_rsv1() {
    let offers = "permessage-deflate, x-webkit-deflate-frame, permessage-bzip2, deflate-frame, x-mux";
    let answer = |extensions: &str| {
        let head = upgrade().with(NAME, offers).to_string();
        let mut handshake = ServerHandshake::new(Instant::ZERO, &SERVER);
        let request = handshake.recv(Instant::ZERO, head.as_bytes()).expect("well-formed").expect("complete");
        handshake.accept(&request, Accept { extensions, ..Accept::default() }, &mut [0; 512]).map(|_| ())
    };
    for second in ["x-webkit-deflate-frame", "permessage-bzip2", "deflate-frame", "permessage-deflate"] {
        for both in [format!("permessage-deflate, {second}"), format!("{second}, x-mux, permessage-deflate")]
        {
            assert_eq!(answer(&both), Err(AnswerError::Rsv1Shared), "{both}");
            assert_eq!(check(offers, &[&both]), Err(HandshakeError::Rsv1Shared), "{both}");
        }
    }
    assert_eq!(answer("x-mux, permessage-deflate"), Ok(()));
    assert_eq!(check(offers, &["x-mux", "permessage-deflate"]), Ok(Some(agreement([false; 2], [15, 15]))));
}

/// DN-16: a window of 8 for our own compressor is never promised: such an offer is declined, and our settings say 9.
#[test]
fn dn16_no_compressor_of_8_bits() {
    let offer = "permessage-deflate; server_max_window_bits=8; client_max_window_bits";
    assert_answers(&[offer], None, None);
    assert_answers(&[offer, PLAIN], Some("permessage-deflate"), LEAN);
    let small = settings([8, 15], [true; 2]);
    assert_eq!(accept(&small, &[offer]), None);
    assert_eq!(
        accept(&small, &[PLAIN]),
        Some((agreement([false; 2], [9, 15]), "permessage-deflate; server_max_window_bits=9".into()))
    );
    assert_eq!(&*small.offer(), "permessage-deflate; client_max_window_bits=9");
    // A client that is told 8 knows it, and sends uncompressed.
    let told = check(PLAIN, &["permessage-deflate; client_max_window_bits=8"]);
    assert_eq!(told, Ok(Some(agreement([false; 2], [15, 8]))));

    let raw = |bits: i32| zlib_rs::DeflateConfig { window_bits: -bits, ..Default::default() };
    let mut out = [0; 64];
    assert_eq!(zlib_rs::compress_slice(&mut out, b"a", raw(8)).1, zlib_rs::ReturnCode::StreamError);
    assert_eq!(zlib_rs::compress_slice(&mut out, b"a", raw(9)).1, zlib_rs::ReturnCode::Ok);
}

/// DN-17: what is agreed for our own compressor can be kept: the back end limits its window to each value from 9 on.
#[test]
fn dn17_the_back_end_limits_its_window() {
    let mut state = 1u32;
    let mut noise = |len: usize| -> Vec<u8> {
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    };
    for bits in 9..=15 {
        for level in 1..=9 {
            let packed = |input: &[u8]| {
                let config = zlib_rs::DeflateConfig { level, window_bits: -bits, ..Default::default() };
                zlib_rs::compress_slice(&mut vec![0; 2 * input.len() + 64], input, config).0.len()
            };
            // 200 bytes of new noise after so much of it, and the first 200 again: what the repetition saves.
            let mut saved = |distance: usize| {
                let mut input = noise(distance + 200);
                let new = packed(&input);
                input.copy_within(..200, distance);
                new.saturating_sub(packed(&input))
            };
            let window = 1usize << bits;
            assert!(saved(window + 1) < 16, "{bits} bits, level {level}");
            assert!(saved(window / 2 - 40) > 100, "{bits} bits, level {level}");
        }
    }
}
