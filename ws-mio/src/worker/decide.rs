//! Requests: the application's answer to each, at once or later, and what follows from it.

use std::any::Any;

use ws_core::Accept;

use super::hand::InHand;
use super::{Desk, Worker, fields};
use crate::error::Error;
use crate::handler::{Acceptance, Handler, Refusal, Visitor};
use crate::later::Decision;
use crate::socket::State;

impl<H: Handler> Worker<H> {
    /// Tells the application if a request's time for an answer has passed: now, and not only when the client has heard of it
    /// and hung up.
    pub(super) fn tell_who_left(&mut self, at: u32) {
        if !self.desk.undecided.contains(&at) {
            return;
        }
        let Some((socket, id, _)) = self.table.lend(at) else { return };
        let end = if socket.has_failed() { socket.tell_end() } else { Ok(()) };
        self.table.give_back(at);
        if let Err(error) = end {
            self.desk.undecided.remove(&at);
            self.lingering += 1;
            self.note_count();
            self.desk.handler.left(id, error);
        }
    }
}

impl<H: Handler> InHand<'_, H> {
    /// Has the application judge a request, and does what it says.
    pub(super) fn decide(&mut self) -> Result<State, Error> {
        let Some((request, link)) = self.socket.asked(self.now) else { return Ok(State::Waiting) };
        let visitor = Visitor {
            id: self.id,
            request,
            link,
            #[cfg(feature = "deflate")]
            config: &self.desk.config,
        };
        match self.desk.handler.decide(&visitor) {
            Decision::Accept(acceptance) => self.say(Ok(acceptance)),
            Decision::Reject(refusal) => self.say(Err(refusal)),
            Decision::Later => {
                self.desk.undecided.insert(self.id.slot);
                self.socket.put_off(self.now);
                // What came behind the request is kept, and the end that may stand behind it is looked for.
                self.proceed()
            }
        }
    }

    /// The answer that was put off, unless it comes too late.
    pub(super) fn answer(
        &mut self,
        answer: Result<Acceptance<Box<dyn Any + Send>>, Refusal>,
    ) -> Result<State, Error> {
        if self.socket.request(self.now).is_none() || !self.desk.undecided.remove(&self.id.slot) {
            return Ok(State::Waiting);
        }
        let answer = answer.and_then(|Acceptance { state, protocol, headers }| {
            let kept = self.desk.handler.adopt(state);
            let acceptance = kept.map(|state| Acceptance { state, protocol, headers });
            acceptance.ok_or_else(|| Refusal { status: 500, headers: Vec::new(), body: Vec::new() })
        });
        self.say(answer)
    }

    fn say(&mut self, answer: Result<Acceptance<H::State>, Refusal>) -> Result<State, Error> {
        let Self { desk: Desk { buffers, .. }, socket, now, .. } = self;
        let said = match answer {
            Ok(Acceptance { state, protocol, headers }) => {
                let headers = fields(&headers);
                let accept = Accept { protocol: protocol.as_deref(), headers: &headers, ..Accept::default() };
                match socket.agree(buffers, *now, accept) {
                    Ok(()) => return self.open(state),
                    Err(error) => Err(error),
                }
            }
            Err(Refusal { status, headers, body }) => {
                socket.reject(buffers, *now, status, &fields(&headers), &body)
            }
        };
        if let Err(error) = said {
            socket.fail(Error::Answer(error));
            let _ = socket.reject(buffers, *now, 500, &[], b"");
        }
        self.proceed()
    }
}
