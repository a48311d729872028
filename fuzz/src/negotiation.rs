//! Checks any offers of permessage-deflate against any settings: the first that the RFC lets a server accept is accepted,
//! with an answer that the RFC allows and that our client reads as the server meant it. And any answer to our own offers.

use ws_core::deflate::{Agreement, Settings, WindowBits};
use ws_core::{
    Accept, ClientHandshake, ClientRequest, Config, HandshakeError, Instant, Rejection, ServerHandshake, Uri,
};

use super::extensions::{HEAD, lines, list};
use super::rfc7692::{Param, is_offer, may_answer, window};

static SERVER: Config = Config::server();
static CLIENT: Config = Config::client();

const NAME: &str = "permessage-deflate";

/// The first two bytes are the settings; each line of the rest is the value of one header.
pub fn check(data: &[u8]) {
    let Some((&[windows, takeovers], data)) = data.split_first_chunk() else { return };
    let Some((fields, extensions)) = lines(data) else { return };
    let Some(extensions) = extensions else { return };
    let bits = |bits: u8| WindowBits::new(8 + bits % 8).expect("8 to 15");
    let mut settings = Settings::server();
    (settings.deflate_window, settings.inflate_window) = (bits(windows), bits(windows >> 4));
    (settings.deflate_takeover, settings.inflate_takeover) = (takeovers & 1 == 0, takeovers & 2 == 0);
    let of_deflate: Vec<Vec<Param>> =
        extensions.iter().filter(|(name, _)| name == NAME).map(|(_, params)| params.clone()).collect();
    check_offers(&settings, &fields, &of_deflate);
    let alone = extensions.len() == of_deflate.len() && of_deflate.len() == 1;
    if alone {
        check_answer(&settings, &fields, &of_deflate[0]);
    }
}

fn check_offers(settings: &Settings, fields: &[u8], offers: &[Vec<Param>]) {
    let head = [HEAD, fields, b"\r\n"].concat();
    let mut handshake = ServerHandshake::new(Instant::ZERO, &SERVER);
    let request = match handshake.recv(Instant::ZERO, &head) {
        Ok(request) => request.expect("a complete head"),
        Err(error) => return assert!(matches!(error, Rejection::Head(_)), "{error:?}"),
    };
    let can = |params: &Vec<Param>| is_offer(params) && window(params, "server_max_window_bits") != Some(8);
    let taken = offers.iter().find(|params| can(params));
    let Some((agreed, line)) = settings.accept(request.extensions()) else {
        return assert_eq!(taken, None);
    };
    let answer = list(line.as_bytes()).expect("well-formed");
    let taken = taken.expect("an offer that may be taken");
    assert!(answer.len() == 1 && answer[0].0 == NAME && may_answer(taken, &answer[0].1), "{taken:?} {line}");
    let accept = Accept { extensions: &line, ..Accept::default() };
    handshake.accept(&request, accept, &mut [0; 1024]).expect("an answer to the offers");

    // The accepted offer alone, and all of them: a client cannot know which of them was accepted.
    let own = respond(&plain(taken), format!("Sec-WebSocket-Extensions: {line}\r\n").as_bytes());
    assert_eq!(own, Ok(Some(agreed)), "{taken:?} {line}");
    let all: Vec<_> = offers.iter().map(|params| plain(params)).collect();
    let seen = respond(&all.join(","), format!("Sec-WebSocket-Extensions: {line}\r\n").as_bytes());
    let seen = seen.expect("a right answer").expect("agreed");
    assert_eq!(seen.server_max_window_bits, agreed.server_max_window_bits);
    assert_eq!(seen.server_no_context_takeover, agreed.server_no_context_takeover);
    // It promises at least what the server relies on.
    assert!(seen.client_max_window_bits <= agreed.client_max_window_bits);
    assert!(seen.client_no_context_takeover >= agreed.client_no_context_takeover);
}

fn check_answer(settings: &Settings, fields: &[u8], answer: &[Param]) {
    let line = settings.offer();
    let offers = list(line.as_bytes()).expect("well-formed");
    let outcome = respond(&line, fields);
    if matches!(outcome, Err(HandshakeError::Head(_))) {
        return;
    }
    assert_eq!(
        outcome.is_ok(),
        offers.iter().any(|(_, offer)| may_answer(offer, answer)),
        "{line} {outcome:?}"
    );
    if let Ok(agreed) = outcome {
        let agreed = agreed.expect("agreed");
        let said = window(answer, "server_max_window_bits").unwrap_or(15);
        assert_eq!(agreed.server_max_window_bits.bits(), said);
        assert!(
            agreed.server_no_context_takeover
                || settings.inflate_takeover && said <= settings.inflate_window.bits()
        );
        let told = window(answer, "client_max_window_bits").unwrap_or(15);
        assert_eq!(agreed.client_max_window_bits.bits(), told.min(settings.deflate_window.bits().max(9)));
    }
}

/// What a client reads from a response with these fields to its offers.
fn respond(offers: &str, fields: &[u8]) -> Result<Option<Agreement>, HandshakeError> {
    let mut request = ClientRequest::new(Uri::parse("ws://example.com/").expect("an address"));
    request.extensions = offers;
    let nonce = *b"the sample nonce";
    let mut handshake = ClientHandshake::new(Instant::ZERO, &CLIENT, request, nonce).expect("fit to send");
    let open = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let head = [&open[..], fields, b"\r\n"].concat();
    let response = handshake.recv(Instant::ZERO, &head)?.expect("a complete head");
    Agreement::check(offers, response.extensions())
}

fn plain(params: &[Param]) -> String {
    let param = |(name, value): &Param| match value {
        None => format!(";{name}"),
        Some(value) => format!(";{name}={value}"),
    };
    NAME.to_owned() + &params.iter().map(param).collect::<String>()
}
