//! Every vector, at every split point, byte by byte and in random parts: the same events, the same output, the same
//! failure at the same byte, from a `Connection` and from a `Session`, whole and in chunks.
//!
//! F-14: "Same byte stream, any chunking: identical event stream." F-21: also with output drained in 1-byte steps.

#[path = "../wire/mod.rs"]
mod wire;

use std::fs;
use std::path::Path;

use wire::*;
use ws_core::{Config, Delivery, Failure, Role, Violation};

struct Vector {
    name: String,
    role: Role,
    config: Config,
    input: Vec<u8>,
    events: Vec<Seen>,
    output: Vec<u8>,
    fail: Option<(Violation, usize)>,
}

fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for token in text.split_whitespace() {
        let (byte, times) = token.split_once('*').unwrap_or((token, "1"));
        let byte = u8::from_str_radix(byte, 16).expect(token);
        bytes.resize(bytes.len() + times.parse::<usize>().expect(token), byte);
    }
    bytes
}

fn quoted(text: &str) -> String {
    let (start, end) = (text.find('"').expect(text), text.rfind('"').expect(text));
    text[start + 1..end].into()
}

fn event(text: &str) -> Seen {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "text" => Seen::Text(quoted(rest)),
        "binary" => Seen::Binary(hex(rest)),
        "ping" => Seen::Ping(hex(rest)),
        "pong" => Seen::Pong(hex(rest)),
        "close" => {
            let code = rest.split_whitespace().next().and_then(|code| code.parse().ok());
            let frame = code.map(|code| (code, quoted(rest)));
            Seen::Close { frame, interrupted: rest.ends_with("interrupted") }
        }
        _ => panic!("{text}"),
    }
}

fn parse(name: &str, text: &str) -> Vector {
    let role = if text.contains("role server") { Role::Server } else { Role::Client };
    let mut vector = Vector {
        name: name.into(),
        role,
        config: defaults(role),
        input: Vec::new(),
        events: Vec::new(),
        output: Vec::new(),
        fail: None,
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').expect(line);
        match word {
            "role" => assert!(rest == "server" || rest == "client", "{line}"),
            "set" => {
                let (name, value) = rest.split_once(' ').expect(line);
                let value: u32 = value.parse().expect(line);
                let limits = &mut vector.config.limits;
                match name {
                    "max_frame" => limits.max_frame = value.into(),
                    "max_message" => (limits.max_frame, limits.max_message) = (value.into(), value.into()),
                    "max_fragments" => limits.max_fragments = value,
                    "max_empty_fragments" => limits.max_empty_fragments = value,
                    _ => panic!("{line}"),
                }
            }
            "in" => vector.input.extend(hex(rest)),
            "event" => vector.events.push(event(rest)),
            "out" => vector.output.extend(hex(rest)),
            "fail" => {
                let (name, at) = rest.split_once(" at ").expect(line);
                let violation = Violation::ALL.iter().find(|violation| format!("{violation:?}") == name);
                vector.fail = Some((*violation.expect(line), at.parse().expect(line)));
            }
            _ => panic!("{name}: {line}"),
        }
    }
    vector
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    all.sort();
    assert!(all.len() >= 60, "vectors are missing: {}", all.len());
    all.iter()
        .map(|path| parse(path.file_stem().unwrap().to_str().unwrap(), &fs::read_to_string(path).unwrap()))
        .collect()
}

fn check(vector: &Vector, cuts: &[usize], mut outcome: Outcome, how: &str) {
    let about = || format!("{} {how}, cut at {cuts:?}", vector.name);
    outcome.events = join_chunks(outcome.events);
    assert_eq!(outcome.events, vector.events, "{}", about());
    assert_eq!(unmasked(&outcome.output), vector.output, "{}", about());
    // The first part that holds the byte that decides, and no part before it.
    let fail = vector.fail.map(|(violation, at)| {
        let fed = cuts.iter().copied().find(|&cut| cut >= at).unwrap_or(vector.input.len());
        (Failure::Violation(violation), fed)
    });
    assert_eq!(outcome.failed, fail, "{}", about());
}

/// F-14, F-19, F-21, and the rows that the vectors name.
#[test]
fn f14_every_vector_at_every_split() {
    for vector in &vectors() {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let mut config = vector.config.clone();
            config.delivery = delivery;
            let config = lasting(config);
            let mut storage = vec![0; 2 * vector.input.len() + 256];
            for cuts in all_cuts(vector.input.len()) {
                // Without an allocator one pong waits: its caller drains after each ping, as here, but not late.
                let drains = if cfg!(feature = "alloc") { &Drain::ALL[..] } else { &Drain::ALL[..2] };
                let drains = if vector.input.len() > 1000 { &drains[..1] } else { drains };
                for &drain in drains {
                    let mut connection = connect_shared(vector.role, config);
                    let outcome = feed(&mut connection, &vector.input, &cuts, drain);
                    check(vector, &cuts, outcome, "through a connection");
                    let connection = connect_shared(vector.role, config);
                    let (outcome, _) = feed_session(connection, &mut storage, &vector.input, &cuts, drain);
                    check(vector, &cuts, outcome, "through a session");
                }
            }
        }
    }
}
