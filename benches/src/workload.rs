//! The cells of the tables: how many connections, how much in flight, how large, binary or text.

/// What the messages of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opcode 2, all byte values.
    Binary,
    /// Opcode 1, UTF-8 of one to four bytes a character, as a server has to check it.
    Text,
}

impl Kind {
    /// The opcode of a frame that carries it.
    pub const fn opcode(self) -> u8 {
        match self {
            Self::Text => 0x1,
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
    Workload { name: "text-1k-p16", connections: 64, in_flight: 16, size: 1 << 10, kind: Kind::Text },
    binary("echo-16k", 64, 1, 16 << 10),
    binary("echo-16k-p16", 16, 16, 16 << 10),
    binary("echo-1m", 4, 1, 1 << 20),
];

const fn binary(name: &'static str, connections: usize, in_flight: usize, size: usize) -> Workload {
    Workload { name, connections, in_flight, size, kind: Kind::Binary }
}
