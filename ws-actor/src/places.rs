//! Places: how many connections there are, of one address, of one user, and how many there may be.
//!
//! A [`Gate`] counts, for a route or for a server; a [`Place`] is one that it has given. It is given back when it is
//! dropped, so nothing that ends an attempt or a connection can forget it: an error, a panic, a task that is dropped.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::limits::Limits;
use crate::sync::lock;

/// What counts connections and knows how many there may be.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    count: AtomicUsize,
    of_ip: Mutex<HashMap<IpAddr, usize>>,
    of_user: Mutex<HashMap<Arc<str>, usize>>,
}

/// There is no place: which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    Connections,
    Ip,
    User,
}

/// One sentence for the refused client and for the log.
impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "there are too many connections",
            Self::Ip => "there are too many connections from this address",
            Self::User => "there are too many connections of this user",
        })
    }
}

impl Gate {
    /// A gate, if there is anything to count.
    pub(crate) fn new(limits: &Limits) -> Option<Arc<Self>> {
        let Limits { max_connections, max_per_ip, max_per_user, .. } = limits;
        let counts = max_connections.is_some() || max_per_ip.is_some() || max_per_user.is_some();
        counts.then(|| {
            Arc::new(Self {
                limits: *limits,
                count: AtomicUsize::new(0),
                of_ip: Mutex::default(),
                of_user: Mutex::default(),
            })
        })
    }

    fn take(self: &Arc<Self>) -> Result<Option<Place>, NoPlace> {
        let Some(most) = self.limits.max_connections else { return Ok(None) };
        let more = |count| (count < most).then_some(count + 1);
        match self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Some(self.place(Key::One))),
            Err(_) => Err(NoPlace::Connections),
        }
    }

    fn take_ip(self: &Arc<Self>, ip: IpAddr) -> Result<Option<Place>, NoPlace> {
        let Some(most) = self.limits.max_per_ip else { return Ok(None) };
        let ip = network(ip, self.limits.ipv6_prefix);
        if !add(&self.of_ip, ip, most) {
            return Err(NoPlace::Ip);
        }
        Ok(Some(self.place(Key::Ip(ip))))
    }

    fn take_user(self: &Arc<Self>, user: &Arc<str>) -> Result<Option<Place>, NoPlace> {
        let Some(most) = self.limits.max_per_user else { return Ok(None) };
        if !add(&self.of_user, Arc::clone(user), most) {
            return Err(NoPlace::User);
        }
        Ok(Some(self.place(Key::User(Arc::clone(user)))))
    }

    fn place(self: &Arc<Self>, key: Key) -> Place {
        Place { gate: Arc::clone(self), key }
    }
}

/// Counts one more under a key, if there are fewer than `most`.
fn add<K: Eq + Hash>(counts: &Mutex<HashMap<K, usize>>, key: K, most: usize) -> bool {
    let mut counts = lock(counts);
    if most == 0 {
        return false;
    }
    let count = counts.entry(key).or_default();
    let is_room = *count < most;
    *count += usize::from(is_room);
    is_room
}

/// Counts one less. A key without connections is forgotten, so that the table is no longer than the list of connections.
fn remove<K: Eq + Hash>(counts: &Mutex<HashMap<K, usize>>, key: &K) {
    let mut counts = lock(counts);
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The addresses that count as one with this.
fn network(ip: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let host_bits = 128 - u32::from(ipv6_prefix.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
        ip => ip,
    }
}

/// A place that a gate has given.
#[derive(Debug)]
struct Place {
    gate: Arc<Gate>,
    key: Key,
}

#[derive(Debug)]
enum Key {
    One,
    Ip(IpAddr),
    User(Arc<str>),
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.key {
            Key::One => {
                self.gate.count.fetch_sub(1, Ordering::Relaxed);
            }
            Key::Ip(ip) => remove(&self.gate.of_ip, ip),
            Key::User(user) => remove(&self.gate.of_user, user),
        }
    }
}

/// All places of one connection, and its user.
#[derive(Debug, Default)]
pub(crate) struct Places {
    gates: Vec<Arc<Gate>>,
    held: Vec<Place>,
    user: Option<Arc<str>>,
}

