//! At most one connection in the making for each address (RFC 6455, section 4.1), for those who want it so.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::call::Call;

/// Who waits for whom, on one loop. An address is in here as long as somebody is connecting to it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: HashMap<SocketAddr, VecDeque<Call>>,
    /// Those whose turn has come.
    turns: VecDeque<Call>,
    waiting: usize,
}

impl Lines {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Gives a call back whose turn it is at once; another one waits.
    pub(super) fn enter(&mut self, address: SocketAddr, mut call: Call) -> Option<Call> {
        if let Some(line) = self.lines.get_mut(&address) {
            line.push_back(call);
            self.waiting += 1;
            return None;
        }
        self.lines.insert(address, VecDeque::new());
        call.holds = Some(address);
        Some(call)
    }

    /// This call is connected, or has failed: the next has the turn.
    pub(super) fn leave(&mut self, call: &mut Call) {
        let Some(address) = call.holds.take() else { return };
        match self.lines.get_mut(&address).and_then(VecDeque::pop_front) {
            Some(mut next) => {
                next.holds = Some(address);
                self.waiting -= 1;
                self.turns.push_back(next);
            }
            // Addresses do not pile up.
            None => drop(self.lines.remove(&address)),
        }
    }

    /// The next whose turn has come.
    pub(super) fn turn(&mut self) -> Option<Call> {
        self.turns.pop_front()
    }

    /// All that wait, at the end.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Call> {
        self.waiting = 0;
        let lines = std::mem::take(&mut self.lines);
        std::mem::take(&mut self.turns).into_iter().chain(lines.into_values().flatten())
    }
}
