//! The last messages of a room, for members that join later.
//!
//! Bounded in number, in age and in bytes. What is too old goes at the next look: a room has no timer. What goes is
//! handed out, to be let go of when no lock is held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ws_core::Instant;

use crate::outgoing::Frame;

/// Maximum number of bytes in a room's history, frame heads and its own bookkeeping included. One larger message stands
/// alone.
pub(crate) const MAX_HISTORY_BYTES: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct History {
    /// How many messages, and for how long; `None` keeps none.
    bounds: Option<(usize, Duration)>,
    past: VecDeque<Past>,
    bytes: usize,
}

pub(crate) struct Past {
    at: Instant,
    frame: Frame,
    key: Option<Arc<str>>,
}

impl Past {
    fn bytes(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }
}

impl History {
    /// Changes the bounds. What is kept under the new ones stays.
    pub(crate) fn bind(&mut self, now: Instant, bounds: Option<(usize, Duration)>) -> Vec<Past> {
        self.bounds = bounds;
        self.trim(now)
    }

    /// Keeps a message, if any are kept. Of a key only the latest matters, and is kept.
    pub(crate) fn push(
        &mut self,
        frame: &Frame,
        key: Option<&Arc<str>>,
        now: impl FnOnce() -> Instant,
    ) -> Vec<Past> {
        if self.bounds.is_none() {
            return Vec::new();
        }
        let now = now();
        let same = key.and_then(|key| self.past.iter().position(|past| past.key.as_ref() == Some(key)));
        let renewed = same.and_then(|at| self.past.remove(at));
        self.bytes -= renewed.as_ref().map_or(0, Past::bytes);
        let past = Past { at: now, frame: frame.clone(), key: key.cloned() };
        self.bytes += past.bytes();
        self.past.push_back(past);
        let mut gone = self.trim(now);
        gone.extend(renewed);
        gone
    }

    /// Lets go of what is too much or too old.
    pub(crate) fn trim(&mut self, now: Instant) -> Vec<Past> {
        let (most, age) = self.bounds.unwrap_or_default();
        let mut gone = Vec::new();
        while let Some(oldest) = self.past.front() {
            let is_over = self.past.len() > most
                || self.past.len() > 1 && self.bytes > MAX_HISTORY_BYTES
                || now.saturating_since(oldest.at) > age;
            if !is_over {
                break;
            }
            self.bytes -= oldest.bytes();
            gone.extend(self.past.pop_front());
        }
        if self.past.is_empty() {
            self.past = VecDeque::new();
        }
        gone
    }

