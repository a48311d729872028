//! Heads to vary: a start line and fields, from which tests take one away or change it.

// No test file uses all of it.
#![allow(dead_code)]

pub(crate) mod server;

use std::fmt;

/// The sample key of RFC 6455, section 1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A head in parts.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    method: String,
    target: String,
    version: String,
    fields: Vec<(String, String)>,
}

/// The least that is an upgrade.
pub(crate) fn upgrade() -> Case {
    let fields = [
        ("Host", "a"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    Case {
        method: "GET".into(),
        target: "/".into(),
        version: "HTTP/1.1".into(),
        fields: fields.map(|(name, value)| (name.into(), value.into())).into(),
    }
}

impl Case {
    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn replace(mut self, name: &str, value: &str) -> Self {
        let field = self.fields.iter_mut().find(|(other, _)| other == name).expect("a field to replace");
        field.1 = value.into();
        self
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}\r\n", self.method, self.target, self.version)?;
        for (name, value) in &self.fields {
            write!(f, "{name}: {value}\r\n")?;
        }
        f.write_str("\r\n")
    }
}

/// What a desktop browser sends.
pub(crate) fn browser() -> String {
    "GET /chat?room=lobby HTTP/1.1\r\n\
     Host: localhost:8080\r\n\
     Connection: Upgrade\r\n\
     Pragma: no-cache\r\n\
     Cache-Control: no-cache\r\n\
     User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
     Upgrade: websocket\r\n\
     Origin: http://localhost:8080\r\n\
     Sec-WebSocket-Version: 13\r\n\
     Accept-Encoding: gzip, deflate, br, zstd\r\n\
     Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n\
     Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        .to_owned()
}
