//! Delivering what was published: each member gets all that is noted for it, in one write.
//!
//! Most members are idle. They are written to in their places in the table, from where the frames are, and nothing else is
//! touched. Only a member whose transport does not take everything gets a socket.

use ws_core::Instant;

use super::hand::InHand;
use super::{Desk, Worker};
use crate::handler::Handler;
use crate::remote::{Action, Order};
use crate::topics::Written;

impl<H: Handler> Worker<H> {
    /// Notes what another thread publishes.
    pub(super) fn publish(&mut self, order: &Order, message: &ws_core::Prepared, now: Instant) {
        if let Action::Publish(topic) = order.action {
            self.desk.topics.note(topic, message, None);
            self.deliver_much(now);
        }
    }

    /// Does not wait for the end of the turn if much has come together.
    #[inline]
    pub(super) fn deliver_much(&mut self, now: Instant) {
        if self.desk.topics.is_much() {
            self.deliver(now);
        }
    }

    /// With no connection in hand.
    #[inline]
    pub(super) fn deliver(&mut self, now: Instant) {
        if !self.desk.topics.is_idle() {
            self.deliver_all(now);
        }
        self.desk.topics.tell();
    }

    fn deliver_all(&mut self, now: Instant) {
        // A handler that is told meanwhile that a peer does not read may publish in turn.
        while let Some(dirty) = self.desk.topics.take_dirty() {
            self.deliver_to(&dirty, now);
            self.desk.topics.give_dirty(dirty);
        }
        self.desk.topics.end_turn();
    }

    fn deliver_to(&mut self, dirty: &[u32], now: Instant) {
        let mut rest = dirty;
        loop {
            let Desk { topics, buffers, .. } = &mut self.desk;
            let (done, stopped) = topics.write_plain(rest, &mut self.table);
            let Some((&member, others)) = rest.get(done..).and_then(<[u32]>::split_first) else { break };
            rest = others;
            let Some(at) = topics.addressee(member) else { continue };
            if let Some(written) = stopped {
                if let Some((socket, ..)) = self.table.lend(at) {
                    topics.resume_plain(member, &mut socket.wire, buffers, written);
                    self.table.give_back(at);
                }
            } else if let Some(quiet) = self.table.at_rest(at) {
                match topics.write(member, quiet) {
                    Written::All => continue,
                    Written::Part(frames, written) => {
                        if let Some((socket, ..)) = self.table.lend(at) {
                            socket.wire.resume(buffers, frames, written);
                            self.table.give_back(at);
                        }
                    }
                    Written::Unfit => {}
                }
            }
            self.work(at, now, |hand| {
                let InHand { desk, socket, .. } = hand;
                if let Ok(mut reply) = socket.reply(&mut desk.buffers, now) {
                    desk.topics.catch_up(at, &mut reply);
                }
                hand.flush()
            });
            // Whatever became of it: nothing refers to this turn's messages now.
            self.desk.topics.drop_noted(member);
        }
    }
}
