//! Tools that benchmark the crates of this workspace against other libraries.
//!
//! The load generator speaks WebSocket by hand, so that no library's client is on its hot path, and it trusts nothing:
//! every byte that a server sends back is parsed and compared with what was sent.
//!
//! - [`tape`]: the messages of a run, framed and masked once, before the clock starts.
//! - [`deflate`]: how the generator compresses, and how it inflates what comes back.
//! - [`check`]: compares what one connection receives with the tape.
//! - [`load`]: connections, the event loop, the two phases of a run; [`report`] is what comes out.
//! - [`fanout`]: a room whose members check everything they receive.
//! - [`opening`]: connections opened and closed by the hundred; [`idle`]: ten thousand that stay open, and their memory.
//! - [`workload`]: the named cells of the comparison tables; [`contestant`]: who takes part, in what.
//! - [`contest`]: interleaves rounds; [`process`] starts servers; [`table`] turns the figures into Markdown.
//! - [`heap`]: an allocator that counts, and answers when asked.
//! - [`syscalls`]: system calls per message, counted by `strace`.
//! - [`bare`]: the minimal WebSocket that the limits speak.
//! - [`micro`]: loops in memory, without sockets.
//! - [`serve`]: code shared by the echo servers over tokio.
//!
//! Servers run on one thread and take the address to listen on as their first argument.

pub mod bare;
pub mod check;
pub mod contest;
pub mod contestant;
pub mod cpu;
pub mod deflate;
pub mod fanout;
pub mod flags;
pub mod heap;
pub mod histogram;
pub mod idle;
pub mod load;
pub mod micro;
pub mod opening;
pub mod process;
pub mod report;
pub mod serve;
pub mod syscalls;
pub mod table;
pub mod tape;
#[cfg(feature = "peers")]
pub mod upgrade;
pub mod workload;
