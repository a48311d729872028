//! The minimum that a WebSocket server can do over a bare readiness loop: frames are parsed, unmasked on their way into one
//! shared buffer, and framed again. With `--room` each frame goes to everybody, by a bare loop of `send` calls.

use std::io;

use ws_benches::bare::Loop;
use ws_benches::flags::Flags;
use ws_benches::serve;

fn main() -> io::Result<()> {
    let mut flags = Flags::of_this_process();
    let is_room = flags.has("--room");
    let address = serve::address(flags)?.parse().map_err(io::Error::other)?;
    let mut bare = Loop::listen(address, is_room)?;
    println!("listening on {}", bare.local_addr()?);
    bare.run()
}
