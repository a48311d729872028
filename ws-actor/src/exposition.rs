//! Prometheus' text format, version 0.0.4: what a collector reads of [`Metrics`].
//!
//! A family is a `# HELP` line, a `# TYPE` line and its samples, together and once. In a label's value a backslash, a
//! quotation mark and a line feed are escaped; in a help text a backslash and a line feed are.

use std::fmt::{self, Write};

use crate::meters::Label;
use crate::metrics::{Durations, Metrics, Tally};

/// The `Content-Type` of [`Metrics::prometheus`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// The metrics in Prometheus' text format, with durations in seconds. All names begin with `ws_`.
    ///
    /// [`Server::metrics_at`](crate::Server::metrics_at) serves it.
    pub fn prometheus(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut out = Exposition(text);
        let (node, version) = (self.node.to_string(), env!("CARGO_PKG_VERSION"));
        out.family("ws_info", "gauge", "This incarnation of the node, and the version of the crate.")?;
        out.sample("ws_info", &[("node", &node), ("version", version)], 1)?;
        out.one("ws_draining", "gauge", "1 while the node shuts down.", u8::from(self.is_draining))?;
        out.one("ws_connections", "gauge", "Connections that are open.", self.connections)?;
        out.one("ws_connections_opened_total", "counter", "Connections that have been opened.", self.opened)?;
        out.tally("ws_connections_closed_total", "Connections that have ended, by reason.", &self.closed)?;
        out.tally("ws_upgrades_refused_total", "Upgrades that were refused, by reason.", &self.refused)?;
        out.one(
            "ws_messages_received_total",
            "counter",
            "Messages that have come, whole.",
            self.messages_in,
        )?;
        out.one("ws_received_bytes_total", "counter", "Bytes of payload that have come.", self.bytes_in)?;
        let help = "Messages that have gone from an outbox towards a socket.";
        out.one("ws_messages_sent_total", "counter", help, self.messages_out)?;
        out.one("ws_sent_bytes_total", "counter", "Bytes of payload that have gone.", self.bytes_out)?;
        let help = "Messages that came too fast and were not delivered.";
        out.one("ws_messages_over_rate_total", "counter", help, self.over_rate)?;
        out.one("ws_outbox_messages", "gauge", "Messages that wait in outboxes.", self.queued)?;
        out.one("ws_outbox_bytes", "gauge", "Bytes of frames that wait in outboxes.", self.queued_bytes)?;
        // No histogram, whose counts may only grow: this is how things stand now. histogram_quantile() reads it all the
        // same.
        let help = "Connections with at most so many messages waiting in their outbox, now.";
        out.family("ws_outbox_depth_connections", "gauge", help)?;
        for (depth, connections) in self.queue_depths {
            out.sample("ws_outbox_depth_connections", &[("le", &depth.to_string())], connections)?;
        }
        out.sample("ws_outbox_depth_connections", &[("le", "+Inf")], self.connections)?;
        out.tally("ws_messages_dropped_total", "Messages that were dropped, by reason.", &self.dropped)?;
        out.one("ws_rooms", "gauge", "Rooms that exist.", self.rooms)?;
        out.one("ws_actors", "gauge", "Actors that run.", self.actors)?;
        out.one("ws_actor_panics_total", "counter", "Calls of actors that have panicked.", self.panics)?;
        out.one("ws_actor_restarts_total", "counter", "Actors that were made again.", self.restarts)?;
        let help = "Notes that observers were too slow for.";
        out.one("ws_observer_missed_total", "counter", help, self.observer_missed)?;
        let help = "Panics of observers.";
        out.one("ws_observer_panics_total", "counter", help, self.observer_panics)?;
        let help = "From an accepted socket, or a later request's head, to the end of the 101.";
        out.durations("ws_handshake_seconds", help, &self.handshake)?;
        let help = "From a keepalive ping to the next sign of life.";
        out.durations("ws_ping_rtt_seconds", help, &self.rtt)?;
        let help = "How long events waited in a mailbox; one in 32 is timed.";
        out.durations("ws_mailbox_wait_seconds", help, &self.mailbox_wait)?;
        let help = "How long broadcasts to a room took to be queued to all its members; one in 16 is timed.";
        out.durations("ws_room_fan_out_seconds", help, &self.fan_out)
    }
}

/// Families of samples, one after the other.
struct Exposition<'a>(&'a mut String);

impl Exposition<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) -> fmt::Result {
        self.0.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            write!(self.0, "{}{label}=\"", if n == 0 { '{' } else { ',' })?;
            for char in value.chars() {
                match char {
                    '\\' => self.0.push_str(r"\\"),
                    '"' => self.0.push_str(r#"\""#),
                    '\n' => self.0.push_str(r"\n"),
                    char => self.0.push(char),
                }
            }
            self.0.push('"');
        }
        writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" })
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl fmt::Display) -> fmt::Result {
        self.family(name, kind, help)?;
        self.sample(name, &[], value)
    }

    fn tally<K: Label + PartialEq>(&mut self, name: &str, help: &str, tally: &Tally<K>) -> fmt::Result {
        self.family(name, "counter", help)?;
        tally.iter().try_for_each(|(kind, count)| self.sample(name, &[("reason", kind.name())], count))
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        self.family(name, "histogram", help)?;
        let bucket = format!("{name}_bucket");
        for (bound, count) in durations.at_most() {
            self.sample(&bucket, &[("le", &bound.as_secs_f64().to_string())], count)?;
        }
        self.sample(&bucket, &[("le", "+Inf")], durations.count())?;
        self.sample(&format!("{name}_sum"), &[], durations.sum().as_secs_f64())?;
        self.sample(&format!("{name}_count"), &[], durations.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O4: values of labels and texts of help cannot end their line or their quotation.
    #[test]
    fn escaped() {
        let mut text = String::new();
        let mut out = Exposition(&mut text);
        out.family("x", "gauge", "a \\ and\na \"").unwrap();
        out.sample("x", &[("a", "\\ \" \n ä"), ("b", "")], 1).unwrap();
        assert_eq!(text, "# HELP x a \\\\ and\\na \"\n# TYPE x gauge\nx{a=\"\\\\ \\\" \\n ä\",b=\"\"} 1\n");
    }
}