impl Places {
    /// Goes through the gates, or through none of them.
    pub(crate) fn take<'a>(
        gates: impl IntoIterator<Item = &'a Arc<Gate>>,
        ip: IpAddr,
    ) -> Result<Self, NoPlace> {
        let mut places = Self::default();
        for gate in gates {
            places.held.extend(gate.take()?);
            places.held.extend(gate.take_ip(ip)?);
            places.gates.push(Arc::clone(gate));
        }
        Ok(places)
    }

    /// Makes it a connection of this user, instead of another. If there is no place, nothing has changed.
    pub(crate) fn name_user(&mut self, user: &Arc<str>) -> Result<(), NoPlace> {
        if self.user.as_ref() == Some(user) {
            return Ok(());
        }
        let taken: Vec<_> = self.gates.iter().map(|gate| gate.take_user(user)).collect::<Result<_, _>>()?;
        self.held.retain(|place| !matches!(place.key, Key::User(_)));
        self.held.extend(taken.into_iter().flatten());
        self.user = Some(Arc::clone(user));
        Ok(())
    }

    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.gates.is_empty() && self.user.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gate(limits: &Limits) -> Arc<Gate> {
        Gate::new(limits).unwrap()
    }

    fn is_empty(gate: &Gate) -> bool {
        gate.count.load(Ordering::Relaxed) == 0
            && lock(&gate.of_ip).is_empty()
            && lock(&gate.of_user).is_empty()
    }

    /// A8: which addresses count as one.
    #[test]
    fn networks() {
        let table = [
            ("192.0.2.1", 64, "192.0.2.1"),
            ("::ffff:192.0.2.1", 64, "192.0.2.1"),
            ("::ffff:192.0.2.1", 128, "192.0.2.1"),
            ("2001:db8::1", 64, "2001:db8::"),
            ("2001:db8:0:0:ffff::2", 64, "2001:db8::"),
            ("2001:db8:0:1::1", 64, "2001:db8:0:1::"),
            ("2001:db8::1", 128, "2001:db8::1"),
            ("2001:db8::1", 255, "2001:db8::1"),
            ("2001:db8::1", 0, "::"),
            ("::1", 64, "::"),
        ];
        for (ip, prefix, expected) in table {
            assert_eq!(network(ip.parse().unwrap(), prefix).to_string(), expected, "{ip}/{prefix}");
        }
    }

    /// A8: a limit of zero admits nobody, no limit counts nobody.
    #[test]
    fn none_and_zero() {
        assert!(Gate::new(&Limits::new()).is_none());
        let ip = "192.0.2.1".parse().unwrap();
        let none = Limits { max_connections: Some(0), ..Limits::new() };
        assert_eq!(Places::take([&gate(&none)], ip).unwrap_err(), NoPlace::Connections);
        let none = gate(&Limits { max_per_ip: Some(0), ..Limits::new() });
        assert_eq!(Places::take([&none], ip).unwrap_err(), NoPlace::Ip);
        assert!(is_empty(&none));
        let none = gate(&Limits { max_per_user: Some(0), ..Limits::new() });
        let mut places = Places::take([&none], ip).unwrap();
        assert_eq!(places.name_user(&"ann".into()), Err(NoPlace::User));
        assert_eq!((places.user(), is_empty(&none)), (None, true));
    }

    proptest! {
        /// A8: places taken, named and dropped in any order: never more than the limits say, never one refused that there
        /// was room for, and in the end all are free.
        #[test]
        fn agrees_with_a_list(steps in proptest::collection::vec((0..4_u8, 0..4_u8, 0..8_usize), 0..200)) {
            let route = Limits { max_connections: Some(5), max_per_ip: Some(3), ..Limits::new() };
            let server = Limits { max_connections: Some(6), max_per_user: Some(2), ..Limits::new() };
            let gates = [gate(&route), gate(&server)];
            let mut open: Vec<(u8, Option<u8>, Places)> = Vec::new();
            for (step, key, at) in steps {
                match step {
                    0 | 1 => {
                        let ip = IpAddr::from([192, 0, 2, key]);
                        let expected = if open.len() >= 5 {
                            Err(NoPlace::Connections)
                        } else if open.iter().filter(|one| one.0 == key).count() >= 3 {
                            Err(NoPlace::Ip)
                        } else {
                            Ok(())
                        };
                        let taken = Places::take(&gates, ip);
                        prop_assert_eq!(taken.as_ref().map(|_| ()).map_err(|no| *no), expected);
                        open.extend(taken.map(|places| (key, None, places)));
                    }
                    2 if !open.is_empty() => {
                        let at = at % open.len();
                        let others = open.iter().filter(|one| one.1 == Some(key)).count();
                        let is_room = open[at].1 == Some(key) || others < 2;
                        let named = open[at].2.name_user(&key.to_string().into());
                        prop_assert_eq!(named.is_ok(), is_room);
                        if is_room {
                            open[at].1 = Some(key);
                        }
                    }
                    3 if !open.is_empty() => drop(open.swap_remove(at % open.len())),
                    _ => {}
                }
                prop_assert_eq!(gates[0].count.load(Ordering::Relaxed), open.len());
                prop_assert_eq!(lock(&gates[0].of_ip).values().sum::<usize>(), open.len());
            }
            open.clear();
            prop_assert!(gates.iter().all(|gate| is_empty(gate)));
        }
    }
}
