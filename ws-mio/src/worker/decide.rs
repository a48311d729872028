//! Requests: the application's word on each, at once or later, and what follows from it.

use std::any::Any;

use ws_core::{Accept, Instant};

use super::{Desk, fields, heard};
use crate::error::Error;
use crate::handler::{Acceptance, Handler, Refusal, Visitor};
use crate::later::Decision;
use crate::link::Link;
use crate::remote::ConnId;
use crate::socket::{Socket, State};

impl<H: Handler> Desk<H> {
    /// Has the application judge a request, and goes on with what it says.
    pub(super) fn decide(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
    ) -> Result<State, Error> {
        let Some((request, link)) = socket.asked(now) else { return Ok(State::Waiting) };
        let visitor = Visitor {
            id,
            request,
            link,
            #[cfg(feature = "deflate")]
            config: &self.config,
        };
        match self.handler.decide(&visitor) {
            Decision::Accept(acceptance) => self.say(socket, now, id, slot, Ok(acceptance)),
            Decision::Refuse(refusal) => self.say(socket, now, id, slot, Err(refusal)),
            Decision::Later => {
                self.undecided.insert(id.slot);
                socket.put_off(now);
                // What came behind the request is kept, and the end that may stand behind it is looked for.
                self.go_on(socket, now, id, slot)
            }
        }
    }

    /// The answer that was put off, unless it comes too late.
    pub(super) fn answer(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
        answer: Result<Acceptance<Box<dyn Any + Send>>, Refusal>,
    ) -> Result<State, Error> {
        if socket.request(now).is_none() || !self.undecided.remove(&id.slot) {
            return Ok(State::Waiting);
        }
        let answer = answer.and_then(|Acceptance { state, protocol, headers }| {
            let kept = self.handler.adopt(state);
            let acceptance = kept.map(|state| Acceptance { state, protocol, headers });
            acceptance.ok_or_else(|| Refusal { status: 500, headers: Vec::new(), body: Vec::new() })
        });
        self.say(socket, now, id, slot, answer)
    }

    fn say(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
        answer: Result<Acceptance<H::State>, Refusal>,
    ) -> Result<State, Error> {
        let buffers = &mut self.buffers;
        let said = match answer {
            Ok(Acceptance { state, protocol, headers }) => {
                let headers = fields(&headers);
                let accept = Accept { protocol: protocol.as_deref(), headers: &headers, ..Accept::default() };
                match socket.agree(buffers, now, accept) {
                    Ok(()) => return self.open(socket, now, id, slot, state),
                    Err(error) => Err(error),
                }
            }
            Err(Refusal { status, headers, body }) => {
                socket.reject(buffers, now, status, &fields(&headers), &body)
            }
        };
        if let Err(error) = said {
            socket.fail(Error::Answer(error));
            let _ = socket.reject(buffers, now, 500, &[], b"");
        }
        self.go_on(socket, now, id, slot)
    }

    fn go_on(
        &mut self,
        socket: &mut Socket<Link>,
        now: Instant,
        id: ConnId,
        slot: &mut Option<H::State>,
    ) -> Result<State, Error> {
        let Self { handler, buffers, remote, topics, .. } = self;
        socket.proceed(buffers, now, heard(handler, remote, topics, id, slot))
    }
}
