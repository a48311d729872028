//! The workloads, which are the tables' columns: what clients do, how many there are, how much is in flight, how large,
//! binary or text, compressed or not.

/// The kind of a run's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opcode 2, all byte values.
    Binary,
    /// Opcode 1, UTF-8 of one to four bytes per character, which a server must validate.
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

/// A named load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name in tables and flags.
    pub name: &'static str,
    /// Connections: open before the clock starts, except with [`Shape::Open`], where so many are being opened at a time.
    pub connections: usize,
    /// What clients do.
    pub shape: Shape,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Messages come back to their sender.
    Echo {
        /// Messages that each connection has in flight at any time.
        in_flight: usize,
        /// Payload of a message in bytes.
        size: usize,
        /// Text or binary.
        kind: Kind,
        /// Compressed: whether both sides keep their context from message to message. Level and window are the contest's.
        takeover: Option<bool>,
    },
    /// Each message goes to all members of a room.
    Broadcast {
        /// Messages that one member sends at once; the next one sends when all have them.
        burst: usize,
        /// Payload of a message in bytes.
        size: usize,
    },
    /// Connections are opened, and nothing is sent.
    Open,
    /// Connections are open, and silent except for a message or two: their memory counts, not their processor time.
    Idle,
}

/// The workloads of a comparison, in the order of the table's columns.
///
/// Sixty-four connections keep the server busy with more than one socket per wake-up. The large ones use fewer,
/// so that only a few MiB are in flight: beyond that the sockets' buffers are measured and no longer the servers.
pub const ALL: &[Workload] = &[
    echo("echo-32", 64, 1, 32, Kind::Binary),
    echo("echo-32-p16", 64, 16, 32, Kind::Binary),
    echo("echo-1k", 64, 1, 1 << 10, Kind::Binary),
    echo("echo-1k-p16", 64, 16, 1 << 10, Kind::Binary),
    echo("text-1k-p16", 64, 16, 1 << 10, Kind::Text),
    echo("echo-16k", 64, 1, 16 << 10, Kind::Binary),
    echo("echo-16k-p16", 16, 16, 16 << 10, Kind::Binary),
    echo("echo-1m", 4, 1, 1 << 20, Kind::Binary),
    echo("echo-many", 2_000, 1, 125, Kind::Binary),
    broadcast("broadcast-128", 1, 128),
    broadcast("broadcast-128-p16", 16, 128),
    broadcast("broadcast-16k", 1, 16 << 10),
    Workload { name: "connect", connections: 64, shape: Shape::Open },
    deflate("deflate-1k", 64, 1 << 10, false),
    deflate("deflate-1k-ctx", 64, 1 << 10, true),
    deflate("deflate-16k", 16, 16 << 10, false),
    deflate("deflate-16k-ctx", 16, 16 << 10, true),
    Workload { name: "idle", connections: 10_000, shape: Shape::Idle },
];

impl Workload {
    /// Whether messages are compressed.
    pub const fn is_compressed(&self) -> bool {
        matches!(self.shape, Shape::Echo { takeover: Some(_), .. })
    }

    /// The limit of this workload: the contestant that does the minimum.
    pub const fn wall(&self) -> &'static str {
        match self.shape {
            Shape::Echo { .. } => "limit-raw-mio",
            Shape::Broadcast { .. } => "limit-send-loop",
            Shape::Open | Shape::Idle => "limit-ws-mio",
        }
    }
}

const fn echo(name: &'static str, connections: usize, in_flight: usize, size: usize, kind: Kind) -> Workload {
    Workload { name, connections, shape: Shape::Echo { in_flight, size, kind, takeover: None } }
}

const fn broadcast(name: &'static str, burst: usize, size: usize) -> Workload {
    Workload { name, connections: 1_000, shape: Shape::Broadcast { burst, size } }
}

/// Four in flight: enough to keep the server from sleeping, and few enough that buffers do not decide.
const fn deflate(name: &'static str, connections: usize, size: usize, takeover: bool) -> Workload {
    let shape = Shape::Echo { in_flight: 4, size, kind: Kind::Json, takeover: Some(takeover) };
    Workload { name, connections, shape }
}
