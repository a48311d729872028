//! One timer for each connection of a loop, in a wheel: setting, moving and finding one costs the same for ten
//! connections and for a million.
//!
//! Four levels of 64 places, each level 64 times as coarse as the one before: 16 ms, 1 s, 67 s, 72 min. A timer lies in
//! the level that its distance asks for and moves down when its time comes near. What is further away than three days
//! fires early, as everything here may: the loop then looks at the real deadline and sets it anew.
//!
//! Deadlines mostly move later, with every sign of life. That is not worth a move: a timer is only ever set *sooner*,
//! and when it fires too soon it is set anew, once per keepalive interval instead of once per message.

use ws_core::Instant;

const LEVELS: u32 = 4;
/// Places of a level, as a power of two.
const BITS: u32 = 6;
const PLACES: u32 = 1 << BITS;
/// A tick, in microseconds, as a power of two: 16 ms.
const TICK: u32 = 14;
/// The longest distance in ticks.
const FARTHEST: u32 = (1 << (BITS * LEVELS)) - 1;

const NONE: u32 = u32::MAX;
/// From here on `prev` is no key but the place whose first the timer is.
const FIRST: u32 = u32::MAX - PLACES * LEVELS;
/// In `prev`: not in the wheel.
const UNSET: u32 = FIRST - 1;

/// 12 bytes for each key that was ever set.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    prev: u32,
    /// When it fires, in ticks; it may wrap around, distances do not.
    tick: u32,
}

/// The timers of a loop, named by keys that are small numbers, such as places in a table.
#[derive(Debug)]
pub(crate) struct Wheel {
    links: Vec<Link>,
    first: [u32; (PLACES * LEVELS) as usize],
    /// Which places of a level are taken.
    taken: [u64; LEVELS as usize],
    /// Everything up to this tick has fired.
    elapsed: u64,
    /// Links looked at since the beginning, for tests that count.
    #[cfg(test)]
    visits: u64,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            links: Vec::new(),
            first: [NONE; (PLACES * LEVELS) as usize],
            taken: [0; LEVELS as usize],
            elapsed: now.as_micros() >> TICK,
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Has `key` fire at `deadline`, or sooner if it is set to sooner.
    #[inline]
    pub(crate) fn set(&mut self, key: u32, deadline: Instant) {
        let tick = deadline.as_micros().div_ceil(1 << TICK);
        let distance = tick.saturating_sub(self.elapsed).clamp(1, u64::from(FARTHEST)) as u32;
        if let Some(link) = self.links.get(key as usize)
            && link.prev != UNSET
            && link.tick.wrapping_sub(self.now()) <= distance
        {
            return;
        }
        self.move_to(key, distance);
    }

    #[cold]
    fn move_to(&mut self, key: u32, distance: u32) {
        let needed = key as usize + 1;
        if self.links.len() < needed {
            self.links.resize(needed, Link { next: NONE, prev: UNSET, tick: 0 });
        }
        self.clear(key);
        self.links[key as usize].tick = self.now().wrapping_add(distance);
        self.put(key);
    }

