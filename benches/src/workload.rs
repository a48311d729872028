//! The cells of the tables: how many connections, how much in flight, how large, binary or text, compressed or not.

/// What the messages of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opcode 2, all byte values.
    Binary,
    /// Opcode 1, UTF-8 of one to four bytes a character, as a server has to check it.
    Text,
    /// Opcode 1, a JSON document of names, numbers and flags, as an application sends them.
    Json,
}

impl Kind {
    /// The opcode of a frame that carries it.
    pub const fn opcode(self) -> u8 {
        match self {
            Self::Text | Self::Json => 0x1,
            Self::Binary => 0x2,
        }
    }
}

/// The shape of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What tables and flags call it.
    pub name: &'static str,
    /// Connections, opened before the clock starts.
    pub connections: usize,
    /// Messages that each connection has under way at any time.
    pub in_flight: usize,
    /// Payload of a message in bytes.
    pub size: usize,
    /// Text or binary.
    pub kind: Kind,
    /// Compressed: whether both sides keep their context from message to message. Level and window are the contest's.
    pub takeover: Option<bool>,
}

/// The workloads of a comparison, in the order of the table's columns.
///
/// Sixty-four connections keep the server busy with more than one socket a wake-up. The large ones use fewer, so
/// that what is under way stays a few MiB: beyond that the sockets' buffers are measured and no longer the servers.
pub const ALL: &[Workload] = &[
    binary("echo-32", 64, 1, 32),
    binary("echo-32-p16", 64, 16, 32),
    binary("echo-1k", 64, 1, 1 << 10),
    binary("echo-1k-p16", 64, 16, 1 << 10),
    Workload {
        name: "text-1k-p16",
        connections: 64,
        in_flight: 16,
        size: 1 << 10,
        kind: Kind::Text,
        takeover: None,
    },
    binary("echo-16k", 64, 1, 16 << 10),
    binary("echo-16k-p16", 16, 16, 16 << 10),
    binary("echo-1m", 4, 1, 1 << 20),
    deflate("deflate-1k", 64, 1 << 10, false),
    deflate("deflate-1k-ctx", 64, 1 << 10, true),
    deflate("deflate-16k", 16, 16 << 10, false),
    deflate("deflate-16k-ctx", 16, 16 << 10, true),
];

const fn binary(name: &'static str, connections: usize, in_flight: usize, size: usize) -> Workload {
    Workload { name, connections, in_flight, size, kind: Kind::Binary, takeover: None }
}

/// Four in flight: enough to keep the server from sleeping, and little enough that buffers do not decide.
const fn deflate(name: &'static str, connections: usize, size: usize, takeover: bool) -> Workload {
    Workload { name, connections, in_flight: 4, size, kind: Kind::Json, takeover: Some(takeover) }
}
