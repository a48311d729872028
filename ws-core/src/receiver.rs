//! The receiving direction: the decoder, and the deadlines that depend on what is heard.

use crate::close::{CloseCode, CloseFrame};
use crate::config::{ConfigRef, Role};
use crate::decoder::{Decoder, Found, SmallFrame, Step, TextSoFar};
use crate::error::{Failure, Timer, Violation};
use crate::event::{Chunk, Closed, Event, Kind, Payload, Transport};
use crate::sender::{Duty, Reply};
use crate::time::Instant;
use crate::timers::{Due, Timers};
use crate::view;

/// What [`Connection::recv`](crate::Connection::recv) found.
#[derive(Debug, PartialEq, Eq)]
pub struct Recv<'b> {
    /// How many bytes from the front of the input are done with. Once the event is handled, do not show them again.
    pub consumed: usize,
    /// Without an event: how long the input must be, counted after `consumed`, before there can be one; always more
    /// than there is. A broken rule may show earlier, so call again after every read.
    pub need: usize,
    /// What arrived; `None`: nothing more without more bytes.
    pub event: Option<Event<'b>>,
}

/// The receiving direction of a connection, with its timers.
#[derive(Debug)]
pub struct Receiver {
    config: ConfigRef,
    decoder: Decoder,
    timers: Timers,
    /// Unconsumed bytes that the last call has seen: what goes beyond them is new.
    seen: u32,
    end: End,
}

/// How near the transport is to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Bytes may come.
    No,
    /// The peer ended its side after the close; our last bytes may still reach it.
    Eof,
    /// Neither direction waits for anything.
    Over,
}

impl Receiver {
    /// Looks at `input`: every byte received and not yet consumed, from the first one on.
    ///
    /// As [`Connection::recv`](crate::Connection::recv), but what is owed to the peer has to be handed to the sending
    /// half: the [`Reply`], or, after a failure, [`Failure::reply`].
    ///
    /// # Errors
    /// The peer broke a rule or a limit. This is reported once; from then on all input is discarded.
    pub fn recv<'b>(
        &mut self,
        now: Instant,
        input: &'b mut [u8],
    ) -> Result<(Recv<'b>, Option<Reply>), Failure> {
        let recv = match self.small_frame(now, input) {
            Some(frame) => view_small(frame, input),
            None => view(self.step_alone(now, input)?, input, false),
        };
        let reply = recv.event.as_ref().and_then(Reply::to);
        Ok((recv, reply))
    }

    /// Says that the transport reached its end. Fetch the events that came before it first: none comes after.
    ///
    /// # Errors
    /// [`Failure::Eof`], once, when no close frame came before (section 7.1.5: code 1006).
    pub fn recv_eof(&mut self, now: Instant) -> Result<(), Failure> {
        self.timers.advance(now);
        if self.is_open() {
            return self.give_up(Failure::Eof).map(|_| ());
        }
        // The deadline of the close goes on: a peer that has stopped reading gets no more time for our last bytes.
        if self.end == End::No {
            self.end = End::Eof;
        }
        Ok(())
    }

    /// Says that our close frame is queued. After codes other than 1000, 1001 and 1012 the peer's data is dropped from now
    /// on.
    pub fn closing(&mut self, now: Instant, code: Option<CloseCode>) {
        self.timers.advance(now);
        self.timers.close();
        if !matches!(code, None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::RESTART)) {
            self.decoder.mute();
        }
    }

    /// When `tick` is due; `None`: not before something else happens.
    pub fn deadline(&self) -> Option<Instant> {
        if self.end == End::Over { None } else { self.timers.deadline(&self.config.timeouts) }
    }

    /// Lets time pass. Harmless when early.
    ///
    /// # Errors
    /// [`Failure::Timeout`], once: no sign of life after a ping, or no answer to our close frame.
    pub fn tick(&mut self, now: Instant) -> Result<Option<Reply>, Failure> {
        self.timers.advance(now);
        if self.end == End::Over {
            return Ok(None);
        }
        match self.timers.tick(&self.config.timeouts) {
            Due::Nothing => Ok(None),
            Due::Ping => Ok(Some(Reply(Duty::Ping))),
            Due::PongTimeout => self.give_up(Failure::Timeout(Timer::Pong)),
            // With the peer's close frame in hand, or our own failure reported, nothing more can be lost.
            Due::CloseTimeout if self.decoder.is_open() => self.give_up(Failure::Timeout(Timer::Close)),
            Due::CloseTimeout | Due::LingerOver => {
                self.end = End::Over;
                Ok(None)
            }
        }
    }

    /// What the caller should do with the transport now, given how much output is pending.
    pub fn transport(&self, pending: usize) -> Transport {
        match self.end {
            End::No => {}
            // A peer that shut down only its writing side still reads our last bytes.
            End::Eof if pending > 0 && !self.timers.is_lingering() => return Transport::Shutdown,
            End::Eof | End::Over => return Transport::Close,
        }
        if self.decoder.is_open() {
            return Transport::Open;
        }
        // 7.1.1: the server closes first, so that it is the client that waits in vain, if either does.
        match self.role() {
            Role::Client if self.decoder.is_closed() => Transport::Open,
            _ => Transport::Shutdown,
        }
    }

    /// Says that the adapter has written everything and shut its writing side down.
    pub fn shut_down(&mut self, now: Instant) {
        self.timers.advance(now);
        if !self.decoder.is_open() {
            self.timers.linger();
        }
    }

    /// Whether data frames may still come.
    pub fn is_open(&self) -> bool {
        self.decoder.is_open()
    }

    /// The side this endpoint is on.
    pub fn role(&self) -> Role {
        self.decoder.role()
    }

    /// The settings.
    pub fn config(&self) -> &ConfigRef {
        &self.config
    }
}

