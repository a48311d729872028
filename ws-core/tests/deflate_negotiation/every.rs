//! Every offer with all settings, and every answer, checked against the RFC's own rules.

use super::rfc7692::{Param, may_answer, window};
use super::*;

/// Every combination of the four parameters with every value that they may have, and none.
fn all_lines() -> impl Iterator<Item = String> {
    let server: Vec<_> = (7..=15)
        .map(|n| if n == 7 { String::new() } else { format!("; server_max_window_bits={n}") })
        .collect();
    let client: Vec<_> = (6..=15)
        .map(|n| match n {
            6 => String::new(),
            7 => "; client_max_window_bits".into(),
            n => format!("; client_max_window_bits={n}"),
        })
        .collect();
    (0..360).map(move |n: usize| {
        let mut line = "permessage-deflate".to_owned();
        line.push_str(if n & 1 == 0 { "" } else { "; server_no_context_takeover" });
        line.push_str(if n & 2 == 0 { "" } else { "; client_no_context_takeover" });
        line + &server[n / 4 % 9] + &client[n / 36]
    })
}

/// The parameters of a line with one extension, written plainly.
fn params(line: &str) -> Vec<Param> {
    let param = |text: &str| match text.split_once('=') {
        None => (text.to_owned(), None),
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
    };
    line.split("; ").skip(1).map(param).collect()
}

/// DN-05 to DN-11, DN-16: every offer and every settings: the answer is one that the RFC allows and our client takes, and
/// both sides know the same.
#[test]
fn every_offer_is_answered() {
    for offer in all_lines() {
        let plain = params(&offer);
        for settings in all_settings() {
            let Some((agreed, answer)) = accept(&settings, &[&offer]) else {
                assert_eq!(
                    window(&plain, "server_max_window_bits"),
                    Some(8),
                    "{settings:?} declined {offer}"
                );
                continue;
            };
            let context = format!("{settings:?} answered {offer} by {answer}");
            assert!(may_answer(&plain, &params(&answer)), "{context}");
            assert_eq!(check(&offer, &[&answer]), Ok(Some(agreed)), "{context}");

            assert!(agreed.server_max_window_bits <= settings.deflate_window.max(bits(9)), "{context}");
            assert!(agreed.server_max_window_bits >= bits(9), "{context}");
            assert!(agreed.server_no_context_takeover || settings.deflate_takeover, "{context}");
            assert!(agreed.client_no_context_takeover || settings.inflate_takeover, "{context}");
            // Nothing larger than our window is ever kept between messages.
            assert!(
                agreed.client_no_context_takeover || agreed.client_max_window_bits <= settings.inflate_window,
                "{context}"
            );
        }
    }
}

/// DN-06 to DN-12, DN-18: all settings of a client and every answer: accepted if it fits one of the offers, and our own
/// promises are kept.
#[test]
fn every_answer_is_checked() {
    for settings in all_settings() {
        let line = settings.offer();
        let offers: Vec<_> = line.split(", ").map(params).collect();
        for answer in all_lines() {
            let plain = params(&answer);
            let context = format!("{line} was answered by {answer}");
            let fits = offers.iter().any(|offer| may_answer(offer, &plain));
            let outcome = check(&line, &[&answer]);
            let Ok(agreed) = outcome else {
                assert!(!fits, "{context}: {outcome:?}");
                continue;
            };
            assert!(fits, "{context}");
            let agreed = agreed.expect("agreed");
            let said = |name| window(&plain, name).unwrap_or(15);
            let own = settings.deflate_window.bits().max(9);
            assert_eq!(agreed.server_max_window_bits.bits(), said("server_max_window_bits"), "{context}");
            assert_eq!(
                agreed.client_max_window_bits.bits(),
                said("client_max_window_bits").min(own),
                "{context}"
            );
            assert_eq!(agreed.server_no_context_takeover, answer.contains("server_no"), "{context}");
            assert_eq!(
                agreed.client_no_context_takeover,
                answer.contains("client_no") || !settings.deflate_takeover,
                "{context}"
            );
            assert!(agreed.server_no_context_takeover || settings.inflate_takeover, "{context}");
            // Nothing larger than our window is ever kept between messages.
            assert!(
                agreed.server_no_context_takeover || agreed.server_max_window_bits <= settings.inflate_window,
                "{context}"
            );
        }
    }
}
