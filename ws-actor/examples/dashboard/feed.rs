//! The actor that measures, keeps the last half minute, and tells everybody.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::time::{Duration, SystemTime};

use serde_json::json;
use ws_actor::{CloseFrame, Connect, Context, Hub, Inbound, Outgoing, Room, SpawnError, Target, WsActor};

/// Name and unit of what is measured, and its usual value.
pub(crate) const SERIES: [(&str, &str, f64); 5] = [
    ("North", "°C", 61.0),
    ("East", "°C", 54.0),
    ("South", "°C", 47.0),
    ("West", "°C", 40.0),
    ("Core", "°C", 72.0),
];

const EVERY: Duration = Duration::from_millis(50);
/// How many values of each series newcomers get, so that their plot is full at once.
const PAST: usize = 600;

pub(crate) struct Feed {
    viewers: Room,
    past: VecDeque<Sample>,
    /// The number of measurements so far.
    n: u64,
}

/// All series at one time, in milliseconds since 1970.
struct Sample {
    at: u64,
    values: [f64; SERIES.len()],
}

/// It is time to measure.
pub(crate) struct Tick;

impl WsActor for Feed {
    type Cast = Tick;

    async fn connect(&mut self, cx: &mut Context<Self>, connect: Connect) {
        let _ = cx.send(connect.id, self.hello());
        let _ = self.viewers.join(connect.id);
    }

    async fn message(&mut self, cx: &mut Context<Self>, inbound: Inbound) {
        let _ = cx.close(inbound.id, CloseFrame::new(1008, "there is nothing to say here"));
    }

    async fn cast(&mut self, cx: &mut Context<Self>, _: Tick) {
        cx.after(EVERY, Tick);
        self.n += 1;
        let at =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let sample = Sample { at, values: measure(self.n) };
        for (series, value) in sample.values.iter().enumerate() {
            // `n` lets a page see how many values it was spared.
            let message = json!({"type": "value", "series": series, "n": self.n, "at": at, "value": value});
            self.viewers.broadcast(Outgoing::keyed(SERIES[series].0, message.to_string()));
        }
        self.past.push_back(sample);
        if self.past.len() > PAST {
            self.past.pop_front();
        }
    }
}

impl Feed {
    pub(crate) fn spawn(hub: &Hub) -> Result<Target, SpawnError> {
        let viewers = hub.room("viewers");
        let feed =
            hub.spawn("feed", move || Self { viewers: viewers.clone(), past: VecDeque::new(), n: 0 })?;
        let _ = feed.cast(Tick);
        Ok(feed)
    }

    /// What is measured, and what has been.
    fn hello(&self) -> String {
        let series: Vec<_> =
            SERIES.iter().map(|(name, unit, _)| json!({"name": name, "unit": unit})).collect();
        let times: Vec<_> = self.past.iter().map(|sample| sample.at).collect();
        let past: Vec<_> = self.past.iter().map(|sample| sample.values).collect();
        json!({"type": "hello", "series": series, "n": self.n, "times": times, "past": past}).to_string()
    }
}

/// In place of thermometers: slow waves and a little unrest, to a tenth of a degree.
fn measure(n: u64) -> [f64; SERIES.len()] {
    let seconds = n as f64 * EVERY.as_secs_f64();
    std::array::from_fn(|series| {
        let (middle, phase) = (SERIES[series].2, series as f64);
        let wave = |period: f64, height: f64| height * (TAU * (seconds / period + phase / 5.0)).sin();
        let value = middle
            + wave(19.0 + phase, 4.0)
            + wave(4.7 - 0.6 * phase, 1.2)
            + wave(0.61, 0.35)
            + wave(0.23, 0.2);
        (value * 10.0).round() / 10.0
    })
}
