//! Figures as Markdown: medians over the rounds, ratios to the wall and to the best peer.

use std::fmt::Write;

use crate::contest::{Contest, Outcome};
use crate::contestant::Standing;
use crate::idle::{self, Holds};
use crate::report::Report;
use crate::workload::Shape;

/// The middle of `values`; the mean of the two in the middle when their number is even.
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
        Timed { contest, outcome, columns: timed, out: &mut out }.render(wall);
    }
    for column in idle {
        resident(contest, outcome, column, &mut out);
    }
    out
}

/// The columns that cost time.
struct Timed<'a> {
    contest: &'a Contest,
    outcome: &'a Outcome,
    columns: Vec<usize>,
    out: &'a mut String,
}

/// A figure for each contestant and each column.
type Grid = Vec<Vec<Option<f64>>>;

impl Timed<'_> {
    fn render(&mut self, wall: Option<&str>) {
        let contest = self.contest;
        // Where processor time is unknown the tables fall back to the wall clock, and say so.
        let cpu = self.medians(&|report| report.server_ns);
        let known = cpu.iter().flatten().any(Option::is_some);
        let (what, cost) = if known {
            ("Server CPU, ns per message", cpu)
        } else {
            (
                "Wall clock, ns per message (server CPU is known on Linux only)",
                self.medians(&|report| Some(1e9 / report.rate())),
            )
        };
        self.table(&format!("{what} (median of {} rounds)", contest.rounds), &|row, column| {
            cost[row][column].map(|nanos| format!("{nanos:.0}"))
        });
        let ratio =
            |row: usize, column: usize, base: Option<f64>| Some(format!("{:.2}", cost[row][column]? / base?));
        match wall {
            Some(wall) => self.divide(&format!("Divided by {wall}"), &cost, &|_| wall),
            None => {
                let walls = |column: usize| contest.workloads[column].wall();
                let mut names: Vec<&str> = self.columns.iter().map(|column| walls(*column)).collect();
                names.dedup();
                self.divide(
                    &format!("Divided by the least that can be done: {}", names.join(", ")),
                    &cost,
                    &walls,
                );
                self.divide("Divided by limit-raw-tokio", &cost, &|_| "limit-raw-tokio");
            }
        }
        let columns = self.columns.clone();
        self.table("Divided by the best peer", &|row, column| {
            let peers = contest.contestants.iter().zip(&cost);
            let peers = peers.filter(|(contestant, _)| contestant.standing == Standing::Peer);
            ratio(row, column, peers.filter_map(|(_, cost)| cost[column]).min_by(f64::total_cmp))
        });
        let (rate, p50, p99) = (
            self.medians(&|report| Some(report.rate())),
            self.medians(&|report| Some(report.p50_us)),
            self.medians(&|report| Some(report.p99_us)),
        );
        self.table("Thousand messages per second, and latency p50 / p99 in µs", &|row, column| {
            let (rate, p50, p99) = (rate[row][column]?, p50[row][column]?, p99[row][column]?);
            Some(format!("{:.1}, {p50:.0} / {p99:.0}", rate / 1e3))
        });
        if columns.iter().any(|column| contest.workloads[*column].is_compressed()) {
            let (level, window_bits) = contest.compression;
            let bytes = self.medians(&|report| Some(report.bytes));
            let title = format!(
                "Bytes back per message, headers included; compressed ones at level {level}, windows of {window_bits} bits"
            );
            self.table(&title, &|row, column| Some(format!("{:.0}", bytes[row][column]?)));
        }
        let spreads = columns.iter().map(|&column| {
            let spread = |row: usize| {
                let of = |report: &Report| report.server_ns.unwrap_or(1e9 / report.rate());
                let values = || self.outcome.rounds(row, column).iter().map(of);
                let (low, high) = (values().min_by(f64::total_cmp)?, values().max_by(f64::total_cmp)?);
                Some((high - low) / cost[row][column]? * 100.0)
            };
            let middle = median((0..contest.contestants.len()).filter_map(spread).collect());
            middle.map_or_else(
                || "–".to_owned(),
                |percent| format!("{} {percent:.0} %", contest.workloads[column].name),
            )
        });
        let spreads = spreads.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            self.out,
            "Spread over the rounds, (most − least) ÷ median, the middle contestant's: {spreads}.\n"
        );
    }

    /// Medians over the rounds, by a contestant's and a workload's place in the contest.
    fn medians(&self, of: &dyn Fn(&Report) -> Option<f64>) -> Grid {
        let cell = |row, column| median(self.outcome.rounds(row, column).iter().filter_map(of).collect());
        let row = |row| (0..self.contest.workloads.len()).map(|column| cell(row, column)).collect();
        (0..self.contest.contestants.len()).map(row).collect()
    }

    /// What each costs, divided by one contestant's cost in the same column. No table if none of them takes part.
    fn divide<'b>(&mut self, title: &str, cost: &Grid, wall: &dyn Fn(usize) -> &'b str) {
        let wall = |column: usize| {
            let place = self.contest.contestants.iter().position(|known| known.name == wall(column));
            place.and_then(|row| cost[row][column])
        };
        let walls: Vec<Option<f64>> = (0..self.contest.workloads.len()).map(wall).collect();
        if self.columns.iter().any(|column| walls[*column].is_some()) {
            self.table(title, &|row, column| Some(format!("{:.2}", cost[row][column]? / walls[column]?)));
        }
    }

    /// A table of those who have something in one of these columns.
    fn table(&mut self, title: &str, cell: &dyn Fn(usize, usize) -> Option<String>) {
        let names: Vec<&str> =
            self.columns.iter().map(|column| self.contest.workloads[*column].name).collect();
        let _ =
            writeln!(self.out, "{title}\n\n| | {} |\n|---|{}", names.join(" | "), "--:|".repeat(names.len()));
        for (row, contestant) in self.contest.contestants.iter().enumerate() {
            let cells: Vec<Option<String>> = self.columns.iter().map(|column| cell(row, *column)).collect();
            if cells.iter().any(Option::is_some) {
                let cells: Vec<String> =
                    cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned())).collect();
                let _ = writeln!(self.out, "| {} | {} |", contestant.name, cells.join(" | "));
            }
        }
        self.out.push('\n');
    }
}

/// What connections hold that are idle.
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
        let of = |figure: fn(&Holds) -> f64| median(rounds.iter().map(figure).collect());
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
    use super::*;

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
}