    /// The messages, the oldest first.
    pub(crate) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&Frame, Option<&Arc<str>>)> + ExactSizeIterator + Clone {
        self.past.iter().map(|past| (&past.frame, past.key.as_ref()))
    }

    pub(crate) fn len(&self) -> usize {
        self.past.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{link, target, written};
    use crate::hub::Hub;
    use crate::link::Link;
    use crate::outbox::OutboxLimits;
    use crate::outgoing::{Lane, Outgoing};
    use crate::presence::RoomOptions;
    use proptest::prelude::*;

    const NEVER: Duration = Duration::from_secs(1 << 30);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.saturating_add(Duration::from_secs(seconds))
    }

    fn push(history: &mut History, seconds: u64, outgoing: Outgoing) -> Vec<String> {
        let Ok(Lane::Data(frame, key)) = Lane::of(outgoing) else { panic!("a data message") };
        words(history.push(&frame, key.as_ref(), || at(seconds)).iter().map(|past| &past.frame))
    }

    fn words<'a>(frames: impl Iterator<Item = &'a Frame>) -> Vec<String> {
        frames.map(|frame| String::from_utf8_lossy(frame.payload()).into_owned()).collect()
    }

    fn kept(history: &History) -> Vec<String> {
        words(history.iter().map(|(frame, _)| frame))
    }

    /// S5: the newest so many messages, none of them older than so long.
    #[test]
    fn bounded_in_number_and_age() {
        let mut history = History::default();
        assert_eq!(push(&mut history, 0, "nobody asked".into()), [""; 0]);
        assert_eq!(history.len(), 0);
        history.bind(at(0), Some((3, Duration::from_secs(10))));
        for (second, text) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(push(&mut history, second as u64, text.into()), [""; 0]);
        }
        assert_eq!(push(&mut history, 3, "d".into()), ["a"]);
        assert_eq!(kept(&history), ["b", "c", "d"]);
        assert_eq!(history.trim(at(11)).len(), 0);
        assert_eq!(history.trim(at(12)).len(), 1);
        assert_eq!(kept(&history), ["c", "d"]);
        assert_eq!(history.bind(at(12), Some((1, NEVER))).len(), 1);
        assert_eq!(kept(&history), ["d"]);
        assert_eq!(history.bind(at(12), None).len(), 1);
        assert_eq!((history.len(), history.bytes), (0, 0));
    }

    /// S5: a history of large messages, or of very many small ones, is bounded in bytes all the same.
    #[test]
    fn bounded_in_bytes() {
        for len in [0, 1_000, 600_000, 3_000_000] {
            let mut history = History::default();
            history.bind(at(0), Some((usize::MAX, NEVER)));
            for n in 0..30_000_u64.min(100_000_000 / (len as u64 + 1)) {
                push(&mut history, n, vec![0_u8; len].into());
                let sum: usize = history.past.iter().map(Past::bytes).sum();
                assert_eq!(sum, history.bytes);
                assert!(sum <= MAX_HISTORY_BYTES || history.len() == 1, "{sum} at {n} of {len}");
            }
            assert!(history.len() > 0);
        }
    }

    /// S5: of a key only the latest is kept, at the place of its coming.
    #[test]
    fn latest_of_each_key() {
        let mut history = History::default();
        history.bind(at(0), Some((3, NEVER)));
        for (key, text) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
            push(&mut history, 0, Outgoing::keyed(key, text));
        }
        push(&mut history, 0, "plain".into());
        assert_eq!(kept(&history), ["b1", "a2", "plain"]);
        assert_eq!(push(&mut history, 0, Outgoing::keyed("b", "b2")), ["b1"]);
        assert_eq!(kept(&history), ["a2", "plain", "b2"]);
    }

    fn options(most: usize) -> RoomOptions {
        let mut options = RoomOptions::new();
        options.history = Some((most, Duration::from_secs(3_600)));
        options
    }

    /// S5, D2: a newcomer gets what was broadcast before it joined, and then what comes; once each, and joining twice
    /// changes nothing. A member gets nothing twice.
    #[test]
    fn a_newcomer_gets_the_past() {
        let (hub, target) = (Hub::new(), target());
        let links = [(); 3].map(|()| link(&hub, &target, OutboxLimits::new()));
        let room = hub.room_with("r", options(3));
        let [a, b, c] = links.each_ref().map(Link::id);
        assert_eq!(room.join(a), Ok(()));
        for text in ["1", "2", "3", "4"] {
            assert_eq!(room.broadcast(text).delivered, 1);
        }
        // A broadcast to all but one counts; a ping does not.
        room.broadcast_except(a, "5");
        room.broadcast(crate::Message::Ping("ping".into()));
        assert_eq!(room.join(b), Ok(()));
        room.broadcast("6");
        assert_eq!([room.join(b), hub.room("r").join(c)], [Ok(()); 2]);
        assert_eq!(room.info().history, 3);
        let heard = links.each_ref().map(written);
        assert_eq!(heard[0], ["ping ping", "1", "2", "3", "4", "6"]);
        assert_eq!(heard[1], ["3", "4", "5", "6"]);
        assert_eq!(heard[2], ["4", "5", "6"]);
        // Plain rooms keep nothing, and a room that has ended has forgotten.
        drop(links);
        assert_eq!(hub.room("plain").info().history, 0);
        drop(room);
        assert_eq!(hub.room("r").info().history, 0);
    }

    /// S5, B13: the past fills half of an outbox, the newest of it, and closes nobody.
    #[test]
    fn the_past_leaves_room() {
        let (hub, target) = (Hub::new(), target());
        let room = hub.room_with("r", options(100));
        for n in 0..100 {
            room.broadcast(format!("{n:03}"));
        }
        for (max_messages, max_bytes, most) in
            [(8, 1 << 20, 4), (1_000, 50, 5), (1, 1, 1), (1_000, 1 << 20, 100)]
        {
            let limits = OutboxLimits { max_messages, max_bytes, ..OutboxLimits::new() };
            let link = link(&hub, &target, limits);
            assert_eq!(room.join(link.id()), Ok(()));
            let expected: Vec<_> = (100 - most..100).map(|n| format!("{n:03}")).collect();
            assert_eq!(written(&link), expected, "{max_messages} {max_bytes}");
        }
    }

    /// S5, B13: what the past replaces in an outbox is counted, for the connection and by its kind.
    #[test]
    fn what_the_past_replaces() {
        let (hub, target) = (Hub::new(), target());
        let room = hub.room_with("r", options(3));
        room.broadcast(Outgoing::keyed("k", "past"));
        let limits = OutboxLimits { overflow: crate::Overflow::Conflate, ..OutboxLimits::new() };
        let link = link(&hub, &target, limits);
        assert_eq!(hub.send(link.id(), Outgoing::keyed("k", "before")), Ok(()));
        assert_eq!(room.join(link.id()), Ok(()));
        let counted = hub.metrics().dropped.of(crate::DropReason::Replaced);
        assert_eq!((counted, hub.inspect(link.id()).unwrap().dropped), (1, 1));
        assert_eq!(written(&link), ["past"]);
    }

    proptest! {
        /// S5, D2: a member that joins while others speak hears an unbroken run of what is said, to its end.
        #[test]
        fn no_gap_and_nothing_twice(most in 1..20_usize, joins in proptest::collection::vec(0..60_u32, 1..8)) {
            let (hub, target) = (Hub::new(), target());
            let room = hub.room_with("r", options(most));
            let links: Vec<_> = joins.iter().map(|_| link(&hub, &target, OutboxLimits::new())).collect();
            std::thread::scope(|scope| {
                let speaker = scope.spawn(|| (0..200).for_each(|n| { room.broadcast(n.to_string()); }));
                for (link, spins) in links.iter().zip(&joins) {
                    (0..*spins * 100).for_each(|_| std::hint::spin_loop());
                    assert_eq!(room.join(link.id()), Ok(()));
                }
                speaker.join().unwrap();
            });
            for link in &links {
                let heard: Vec<u32> = written(link).iter().map(|word| word.parse().unwrap()).collect();
                prop_assert!(heard.windows(2).all(|two| two[1] == two[0] + 1), "{:?}", heard);
                prop_assert!(heard.last() == Some(&199) && heard.len() >= most.min(200));
            }
        }
    }
}
