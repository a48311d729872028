//! The end of a loop: connections get a close frame, and what came too late is reported.

use std::io::ErrorKind;
use std::time::Duration;

use ws_core::{CloseCode, CloseFrame, Instant};

use super::Worker;
use super::hand::InHand;
use crate::adopt;
use crate::error::Error;
use crate::handler::Handler;
use crate::remote::{Batch, ConnId};
use crate::socket::State;

impl<H: Handler> Worker<H> {
    /// nothing more is accepted, each connection gets a close frame, and those still in their handshake end.
    pub(super) fn begin_shutdown(&mut self, grace: Duration, now: Instant) {
        self.shut_door();
        let ends = now.saturating_add(grace);
        self.ends = Some(self.ends.map_or(ends, |other| other.min(ends)));
        (0..self.table.end()).for_each(|at| self.say_good_bye(at, now));
        // Their turns would come to nothing.
        self.hang_up_all(Vec::new(), &[]);
    }

    pub(super) fn say_good_bye(&mut self, at: u32, now: Instant) {
        self.work(at, now, |hand| {
            let InHand { desk, socket, state, .. } = hand;
            if state.is_none() {
                return if socket.is_told() {
                    Ok(State::Waiting)
                } else {
                    Err(Error::Lost(ErrorKind::ConnectionAborted.into()))
                };
            }
            let frame = CloseFrame { code: CloseCode::GOING_AWAY, reason: "" };
            // Refused where the closing handshake is under way.
            let _ = socket.close(&mut desk.buffers, now, Some(frame));
            hand.flush()
        });
    }

    pub(super) fn drop_the_rest(&mut self) {
        // Nothing new is begun, such as connecting to the next address.
        self.ends.get_or_insert(Instant::ZERO);
        for at in 0..self.table.end() {
            if let Some((id, is_told)) = self.table.lend(at).map(|(socket, id, _)| (id, socket.is_told())) {
                let end = if is_told { Ok(()) } else { Err(Error::Timeout(ws_core::Timer::Close)) };
                self.remove(at, id, is_told, end);
            }
        }
    }

    /// Tells of what came too late for the loop, and of what waits.
    pub(super) fn turn_away(&mut self, rest: Batch) {
        self.hang_up_all(rest.connects, &rest.turns);
        for adopt::Arrival { state, .. } in rest.arrivals {
            if let Some(state) = self.desk.handler.adopt(state) {
                let end = Err(Error::Lost(ErrorKind::ConnectionAborted.into()));
                self.desk.handler.closed(ConnId::nobodys(self.index), state, end);
            }
        }
    }
}
