//! Calling the application outside of an event, and doing what follows from what it did.

use ws_core::Instant;

use super::{Desk, heard};
use crate::error::Error;
use crate::handler::{Handler, Peer};
use crate::link::Link;
use crate::remote::ConnId;
use crate::socket::{Socket, State};

impl<H: Handler> Desk<H> {
    /// Opens a connection to the application.
    pub(super) fn open(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
        state: H::State,
    ) -> Result<State, Error> {
        let Self { handler, buffers, remote, topics, .. } = self;
        let state = slot.insert(state);
        if let Ok(reply) = socket.reply(buffers, now) {
            handler.open(&mut Peer { reply, id, state, remote, topics });
        }
        socket.proceed(buffers, now, heard(handler, remote, topics, id, slot))
    }

    /// Calls the application outside of an event, and does what follows.
    fn call(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
        call: impl FnOnce(&mut H, &mut Peer<'_, H::State>),
    ) -> Result<State, Error> {
        let Self { handler, buffers, remote, topics, .. } = self;
        if let (Some(state), Ok(reply)) = (slot.as_mut(), socket.reply(buffers, now)) {
            call(handler, &mut Peer { reply, id, state, remote, topics });
        }
        if socket.takes_up() {
            socket.proceed(buffers, now, heard(handler, remote, topics, id, slot))
        } else {
            socket.flush(buffers, now)
        }
    }

    pub(super) fn wake(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
    ) -> Result<State, Error> {
        self.call(socket, now, id, slot, H::woken)
    }

    pub(super) fn tick(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
    ) -> Result<State, Error> {
        let state = socket.tick(&mut self.buffers, now)?;
        let is_due = |own: &H::State| self.handler.deadline(own).is_some_and(|deadline| deadline <= now);
        if state == State::Closed || !slot.as_ref().is_some_and(is_due) {
            return Ok(state);
        }
        let after = self.call(socket, now, id, slot, H::tick)?;
        Ok(if after == State::Waiting { state } else { after })
    }

    /// Output has to wait from now on, or has left that had to.
    #[cold]
    pub(super) fn tell_flow(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
        result: Result<State, Error>,
    ) -> Result<State, Error> {
        let state = result?;
        if state == State::Closed {
            return Ok(state);
        }
        let tell = if socket.is_stalled() { H::stalled } else { H::drained };
        let after = self.call(socket, now, id, slot, tell)?;
        Ok(if after == State::Waiting { state } else { after })
    }
}
