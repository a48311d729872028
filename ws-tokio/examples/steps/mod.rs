//! What an echo client is told to do: the steps of its command line, and the messages in them. The clients of ws-tokio and
//! of ws-mio do them, each in its own way.

use std::error::Error;

use ws_core::deflate::{Settings, WindowBits};
use ws_core::{Message, Part};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Clone)]
pub(crate) enum Step {
    Fragments(usize),
    Text(String),
    Binary(Vec<u8>),
    Ping(String),
    Close(u16, String),
    ExpectClose(u16, String),
    ExpectFailure(u16),
}

impl Step {
    /// Whether the connection has ended by it.
    pub(crate) fn ends(&self) -> bool {
        matches!(self, Self::Close(..) | Self::ExpectClose(..) | Self::ExpectFailure(_))
    }
}

#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) url: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) deflate: Option<Settings>,
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let url = args.next().ok_or("usage: echo-client URL [STEP ...]")?;
        let mut plan = Self { url, protocols: Vec::new(), deflate: None, steps: Vec::new() };
        let steps = &mut plan.steps;
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            steps.push(match name.as_str() {
                "--subprotocol" if steps.is_empty() => {
                    plan.protocols.push(value()?);
                    continue;
                }
                "--deflate" if steps.is_empty() => {
                    plan.deflate = Some(wishes(&value()?)?);
                    continue;
                }
                "--mix" => {
                    steps.extend(mix(value()?.parse()?));
                    continue;
                }
                "--fragments" => Step::Fragments(value()?.parse::<usize>()?.max(1)),
                "--text" => Step::Text(value()?),
                "--text-size" => Step::Text(text_of(value()?.parse()?)),
                "--binary-size" => {
                    Step::Binary((0..value()?.parse()?).map(|n: usize| (n % 256) as u8).collect())
                }
                "--ping" => Step::Ping(value()?),
                "--close" => Step::Close(value()?.parse()?, value()?),
                "--expect-close" => Step::ExpectClose(value()?.parse()?, value()?),
                "--expect-failure" => Step::ExpectFailure(value()?.parse()?),
                _ => return Err(format!("unknown step {name}").into()),
            });
        }
        if steps.is_empty() {
            steps.push(Step::Text("hello".into()));
        }
        Ok(plan)
    }
}

/// Cuts a message into this many parts.
pub(crate) fn parts(message: Message<'_>, count: usize) -> impl Iterator<Item = (Message<'_>, Part)> {
    let at = move |n: usize| message.as_bytes().len() * n / count;
    (0..count).map(move |n| {
        let part = match (n == 0, n + 1 == count) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, false) => Part::Middle,
            (false, true) => Part::Last,
        };
        let piece = match message {
            Message::Text(text) => Message::Text(&text[floor(text, at(n))..floor(text, at(n + 1))]),
            Message::Binary(bytes) => Message::Binary(&bytes[at(n)..at(n + 1)]),
        };
        (piece, part)
    })
}

/// Prints one line about an echo.
pub(crate) fn report(message: Message<'_>) {
    let kind = if matches!(message, Message::Text(_)) { "text" } else { "binary" };
    println!("{kind} {} bytes", message.as_bytes().len());
}

/// The last boundary of characters up to `at`: a part of a text is text.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn text_of(len: usize) -> String {
    let mut text = "aé世🌍".repeat(len / 10);
    text.extend(std::iter::repeat_n('a', len - text.len()));
    text
}

/// The parameters of RFC 7692, section 7.1, as the wishes of a client.
fn wishes(parameters: &str) -> Result<Settings> {
    let mut settings = Settings::client();
    for parameter in parameters.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        let (name, bits) = parameter.split_once('=').unwrap_or((parameter, "15"));
        let window = WindowBits::new(bits.parse()?).ok_or("a window has 8 to 15 bits")?;
        match name {
            "server_no_context_takeover" => settings.inflate_takeover = false,
            "client_no_context_takeover" => settings.deflate_takeover = false,
            "server_max_window_bits" => settings.inflate_window = window,
            "client_max_window_bits" => settings.deflate_window = window,
            _ => return Err(format!("unknown parameter {name}").into()),
        }
    }
    Ok(settings)
}

/// The same messages each time: short ones mostly, the first of 100 KiB, the second of nothing.
fn mix(count: usize) -> impl Iterator<Item = Step> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // xorshift64: noise enough for a compressor.
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(move |n| {
        let share = (random() % 1001) as usize;
        let len = match n {
            0 => 100 << 10,
            1 => 0,
            _ => (100 << 10) * share / 1000 * share / 1000 * share / 1000,
        };
        match n % 4 {
            0 => Step::Text(row_of(n, len)),
            1 => Step::Binary((0..len).map(|_| random() as u8).collect()),
            2 => Step::Text((0..len).map(|_| char::from(b' ' + (random() % 95) as u8)).collect()),
            _ => Step::Binary(row_of(n, len).into_bytes()),
        }
    })
}

/// Records that resemble each other, within a message and from one to the next.
fn row_of(n: usize, len: usize) -> String {
    let mut row = String::with_capacity(len + 64);
    for line in 0.. {
        if row.len() >= len {
            break;
        }
        row += &format!("{{\"id\":{n},\"line\":{line},\"name\":\"grüße, 世界 🌍\"}}\n");
    }
    let end = floor(&row, len);
    row.truncate(end);
    row
}