/// For adapters: what the sending half has to tell, and what a loop over many sockets asks.
impl Receiver {
    /// Says that a keepalive ping has left: a sign of life is due.
    pub fn ping_left(&mut self) {
        self.timers.ping_left();
    }

    /// Since when a sign of life is due, if one is: since our keepalive ping was transmitted, or reading went on.
    ///
    /// An adapter that still holds the ping in a buffer [pauses](Self::pause) until it has written it.
    pub fn awaits_pong_since(&self) -> Option<Instant> {
        self.timers.awaits_pong_since()
    }

    /// Tells the receiver the time, and nothing else: before a late `transmit`, so that a ping in it counts from there.
    pub fn observe(&mut self, now: Instant) {
        self.timers.advance(now);
    }

    /// Says that reading has paused, because the consumer is behind: until the next `recv` a missing pong proves nothing.
    ///
    /// An event in hand counts as that by itself.
    pub fn pause(&mut self, now: Instant) {
        self.timers.advance(now);
        self.timers.doze();
    }

    /// Checks and drops data from now on, for want of a consumer. Close and control frames are still reported.
    pub fn discard_data(&mut self) {
        self.decoder.mute();
    }

    /// While lingering: how many bytes are still discarded before it is over; `None` otherwise.
    ///
    /// An adapter that reads no more than that, and then waits for the [`deadline`](Self::deadline), spares a peer in
    /// full flow the reset that would overtake our close frame: what it sends fills its window and no more.
    pub fn linger_room(&self) -> Option<usize> {
        self.timers.linger_room()
    }

    /// Payload of the current frame that has not arrived, in bytes: only the peer's word, a hint for lent buffers.
    pub fn remaining(&self) -> u64 {
        self.decoder.remaining()
    }

    /// Moves what a fragmented message has left behind to the front of `input`, and returns its length: for callers
    /// whose storage is full and cannot grow. The rest of `input` is as unconsumed as before.
    pub fn compact(&mut self, input: &mut [u8]) -> usize {
        let consumed = self.decoder.close_gap(input);
        self.seen = self.seen.saturating_sub(consumed as u32);
        consumed
    }
}

impl Receiver {
    pub(crate) fn new(role: Role, config: ConfigRef, now: Instant) -> Self {
        let decoder = Decoder::new(role, &config);
        Self { config, decoder, timers: Timers::new(now), seen: 0, end: End::No }
    }

