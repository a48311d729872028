//! The same work under criterion, to compare one build with another: `--save-baseline`, `--baseline`. For ratios to the
//! reference and to peers use `micro`, which lets them take turns.

mod suites;

use std::time::Duration;

use criterion::{Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for suite in &suites::ALL {
        for mut case in (suite.cases)() {
            let mut group = criterion.benchmark_group(format!("{}/{}", suite.name, case.name));
            group.throughput(Throughput::Bytes((case.messages * case.size) as u64));
            for entrant in &mut case.entrants {
                assert_eq!((entrant.work)(), case.expected, "{} does other work", entrant.name);
                group.bench_function(entrant.name, |bencher| bencher.iter(&mut entrant.work));
            }
            group.finish();
        }
    }
    criterion.final_summary();
}
