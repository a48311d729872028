//! Doing what other threads ask.

use std::mem;

use ws_core::{CloseFrame, Instant, Kind, Message};

use super::Worker;
use super::hand::InHand;
use crate::handler::Handler;
use crate::later::Answered;
use crate::link::Link;
use crate::remote::{Action, Batch, Order};
use crate::reply::Reply;
use crate::socket::State;

impl<H: Handler> Worker<H> {
    /// Does what other threads ask: each connection gets all of its own at once.
    pub(super) fn obey(&mut self, now: Instant) {
        let mut batch = mem::take(&mut self.batch);
        if self.inbox().take(&mut batch) {
            // First of all: what is sent to a client was left here behind the answer to its request.
            for Answered { id: of, answer } in mem::take(&mut batch.answers) {
                self.work(
                    of.slot,
                    now,
                    |hand| {
                        if hand.id == of { hand.answer(answer) } else { Ok(State::Waiting) }
                    },
                );
            }
            let mut orders = mem::take(&mut batch.orders);
            let mut published = mem::take(&mut batch.published);
            let mut messages = published.drain(..);
            for run in orders.chunk_by_mut(|one, other| one.is_publish() == other.is_publish()) {
                if run.first().is_some_and(Order::is_publish) {
                    run.iter()
                        .zip(&mut messages)
                        .for_each(|(order, message)| self.publish(order, &message, now));
                    continue;
                }
                // Stable: what one thread sends to a connection keeps its order.
                run.sort_by_key(|order| order.id.slot);
                for group in run.chunk_by(|one, other| one.id.slot == other.id.slot) {
                    self.obey_for(group, &batch, now);
                }
            }
            drop(messages);
            batch.published = published;
            batch.orders = orders;
            for connect in mem::take(&mut batch.connects) {
                self.call(connect, now);
            }
            for turn in mem::take(&mut batch.turns) {
                self.take_turn(turn, now);
            }
            for arrival in mem::take(&mut batch.arrivals) {
                self.take_in(arrival, now);
            }
            for wake in batch.wakes.drain(..) {
                let of = wake.hear();
                self.work(of.slot, now, |hand| if hand.id == of { hand.wake() } else { Ok(State::Waiting) });
            }
            if let Some(grace) = batch.shutdown {
                self.deliver(now);
                self.begin_shutdown(grace, now);
            }
            if batch.winds_down {
                self.winds_down = true;
                self.shut_door();
            }
            batch.clear();
        }
        self.batch = batch;
    }

    fn obey_for(&mut self, group: &[Order], batch: &Batch, now: Instant) {
        let Some(at) = group.first().map(|order| order.id.slot) else { return };
        self.work(at, now, |hand| {
            let InHand { desk, socket, id, state, .. } = hand;
            if state.is_none() {
                return Ok(State::Waiting);
            }
            for order in group.iter().filter(|order| order.id == *id) {
                let Ok(mut reply) = socket.reply(&mut desk.buffers, now) else { break };
                desk.topics.catch_up(at, &mut reply);
                follow(&mut reply, order, batch.payload(order));
            }
            hand.flush()
        });
    }
}

/// One order from another thread. What cannot be done is not: the connection is closing, or its peer does not read.
fn follow(reply: &mut Reply<'_, Link>, order: &Order, payload: &[u8]) {
    let _ = match order.action {
        Action::Send(Kind::Binary) => reply.send(payload),
        Action::Send(Kind::Text) => match str::from_utf8(payload) {
            Ok(text) => reply.send(Message::Text(text)),
            Err(_) => Ok(()),
        },
        Action::Publish(_) => Ok(()),
        Action::Close(code) => {
            let reason = str::from_utf8(payload).unwrap_or_default();
            reply.close(code.map(|code| CloseFrame { code, reason }))
        }
    };
}
