//! System calls per message, counted by `strace` from outside.
//!
//! Each server runs twice, for few messages and for more, and the difference counts: what it does to start and to open
//! connections is the same in both. A traced server is slow, so more messages queue up for it; compare only with others
//! that are traced as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::contestant::Program;
use crate::cpu;
use crate::process::Server;
use crate::workload::{Kind, Shape, Workload};

/// Messages of the two runs, per message in flight.
const FEW: usize = 4_000;
const MORE: usize = 12_000;

/// Calls per message, by name; the most frequent first.
pub type Calls = Vec<(String, f64)>;

/// Whether `strace` is installed.
pub fn can_trace() -> bool {
    strace().is_some()
}

fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join("strace")).find(|strace| strace.exists())
}

/// Counts a server's system calls per echoed message.
///
/// # Errors
/// As text.
pub fn count(program: &Program, raw: bool, workload: &Workload, generator: &Path) -> Result<Calls, String> {
    let Shape::Echo { in_flight, size, kind, takeover: None } = workload.shape else {
        return Err("only echoes are counted, and no compressed ones".to_owned());
    };
    let run = |messages: usize| -> Result<BTreeMap<String, usize>, String> {
        let summary = std::env::temp_dir().join(format!("ws-benches-{}.strace", std::process::id()));
        let _ = std::fs::remove_file(&summary);
        let server =
            Server::start(&traced(program, &summary)?, &[], None).map_err(|error| error.to_string())?;
        let mut load = cpu::pinned(None, generator);
        load.arg(server.address().to_string())
            .args(["--connections", &workload.connections.to_string()])
            .args(["--in-flight", &in_flight.to_string()])
            .args(["--size", &size.to_string()])
            .args(["--messages", &messages.to_string(), "--warm-up", "0"])
            .args((kind == Kind::Text).then_some("--text"))
            .args(raw.then_some("--raw"));
        let output = load.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        // Connections end in both runs, all of them before the server does.
        std::thread::sleep(Duration::from_millis(100));
        drop(server);
        // The tracer outlives it by a moment.
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(&summary).unwrap_or_default();
            if let Some(calls) = parse(&text) {
                let _ = std::fs::remove_file(&summary);
                return Ok(calls);
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err("strace wrote no summary".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let (few, more) = (run(FEW * in_flight)?, run(MORE * in_flight)?);
    let messages = ((MORE - FEW) * in_flight) as f64;
    let calls = more.into_iter().map(|(name, calls)| {
        let before = few.get(&name).copied().unwrap_or(0);
        (name, (calls as f64 - before as f64) / messages)
    });
    let mut calls: Calls = calls.filter(|(_, each)| *each >= 0.001).collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    Ok(calls)
}

/// The program under a detached tracer, so that the process is the server's own.
fn traced(program: &Program, summary: &Path) -> Result<Program, String> {
    let path = strace().ok_or("no strace here")?;
    let mut arguments: Vec<String> = ["-D", "-f", "-q", "-c", "-o"].map(str::to_owned).into();
    arguments.push(summary.display().to_string());
    arguments.push(program.path.display().to_string());
    arguments.extend(program.arguments.iter().cloned());
    Ok(Program { path, arguments, tunable: false })
}

/// The table of `strace -c`, once its last line is there: calls by name.
fn parse(summary: &str) -> Option<BTreeMap<String, usize>> {
    let mut calls = BTreeMap::new();
    for line in summary.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, _, _, .., "total"] => return Some(calls),
            [share, _, _, count, .., name] if share.parse::<f64>().is_ok() => {
                calls.insert(name.to_owned(), count.parse().ok()?);
            }
            _ => {}
        }
    }
    None
}

/// Calls per message, and which ones.
pub fn show(calls: &Calls) -> String {
    let sum: f64 = calls.iter().map(|(_, each)| each).sum();
    let shown = calls.iter().filter(|(_, each)| *each >= 0.005);
    let names: Vec<String> = shown.map(|(name, each)| format!("{name} {each:.2}")).collect();
    if names.is_empty() { "< 0.01".to_owned() } else { format!("{sum:.2} ({})", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_once_it_is_whole() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000600           0      1000        12 recvfrom\n \
            40.00    0.000400           0       990           sendto\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.001000           0      1990        12 total\n";
        let calls = parse(summary).expect("whole");
        assert_eq!((calls["recvfrom"], calls["sendto"], calls.len()), (1000, 990, 2));
        assert_eq!(parse(summary.trim_end_matches("total\n")), None);
        let calls =
            vec![("recvfrom".to_owned(), 1.0), ("sendto".to_owned(), 0.99), ("brk".to_owned(), 0.002)];
        assert_eq!(show(&calls), "1.99 (recvfrom 1.00, sendto 0.99)");
    }
}
