//! A server's process: started on its own core, waited for, stopped.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::contestant::Program;
use crate::cpu;

/// Maximum time until a server listens.
const START: Duration = Duration::from_secs(10);

/// A running server, stopped when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a program with the arguments `tuning` before its address, on one core or any, and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen in time.
    pub fn start(program: &Program, tuning: &[&str], core: Option<usize>) -> io::Result<Self> {
        // The system picks a free port; nobody else should take it in the moment before the server does.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = cpu::pinned(core, &program.path)
            .args(&program.arguments)
            .args(tuning)
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Some print a line for each connection that just ends: thousands, when a generator leaves.
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("ended before it listened: {status}")));
            }
            if start.elapsed() > START {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "does not listen"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited by itself; nothing can be done about either failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
