//! The `mio-echo-server` of ws-mio, the same file, with an allocator that counts: `heap-mio-echo-server [ADDRESS]`.
//!
//! It answers as `heap-echo-server` does, for `.ci/hostile`.

use ws_benches::heap;

#[path = "../../ws-mio/examples/mio-echo-server.rs"]
mod mio_echo_server;

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() -> std::io::Result<()> {
    heap::count();
    mio_echo_server::main()
}
