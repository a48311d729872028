//! The engine of a program that runs on one node.

use crate::engine::Engine;
use crate::hub::SendError;
use crate::id::{ConnId, NodeId};
use crate::outgoing::Outgoing;

/// The engine of a single node: an id that is not of this one names nothing, and there is nothing to tell others.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    node: NodeId,
}

impl Local {
    /// Creates a node of its own, under a new incarnation.
    pub fn new() -> Self {
        Self { node: NodeId::draw() }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Local {
    fn node(&self) -> NodeId {
        self.node
    }

    fn send(&self, _: ConnId, _: &Outgoing) -> Result<(), SendError> {
        Err(SendError::NotFound)
    }

    fn publish(&self, _: Option<&str>, _: &Outgoing, _: Option<ConnId>) {}

    fn join(&self, _: &str) {}

    fn leave(&self, _: &str) {}
}
