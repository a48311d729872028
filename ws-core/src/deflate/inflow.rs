//! A session's receiving direction: compressed frames in, events out.
//!
//! Frames are inflated as they arrive, into a buffer that is lent from the pool and grows with what is inflated. The
//! limit counts inflated bytes, as they are made (RFC 6455, section 10.4); text is checked as it is inflated (8.1).

use std::vec::Vec;

use super::agreement::{Agreement, Direction};
use super::inflater::{Finished, Inflated, Inflater};
use super::pool::Pool;
use crate::buffer::{Buffer, Storage};
use crate::config::{Config, Delivery};
use crate::decoder::Step;
use crate::error::Violation;
use crate::event::{Chunk, Event, Kind, Payload};
use crate::utf8::Utf8Validator;
use crate::view;

/// What is inflated, and where it is up to.
#[derive(Debug)]
pub(crate) struct Inflow {
    inflater: Inflater,
    agreement: Agreement,
    pool: Pool,
    /// The message so far, or its current part; nothing between messages.
    out: Vec<u8>,
    /// How much of `out` is inflated, and how much of that the current event lends.
    len: usize,
    lent: usize,
    /// Bytes of the message inflated so far.
    total: u64,
    utf8: Utf8Validator,
    kind: Kind,
    /// Whether nothing of the message has been reported.
    first: bool,
    /// Compressed bytes at the front of the storage, and those behind them that are done with.
    left: usize,
    behind: usize,
    stage: Stage,
    whole: bool,
    /// Whether anything was inflated since this was last asked.
    used: bool,
}

/// What [`Inflow::run`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// There is an event.
    Event,
    /// The current frame is used up.
    Idle,
    /// The storage that the payload stood in was taken away: so many bytes of it are still to be inflated.
    Gone(usize),
}

/// How far the current frame's payload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// All of it was inflated; the next has to come.
    Idle,
    /// There is more; it ends the message or not.
    Payload { last: bool },
    /// The end of the message is to be looked at.
    End,
    /// The event that is lent ends the message.
    Over,
}

impl Inflow {
    /// For the peer's direction of an agreement.
    pub(crate) fn new(agreement: Agreement, peer: Direction, pool: Pool) -> Self {
        Self {
            inflater: Inflater::new(peer.window, peer.takeover, pool.clone()),
            agreement,
            pool,
            out: Vec::new(),
            len: 0,
            lent: 0,
            total: 0,
            utf8: Utf8Validator::new(),
            kind: Kind::Binary,
            first: true,
            left: 0,
            behind: 0,
            stage: Stage::Idle,
            whole: true,
            used: false,
        }
    }

    pub(crate) fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Whether what has arrived of the current frame is not all inflated and reported.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// Takes up a payload that `step` found: whatever stands before it in the storage is done with.
    pub(crate) fn begin<B: Storage>(
        &mut self,
        step: Step,
        kind: Kind,
        first: bool,
        last: bool,
        from: &mut Buffer<B>,
    ) {
        if first {
            (self.kind, self.first, self.total, self.len) = (kind, true, 0, 0);
            self.utf8 = Utf8Validator::new();
        }
        from.consume(step.start);
        self.left = step.end - step.start;
        self.behind = step.consumed - step.end;
        self.stage = Stage::Payload { last };
        self.used = true;
    }

    /// Inflates until there is an event or no more to inflate.
    pub(crate) fn run<B: Storage>(
        &mut self,
        config: &Config,
        from: &mut Buffer<B>,
    ) -> Result<Run, Violation> {
        self.whole = config.delivery == Delivery::Whole;
        loop {
            if matches!(self.stage, Stage::Idle | Stage::Over) {
                return Ok(Run::Idle);
            }
            if self.len == self.out.len() && !self.make_room(config) {
                self.lend();
                return Ok(Run::Event);
            }
            match self.stage {
                Stage::Payload { last } => {
                    let filled = from.filled();
                    let input = &filled[..self.left.min(filled.len())];
                    // What is reported whole stands in `out` from its first byte on.
                    let inflated = if self.whole {
                        self.inflater.inflate_behind(self.len, input, &mut self.out)
                    } else {
                        self.inflater.inflate(input, &mut self.out[self.len..])
                    };
                    let Inflated { taken, written } = inflated.map_err(|_| Violation::InvalidDeflate)?;
                    from.consume(taken);
                    self.left -= taken;
                    self.count(written, config)?;
                    if self.left > 0 && taken == 0 && written == 0 {
                        return Ok(Run::Gone(self.left));
                    }
                    if self.left > 0 {
                        continue;
                    }
                    // What was held back for lack of room comes with the next bytes, or at the end.
                    from.consume(core::mem::take(&mut self.behind));
                    self.stage = if last { Stage::End } else { Stage::Idle };
                    if !last && !self.whole && self.lendable() > 0 {
                        self.lend();
                        return Ok(Run::Event);
                    }
                }
                _ => {
                    let finished = if self.whole {
                        self.inflater.finish_behind(self.len, &mut self.out)
                    } else {
                        self.inflater.finish(&mut self.out[self.len..])
                    };
                    let Finished { written, done } = finished.map_err(|_| Violation::InvalidDeflate)?;
                    self.count(written, config)?;
                    if done {
                        // 8.1: a text that ends amid a character is not UTF-8.
                        if self.kind == Kind::Text && self.utf8.finish().is_err() {
                            return Err(Violation::InvalidUtf8);
                        }
                        self.stage = Stage::Over;
                        self.lend();
                        return Ok(Run::Event);
                    }
                }
            }
        }
    }

