//! A model of RFC 7692, section 7.1, sentence by sentence: what an offer may be, and what may answer it. It works on
//! parameters as text, slowly, and without any type of ws-core.

/// A name, and the value if there is one.
pub type Param = (String, Option<String>);

const WINDOWS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];

/// "A server MUST decline an extension negotiation offer" that is not this.
pub fn is_offer(params: &[Param]) -> bool {
    let is_defined = |(name, value): &Param| match name.as_str() {
        "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
        "server_max_window_bits" => value.as_deref().is_some_and(|value| WINDOWS.contains(&value)),
        "client_max_window_bits" => value.as_deref().is_none_or(|value| WINDOWS.contains(&value)),
        _ => false,
    };
    let is_once = |(name, _): &Param| params.iter().filter(|(other, _)| other == name).count() == 1;
    params.iter().all(is_defined) && params.iter().all(is_once)
}

/// Whether a client must not "_Fail the WebSocket Connection_" over this answer to that offer.
pub fn may_answer(offer: &[Param], answer: &[Param]) -> bool {
    let has = |params: &[Param], name: &str| params.iter().any(|(other, _)| other == name);
    let is_answer = is_offer(answer) && !answer.contains(&("client_max_window_bits".into(), None));
    let takeover = "server_no_context_takeover";
    let honours_takeover = has(answer, takeover) || !has(offer, takeover);
    let honours_window = window(offer, "server_max_window_bits")
        .is_none_or(|asked| window(answer, "server_max_window_bits").is_some_and(|said| said <= asked));
    let may_be_told = has(offer, "client_max_window_bits") || !has(answer, "client_max_window_bits");
    is_offer(offer) && is_answer && honours_takeover && honours_window && may_be_told
}

/// The value of this parameter as a number, if it is present and has one.
pub fn window(params: &[Param], name: &str) -> Option<u8> {
    params.iter().find(|(other, _)| other == name)?.1.as_deref()?.parse().ok()
}
