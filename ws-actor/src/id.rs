//! Names of connections: unique in a cluster, dead after a restart.
//!
//! A [`ConnId`] is the incarnation of the node that took the connection and a number that this incarnation gives
//! only once. An id that outlived its process, in a database or a log, therefore names nothing: a send to it says
//! `NotFound` instead of reaching a stranger.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::time::SystemTime;

/// One incarnation of a node: drawn afresh each time a [`Hub`](crate::Hub) is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// Draws a random number, which an earlier incarnation had with a chance of one in 2^64.
    ///
    /// The standard library seeds its hash keys from the system's entropy and gives each hasher of a process other
    /// ones; process and time are mixed in, should the system have none. The number has to be unique, not secret.
    pub fn draw() -> Self {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        hasher.write_u128(since.as_nanos());
        Self(hasher.finish())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// The id of one connection.
///
/// As text it is sixteen hexadecimal digits for the node's incarnation, a dash, and the connection's number in as
/// few digits as it needs: `3f2a9c0d11e4b765-1b`. Only this form is parsed back, so that equal ids are equal texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    node: NodeId,
    seq: u64,
}

impl ConnId {
    pub(crate) const fn new(node: NodeId, seq: u64) -> Self {
        Self { node, seq }
    }

    /// The incarnation of the node that took the connection.
    pub const fn node(self) -> NodeId {
        self.node
    }

    /// Its number there; the first is 1.
    pub const fn seq(self) -> u64 {
        self.seq
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.node, self.seq)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// The error of parsing a text that is not a [`ConnId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseConnIdError;

impl fmt::Display for ParseConnIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a connection id is 16 hexadecimal digits, a dash and 1 to 16 more, without leading zeros",
        )
    }
}

impl std::error::Error for ParseConnIdError {}

impl FromStr for ConnId {
    type Err = ParseConnIdError;

    fn from_str(text: &str) -> Result<Self, ParseConnIdError> {
        let (node, seq) = text.split_once('-').ok_or(ParseConnIdError)?;
        if node.len() != 16 || seq.is_empty() || seq.len() > 1 && seq.starts_with('0') {
            return Err(ParseConnIdError);
        }
        Ok(Self { node: NodeId(parse_hex(node)?), seq: parse_hex(seq)? })
    }
}

/// Lower-case digits only: `from_str_radix` would also take upper case and a sign.
fn parse_hex(digits: &str) -> Result<u64, ParseConnIdError> {
    if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ParseConnIdError);
    }
    u64::from_str_radix(digits, 16).map_err(|_| ParseConnIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B10: an id survives its way through text unchanged.
    #[test]
    fn text_round_trip() {
        let node = NodeId::draw();
        for seq in [0, 1, 0x1b, u64::MAX] {
            let id = ConnId::new(node, seq);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(ConnId::new(NodeId(0x3f2a), 0x1b).to_string(), "0000000000003f2a-1b");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "-",
            "3f2a-1b",
            "0000000000003f2a",
            "0000000000003f2a-",
            "0000000000003f2a-01",
            "0000000000003f2a-1B",
            "0000000000003F2a-1b",
            "0000000000003f2a-1b-2",
            "+000000000003f2a-1b",
            "0000000000003f2a-+1",
            "0000000000003f2a-11111111111111111",
            "0000000000003f2a-1b ",
            "00000000000é3f2-1b",
        ] {
            assert_eq!(text.parse::<ConnId>(), Err(ParseConnIdError), "{text:?}");
        }
    }

    /// B10: two hubs, and so two starts of a program, never share an incarnation.
    #[test]
    fn incarnations_differ() {
        let drawn: std::collections::HashSet<_> = (0..1_000).map(|_| NodeId::draw()).collect();
        assert_eq!(drawn.len(), 1_000);
    }
}
