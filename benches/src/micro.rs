//! Races in-memory loops against each other: short samples in turn, the best of each kept.
//!
//! The best of many short samples is the one that nothing disturbed; an average would measure the machine's other
//! guests. Only compare figures from the same run.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One contender: a name, and work that returns what it computed.
///
/// Names that begin with `ws-core` are ours, with `reference` or `limit` nobody's; the rest are peers. One with
/// `vectored` in its name leaves work to the kernel that the others do, and is not compared with them.
pub struct Entrant<'a> {
    /// Its name in the table.
    pub name: &'static str,
    /// One pass over the work. Its result must be the same for all entrants, and in every pass.
    pub work: Box<dyn FnMut() -> u64 + 'a>,
}

impl<'a> Entrant<'a> {
    /// Names a piece of work.
    pub fn new(name: &'static str, work: impl FnMut() -> u64 + 'a) -> Self {
        Self { name, work: Box::new(work) }
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("ws-core")
}

fn is_peer(name: &str) -> bool {
    !["ws-core", "reference", "limit"].iter().any(|known| name.starts_with(known))
        && !name.contains("vectored")
}

/// A column of a table: one size and kind of work.
pub struct Case<'a> {
    /// Its name in the table.
    pub name: String,
    /// Messages per pass.
    pub messages: usize,
    /// Bytes of a message, without any header.
    pub size: usize,
    /// The result that a pass must compute.
    pub expected: u64,
    /// The entrants; the ratios divide by the first.
    pub entrants: Vec<Entrant<'a>>,
    /// Limit on the cost of our first entrant, as a multiple of the first one's, if there is one.
    pub most: Option<f64>,
}

/// A table, and the lines below it.
pub struct Outcome {
    /// As Markdown.
    pub table: String,
    /// Whether everything is within its limit.
    pub is_kept: bool,
}

/// Races the entrants of each case and shows nanoseconds per message, with the ratio to the case's first entrant. Then,
/// for each case with a limit, how ours compare with it.
pub fn run(title: &str, mut cases: Vec<Case<'_>>, samples: usize, sample: Duration) -> Outcome {
    cases.retain(|case| !case.entrants.is_empty());
    let mut rows: Vec<&'static str> = Vec::new();
    let (mut columns, mut verdicts, mut is_kept) = (Vec::new(), Vec::new(), true);
    for case in &mut cases {
        let best = race(&mut case.entrants, case.expected, samples, sample);
        let nanos: Vec<f64> =
            best.into_iter().map(|time| time.as_nanos() as f64 / case.messages as f64).collect();
        for entrant in &case.entrants {
            if !rows.contains(&entrant.name) {
                rows.push(entrant.name);
            }
        }
        let of = |is: fn(&str) -> bool| {
            let those = case.entrants.iter().zip(&nanos).filter(move |(entrant, _)| is(entrant.name));
            those.map(|(entrant, nanos)| (entrant.name, *nanos))
        };
        let peer = of(is_peer).min_by(|one, other| one.1.total_cmp(&other.1));
        if let (Some(most), Some((name, ours))) = (case.most, of(is_ours).next()) {
            let ratio = ours / nanos[0];
            is_kept &= ratio <= most;
            let peer = peer.map_or_else(String::new, |(peer, nanos)| {
                format!("; {:.2} × the fastest peer, {peer}", ours / nanos)
            });
            let word = if ratio <= most { "" } else { ", NOT REACHED" };
            let (case, first) = (&case.name, case.entrants[0].name);
            verdicts
                .push(format!("- {case}: {name} takes {ratio:.2} × {first:?} (at most {most}{word}){peer}"));
        }
        let cell = |name: &str| {
            let at = case.entrants.iter().position(|entrant| entrant.name == name);
            at.map_or_else(|| "–".to_owned(), |at| format!("{:.1} ({:.2})", nanos[at], nanos[at] / nanos[0]))
        };
        columns.push((case.name.clone(), rows.iter().map(|name| cell(name)).collect::<Vec<_>>()));
    }
    let mut table = format!("{title}, ns per message (÷ the first row)\n\n|");
    columns.iter().for_each(|(name, _)| table.push_str(&format!(" | {name}")));
    table.push_str(&format!(" |\n|---|{}\n", "--:|".repeat(columns.len())));
    for (row, name) in rows.iter().enumerate() {
        let cells = columns.iter().map(|(_, cells)| cells.get(row).map_or("–", String::as_str));
        table.push_str(&format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | ")));
    }
    if !verdicts.is_empty() {
        table.push_str(&format!("\n{}\n", verdicts.join("\n")));
    }
    Outcome { table, is_kept }
}

/// The best time of each entrant for one pass, in the order given.
///
/// # Panics
/// When a pass returns something other than `expected`: then it did not do the work.
pub fn race(entrants: &mut [Entrant<'_>], expected: u64, samples: usize, sample: Duration) -> Vec<Duration> {
    let passes: Vec<u32> = entrants
        .iter_mut()
        .map(|entrant| {
            assert_eq!((entrant.work)(), expected, "{} does other work than the rest", entrant.name);
            let start = Instant::now();
            black_box((entrant.work)());
            let once = start.elapsed().max(Duration::from_nanos(1));
            u32::try_from(sample.as_nanos() / once.as_nanos()).unwrap_or(u32::MAX).max(1)
        })
        .collect();
    let mut best = vec![Duration::MAX; entrants.len()];
    for _ in 0..samples {
        for ((entrant, passes), best) in entrants.iter_mut().zip(&passes).zip(&mut best) {
            let start = Instant::now();
            for _ in 0..*passes {
                black_box((entrant.work)());
            }
            *best = (*best).min(start.elapsed() / *passes);
            assert_eq!((entrant.work)(), expected, "{} changed its mind", entrant.name);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_takes_longer() {
        let spin = |turns: u64| move || (0..turns).fold(0, |sum, turn| black_box(sum).min(black_box(turn)));
        let mut entrants = [Entrant::new("long", spin(40_000)), Entrant::new("short", spin(1_000))];
        let best = race(&mut entrants, 0, 25, Duration::from_micros(200));
        assert!(best[0] > best[1], "{best:?}");
    }

    #[test]
    fn a_table_has_who_takes_part_and_says_what_is_not_kept() {
        let spin = |turns: u64| move || (0..turns).fold(0, |sum, turn| black_box(sum).min(black_box(turn)));
        let entrants = || {
            vec![
                Entrant::new("reference", spin(1_000)),
                Entrant::new("ws-core", spin(20_000)),
                Entrant::new("somebody", spin(40_000)),
            ]
        };
        let case = |name: &str, entrants, most| Case {
            name: name.to_owned(),
            messages: 1,
            size: 1,
            expected: 0,
            entrants,
            most,
        };
        let cases = vec![case("one", entrants(), Some(2.0)), case("two", entrants().split_off(1), None)];
        let Outcome { table, is_kept } = run("Spins", cases, 25, Duration::from_micros(200));
        assert!(!is_kept && table.contains("NOT REACHED") && table.contains("the fastest peer, somebody"));
        assert!(
            table.contains("| | one | two |\n|---|--:|--:|\n| reference | ")
                && table.contains("(1.00) | – |")
        );
        let easy = vec![case("one", entrants(), Some(1e9))];
        assert!(run("Spins", easy, 1, Duration::ZERO).is_kept);
    }

    #[test]
    #[should_panic(expected = "other work")]
    fn other_work_is_found_out() {
        race(&mut [Entrant::new("one", || 1)], 2, 1, Duration::ZERO);
    }
}
