//! Names of people. A name belongs to one person at a time, whatever the room.
//!
//! The decision before the `101` asks here, and so does the page when it was refused: a browser does not tell a page
//! why. Between that decision and the connection another person may take the name, so the actor asks again, and takes it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ws_actor::{ConnId, Meta, QueryPairs, Relay, Response};

pub(crate) const MAX_NAME: usize = 32;
pub(crate) const MAX_ROOM: usize = 48;

/// A clone is another handle on the same names.
#[derive(Clone, Default)]
pub(crate) struct Names {
    holders: Arc<Mutex<HashMap<String, Holder>>>,
}

struct Holder {
    id: ConnId,
    /// A secret of the page. With it a person who lost the connection can come back while the lost one still seems to
    /// be here.
    key: String,
}

/// Why somebody cannot come in under a name. The page shows it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    BadName,
    BadRoom,
    Taken,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => write!(f, "A name has 1 to {MAX_NAME} characters, on one line."),
            Self::BadRoom => write!(f, "A room has 1 to {MAX_ROOM} characters, on one line."),
            Self::Taken => f.write_str("Somebody here has this name already. Pick another one."),
        }
    }
}

impl Refused {
    pub(crate) fn status(self) -> u16 {
        if self == Self::Taken { 409 } else { 400 }
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        Self::new(refused.status(), refused.to_string()).header("content-type", "text/plain; charset=utf-8")
    }
}

impl Names {
    /// The accept decision of `/ws?name=…&room=…&key=…`.
    pub(crate) fn decide(&self, query: &str) -> Result<Relay, Refused> {
        let asked =
            |wanted: &str| QueryPairs::new(query).find(|(name, _)| name == wanted).unwrap_or_default().1;
        let key = asked("key");
        let (name, room) = self.check(&asked("name"), &asked("room"), &key)?;
        Ok(Relay::new().meta(Meta::new().set("name", name).set("room", room).set("key", key)))
    }

    /// The name and the room as they are shown, if this person may come in.
    fn check(&self, name: &str, room: &str, key: &str) -> Result<(String, String), Refused> {
        let name = line(name, MAX_NAME).ok_or(Refused::BadName)?;
        let room = line(room, MAX_ROOM).ok_or(Refused::BadRoom)?;
        match self.lock().get(&name.to_lowercase()) {
            Some(holder) if !holder.is(key) => Err(Refused::Taken),
            _ => Ok((name, room)),
        }
    }

    /// Takes a name for a connection; tells which other connection of the same person had it.
    pub(crate) fn take(&self, name: &str, key: &str, id: ConnId) -> Result<Option<ConnId>, Refused> {
        let mut holders = self.lock();
        let old = holders.get(&name.to_lowercase());
        if old.is_some_and(|old| !old.is(key)) {
            return Err(Refused::Taken);
        }
        let holder = Holder { id, key: key.to_owned() };
        Ok(holders.insert(name.to_lowercase(), holder).map(|old| old.id))
    }

    /// Gives it back, if it is still this connection's.
    pub(crate) fn free(&self, name: &str, id: ConnId) {
        let mut holders = self.lock();
        let name = name.to_lowercase();
        if holders.get(&name).is_some_and(|holder| holder.id == id) {
            holders.remove(&name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    /// Without a key everybody would be the same person.
    fn is(&self, key: &str) -> bool {
        !key.is_empty() && self.key == key
    }
}

/// A text of one line, without spaces around it, if it is neither empty nor too long.
fn line(text: &str, max: usize) -> Option<String> {
    let text = text.trim();
    let is_fine = !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
    is_fine.then(|| text.to_owned())
}