    /// Takes `key` out.
    pub(crate) fn clear(&mut self, key: u32) {
        let Some(link) = self.links.get_mut(key as usize) else { return };
        let Link { next, prev, .. } = *link;
        if prev == UNSET {
            return;
        }
        link.prev = UNSET;
        if let Some(place) = prev.checked_sub(FIRST) {
            self.first[place as usize] = next;
            if next == NONE {
                self.taken[(place / PLACES) as usize] &= !(1 << (place % PLACES));
            }
        } else {
            self.links[prev as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
    }

    /// When to call [`expire`](Self::expire) next; `None`: nothing is set.
    pub(crate) fn next(&self) -> Option<Instant> {
        let tick = (0..LEVELS).filter_map(|level| self.next_of(level)).min()?;
        Some(Instant::from_micros(tick << TICK))
    }

    /// The tick of the next place of a level that is taken.
    fn next_of(&self, level: u32) -> Option<u64> {
        let taken = self.taken[level as usize];
        if taken == 0 {
            return None;
        }
        // The place after the present one comes first; the present one is a whole round away.
        let position = (self.elapsed >> (BITS * level)) + 1;
        let ahead = taken.rotate_right((position % u64::from(PLACES)) as u32).trailing_zeros();
        Some((position + u64::from(ahead)) << (BITS * level))
    }

    /// Moves on to `now` and calls `fire` with each key that is due, which is then no longer set.
    ///
    /// Keys set by `fire` itself fire no sooner than the next tick.
    pub(crate) fn expire(&mut self, now: Instant, mut fire: impl FnMut(&mut Self, u32)) {
        let end = now.as_micros() >> TICK;
        while let Some(tick) = (0..LEVELS).filter_map(|level| self.next_of(level)).min() {
            if tick > end {
                break;
            }
            self.elapsed = tick;
            // Coarse places whose time has come, the coarsest first.
            for level in (1..LEVELS).rev() {
                if tick.trailing_zeros() >= BITS * level {
                    self.move_down(level);
                }
            }
            let place = self.now() % PLACES;
            loop {
                let key = self.first[place as usize];
                if key == NONE {
                    break;
                }
                self.visit();
                self.clear(key);
                fire(self, key);
            }
        }
        self.elapsed = self.elapsed.max(end);
    }

    fn move_down(&mut self, level: u32) {
        let place = (self.elapsed >> (BITS * level)) as u32 % PLACES;
        let at = (level * PLACES + place) as usize;
        let mut key = std::mem::replace(&mut self.first[at], NONE);
        self.taken[level as usize] &= !(1 << place);
        while key != NONE {
            self.visit();
            let next = self.links[key as usize].next;
            self.put(key);
            key = next;
        }
    }

    /// Links a timer, which is in no list, by its distance.
    fn put(&mut self, key: u32) {
        let tick = self.links[key as usize].tick;
        let distance = tick.wrapping_sub(self.now());
        let level = (distance.max(1).ilog2() / BITS).min(LEVELS - 1);
        let place = (tick >> (BITS * level)) % PLACES;
        let at = level * PLACES + place;
        let next = std::mem::replace(&mut self.first[at as usize], key);
        self.taken[level as usize] |= 1 << place;
        self.links[key as usize] = Link { next, prev: FIRST + at, tick };
        if next != NONE {
            self.links[next as usize].prev = key;
        }
    }

    #[inline]
    fn now(&self) -> u32 {
        self.elapsed as u32
    }

    #[inline]
    fn visit(&mut self) {
        #[cfg(test)]
        {
            self.visits += 1;
        }
    }

    /// The length of a tick: as much later than asked for a timer may fire.
    #[cfg(test)]
    pub(crate) const GRAIN: std::time::Duration = std::time::Duration::from_micros(1 << TICK);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Each fires in the tick behind its deadline, wherever it lies, also across the places' ends and on the last turn of
    /// the tick counter.
    #[test]
    fn every_distance_fires_in_its_tick() {
        let tick = 1 << TICK;
        for start in [0, 12_345 * SECOND, (u64::from(u32::MAX) - 100) << TICK] {
            for distance in [0, 1, 62, 63, 64, 65, 127, 128, 4_095, 4_096, 4_097, 262_143, 262_144, 1_000_000]
            {
                let mut wheel = Wheel::new(at(start));
                let deadline = at(start + distance * tick);
                wheel.set(7, deadline);
                let mut fired = None;
                let mut wakes = 0;
                while fired.is_none() {
                    let now = wheel.next().expect("set");
                    wheel.expire(now, |_, key| fired = Some((key, now)));
                    wakes += 1;
                }
                let (key, now) = fired.expect("just so");
                assert_eq!(key, 7);
                assert!(
                    now >= deadline && now.saturating_since(deadline) <= Wheel::GRAIN,
                    "{start} {distance}"
                );
                assert!(wakes <= LEVELS, "{wakes} wake-ups for {distance}");
                assert_eq!(wheel.next(), None);
            }
        }
    }

    /// A deadline further away than the wheel reaches fires early, and is set anew.
    #[test]
    fn the_farthest_fire_early() {
        let mut wheel = Wheel::new(Instant::ZERO);
        wheel.set(0, Instant::from_secs(30 * 86_400));
        let mut fired = 0;
        wheel.expire(Instant::from_secs(4 * 86_400), |_, _| fired += 1);
        assert_eq!(fired, 1);
    }

    #[test]
    fn sooner_wins_and_cleared_is_gone() {
        let mut wheel = Wheel::new(Instant::ZERO);
        wheel.set(3, Instant::from_secs(20));
        wheel.set(3, Instant::from_secs(30));
        wheel.set(3, Instant::from_secs(10));
        wheel.set(4, Instant::from_secs(10));
        wheel.set(5, Instant::from_secs(10));
        wheel.clear(4);
        wheel.clear(4);
        wheel.clear(999);
        let mut fired = Vec::new();
        wheel.expire(Instant::from_millis(9_999), |_, key| fired.push(key));
        assert!(fired.is_empty());
        wheel.expire(Instant::from_millis(10_020), |_, key| fired.push(key));
        fired.sort_unstable();
        assert_eq!(fired, [3, 5]);
        wheel.expire(Instant::from_secs(100), |_, key| fired.push(key));
        assert_eq!(fired.len(), 2);
    }

    /// A key that its own firing sets anew comes again, and not in the same call for the same time.
    #[test]
    fn set_while_firing() {
        let mut wheel = Wheel::new(Instant::ZERO);
        wheel.set(1, Instant::from_secs(1));
        let mut fired = 0;
        wheel.expire(Instant::from_secs(2), |wheel, key| {
            fired += 1;
            wheel.set(key, Instant::from_secs(1));
            wheel.set(key + 1, Instant::from_secs(60));
            assert!(fired < 1_000, "it never ends");
        });
        assert!(fired >= 1);
        wheel.clear(1);
        let mut last = None;
        wheel.expire(Instant::from_secs(61), |_, key| last = Some(key));
        assert_eq!(last, Some(2));
    }

    /// Against a sorted map, with random settings and steps.
    #[test]
    fn as_a_sorted_map() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut wheel = Wheel::new(Instant::ZERO);
        let mut model = BTreeMap::new();
        let mut now = 0;
        for _ in 0..20_000 {
            let key = draw(200) as u32;
            match draw(8) {
                0 => {
                    wheel.clear(key);
                    model.remove(&key);
                }
                1 => {
                    let reach = draw(30);
                    now += draw(1 << reach);
                    let mut fired = Vec::new();
                    wheel.expire(at(now), |_, key| fired.push(key));
                    for key in &fired {
                        let deadline = model.remove(key).expect("set");
                        assert!(deadline <= now, "fired at {now}, due at {deadline}");
                    }
                    let grain = Wheel::GRAIN.as_micros() as u64;
                    assert!(model.values().all(|deadline| deadline + grain > now), "overlooked at {now}");
                }
                _ => {
                    let reach = draw(34);
                    let deadline = now + draw(1 << reach);
                    wheel.set(key, at(deadline));
                    let sooner = model.entry(key).or_insert(deadline);
                    *sooner = deadline.min(*sooner);
                }
            }
        }
    }

    /// Ten thousand connections that talk for a minute: their deadlines move 600 times each, and the wheel is touched a
    /// few times for each of them in all.
    #[test]
    fn busy_connections_cost_the_wheel_nothing() {
        const KEYS: u32 = 10_000;
        let mut wheel = Wheel::new(Instant::ZERO);
        let keepalive = Duration::from_secs(20);
        let mut fired = 0;
        for step in 1..=600 {
            let now = Instant::from_millis(step * 100);
            for key in 0..KEYS {
                wheel.set(key, now.saturating_add(keepalive));
            }
            wheel.expire(now, |wheel, key| {
                fired += 1;
                wheel.set(key, now.saturating_add(keepalive));
            });
        }
        assert!(fired <= 3 * KEYS, "{fired}");
        assert!(wheel.visits <= 3 * 3 * u64::from(KEYS), "{} visits", wheel.visits);
    }
}
