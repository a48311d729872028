//! Measures each server's heap per idle connection, counted over many of them by an allocator. Prints a table.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ws_benches::check::Checker;
use ws_benches::deflate::Compression;
use ws_benches::flags::Flags;
use ws_benches::load;
use ws_benches::tape::Tape;
use ws_benches::workload::Kind;

const USAGE: &str = "usage: heap [flags]
  --connections N   connections (1000)
  --size BYTES      of the JSON message that is echoed once on each (1024)
  --idle S          seconds of silence before the heap is read (3)
  --rows A;B        only those whose names begin so, such as 'ws-tokio, no deflate;ws-actor'
It builds nothing: cargo build --profile peak -p ws-benches --features peers
                   cargo build --profile peak -p ws-benches --example deflate-echo-server --example actor-echo-server";

/// One line of the table.
struct Row {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// What the client offers; `None`: no extension.
    offer: Option<Compression>,
}

const fn offer(window_bits: u8, takeover: bool) -> Option<Compression> {
    Some(Compression { level: 6, window_bits, takeover })
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "ws-tokio, no deflate", program: OURS, arguments: &["--window-bits", "0"], offer: None },
    Row { name: "ws-actor, no deflate", program: "examples/actor-echo-server", arguments: &[], offer: None },
    Row { name: "ws-actor on loops, no deflate", program: "examples/actor-echo-server", arguments: &["--loops", "1"], offer: None },
    Row { name: "ws-tokio, 12 bits, takeover, level 1", program: OURS, arguments: &["--level", "1", "--window-bits", "12"], offer: offer(12, true) },
    Row { name: "ws-tokio, 12 bits, takeover, level 6", program: OURS, arguments: &["--level", "6", "--window-bits", "12"], offer: offer(12, true) },
    Row { name: "ws-tokio, 15 bits, takeover", program: OURS, arguments: &["--level", "6", "--window-bits", "15"], offer: offer(15, true) },
    Row { name: "ws-tokio, 15 bits, no takeover", program: OURS, arguments: &["--level", "6", "--window-bits", "15"], offer: offer(15, false) },
    Row { name: "tokio-tungstenite, no deflate", program: "peer-tokio-tungstenite", arguments: &[], offer: None },
    Row { name: "tokio-tungstenite-4k, no deflate", program: "peer-tokio-tungstenite", arguments: &["--read-buffer", "4096"], offer: None },
    Row { name: "sockudo-ws, no deflate", program: "peer-sockudo-ws", arguments: &[], offer: None },
    Row { name: "sockudo-ws, 15 bits, takeover", program: "peer-sockudo-ws", arguments: &["--level", "6"], offer: offer(15, true) },
    Row { name: "sockudo-ws, 15 bits, no takeover", program: "peer-sockudo-ws", arguments: &["--level", "6"], offer: offer(15, false) },
    Row { name: "yawc, no deflate", program: "peer-yawc", arguments: &["--default-buffers"], offer: None },
    Row { name: "yawc, 15 bits, takeover", program: "peer-yawc", arguments: &["--default-buffers"], offer: offer(15, true) },
    Row { name: "yawc, 15 bits, no takeover", program: "peer-yawc", arguments: &["--default-buffers"], offer: offer(15, false) },
    Row { name: "yawc as for many, no takeover", program: "peer-yawc", arguments: &["--many"], offer: offer(15, false) },
];
const OURS: &str = "examples/deflate-echo-server";

struct Plan {
    connections: usize,
    size: usize,
    idle: Duration,
    directory: PathBuf,
    rows: Vec<&'static Row>,
}

/// Memory of a server.
struct Holds {
    /// Bytes per connection: with none used yet, and with each used once.
    unused: isize,
    used: isize,
    /// Total bytes when they are closed, and the peak.
    left: isize,
    peak: isize,
    /// Resident memory per connection, each used once; where the system reports it.
    rss: Option<isize>,
}

fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!(
        "Heap in bytes for each of {} idle connections; the message is {} B of JSON\n\n\
         | | open, unused | used once, idle for {} s | of that resident, pools included | left when all have gone, in all | most in between, in all |\n\
         |---|--:|--:|--:|--:|--:|",
        plan.connections,
        plan.size,
        plan.idle.as_secs_f64()
    );
    let mut failed = false;
    for row in &plan.rows {
        match measure(&plan, row) {
            Ok(Holds { unused, used, left, peak, rss }) => {
                let rss = rss.map_or_else(|| "–".to_owned(), |bytes| bytes.to_string());
                println!("| {} | {unused} | {used} | {rss} | {left} | {peak} |", row.name);
            }
            Err(error) => {
                failed = true;
                eprintln!("heap: {}: {error}", row.name);
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn plan() -> Result<Plan, String> {
    let mut flags = Flags::of_this_process();
    let connections = flags.value("--connections")?.unwrap_or(1_000);
    let size = flags.value("--size")?.unwrap_or(1 << 10);
    let idle = Duration::try_from_secs_f64(flags.value("--idle")?.unwrap_or(3.0));
    let names = flags.text("--rows")?;
    let [] = &flags.rest()?[..] else { return Err("no words, please".to_owned()) };
    let is_named = |row: &&Row| {
        names.as_ref().is_none_or(|names| names.split(';').any(|name| row.name.starts_with(name)))
    };
    let rows = ROWS.iter().filter(is_named).collect();
    if connections == 0 {
        return Err("no connections".to_owned());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let directory = own.parent().ok_or("this program lies nowhere")?.to_owned();
    Ok(Plan { connections, size, idle: idle.map_err(|error| error.to_string())?, directory, rows })
}

fn measure(plan: &Plan, row: &Row) -> Result<Holds, Box<dyn std::error::Error>> {
    let mut server = Server::start(&plan.directory, row)?;
    let kind = if row.offer.is_some() { Kind::Json } else { Kind::Text };
    let tape = Tape::compressed(kind, plan.size, 1, false, row.offer);

    // What the process allocates once, at its first connection, does not belong to the connections.
    drop(server.connect(row)?);
    sleep(Duration::from_millis(300));
    let (before, _) = server.ask()?;
    let rss_before = server.resident();
    let mut connections =
        (0..plan.connections).map(|_| server.connect(row)).collect::<Result<Vec<_>, _>>()?;
    sleep(plan.idle);
    let (unused, peak_open) = server.ask()?;
    for stream in &mut connections {
        echo(stream, &tape)?;
    }
    sleep(plan.idle);
    let (used, peak_used) = server.ask()?;
    let rss = rss_before.zip(server.resident()).map(|(before, now)| now - before);
    drop(connections);
    sleep(plan.idle);
    let (left, peak_left) = server.ask()?;
    let left = left - before;
    // Of what is held while they are open, what remains after they have closed is the process's: pools.
    let each = |live: isize, pooled: isize| (live - before - pooled) / plan.connections as isize;
    let peak = peak_open.max(peak_used).max(peak_left) - before;
    let rss = rss.map(|bytes| bytes / plan.connections as isize);
    Ok(Holds { unused: each(unused, 0), used: each(used, left), left, peak, rss })
}

fn echo(stream: &mut TcpStream, tape: &Tape) -> Result<(), Box<dyn std::error::Error>> {
    stream.write_all(tape.frame(0))?;
    let (mut checker, mut pongs, mut buffer) = (Checker::new(0), Vec::new(), [0; 16 * 1024]);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if checker.take(tape, &buffer[..read], &mut pongs)? > 0 {
            return Ok(());
        }
    }
}

/// A server that can be asked how much it holds, stopped when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(directory: &Path, row: &Row) -> io::Result<Self> {
        let program = directory.join(format!("{}{}", row.program, std::env::consts::EXE_SUFFIX));
        // The system picks a free port; nobody else should take it in the moment before the server does.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut child = Command::new(program)
            .args(row.arguments)
            .arg("--count-heap")
            .arg(address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, answers) = pipes.ok_or_else(|| io::Error::other("no pipes"))?;
        let mut server = Self { child, address, questions, answers: BufReader::new(answers) };
        server.line()?;
        Ok(server)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() { Err(io::Error::other("the server has ended")) } else { Ok(line) }
    }

    fn connect(&self, row: &Row) -> Result<TcpStream, load::LoadError> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        load::shake_hands(&mut stream, row.offer.as_ref())?;
        Ok(stream)
    }

    /// Its resident memory in bytes, on Linux.
    fn resident(&self) -> Option<isize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<isize>().ok()? * 1024)
    }

    /// What it holds, and the most since the previous question.
    fn ask(&mut self) -> io::Result<(isize, isize)> {
        self.questions.write_all(b"?")?;
        let line = self.line()?;
        let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
        numbers.next().zip(numbers.next()).ok_or_else(|| io::Error::other(line))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited by itself; nothing can be done about either failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
