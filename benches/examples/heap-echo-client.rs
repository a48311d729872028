//! The `echo-client` of ws-tokio, the same file, with an allocator that counts: `heap-echo-client URL [STEP ...]`.
//!
//! Its last line is the most that it held, for `.ci/hostile`.

use std::process::ExitCode;

use ws_benches::heap;

#[path = "../../ws-tokio/examples/echo-client.rs"]
mod echo_client;

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> ExitCode {
    heap::count();
    let status = echo_client::main();
    heap::report();
    status
}
