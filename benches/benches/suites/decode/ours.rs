//! ws-core, in the ways in which a loop drives it.

use ws_core::{Advance, Config, Connection, Event, Instant, Session};

use super::{Work, digest};

const NOW: Instant = Instant::from_secs(1);

#[inline(always)]
fn take(event: Option<Event<'_>>) -> u64 {
    match event {
        Some(Event::Text(text)) => digest(text.as_bytes()),
        Some(Event::Binary(bytes)) => digest(bytes),
        _ => 0,
    }
}

/// A `Connection` over a buffer that the loop owns.
pub(crate) fn connection(case: &Work) -> impl FnMut() -> u64 {
    let mut connection = Connection::server(Config::server(), NOW);
    let mut buffer = vec![0; case.buffer];
    move || {
        let (mut sum, mut filled, mut wire) = (0_u64, 0, &case.wire[..]);
        while !wire.is_empty() {
            let n = (buffer.len() - filled).min(wire.len());
            buffer[filled..filled + n].copy_from_slice(&wire[..n]);
            wire = &wire[n..];
            filled += n;
            let mut start = 0;
            loop {
                let Ok(recv) = connection.recv(NOW, &mut buffer[start..filled]) else { return 0 };
                start += recv.consumed;
                if recv.event.is_none() {
                    break;
                }
                sum = sum.wrapping_add(take(recv.event));
            }
            buffer.copy_within(start..filled, 0);
            filled -= start;
        }
        sum
    }
}

/// A `Session` with its own storage.
pub(crate) fn session(case: &Work) -> impl FnMut() -> u64 {
    let mut session = Session::new(Connection::server(Config::server(), NOW));
    move || {
        let (mut sum, mut wire) = (0_u64, &case.wire[..]);
        loop {
            match session.advance(NOW) {
                Ok(Advance::Event) => sum = sum.wrapping_add(take(session.event())),
                Ok(Advance::Read { at_least }) if !wire.is_empty() => {
                    let space = session.space(|| vec![0; case.buffer], at_least);
                    let n = space.len().min(wire.len());
                    space[..n].copy_from_slice(&wire[..n]);
                    wire = &wire[n..];
                    session.received(n);
                }
                Ok(Advance::Read { .. }) => return sum,
                Ok(Advance::Finished) | Err(_) => return 0,
            }
        }
    }
}

/// The same, as the adapters drive it: small whole messages take a fast path.
///
/// `most` is the size of a read: smaller than the cache, so that what is unmasked is still in it.
pub(crate) fn small(case: &Work, most: usize) -> impl FnMut() -> u64 {
    let mut session = Session::new(Connection::server(Config::server(), NOW));
    move || {
        let (mut sum, mut wire) = (0_u64, &case.wire[..]);
        loop {
            while let Some((event, _, _)) = session.lend_small(NOW) {
                sum = sum.wrapping_add(take(Some(event)));
            }
            match session.advance(NOW) {
                Ok(Advance::Event) => sum = sum.wrapping_add(take(session.event())),
                Ok(Advance::Read { at_least }) if !wire.is_empty() => {
                    let space = session.space(|| vec![0; case.buffer], at_least);
                    let n = space.len().min(wire.len()).min(most);
                    space[..n].copy_from_slice(&wire[..n]);
                    wire = &wire[n..];
                    session.received(n);
                }
                Ok(Advance::Read { .. }) => return sum,
                Ok(Advance::Finished) | Err(_) => return 0,
            }
        }
    }
}
