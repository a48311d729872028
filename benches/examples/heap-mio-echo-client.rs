//! The `mio-echo-client` of ws-mio, the same file, with an allocator that counts: `heap-mio-echo-client URL [STEP ...]`.
//!
//! Its last line is the most that it held, for `.ci/hostile`.

use std::process::ExitCode;

use ws_benches::heap;

#[path = "../../ws-mio/examples/mio-echo-client.rs"]
mod mio_echo_client;

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> ExitCode {
    heap::count();
    let status = mio_echo_client::main();
    heap::report();
    status
}