    /// [`step`](Self::step) for a caller that cannot inflate: nothing may get lost silently.
    fn step_alone(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure> {
        let step = self.step(now, input)?;
        #[cfg(feature = "deflate")]
        if let Found::Deflated { .. } = step.found {
            return Err(self.refuse(now, Violation::InvalidDeflate));
        }
        Ok(step)
    }

    #[inline(always)]
    pub(crate) fn text_so_far(&self) -> Option<TextSoFar> {
        self.decoder.text_so_far()
    }

    /// As [`Decoder::small_frame`].
    #[inline(always)]
    pub(crate) fn small_frame(&mut self, now: Instant, input: &mut [u8]) -> Option<SmallFrame> {
        let frame = self.decoder.small_frame(input)?;
        let have = u32::try_from(input.len()).unwrap_or(u32::MAX);
        // Behind a message of the same read nothing is new: no sign of life, and the consumer has not had to wait.
        if have > self.seen || !self.timers.is_busy() {
            self.timers.advance(now);
            self.timers.wake();
            if have > self.seen {
                self.timers.hear();
            }
            self.timers.doze();
        }
        self.seen = have.wrapping_sub(frame.end as u32);
        Some(frame)
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, now: Instant, input: &mut [u8]) -> Result<Step, Failure> {
        self.timers.advance(now);
        self.timers.wake();
        let have = u32::try_from(input.len()).unwrap_or(u32::MAX);
        if have > self.seen {
            self.timers.hear();
            if self.timers.linger_is_over(have - self.seen) {
                self.end = End::Over;
            }
            self.seen = have;
        }
        let step = self.decoder.step(&self.config, input).inspect_err(|_| self.timers.close())?;
        self.seen = have.wrapping_sub(step.consumed as u32);
        match step.found {
            Found::Nothing => {}
            Found::Close { .. } => self.timers.close(),
            _ => self.timers.doze(),
        }
        Ok(step)
    }

    /// As [`step`](Self::step) without input, which finds nothing then; `false`: nothing was done, take the step.
    pub(crate) fn is_between_messages(&mut self, now: Instant) -> bool {
        if !self.decoder.is_between_messages() {
            return false;
        }
        self.timers.advance(now);
        self.timers.wake();
        self.seen = 0;
        true
    }

    /// Fails the connection from our side of the buffer.
    pub(crate) fn refuse(&mut self, now: Instant, violation: Violation) -> Failure {
        self.timers.advance(now);
        self.timers.close();
        self.decoder.fail();
        violation.into()
    }

    /// Whether data is dropped instead of reported.
    #[cfg(feature = "deflate")]
    pub(crate) fn drops_data(&self) -> bool {
        self.decoder.is_muted()
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn allow_deflate(&mut self) {
        self.decoder.allow_deflate();
    }

    /// A failure is final: no later byte makes an event.
    fn give_up(&mut self, failure: Failure) -> Result<Option<Reply>, Failure> {
        self.end = End::Over;
        self.decoder.fail();
        Err(failure)
    }

    /// Bytes inside a fragmented message at the front of the input that are done with.
    pub(crate) fn gap(&self) -> usize {
        self.decoder.gap()
    }

    /// Moves what stands behind a fragmented message to where it has left something behind, and returns how many bytes
    /// at the end of `input` are free by that.
    pub(crate) fn fill_gap(&mut self, input: &mut [u8]) -> usize {
        let freed = self.decoder.fill_gap(input);
        self.seen = self.seen.saturating_sub(freed as u32);
        freed
    }
}

/// The event that a step found. `owned`: only the caller, which is the session, could have changed the bytes.
#[inline(always)]
pub(crate) fn view(step: Step, input: &mut [u8], owned: bool) -> Recv<'_> {
    let Step { consumed, need, found, .. } = step;
    if found == Found::Nothing {
        return Recv { consumed, need, event: None };
    }
    let rest = input.len().saturating_sub(consumed);
    match event(step, input, owned) {
        event @ Some(_) => Recv { consumed, need, event },
        // The caller has changed a text that was half looked at, and gets nothing for it.
        None => Recv { consumed, need: rest + 1, event: None },
    }
}

/// The same of a small frame, all of whose text was validated a moment ago.
#[inline(always)]
pub(crate) fn view_small(frame: SmallFrame, input: &mut [u8]) -> Recv<'_> {
    let event = input.get_mut(frame.start..frame.end).and_then(|bytes| {
        Some(if frame.is_text { Event::Text(view::text(bytes, true)?) } else { Event::Binary(bytes) })
    });
    Recv { consumed: frame.end, need: 0, event }
}

#[inline(always)]
pub(crate) fn event(step: Step, input: &mut [u8], owned: bool) -> Option<Event<'_>> {
    let bytes = input.get_mut(step.start..step.end)?;
    Some(match step.found {
        Found::Nothing => return None,
        #[cfg(feature = "deflate")]
        Found::Deflated { .. } | Found::Inflated => return None,
        Found::Text { fresh } => Event::Text(view::text(bytes, fresh || owned)?),
        Found::Binary => Event::Binary(bytes),
        Found::Chunk { kind, first, last, fresh } => {
            let payload = match kind {
                Kind::Text => Payload::Text(view::text(bytes, fresh || owned)?),
                Kind::Binary => Payload::Binary(bytes),
            };
            Event::Chunk(Chunk { payload, first, last })
        }
        Found::Ping => Event::Ping(bytes),
        Found::Pong => Event::Pong(bytes),
        Found::Close { interrupted } => {
            Event::Close(Closed { frame: CloseFrame::decode(bytes).ok()?, interrupted })
        }
    })
}
