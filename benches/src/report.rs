//! The figures of one run, as a line of `name=value` words for people and programs.

use std::fmt;
use std::str::FromStr;

/// The result of one run of the load generator. A message is one that came back, one that reached a member of a room, or
/// an opened connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Number of messages, every one checked.
    pub messages: u64,
    /// Bytes received per message, frame headers included.
    pub bytes: f64,
    /// Seconds from the first message sent to the last one received.
    pub seconds: f64,
    /// Median time from a message's departure to its last byte's return, in microseconds.
    pub p50_us: f64,
    /// The time that one message in a hundred exceeds, in microseconds.
    pub p99_us: f64,
    /// Processor time of the server per message, user and kernel, in nanoseconds; `None` where it is not known.
    pub server_ns: Option<f64>,
}

impl Report {
    /// Messages per second, there and back.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, bytes, seconds, p50_us, p99_us, server_ns } = self;
        write!(out, "messages={messages} seconds={seconds:.6} messages_per_s={:.0} ", self.rate())?;
        write!(
            out,
            "bytes_per_message={bytes:.1} p50_us={p50_us:.3} p99_us={p99_us:.3} server_ns_per_message="
        )?;
        match server_ns {
            Some(nanos) => write!(out, "{nanos:.3}"),
            None => write!(out, "unknown"),
        }
    }
}

/// A line that is not a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAReport;

/// The value in a word `name=value`.
pub(crate) fn word<'a>(line: &'a str, name: &str) -> Result<&'a str, NotAReport> {
    let mut words = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    words.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or(NotAReport)
}

impl FromStr for Report {
    type Err = NotAReport;

    fn from_str(line: &str) -> Result<Self, NotAReport> {
        let word = |name: &str| word(line, name);
        let number = |name: &str| word(name)?.parse().map_err(|_| NotAReport);
        Ok(Self {
            messages: word("messages")?.parse().map_err(|_| NotAReport)?,
            bytes: number("bytes_per_message")?,
            seconds: number("seconds")?,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
            server_ns: match word("server_ns_per_message")? {
                "unknown" => None,
                _ => Some(number("server_ns_per_message")?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_the_report_it_came_from() {
        for server_ns in [None, Some(321.125)] {
            let report = Report {
                messages: 1_000_000,
                bytes: 34.5,
                seconds: 1.25,
                p50_us: 12.5,
                p99_us: 99.875,
                server_ns,
            };
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        assert_eq!("messages=1".parse::<Report>(), Err(NotAReport));
    }
}
