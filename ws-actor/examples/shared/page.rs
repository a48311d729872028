//! A page of one file, with the headers that keep others' scripts out of it.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY};

/// Serves a page. Only the script and the style that bear the nonce of this one answer are run, so that no other
/// person's text can become a script; in the file the nonce is written `{nonce}`.
pub(crate) fn page(html: &str) -> Response<String> {
    let nonce = secret();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self' ws: wss:; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, &policy),
    ];
    let mut response = Response::new(html.replace("{nonce}", &nonce));
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An answer of one line.
pub(crate) fn line(status: u16, text: &str) -> Response<String> {
    let mut response = Response::new(format!("{text}\n"));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response
}

/// Something nobody guesses: 128 random bits.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says what is wrong with the address that was named on the command line.
pub(crate) fn cannot_listen(program: &str, addr: &str, error: &std::io::Error) {
    eprintln!("{program}: cannot listen on {addr}: {error}");
    if error.kind() == std::io::ErrorKind::AddrInUse {
        eprintln!("Another program listens there. End it, or name another address, such as this one:");
        eprintln!("    cargo run --release --example {program} 127.0.0.1:8090");
    } else {
        eprintln!("An address is an IP address and a port, such as 127.0.0.1:8080.");
    }
}
