//! The texts of errors: every row of every list.

use std::collections::HashSet;
use std::fmt::Display;

use ws_core::handshake::HeadFault;
use ws_core::{CloseCode, Failure, HandshakeError, Rejection, Timer, Violation};

/// The text names the section once, as a whole reference.
fn names_its_section_once(error: &dyn Display, section: &str) {
    let text = error.to_string();
    assert!(section.starts_with("RFC ") && section.contains(", section "), "{section}");
    assert_eq!(text.matches("section").count(), 1, "{text}");
    assert!(text.ends_with(&format!(" ({section})")), "{text}");
}

#[test]
fn every_error_names_its_section_once() {
    let timers = [Timer::Handshake, Timer::Keepalive, Timer::Pong, Timer::Close, Timer::Linger];
    let failures = timers.map(Failure::Timeout).into_iter().chain([Failure::Eof]);
    for failure in failures.chain(Violation::ALL.iter().map(|&violation| violation.into())) {
        names_its_section_once(&failure, failure.section());
    }
    for violation in Violation::ALL {
        names_its_section_once(violation, violation.section());
        assert_eq!(violation.to_string(), Failure::Violation(*violation).to_string());
        // 5.5.1: the reason goes into a close frame, after two bytes of code.
        assert!(violation.reason().len() <= 123 && violation.close_code().may_travel(), "{violation}");
    }
    for rejection in Rejection::ALL {
        names_its_section_once(rejection, rejection.section());
    }
    for &fault in HeadFault::ALL {
        names_its_section_once(&fault, fault.section());
        names_its_section_once(&HandshakeError::from(fault), fault.section());
    }
    names_its_section_once(&HandshakeError::Timeout, HandshakeError::Timeout.section());
}

/// DP-06: what does not end as a message does breaks a rule of RFC 7692.
#[test]
fn bad_compression_rests_on_its_own_rfc() {
    let violation = Violation::InvalidDeflate;
    assert_eq!(
        (violation.section(), violation.close_code()),
        ("RFC 7692, section 7.2.2", CloseCode::INVALID_DATA)
    );
    let others = Violation::ALL.iter().filter(|&&other| other != violation);
    assert!(others.clone().all(|other| other.section().starts_with("RFC 6455, section ")));
    let reasons: HashSet<_> = others.map(|other| other.reason()).collect();
    assert_eq!(reasons.len(), Violation::ALL.len() - 1, "each has its own words");
}
