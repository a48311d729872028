//! Figures as Markdown: medians over the rounds, ratios to the floor (`--wall`) and to the best peer.
//!
//! A ratio is the median of the ratios in each round. There the two servers ran within seconds of each other, and what slows
//! the machine for longer slows both; the medians of either come from different rounds. On a shared machine that reduces the
//! uncertainty to as little as a third.

use std::fmt::Write;

use crate::contest::{Contest, Outcome};
use crate::contestant::{Contestant, Standing};
use crate::idle::{self, Holds};
use crate::report::Report;
use crate::workload::Shape;

/// The median of `values`; the mean of the middle two when their number is even.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The tables of a contest. `wall` names the contestant by which all columns are divided; without it each column has its
/// own, the least that can be done there.
pub fn render(contest: &Contest, outcome: &Outcome, wall: Option<&str>) -> String {
    let mut out = String::new();
    let (idle, timed): (Vec<usize>, Vec<usize>) =
        (0..contest.workloads.len()).partition(|column| contest.workloads[*column].shape == Shape::Idle);
    if !timed.is_empty() {
        Timed { contest, outcome, columns: timed }.render(wall, &mut out);
    }
    for column in idle {
        resident(contest, outcome, column, &mut out);
    }
    out
}

/// The columns that measure time.
struct Timed<'a> {
    contest: &'a Contest,
    outcome: &'a Outcome,
    columns: Vec<usize>,
}

/// One figure per contestant and column.
type Grid = Vec<Vec<Option<f64>>>;

/// Cost of a message in a report, in nanoseconds.
type Cost = fn(&Report) -> Option<f64>;

impl Timed<'_> {
    fn render(&self, wall: Option<&str>, out: &mut String) {
        let contest = self.contest;
        let rows = 0..contest.contestants.len();
        // Where processor time is unknown the tables fall back to the wall clock, and say so.
        let known = self.medians(|report| report.server_ns).iter().flatten().any(Option::is_some);
        let (what, cost): (_, Cost) = if known {
            ("Server CPU, ns per message", |report| report.server_ns)
        } else {
            ("Wall clock, ns per message (server CPU is known on Linux only)", |report| {
                Some(1e9 / report.rate())
            })
        };
        let medians = self.medians(cost);
        self.table(out, &format!("{what} (median of {} rounds)", contest.rounds), &|row, column| {
            medians[row][column].map(|nanos| format!("{nanos:.0}"))
        });
        match wall {
            Some(wall) => self.divide(out, &format!("Divided by {wall}"), cost, &|_| wall),
            None => {
                let walls = |column: usize| contest.workloads[column].wall();
                let mut names: Vec<&str> = self.columns.iter().map(|column| walls(*column)).collect();
                names.dedup();
                let title = format!("Divided by the least that can be done: {}", names.join(", "));
                self.divide(out, &title, cost, &walls);
                self.divide(out, "Divided by limit-raw-tokio", cost, &|_| "limit-raw-tokio");
            }
        }
        let is_peer = |row: &usize| contest.contestants[*row].standing == Standing::Peer;
        self.table(out, "Divided by the best peer", &|row, column| {
            let ratios = rows.clone().filter(is_peer).filter_map(|peer| self.ratio(cost, row, peer, column));
            ratios.max_by(f64::total_cmp).map(|ratio| format!("{ratio:.2}"))
        });
        let (rate, p50, p99) = (
            self.medians(|report| Some(report.rate())),
            self.medians(|report| Some(report.p50_us)),
            self.medians(|report| Some(report.p99_us)),
        );
        self.table(out, "Thousand messages per second, and latency p50 / p99 in µs", &|row, column| {
            let (rate, p50, p99) = (rate[row][column]?, p50[row][column]?, p99[row][column]?);
            Some(format!("{:.1}, {p50:.0} / {p99:.0}", rate / 1e3))
        });
        if self.columns.iter().any(|column| contest.workloads[*column].is_compressed()) {
            let (level, window_bits) = contest.compression;
            let bytes = self.medians(|report| Some(report.bytes));
            let title = format!(
                "Bytes back per message, headers included; compressed ones at level {level}, windows of {window_bits} bits"
            );
            self.table(out, &title, &|row, column| Some(format!("{:.0}", bytes[row][column]?)));
        }
        let spreads = self.columns.iter().map(|&column| {
            let spread = |row: usize| {
                let values = || self.outcome.rounds(row, column).iter().flatten().filter_map(cost);
                let (low, high) = (values().min_by(f64::total_cmp)?, values().max_by(f64::total_cmp)?);
                Some((high - low) / medians[row][column]? * 100.0)
            };
            let middle = median(rows.clone().filter_map(spread).collect());
            middle.map_or_else(
                || "–".to_owned(),
                |percent| format!("{} {percent:.0} %", contest.workloads[column].name),
            )
        });
        let spreads = spreads.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "Spread over the rounds, (most − least) ÷ median, the middle contestant's: {spreads}.\n"
        );
    }

    /// Medians over the rounds, by a contestant's and a workload's place in the contest.
    fn medians(&self, of: fn(&Report) -> Option<f64>) -> Grid {
        let cell =
            |row, column| median(self.outcome.rounds(row, column).iter().flatten().filter_map(of).collect());
        let row = |row| (0..self.contest.workloads.len()).map(|column| cell(row, column)).collect();
        (0..self.contest.contestants.len()).map(row).collect()
    }

    /// Cost of one divided by that of another: the median over the rounds in which both were measured.
    fn ratio(&self, cost: Cost, row: usize, base: usize, column: usize) -> Option<f64> {
        let rounds = self.outcome.rounds(row, column).iter().zip(self.outcome.rounds(base, column));
        let ratio = |(ours, theirs): (&Option<Report>, &Option<Report>)| {
            Some(cost(ours.as_ref()?)? / cost(theirs.as_ref()?)?)
        };
        median(rounds.filter_map(ratio).collect())
    }

    /// Cost of each divided by one contestant's in the same column.
    fn divide<'w>(&self, out: &mut String, title: &str, cost: Cost, wall: &dyn Fn(usize) -> &'w str) {
        let wall = |column| self.contest.contestants.iter().position(|known| known.name == wall(column));
        self.table(out, title, &|row, column| {
            self.ratio(cost, row, wall(column)?, column).map(|ratio| format!("{ratio:.2}"))
        });
    }

    /// A table of the contestants with a figure in one of these columns; none if there are none.
    fn table(&self, out: &mut String, title: &str, cell: &dyn Fn(usize, usize) -> Option<String>) {
        let row = |(row, contestant): (usize, &Contestant)| {
            let cells: Vec<Option<String>> = self.columns.iter().map(|column| cell(row, *column)).collect();
            let cell = |cell: Option<String>| cell.unwrap_or_else(|| "–".to_owned());
            let has_any = cells.iter().any(Option::is_some);
            let cells: Vec<String> = cells.into_iter().map(cell).collect();
            has_any.then(|| format!("| {} | {} |\n", contestant.name, cells.join(" | ")))
        };
        let rows: String = self.contest.contestants.iter().enumerate().filter_map(row).collect();
        if rows.is_empty() {
            return;
        }
        let names: Vec<&str> =
            self.columns.iter().map(|column| self.contest.workloads[*column].name).collect();
        let (names, lines) = (names.join(" | "), "--:|".repeat(names.len()));
        let _ = writeln!(out, "{title}\n\n| | {names} |\n|---|{lines}\n{rows}");
    }
}

