//! Benchmarks parts of the protocol in memory, without sockets, against a reference and against peers; prints tables.
//!
//! Peers take part with the `peers` feature. `--check` exits with status 1 if something costs more than its case's
//! limit. For a profiler, `--suite`, `--case` and `--entrant` keep only those whose name contains a word; ratios are to the
//! first one kept.

mod suites;

use std::process::ExitCode;
use std::time::Duration;

use ws_benches::flags::Flags;
use ws_benches::micro::run;

const USAGE: &str = "usage: micro [--check] [--suite WORD] [--case WORD] [--entrant WORD] [--samples N]";

struct Filter {
    check: bool,
    suite: String,
    case: String,
    entrant: String,
    samples: usize,
}

fn main() -> ExitCode {
    let filter = match filter() {
        Ok(filter) => filter,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut is_kept = true;
    for suite in suites::ALL.iter().filter(|suite| suite.name.contains(&filter.suite)) {
        let mut cases = (suite.cases)();
        cases.retain(|case| case.name.contains(&filter.case));
        for case in &mut cases {
            case.entrants.retain(|entrant| entrant.name.contains(&filter.entrant));
        }
        let outcome = run(suite.title, cases, filter.samples, Duration::from_millis(2));
        println!("{}{}", outcome.table, (suite.note)());
        is_kept &= outcome.is_kept;
    }
    if is_kept || !filter.check { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn filter() -> Result<Filter, String> {
    let mut flags = Flags::of_this_process();
    let check = flags.has("--check");
    // `cargo bench` passes this to every harness.
    flags.has("--bench");
    let mut word = |name| flags.text(name).map(Option::unwrap_or_default);
    let (suite, case, entrant) = (word("--suite")?, word("--case")?, word("--entrant")?);
    let samples = flags.value("--samples")?.unwrap_or(41);
    flags.rest().map(|_| Filter { check, suite, case, entrant, samples })
}
