//! Figures as Markdown: medians over the rounds, ratios to the wall and to the best peer.

use std::fmt::Write;

use crate::contest::{Contest, Outcome, Standing};
use crate::report::Report;

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

/// The tables of a contest. `wall` names the contestant by which the second one divides.
pub fn render(contest: &Contest, outcome: &Outcome, wall: &str) -> String {
    let rows = 0..contest.contestants.len();
    let columns = 0..contest.workloads.len();
    let medians = |of: &dyn Fn(&Report) -> Option<f64>| -> Vec<Vec<Option<f64>>> {
        let cell = |row, column| median(outcome.rounds(row, column).iter().filter_map(of).collect());
        rows.clone().map(|row| columns.clone().map(|column| cell(row, column)).collect()).collect()
    };

    // Where processor time is unknown the tables fall back to the wall clock, and say so.
    let cpu = medians(&|report| report.server_ns);
    let known = cpu.iter().flatten().any(Option::is_some);
    let (what, cost) = if known {
        ("Server CPU, ns per message", cpu)
    } else {
        (
            "Wall clock, ns per message (server CPU is known on Linux only)",
            medians(&|report| Some(1e9 / report.rate())),
        )
    };

    let best_peer = |column: usize| {
        let peers = rows.clone().filter(|row| contest.contestants[*row].standing == Standing::Peer);
        peers.filter_map(|row| cost[row][column]).min_by(f64::total_cmp)
    };
    let wall_row = contest.contestants.iter().position(|contestant| contestant.name == wall);

    let mut out = String::new();
    let mut table = |title: &str, cell: &dyn Fn(usize, usize) -> Option<String>| {
        let names: Vec<&str> = contest.workloads.iter().map(|workload| workload.name).collect();
        let _ = writeln!(out, "{title}\n\n| | {} |\n|---|{}", names.join(" | "), "--:|".repeat(names.len()));
        for row in rows.clone() {
            let cells: Vec<String> =
                columns.clone().map(|column| cell(row, column).unwrap_or_else(|| "–".to_owned())).collect();
            let _ = writeln!(out, "| {} | {} |", contest.contestants[row].name, cells.join(" | "));
        }
        out.push('\n');
    };
    table(&format!("{what} (median of {} rounds)", contest.rounds), &|row, column| {
        cost[row][column].map(|nanos| format!("{nanos:.0}"))
    });
    if let Some(wall_row) = wall_row {
        table(&format!("Divided by {wall}"), &|row, column| {
            Some(format!("{:.2}", cost[row][column]? / cost[wall_row][column]?))
        });
    }
    table("Divided by the best peer", &|row, column| {
        Some(format!("{:.2}", cost[row][column]? / best_peer(column)?))
    });
    let (rate, p50, p99) = (
        medians(&|report| Some(report.rate())),
        medians(&|report| Some(report.p50_us)),
        medians(&|report| Some(report.p99_us)),
    );
    table("Thousand messages per second, and latency p50 / p99 in µs", &|row, column| {
        let (rate, p50, p99) = (rate[row][column]?, p50[row][column]?, p99[row][column]?);
        Some(format!("{:.1}, {p50:.0} / {p99:.0}", rate / 1e3))
    });
    if contest.workloads.iter().any(|workload| workload.takeover.is_some()) {
        let (level, window_bits) = contest.compression;
        let bytes = medians(&|report| Some(report.bytes));
        let title = format!(
            "Bytes back per message, headers included; compressed ones at level {level}, windows of {window_bits} bits"
        );
        table(&title, &|row, column| Some(format!("{:.0}", bytes[row][column]?)));
    }
    let spread = |row: usize, column: usize| {
        let of = |report: &Report| report.server_ns.unwrap_or(1e9 / report.rate());
        let values = || outcome.rounds(row, column).iter().map(of);
        let (low, high) = (values().min_by(f64::total_cmp)?, values().max_by(f64::total_cmp)?);
        Some((high - low) / cost[row][column]? * 100.0)
    };
    let spreads = columns.clone().map(|column| {
        let middle = median(rows.clone().filter_map(|row| spread(row, column)).collect());
        middle.map_or_else(
            || "–".to_owned(),
            |percent| format!("{} {percent:.0} %", contest.workloads[column].name),
        )
    });
    let _ = writeln!(
        out,
        "Spread over the rounds, (most − least) ÷ median, the middle contestant's: {}.",
        spreads.collect::<Vec<_>>().join(", ")
    );
    out
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