/// Memory of idle connections.
fn resident(contest: &Contest, outcome: &Outcome, column: usize, out: &mut String) {
    let workload = &contest.workloads[column];
    let _ = writeln!(
        out,
        "Resident bytes for each of {} connections (median of {} rounds)\n\n\
         | | after the handshake | after one message of {} B each | after one of {} B each | the process before, KiB |\n\
         |---|--:|--:|--:|--:|",
        workload.connections,
        contest.rounds_of(workload),
        idle::SMALL,
        idle::LARGE,
    );
    for (row, contestant) in contest.contestants.iter().enumerate() {
        let rounds = outcome.holds(row, column);
        let of = |figure: fn(&Holds) -> f64| median(rounds.iter().flatten().map(figure).collect());
        let figures = [
            of(|holds| holds.open),
            of(|holds| holds.small),
            of(|holds| holds.large),
            of(|holds| holds.base / 1024.0),
        ];
        if let [Some(open), Some(small), Some(large), Some(base)] = figures {
            let _ =
                writeln!(out, "| {} | {open:.0} | {small:.0} | {large:.0} | {base:.0} |", contestant.name);
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workload;

    #[test]
    fn the_median_is_the_middle() {
        for (values, middle) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(values), middle);
        }
    }

    /// The machine is four times as slow in the second round, and ours failed in the first. Of the costs the medians are 250
    /// and 100, but nobody ever cost 2.5 times the floor.
    #[test]
    fn ratios_are_those_within_the_rounds() {
        let report = |nanos: f64| Report {
            messages: 1,
            bytes: 34.0,
            seconds: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            server_ns: Some(nanos),
        };
        let named = |name: &str, standing| Contestant {
            standing,
            ..Contestant::named(name.to_owned(), PathBuf::from(name))
        };
        let contest = Contest {
            contestants: vec![
                named("limit-raw-mio", Standing::Limit),
                named("peer", Standing::Peer),
                named("other", Standing::Peer),
                named("mine", Standing::Ours),
            ],
            workloads: workload::ALL[..1].to_vec(),
            rounds: 3,
            seconds: 1.0,
            warm_up: 0.0,
            compression: (1, 15),
            generator: PathBuf::new(),
            pin: false,
        };
        let column = |rounds: [Option<f64>; 3]| vec![rounds.map(|nanos| nanos.map(report)).to_vec()];
        let outcome = Outcome {
            reports: vec![
                column([100.0, 400.0, 100.0].map(Some)),
                column([200.0, 800.0, 200.0].map(Some)),
                column([300.0, 400.0, 300.0].map(Some)),
                column([None, Some(400.0), Some(100.0)]),
            ],
            holds: vec![vec![Vec::new()]; 4],
            failures: Vec::new(),
        };
        let rendered = render(&contest, &outcome, None);
        let cells = |title: &str| -> Vec<String> {
            let table = rendered.split(title).nth(1).expect("the table");
            let rows = table.split("\n\n").nth(1).expect("its rows").lines().skip(2);
            rows.map(|row| row.split('|').nth(2).expect("a cell").trim().to_owned()).collect()
        };
        assert_eq!(cells("Server CPU, ns per message"), ["100", "200", "300", "250"]);
        assert_eq!(cells("Divided by the least that can be done"), ["1.00", "2.00", "3.00", "1.00"]);
        // Against the peer it compares worst with.
        assert_eq!(cells("Divided by the best peer"), ["0.50", "1.00", "1.50", "0.67"]);
        assert!(!rendered.contains("limit-raw-tokio"), "a table of nobody:\n{rendered}");
    }
}
