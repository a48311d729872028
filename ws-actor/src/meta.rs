//! What a program keeps with a connection: [`Meta`], values under names.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Values that go with a connection: who the user is, what they may do, which client they use.
///
/// They are set when the connection is accepted ([`Relay::meta`](crate::Relay::meta)), may be replaced later
/// ([`Hub::retarget`](crate::Hub::retarget)), and come with its [`Connect`](crate::Connect),
/// [`Heartbeat`](crate::Heartbeat) and [`Disconnect`](crate::Disconnect). The peer never sees them. A clone shares the
/// values until one of the two is changed; an empty one allocates nothing.
#[derive(Clone, Default, PartialEq)]
pub struct Meta(Option<Arc<Map<String, Value>>>);

impl Meta {
    /// Creates a `Meta` without values.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Sets a value under this name, and returns the whole.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets a value under this name.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(name.into(), value.into());
    }

    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.as_ref()?.get(name)
    }

    /// The value of this name, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().flat_map(|values| values.iter()).map(|(name, value)| (name.as_str(), value))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |values| values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The names only: values may be secrets, and do not belong in a log.
impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Meta {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(values: I) -> Self {
        values.into_iter().fold(Self::new(), |meta, (name, value)| meta.set(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B12: a clone is a snapshot: later changes of the original are not seen in it.
    #[test]
    fn clones_are_snapshots() {
        let mut meta = Meta::new().set("name", "Ann").set("age", 7);
        let before = meta.clone();
        meta.insert("name", "Bob");
        assert_eq!((before.text("name"), meta.text("name")), (Some("Ann"), Some("Bob")));
        assert_eq!((meta.value("age").and_then(Value::as_u64), meta.text("age")), (Some(7), None));
        assert_eq!((meta.len(), Meta::new().len(), Meta::new().is_empty()), (2, 0, true));
        assert_eq!(format!("{meta:?}"), r#"{"age", "name"}"#);
    }
}
