//! A connection in hand: its socket does something, the application is called, and what follows from that is done.

use ws_core::{Event, Instant};

use super::Desk;
use crate::error::Error;
use crate::handler::{Handler, Peer};
use crate::link::Link;
use crate::remote::{ConnId, Remote};
use crate::reply::Reply;
use crate::socket::{Socket, State};
use crate::topics::Topics;

/// What is at hand while a connection is worked with.
pub(super) struct InHand<'w, H: Handler> {
    pub(super) desk: &'w mut Desk<H>,
    pub(super) socket: &'w mut Socket<Link>,
    pub(super) now: Instant,
    pub(super) id: ConnId,
    /// What the application keeps with it, while it is open.
    pub(super) state: &'w mut Option<H::State>,
}

/// What hands a connection's events to the application.
#[inline(always)]
fn heard<'a, H: Handler>(
    handler: &'a mut H,
    remote: &'a Remote,
    topics: &'a mut Topics,
    id: ConnId,
    state: &'a mut Option<H::State>,
) -> impl FnMut(Event<'_>, &mut Reply<'_, Link>) + 'a {
    move |event, reply| {
        if let Some(state) = state {
            handler.event(event, &mut Peer { reply: reply.again(), id, state, remote, topics });
        }
    }
}

impl<H: Handler> InHand<'_, H> {
    #[inline(always)]
    pub(super) fn on_ready(&mut self, event: &mio::event::Event) -> Result<State, Error> {
        let Desk { handler, buffers, remote, topics, .. } = &mut *self.desk;
        self.socket.on_ready(event, buffers, self.now, heard(handler, remote, topics, self.id, self.state))
    }

    pub(super) fn proceed(&mut self) -> Result<State, Error> {
        let Desk { handler, buffers, remote, topics, .. } = &mut *self.desk;
        self.socket.proceed(buffers, self.now, heard(handler, remote, topics, self.id, self.state))
    }

    pub(super) fn flush(&mut self) -> Result<State, Error> {
        self.socket.flush(&mut self.desk.buffers, self.now)
    }

    /// Calls the application, if the connection is open.
    fn tell(&mut self, call: impl FnOnce(&mut H, &mut Peer<'_, H::State>)) {
        let Desk { handler, buffers, remote, topics, .. } = &mut *self.desk;
        if let (Some(state), Ok(reply)) = (self.state.as_mut(), self.socket.reply(buffers, self.now)) {
            call(handler, &mut Peer { reply, id: self.id, state, remote, topics });
        }
    }

    /// Opens a connection to the application.
    pub(super) fn open(&mut self, state: H::State) -> Result<State, Error> {
        *self.state = Some(state);
        self.tell(H::open);
        self.proceed()
    }

    /// Calls the application outside of an event, and does what follows.
    fn call(&mut self, call: impl FnOnce(&mut H, &mut Peer<'_, H::State>)) -> Result<State, Error> {
        self.tell(call);
        if self.socket.takes_up() { self.proceed() } else { self.flush() }
    }

    /// The same, after something that came to `state`.
    fn call_after(
        &mut self,
        state: State,
        call: impl FnOnce(&mut H, &mut Peer<'_, H::State>),
    ) -> Result<State, Error> {
        let after = self.call(call)?;
        Ok(if after == State::Waiting { state } else { after })
    }

    pub(super) fn wake(&mut self) -> Result<State, Error> {
        self.call(H::woken)
    }

    pub(super) fn tick(&mut self) -> Result<State, Error> {
        let state = self.socket.tick(&mut self.desk.buffers, self.now)?;
        let handler = &self.desk.handler;
        let is_due = |own: &H::State| handler.deadline(own).is_some_and(|deadline| deadline <= self.now);
        if state == State::Closed || !self.state.as_ref().is_some_and(is_due) {
            return Ok(state);
        }
        self.call_after(state, H::tick)
    }

    /// Output has to wait from now on, or has left that had to.
    #[cold]
    pub(super) fn tell_flow(&mut self, result: Result<State, Error>) -> Result<State, Error> {
        match result? {
            State::Closed => Ok(State::Closed),
            state => self.call_after(state, if self.socket.is_stalled() { H::stalled } else { H::drained }),
        }
    }
}