    /// Counts, and checks, what was inflated behind the rest.
    fn count(&mut self, written: usize, config: &Config) -> Result<(), Violation> {
        let new = self.len..self.len + written;
        self.len = new.end;
        self.total += written as u64;
        if self.total > config.limits.max_message {
            return Err(Violation::MessageTooBig);
        }
        if self.kind == Kind::Text && self.utf8.feed(&self.out[new]).is_err() {
            return Err(Violation::InvalidUtf8);
        }
        Ok(())
    }

    /// Makes room behind what is inflated; `false`: a part has to be reported first.
    fn make_room(&mut self, config: &Config) -> bool {
        if self.out.is_empty() {
            self.out = self.pool.take_buffer();
            return true;
        }
        if !self.whole {
            return false;
        }
        // One byte more than the limit, to see whether there is one. The limit may be that of another connection than
        // the one that came this far.
        let limit = usize::try_from(config.limits.max_message).unwrap_or(usize::MAX);
        let most = limit.max(self.len).saturating_add(1);
        let doubled = self.out.len().saturating_mul(2).max(self.len + 1);
        // Not a step more for that one byte: for a moment a buffer stands beside the one it grows to.
        let len = if most - doubled.min(most) <= 1 { most } else { doubled };
        self.out.reserve_exact(len - self.out.len());
        self.out.resize(len, 0);
        true
    }

    /// How much can be reported: in parts, a character whose end is missing stays behind.
    fn lendable(&self) -> usize {
        let carry = if self.kind == Kind::Text { self.utf8.pending() } else { 0 };
        self.len.saturating_sub(carry)
    }

    fn lend(&mut self) {
        self.lent = self.lendable();
    }

    /// The event that [`run`](Self::run) came to.
    pub(crate) fn event(&mut self) -> Option<Event<'_>> {
        let last = self.stage == Stage::Over;
        let first = self.first;
        let bytes = self.out.get_mut(..self.lent)?;
        // All of it was fed to `utf8`, from the first byte of the message on, and nobody else can get at it.
        Some(match (self.kind, self.whole) {
            (Kind::Text, true) => Event::Text(view::text(bytes, true)?),
            (Kind::Binary, true) => Event::Binary(bytes),
            (Kind::Text, false) => {
                Event::Chunk(Chunk { payload: Payload::Text(view::text(bytes, true)?), first, last })
            }
            (Kind::Binary, false) => Event::Chunk(Chunk { payload: Payload::Binary(bytes), first, last }),
        })
    }

    /// The event is done with.
    pub(crate) fn release(&mut self) {
        self.first = false;
        let rest = self.lent..self.len;
        (self.len, self.lent) = (rest.len(), 0);
        self.out.copy_within(rest, 0);
        if self.stage == Stage::Over {
            self.stage = Stage::Idle;
            self.len = 0;
        }
        // A part that is used up leaves its buffer for the next.
        if self.stage == Stage::Idle && self.len == 0 {
            self.pool.give_buffer(core::mem::take(&mut self.out));
        }
    }

    /// The bytes of the event, as a range of those inflated.
    pub(crate) fn lent(&self) -> &[u8] {
        &self.out[..self.lent]
    }

    /// Gives up a message half-way, with what of its frame is in the storage: it is not wanted, or the connection has
    /// failed.
    pub(crate) fn drop_message<B: Storage>(&mut self, from: &mut Buffer<B>) {
        from.consume(core::mem::take(&mut self.left) + core::mem::take(&mut self.behind));
        self.stage = Stage::Idle;
        (self.len, self.lent) = (0, 0);
        // Half a character must not be continued by whatever comes next.
        self.kind = Kind::Binary;
        self.pool.give_buffer(core::mem::take(&mut self.out));
    }

    /// Parks what was not used since the last call; returns whether any state is still live.
    pub(crate) fn park_idle(&mut self) -> bool {
        if !core::mem::take(&mut self.used) {
            self.inflater.park();
        }
        self.inflater.is_live()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.inflater.is_live()
    }
}
