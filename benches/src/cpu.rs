//! Processor time of a process, in nanoseconds, and pinning processes to cores.
//!
//! Linux reports it to the nanosecond in `/proc/PID/task/*/schedstat`. Elsewhere nothing as precise is available
//! without `unsafe`, so the figure is missing there, and the tools say so.

use std::io;
use std::process::Command;
use std::time::Duration;

#[cfg(target_os = "linux")]
const ENOENT: i32 = 2;
#[cfg(target_os = "linux")]
const ESRCH: i32 = 3;

/// Processor time of all living threads of `pid`, user and kernel together.
///
/// The kernel brings the number up to date when a thread stops running, so read it while the process sleeps.
#[cfg(target_os = "linux")]
pub fn spent(pid: u32) -> io::Result<Option<Duration>> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let line = match std::fs::read_to_string(task?.path().join("schedstat")) {
            // The thread has ended since the folder was listed.
            Err(error) if matches!(error.raw_os_error(), Some(ENOENT | ESRCH)) => continue,
            line => line?,
        };
        let first = line.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        nanos += first.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable schedstat"))?;
    }
    Ok(Some(Duration::from_nanos(nanos)))
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn spent(_pid: u32) -> io::Result<Option<Duration>> {
    Ok(None)
}

/// Whether [`pinned`] binds processes to cores here: it takes Linux's `taskset` and two cores.
pub fn can_pin() -> bool {
    cfg!(target_os = "linux")
        && std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2)
        && Command::new("taskset").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A command that runs `program` on `core`, or anywhere for `None`. The child's process id is the program's own,
/// because `taskset` replaces itself.
pub fn pinned(core: Option<usize>, program: &std::path::Path) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Measures a separate process: in the tests' own, threads of other tests end, and their time disappears with them.
    #[test]
    fn work_shows_in_the_time_spent() {
        let mut busy = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 100000000 ]; do i=$((i+1)); done"])
            .spawn()
            .expect("a shell");
        let read = || spent(busy.id()).expect("readable").expect("known on Linux");
        let before = read();
        let patience = Instant::now() + Duration::from_secs(60);
        let grew = loop {
            std::thread::sleep(Duration::from_millis(1));
            if read() > before || Instant::now() > patience {
                break read() > before;
            }
        };
        busy.kill().expect("it runs until it is told to end");
        busy.wait().expect("it has ended");
        assert!(grew, "a process that never sleeps has spent nothing in a minute");
    }
}
