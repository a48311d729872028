//! The `echo-server` of ws-tokio, the same file, with an allocator that counts: `heap-echo-server [ADDRESS]`.
//!
//! Each byte on its standard input is a question. The answer is a line, `heap: LIVE bytes, PEAK at most`: what the
//! process holds now, and the most it held since the previous question. `.ci/hostile` asks, to bound what a hostile
//! peer costs.

use ws_benches::heap;

#[path = "../../ws-tokio/examples/echo-server.rs"]
mod echo_server;

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> std::io::Result<()> {
    heap::count();
    echo_server::main()
}
